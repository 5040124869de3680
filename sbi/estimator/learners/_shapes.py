"""Does a nuisance change the shape of a process? A test on held-out events.

The networks of `_differences` give an odd and an even part o(x), e(x) for each nuisance. Held-out
events of the nominal sample, of "up" and of "down" decide what is used of them, by a logistic
regression between the three samples at equal total weight::

    log(up / nominal)   =   a o(x) + b e(x) + c_up[m]
    log(down / nominal) = - a o(x) + b e(x) + c_down[m]         # m: the network that held them out

The shares a and b say how much of the learned shape is true: they are near 1 for a large effect, 0
in the mean for noise. A part is kept where its share exceeds `SIGNIFICANCE` standard deviations,
or where the distributions of single inputs show the effect as clearly (`_marginals`).

The standard deviations are those of a sandwich estimator, in which the events of one identity (an
event and its variations) are one observation; weights may have any sign. They are multiplied by
sqrt(2): each event also trained the networks of the other folds, so the terms of two folds are the
same product of their fluctuations, counted twice. For noise in d directions the result is close to
(q - d) / sqrt(2 q) with q distributed as chi2 of d degrees of freedom: above 3 in a fraction of
1e-5 (d = 1) to 1.3e-3 (large d) of the cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rootml._internal.statistics import effective_events
from rootml._internal.types import Bool, Float, Int
from rootml.sbi.estimator.inputs._shape_decision import ShapeDecision

SIGNIFICANCE = 3.0
MISSED_INFORMATION = 50.0
"""Squared significance, if its form were known, of an effect that is kept in 95 % of cases."""
MIN_VARIANCE = 1e-4
"""Part of the variance of independent events that samples with shared events have at least."""
_MAX_ITERATIONS = 50
_TOLERANCE = 1e-9
_TWICE = 2.0**0.5
_ODD, _EVEN = 0, 1
PARTS = ("odd", "even")


@dataclass(frozen=True)
class HeldOutShape:
    """Events that one network was not trained on, of one nuisance.

    Attributes:
        parts: Odd and even part, `(events, 2)`.
        label: 0 nominal, 1 up, 2 down, `(events,)`.
        weights: `(events,)`.
        ids: Equal for events of one identity, `(events,)`; None: all are independent.
    """

    parts: Float
    label: Int
    weights: Float
    ids: Int | None


@dataclass(frozen=True)
class Shape:
    """What is used of the odd and the even part of a nuisance.

    Attributes:
        shares: Of the odd and the even part; 0 if it is dropped.
        offsets: c_up and c_down of each network, `(networks, 2)`.
        decision: For the record.
    """

    shares: tuple[float, float]
    offsets: Float
    decision: ShapeDecision


def decide_shape(
    process: str,
    nuisance: str,
    parts: Sequence[HeldOutShape],
    *,
    marginal: tuple[float, float] = (-np.inf, -np.inf),
    before: Sequence[ShapeDecision] | None = None,
) -> Shape:
    """Fit the shares and keep those that are significant.

    Args:
        parts: The held-out events of each network.
        marginal: Significance of the odd and the even part in single inputs.
        before: Decisions to repeat; None: decide.
    """
    scaled, numbers = _scaled(parts)
    active = np.array([_varies(scaled, part) for part in (_ODD, _EVEN)])
    fit = _fit(scaled, active)
    significance = np.maximum(np.where(active, fit.significance(), -np.inf), marginal)
    largest = float(significance.max()) if significance.max() > -np.inf else 0.0
    if before is None:
        active &= (significance >= SIGNIFICANCE) & fit.converged
    else:
        active &= _repeated(before, process, nuisance)
    if active.any():
        fit = _fit(scaled, active)
        active &= fit.shares() > 0.0
    kept = bool(active.any()) and fit.converged
    if not kept:
        fit = _Fit.none(len(parts))
    shares = fit.shares()
    gain, gain_error = _gain(scaled, fit)
    decision = ShapeDecision(
        process, nuisance, kept, largest, gain, gain_error,
        _size(scaled, fit), _missed(numbers),
        tuple(name for name, used in zip(PARTS, active, strict=True) if used and kept),
    )  # fmt: skip
    return Shape((float(shares[_ODD]), float(shares[_EVEN])), fit.offsets(), decision)


def fit_offsets(part: HeldOutShape, shares: tuple[float, float]) -> Float:
    """c_up and c_down of a further network, `(2,)`, with given shares.

    Its held-out events are those of another network, which decided on the shares.
    """
    scaled, _ = _scaled([part])
    fit = _Fit.none(1)
    fit.values[-2:] = shares
    found = _newton(scaled, fit, np.array([True, True, False, False]))
    return np.asarray(found.offsets()[0])


def _repeated(before: Sequence[ShapeDecision], process: str, nuisance: str) -> Bool:
    used = [s.parts for s in before if (s.process, s.nuisance) == (process, nuisance)]
    return np.array([any(part in parts for parts in used) for part in PARTS])


def _scaled(parts: Sequence[HeldOutShape]) -> tuple[list[HeldOutShape], Float]:
    """Weights that add up to 1 in each of the three samples; their effective numbers of events."""
    label = np.concatenate([p.label for p in parts])
    weights = np.concatenate([p.weights for p in parts])
    sums = np.bincount(label, weights, minlength=3)
    numbers = np.array([effective_events(weights[label == k]) for k in range(3)])
    scaled = [HeldOutShape(p.parts, p.label, p.weights / sums[p.label], p.ids) for p in parts]
    return scaled, numbers


def _varies(parts: Sequence[HeldOutShape], part: int) -> bool:
    return any(len(p.parts) and np.ptp(p.parts[:, part]) > 0.0 for p in parts)


@dataclass
class _Fit:
    """Coefficients: c_up, c_down of each network, then the two shares; and their covariance."""

    values: Float
    covariance: Float
    converged: bool

    @classmethod
    def none(cls, networks: int) -> _Fit:
        size = 2 * networks + 2
        return cls(np.zeros(size), np.zeros((size, size)), converged=True)

    def shares(self) -> Float:
        return self.values[-2:]

    def offsets(self) -> Float:
        return self.values[:-2].reshape(-1, 2)

    def significance(self) -> Float:
        """In standard deviations, `(2,)`; 0 for a part that was not fitted."""
        errors = _TWICE * np.sqrt(np.maximum(np.diag(self.covariance)[-2:], 0.0))
        return np.divide(self.shares(), errors, out=np.zeros(2), where=errors > 0.0)


def _fit(parts: Sequence[HeldOutShape], active: Bool) -> _Fit:
    """Offsets and those shares that are active."""
    networks = len(parts)
    return _newton(parts, _Fit.none(networks), np.append(np.ones(2 * networks, bool), active))


def _newton(parts: Sequence[HeldOutShape], fit: _Fit, free: Bool) -> _Fit:
    """Newton's method from given values, and the sandwich covariance."""
    for _ in range(_MAX_ITERATIONS):
        gradient, hessian, _ = _sums(parts, fit)
        used = np.ix_(free, free)
        step = np.linalg.lstsq(hessian[used], gradient[free], rcond=1e-12)[0]
        fit.values[free] += np.clip(step, -5.0, 5.0)
        if np.abs(step).max() < _TOLERANCE * (1.0 + np.abs(fit.values).max()):
            _, hessian, spread = _sums(parts, fit)
            inverse = np.linalg.pinv(hessian[used], rcond=1e-12, hermitian=True)
            fit.covariance[used] = inverse @ spread[used] @ inverse
            return fit
    fit.converged = False
    return fit


