"""RooFit's NLL against ours, at construction: a wrong translation must not reach a fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.types import Float
from rootml.errors import MismatchError
from rootml.sbi.likelihood._parameters import Nuisance

if TYPE_CHECKING:
    from rootml.sbi.likelihood._fittable import Fittable

_POINTS = 5
_SPREAD = 1.5  # standard deviations around the start values
_ROUNDING = 1e-10  # of the NLL: both sum many terms


@dataclass(frozen=True)
class Check:
    """What was compared.

    Attributes:
        points: Points besides the start values.
        difference: Largest difference of the two NLLs' changes from the start values.
        allowed: What was allowed there.
    """

    points: int
    difference: float
    allowed: float

    def __str__(self) -> str:
        found = f"{self.difference:.2g} in the NLL at {self.points} points"
        return f"{found} ({self.allowed:.2g} allowed)"


def check(
    like: Fittable,
    parameters: Mapping[str, Any],
    theirs: Callable[[], float],
    *,
    tolerance: float,
    route: str,
) -> Check:
    """Compare changes of the NLL from the start values to points around them.

    Args:
        theirs: RooFit's NLL at the present values of `parameters`.
        tolerance: Of a difference, at the start; it grows as ``1 + |alpha|^2 / 2``.

    Raises:
        MismatchError: They differ.
    """
    before = [variable.getVal() for variable in parameters.values()]
    try:
        return _compare(like, parameters, theirs, tolerance, route)
    finally:
        _set(parameters, before)


def _compare(
    like: Fittable,
    parameters: Mapping[str, Any],
    theirs: Callable[[], float],
    tolerance: float,
    route: str,
) -> Check:
    start = like.start
    origin = like.nll(start)
    shift = _at(parameters, start, theirs) - origin
    worst = Check(0, 0.0, tolerance)
    points = _points(like, parameters)
    for point in points:
        difference = abs(_at(parameters, point, theirs) - like.nll(point) - shift)
        allowed = tolerance * _growth(like, point) + _ROUNDING * abs(origin)
        if not difference <= allowed:  # NaN too
            _refuse(like, point, difference, allowed, route)
        if difference / allowed >= worst.difference / worst.allowed:
            worst = Check(0, difference, allowed)
    return Check(len(points), worst.difference, worst.allowed)


def _refuse(like: Fittable, point: Float, difference: float, allowed: float, route: str) -> None:
    at = ", ".join(f"{n} = {v:.6g}" for n, v in zip(like.parameters, point, strict=True))
    message = (
        f"to_roofit(route={route!r}): RooFit's NLL changes from the start values to {at} by other "
        f"than ours: the difference is {difference:.3g}, {allowed:.2g} is allowed; this object "
        'would give wrong fits, use route="nll" and please report it'
    )
    raise MismatchError(message)


def _at(parameters: Mapping[str, Any], point: Float, theirs: Callable[[], float]) -> float:
    _set(parameters, point)
    return theirs()


def _set(parameters: Mapping[str, Any], values: Any) -> None:
    for variable, value in zip(parameters.values(), values, strict=True):
        variable.setVal(float(value))


def _growth(like: Fittable, point: Float) -> float:
    pulls = [
        (value - parameter.value) / parameter.width
        for value, parameter in zip(point, like.parameters.values(), strict=True)
        if isinstance(parameter, Nuisance)
        and parameter.constraint == "gaussian"
        and parameter.value is not None
    ]
    return float(1.0 + 0.5 * sum(pull**2 for pull in pulls))


def _points(like: Fittable, parameters: Mapping[str, Any]) -> list[Float]:
    """Points about a standard deviation away, within the limits, where our density is positive."""
    rng = np.random.default_rng(7)
    start = like.start
    steps = np.array([_deviation(like, i) for i in range(len(start))])
    steps[[p.fixed for p in like.parameters.values()]] = 0.0
    low = np.array([v.getMin() for v in parameters.values()])
    high = np.array([v.getMax() for v in parameters.values()])
    found = []
    for shrink in (1.0, 0.5, 0.2, 0.05):
        for _ in range(_POINTS):
            moved = start + shrink * steps * rng.uniform(-_SPREAD, _SPREAD, len(start))
            point = np.clip(moved, low, high)
            if math.isfinite(like.nll(point, strict=False)):
                found.append(point)
        if len(found) >= _POINTS:
            return found[:_POINTS]
    return found


def _deviation(like: Fittable, index: int) -> float:
    """Roughly the standard deviation of one parameter with all others fixed."""
    start = like.start
    origin = like.nll(start)
    step = 0.1 * abs(float(start[index])) or 0.1
    for _ in range(20):
        rise = 0.0
        for side in (step, -step):
            moved = start.copy()
            moved[index] += side
            rise += like.nll(moved, strict=False) - origin
        if math.isfinite(rise):
            return float(step / math.sqrt(max(rise, 1e-2)))
        step *= 0.5
    return step
