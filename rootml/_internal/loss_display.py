"""A bar with the loss, for trainings of several networks one after another."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rootml._internal.progress import in_notebook

Report = Callable[[int, float], None]
"""Called after each step with the number of steps so far and the loss."""


def _silent(_step: int, _loss: float) -> None:
    """Show nothing."""


class LossDisplay:
    """One bar at a time: what is being trained, the steps, the loss and the time left.

    Args:
        enabled: None: on a terminal and in a notebook.

    >>> display = LossDisplay(enabled=False)
    >>> with display.showing():
    ...     report = display.start("network 1 of 2", 100)
    ...     report(1, 0.69)
    """

    def __init__(self, *, enabled: bool | None) -> None:
        seen = in_notebook() or sys.stderr.isatty()
        self.enabled = seen if enabled is None else enabled
        self._bar: Any = None
        self._task: Any = None

    @contextlib.contextmanager
    def showing(self) -> Iterator[LossDisplay]:
        """Show while the block runs."""
        if not self.enabled:
            yield self
            return
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("loss {task.fields[loss]:.5f}"),
            progress.TimeRemainingColumn(),
        )
        console = Console() if in_notebook() else Console(stderr=True)
        with progress.Progress(*columns, console=console, transient=True) as bar:
            self._bar = bar
            yield self
        self._bar = self._task = None

    def start(self, what: str, steps: int) -> Report:
        """Begin a new bar in place of the last one; the function shows a step and its loss."""
        if self._bar is None:
            return _silent
        if self._task is not None:
            self._bar.remove_task(self._task)
        task = self._task = self._bar.add_task(what, total=steps, loss=math.nan)
        return lambda step, loss: self._bar.update(task, completed=step, loss=loss)
