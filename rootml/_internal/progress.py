"""Progress of long steps: a bar on a terminal and in notebooks, else lines in the log.

Nothing is silent for more than a few seconds: the lines come from one thread of their own, also
while one item takes long, and where many short steps follow each other. They go to the logger
``rootml.progress`` at level INFO, or to standard error where progress was asked for.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, cast

from rootml._internal.notebook import NotebookLine

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
P = ParamSpec("P")
Emit: TypeAlias = Callable[[str], Any]
"""Writes a line."""

INTERVAL = 5.0
"""Seconds between two lines."""
_REST = 1e-3  # seconds between two lines at the least

_log = logging.getLogger("rootml.progress")


def in_notebook() -> bool:
    """Whether this process is a kernel that shows HTML.

    >>> in_notebook()
    False
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def has_bars() -> bool:
    """Whether a bar can be shown: on a terminal or in a notebook."""
    return in_notebook() or sys.stderr.isatty()


def line_writer(enabled: bool | None) -> Emit | None:
    """Where lines go if there are no bars; None: nobody wants them.

    Args:
        enabled: True: standard error. None: the log. False: nowhere.
    """
    if enabled:
        return _to_stderr
    return _log.info if enabled is None and _log.isEnabledFor(logging.INFO) else None


def track(
    items: Iterable[T], *, total: int, what: str, enabled: bool | None = None
) -> Iterator[T]:
    """Yield `items` and show how many are done.

    Args:
        total: Number of items.
        what: What is being done, e.g. ``"reading"``.
        enabled: True: show it, without a terminal as lines on standard error. False: do not.
            None: a bar on a terminal and in a notebook, else lines in the log.

    >>> list(track([1, 2], total=2, what="counting", enabled=False))
    [1, 2]
    """
    if enabled is False:
        yield from items
    elif has_bars():
        yield from _bar(items, total, what)
    else:
        yield from _lines(items, total, what, emit=line_writer(enabled))


