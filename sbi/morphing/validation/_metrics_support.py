"""Where values can lie at all, found from the reference, and how much of a sample lies elsewhere.

Three kinds of structure are recognised in a column, each only where the sample leaves no doubt:

- *whole numbers*, when all values are;
- *gaps* that are 50 times wider than the mean spacing of the 50 nearest values on either side
  (a value that repeats 50 times has spacing 0): between the zeros of an isolation sum and its
  threshold, say. For a smooth distribution the probability of such a spacing is below 1e-20;
- *edges*: an outer value that repeats, or an end where the outermost 50 values are not sparser
  than the next 450 by more than a factor 2 (a factor 15 at an exponential tail, 4 where a density
  rises from 0 linearly, 1 at a step).

A tail without an edge leaves room beyond the last value: nothing leaks there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rootml._internal.statistics import normalised
from rootml._internal.types import Float, Weights

_NEAR, _FAR, _RATIO, _SPARSER, _SLACK = 50, 500, 50.0, 2.0, 20.0


@dataclass(frozen=True, slots=True)
class Support:
    """Where values of a column can lie.

    Attributes:
        low, high: The edges; infinite where there is none.
        gaps: Open intervals in which nothing can lie.
        whole: Whether only whole numbers can be.
    """

    low: float
    high: float
    gaps: tuple[tuple[float, float], ...] = ()
    whole: bool = False

    @classmethod
    def of(cls, values: Float) -> Support:
        """Find it from the values of the reference, `(events,)`.

        >>> print(Support.of(np.append(np.zeros(500), np.linspace(2, 3, 5000))))
        [0, 3.004] without (0, 1.996)
        """
        ordered = np.sort(values)
        whole = bool(np.array_equal(ordered, np.floor(ordered)))
        gaps = [(a, b) for a, b in _gaps(ordered) if not whole or b > a + 1]
        return cls(_edge(ordered), -_edge(-ordered[::-1]), tuple(gaps), whole)

    def outside(self, values: Float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which values cannot be."""
        slack = 1e-6 * max(abs(x) for x in (self.low, self.high, 1e-30) if np.isfinite(x))
        bad = (values < self.low - slack) | (values > self.high + slack)
        if self.whole:
            bad |= values != np.floor(values)
        for start, stop in self.gaps:
            edge = 1e-6 * (stop - start)  # float32 in, float64 out
            bad |= (values > start + edge) & (values < stop - edge)
        return np.asarray(bad)

    def leakage(self, values: Float, weights: Weights = None) -> float:
        """Fraction of the weight at values that cannot be; negative weights count positive."""
        share = np.abs(normalised(values, weights))
        return float(share[self.outside(values)].sum() / share.sum())

    def __str__(self) -> str:
        text = f"[{self.low:g}, {self.high:g}]"
        for start, stop in self.gaps:
            text += f" without ({start:g}, {stop:g})"
        return f"whole numbers in {text}" if self.whole else text


def _gaps(ordered: Float) -> list[tuple[float, float]]:
    """Wide spacings with dense values on both sides."""
    if len(ordered) < 2 * _NEAR + 2:
        return []
    spacing = np.diff(ordered)
    at = np.arange(_NEAR, len(spacing) - _NEAR)
    sums = np.concatenate([[0.0], np.cumsum(spacing)])
    before = (sums[at] - sums[at - _NEAR]) / _NEAR
    after = (sums[at + 1 + _NEAR] - sums[at + 1]) / _NEAR
    rounding = 1e-9 * (ordered[-1] - ordered[0])
    wide = spacing[at] > _RATIO * np.maximum(before, after) + rounding
    # As at the outer edges, the true ends lie within a few spacings.
    starts = ordered[at] + _SLACK * before
    stops = ordered[at + 1] - _SLACK * after
    return list(zip(starts[wide].tolist(), stops[wide].tolist(), strict=True))


def _edge(ordered: Float) -> float:
    """The lower edge, or -inf."""
    if len(ordered) < _FAR + 1:
        return float("-inf")
    near = (ordered[_NEAR] - ordered[0]) / _NEAR
    far = (ordered[_FAR] - ordered[_NEAR]) / (_FAR - _NEAR)
    if near == 0:
        return float(ordered[0])
    # The true edge lies about one spacing before the first value; twenty are allowed for.
    return float(ordered[0] - _SLACK * near) if near < _SPARSER * far else float("-inf")
