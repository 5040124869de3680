"""Quasi-Newton steps: from one exact Hessian to a minimum, within the limits.

::

    H = analytic second derivatives at the start, or of a fit nearby
    until the EDM is small:
        step = -H^-1 gradient, for the parameters that no limit blocks
        shorten it until -log L falls
        H += y y^T / (y d) - (H d)(H d)^T / (d H d)      for d = step, y = change of the gradient

The last line is the update of Broyden, Fletcher, Goldfarb and Shanno (Nocedal and Wright,
Numerical Optimization, 2nd edition, section 6.1): it keeps H positive definite. Value and gradient
come of one pass over the events, and a fit takes some ten of them; with few parameters an eighth
of many events takes the first, and all of them three or four. A conditional fit starts where the
Hessian expects its minimum, and takes one or two. Where most events are those of the reference, a
part of these takes the steps (`Likelihood.near`), and all of them one or two more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float
from rootml.errors import DensityError
from rootml.sbi.inference.minimum._curvature import Curvature
from rootml.sbi.inference.minimum._minimise import hessian_of, limits
from rootml.sbi.likelihood._fittable import Fittable, nearby, subsample

_STEPS = 60
_SHARE = 0.1  # of the EDM that a fit is to reach: what a part of the events may leave
_LEFT = 1e-3  # of the EDM at the start of such steps: less is not known by a part of the events
_DROP = 1e-2  # of the EDM from one such place to the next: else a part tells too little
_ANCHORS = 6  # times that a part of the events is set right
_SHORTER = 0.3  # a step that leads up is shortened by this
_TRIES = 12
_SLOPE = 1e-4  # of the fall that the gradient promises: less is not worth a step
_MAX_ACTIVE = 8  # rounds in which parameters go to their limits
_NEAR = 1e-3  # EDM of a part of the events: its minimum is a standard deviation off anyway
_FEW = 12  # parameters whose second derivatives a part of the events gives well enough
_MAX_STEP = 30.0  # standard deviations at once: farther, the parabola is only a direction

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """Where quasi-Newton steps end.

    Attributes:
        theta: The point.
        value: Minus log L there.
        step: The next one, which was not taken: what is left to the minimum.
        gradient: Derivatives by all parameters, also those that are held.
        curvature: Second derivatives as far as the steps have seen them; positive definite.
        edm: Estimated distance to the minimum, by that Hessian.
        passes: Evaluations of value and gradient.
    """

    theta: Float
    value: float
    step: Float
    gradient: Float
    curvature: Curvature
    edm: float
    passes: int


def quasi_newton(
    like: Fittable, theta: Float, free: Mask, *, goal: float, curvature: Curvature | None = None
) -> Found | None:
    """Steps from a start; None: they find no minimum.

    Args:
        theta: Where they start.
        free: Parameters that move.
        goal: The EDM at which they end.
        curvature: Second derivatives nearby, positive definite for the free parameters; None:
            those at the start.
    """
    theta = np.where(free, _within(theta, *limits(like)), theta)
    fast = nearby(like, theta)
    if curvature is None:
        hessian = hessian_of(like if fast is None else fast, theta, free)
        if hessian is None:
            return None
        curvature = Curvature(hessian)
    if fast is not None:
        found, theta, curvature = _by_part(like, fast, theta, free, goal, curvature)
        if found is not None:
            return found
    return _steps(like, theta, free, goal, curvature)


def _by_part(
    like: Fittable, fast: Fittable, theta: Float, free: Mask, goal: float, curvature: Curvature
) -> tuple[Found | None, Float, Curvature]:
    """Steps by a part of the events, until all of them agree that the EDM is small.

    Returns:
        The minimum; None where all events must take the steps, from the place and with the
        second derivatives beside it.
    """
    low, high = limits(like)
    before = math.inf
    for passes in range(1, _ANCHORS + 1):
        found = _steps(fast, theta, free, _SHARE * goal, curvature, far=_LEFT)
        if found is None:
            break
        place = np.where(free, _within(found.theta + found.step, low, high), theta)
        value, gradient, fine = _evaluated(like, place, free)
        ahead = _step(found.curvature, gradient, place, free, low, high) if fine else None
        if ahead is None:
            break
        theta, curvature = place, found.curvature
        edm = 0.5 * abs(float(gradient @ ahead[0]))
        if edm < goal:
            return (
                Found(theta, value, ahead[0], gradient, curvature, edm, passes), theta, curvature
            )  # fmt: skip
        nearer = nearby(like, theta, fast) if edm < _DROP * before else None
        if nearer is None:
            break
        fast, before = nearer, edm
    return None, theta, curvature


def _steps(
    like: Fittable, theta: Float, free: Mask, goal: float, curvature: Curvature, *, far: float = 0
) -> Found | None:
    """Steps from a point within the limits.

    Args:
        far: They also end where the EDM is this part of what it was at the start.
    """
    low, high = limits(like)
    value, gradient, fine = _evaluated(like, theta, free)
    if not fine:
        return None
    passes = 1
    for _ in range(_STEPS):
        found = _step(curvature, gradient, theta, free, low, high)
        if found is None:
            return None
        step, moving = found
        slope = float(gradient @ step)  # the step is 0 for what is held
        if passes == 1:
            goal = max(goal, 0.5 * far * abs(slope))
        if 0.5 * abs(slope) < goal:
            edm = 0.5 * abs(slope)
            return Found(theta, value, step, gradient, curvature, edm, passes)
        length = min(1.0, _MAX_STEP / math.sqrt(max(-slope, 1e-300)))
        for _ in range(_TRIES):
            trial = np.where(free, _within(theta + length * step, low, high), theta)
            lower, rise, fine = _evaluated(like, trial, free)
            passes += 1
            if fine and lower <= value + _SLOPE * length * slope + 1e-13 * abs(value):
                break
            length *= _SHORTER
        else:
            return None
        curvature = curvature.updated(trial - theta, rise - gradient, moving)
        theta, value, gradient = trial, lower, rise
    return None


def from_afar(like: Fittable, theta: Float, free: Mask) -> tuple[Float, Curvature] | None:
    """A place to start from with second derivatives there, by a part of many events.

    Of a few parameters that is near the minimum. Second derivatives of a part are too inexact for
    steps of many at once: for them it is the start itself. None: there are not many events, or
    the part has no minimum.
    """
    try:
        part = subsample(like)
        if part is None:
            return None
        if free.sum() <= _FEW:
            found = quasi_newton(part, theta, free, goal=_NEAR)
            if found is None:
                return None
            theta = found.theta + found.step
        hessian = hessian_of(part, theta, free)
    except DensityError:
        return None
    curvature = None if hessian is None else Curvature(hessian)
    if curvature is None or curvature.inverse(free) is None:
        return None
    return theta, curvature


def _evaluated(like: Fittable, theta: Float, free: Mask) -> tuple[float, Float, bool]:
    """Value, gradient by all parameters (0 for a held one that has none), and whether finite."""
    value, gradient = like.nll_gradient(theta, strict=False)
    finite = np.isfinite(gradient)
    fine = bool(finite.all())
    if not fine:
        gradient, fine = np.where(free | finite, gradient, 0.0), bool((finite | ~free).all())
    return value, gradient, fine and math.isfinite(value)


def predicted(
    curvature: Curvature, theta: Float, free: Mask, moved: Float, limit: tuple[Float, Float]
) -> Float:
    """Where the free parameters' minimum goes, to first order, if others are moved.

    Args:
        theta: The minimum.
        free: Parameters that follow.
        moved: By how much the others move, ``(parameter,)``; 0 for those that follow.
        limit: Lower and upper limits.
    """
    inverse = curvature.inverse(free)
    place = theta + moved
    if inverse is not None:
        place = place - inverse @ (curvature.hessian @ moved)
    return np.where(free, _within(place, *limit), place)


@dataclass(frozen=True)
class Conditional:
    """The minimum with some parameters held.

    Attributes:
        theta: All parameters there.
        nll: Minus log L.
        gradient: Derivatives by all parameters, also those that are held: along a profile
            ``dt / d value = 2 gradient``.
        curvature: Second derivatives nearby; the next one starts with them. None: not known.
        valid: Whether it is a minimum.
    """

    theta: Float
    nll: float
    gradient: Float
    curvature: Curvature | None
    valid: bool


def conditional_from(
    like: Fittable, near: Conditional, place: Float, free: Mask, goal: float,
    *, bend: Float | None = None,
) -> Conditional | None:  # fmt: skip
    """The minimum with parameters held, from another one nearby; None: no steps lead there.

    Args:
        near: Where to start, with second derivatives; held parameters may be others there.
        place: Where the held parameters are, ``(parameter,)``.
        free: Parameters that move.
        bend: What is added to the start that the second derivatives predict.
    """
    assert near.curvature is not None
    moved = np.where(free, 0.0, place - near.theta)
    start = predicted(near.curvature, near.theta, free, moved, limits(like))
    if bend is not None:
        start = start + np.where(free, bend, 0.0)
    found = quasi_newton(like, start, free, goal=goal, curvature=near.curvature)
    if found is None:
        return None
    return Conditional(
        found.theta + found.step, found.value - found.edm, found.gradient, found.curvature, True
    )


def _step(
    curvature: Curvature, gradient: Float, theta: Float, free: Mask, low: Float, high: Float
) -> tuple[Float, Mask] | None:
    """The step to the minimum of the parabola, and which parameters no limit holds.

    Parameters that would leave go to their limit, and the others follow them.
    """
    moving = free & ~(((theta <= low) & (gradient > 0.0)) | ((theta >= high) & (gradient < 0.0)))
    room, pulled, held = (low - theta, high - theta), gradient, np.zeros_like(gradient)
    step = held
    for _ in range(_MAX_ACTIVE):
        inverse = curvature.inverse(moving)
        if inverse is None:
            return None
        step = held - inverse @ pulled
        leaving = moving & ((step < room[0]) | (step > room[1]))
        if not leaving.any():
            break
        moving = moving & ~leaving
        held = np.where(moving, 0.0, _within(step, *room))
        pulled = gradient + curvature.hessian @ held
    return np.where(free, _within(step, *room), 0.0), moving


def _within(values: Float, low: Float, high: Float) -> Float:
    """`numpy.clip`, which takes longer for few numbers."""
    return np.asarray(np.minimum(np.maximum(values, low), high))
