"""Class balance: weights that make classes weigh the same, or rows left out and repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml.batching.order._rng import Counts, Purpose, draw_counts, generator
from rootml.batching.order._unit_keys import UnitKey
from rootml.errors import UsageError


@dataclass(frozen=True, slots=True)
class Resample:
    """Class balance by leaving out or repeating rows; anew in every epoch.

    Args:
        kind: ``"under"``: rows of the larger classes are left out, a new random subset per epoch.
            ``"over"``: rows of the smaller classes are repeated; every row is there at least once
            and repetitions differ by at most one.
        ratio: Rows of the smaller classes over rows of the largest after resampling, in (0, 1].
            A class that is already larger than that is left alone.

    >>> Resample("over", ratio=0.5)
    Resample(kind='over', ratio=0.5)
    """

    kind: Literal["under", "over"] = "under"
    ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("under", "over"):  # it may be something without a hash
            message = f"Resample(kind={self.kind!r}): expected 'under' or 'over'"
            raise UsageError(message)
        ratio: Any = self.ratio
        if not isinstance(ratio, (int, float, np.number)) or not 0 < ratio <= 1:
            message = f"Resample(ratio={self.ratio!r}): expected a number in (0, 1]"
            raise UsageError(message)

    def wanted(self, counts: Counts) -> Counts:
        """Rows of each class after resampling `counts` rows.

        >>> Resample("under").wanted(np.array([100, 10])).tolist()
        [10, 10]
        >>> Resample("over", ratio=0.5).wanted(np.array([100, 10])).tolist()
        [100, 50]
        """
        if self.kind == "over":
            least = int(np.ceil(counts.max() * self.ratio))
            return np.where(counts > 0, np.maximum(counts, least), 0)
        most = int(np.floor(counts[counts > 0].min() / self.ratio))
        return np.minimum(counts, most)


Balance: TypeAlias = "Literal['weights', 'resample'] | Resample | None"


def check_balance(balance: Any) -> Literal["weights"] | Resample | None:
    """The balance asked for; ``"resample"`` stands for ``Resample("under")``."""
    if balance is None or isinstance(balance, Resample):
        return balance
    if balance == "weights":
        return "weights"
    if balance == "resample":
        return Resample()
    message = f"balance={balance!r}: expected 'weights', 'resample', Resample(...) or None"
    raise UsageError(message)


def class_factors(sums: Mapping[float, float], count: int, where: str) -> dict[float, float]:
    """Factors that give all classes the same sum of weights, and `count` events a mean of 1.

    >>> class_factors({0: 30.0, 1: 10.0}, 80, "data")
    {0.0: 1.3333333333333333, 1.0: 4.0}
    """
    if len(sums) < 2:
        message = f"{where}: balance needs at least two classes, the labels are {sorted(sums)}"
        raise UsageError(message)
    if not all(value > 0 for value in sums.values()):
        message = f"{where}: balance needs positive sums of weights, they are {dict(sums)}"
        raise UsageError(message)
    each = count / len(sums)
    return {float(label): each / value for label, value in sums.items()}


def check_classes(keys: Sequence[UnitKey], labels: Sequence[float], where: str) -> None:
    """Raise UsageError unless there are two classes at least, all with rows.

    Args:
        labels: Label of each class, by the number of its source.
    """
    rows = dict.fromkeys(labels, 0)
    for key in keys:
        rows[labels[key.source]] += key.rows
    if len(rows) < 2:
        message = f"{where}: balance needs at least two classes, the labels are {list(rows)}"
        raise UsageError(message)
    if not all(rows.values()):
        message = f"{where}: balance needs selected events of every class, there are {rows}"
        raise UsageError(message)


def repeat_units(keys: Sequence[UnitKey], resample: Resample) -> list[UnitKey]:
    """The units of all repetitions that an oversampled class may need; each class is a source."""
    counts, wanted = _class_counts(keys, resample)
    copies = {
        source: -(-int(wanted[source]) // max(1, int(counts[source])))
        for source in range(len(counts))
    }
    return [replace(key, copy=copy) for key in keys for copy in range(copies[key.source])]


def resampled_counts(
    keys: Sequence[UnitKey], resample: Resample, seed: int, epoch: int
) -> npt.NDArray[np.int64]:
    """Rows of each unit of `repeat_units` that this epoch uses.

    All repetitions but the last are complete; of the last one a random part is used, spread over
    the units as a uniform draw of rows would be.
    """
    first = [key for key in keys if key.copy == 0]
    counts, wanted = _class_counts(first, resample)
    full, part = np.divmod(wanted, np.maximum(counts, 1))
    rows = np.array([key.rows for key in keys], dtype=np.int64)
    copies = np.array([key.copy for key in keys], dtype=np.int64)
    sources = np.array([key.source for key in keys], dtype=np.int64)
    used = np.where(copies < full[sources], rows, 0)
    for source in np.flatnonzero(part):
        last = np.flatnonzero((sources == source) & (copies == full[source]))
        rng = generator(seed, epoch, Purpose.RESAMPLE, int(source))
        used[last] = draw_counts(rng, rows[last], int(part[source]))
    return used


def resampled_rows(
    rows_of_class: Sequence[npt.NDArray[np.int64]], resample: Resample, seed: int, epoch: int
) -> npt.NDArray[np.int64]:
    """Row numbers of an epoch when all rows are in memory: each class repeated or thinned."""
    counts = np.array([len(rows) for rows in rows_of_class], dtype=np.int64)
    chosen = []
    for source, (rows, wanted) in enumerate(
        zip(rows_of_class, resample.wanted(counts).tolist(), strict=True)
    ):
        if not len(rows):
            continue
        full, part = divmod(wanted, len(rows))
        rng = generator(seed, epoch, Purpose.RESAMPLE, source)
        chosen += [rows] * full + [rng.permutation(rows)[:part]]
    return np.concatenate(chosen)


def _class_counts(keys: Sequence[UnitKey], resample: Resample) -> tuple[Counts, Counts]:
    counts = np.zeros(max(key.source for key in keys) + 1, dtype=np.int64)
    for key in keys:
        counts[key.source] += key.rows
    return counts, resample.wanted(counts)