def _bar(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    from rich.progress import Progress

    with one_bar() as alone:
        if not alone:
            yield from items
        elif in_notebook():
            yield from _in_notebook(items, total, what)
        else:
            with Progress(console=console(), transient=True) as bar:
                yield from bar.track(items, total=total, description=what)


def _in_notebook(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    start = time.monotonic()
    with contextlib.closing(NotebookLine()) as line:
        line.show(progress_line(what, 0, total, 0.0), 0.0)
        for done, item in enumerate(items, start=1):
            yield item
            line.show(progress_line(what, done, total, _since(start)), done / max(total, 1))


_BAR = threading.Lock()


@contextlib.contextmanager
def one_bar() -> Iterator[bool]:
    """Whether no other bar is shown: a bar in a bar would write over it."""
    alone = _BAR.acquire(blocking=False)
    try:
        yield alone
    finally:
        if alone:
            _BAR.release()


def console() -> Console:
    """Where bars are shown on a terminal."""
    from rich.console import Console

    return Console(stderr=True)


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _lines(items: Iterable[T], total: int, what: str, *, emit: Emit | None) -> Iterator[T]:
    if emit is None:
        yield from items
        return
    done, start = 0, time.monotonic()
    with lines_of(lambda: progress_line(what, done, total, _since(start)), emit):
        for item in items:
            yield item
            done += 1
    if _since(start) > INTERVAL:
        emit(progress_line(what, done, total, _since(start)))


@contextlib.contextmanager
def status(what: str, *, enabled: bool | None = None) -> Iterator[Callable[[str], None]]:
    """Show what is being done; the function that it yields changes the text.

    Args:
        what: What is being done, e.g. ``"fitting"``.
        enabled: As for `track`: a line on a terminal and in a notebook, else lines in the log
            that say for how long it has been going on.

    >>> with status("fitting", enabled=False) as show:
    ...     show("fitting: 20 passes")
    """
    text, start = what, time.monotonic()

    def change(new: str) -> None:
        nonlocal text
        text = new

    emit = None if enabled is False or has_bars() else line_writer(enabled)
    if emit is not None:
        with lines_of(lambda: f"{text}: {duration(_since(start))}", emit):
            yield change
    elif enabled is False or not has_bars():
        yield change
    else:
        with one_bar() as alone:
            if not alone:
                yield change
            elif in_notebook():
                with contextlib.closing(NotebookLine()) as line:
                    line.show(what)
                    yield line.show
            else:
                with console().status(what) as shown:
                    yield shown.update


def _since(start: float) -> float:
    return time.monotonic() - start


@contextlib.contextmanager
def working(what: str, *, enabled: bool | None = None) -> Iterator[None]:
    """Without a terminal: lines that say for how long something goes on, if nothing says more.

    Args:
        what, enabled: As for `status`.

    >>> with working("fitting", enabled=False):
    ...     pass
    """
    emit = None if enabled is False or has_bars() else line_writer(enabled)
    if emit is None:
        yield
        return
    start = time.monotonic()
    with lines_of(lambda: f"{what}: {duration(_since(start))}", emit, alone=True):
        yield


def long_step(what: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function with `working`, which its own argument `progress` can silence.

    >>> @long_step("counting")
    ... def count(number, *, progress=None):
    ...     return sum(range(number))
    >>> count(3, progress=False)
    3
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            with working(what, enabled=cast("bool | None", kwargs.get("progress"))):
                return function(*args, **kwargs)

        return call

    return decorate


def lines_of(
    text: Callable[[], str | None], emit: Emit, *, alone: bool = False
) -> contextlib.AbstractContextManager[None]:
    """Write a line whenever nothing was written for `INTERVAL` seconds, until the block ends.

    Args:
        text: Gives the line; None: nothing to say.
        emit: Writes it.
        alone: Only while no block that is not `alone` has something to say; of several such
            blocks the outermost one speaks.
    """
    return _WRITER.writing(_Speaker(text, emit, alone))


@dataclass(frozen=True, eq=False)
class _Speaker:
    text: Callable[[], str | None]
    emit: Emit
    alone: bool


class _Writer:
    """One thread for all blocks of this process, so that a short block costs no thread.

    The thread ends by itself when nothing has gone on for `INTERVAL` seconds.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._speakers: list[_Speaker] = []
        self._last = self._until = 0.0  # of the last line; of the thread's sleep
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def writing(self, speaker: _Speaker) -> Iterator[None]:
        with self._changed:
            if not self._speakers:
                self._last = time.monotonic()
                if self._until > self._last + INTERVAL + _REST:  # it was longer before
                    self._changed.notify()
            self._speakers.append(speaker)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="rootml-progress", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:  # after a line that is being written
                self._speakers.remove(speaker)

    def _run(self) -> None:
        with self._changed:
            try:
                self._write_lines()
            finally:
                self._thread = None

    def _write_lines(self) -> None:
        idle = False
        while self._speakers or not idle:
            idle = not self._speakers
            remaining = INTERVAL if idle else self._last + INTERVAL - time.monotonic()
            if remaining <= 0:
                self._speak()
                self._last, remaining = time.monotonic(), INTERVAL
            remaining = max(remaining, _REST)
            self._until = time.monotonic() + remaining
            self._changed.wait(remaining)  # others come and go meanwhile

    def _speak(self) -> None:
        lines = [(each, each.text()) for each in self._speakers]
        said = [(each, line) for each, line in lines if line is not None]
        loud = [pair for pair in said if not pair[0].alone]
        for speaker, line in loud or said[:1]:
            speaker.emit(line)


_WRITER = _Writer()
if hasattr(os, "register_at_fork"):  # a fork has neither the thread nor what it writes of
    os.register_at_fork(after_in_child=_WRITER.__init__)  # type: ignore[misc]


def progress_line(what: str, done: int, total: int, seconds: float) -> str:
    """A line of a log.

    >>> progress_line("reading", 30, 120, 15.0)
    'reading: 30 of 120 (25 %), 15 s, 2/s, 45 s left'
    >>> progress_line("training", 0, 5, 10.0)
    'training: 0 of 5 (0 %), 10 s'
    """
    share = 100 * done / total if total else 100.0
    line = f"{what}: {done:,} of {total:,} ({share:.0f} %), {duration(seconds)}"
    if not done or not seconds:
        return line
    rate = done / seconds
    left = f", {duration((total - done) / rate)} left" if done < total else ""
    return f"{line}, {rate:.3g}/s{left}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
