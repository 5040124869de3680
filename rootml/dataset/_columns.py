"""Columns in memory: some of their rows, joined, in another dtype, for awkward and Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rootml._internal.buffers import Allocate
from rootml.errors import UnsupportedTypeError
from rootml.storage import Column, ColumnType

Rows = npt.NDArray[np.intp]


def take(column: Column, rows: Rows, allocate: Allocate = np.empty) -> Column:
    """The given rows; lists come out packed.

    >>> take(np.array([1.5, 2.5, 3.5]), np.array([0, 2]))
    array([1.5, 3.5])
    """
    if isinstance(column, np.ndarray):
        out = allocate((len(rows), *column.shape[1:]), column.dtype)
        return np.take(column, rows, axis=0, out=out, mode="clip")  # "raise" would make a copy
    return ak.to_packed(column[rows])


def take_all(
    columns: Mapping[str, Column], rows: Rows, allocate: Allocate = np.empty
) -> dict[str, Column]:
    """The given rows of all columns; scalars of one dtype come out side by side in memory.

    >>> found = take_all({"a": np.arange(3), "b": np.arange(3) * 2}, np.array([0, 2]))
    >>> found["b"], found["a"].base is found["b"].base
    (array([0, 4]), True)
    """
    groups: dict[np.dtype[Any], list[str]] = {}
    for name, column in columns.items():
        if isinstance(column, np.ndarray) and column.ndim == 1:
            groups.setdefault(column.dtype, []).append(name)
    slots: dict[str, Any] = {}
    for dtype, group in groups.items():
        block = allocate((len(group), len(rows)), dtype)
        slots |= dict(zip(group, block, strict=True))
    return {
        name: np.take(column, rows, out=slots[name], mode="clip")
        if name in slots
        else take(column, rows, allocate)
        for name, column in columns.items()
    }


def packed(column: Any) -> Column:
    """NumPy contiguous, lists as plain ``ListOffset`` layouts without gaps."""
    if isinstance(column, np.ndarray):
        return np.ascontiguousarray(column)
    layout = column.layout if isinstance(column, ak.Array) else ak.to_layout(column)
    if layout.is_numpy:
        return np.ascontiguousarray(ak.to_numpy(layout))
    return column if isinstance(column, ak.Array) and _is_packed(layout) else ak.to_packed(column)


def _is_packed(layout: Any) -> bool:
    """Whether these are plain lists of numbers without gaps; False is always safe."""
    if not isinstance(layout, ak.contents.ListOffsetArray) or layout.parameters:
        return False
    offsets, content = layout.offsets.data, layout.content
    simple = content.is_numpy and not content.parameters and content.data.ndim == 1
    return bool(
        simple
        and offsets.dtype == np.int64
        and offsets[0] == 0
        and offsets[-1] == len(content)
        and content.data.flags.c_contiguous
    )


def cast(column: Column, dtype: np.dtype[Any] | None) -> Column:
    """Values in another dtype, which holds all of them."""
    if dtype is None:
        return column
    if isinstance(column, np.ndarray):
        return column.astype(dtype, copy=False)
    return ak.values_astype(column, dtype)


def concatenate(parts: Sequence[Column]) -> Column:
    """One column from those of several partitions."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return ak.concatenate(parts)


def exact_type(one: ColumnType, other: ColumnType) -> ColumnType | None:
    """A type that holds the values of both exactly, by NumPy's promotion; None if there is none.

    >>> from rootml.storage import ColumnType
    >>> f4, i4 = (ColumnType("scalar", np.dtype(name)) for name in ("f4", "i4"))
    >>> str(exact_type(f4, i4))
    'float64'
    """
    if one.same_as(other):
        return one
    mine, theirs = one.dtype, other.dtype
    if mine is None or theirs is None:
        return None
    if (one.kind, one.shape, one.depth) != (other.kind, other.shape, other.depth):
        return None
    dtype = np.promote_types(mine, theirs)
    if not all(_holds(dtype, part) for part in (mine, theirs)):
        return None
    return ColumnType(one.kind, dtype, one.shape, one.depth)


def _holds(dtype: np.dtype[Any], part: np.dtype[Any]) -> bool:
    """Whether every value of `part` is one of `dtype`; NumPy calls int64 to float64 safe."""
    if dtype.kind == "f" and part.kind in "iu":
        return 8 * part.itemsize <= np.finfo(dtype).nmant + 1
    return dtype.kind in "biuf"


def record_array(columns: Mapping[str, Column], num_rows: int) -> ak.Array:
    """One record per row, whose fields are the columns."""
    contents = [ak.to_layout(column, regulararray=True) for column in columns.values()]
    layout = ak.contents.RecordArray(contents, list(columns), length=num_rows)
    return ak.Array(layout)


def arrow_batch(columns: Mapping[str, Column]) -> pa.RecordBatch:
    """A `pyarrow.RecordBatch` of the columns.

    Raises:
        UnsupportedTypeError: A column that Arrow does not know.
    """
    arrays = {}
    for name, column in columns.items():
        layout = ak.to_layout(column, regulararray=True)
        try:
            arrays[name] = ak.to_arrow(layout, extensionarray=False)
        except (TypeError, ValueError, NotImplementedError, pa.ArrowException) as error:
            message = (
                f"column {name!r} of type {ak.type(column)} cannot be expressed in Arrow: {error}"
            )
            raise UnsupportedTypeError(message) from error
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
