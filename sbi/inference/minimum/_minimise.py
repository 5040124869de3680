"""From a likelihood to its minimum: Minuit's MIGRAD, then Newton steps with the exact Hessian."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.optional import optional_import
from rootml._internal.types import Float
from rootml._internal.validators import is_a, is_number
from rootml.errors import DensityError, MissingParameterError, UsageError, nearest
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._parameters import Nuisance, Parameter

_NEAR_LIMIT = 1e-3  # of a standard deviation: nearer than this is at the limit
_EDM_GOAL = 1e-12  # Newton steps stop here
MAX_EDM = 1e-4  # minima with a larger EDM are rejected
_LAST = 2e-9  # EDM of steps (6e-5 standard deviations) that end where the parabola says
_FLAT = 1e4  # variances that others raise this much may hide a flat direction: look again
_STALE = 1e-10  # steps this short (1e-5 standard deviations) leave the Hessian as it is
_FAR = 1e-2  # steps this long change it so much that the next one needs a new one
_STEPS = 12
_MAX_DESCENT = 100  # steps of `descend`
_MAX_DAMPING = 1e12
_MAX_ACTIVE = 8  # rounds in which parameters go to their limits
_ALONE = 24  # rows of a matrix that one thread inverts
_GENTLE = 1e-6  # damping below this leaves a Newton step as it is


class Objective:
    """What Minuit minimises: the likelihood, and a wall where it has no value.

    Where a density is not positive there is no likelihood. Minuit is told a number far above all
    that it saw, so that its line search turns back; `outside` counts how often, `values` and
    `gradients` the evaluations of the minimiser.

    The value at the first point is subtracted: Minuit compares differences with the size of the
    values, and -log L of many events is a large number.
    """

    def __init__(self, like: Fittable, free: npt.NDArray[np.bool_]) -> None:
        self.like = like
        self.free = free
        self.outside = self.values = self.gradients = 0
        self._offset: float | None = None
        self._largest = -math.inf
        self._smallest = math.inf

    def __call__(self, theta: Float) -> float:
        value = self.like.nll(theta, strict=False)
        if math.isfinite(value):
            if self._offset is None:
                self._offset = value
            value -= self._offset
            self._largest = max(self._largest, value)
            self._smallest = min(self._smallest, value)
            return value
        self.outside += 1
        if not math.isfinite(self._smallest):
            self.like.nll(theta)  # the very first point: raises, and says why
        return self._largest + max(1e3, 10.0 * (self._largest - self._smallest))

    def gradient(self, theta: Float) -> Float:
        """The gradient; that of the wall is not known, so it is flat."""
        value, gradient = gradient_of(self.like, theta, self.free)
        if math.isfinite(value) and np.isfinite(gradient).all():
            return gradient
        self.outside += 1
        return np.zeros_like(theta)


def gradient_of(like: Fittable, theta: Float, free: npt.NDArray[np.bool_]) -> tuple[float, Float]:
    """Value and gradient; 0 for fixed parameters, which may have none (``sqrt(mu)`` at 0)."""
    value, gradient = like.nll_gradient(theta, strict=False)
    return value, gradient if free.all() else np.where(free, gradient, 0.0)


def start_of(
    like: Fittable, *, fixed: Mapping[str, float], start: Mapping[str, float]
) -> tuple[Float, npt.NDArray[np.bool_]]:
    """Where a fit starts, and which parameters it varies: ``(parameter,)`` both.

    Raises:
        MissingParameterError: `fixed` or `start` names an unknown parameter.
        UsageError: A start that is not a number or outside its range.
    """
    names = list(like.parameters)
    for given in (fixed, start):
        if not is_a(given, Mapping):
            message = f"fixed= and start= take values by name, e.g. {{'mu': 1.0}}, not {given!r}"
            raise UsageError(message)
        for name in given:
            if name not in like.parameters:
                message = f"no parameter {name!r}; available: {nearest(name, names)}"
                raise MissingParameterError(message)
    values = {name: float(p.value or 0.0) for name, p in like.parameters.items()}
    values |= {**start, **fixed}
    free = np.array([not (p.fixed or name in fixed) for name, p in like.parameters.items()], bool)
    _check_start(like, values, free)
    return np.array([values[name] for name in names], np.float64), free


def prepare(
    objective: Objective, theta: Float, *, gradient: bool = True, strategy: int = 0
) -> Any:  # an iminuit.Minuit, which is optional
    """A Minuit object of a likelihood that starts at a point."""
    iminuit = optional_import("iminuit", feature="sbi.fit", extra="sbi")
    parameters = objective.like.parameters
    minuit = iminuit.Minuit(
        objective, theta, grad=objective.gradient if gradient else None, name=list(parameters)
    )
    minuit.errordef = iminuit.Minuit.LIKELIHOOD
    minuit.strategy = strategy
    for free, (name, parameter) in zip(objective.free, parameters.items(), strict=True):
        minuit.errors[name] = _step(parameter)
        minuit.fixed[name] = not free
        if free:  # a fixed value may lie at or beyond a limit
            minuit.limits[name] = (parameter.lower, parameter.upper)
    return minuit


def check_strategy(strategy: int) -> None:
    """Refuse what is none of Minuit's strategies."""
    if strategy not in {0, 1, 2}:
        message = f"strategy={strategy!r}: Minuit's strategies are 0, 1 and 2"
        raise UsageError(message)


