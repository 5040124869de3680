"""Casts that are checked by value, and what happens to NaN and infinity."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml.errors import CastError, NonFiniteError, UsageError

NonFinite: TypeAlias = "Literal['error', 'keep'] | float"

# Integers up to these magnitudes are exact.
_EXACT = {np.dtype(np.float32): 2**24, np.dtype(np.float64): 2**53}


# A relative change of a float above this is a loss; rounding to float32 changes less than 2**-24.
_MAX_CHANGE = 2.0**-20


def float_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The dtype of features: float32 or float64.

    >>> float_dtype("float32")
    dtype('float32')
    """
    try:
        result = np.dtype(dtype)
    except TypeError:
        result = np.dtype(object)
    if result not in _EXACT or dtype is None:
        message = f"dtype={dtype!r}: features are float32 or float64"
        raise UsageError(message)
    return result


def check_nonfinite(policy: Any, dtype: npt.DTypeLike = np.float64) -> NonFinite:
    """The policy itself, if it is one; a number must be one in `dtype` too."""
    if isinstance(policy, str) and policy in {"error", "keep"}:
        return "error" if policy == "error" else "keep"
    number = isinstance(policy, (int, float, np.integer, np.floating))
    if number and not isinstance(policy, bool) and _is_finite(policy):
        check_fill(float(policy), dtype, "nonfinite")
        return float(policy)
    message = f"nonfinite={policy!r}: expected 'error', 'keep' or a finite number to fill in"
    raise UsageError(message)


def _is_finite(number: Any) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an int beyond all floats
        return False


def check_fill(number: float, dtype: npt.DTypeLike, what: str) -> None:
    """Raise UsageError if a finite number to fill in is infinite, or zero only, in `dtype`."""
    with np.errstate(all="ignore"):
        filled = float(np.array(number).astype(dtype))
    if (math.isfinite(number) and not math.isfinite(filled)) or (number != 0 and filled == 0):
        message = f"{what}={number!r}: would be {filled} in {np.dtype(dtype).name}"
        raise UsageError(message)


def check_cast(values: npt.NDArray[Any], dtype: np.dtype[Any], what: str) -> npt.NDArray[Any]:
    """`values` as they may be assigned to an array of `dtype`; integers must stay exact.

    Rounding of float64 to float32 is what asking for float32 means. Overflow to infinity is not,
    nor is what happens to numbers below 1.2e-38, which become zero or lose digits: a relative
    change above 2**-20 is an error.

    Raises:
        CastError: A value that would change; names `what`, the value and what it would become.
    """
    if values.dtype == dtype or not values.size:
        return values
    if values.dtype.kind in "iu":
        _check_integers(values, dtype, what)
    elif values.dtype.kind == "f" and values.dtype.itemsize > dtype.itemsize:
        return _round(values, dtype, what)
    return values


def _check_integers(values: npt.NDArray[Any], dtype: np.dtype[Any], what: str) -> None:
    limit = _EXACT[dtype]
    if values.dtype.itemsize <= 2 or (values.max() <= limit and values.min() >= -limit):
        return
    cast = values.astype(dtype)
    # Compare as Python integers would: the way back can overflow at the ends of the range.
    ends = np.iinfo(values.dtype)
    inside = (cast >= float(ends.min)) & (cast < float(ends.max))
    back = np.where(inside, cast, 0).astype(values.dtype)
    changed = ~inside | (back != values)
    if changed.any():
        value, wider = values[changed][0], "use dtype='float64', " * (dtype == np.float32)
        message = (
            f"{what}: the value {value} would become {cast[changed][0]:.0f} in {dtype.name} "
            f"({int(changed.sum())} of {values.size} values change); {wider}carry the column as "
            "an observer (which keeps its type), or define a smaller quantity"
        )
        raise CastError(message)


def _round(values: npt.NDArray[Any], dtype: np.dtype[Any], what: str) -> npt.NDArray[Any]:
    with np.errstate(over="ignore", under="ignore"):
        cast = values.astype(dtype)
    lost = np.isinf(cast)
    if lost.any() and (lost := lost & np.isfinite(values)).any():
        message = (
            f"{what}: the value {values[lost][0].item()!r} is infinite in {dtype.name}; use "
            "dtype='float64', or define a smaller quantity"
        )
        raise CastError(message)
    small = np.abs(cast) < np.finfo(dtype).tiny
    if small.any():
        _check_small(values[small], cast[small], what)
    return cast


def _check_small(values: npt.NDArray[Any], cast: npt.NDArray[Any], what: str) -> None:
    lost = np.abs(cast.astype(values.dtype) - values) > _MAX_CHANGE * np.abs(values)
    if lost.any():
        message = (
            f"{what}: the value {values[lost][0].item()!r} would become {cast[lost][0].item()!r} "
            f"in {cast.dtype.name} ({int(lost.sum())} values are too small for it); use "
            "dtype='float64', or multiply them all by a constant"
        )
        raise CastError(message)


def all_finite(tile: npt.NDArray[Any]) -> bool:
    """Whether all values are finite.

    (A dot product would need one pass less, but wakes up the threads of BLAS, which then spin.)
    """
    return bool(np.isfinite(tile).all())


def apply_nonfinite(
    values: npt.NDArray[Any], policy: NonFinite, what: str, *, is_input: bool = True
) -> None:
    """Apply the policy on NaN and infinity to one column, in place.

    Args:
        is_input: Whether the user could choose the policy, for the advice in the error.

    Raises:
        NonFiniteError: The policy is "error" and there are some.
    """
    if policy == "keep":
        return
    bad = ~np.isfinite(values)
    count = int(bad.sum())
    if not count:
        return
    if policy == "error":
        first = np.argwhere(bad)[0]
        message = (
            f"{what}: {count} of {values.size} values are NaN or infinite, the first is "
            f"{values[tuple(first)]} in row {int(first[0])} of these; cut them away with "
            ".filter('isfinite(...)')"
            + (
                ", or pass nonfinite='keep' or a number to fill in"
                if is_input
                else " (nonfinite= is for inputs; labels, targets and weights must be finite)"
            )
        )
        raise NonFiniteError(message)
    values[bad] = policy
