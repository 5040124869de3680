"""Says where a loader waits when nothing arrives for a long time."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Self

logger = logging.getLogger(__name__)
_PROJECT = ("rootml", "batching")
_MAX_THREADS = 8


class Watchdog:
    """Logs a warning each time that a wait has lasted `seconds` longer.

    Args:
        seconds: None: never.
        threads: Prefix of the names of the threads whose position is worth knowing.

    >>> watchdog = Watchdog(60, threads="rootml-batching")
    >>> with watchdog.waiting(lambda: "unit 3") as patience:
    ...     patience.check()
    """

    def __init__(self, seconds: float | None, *, threads: str) -> None:
        self.seconds = seconds
        self._threads = threads

    def waiting(self, describe: Callable[[], str]) -> _Patience:
        """A wait that begins now.

        Args:
            describe: What is waited for, as text. It is not kept beyond the wait: a loader that
                its watchdog refers to would be freed by the garbage collector only, and its files
                on disk would stay until then.
        """
        return _Patience(self, describe)

    def report(self, waited: float, what: str) -> None:
        """Log where things stand."""
        logger.warning(
            "no progress for %.0f s: %s%s",
            waited,
            what,
            "".join(f"\n  {line}" for line in thread_positions(self._threads)),
        )


class _Patience:
    def __init__(self, watchdog: Watchdog, describe: Callable[[], str]) -> None:
        self._watchdog = watchdog
        self._describe = describe
        self._start = self._latest = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    @property
    def timeout(self) -> float | None:
        """How long to wait before the next `check`."""
        return self._watchdog.seconds

    def check(self) -> None:
        """Report if the wait has lasted too long."""
        seconds, now = self._watchdog.seconds, time.monotonic()
        if seconds is not None and now - self._latest >= 0.9 * seconds:
            self._latest = now
            self._watchdog.report(now - self._start, self._describe())


def thread_positions(prefix: str) -> Iterator[str]:
    """Where the threads with this prefix are: the innermost lines of rootml's own code."""
    frames = sys._current_frames()
    found = [thread for thread in threading.enumerate() if thread.name.startswith(prefix)]
    for thread in found[:_MAX_THREADS]:
        frame = frames.get(thread.ident or 0)
        if frame is None:
            continue
        stack = traceback.extract_stack(frame)
        ours = [line for line in stack if any(f"/{part}/" in line.filename for part in _PROJECT)]
        shown = ours[-1:] + stack[-1:] if ours and ours[-1] is not stack[-1] else stack[-1:]
        locations = ", in ".join(f"{line.name} ({line.filename}:{line.lineno})" for line in shown)
        yield f"{thread.name}: in {locations}"
    if len(found) > _MAX_THREADS:
        yield f"... and {len(found) - _MAX_THREADS} more threads"