def _check_start(like: Fittable, values: Mapping[str, float], free: npt.NDArray[np.bool_]) -> None:
    low, high = limits(like)
    for i, (name, value) in enumerate(values.items()):
        if not is_number(value) or (free[i] and not low[i] <= value <= high[i]):
            message = f"a fit cannot start at {name} = {value}: its range is [{low[i]}, {high[i]}]"
            raise UsageError(message)


def _step(parameter: Parameter | Nuisance) -> float:
    if isinstance(parameter, Nuisance) and parameter.constraint == "gaussian":
        return parameter.width
    return max(0.1 * abs(parameter.value or 0.0), 0.01)


def descend(like: Fittable, theta: Float, free: npt.NDArray[np.bool_]) -> tuple[Float, bool]:
    """Damped Newton steps within the limits: where they end, and whether at a minimum.

    Each step solves ``(H + damping diag|H|) step = -gradient`` for the parameters that no limit
    blocks (Levenberg and Marquardt). Faster than MIGRAD by far where the start is near, and a
    second opinion where MIGRAD fails.
    """
    low, high = limits(like)
    theta = np.where(free, np.clip(theta, low, high), theta)
    value, gradient = gradient_of(like, theta, free)
    damping, hessian = 0.0, hessian_of(like, theta, free)
    for _ in range(_MAX_DESCENT):
        if hessian is None or not np.isfinite(gradient).all():
            return theta, False
        blocked = free & (
            ((theta <= low) & (gradient > 0.0)) | ((theta >= high) & (gradient < 0.0))
        )
        step = _damped(hessian, gradient, free & ~blocked, damping, (low - theta, high - theta))
        if step is None:
            damping = max(10.0 * damping, 1e-3)
            if damping > _MAX_DAMPING:
                return theta, False
            continue
        if damping <= _GENTLE and 0.5 * abs(float(gradient @ step)) < _EDM_GOAL:
            return theta, True
        trial = np.where(free, np.clip(theta + step, low, high), theta)
        lower, rise = gradient_of(like, trial, free)
        if not (lower <= value + 1e-14 * abs(value) and np.isfinite(rise).all()):
            damping = max(10.0 * damping, 1e-3)
            if damping > _MAX_DAMPING:
                return theta, False
            continue
        still = value - lower <= 1e-14 * abs(value) and np.array_equal(trial, theta)
        value_before, gradient_before = value, gradient
        theta, value, gradient = trial, lower, rise
        if still:
            return theta, damping <= _GENTLE
        expected = 0.5 * abs(float(gradient_before @ step))
        fast = value_before - value > 0.5 * expected  # the parabola held: trust it more
        damping = 0.0 if damping <= _GENTLE else (0.01 if fast else 0.1) * damping
        hessian = hessian_of(like, theta, free)
    return theta, False


