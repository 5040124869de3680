"""The same event in two simulations: residuals and ranks of pairs.

A fast and a full simulation of the same generator events can be compared event by event. Noise of
the two simulations is independent, so a perfect correction does not bring residuals to 0: look at
the width and the rank distance beside those of the classifier. A correction that keeps the
distribution but exchanges events has a rank distance near 1/3, that of independent numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float
from rootml.errors import UsageError
from rootml.sbi.morphing.inference._rows import Rows

INDEPENDENT = 1 / 3
"""The mean distance of two independent ranks."""
QUANTILES = (0.05, 0.16, 0.5, 0.84, 0.95)
_FEWEST = 10


@dataclass(frozen=True, eq=False)
class PairResult:
    """One feature of paired events. Each pair counts once; weights are not used.

    A residual is the simulation's value less that of its partner in the data. A rank is the
    fraction of the own sample's pairs below a value, half of the equal ones included.

    Attributes:
        bias, bias_error: Mean of the residuals, and the error of it.
        width: Standard deviation of the residuals.
        absolute: Mean of their absolute values.
        quantiles: Of the residuals, at `QUANTILES`.
        rank_distance, rank_error: Mean absolute difference of the ranks of partners: 0 for the
            same order, 1/3 for independent numbers; and the error of it.
        rank_quantiles: Of the differences of ranks, at `QUANTILES`.
        rank_correlation: Spearman's.
    """

    name: str
    bias: float
    bias_error: float
    width: float
    absolute: float
    quantiles: Float
    rank_distance: float
    rank_error: float
    rank_quantiles: Float
    rank_correlation: float


@dataclass(frozen=True, eq=False)
class Pairs:
    """Events that are in both samples.

    Attributes:
        rows: How many pairs.
        before, after: For each feature, with the simulation as it was and corrected.
    """

    rows: int
    before: tuple[PairResult, ...]
    after: tuple[PairResult, ...]


def matching_rows(sim: Rows, data: Rows) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Row numbers of the same event (and the same element of its lists) in both samples.

    Raises:
        UsageError: An id that occurs twice in a sample, or fewer than 10 pairs.
    """
    for domain, rows in (("simulation", sim), ("data", data)):
        repeated = len(rows) - len(np.unique(rows.keys))
        if repeated:
            message = (
                f"pairs='event': {repeated:,} of {len(rows):,} rows of the {domain} have the id "
                "of another row; give id= columns that tell events apart"
            )
            raise UsageError(message)
    _, first, second = np.intersect1d(sim.keys, data.keys, assume_unique=True, return_indices=True)
    if len(first) < _FEWEST:
        message = (
            f"pairs='event': {len(first)} of {len(sim):,} rows of the simulation have an event of "
            f"the data ({len(data):,} rows) as partner; the id columns have to be the same in both"
        )
        raise UsageError(message)
    return first, second


def compare_pairs(names: tuple[str, ...], sim: Float, data: Float) -> tuple[PairResult, ...]:
    """Residuals and ranks of partners, `(pairs, features)` each.

    >>> x = np.arange(4.0)[:, None]
    >>> (found,) = compare_pairs(("x",), x + 1, x)
    >>> found.bias, found.width, found.rank_distance
    (1.0, 0.0, 0.0)
    """
    return tuple(_compare(name, sim[:, j], data[:, j]) for j, name in enumerate(names))


def _compare(name: str, x: Float, y: Float) -> PairResult:
    residuals = x - y
    rx, ry = mid_ranks(x), mid_ranks(y)
    differences = rx - ry
    distances = np.abs(differences)
    root = float(np.sqrt(len(x)))
    width = float(residuals.std(ddof=1))
    return PairResult(
        name,
        bias=float(residuals.mean()),
        bias_error=width / root,
        width=width,
        absolute=float(np.abs(residuals).mean()),
        quantiles=np.quantile(residuals, QUANTILES),
        rank_distance=float(distances.mean()),
        rank_error=float(distances.std(ddof=1)) / root,
        rank_quantiles=np.quantile(differences, QUANTILES),
        rank_correlation=_correlation(rx, ry),
    )


def mid_ranks(values: Float) -> Float:
    """Ranks between 0 and 1, equal values the mean of theirs.

    >>> mid_ranks(np.array([3.0, 1.0, 3.0, 7.0])).tolist()
    [0.5, 0.125, 0.5, 0.875]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - 0.5 * counts
    found: Float = middle[place] / len(values)
    return found


def _correlation(a: Float, b: Float) -> float:
    """Pearson's; NaN if one of them is constant."""
    x, y = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm else float("nan")
