"""Casts judged by value, and what happens to NaN and infinity."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml.errors import CastError, NonFiniteError, UsageError

NonFinite: TypeAlias = "Literal['error', 'keep'] | float"

# Integers up to these magnitudes are exact.
_EXACT = {np.dtype(np.float32): 2**24, np.dtype(np.float64): 2**53}


def float_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The dtype of features: float32 or float64.

    >>> float_dtype("float32")
    dtype('float32')
    """
    result = np.dtype(dtype)
    if result not in _EXACT:
        message = f"dtype={dtype!r}: features are float32 or float64"
        raise UsageError(message)
    return result


def check_nonfinite(policy: NonFinite) -> NonFinite:
    """The policy itself, if it is one."""
    if policy in {"error", "keep"}:
        return policy
    if isinstance(policy, (int, float)) and not isinstance(policy, bool) and np.isfinite(policy):
        return float(policy)
    message = f"nonfinite={policy!r}: expected 'error', 'keep' or a finite number to fill in"
    raise UsageError(message)


def check_cast(values: npt.NDArray[Any], dtype: np.dtype[Any], what: str) -> npt.NDArray[Any]:
    """`values` as they may be assigned to an array of `dtype`; integers must stay exact.

    Rounding of float64 to float32 is what asking for float32 means; overflow to infinity is not.

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
        value = values[changed][0]
        message = (
            f"{what}: the value {value} would become {cast[changed][0]:.0f} in {dtype.name} "
            f"({int(changed.sum())} of {values.size} values change); use dtype='float64', carry "
            "the column as an observer (which keeps its type), or define a smaller quantity"
        )
        raise CastError(message)


def _round(values: npt.NDArray[Any], dtype: np.dtype[Any], what: str) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):
        cast = values.astype(dtype)
    lost = np.isinf(cast)
    if lost.any() and (lost := lost & np.isfinite(values)).any():
        message = f"{what}: the value {values[lost][0]!r} is infinite in {dtype.name}"
        raise CastError(message)
    return cast


def all_finite(tile: npt.NDArray[Any]) -> bool:
    """Whether all values are finite.

    (A dot product would need one pass less, but wakes up the threads of BLAS, which then spin.)
    """
    return bool(np.isfinite(tile).all())


def settle(values: npt.NDArray[Any], policy: NonFinite, what: str) -> None:
    """Apply the policy to NaN and infinity in one column, in place.

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
            ".filter('isfinite(...)'), or pass nonfinite='keep' or a number to fill in"
        )
        raise NonFiniteError(message)
    values[bad] = policy