def _damped(
    hessian: Float, gradient: Float, moving: npt.NDArray[np.bool_], damping: float,
    room: tuple[Float, Float],
) -> Float | None:  # fmt: skip
    """A damped Newton step that stays within `room`; None: the matrix is not positive.

    Parameters that would leave go to their limit, and the others follow them.
    """
    size = np.abs(np.diag(hessian))
    matrix = hessian + np.diag(damping * np.where(size > 0.0, size, 1.0))
    step = np.zeros_like(gradient)
    for _ in range(_MAX_ACTIVE):
        pulled = gradient + matrix @ np.where(moving, 0.0, step)
        found = _newton(matrix, pulled, moving)
        if found is None:
            return None
        step = np.where(moving, found, step)
        leaving = moving & ((step < room[0]) | (step > room[1]))
        if not leaving.any():
            return step
        step = np.where(leaving, np.clip(step, *room), step)
        moving = moving & ~leaving
    return np.clip(step, *room)


@dataclass
class Minimum:
    """A point, and what is known about it.

    Attributes:
        theta: The point.
        value: Minus log L.
        hessian: Second derivatives of all parameters; None: not computable.
        blocked: Parameters held by a limit: the gradient there points outwards.
        edm: Estimated distance to the minimum (EDM), in -log L; infinite without a Hessian.
        gradient: First derivatives of all parameters.
        flat: Directions without curvature once they were looked for, see `_flat`.
        seen: Where the second derivatives were taken, a hair from `theta`; None: there.
        covariance: Once it was asked for, see `covariance_of`.
        spectrum: Eigenvalues that were found last, see `_flat`.
    """

    theta: Float
    value: float
    hessian: Float | None
    blocked: npt.NDArray[np.bool_]
    edm: float
    gradient: Float
    flat: Float | None = None
    seen: Float | None = None
    covariance: tuple[Float, bool] | None = None
    spectrum: Any = None


def polish(
    like: Fittable, theta: Float, free: npt.NDArray[np.bool_],
    known: tuple[float, Float, Float] | None = None, goal: float = _LAST,
) -> Minimum:  # fmt: skip
    """Newton steps from where a minimiser stopped, within the limits, as long as they lead down.

    Args:
        known: Value and gradient a short step before, and the step, which the second derivatives
            of here carry on.
        goal: The EDM from which on a step ends where the parabola says.
    """
    low, high = limits(like)
    value, gradient, came = (*gradient_of(like, theta, free), None) if known is None else known
    gradient = gradient if free.all() else np.where(free, gradient, 0.0)
    hessian, seen = hessian_of(like, theta, free), theta
    none = np.zeros_like(free)
    if hessian is None or not np.isfinite(gradient).all():
        return Minimum(theta, value, hessian, none, math.inf, gradient)
    if came is not None:
        rise = hessian @ came
        value, gradient = value + float(gradient @ came + 0.5 * rise @ came), gradient + rise
    theta, value, gradient = _snap(like, theta, value, gradient, hessian, free)
    edm, blocked, moved = math.inf, none, 0.0
    for _ in range(_STEPS):
        blocked = free & (
            ((theta <= low) & (gradient > 0.0)) | ((theta >= high) & (gradient < 0.0))
        )
        where = np.flatnonzero(free & ~blocked)
        inverse = invert(_block(hessian, where))
        if inverse is None:
            return Minimum(theta, value, hessian, blocked, math.inf, gradient)
        step = np.zeros_like(theta)
        step[where] = -inverse @ gradient[where]
        edm = 0.5 * abs(float(gradient @ step))
        trial = np.where(free, np.minimum(np.maximum(theta + step, low), high), theta)
        correlated = (inverse.diagonal() * hessian.diagonal()[where]).max(initial=1.0)
        if edm < goal and correlated < _FLAT and np.array_equal(trial, theta + step):
            # what a step this short leaves is of second order: it need not be looked at
            theta, value, gradient = trial, value - edm, gradient + hessian @ step
            break
        if edm < _EDM_GOAL:
            break
        lower, rise = gradient_of(like, trial, free)
        slack = 1e-14 * abs(value)
        if not (lower <= value + slack and np.isfinite(rise).all()):
            break
        theta, value, gradient, moved = trial, lower, rise, moved + edm
        if edm > _FAR:  # the next step needs the second derivatives of here
            hessian, seen, moved = hessian_of(like, theta, free), theta, 0.0
            if hessian is None:
                return Minimum(theta, value, None, blocked, math.inf, gradient)
    if moved > _STALE:
        hessian, seen = hessian_of(like, theta, free), theta
    return Minimum(theta, value, hessian, blocked, edm, gradient, seen=seen)


