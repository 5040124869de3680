"""A `Source` as a file object, for libraries that want one."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from rootml.storage._source import Source

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class SourceStream(io.RawIOBase):
    """The `size` bytes of `source`, with a position."""

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        count = left if size is None or size < 0 else min(size, left)
        data = bytes(self._source.view(count, self._at)) if count else b""
        self._at += count
        return data

    def readinto(self, buffer: WriteableBuffer) -> int:
        out = memoryview(buffer).cast("B")
        data = self.read(len(out))
        out[: len(data)] = data
        return len(data)
