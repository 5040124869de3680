"""`TrainingSettings`: all options of a `RatioEstimator`, frozen, as the learners take them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from rootml.sbi.estimator.inputs._shape_decision import ShapeDecision

By: TypeAlias = "str | Sequence[str] | None"
Calibrate: TypeAlias = "Literal['auto', 'always', 'never']"
Normalise: TypeAlias = "Literal['bridge', 'reference', 'none']"
Base: TypeAlias = "Literal['quadratic', 'none']"

CLASS_STEPS, PARAMETRIC_STEPS = 1500, 4000
"""Minimum steps of a training whose length is not given; the second with parameters."""
MANY_EVENTS, MORE_STEPS, GROWTH = 1e4, 4.0, 0.75
"""With parameters, beyond so many events: steps grow by a power of them, at most by a factor.

Many events show densities that change within a small part of the range of a parameter. A network
needs more steps to follow them; training stops early where there is nothing to follow.
"""
MIN_EPOCHS = 6
MAX_EPOCHS = 200
BATCHES, PARAMETRIC_BATCHES = 150, 300
"""Batches per epoch to aim for, within these limits of the batch size."""
MIN_BATCH, MAX_BATCH = 128, 2048
PATIENCE = 8
CHECKS = 40
"""About as many evaluations of the held-out loss in a training."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; see `RatioEstimator` for the meaning of each.

    Attributes:
        epochs, batch_size, patience: None: chosen by `plan_training`.
        loader: Options of every `BatchLoader`: `buffer_bytes`, `cache`, `threads`.
        shapes: Decisions that were made before; None: decide on held-out events.
        device: Device of torch that trains; None: the CPU.
        batched: Train the members of a fold as one batched network; None: on a GPU.
    """

    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    ensemble: int
    folds: int
    hidden: tuple[int, ...]
    activation: str
    epochs: int | None
    batch_size: int | None
    learning_rate: float
    patience: int | None
    calibration: Calibrate
    knots: int
    normalisation: Normalise
    base: Base
    by: By
    seed: int
    progress: bool | None
    loader: dict[str, Any]
    shapes: tuple[ShapeDecision, ...] | None = None
    device: str | None = None
    batched: bool | None = None

    def spawned_seed(self, *path: int) -> int:
        """A seed for one purpose, independent of those of other paths and of other seeds."""
        return spawned_seed(self.seed, *path)

    @property
    def parts(self) -> int:
        """Number of folds in use: not more than networks, so that each event is held out once."""
        return self.folds if self.ensemble == 1 else min(self.folds, self.ensemble)

    def fold(self, member: int) -> int:
        """The fold that a member of the ensemble holds out."""
        return member % self.parts

    @property
    def is_batched(self) -> bool:
        """Whether the members of a fold train as one batched network."""
        if self.batched is None:
            return (self.device or "cpu").split(":")[0] != "cpu"
        return self.batched

    def groups(self, members: Sequence[int]) -> list[tuple[int, ...]]:
        """Members that train together: those of a fold if they are batched, else each alone."""
        if not self.is_batched:
            return [(member,) for member in members]
        folds = [tuple(m for m in members if self.fold(m) == fold) for fold in range(self.parts)]
        return [group for group in folds if group]


def spawned_seed(seed: int, *path: int) -> int:
    """32 bits of the `numpy.random.SeedSequence` that is spawned from `seed` along a path.

    >>> spawned_seed(1, 0) == spawned_seed(0, 1)
    False
    """
    return int(np.random.SeedSequence(seed, spawn_key=path).generate_state(1)[0])


@dataclass(frozen=True)
class TrainingPlan:
    """The length of a training.

    Attributes:
        batch_size: Events per step.
        epochs: Maximum number of epochs.
        epochs_per_check: Epochs between two evaluations of the held-out loss.
        patience: Checks without a better held-out loss before the learning rate is lowered to the
            end.
    """

    batch_size: int
    epochs: int
    epochs_per_check: int
    patience: int


def plan_training(settings: TrainingSettings, rows: int, effective: float) -> TrainingPlan:
    """Choose batch size, epochs and patience from the number of training events.

    A network needs a number of steps, whatever the number of events: 6 epochs are plenty for 10^6
    events and far too few for 10^4. The batch size grows with the number of events, and with the
    noise of their weights, so that batches have about the same precision.

    Args:
        rows: Number of training events.
        effective: Number of unweighted events with equal precision.
    """
    size = settings.batch_size
    if size is None:
        precision = min(1.0, max(effective, 1.0) / rows)
        batches = PARAMETRIC_BATCHES if settings.parameters else BATCHES
        ideal = max(effective, 1.0) / batches
        size = 2 ** round(math.log2(min(max(ideal, MIN_BATCH), MAX_BATCH) / precision))
        size = min(size, 4 * MAX_BATCH)
    size = min(size, rows)
    steps = math.ceil(rows / size)
    epochs = settings.epochs
    if epochs is None:
        minimum = _minimum_steps(settings, effective)
        epochs = min(max(MIN_EPOCHS, math.ceil(minimum / steps)), MAX_EPOCHS)
    every = max(1, epochs // CHECKS)
    patience = PATIENCE if settings.patience is None else math.ceil(settings.patience / every)
    return TrainingPlan(size, epochs, every, patience)


def _minimum_steps(settings: TrainingSettings, effective: float) -> float:
    if not settings.parameters:
        return CLASS_STEPS
    more = math.pow(max(effective, MANY_EVENTS) / MANY_EVENTS, GROWTH)
    return PARAMETRIC_STEPS * min(more, MORE_STEPS)


DIFFERENCE_STEPS = 300
DIFFERENCE_BATCHES = 60
MAX_DIFFERENCE_BATCH = 16_384


def plan_differences(
    settings: TrainingSettings, rows: int, effective: float, nuisances: int
) -> TrainingPlan:
    """The plan for networks that start at zero: short, since long trainings learn noise.

    The batch size grows with the number of nuisances, so that a step has as many events of each.
    """
    size = settings.batch_size
    if size is None:
        precision = min(1.0, max(effective, 1.0) / rows)
        ideal = max(effective, 1.0) / nuisances / DIFFERENCE_BATCHES
        size = 2 ** round(math.log2(min(max(ideal, 2 * MIN_BATCH), MAX_BATCH) / precision))
        size = min(size * nuisances, MAX_DIFFERENCE_BATCH)
    size = min(size, rows)
    epochs = settings.epochs
    if epochs is None:
        epochs = max(MIN_EPOCHS, math.ceil(DIFFERENCE_STEPS / math.ceil(rows / size)))
    return TrainingPlan(size, epochs, 1, PATIENCE)
