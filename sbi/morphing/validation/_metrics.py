"""How far apart two weighted samples are, one column at a time.

Every function takes ``(a, b)``, arrays `(events,)`, and their weights ``wa``, ``wb`` (None: 1).
Weights may be negative, as long as they add up to something positive; what is compared are the
shapes, so the sums of weights drop out. `a` is the reference (data) where that matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rootml._internal.optional import optional_import
from rootml._internal.statistics import (
    cumulative_difference,
    ks_distance,
    normalised,
    weighted_quantiles,
)
from rootml._internal.types import Float, Weights
from rootml.errors import UsageError

MEAN_OF_KOLMOGOROV = 0.8687311606361592
"""sqrt(pi / 2) log 2: the mean of sqrt(n) D for n events of the tested distribution."""
MIN_EVENTS = 10.0


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """A chi-square of two histograms and what it should be.

    Attributes:
        value: It is `ndf` on average when both samples come from one distribution.
        ndf: Bins less one, for the normalisation.
    """

    value: float
    ndf: int

    @property
    def per_ndf(self) -> float:
        """``value / ndf``: 1 on average."""
        return self.value / self.ndf if self.ndf else float("nan")

    @property
    def spread(self) -> float:
        """Standard deviation of `per_ndf` around 1."""
        return float(np.sqrt(2 / self.ndf)) if self.ndf else float("nan")

    @property
    def p_value(self) -> float:
        """Probability of a larger value."""
        stats = optional_import("scipy.stats", feature="ChiSquare.p_value", extra="sbi")
        return float(stats.chi2.sf(self.value, self.ndf)) if self.ndf else float("nan")


@dataclass(frozen=True, slots=True)
class Kolmogorov:
    """The largest distance of two cumulative distributions.

    Attributes:
        value: The distance, 0 to 1 for weights that are not negative.
        events: ``n_a n_b / (n_a + n_b)`` of the effective numbers of events.
    """

    value: float
    events: float

    @property
    def expected(self) -> float:
        """Its mean when both samples come from one continuous distribution."""
        return float(MEAN_OF_KOLMOGOROV / np.sqrt(self.events))

    @property
    def p_value(self) -> float:
        """Probability of a larger value for a continuous distribution; asymptotic."""
        stats = optional_import("scipy.stats", feature="Kolmogorov.p_value", extra="sbi")
        return float(stats.kstwobign.sf(self.value * np.sqrt(self.events)))


def moments(values: Float, weights: Weights = None) -> tuple[Float, Float]:
    """Weighted mean and unbiased covariance of `(events, columns)` or `(events,)`.

    The weights count reliability (as `aweights` of `numpy.cov`), but may be negative.
    """
    share = normalised(values, weights)
    mean = share @ values
    off = values - mean
    covariance = (off.T * share) @ off / (1 - float(np.square(share).sum()))
    return mean, covariance


def correlation(values: Float, weights: Weights = None) -> Float:
    """Weighted linear correlations `(columns, columns)` of `(events, columns)`.

    A column without spread correlates with nothing: 0 off the diagonal.
    """
    covariance = moments(values, weights)[1]
    width = np.sqrt(np.maximum(np.diag(covariance), 0))
    safe = np.where(width > 0, width, 1)
    result: Float = covariance / np.outer(safe, safe)
    np.fill_diagonal(result, 1)
    return result


# --- cumulative distributions ----------------------------------------------------------------


def kolmogorov(a: Float, b: Float, wa: Weights = None, wb: Weights = None) -> Kolmogorov:
    """The Kolmogorov-Smirnov distance.

    >>> kolmogorov(np.array([1.0, 2.0]), np.array([2.0, 3.0])).value
    0.5
    """
    distance = ks_distance(a, b, wa, wb)
    na, nb = (1 / float(np.square(normalised(x, w)).sum()) for x, w in ((a, wa), (b, wb)))
    return Kolmogorov(distance, na * nb / (na + nb))


def wasserstein(a: Float, b: Float, wa: Weights = None, wb: Weights = None) -> float:
    """The first Wasserstein distance, in units of the values: the area between the cumulatives.

    As `scipy.stats.wasserstein_distance`, with negative weights too.

    >>> wasserstein(np.array([0.0, 1.0]), np.array([2.0, 3.0]))
    2.0
    """
    values, gaps = cumulative_difference(a, b, wa, wb)
    return float(np.abs(gaps[:-1]) @ np.diff(values))


# --- histograms ------------------------------------------------------------------------------


def binning(values: Float, weights: Weights = None, *, bins: int = 30) -> Float:
    """Edges of a histogram of the reference, `(bins + 1,)` or fewer.

    Whole numbers get bins around whole numbers, several per bin if there are too many. Other
    columns get bins of equal width between the 0.1 % and 99.9 % quantiles; a value that carries
    more than 5 % of the weight at the end of the range (zeros of an isolation sum) gets a narrow
    bin of its own. What lies beyond the outer edges counts in the outer bins (`histogram`).

    Raises:
        UsageError: All values are the same.
    """
    low, high = weighted_quantiles(values, np.array([0.001, 0.999]), weights)
    if low == high:
        low, high = values.min(), values.max()
    if low == high:
        message = f"all {len(values)} values are {low:g}: there is nothing to bin"
        raise UsageError(message)
    if np.array_equal(values, np.floor(values)):
        step = max(1.0, np.ceil((high - low + 1) / bins))
        return np.arange(low - 0.5, high + 0.5 + step, step)
    share = normalised(values, weights)
    width = (high - low) / bins
    edges = np.linspace(low, high, bins + 1)
    for end, outward in ((low, -1.0), (high, 1.0)):
        if share[values == end].sum() > 0.05:
            inner = end - outward * 1e-6 * width
            edges = np.append(edges[edges != end], [end + outward * width / 2, inner])
    return np.sort(edges)


def histogram(values: Float, edges: Float, weights: Weights = None) -> tuple[Float, Float]:
    """Fractions of the weight per bin and sums of squared fractions; the outer bins are open."""
    share = normalised(values, weights)
    bin_index = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    count = len(edges) - 1
    sums: Float = np.bincount(bin_index, share, minlength=count)  # type: ignore[assignment]
    squares: Float = np.bincount(  # type: ignore[assignment]
        bin_index, np.square(share), minlength=count
    )
    return sums, squares


def _merged(parts: list[Float], keep: npt.NDArray[np.bool_]) -> list[Float]:
    """Sums over groups of bins: each kept bin starts a group, those before it join the first."""
    starts = np.flatnonzero(keep)
    starts[0] = 0
    return [np.add.reduceat(part, starts) for part in parts]


def _group_starts(pa: Float, va: Float, pb: Float, vb: Float) -> npt.NDArray[np.bool_]:
    """Where a group of bins starts, so that each has enough effective events of both."""
    keep = np.zeros(len(pa), bool)
    sums = np.zeros(4)
    for number, bin_ in enumerate(zip(pa, va, pb, vb, strict=True)):
        keep[number] = number == 0 or _has_enough_events(sums)
        sums = np.array(bin_) + (0 if keep[number] else sums)
    if not _has_enough_events(sums) and keep.sum() > 1:  # the last group joins the one before
        keep[np.flatnonzero(keep)[-1]] = False
    return keep


def _has_enough_events(sums: Float) -> bool:
    pa, va, pb, vb = sums
    return bool(pa > 0 and pb > 0 and min(pa**2 / va, pb**2 / vb) >= MIN_EVENTS)


def chi_square(
    a: Float, b: Float, wa: Weights = None, wb: Weights = None, *, edges: Float
) -> ChiSquare:
    """Chi-square of the shapes of two weighted histograms.

    ``d' C^-1 d`` with the differences d of the fractions per bin and their full covariance C: that
    of weighted sums divided by their total, so it follows a chi-square distribution of bins - 1
    degrees of freedom for any weights, signed ones too. Neighbouring bins are merged until each
    has 10 effective events of both samples. Where `a` has (almost) nothing but `b` has something
    nothing is dropped: it is added to a neighbour.

    Args:
        edges: `(bins + 1,)`, e.g. of `binning`.
    """
    parts = [*histogram(a, edges, wa), *histogram(b, edges, wb)]
    pa, va, pb, vb = _merged(parts, _group_starts(*parts))
    covariance = _covariance(pa, va) + _covariance(pb, vb)
    difference = (pa - pb)[:-1]  # fractions add up to 1: the last one says nothing new
    if not len(difference):
        return ChiSquare(0.0, 0)
    value = difference @ np.linalg.solve(covariance[:-1, :-1], difference)
    return ChiSquare(float(value), len(difference))


def _covariance(p: Float, v: Float) -> Float:
    """Covariance of ``S_i / S`` where S_i has variance V_i and S is the sum (first order)."""
    cross = np.outer(p, v)
    result: Float = np.diag(v) - cross - cross.T + np.outer(p, p) * v.sum()
    return result


def separation(
    a: Float, b: Float, wa: Weights = None, wb: Weights = None, *, edges: Float
) -> float:
    """TMVA's separation power ``1/2 sum (a - b)**2 / (a + b)``: 0 if equal, 1 if disjoint.

    >>> separation(np.array([0.5, 0.6]), np.array([1.5]), edges=np.array([0.0, 1.0, 2.0]))
    1.0
    """
    pa, pb = histogram(a, edges, wa)[0], histogram(b, edges, wb)[0]
    total = pa + pb
    filled = total > 0
    return float(0.5 * (np.square(pa - pb)[filled] / total[filled]).sum())
