"""uproot reading through a `RemoteFile`: its tries, its checks, its cache, its vector reads."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from uproot.source.chunk import Chunk, Source

from rootml.storage import _source
from rootml.storage.remote import RemoteFile


class RemoteSource(Source):  # type: ignore[misc]  # uproot is not typed
    """Given to `uproot.open` as ``handler=``, with ``remote_file=``; used by one thread."""

    def __init__(self, file_path: str, *, remote_file: RemoteFile, **_: Any) -> None:
        super().__init__()
        self._file_path = file_path
        self._num_bytes = remote_file.stat.size
        self._bytes: _source.Source = remote_file
        self._closed = False

    def aim(self, ranges: _source.Ranges) -> None:
        """Read these ranges at one go: they are going to be asked for one by one."""
        self._bytes = self._bytes.fetch(ranges)

    def chunk(self, start: int, stop: int) -> Chunk:
        stop = min(stop, self._num_bytes)
        data = self._bytes.read(stop - start, start)
        return Chunk.wrap(self, np.frombuffer(data, np.uint8), start)

    def chunks(
        self, ranges: Sequence[tuple[int, int]], notifications: queue.Queue[Any]
    ) -> list[Chunk]:
        self.aim((start, stop - start) for start, stop in ranges)
        found = [self.chunk(start, stop) for start, stop in ranges]
        for chunk in found:
            notifications.put(chunk)
        return found

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
