"""Whether what was given is a number; of any type, since users' code is seldom typed."""

from __future__ import annotations

import math
from numbers import Real
from types import UnionType


def is_number(value: object) -> bool:
    """Whether it is a real number, also one of NumPy's, and finite.

    >>> is_number(2), is_number(float("nan")), is_number("2"), is_number(True)
    (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return math.isfinite(value)


def is_a(value: object, kind: type | UnionType) -> bool:
    """Whether it is an instance of a class, whatever it is declared to be."""
    return isinstance(value, kind)
