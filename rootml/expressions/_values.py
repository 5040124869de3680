"""Values during evaluation: per-event data, and which events have it.

``valid`` is the third truth value: an event where it is False has no such element
(``Jet_pt[0]`` without jets), and what is computed from it is *unknown*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml.errors import ExpressionError

Mask: TypeAlias = npt.NDArray[np.bool_]
Data: TypeAlias = "npt.NDArray[Any] | ak.Array"


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """What an expression is, for all events of a partition.

    Attributes:
        data: A 0-d array for a constant, `(events,)` for one number per event, `(events, k, ...)`
            for fixed arrays, awkward for lists and strings.
        valid: Events that have a value; None: all of them.
    """

    data: Data
    valid: Mask | None = None

    @property
    def lists(self) -> bool:
        """Whether there is more than one number per event."""
        return isinstance(self.data, ak.Array) or self.data.ndim > 1

    @property
    def jagged(self) -> bool:
        """Whether the data are awkward lists."""
        return isinstance(self.data, ak.Array)


def both(one: Mask | None, other: Mask | None) -> Mask | None:
    """Events that both have."""
    if one is None:
        return other
    return one if other is None else one & other


def is_strings(data: Data) -> bool:
    """Whether these are strings."""
    if not isinstance(data, ak.Array):
        return data.dtype.kind in "US"
    return ak.parameters(data).get("__array__") in {"string", "bytestring"}


def leaf_dtype(data: Data) -> np.dtype[Any]:
    """The dtype of the numbers, however deep they are.

    Raises:
        ExpressionError: There are none (records, strings).
    """
    if not isinstance(data, ak.Array):
        return data.dtype
    layout = ak.to_layout(data)
    while not layout.is_numpy:
        if layout.is_record or layout.is_union or layout.parameter("__array__") is not None:
            message = f"numbers are needed here, these are of type {ak.type(data).content}"
            raise ExpressionError(message)
        layout = layout.content
    dtype: np.dtype[Any] = layout.dtype
    return dtype


def as_number(data: Data) -> Data:
    """Data in the type that arithmetic is done in: bool and integers in int64, floats in float64.

    ROOT computes in double too. Unsigned integers become signed, so that differences do not wrap.

    Raises:
        ExpressionError: An unsigned 64-bit value beyond int64, or no numbers at all.
    """
    dtype = leaf_dtype(data)
    if dtype.kind == "f":
        return _cast(data, np.dtype(np.float64))
    if dtype.kind not in "bui":
        message = f"numbers are needed here, these are of type {dtype}"
        raise ExpressionError(message)
    if dtype == np.uint64 and _largest(data) > np.iinfo(np.int64).max:
        message = "an unsigned value is too large for 64-bit signed arithmetic"
        raise ExpressionError(message)
    return _cast(data, np.dtype(np.int64))


def as_logical(data: Data) -> Data:
    """Data as bool: numbers are true when they are not zero."""
    return data if leaf_dtype(data) == np.bool_ else data != 0


def _cast(data: Data, dtype: np.dtype[Any]) -> Data:
    if isinstance(data, ak.Array):
        return data if leaf_dtype(data) == dtype else ak.values_astype(data, dtype)
    return data.astype(dtype, copy=False)


def _largest(data: Data) -> int:
    flat = ak.to_numpy(ak.flatten(data, axis=None)) if isinstance(data, ak.Array) else data
    return int(flat.max()) if flat.size else 0


def align(one: Data, other: Data) -> tuple[Data, Data]:
    """Give per-event numbers the axes that a fixed array on the other side has.

    Raises:
        ExpressionError: Lists of different lengths in one event.
    """
    if isinstance(one, ak.Array) or isinstance(other, ak.Array):
        _check_counts(one, other)
        return one, other
    if one.ndim and other.ndim:
        while one.ndim < other.ndim:
            one = one[..., None]
        while other.ndim < one.ndim:
            other = other[..., None]
        if one.ndim > 1 and 1 not in {one.shape[1], other.shape[1]} and one.shape != other.shape:
            message = f"fixed arrays of shapes {one.shape[1:]} and {other.shape[1:]} do not match"
            raise ExpressionError(message)
    return one, other


def _check_counts(one: Data, other: Data) -> None:
    if one.ndim < 2 or other.ndim < 2 or is_strings(one) or is_strings(other):
        return
    mine, theirs = (np.asarray(ak.num(side, axis=1)) for side in (one, other))
    different = np.flatnonzero(mine != theirs)
    if len(different):
        event = int(different[0])
        message = (
            f"lists of different lengths meet: {int(mine[event])} and {int(theirs[event])} "
            f"elements in event {event} of this partition"
        )
        raise ExpressionError(message)
