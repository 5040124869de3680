"""What a sample looks like in slices of another column: distances, and profiles for pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rootml._internal.statistics import normalised, weighted_quantiles
from rootml._internal.types import Float, Weights
from rootml.sbi.morphing.validation._metrics import kolmogorov

QUANTILES = np.array([0.15865525393145707, 0.5, 0.8413447460685429])
"""The median and the central 68.3 %."""
_MIN_SIZE = 20


@dataclass(frozen=True, slots=True)
class Slice:
    """One feature in one range of one condition.

    Attributes:
        low, high: The range; the last one includes its upper end.
        ks: Kolmogorov-Smirnov distance of the two samples there; NaN where there is too little.
        expected: Its mean for two samples of one distribution.
        reference, sample: 15.9, 50 and 84.1 % quantiles of the feature there.
    """

    condition: str
    feature: str
    low: float
    high: float
    ks: float
    expected: float
    reference: tuple[float, float, float]
    sample: tuple[float, float, float]


def slice_edges(values: Float, weights: Weights = None, *, slices: int = 5) -> Float:
    """Quantiles of the reference that divide it into parts of about equal weight.

    Equal ones (of whole numbers, show_status) are joined, so there may be fewer.
    """
    inner = weighted_quantiles(values, np.linspace(0, 1, slices + 1)[1:-1], weights)
    edges = np.unique(np.concatenate([[values.min()], inner, [values.max()]]))
    return edges if len(edges) > 1 else np.array([edges[0], edges[0]])


def slice_number(values: Float, edges: Float) -> npt.NDArray[np.intp]:
    """In which slice each value lies; -1 for those outside."""
    index = np.searchsorted(edges, values, side="right") - 1
    index = np.where(values == edges[-1], len(edges) - 2, index)
    return np.where((index < 0) | (index > len(edges) - 2), -1, index)


def compare_slices(
    condition: str,
    feature: str,
    edges: Float,
    a: tuple[Float, Float, Weights],
    b: tuple[Float, Float, Weights],
) -> list[Slice]:
    """Compare a feature in slices of a condition.

    Args:
        edges: Of the slices, `(slices + 1,)`, from `slice_edges`.
        a, b: Condition, feature and weights `(events,)`, of the reference and of the sample.
    """
    numbers = [slice_number(side[0], edges) for side in (a, b)]
    found = []
    for i in range(len(edges) - 1):
        parts = [_part(side, number == i) for side, number in zip((a, b), numbers, strict=True)]
        ks = expected = float("nan")
        quantiles = [(float("nan"),) * 3, (float("nan"),) * 3]
        if all(part is not None for part in parts):
            (xa, wa), (xb, wb) = (part for part in parts if part is not None)
            distance = kolmogorov(xa, xb, wa, wb)
            ks, expected = distance.value, distance.expected
            quantiles = [_profile(xa, wa), _profile(xb, wb)]
        low, high = float(edges[i]), float(edges[i + 1])
        found.append(Slice(condition, feature, low, high, ks, expected, *quantiles))
    return found


def _part(
    side: tuple[Float, Float, Weights], inside: npt.NDArray[np.bool_]
) -> tuple[Float, Float] | None:
    """Feature and weights of the events inside, if there are enough of them."""
    weights = normalised(side[1], side[2])[inside]
    if inside.sum() < _MIN_SIZE or weights.sum() <= 0:
        return None
    return side[1][inside], weights


def _profile(values: Float, weights: Float) -> tuple[float, float, float]:
    low, middle, high = weighted_quantiles(values, QUANTILES, weights).tolist()
    return low, middle, high
