"""What a fit reports of its minimum: covariance, validity, limits, and what is wrong."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float
from rootml.sbi.inference.minimum._flat import describe, downhill, flat_directions, steps_of
from rootml.sbi.inference.minimum._minimise import MAX_EDM, Minimum, Objective, invert, limits
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._parameters import Nuisance, Parameter

_ENDLESS = 1e-3  # slope of -log L along a flat direction that is none of a minimum
WEIGHTED = (
    "the data have weights that are not counts: `errors`, MINOS and profiles count each weight as "
    "events; take `weighted_errors`"
)


def is_valid(minimum: Minimum, free: npt.NDArray[np.bool_]) -> bool:
    """Whether it is a minimum: close, with positive second derivatives, in no direction flat."""
    return is_close(minimum) and covariance_of(minimum, free)[1]


def is_close(minimum: Minimum) -> bool:
    """Whether the value is finite and its estimated distance to the minimum small."""
    return minimum.edm < MAX_EDM and math.isfinite(minimum.value)


def covariance_of(minimum: Minimum, free: npt.NDArray[np.bool_]) -> tuple[Float, bool]:
    """Covariance of all parameters, and whether there is one.

    Parameters that a limit blocks are held for all others: what the limit forbids makes their
    errors no larger. Their own is that without the limit, where there is one, and else 0.
    """
    if minimum.covariance is None:
        minimum.covariance = _covariance_of(minimum, free)
    return minimum.covariance


def _covariance_of(minimum: Minimum, free: npt.NDArray[np.bool_]) -> tuple[Float, bool]:
    covariance = np.zeros((len(free), len(free)))
    if minimum.hessian is None or len(flat_directions(minimum, free)):
        return covariance, False
    where = np.flatnonzero(free & ~minimum.blocked)
    inverse = invert(minimum.hessian[np.ix_(where, where)])
    if inverse is None:
        return covariance, False
    covariance[np.ix_(where, where)] = inverse
    if minimum.blocked.any():
        every = np.flatnonzero(free)
        alone = invert(minimum.hessian[np.ix_(every, every)])
        if alone is not None:
            blocked = minimum.blocked[every]
            covariance[every[blocked], every[blocked]] = np.diag(alone)[blocked]
    return covariance, True


def touching(
    like: Fittable, theta: Float, covariance: Float, free: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Parameters within a thousandth of their error, and of their range, from a limit."""
    low, high = limits(like)
    near = 1e-3 * np.minimum(np.sqrt(np.diag(covariance)), high - low)
    return np.asarray(free & ((theta - low <= near) | (high - theta <= near)))


def side_of(parameter: Parameter | Nuisance, value: float) -> str:
    """The limit that is nearer."""
    if parameter.lower is None or parameter.upper is None:
        return "upper" if parameter.lower is None else "lower"
    return "lower" if value - parameter.lower <= parameter.upper - value else "upper"


def limit_note(name: str, parameter: Parameter | Nuisance, value: float) -> str:
    """What the error of a parameter at its limit means."""
    side = side_of(parameter, value)
    limit = parameter.lower if side == "lower" else parameter.upper
    return (
        f"{name} is at its {side} limit {limit:g}: its error is not a standard deviation, use "
        f"minos() or sbi.limit; errors of the others are those with {name} held"
    )


def problems_of(
    like: Fittable, objective: Objective, minimum: Minimum, *, whole: bool, exhausted: bool,
    flat: list[dict[str, float]], free: npt.NDArray[np.bool_],
) -> list[str]:  # fmt: skip
    """What is wrong with the minimum; `exhausted`: MIGRAD ended at its limit of calls."""
    slopes = dict(zip(like.parameters, minimum.gradient.tolist(), strict=True))
    problems = [_flat_problem(steps, slopes) for steps in flat]
    if not math.isfinite(minimum.value):
        problems.append(str(like.explain(minimum.theta)))
    elif not whole and not flat:
        problems.append(_not_positive(like, minimum, free))
    elif minimum.edm >= MAX_EDM:
        problems.append(f"the estimated distance to the minimum (EDM) is {minimum.edm:.2g}")
    if problems and exhausted:
        problems.append("MIGRAD reached its maximum number of calls")
    if objective.outside:
        problems.append(
            f"on its way the fit met points without a positive density {objective.outside} times"
        )
    return problems


def _flat_problem(steps: dict[str, float], slopes: dict[str, float]) -> str:
    names = list(steps)
    slope = sum(slopes[name] * step for name, step in steps.items())
    if abs(slope) > _ENDLESS:
        sign = -math.copysign(1.0, slope)
        way = describe({name: sign * step for name, step in steps.items()})
        return (
            f"the likelihood rises in a straight line, without an end, along {way}: give a limit"
        )
    if len(names) == 1:
        return f"the likelihood does not depend on {names[0]} here: fix it, or leave it out"
    return (
        f"the likelihood is flat along {describe(steps)}: the data fix only another combination "
        "of these parameters; fix one of them, or give it a constraint"
    )


def _not_positive(like: Fittable, minimum: Minimum, free: npt.NDArray[np.bool_]) -> str:
    direction = downhill(minimum, free)
    text = "the second derivatives at the minimum are not positive definite"
    if direction is None:
        return text
    return f"{text}: not along {describe(steps_of(direction, list(like.parameters)))}"
