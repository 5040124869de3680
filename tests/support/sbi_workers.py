"""Toys for tests of workers: a generator that kills the process that it runs in, once."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sbi_problems import draw_toy

from rootml import sbi


@dataclass(frozen=True)
class KillOnce:
    """Draws toys as `draw_toy` does, but at the first toy with an even number of events.

    Attributes:
        folder: Where a file says that it has happened.
        home: The process that is not killed.
    """

    folder: Path
    home: int

    def __call__(self, rng: np.random.Generator, truth: Mapping[str, float]) -> sbi.RatioColumns:
        columns = draw_toy(rng, truth)
        done = self.folder / "killed"
        if os.getpid() != self.home and columns.num_events % 2 == 0 and not done.exists():
            done.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return columns


@dataclass(frozen=True)
class KillAlways:
    """Kills each process but one."""

    home: int

    def __call__(self, rng: np.random.Generator, truth: Mapping[str, float]) -> sbi.RatioColumns:
        if os.getpid() != self.home:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw_toy(rng, truth)


def failing(rng: np.random.Generator, truth: Mapping[str, float]) -> sbi.RatioColumns:
    """Fails for one toy in some."""
    columns = draw_toy(rng, truth)
    if columns.num_events % 5 == 0:
        message = "no events today"
        raise ArithmeticError(message)
    return columns