def _sums(parts: Sequence[HeldOutShape], fit: _Fit) -> tuple[Float, Float, Float]:
    """Gradient and negative Hessian of the log-likelihood, and covariance of the gradient."""
    size = len(fit.values)
    gradient, hessian, spread = np.zeros(size), np.zeros((size, size)), np.zeros((size, size))
    for number, part in enumerate(parts):
        at = np.array([2 * number, 2 * number + 1, size - 2, size - 1])
        up, down = _probabilities(part, fit, number)
        odd, even = part.parts.T
        w = part.weights
        residual_up, residual_down = (part.label == 1) - up, (part.label == 2) - down
        scores = w * np.stack(
            [
                residual_up, residual_down,
                odd * (residual_up - residual_down), even * (residual_up + residual_down),
            ]
        )  # fmt: skip
        gradient[at] += scores.sum(axis=1)
        slopes_up = np.stack([np.ones_like(odd), np.zeros_like(odd), odd, even])
        slopes_down = np.stack([np.zeros_like(odd), np.ones_like(odd), -odd, even])
        mean = slopes_up * up + slopes_down * down
        block = (slopes_up * (w * up)) @ slopes_up.T + (slopes_down * (w * down)) @ slopes_down.T
        hessian[np.ix_(at, at)] += block - (mean * w) @ mean.T
        spread[np.ix_(at, at)] += _spread(scores, part.ids)
    return gradient, hessian, spread


