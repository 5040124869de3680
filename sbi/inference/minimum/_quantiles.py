"""Quantiles and tails of the normal and the chi^2 distribution, by scipy; levels and values."""

from __future__ import annotations

from typing import Any

import numpy as np

from rootml._internal.optional import optional_import
from rootml._internal.types import Float
from rootml._internal.validators import is_number
from rootml.errors import UsageError


def _special() -> Any:
    return optional_import("scipy.special", feature="sbi's intervals and limits", extra="sbi")


def check_level(level: float) -> float:
    """A confidence level.

    Raises:
        UsageError: Not between 0 and 1.
    """
    if not (is_number(level) and 0.0 < level < 1.0):
        message = f"the confidence level must be a number between 0 and 1, not {level!r}"
        raise UsageError(message)
    return level


def as_numbers(name: str, values: Any) -> Float:
    """Some finite numbers, ``(number,)``.

    Raises:
        UsageError: None, or something else.
    """
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        message = f"{name}= must be a list of finite numbers, not {values!r:.80}"
        raise UsageError(message)
    return found


def chi2_quantile(level: float, degrees: int) -> float:
    """Where chi^2 of so many degrees of freedom stays below with probability `level`.

    >>> round(chi2_quantile(0.95, 1), 6)
    3.841459
    """
    return float(2.0 * _special().gammaincinv(0.5 * degrees, level))


def chi2_tail(value: float, degrees: int) -> float:
    """The probability that chi^2 exceeds `value`.

    >>> round(chi2_tail(3.841458820694124, 1), 6)
    0.05
    """
    return float(_special().gammaincc(0.5 * degrees, 0.5 * max(value, 0.0)))


def normal_tail(value: float) -> float:
    """The probability that a standard normal variable exceeds `value`.

    >>> round(normal_tail(5.0) * 1e7, 3)
    2.867
    """
    return float(_special().ndtr(-value))


def normal_quantile(level: float) -> float:
    """Where a standard normal variable stays below with probability `level`.

    >>> round(normal_quantile(0.975), 6)
    1.959964
    """
    return float(_special().ndtri(level))
