"""The ends of an interval of the profile likelihood.

Along a profile, the derivative of ``t = 2 (conditional minimum - minimum)`` is twice that of
-log L by the held parameter, for all others are at their minimum. So each conditional fit says
where the next one belongs (Newton's method for sqrt(t), which is nearly straight).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from rootml.sbi.inference.minimum._quasi_newton import Conditional

_CLOSE = 1e-7  # of sqrt(t): the end is found
_ROUNDS = 30
_FIRST = 4.0  # a step goes at most so many times as far from the minimum

At: TypeAlias = Callable[[float, Conditional | None], tuple[Conditional, float] | None]


def end_of_interval(
    at: At, best: float, lowest: float, first: float, *, edge: float, limit: float
) -> float | None:
    """Where t reaches the square of `edge`, on one side; None: it was not found.

    Args:
        at: The conditional minimum at a value, found from one nearby, and the derivative of
            -log L by the parameter there; None: there is none.
        best: The fitted value.
        lowest: Minus log L there.
        first: Where to look first.
        edge: The wanted ``sqrt(t)``.
        limit: The parameter's limit on that side: the end, if t is smaller there.
    """
    sign = 1.0 if first > best else -1.0
    inside, beyond = best, math.inf * sign  # the end lies between
    value, near = _within(first, limit, sign), None
    passed = False  # t was larger somewhere
    for _ in range(_ROUNDS):
        found = at(value, near)
        if found is None:
            beyond = value
            value = 0.5 * (inside + value)
            continue
        near, slope = found
        root = math.sqrt(max(2.0 * (near.nll - lowest), 0.0))
        if abs(root - edge) < _CLOSE * edge:
            return value
        if root < edge:
            if value == limit:
                return limit
            inside = value
        else:
            beyond, passed = value, True
        step = (edge - root) * root / slope if slope * sign > 0.0 else math.inf * sign
        value = _within(_next(value, step, sign, (best, inside, beyond)), limit, sign)
        if value in {inside, beyond}:
            return value if passed else None
    return None


def _next(value: float, step: float, sign: float, known: tuple[float, float, float]) -> float:
    """After a step of Newton's; where that leaves what holds the end, half of what does."""
    best, inside, beyond = known
    far = best + _FIRST * (value - best)
    trial = value + step
    if sign * (trial - inside) > 0.0 and sign * (beyond - trial) > 0.0:
        return trial if sign * (far - trial) > 0.0 else far
    return far if math.isinf(beyond) else 0.5 * (inside + beyond)


def _within(value: float, limit: float, sign: float) -> float:
    return limit if sign * (value - limit) > 0.0 else value
