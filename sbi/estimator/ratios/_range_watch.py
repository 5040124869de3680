"""Events beyond the range of an input in the training: are there more than chance explains?

Of n events and N training events of one density, the k outermost of all n + N are all among the n
with the probability ``(n / (n + N))^k`` at most. N is that of the smallest sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.estimator.ratios._record import TrainingRecord
from rootml.sbi.likelihood._origin import Beyond

FALSE_ALARMS = 1e-3
"""Probability that events of the densities of the training are said to be beyond them."""


class RangeWatch:
    """Counts events beyond the ranges of a training, while they stream by."""

    def __init__(self, record: TrainingRecord, names: Sequence[str]) -> None:
        self._names = [name for name in names if name in record.ranges]
        self._places = [list(names).index(name) for name in self._names]
        self._low, self._high = (
            np.array([record.ranges[name][side] for name in self._names]) for side in (0, 1)
        )
        self._training = min((each.events for each in record.sums.values()), default=0)
        self._events = 0
        self._counts = np.zeros((2, len(self._names)), np.int64)

    def add(self, rows: Float) -> None:
        """Show the next events, `(events, inputs)`."""
        chosen = rows[:, self._places]
        self._events += len(rows)
        self._counts[0] += (chosen < self._low).sum(axis=0)
        self._counts[1] += (chosen > self._high).sum(axis=0)

    def found(self) -> tuple[Beyond, ...]:
        """The inputs with too many events beyond their range."""
        sides = max(2 * len(self._names), 1)
        return tuple(
            Beyond(name, int(counts.sum()), float(low), float(high))
            for name, counts, low, high in zip(
                self._names, self._counts.T, self._low, self._high, strict=True
            )
            if self._probability(int(counts.max())) < FALSE_ALARMS / sides
        )

    def _probability(self, beyond: int) -> float:
        if beyond == 0:
            return 1.0
        return math.exp(beyond * math.log(self._events / (self._events + self._training)))
