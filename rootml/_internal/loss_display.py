"""A bar or lines with the loss, for trainings of several networks one after another."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from rootml._internal.progress import (
    console,
    has_bars,
    line_writer,
    lines_of,
    one_bar,
    progress_line,
)

Report = Callable[[int, float], None]
"""Called after each step with the number of steps so far and the loss."""


def _silent(_step: int, _loss: float) -> None:
    """Show nothing."""


class LossDisplay:
    """What is being trained, the steps, the loss and the time left: one bar at a time, or lines.

    Args:
        enabled: True: show it, without a terminal as lines on standard error. False: do not.
            None: a bar on a terminal and in a notebook, else lines in the log.

    >>> display = LossDisplay(enabled=False)
    >>> with display.showing():
    ...     report = display.start("network 1 of 2", 100)
    ...     report(1, 0.69)
    """

    def __init__(self, *, enabled: bool | None) -> None:
        self._enabled = enabled
        self._bar: Any = None
        self._task: Any = None
        self._now: _Training | None = None

    @contextlib.contextmanager
    def showing(self) -> Iterator[LossDisplay]:
        """Show while the block runs."""
        if self._enabled is False:
            yield self
        elif has_bars():
            with one_bar() as alone, _bars() if alone else contextlib.nullcontext() as self._bar:
                yield self
            self._bar = self._task = None
        else:
            with self._lines():
                yield self

    @contextlib.contextmanager
    def _lines(self) -> Iterator[None]:
        emit = line_writer(self._enabled)
        if emit is None:
            yield
            return
        with lines_of(lambda: None if self._now is None else str(self._now), emit):
            yield
        self._now = None

    def start(self, what: str, steps: int) -> Report:
        """Begin with another network; the function shows a step and its loss."""
        if self._bar is None:
            self._now = now = _Training(what, steps)
            return now.report
        if self._task is not None:
            self._bar.remove_task(self._task)
        task = self._task = self._bar.add_task(what, total=steps, loss=math.nan)
        return lambda step, loss: self._bar.update(task, completed=step, loss=loss)


class _Training:
    """How far one network is, as a line."""

    def __init__(self, what: str, steps: int) -> None:
        self._what, self._steps = what, steps
        self._step, self._loss, self._start = 0, math.nan, time.monotonic()

    def report(self, step: int, loss: float) -> None:
        self._step, self._loss = step, loss

    def __str__(self) -> str:
        seconds = time.monotonic() - self._start
        line = progress_line(self._what, self._step, self._steps, seconds)
        return f"{line}, loss {self._loss:.5f}" if math.isfinite(self._loss) else line


@contextlib.contextmanager
def _bars() -> Iterator[Any]:
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("loss {task.fields[loss]:.5f}"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console(), transient=True) as bar:
        yield bar
