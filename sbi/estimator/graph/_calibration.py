"""Calibration: an increasing function of the log ratio, fitted to held-out events.

::

    g(l) = a + s_0 l + sum_j (s_j - s_(j-1)) h softplus((l - t_j) / h)

Its slope goes smoothly from s_0 over s_1, ... to s_m near the knots t_j. All slopes are positive,
so g increases and events keep their order. The fit is a logistic regression between events of the
numerator's sample and of the reference. Where a likelihood ratio test accepts g(l) = l, no curve
is used, since it would only add noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rootml._internal.optional import optional_import
from rootml._internal.statistics import effective_events
from rootml._internal.types import Bool, Float
from rootml.sbi.estimator.graph._graph import Builder
from rootml.sbi.estimator.inputs._settings import Calibrate

_BINS = 4000  # quantile bins of the log ratio: fine enough not to change the fit
_MIN_SLOPE = 0.02
_PRIOR = 0.3  # standard deviation of the difference of neighbouring slopes
_SIGNIFICANT = 0.01


@dataclass(frozen=True)
class Curve:
    """An increasing curve.

    Attributes:
        offset: a.
        slopes: s_0 ... s_m, positive.
        knots: t_1 ... t_m, increasing.
        width: h.
    """

    offset: float
    slopes: tuple[float, ...]
    knots: tuple[float, ...]
    width: float

    def __call__(self, log_ratio: Float) -> Float:
        """The calibrated log ratio.

        >>> Curve(0.5, (2.0,), (), 1.0)(np.array([0.0, 1.0]))
        array([0.5, 2.5])
        """
        return np.asarray(_basis(log_ratio, self.knots, self.width) @ self._numbers())

    def _numbers(self) -> Float:
        return np.array([self.offset, self.slopes[0], *np.diff(self.slopes)])

    @property
    def is_identity(self) -> bool:
        """Whether it is the identity."""
        return self.offset == 0 and all(slope == 1 for slope in self.slopes)


IDENTITY = Curve(0.0, (1.0,), (), 1.0)


def _basis(log_ratio: Float, knots: tuple[float, ...], width: float) -> Float:
    """1, l, and a softplus per knot; `(events, 2 + knots)`."""
    far = (log_ratio[:, None] - np.asarray(knots)[None, :]) / width
    ramps = width * np.logaddexp(0.0, far)
    return np.concatenate([np.ones_like(log_ratio)[:, None], log_ratio[:, None], ramps], axis=1)


@dataclass(frozen=True)
class Fitted:
    """A curve and its comparison with the identity.

    Attributes:
        curve: The curve that is used.
        gain: Twice the log-likelihood ratio of the best curve and the identity.
        probability: p-value of the identity.
    """

    curve: Curve
    gain: float
    probability: float


def fit_curve(
    log_ratio: Float,
    numerator: Bool,
    weights: Float,
    *,
    knots: int,
    when: Calibrate,
) -> Fitted:
    """Fit a curve to held-out events of the numerator's sample and of the reference.

    Args:
        log_ratio: `(events,)`.
        numerator: Whether an event belongs to the numerator's sample.
        weights: `(events,)`, of any sign.
        knots: Number of knots.
        when: "auto" (if it is needed), "always" or "never".
    """
    if when == "never":
        return Fitted(IDENTITY, 0.0, 1.0)
    scipy = optional_import("scipy.optimize", feature="calibration", extra="sbi")
    stats = optional_import("scipy.stats", feature="calibration", extra="sbi")
    mean, up, down, shift = _binned(log_ratio, numerator, weights)
    positions, width = _choose_knots(mean, up + down, knots)
    basis = _basis(mean, positions, width)
    cumulate = np.tril(
        np.ones((len(positions) + 1, len(positions) + 1))
    )  # slopes from their differences
    differences = np.linalg.inv(cumulate)

    def coefficients(free: Float) -> Float:
        return np.concatenate([free[:1], differences @ free[1:]])

    def loss(free: Float, prior: float = 1.0) -> tuple[float, Float]:
        given = coefficients(free)
        logit = basis @ given + shift
        value = (up * np.logaddexp(0, -logit) + down * np.logaddexp(0, logit)).sum()
        changes = given[2:]
        value += 0.5 * prior * (changes**2).sum() / _PRIOR**2
        probability = 0.5 * (1 + np.tanh(0.5 * logit))
        gradient = basis.T @ (down * probability - up * (1 - probability))
        gradient[2:] += prior * changes / _PRIOR**2
        return float(value), np.concatenate([gradient[:1], differences.T @ gradient[1:]])

    start = np.concatenate([[0.0], np.ones(len(positions) + 1)])
    bounds = [(None, None), *[(_MIN_SLOPE, None)] * (len(positions) + 1)]
    found = scipy.minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}
    )
    best = Curve(float(found.x[0]), tuple(map(float, found.x[1:])), positions, width)
    gain = 2 * (loss(start, 0.0)[0] - loss(found.x, 0.0)[0])
    probability = float(stats.chi2.sf(max(gain, 0.0), len(start)))
    used = best if when == "always" or probability < _SIGNIFICANT else IDENTITY
    return Fitted(used, float(gain), probability)


def _binned(
    log_ratio: Float, numerator: Bool, weights: Float
) -> tuple[Float, Float, Float, float]:
    """Per bin the mean log ratio and the weights of numerator and reference; the prior log odds.

    The weights of a sample add up to its effective number of events, so that likelihood ratios
    are distributed as without weights.
    """
    scaled = np.empty_like(weights)
    numbers = []
    for side in (numerator, ~numerator):
        total = weights[side].sum()
        effective = effective_events(weights[side])
        scaled[side] = weights[side] * (effective / total)
        numbers.append(effective)
    edges = np.unique(np.quantile(log_ratio, np.linspace(0, 1, _BINS + 1)[1:-1]))
    cell = np.searchsorted(edges, log_ratio, side="right")
    size = len(edges) + 1
    count = np.bincount(cell, minlength=size)
    filled = count > 0
    mean = np.bincount(cell, log_ratio, minlength=size)[filled] / count[filled]
    up = np.bincount(cell[numerator], scaled[numerator], minlength=size)[filled]
    down = np.bincount(cell[~numerator], scaled[~numerator], minlength=size)[filled]
    return (
        mean,
        up.astype(np.float64),
        down.astype(np.float64),
        float(np.log(numbers[0] / numbers[1])),
    )


def _choose_knots(mean: Float, weights: Float, knots: int) -> tuple[tuple[float, ...], float]:
    """Knots at equal steps between the outer percentiles of l, and the step as their width."""
    share = np.cumsum(np.abs(weights)) / np.abs(weights).sum()
    low, high = (float(mean[np.searchsorted(share, q)]) for q in (0.02, 0.98))
    if knots == 0 or high - low < 1e-6:
        return (), 1.0
    step = (high - low) / (knots + 1)
    return tuple(low + step * (j + 1) for j in range(knots)), step


def append_curves(build: Builder, value: str, curves: tuple[Curve, ...]) -> str:
    """Append one curve per column of `value` to a graph."""
    if all(curve.is_identity for curve in curves):
        return value
    offsets = np.array([curve.offset for curve in curves])
    first = np.array([curve.slopes[0] for curve in curves])
    result = build.add("Mul", value, build.constant(first))
    result = build.add("Add", result, build.constant(offsets))
    for j in range(max(len(curve.knots) for curve in curves)):
        has = [j < len(curve.knots) for curve in curves]
        knot = np.array([c.knots[j] if ok else 0.0 for c, ok in zip(curves, has, strict=True)])
        width = np.array([c.width for c in curves])
        change = np.array(
            [_slope_change(c, j) if ok else 0.0 for c, ok in zip(curves, has, strict=True)]
        )
        far = build.add("Sub", value, build.constant(knot))
        far = build.add("Div", far, build.constant(width))
        ramp = build.add("Mul", build.softplus(far), build.constant(width * change))
        result = build.add("Add", result, ramp)
    return result


def _slope_change(curve: Curve, knot: int) -> float:
    return curve.slopes[knot + 1] - curve.slopes[knot]
