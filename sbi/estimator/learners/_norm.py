"""The norm of a ratio as a function of the parameters: by the mean score, unless pairs contradict.

::

    by the score:  the mean score of held-out events vanishes at each theta       (`_score`)
    by pairs:      a regression between matched and mismatched held-out pairs     (`_pairs`)

The score makes fits of many events right even where the shape of the ratio is not, and knows most
of the slopes where a single event tells little about theta. Where a single event tells theta to a
small part of its range, scores are large and depend on how sharply the network follows the
density. There its norm may be wrong by several units of log r, and pairs decide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.estimator.graph._assemble import monomials
from rootml.sbi.estimator.learners._pairs import Pairs, constant_norm, pair_norm
from rootml.sbi.estimator.learners._score import NormEstimate

SMALL = 0.1
"""Difference of the two norms, in log r, up to which the score is used, however significant it is.

In a large sample a small error of the shape makes them differ significantly; fits of many events
need the score then, and posteriors of single events do not notice.
"""
_SIGNIFICANT = 4.0
"""chi2 of the difference that is a contradiction, in standard deviations above its mean."""
_WIDTH = 3.0
"""What is known of the norm beforehand: coefficients of scaled parameters are of this size."""


@dataclass(frozen=True)
class ThetaNorm:
    """The norm that is used.

    Attributes:
        coefficients: Of `monomials(theta)`, to subtract from log ratios.
        contradiction: RMS difference in log r between norms by the score and by pairs, where the
            score was not used; 0: it was.
    """

    coefficients: Float
    contradiction: float


def theta_norm(pairs: Pairs, by_score: NormEstimate) -> ThetaNorm:
    """The norm by the mean score, or by held-out pairs where these contradict it.

    Raises:
        ConvergenceError: There is no such norm.
    """
    size = len(by_score.coefficients)
    weak = NormEstimate(np.zeros(size), np.eye(size) / _WIDTH**2)
    by_pairs = pair_norm(pairs, weak)
    apart = by_score.coefficients - by_pairs.coefficients
    rms = _rms(pairs, apart)
    if rms > SMALL and _significance(apart, by_score, by_pairs) > _SIGNIFICANT:
        return ThetaNorm(by_pairs.coefficients, rms)
    return ThetaNorm(constant_norm(pairs, by_score.coefficients), 0.0)


def _rms(pairs: Pairs, apart: Float) -> float:
    """RMS over theta of a norm about its mean."""
    side = pairs.matched
    value = monomials(side.theta) @ apart
    mean = np.average(value, weights=side.weights)
    return float(max(np.average((value - mean) ** 2, weights=side.weights), 0.0) ** 0.5)


def _significance(apart: Float, left: NormEstimate, right: NormEstimate) -> float:
    """chi2 of the difference but for the constant, in standard deviations above its mean."""
    covariance = sum(_inverse(each.information[1:, 1:]) for each in (left, right))
    chi2 = float(apart[1:] @ np.linalg.solve(np.asarray(covariance), apart[1:]))
    freedom = len(apart) - 1
    return (chi2 - freedom) / math.sqrt(2.0 * freedom)


def _inverse(information: Float) -> Float:
    return np.asarray(np.linalg.pinv(information, rcond=1e-12, hermitian=True))
