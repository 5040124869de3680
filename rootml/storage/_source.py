"""Where the bytes of a file come from: one small interface over local and remote files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Protocol, TypeAlias

from rootml.storage._blocks import scratch

Ranges: TypeAlias = Iterable[tuple[int, int]]
"""``(offset, size)`` of pieces of a file, in any order; they may overlap."""


class Source(Protocol):
    """The bytes of one file, by position; safe to use from several threads."""

    def read(self, size: int, offset: int) -> bytes:
        """Exactly `size` bytes at `offset`, to keep.

        Raises:
            EOFError: The file ends before.
            ValueError: A negative size or offset.
        """

    def view(self, size: int, offset: int) -> memoryview:
        """As `read`, but good only until this thread asks for the next view."""

    def fetch(self, ranges: Ranges) -> Source:
        """A source from which all of `ranges` come at little cost: the file, or what was read."""


def check_range(size: int, offset: int) -> None:
    """Refuse what damaged metadata may ask for."""
    if size < 0 or offset < 0:
        message = f"a length of {size} at position {offset}"
        raise ValueError(message)


def truncated(size: int, offset: int) -> EOFError:
    """The error of a file that ends too early."""
    return EOFError(f"the file ends inside {size} bytes at {offset}: it is truncated")


class LocalSource:
    """A local file, open as the descriptor `fd`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def read(self, size: int, offset: int) -> bytes:
        check_range(size, offset)
        data = os.pread(self.fd, size, offset)
        if len(data) != size:
            raise truncated(size, offset)
        return data

    def view(self, size: int, offset: int) -> memoryview:
        check_range(size, offset)
        out = scratch("read", size)
        if os.preadv(self.fd, [out], offset) != size:
            raise truncated(size, offset)
        return out

    def fetch(self, ranges: Ranges) -> LocalSource:  # noqa: ARG002
        return self
