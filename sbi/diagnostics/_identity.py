"""Tests of ``E_p[(1 - s) g] = E_ref[s g]`` for some functions g of an event, and what they see.

This is the score test of the logistic regression ``log r + sum_k c_k g_k``: if the learned log r
is off by such a sum, the difference of both sides is ``M c`` in the mean, with the response
``M_kl = E_p[s (1 - s) g_k g_l] + E_ref[s (1 - s) g_k g_l]``, and it has the covariance V. So
``t^T V^-1 t`` is a chi squared of noncentrality ``c^T M V^-1 M c``. No test that knows nothing but
the two samples sees a given sum of the g_k more often, for small c.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.diagnostics._pairs import Directions, Pair, chance

_RANK = 1e-9
_ROUNDING = 1e-24


@dataclass(frozen=True)
class IdentityTest:
    """The test of one pair with some functions.

    Attributes:
        directions: The functions g, as found for this pair (they may be centred).
        apart: Left minus right side, ``(direction,)``.
        covariance: Of `apart` if the ratio is right.
        response: By which `apart` changes if log r is off by one of the functions.
        effective: Number of events that the covariance is known from.
    """

    directions: Directions
    apart: Float
    covariance: Float
    response: Float
    effective: float

    @property
    def rank(self) -> int:
        """Degrees of freedom."""
        scale = _scale(self.covariance)
        return int(np.linalg.matrix_rank(self.covariance / scale, tol=_RANK, hermitian=True))

    @property
    def chi2(self) -> float:
        """Chi squared of `rank` degrees of freedom for a right ratio."""
        return float(self.apart @ _inverse(self.covariance) @ self.apart)

    def bias_per_deviation(self, bias: Float) -> float:
        """Largest bias of a fit, in sigma, by an error of log r that moves chi by 1.

        Args:
            bias: By each function of size 1, ``(direction,)``.
        """
        return math.sqrt(max(float(bias @ self.hardest(bias)), 0.0))

    def hardest(self, bias: Float) -> Float:
        """Sizes of the functions in the error that is hardest to see for its bias.

        Its bias is the square of `bias_per_deviation`, and it moves chi by that number.
        """
        return np.asarray(
            _inverse(self.response @ _inverse(self.covariance) @ self.response) @ bias
        )


def identity_test(pair: Pair, functions: Directions, *, centred: bool) -> IdentityTest:
    """Test the identity with some functions.

    Args:
        functions: They must be finite for every event.
        centred: Take from each its mean over the overlap of both densities, so that a wrong norm
            of r alone is not seen (the check of the norm sees that).
    """
    masses = pair.overlap()
    own = pair.numerator.mass, pair.reference.mass
    raw = pair.values(functions)
    middle: Float = np.zeros(1)
    if centred:
        sums = sum(m @ v for m, v in zip(masses, raw, strict=True))
        middle = np.asarray(sums / (masses[0].sum() + masses[1].sum()))

    def directions(x: Float, log_ratio: Float) -> Float:
        return np.asarray(functions(x, log_ratio) - middle)

    values = [each - middle for each in raw]
    parts = [m[:, None] * v for m, v in zip(masses, values, strict=True)]
    rest = [_deviations(p, m) for p, m in zip(parts, own, strict=True)]
    logs = pair.log_numerator, pair.log_reference
    # the derivative of s by log r is s (1 - s)
    slopes = [m * chance(q) * chance(-q) for m, q in zip(own, logs, strict=True)]
    return IdentityTest(
        directions,
        parts[0].sum(axis=0) - parts[1].sum(axis=0),
        np.asarray(sum(each.T @ each for each in rest)),
        np.asarray(sum((w[:, None] * v).T @ v for w, v in zip(slopes, values, strict=True))),
        min(pair.effective_overlap, _effective(rest)),
    )


def _deviations(values: Float, mass: Float) -> Float:
    """From the mean, of ``mass g`` with masses that add up to one, ``(event, direction)``.

    They are 0 for a constant, without rounding errors. The sum of their squares is the variance of
    the sum of the values.
    """
    rest: Float = values - mass[:, None] * values.sum(axis=0)
    rest[:, np.square(rest).sum(axis=0) < _ROUNDING * np.square(values).sum(axis=0)] = 0.0
    return rest


def _effective(rest: Sequence[Float]) -> float:
    """How many events the covariance is known from, for the direction where they are fewest.

    A variance estimated from n events has the relative error ``sqrt((kurtosis - 1) / n)``, that of
    n normal ones ``sqrt(2 / n)``: few events far out count as few.
    """
    squares = [np.square(each) for each in rest]  # ``each**4`` takes ten times as long
    second = np.asarray(sum(each.sum(axis=0) for each in squares))
    fourth = np.asarray(sum(np.square(each).sum(axis=0) for each in squares))
    used = second > 0.0
    if not used.any():
        return math.inf
    return float((2.0 * np.square(second[used]) / fourth[used]).min())


def _scale(matrix: Float) -> Float:
    size = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    return np.asarray(np.outer(size, size))


def _inverse(matrix: Float) -> Float:
    """The inverse, 0 for combinations without a variance."""
    scale = _scale(matrix)
    return np.asarray(np.linalg.pinv(matrix / scale, rcond=_RANK, hermitian=True) / scale)
