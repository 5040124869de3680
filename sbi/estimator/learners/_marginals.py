"""Does a nuisance change the distribution of a single input? A test without learning.

::

    odd:   up              -  down              differences of the mean of z, and of z^2
    even:  (up + down) / 2 -  nominal           (z: the normal score of the rank of an input)

A learned shape has to be tested on events that did not teach it, which costs half of the
information. The mean and the width of an input are no learned shapes: all events tell of them, and
most effects, of energy scales and of resolutions, move them. The test knows how many differences
it looks at. Samples that share events are taken as independent, which makes it too careful.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import erfc, inf, log, sqrt
from statistics import NormalDist

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.estimator.graph._ramps import Histograms

_TINY = 1e-300


def marginal_significances(
    histograms: Histograms, densities: Sequence[int]
) -> list[tuple[float, float]]:
    """Significance of the odd and of the even part of each nuisance, in standard deviations.

    That of the clearest difference after all looks, as the one-sided deviation of a normal
    distribution: one of both is above 3 in 0.13 % of the shapes without an effect.

    Args:
        densities: Numbers of the nominal density, then of "up" and "down" of each nuisance.
    """
    means, variances = np.stack([_moments(histograms, k) for k in densities], axis=1)
    found = []
    for up in range(1, len(densities), 2):
        down = up + 1
        odd = means[up] - means[down], variances[up] + variances[down]
        even = (
            0.5 * (means[up] + means[down]) - means[0],
            0.25 * (variances[up] + variances[down]) + variances[0],
        )
        looks = 2 * means[0].size
        found.append((_after_looks(_largest(*odd), looks), _after_looks(_largest(*even), looks)))
    return found


def _moments(histograms: Histograms, density: int) -> tuple[Float, Float]:
    """Means of z and z^2 in each input and their variances, each `(2, inputs)`."""
    found = []
    for column in range(len(histograms.edges)):
        sums, squares = histograms.side([density], column)
        score = _normal_scores(len(sums))
        for f in (score, score**2):
            mean = float(sums @ f / sums.sum())
            found.append((mean, float(squares @ (f - mean) ** 2) / float(sums.sum()) ** 2))
    means, variances = np.array(found).T.reshape(2, -1, 2)
    return means.T, variances.T


def _largest(apart: Float, variance: Float) -> float:
    """The largest difference, in standard deviations."""
    squares = np.divide(apart**2, variance, out=np.zeros_like(apart), where=variance > 0.0)
    return float(np.sqrt(squares.max()))


@cache
def _normal_scores(bins: int) -> Float:
    """Of the middles of bins with equal numbers of events.

    >>> _normal_scores(4).round(2).tolist()
    [-1.15, -0.32, 0.32, 1.15]
    """
    inverse = NormalDist().inv_cdf
    return np.array([inverse((k + 0.5) / bins) for k in range(bins)])


def _after_looks(deviation: float, looks: int) -> float:
    """The deviation of a one-sided test whose chance is that of the largest of so many.

    >>> round(_after_looks(3.9, 8), 2), _after_looks(1.0, 8)
    (3.17, -inf)
    """
    chance = looks * erfc(deviation / sqrt(2.0))
    if chance >= 1.0:
        return -inf
    if chance < _TINY:
        return sqrt(deviation**2 - 2.0 * log(looks))
    return -NormalDist().inv_cdf(chance)
