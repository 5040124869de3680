"""Calibration: a rising curve through the log ratio, fitted on held-out events.

::

    g(l) = a + s_0 l + sum_j (s_j - s_(j-1)) h softplus((l - t_j) / h)

Its slope goes smoothly from s_0 over s_1, ... to s_m, near knots t_j, and is a mean of them with
positive weights; all are positive, so g rises, and no two events change their order. The fit
maximises the likelihood of a logistic regression: is the event of the numerator's sample or of the
reference's? Where g(l) = l is compatible with the held-out events (by the likelihood ratio), that
is kept: a curve fitted to nothing would only add its own noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml._internal.optional import optional_import
from rootml.sbi.estimator._graph import Builder

Float: TypeAlias = npt.NDArray[np.float64]
Calibrate: TypeAlias = "Literal['auto', 'always', 'never']"

_CELLS = 4000  # log ratios are summed up in so many quantile bins: the fit does not feel it
_LEAST_SLOPE = 0.02
_PRIOR = 0.3  # standard deviation of the difference of neighbouring slopes
_SIGNIFICANT = 0.01


@dataclass(frozen=True)
class Curve:
    """A rising curve.

    Attributes:
        offset: a.
        slopes: s_0 ... s_m, positive.
        knots: t_1 ... t_m, rising.
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
        """Whether it changes nothing."""
        return self.offset == 0 and all(slope == 1 for slope in self.slopes)


IDENTITY = Curve(0.0, (1.0,), (), 1.0)


def _basis(log_ratio: Float, knots: tuple[float, ...], width: float) -> Float:
    """1, l, and a softplus per knot; `(events, 2 + knots)`."""
    far = (log_ratio[:, None] - np.asarray(knots)[None, :]) / width
    ramps = width * np.logaddexp(0.0, far)
    return np.concatenate([np.ones_like(log_ratio)[:, None], log_ratio[:, None], ramps], axis=1)


@dataclass(frozen=True)
class Fitted:
    """A curve, and what it gains over the identity.

    Attributes:
        curve: The curve that is used.
        gain: Twice the difference of log likelihoods of the best curve and the identity.
        probability: How often the identity would lose as much by chance.
    """

    curve: Curve
    gain: float
    probability: float


def fit_curve(
    log_ratio: Float,
    numerator: npt.NDArray[np.bool_],
    weights: Float,
    *,
    knots: int,
    when: Calibrate,
) -> Fitted:
    """Fit a curve to held-out events of the numerator's sample and of the reference's.

    Args:
        log_ratio: `(events,)`.
        numerator: Which of them are of the numerator's sample.
        weights: Signed.
        knots: Number of knots.
        when: "auto": if it is needed; "always"; "never".
    """
    if when == "never":
        return Fitted(IDENTITY, 0.0, 1.0)
    scipy = optional_import("scipy.optimize", feature="calibration", extra="sbi")
    stats = optional_import("scipy.stats", feature="calibration", extra="sbi")
    where, up, down, shift = _summed_up(log_ratio, numerator, weights)
    places, width = _place(where, up + down, knots)
    basis = _basis(where, places, width)
    rise = np.tril(np.ones((len(places) + 1, len(places) + 1)))  # slopes from their differences
    turn = np.linalg.inv(rise)

    def coefficients(free: Float) -> Float:
        return np.concatenate([free[:1], turn @ free[1:]])

    def loss(free: Float, prior: float = 1.0) -> tuple[float, Float]:
        given = coefficients(free)
        logit = basis @ given + shift
        value = (up * np.logaddexp(0, -logit) + down * np.logaddexp(0, logit)).sum()
        bends = given[2:]
        value += 0.5 * prior * (bends**2).sum() / _PRIOR**2
        chance = 0.5 * (1 + np.tanh(0.5 * logit))
        slope = basis.T @ (down * chance - up * (1 - chance))
        slope[2:] += prior * bends / _PRIOR**2
        return float(value), np.concatenate([slope[:1], turn.T @ slope[1:]])

    start = np.concatenate([[0.0], np.ones(len(places) + 1)])
    bounds = [(None, None), *[(_LEAST_SLOPE, None)] * (len(places) + 1)]
    found = scipy.minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}
    )
    best = Curve(float(found.x[0]), tuple(map(float, found.x[1:])), places, width)
    gain = 2 * (loss(start, 0.0)[0] - loss(found.x, 0.0)[0])
    probability = float(stats.chi2.sf(max(gain, 0.0), len(start)))
    used = best if when == "always" or probability < _SIGNIFICANT else IDENTITY
    return Fitted(used, float(gain), probability)


def _summed_up(
    log_ratio: Float, numerator: npt.NDArray[np.bool_], weights: Float
) -> tuple[Float, Float, Float, float]:
    """Cells of log ratios: mean, weights of numerator and reference in it; the prior's log odds.

    Each sample weighs as many events as it is worth, so that likelihood ratios mean what they say.
    """
    mass = np.empty_like(weights)
    worth = []
    for side in (numerator, ~numerator):
        total = weights[side].sum()
        effective = total**2 / np.square(weights[side]).sum()
        mass[side] = weights[side] * (effective / total)
        worth.append(effective)
    edges = np.unique(np.quantile(log_ratio, np.linspace(0, 1, _CELLS + 1)[1:-1]))
    cell = np.searchsorted(edges, log_ratio, side="right")
    size = len(edges) + 1
    count = np.bincount(cell, minlength=size)
    filled = count > 0
    mean = np.bincount(cell, log_ratio, minlength=size)[filled] / count[filled]
    up = np.bincount(cell[numerator], mass[numerator], minlength=size)[filled]
    down = np.bincount(cell[~numerator], mass[~numerator], minlength=size)[filled]
    return mean, up.astype(np.float64), down.astype(np.float64), float(np.log(worth[0] / worth[1]))


def _place(where: Float, mass: Float, knots: int) -> tuple[tuple[float, ...], float]:
    """Knots at equal steps of l between the outer percentiles, and the step as their width."""
    share = np.cumsum(np.abs(mass)) / np.abs(mass).sum()
    low, high = (float(where[np.searchsorted(share, q)]) for q in (0.02, 0.98))
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
        bend = np.array([_bend(c, j) if ok else 0.0 for c, ok in zip(curves, has, strict=True)])
        far = build.add("Sub", value, build.constant(knot))
        far = build.add("Div", far, build.constant(width))
        ramp = build.add("Mul", build.softplus(far), build.constant(width * bend))
        result = build.add("Add", result, ramp)
    return result


def _bend(curve: Curve, knot: int) -> float:
    return curve.slopes[knot + 1] - curve.slopes[knot]
