"""Values during evaluation: per-event data, and what of it is there.

The third truth value: an event where ``there`` is False has no such element (``Jet_pt[0]`` without
jets), and what is computed from it is *unknown*. When it meets a list (``Muon_pt > Jet_pt[0]``),
each element of the list is unknown: ``known`` is False there, so that logic can go on element by
element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml._internal.types import EventValues
from rootml.errors import ExpressionError

Mask: TypeAlias = npt.NDArray[np.bool_]
Data: TypeAlias = "npt.NDArray[Any] | ak.Array"


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """What an expression is, for all events of a partition.

    Attributes:
        data: A 0-d array for a constant, `(events,)` for one number per event, `(events, k, ...)`
            for fixed arrays, awkward for lists and strings.
        there: Events that have it (of lists: that have the list); None: all of them.
        known: Elements that are known, bool lists that broadcast to `data`; None: all of them.
    """

    data: Data
    there: Mask | None = None
    known: Data | None = None

    @property
    def valid(self) -> Mask | None:
        """Events of which everything is known, `(events,)`; None: all of them."""
        if self.known is None:
            return self.there
        known = self.known
        while known.ndim > 1:
            known = ak.all(known, axis=-1)
        return np.asarray(both(self.there, np.asarray(known)), dtype=bool)

    @property
    def lists(self) -> bool:
        """Whether there is more than one number per event."""
        return has_lists(self.data)

    @property
    def jagged(self) -> bool:
        """Whether the data are awkward lists."""
        return isinstance(self.data, ak.Array)


def flat(data: Data) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]] | None:
    """Offsets and numbers of plain lists of numbers, one level deep; None: something else."""
    if not isinstance(data, ak.Array):
        return None
    layout = data.layout
    if type(layout) is not ak.contents.ListOffsetArray or layout.parameters:
        return None
    inner, offsets = layout.content, layout.offsets.data
    if type(inner) is not ak.contents.NumpyArray or inner.parameters:
        return None
    content = inner.data
    if type(content) is not np.ndarray or content.ndim != 1 or type(offsets) is not np.ndarray:
        return None
    if offsets.dtype != np.int64 or offsets[0] != 0:
        return None
    return offsets, content[: offsets[-1]]


def number_by_number(function: Callable[..., Any], *operands: Data) -> EventValues:
    """``function(*operands)`` for one that works on each number alone.

    Lists of the same lengths lie behind one another: the function is called once with all their
    numbers, which saves what awkward does at each step (a third of a millisecond).
    """
    known: list[Any] = [flat(operand) for operand in operands]
    offsets = next((each[0] for each in known if each is not None), None)
    if offsets is None:
        return function(*operands)
    numbers = []
    for operand, each in zip(operands, known, strict=True):
        if each is not None and same_offsets(each[0], offsets):
            numbers.append(each[1])
        elif not isinstance(operand, ak.Array) and operand.ndim == 0:
            numbers.append(operand)
        elif not isinstance(operand, ak.Array) and operand.shape == (len(offsets) - 1,):
            numbers.append(np.repeat(operand, np.diff(offsets)))
        else:
            return function(*operands)
    content = ak.contents.NumpyArray(function(*numbers))
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), content))


def same_offsets(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> bool:
    """Whether lists have the same lengths."""
    return one is other or np.array_equal(one, other)


def both(one: Any, other: Any) -> EventValues:
    """What both have (None: everything): events or elements."""
    if one is None:
        return other
    return one if other is None else one & other


def spread(mask: Data, data: Data) -> Data:
    """A mask of events or of elements as one of all numbers in the lists of `data`."""
    if isinstance(mask, ak.Array) or isinstance(data, ak.Array):
        return ak.broadcast_arrays(mask, data)[0]
    shape = np.broadcast_shapes(align(mask, data)[0].shape, data.shape)
    return np.broadcast_to(align(mask, data)[0], shape)


def known_in(value: Value, data: Data) -> Data | None:
    """Which numbers in the lists `data`, made from `value` and others, it lets be known."""
    known = None if value.known is None else spread(value.known, data)
    if value.lists or value.there is None:
        return known
    return spread(value.there, data)


def has_lists(data: Data) -> bool:
    """Whether there is more than one number per event."""
    return isinstance(data, ak.Array) or data.ndim > 1


def combined(data: Data, operands: Iterable[Value]) -> Value:
    """What was computed number by number; unknown where one of the operands is."""
    there: Mask | None = None
    known: Data | None = None
    for operand in operands:
        if not has_lists(data) or operand.lists:
            there = both(there, operand.there)
        if has_lists(data):
            known = both(known, known_in(operand, data))
    return Value(data, there, known)


def filled_lists(value: Value, missing: float) -> EventValues:
    """The lists of `value` with `missing` for the elements that are not known.

    Raises:
        ExpressionError: A whole list is missing, which a number cannot stand for.
    """
    if value.there is not None and not value.there.all():
        lacking = int((~value.there).sum())
        message = (
            f"a whole list is missing in {lacking} of {len(value.there)} events, "
            f"and missing={missing} is one number; cut these events away, or take an element"
        )
        raise ExpressionError(message)
    if value.known is None:
        return value.data
    known = spread(value.known, value.data)
    if isinstance(value.data, ak.Array):
        return ak.where(known, value.data, missing)
    return np.where(known, value.data, missing)


def is_strings(data: Data) -> bool:
    """Whether these are strings."""
    if not isinstance(data, ak.Array):
        return data.dtype.kind in "US"
    return ak.parameters(data).get("__array__") in {"string", "bytestring"}


def has_strings(data: Data) -> bool:
    """Whether these are strings, or lists of strings."""
    if is_strings(data) or not isinstance(data, ak.Array):
        return is_strings(data)
    layout = ak.to_layout(data)
    while layout.is_list or layout.is_option or layout.is_indexed:
        if layout.parameter("__array__") in {"string", "bytestring"}:
            return True
        layout = layout.content
    return False


def plain(data: Data) -> Data:
    """Strings without a dictionary (Parquet, Arrow, pandas), and not optional if none is null."""
    if not isinstance(data, ak.Array):
        return data
    if ak.parameters(data).get("__array__") == "categorical":
        data = ak.from_categorical(data)
    layout = ak.to_layout(data)
    if layout.is_option and bool(ak.any(ak.is_none(data))):
        return data  # projecting would drop the nulls
    if (layout.is_option or layout.is_indexed) and is_strings(ak.Array(layout.content)):
        data = plain(ak.Array(layout.project()))
    return data


def of_column(column: Data) -> Value:
    """A column as a file gives it; what is null there (Arrow, ``std::optional``) is missing.

    Nulls of strings and records stay: these are not computed with.
    """
    data = plain(column)
    if not isinstance(data, ak.Array):
        return Value(data)
    layout: Any = ak.to_layout(data)
    there: Mask | None = None
    if layout.is_option:
        inner = layout.content
        if not (inner.is_numpy or inner.is_list) or inner.parameter("__array__") is not None:
            return Value(data)
        there = ~np.asarray(ak.is_none(data))
        layout = _numbers_filled(layout) if inner.is_numpy else _lists_filled(layout, there)
    if layout.is_numpy:
        return Value(ak.to_numpy(layout), there)
    known = None
    if _nullable(layout):
        known = ak.transform(_numbers_there, layout)
        layout = ak.transform(_numbers_filled, layout, highlevel=False)
    return Value(ak.Array(layout), there, known)


def _nullable(layout: Any) -> bool:
    """Whether numbers within the lists of `layout` may be null."""
    while layout.is_list and layout.parameter("__array__") is None:
        layout = layout.content
    return bool(layout.is_option and layout.content.is_numpy)


def _numbers_filled(layout: Any, **_: Any) -> Any:
    if not layout.is_option:
        return None
    values = np.zeros(len(layout), layout.content.dtype)
    values[~np.asarray(ak.is_none(layout))] = ak.to_numpy(layout.project())
    return ak.contents.NumpyArray(values)


def _numbers_there(layout: Any, **_: Any) -> Any:
    return ak.contents.NumpyArray(~np.asarray(ak.is_none(layout))) if layout.is_option else None


def _lists_filled(layout: Any, there: Mask) -> Any:
    """Empty lists where there is none."""
    lists = layout.project().to_ListOffsetArray64(True)
    ends = np.zeros(len(layout) + 1, np.int64)
    ends[1:][there] = np.diff(lists.offsets.data)
    return ak.contents.ListOffsetArray(ak.index.Index64(np.cumsum(ends)), lists.content)


def leaf_dtype(data: Data) -> np.dtype[Any]:
    """The dtype of the numbers, however deep they are.

    Raises:
        ExpressionError: There are none (records, strings).
    """
    if not isinstance(data, ak.Array):
        return data.dtype
    lists = flat(data)
    if lists is not None:
        return lists[1].dtype
    layout = ak.to_layout(data)
    while not layout.is_numpy:
        if layout.is_record or layout.is_union or layout.parameter("__array__") is not None:
            message = f"numbers are needed here, not values of type {ak.type(data).content}"
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
        message = f"numbers are needed here, not values of type {dtype}"
        raise ExpressionError(message)
    if dtype == np.uint64 and _largest(data) > np.iinfo(np.int64).max:
        message = "an unsigned value is too large for 64-bit signed arithmetic"
        raise ExpressionError(message)
    return _cast(data, np.dtype(np.int64))


def as_logical(data: Data) -> Data:
    """Data as bool: numbers are true when they are not zero."""
    if leaf_dtype(data) == np.bool_:
        return data
    return number_by_number(lambda numbers: numbers != 0, data)


def _cast(data: Data, dtype: np.dtype[Any]) -> Data:
    if isinstance(data, ak.Array):
        if leaf_dtype(data) == dtype:
            return data
        if flat(data) is not None:
            return number_by_number(lambda numbers: numbers.astype(dtype), data)
        return ak.values_astype(data, dtype)
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
    known = flat(one), flat(other)
    if known[0] is not None and known[1] is not None and same_offsets(known[0][0], known[1][0]):
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
