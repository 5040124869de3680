"""`TrainingSettings`: all options of a `RatioEstimator`, frozen, as the learners take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

By: TypeAlias = "str | Sequence[str] | None"
Calibrate: TypeAlias = "Literal['auto', 'always', 'never']"
Normalise: TypeAlias = "Literal['bridge', 'reference', 'none']"
Base: TypeAlias = "Literal['quadratic', 'none']"


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; see `RatioEstimator` for the meaning of each.

    Attributes:
        loader: Options of every `BatchLoader`: `buffer_bytes`, `cache`, `threads`.
    """

    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    ensemble: int
    bootstrap: bool
    hidden: tuple[int, ...]
    activation: str
    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    calibration: Calibrate
    knots: int
    normalisation: Normalise
    base: Base
    by: By
    seed: int
    progress: bool | None
    loader: dict[str, Any]
