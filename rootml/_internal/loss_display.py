"""A bar or lines with the loss, for trainings of several networks one after another."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from rootml._internal.notebook import NotebookLine
from rootml._internal.progress import (
    console,
    has_bars,
    in_notebook,
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
        self._line: NotebookLine | None = None

    @contextlib.contextmanager
    def showing(self) -> Iterator[LossDisplay]:
        """Show while the block runs."""
        if self._enabled is False:
            yield self
        elif has_bars():
            with one_bar() as alone, self._bars() if alone else contextlib.nullcontext():
                yield self
        else:
            with self._lines():
                yield self

    @contextlib.contextmanager
    def _bars(self) -> Iterator[None]:
        if in_notebook():
            with contextlib.closing(NotebookLine()) as self._line:
                yield
            self._line = None
        else:
            with _terminal_bars() as self._bar:
                yield
            self._bar = self._task = None

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
            self._now = now = _Training(what, steps, self._line)
            return now.report
        if self._task is not None:
            self._bar.remove_task(self._task)
        task = self._task = self._bar.add_task(what, total=steps, loss=math.nan)
        return lambda step, loss: self._bar.update(task, completed=step, loss=loss)


class _Training:
    """How far one network is, as a line of a log or of a notebook."""

    def __init__(self, what: str, steps: int, line: NotebookLine | None) -> None:
        self._what, self._steps, self._line = what, steps, line
        self._step, self._loss, self._start = 0, math.nan, time.monotonic()

    def report(self, step: int, loss: float) -> None:
        self._step, self._loss = step, loss
        if self._line is not None:
            self._line.show(str(self), step / max(self._steps, 1))

    def __str__(self) -> str:
        seconds = time.monotonic() - self._start
        line = progress_line(self._what, self._step, self._steps, seconds)
        return f"{line}, loss {self._loss:.5f}" if math.isfinite(self._loss) else line


@contextlib.contextmanager
def _terminal_bars() -> Iterator[Any]:
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
