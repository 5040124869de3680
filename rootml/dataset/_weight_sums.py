"""Sums of weights per label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Label: TypeAlias = "int | float | str | None"
"""Value of a label; None: the sample has none; the two texts below."""
UNKNOWN = "unknown"
"""Label of events whose label lacks an element or is NaN; none of them may be selected."""
MANY = "many values"
"""Stands for all labels when there are more than `MAX_LABELS`: not classes, but a target."""
MAX_LABELS = 256

Steps: TypeAlias = "list[dict[Label, Sums]]"


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the weights of events.

    Attributes:
        count: Events.
        sumw: Sum of their weights.
        sumw2: Sum of the squares of their weights.
        negative: Events of negative weight.

    >>> both = Sums.of(np.array([1.0, -1.0, 2.0])) + Sums(1, 1.0, 1.0)
    >>> both.count, both.sumw, both.sumw2, both.negative_fraction
    (4, 3.0, 7.0, 0.25)
    """

    count: int = 0
    sumw: float = 0.0
    sumw2: float = 0.0
    negative: int = 0

    @classmethod
    def of(cls, weights: npt.NDArray[np.float64]) -> Sums:
        """The sums of an array."""
        return cls(
            len(weights),
            float(weights.sum()),
            float(np.square(weights).sum()),
            int(np.count_nonzero(weights < 0)),
        )

    @property
    def effective(self) -> float:
        """Number of unweighted events of the same relative uncertainty: sumw**2 / sumw2."""
        return self.sumw**2 / self.sumw2 if self.sumw2 else 0.0

    @property
    def negative_fraction(self) -> float:
        """Fraction of the events that have a negative weight."""
        return self.negative / self.count if self.count else 0.0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.count + other.count,
            self.sumw + other.sumw,
            self.sumw2 + other.sumw2,
            self.negative + other.negative,
        )


def total(sums: Iterable[Sums]) -> Sums:
    """The sum of sums."""
    result = Sums()
    for one in sums:
        result += one
    return result


class Grouping:
    """Events of a partition by label, to be summed for several selections of them."""

    def __init__(self, labels: npt.NDArray[Any] | Label, weights: Any) -> None:
        """`labels` and `weights`: per event, or one for all (weights: None stands for 1)."""
        self._weights = weights
        self._inverse: npt.NDArray[np.intp] | None = None
        if isinstance(labels, np.ndarray):
            labels = labels.astype(np.int64) if labels.dtype == bool else labels
            values, self._inverse = np.unique(labels, return_inverse=True, equal_nan=True)
            self._labels: list[Label] = [
                UNKNOWN if value != value else value  # noqa: PLR0124 - NaN
                for value in values.tolist()
            ]
            if len(values) > MAX_LABELS:
                self._labels, self._inverse = [MANY], None
        else:
            self._labels = [labels]

    def sums(self, mask: npt.NDArray[np.bool_]) -> dict[Label, Sums]:
        """Sums of the events that pass, by label; every label of the partition is there."""
        weights = self._weights
        if weights is not None:
            weights = weights[mask]
        if self._inverse is None:
            count = int(np.count_nonzero(mask))
            one = Sums(count, float(count), float(count)) if weights is None else Sums.of(weights)
            return {self._labels[0]: one}
        inverse, size = self._inverse[mask], len(self._labels)
        counts = np.bincount(inverse, minlength=size)
        if weights is None:
            columns = [counts, counts, counts, np.zeros_like(counts)]
        else:
            columns = [counts] + [
                np.bincount(inverse, weights=column, minlength=size)
                for column in (weights, np.square(weights), weights < 0)
            ]
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return {
            label: Sums(int(count), float(sumw), float(sumw2), int(negative))
            for label, (count, sumw, sumw2, negative) in zip(self._labels, rows, strict=True)
        }


def add_sums(one: Mapping[Label, Sums], other: Mapping[Label, Sums]) -> dict[Label, Sums]:
    """Sums of two parts, by label; too many labels become one entry `MANY`."""
    merged = dict(one)
    for label, sums in other.items():
        merged[label] = merged.get(label, Sums()) + sums
    if MANY in merged or len(merged) > MAX_LABELS:
        return {MANY: total(merged.values())}
    return merged
