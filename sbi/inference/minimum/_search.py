"""From a start to a minimum: quasi-Newton steps, Minuit's MIGRAD, damped Newton steps.

::

    quick_minimum    quasi-Newton steps from the analytic Hessian, refined by Newton steps
    newton_minimum   the same, then damped Newton steps: for starts near the minimum
    migrad_minimum   MIGRAD, refined by Newton steps, which also give a second opinion
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float
from rootml.sbi.inference.minimum._account import is_valid
from rootml.sbi.inference.minimum._curvature import Curvature
from rootml.sbi.inference.minimum._flat import flat_directions, settle
from rootml.sbi.inference.minimum._minimise import (
    Minimum,
    Objective,
    descend,
    limits,
    polish,
    prepare,
)
from rootml.sbi.inference.minimum._quasi_newton import from_afar, quasi_newton
from rootml.sbi.likelihood._fittable import Fittable

QUICK_GOAL = 1e-7  # EDM of quasi-Newton steps: the last one needs no other look at the events


def quick_minimum(
    like: Fittable, objective: Objective, theta: Float, free: npt.NDArray[np.bool_],
    hessian: Float | None = None, goal: float = QUICK_GOAL,
) -> Minimum | None:  # fmt: skip
    """The minimum by quasi-Newton steps, valid or flat; None: they find none."""
    near = (theta, None if hessian is None else Curvature(hessian))
    if hessian is None:
        near = from_afar(like, theta, free) or near
    found = quasi_newton(like, near[0], free, goal=goal, curvature=near[1])
    if found is None:
        return None
    low, high = limits(like)
    theta = np.where(free, np.minimum(np.maximum(found.theta + found.step, low), high), theta)
    known = found.value, found.gradient, theta - found.theta
    minimum = settle(like, polish(like, theta, free, known, goal), free)
    if not (is_valid(minimum, free) or len(flat_directions(minimum, free))):
        return None
    objective.gradients = found.passes
    return minimum


def newton_minimum(
    like: Fittable, objective: Objective, theta: Float, free: npt.NDArray[np.bool_],
    hessian: Float | None, goal: float,
) -> Minimum | None:  # fmt: skip
    """The minimum by Newton steps alone; None: they find none.

    Args:
        hessian: Second derivatives nearby; None: those at the start.
        goal: The EDM at which the last step is taken without another look.
    """
    quick = quick_minimum(like, objective, theta, free, hessian, goal)
    if quick is not None or not math.isfinite(like.nll(theta, strict=False)):
        return quick
    theta, converged = descend(like, theta, free)
    minimum = _polished(like, theta, free) if converged else None
    return minimum if minimum is not None and is_valid(minimum, free) else None


def migrad_minimum(
    like: Fittable, objective: Objective, theta: Float, free: npt.NDArray[np.bool_],
    *, gradient: bool, strategy: int, calls: int | None,
) -> tuple[Minimum, Any]:  # fmt: skip
    """Where MIGRAD ends, valid or not, and its `iminuit.Minuit`; without parameters None."""
    if not len(theta):
        objective(theta)  # raises where there is no likelihood
        return _polished(like, theta, free), None
    minuit = prepare(objective, theta, gradient=gradient, strategy=strategy)
    if minuit.nfit:
        minuit.migrad(ncall=calls)
    objective.values, objective.gradients = int(minuit.nfcn), int(minuit.ngrad)
    minimum = _polished(like, np.array(minuit.values, np.float64), free)
    if not is_valid(minimum, free) and not len(flat_directions(minimum, free)):
        minimum = _second_opinion(like, minimum, theta, free)
    return minimum, minuit


def _polished(like: Fittable, theta: Float, free: npt.NDArray[np.bool_]) -> Minimum:
    return settle(like, polish(like, theta, free), free)


def _second_opinion(
    like: Fittable, minimum: Minimum, start: Float, free: npt.NDArray[np.bool_]
) -> Minimum:
    """Newton steps from where MIGRAD failed, or from where it began; the lower valid minimum."""
    found = [minimum]
    for place in (minimum.theta, start):
        theta, converged = descend(like, place, free)
        if converged:
            found.append(_polished(like, theta, free))
    valid = [m for m in found if is_valid(m, free)]
    return min(valid, key=lambda m: m.value, default=minimum)
