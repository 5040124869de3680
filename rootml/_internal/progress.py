"""Progress of long steps: a bar on a terminal and in notebooks, else lines in the log.

Nothing is silent for more than a few seconds: the lines come from a thread of their own, also
while one item takes long. They go to the logger ``rootml.progress`` at level INFO, or to standard
error where progress was asked for.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
Emit: TypeAlias = Callable[[str], Any]
"""Writes a line."""

INTERVAL = 5.0
"""Seconds between two lines."""

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
            return
        with Progress(console=console(), transient=True) as bar:
            yield from bar.track(items, total=total, description=what)


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
    """Where bars are shown."""
    from rich.console import Console

    return Console() if in_notebook() else Console(stderr=True)


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _lines(items: Iterable[T], total: int, what: str, *, emit: Emit | None) -> Iterator[T]:
    if emit is None:
        yield from items
        return
    done, start = 0, time.monotonic()
    with every_few_seconds(lambda: emit(progress_line(what, done, total, _since(start)))):
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
        with every_few_seconds(lambda: emit(f"{text}: {duration(_since(start))}")):
            yield change
    elif enabled is False or not has_bars():
        yield change
    else:
        with one_bar() as alone:
            if not alone:
                yield change
                return
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
    emit, start = (
        None if enabled is False or has_bars() else line_writer(enabled),
        time.monotonic(),
    )
    if emit is None:
        yield
        return

    def call() -> None:
        if not _SPEAKING:
            emit(f"{what}: {duration(_since(start))}")

    with every_few_seconds(call, speaks=False):
        yield


_SPEAKING: list[object] = []
"""One entry for each that writes lines by itself."""


@contextlib.contextmanager
def every_few_seconds(call: Callable[[], Any], *, speaks: bool = True) -> Iterator[None]:
    """Call a function every `INTERVAL` seconds, in a thread, until the block ends.

    Args:
        speaks: The function writes a line each time: `working` has nothing to add.
    """
    stop, token = threading.Event(), object()

    def work() -> None:
        while not stop.wait(INTERVAL):
            call()

    thread = threading.Thread(target=work, name="rootml-progress", daemon=True)
    thread.start()
    if speaks:
        _SPEAKING.append(token)
    try:
        yield
    finally:
        if speaks:
            _SPEAKING.remove(token)
        stop.set()
        thread.join()


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
