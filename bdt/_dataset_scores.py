"""Values of the selected events of a dataset, by any function of columns: streamed.

Knows datasets and no model, so that models can use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from rootml._internal.types import EventValues
from rootml._internal.validators import is_a
from rootml.dataset import Dataset, EventBlock
from rootml.errors import EmptySelectionError, UsageError

Score = Callable[[dict[str, Any]], EventValues]
"""From columns to values, one per event; several ones in a second dimension. Picklable."""


@dataclass(frozen=True, slots=True)
class _Task:
    """Scores the selected events of a partition, here or on a cluster."""

    score: Score

    def __call__(self, block: EventBlock) -> EventValues:
        return self.score(block.columns)


def score_dataset(
    data: Dataset, score: Score, features: tuple[str, ...] | None, *, progress: bool | None = None
) -> EventValues:
    """One score per selected event, in the order of the dataset.

    Here one partition is read and scored after the other; on a cluster several at a time.

    Args:
        features: The columns that the model needs, or None. If the dataset has
            them all, only they are read; else every column is read, and `score` raises the error.

    Raises:
        EmptySelectionError: No event is selected.
    """
    wanted = features if features is not None and set(features) <= set(data.columns) else None
    found = list(
        data.map_partitions(
            _Task(score), columns=wanted, threads=1, progress=progress, what="scoring"
        )
    )
    if not found:
        message = f"{data}: no event is selected, so there is nothing to score"
        raise EmptySelectionError(message)
    return np.concatenate(found) if isinstance(found[0], np.ndarray) else ak.concatenate(found)


@dataclass(frozen=True, slots=True)
class NamedScore:
    """Scores as `Dataset.write_friend` takes them: ``name``, or ``name_0``, ``name_1``, ...

    Attributes:
        contributions: Gives contributions of `features` and the bias along the last axis, which
            are written as ``<name>_from_<feature>`` and ``<name>_expected``; None: none.

    Raises:
        UsageError: `name` is not a text, or empty.
    """

    name: str
    score: Score
    contributions: Score | None = None
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_a(self.name, str) or not self.name:
            message = f"name={self.name!r}: expected the name of the score, a text"
            raise UsageError(message)

    def __call__(self, columns: dict[str, Any]) -> dict[str, Any]:
        found = self.score(columns)
        made = {self.name: found}
        if isinstance(found, np.ndarray) and found.ndim == 2:
            made = {f"{self.name}_{i}": found[:, i] for i in range(found.shape[1])}
        if self.contributions is not None:
            made |= self._explained(self.contributions(columns))
        return made

    def _explained(self, found: Any) -> dict[str, Any]:
        names = ["from_" + re.sub(r"\W", "_", feature) for feature in self.features]
        names.append("expected")
        if len(set(names)) < len(names):
            message = "the names of two features differ in punctuation alone; rename one of them"
            raise UsageError(message)
        if not isinstance(found, np.ndarray) or found.ndim == 2:
            return {f"{self.name}_{name}": found[..., i] for i, name in enumerate(names)}
        return {
            f"{self.name}_{output}_{name}": found[:, output, i]
            for output in range(found.shape[1])
            for i, name in enumerate(names)
        }
