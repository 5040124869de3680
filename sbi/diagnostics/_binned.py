"""Chi squared of binned samples, whose bins both of them fill."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rootml._internal.optional import optional_import
from rootml._internal.types import Array, Float
from rootml.sbi.diagnostics._pairs import MIN_EVENTS

BINS = 20


def compare(
    left: Float, right: Float, left_mass: Float, right_mass: Float, bins: int = BINS
) -> tuple[float, Float | None]:
    """Chi squared between two weighted samples, and the inner edges of the bins it is the sum of.

    Bins of equal content are merged until each has the effective number of events `MIN_EVENTS` of
    both samples: a bin that one of them hardly enters has a spread that is not known, and a chi
    squared that means nothing. None: there are too few events to compare.
    """
    edges = quantile_edges(np.concatenate([left, right]), bins)
    first, second = np.searchsorted(edges, left), np.searchsorted(edges, right)
    size = len(edges) + 1
    content = np.stack([
        np.bincount(place, mass, size)
        for place, mass in ((first, np.abs(left_mass)), (second, np.abs(right_mass)))
    ])  # fmt: skip
    squares = np.stack([
        np.bincount(place, mass**2, size)
        for place, mass in ((first, left_mass), (second, right_mass))
    ])  # fmt: skip
    group = _merged(content, squares)
    if group is None:
        return 0.0, None
    apart = np.bincount(first, left_mass, size) - np.bincount(second, right_mass, size)
    apart, spread = np.bincount(group, apart), np.bincount(group, squares.sum(axis=0))
    return float((apart**2 / spread).sum()), edges[np.flatnonzero(np.diff(group))]


def one_hot(values: Float, edges: Float) -> Float:
    """1 for the bin that an event is in, ``(event, bin)``.

    >>> one_hot(np.array([0.2, 0.7]), np.array([0.5]))
    array([[1., 0.],
           [0., 1.]])
    """
    return np.asarray(np.searchsorted(edges, values)[:, None] == np.arange(len(edges) + 1), float)


def _merged(content: Array, squares: Array) -> npt.NDArray[np.intp] | None:
    """Which group of neighbours each bin belongs to; None: not even all together have enough.

    Args:
        content, squares: Sums of absolute weights and of their squares, ``(sample, bin)``.
    """
    groups, number = np.zeros(content.shape[1], np.intp), 0
    sums = np.zeros((2, 2))
    for place in range(content.shape[1]):
        groups[place] = number
        sums += np.stack([content[:, place], squares[:, place]])
        if (sums[0] ** 2 >= MIN_EVENTS * sums[1]).all() and (sums[1] > 0.0).all():
            number, sums = number + 1, np.zeros((2, 2))
    if number == 0:
        return None
    return np.minimum(groups, number - 1)  # what is left over joins the last group


def quantile_edges(values: Float, bins: int) -> Float:
    """Inner edges of bins of equal content; fewer where values repeat."""
    inner = np.quantile(values, np.linspace(0.0, 1.0, bins + 1)[1:-1])
    return np.unique(inner)


def survival(chi2: float, freedom: int) -> float:
    """The probability of a larger chi squared."""
    stats = optional_import("scipy.stats", feature="diagnose", extra="sbi")
    return float(stats.chi2.sf(chi2, freedom))


def survival_hotelling(chi2: float, freedom: int, effective: float) -> float:
    """The same where the covariance is that of so many effective events: Hotelling's T squared."""
    stats = optional_import("scipy.stats", feature="diagnose", extra="sbi")
    rest = max(effective - freedom, 1.0)
    return float(stats.f.sf(chi2 * rest / (freedom * max(effective - 1.0, 1.0)), freedom, rest))
