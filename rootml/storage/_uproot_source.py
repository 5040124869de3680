"""uproot reading through our own sources: local files, and remote ones with their tries."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from uproot.source.chunk import Chunk, Source

from rootml.storage import _source
from rootml.storage._guard import Guard


class GuardedSource(Source):  # type: ignore[misc]  # uproot is not typed
    """Given to `uproot.open` as ``handler=``, with ``guard=``; used by one thread at a time.

    A local file is open only while it is read, so that what uproot parsed can be kept without it.
    """

    def __init__(self, file_path: str, *, guard: Guard, **_: Any) -> None:
        super().__init__()
        self._file_path = file_path
        self._num_bytes = guard.fingerprint.size
        self._guard = guard
        self._fetched: _source.Source | None = None
        self._closed = False

    def aim(self, ranges: _source.Ranges) -> None:
        """Read these ranges at one go: they are going to be asked for one by one."""
        if self._guard.remote is not None:
            self._fetched = (self._fetched or self._guard.remote).fetch(ranges)

    def chunk(self, start: int, stop: int) -> Chunk:
        stop = min(stop, self._num_bytes)
        if self._fetched is not None:
            data = self._fetched.read(stop - start, start)
        else:
            with self._guard.source(self._guard.path) as source:
                data = source.read(stop - start, start)
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
