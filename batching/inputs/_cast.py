"""Casts that are checked by value, and what happens to NaN and infinity."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml._internal.optional import optional_import
from rootml.errors import CastError, NonFiniteError, UsageError

NonFinite: TypeAlias = "Literal['error', 'keep'] | float"

# Integers up to these magnitudes are exact.
_EXACT = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "float64": 2**53}
_SMALLEST_NORMAL = {"float16": 2.0**-14, "bfloat16": 2.0**-126}
_MIN_SAMPLE = 16


# A relative change of a float above this is a loss; rounding to float32 changes less than 2**-24.
_MAX_CHANGE = 2.0**-20


def float_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The dtype of features: float32, float64, float16 or bfloat16 (of the package ml_dtypes).

    >>> float_dtype("float32")
    dtype('float32')
    """
    if isinstance(dtype, str) and dtype == "bfloat16":
        package = optional_import("ml_dtypes", feature="dtype='bfloat16'", extra="torch")
        found: np.dtype[Any] = np.dtype(package.bfloat16)
        return found
    try:
        result = np.dtype(dtype)
    except TypeError:
        result = np.dtype(object)
    if result.name not in _EXACT or dtype is None:
        message = f"dtype={dtype!r}: features are float32, float64, float16 or bfloat16"
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
    changed = np.dtype(dtype).kind in "iub" and filled != number
    lost = math.isfinite(number) and not math.isfinite(filled)
    if changed or lost or (number != 0 and filled == 0):
        message = f"{what}={number!r}: would be {filled} in {np.dtype(dtype).name}"
        raise UsageError(message)


def check_cast(values: npt.NDArray[Any], dtype: np.dtype[Any], what: str) -> npt.NDArray[Any]:
    """`values` as they may be assigned to an array of `dtype`; integers must stay exact.

    Rounding of float64 to float32 is what asking for float32 means. Overflow to infinity is not,
    nor is what happens to numbers below 1.2e-38, which become zero or lose digits: a relative
    change above 2**-20 is an error. In half precision single small values are rounded (in steps
    of 6e-8 in float16); it is an error if most values of a column are too small.

    Raises:
        CastError: A value that would change; names `what`, the value and what it would become.
    """
    if values.dtype == dtype or not values.size:
        return values
    if values.dtype.kind in "iu":
        _check_integers(values, dtype, what)
    elif values.dtype.kind == "f" and (
        values.dtype.itemsize > dtype.itemsize or dtype.kind != "f"
    ):
        return _round(values, dtype, what)
    return values


def _check_integers(values: npt.NDArray[Any], dtype: np.dtype[Any], what: str) -> None:
    limit = _EXACT[dtype.name]
    small = values.dtype.itemsize <= 2 and dtype.itemsize > 2
    if small or (values.max() <= limit and values.min() >= -limit):
        return
    with np.errstate(over="ignore"):
        cast = values.astype(dtype).astype(np.float64)
    # Compare as Python integers would: the way back can overflow at the ends of the range.
    ends = np.iinfo(values.dtype)
    inside = (cast >= float(ends.min)) & (cast < float(ends.max))
    back = np.where(inside, cast, 0).astype(values.dtype)
    changed = ~inside | (back != values)
    if changed.any():
        value, wider = values[changed][0], "use dtype='float64', " * (dtype != np.float64)
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
    if dtype.itemsize == 2:
        _check_half(values, dtype, what)
        return cast
    small = np.abs(cast) < np.finfo(dtype).tiny
    if small.any():
        _check_small(values[small], cast[small], what)
    return cast


def _check_half(values: npt.NDArray[Any], dtype: np.dtype[Any], what: str) -> None:
    """Raise CastError if at least half of the values (not counting zeros) are too small."""
    smallest = _SMALLEST_NORMAL[dtype.name]
    small = np.abs(values) < smallest
    used = np.isfinite(values) & (values != 0)
    count = int(used.sum())
    if count >= _MIN_SAMPLE and 2 * int((small & used).sum()) >= count:
        message = (
            f"{what}: most values are below {smallest:.1e}, where {dtype.name} "
            "loses digits; use dtype='float32', or multiply them all by a constant"
        )
        raise CastError(message)


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