def _probabilities(part: HeldOutShape, fit: _Fit, number: int) -> tuple[Float, Float]:
    """Of "up" and "down" for each event."""
    up, down = (np.exp(value) for value in _log_ratios(part, fit, number))
    total = 1.0 + up + down
    return up / total, down / total


def _log_ratios(part: HeldOutShape, fit: _Fit, number: int) -> tuple[Float, Float]:
    odd, even = (part.parts * fit.shares()).T
    c_up, c_down = fit.offsets()[number]
    return even + odd + c_up, even - odd + c_down


def _spread(scores: Float, ids: Int | None) -> Float:
    """Covariance of the sum of scores.

    Where samples share their events the fluctuations cancel, in the limit of equal events
    completely; a small part of the variance of independent events is kept, so that rounding errors
    never count as significant.
    """
    independent = scores @ scores.T
    if ids is None:
        return independent
    grouped = _grouped(scores, ids)
    return np.asarray(grouped @ grouped.T + MIN_VARIANCE * independent)


def _grouped(values: Float, ids: Int | None) -> Float:
    """Sums over the events of each identity, `(rows, identities)`."""
    if ids is None:
        return values
    _, group = np.unique(ids, return_inverse=True)
    return np.stack([np.bincount(group, row) for row in values])


def _gain(parts: Sequence[HeldOutShape], fit: _Fit) -> tuple[float, float]:
    """Increase of the log-likelihood of held-out events, and its error.

    Weights are scaled such that a sample counts as its effective number of events.
    """
    label = np.concatenate([p.label for p in parts])
    weights = np.concatenate([p.weights for p in parts])
    numbers = np.array([effective_events(weights[label == k]) for k in range(3)])
    total, variance = 0.0, 0.0
    for number, part in enumerate(parts):
        up, down = _log_ratios(part, fit, number)
        own = np.choose(part.label, [np.zeros_like(up), up, down])
        value = own - np.log((1.0 + np.exp(up) + np.exp(down)) / 3.0)
        value *= part.weights * numbers[part.label]
        total += float(value.sum())
        variance += float(np.square(_grouped(value[None, :], part.ids)).sum())
    return total, variance**0.5


def _size(parts: Sequence[HeldOutShape], fit: _Fit) -> float:
    """RMS of log(variation / nominal) over nominal events."""
    total = 0.0
    for number, part in enumerate(parts):
        up, down = _log_ratios(part, fit, number)
        nominal = part.label == 0
        total += float((part.weights * 0.5 * (up**2 + down**2))[nominal].sum())
    return float(max(total, 0.0) ** 0.5)


def _missed(numbers: Float) -> float:
    """RMS of an odd effect about which the held-out events have `MISSED_INFORMATION`."""
    _, up, down = np.maximum(numbers, 1e-300)
    return float((0.25 * MISSED_INFORMATION * (1.0 / up + 1.0 / down)) ** 0.5)
