"""Seconds per stage of the pipeline, for `BatchLoader.describe`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator


class Timing:
    """Adds up wall-clock seconds by stage, from several threads.

    >>> timing = Timing()
    >>> with timing("decode"):
    ...     pass
    >>> list(timing.seconds)
    ['decode']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.rows = 0
        self.batches = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            with self._lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def count(self, rows: int) -> None:
        """One batch of `rows` rows was handed out."""
        self.rows += rows
        self.batches += 1

    def __getstate__(self) -> dict[str, float]:
        return {}  # times belong to a process

    def __setstate__(self, state: dict[str, float]) -> None:
        self.__init__()  # type: ignore[misc]
