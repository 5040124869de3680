"""`Origin`: what is known of how ratio columns were made, handed on to the fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class DroppedShape:
    """A shape that held-out events did not show: its nuisance changes yields only.

    Attributes:
        process: Name of the process.
        nuisance: Name of the nuisance parameter.
        missed: RMS of log(variation / nominal) of the smallest effect that would have been kept
            with a probability of 95 %.
    """

    process: str
    nuisance: str
    missed: float


@dataclass(frozen=True)
class Beyond:
    """Events beyond the range of an input in the training: their ratios are extrapolated.

    Attributes:
        name: The input.
        events: So many of the events, more than chance explains.
        low, high: Range in the training.
    """

    name: str
    events: int
    low: float
    high: float


@dataclass(frozen=True)
class Origin:
    """How columns were made.

    Attributes:
        dropped: The shapes that were dropped.
        sampled: Which events the members of the ensemble were evaluated at, rising, ``(some,)``.
        members: Columns of each member at these events, as `RatioColumns` takes them.
        beyond: The inputs that leave the range of the training.
    """

    dropped: tuple[DroppedShape, ...] = ()
    sampled: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    members: tuple[Mapping[str, Any], ...] = ()
    beyond: tuple[Beyond, ...] = ()