def _snap(
    like: Fittable, theta: Float, value: float, gradient: Float, hessian: Float,
    free: npt.NDArray[np.bool_],
) -> tuple[Float, float, Float]:  # fmt: skip
    """Put parameters that MIGRAD left just inside of a limit onto it, where that is lower."""
    low, high = limits(like)
    near = _NEAR_LIMIT / np.sqrt(np.maximum(hessian.diagonal(), 1e-300))
    down = free & (theta - low < near) & (gradient > 0.0)
    up = free & (high - theta < near) & (gradient < 0.0)
    if not (down | up).any():
        return theta, value, gradient
    trial = np.where(down, low, np.where(up, high, theta))
    lower, rise = gradient_of(like, trial, free)
    if lower <= value and np.isfinite(rise).all():
        return trial, lower, rise
    return theta, value, gradient


def hessian_of(like: Fittable, theta: Float, free: npt.NDArray[np.bool_]) -> Float | None:
    """Second derivatives, 0 for fixed parameters; None where there are none."""
    try:
        given = like.nll_hessian(theta)
    except DensityError:
        return None
    hessian = given if free.all() else np.where(free[:, None] & free, given, 0.0)
    return hessian if np.isfinite(hessian).all() else None


def derivatives(
    like: Fittable, theta: Float, free: npt.NDArray[np.bool_]
) -> tuple[float, Float, Float | None]:
    """Value, gradient and Hessian, 0 for fixed parameters; no Hessian where there is none."""
    value, gradient = gradient_of(like, theta, free)
    return value, gradient, hessian_of(like, theta, free) if np.isfinite(gradient).all() else None


def _newton(hessian: Float, gradient: Float, moving: npt.NDArray[np.bool_]) -> Float | None:
    step = np.zeros_like(gradient)
    where = np.flatnonzero(moving)
    inverse = invert(hessian[np.ix_(where, where)])
    if inverse is None:
        return None
    step[where] = -inverse @ gradient[where]
    return step


def invert(matrix: Float) -> Float | None:
    """The inverse of a positive definite matrix; None of another."""
    if not len(matrix):
        return np.zeros((0, 0))
    scale = np.diag(matrix)
    if not (scale > 0.0).all():
        return None
    root = np.sqrt(scale)
    try:
        factor = np.asarray(np.linalg.cholesky(matrix / root[:, None] / root), np.float64)
    except np.linalg.LinAlgError:
        return None
    inverse = _inverse_of_lower(factor) / root
    return np.asarray(inverse.T @ inverse)


def _block(matrix: Float, where: npt.NDArray[np.intp]) -> Float:
    """The rows and columns of some parameters."""
    return matrix if len(where) == len(matrix) else matrix[where[:, None], where]


def _inverse_of_lower(factor: Float) -> Float:
    """The inverse of a lower triangular matrix, by halves.

    LAPACK's general inverse of a 100 x 100 matrix wakes all threads of the machine, and on a busy
    one waits for them: a hundred times longer than this takes.
    """
    number = len(factor)
    if number <= _ALONE:
        return np.tril(np.linalg.inv(factor))
    half = number // 2
    first, second = (
        _inverse_of_lower(factor[:half, :half]),
        _inverse_of_lower(factor[half:, half:]),
    )
    inverse = np.zeros_like(factor)
    inverse[:half, :half], inverse[half:, half:] = first, second
    inverse[half:, :half] = -second @ (factor[half:, :half] @ first)
    return inverse


def within(like: Fittable, values: Mapping[str, float]) -> dict[str, float]:
    """Values moved to the nearest limit where they lie outside: a place to start from."""
    low, high = limits(like)
    places = {name: i for i, name in enumerate(like.parameters)}
    return {
        name: float(np.clip(value, low[places[name]], high[places[name]]))
        for name, value in values.items()
    }


def limits(like: Fittable) -> tuple[Float, Float]:
    """Lower and upper limits of all parameters; infinite where there are none."""
    pairs = [(p.lower, p.upper) for p in like.parameters.values()]
    low = np.array([-math.inf if low is None else low for low, _ in pairs])
    high = np.array([math.inf if high is None else high for _, high in pairs])
    return low, high
