"""Statistics of weighted samples, each written once. Weights may have any sign.

References:
    DeLong, DeLong, Clarke-Pearson (1988), https://doi.org/10.2307/2531595: error of an area
    under the ROC curve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rootml._internal.types import Float, Weights
from rootml.errors import UsageError


def effective_events(weights: Float) -> float:
    """``(sum w)**2 / sum w**2``: as many events of equal weight have the same relative error.

    0 for weights whose sum is not positive.

    >>> effective_events(np.array([1.0, 1.0, 2.0]))
    2.6666666666666665
    """
    squares = float(np.square(weights).sum())
    return max(0.0, float(weights.sum())) ** 2 / squares if squares else 0.0


def normalised(values: Float, weights: Weights) -> Float:
    """Weights that add up to 1, `(events,)`.

    Raises:
        UsageError: No events, another number of weights, or weights without a positive sum.
    """
    if len(values) == 0:
        message = "a sample without events has no distribution"
        raise UsageError(message)
    if weights is None:
        return np.full(len(values), 1 / len(values))
    if weights.shape != (len(values),):
        message = f"{len(values)} values and weights of shape {weights.shape}: give one per value"
        raise UsageError(message)
    total = float(weights.sum())
    if not total > 0:
        message = f"the weights of {len(values)} events add up to {total:g}: expected more than 0"
        raise UsageError(message)
    return weights / total


def weighted_quantiles(values: Float, probabilities: Float, weights: Weights = None) -> Float:
    """Values below which the given fractions of the weight lie, `(probabilities,)`.

    The smallest value whose cumulative weight reaches the fraction (the inverted distribution
    function). With negative weights the running maximum of the cumulative weight counts.

    >>> weighted_quantiles(np.array([3.0, 1.0, 2.0]), np.array([0.5]), np.array([8.0, 1.0, 1.0]))
    array([3.])
    """
    share = normalised(values, weights)
    order = np.argsort(values, kind="stable")
    cumulated = np.maximum.accumulate(np.cumsum(share[order]))
    # the last sum is 1 only up to rounding, and so are sums that should equal a fraction
    at = np.searchsorted(cumulated, probabilities * (1 - 1e-12), side="left")
    found: Float = values[order][np.minimum(at, len(values) - 1)]
    return found


def cumulative_difference(
    a: Float, b: Float, wa: Weights = None, wb: Weights = None
) -> tuple[Float, Float]:
    """Distinct values of both samples, and ``F_a - F_b`` from each value to the next."""
    values = np.concatenate([a, b])
    steps = np.concatenate([normalised(a, wa), -normalised(b, wb)])
    order = np.argsort(values, kind="stable")
    values = values[order]
    last = np.append(values[1:] > values[:-1], True)  # equal values step together
    return values[last], np.cumsum(steps[order])[last]


def ks_distance(a: Float, b: Float, wa: Weights = None, wb: Weights = None) -> float:
    """The Kolmogorov-Smirnov distance: the largest difference of the cumulative distributions.

    >>> ks_distance(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.5
    """
    return float(np.abs(cumulative_difference(a, b, wa, wb)[1]).max())


def roc_area(
    positive: Float, negative: Float, wp: Weights = None, wn: Weights = None
) -> tuple[float, float]:
    """The area under the ROC curve of scores, and its standard deviation.

    Ties count half. The error is DeLong's with weights: the scatter of the placements of each
    sample's events in the other.

    Args:
        positive, negative: Scores of both samples, `(events,)`; a larger score is more positive.

    >>> roc_area(np.array([0.9, 0.4]), np.array([0.1, 0.5]))[0]
    0.75
    """
    wp, wn = normalised(positive, wp), normalised(negative, wn)
    above, below = _placements(positive, negative, wn), 1 - _placements(negative, positive, wp)
    value = float(wp @ above)
    variance = np.square(wp * (above - value)).sum() + np.square(wn * (below - value)).sum()
    return value, float(np.sqrt(variance))


def roc_area_of_labels(scores: Float, labels: Sequence[int] | Float, weights: Float) -> float:
    """`roc_area` of one array of scores, whose labels are 1 (positive) or 0.

    >>> roc_area_of_labels(np.array([0.1, 0.4, 0.4, 0.9]), np.array([0, 0, 1, 1]), np.ones(4))
    0.875
    """
    ones = np.asarray(labels) == 1
    return roc_area(scores[ones], scores[~ones], weights[ones], weights[~ones])[0]


def _placements(values: Float, others: Float, weights: Float) -> Float:
    """The fraction of the weight of `others` below each value, and half of what is equal."""
    order = np.argsort(others, kind="stable")
    ordered, sums = others[order], np.concatenate([[0.0], np.cumsum(weights[order])])
    left = np.searchsorted(ordered, values, side="left")
    right = np.searchsorted(ordered, values, side="right")
    result: Float = (sums[left] + sums[right]) / 2
    return result
