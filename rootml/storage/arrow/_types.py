"""Arrow types as `ColumnType`, and Arrow arrays as the columns that `Table.read` promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rootml._internal.types import Array
from rootml.errors import UnsupportedTypeError
from rootml.storage._base import Column, ColumnType
from rootml.storage._types import uniform


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where a column is: in the top-level `field`, down the member names `path`.

    `first` and `last` bound the Parquet leaf columns that belong to it; `width` estimates the
    bytes per entry.
    """

    field: int
    path: tuple[str, ...]
    type: ColumnType
    first: int
    last: int
    width: int


def _plain(kind: Any) -> Any:
    """`kind` without dictionary encoding and extension wrapper."""
    while True:
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        elif isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        else:
            return kind


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_number(kind: Any) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def type_of_arrow(kind: Any) -> ColumnType:
    """`ColumnType` of an Arrow type."""
    text, kind = str(kind), _plain(kind)
    depth, shape = 0, ()  # type: tuple[int, tuple[int, ...]]
    while True:
        if _is_list(kind):
            depth, shape, kind = depth + len(shape) + 1, (), _plain(kind.value_type)
        elif pa.types.is_fixed_size_list(kind):
            shape, kind = (*shape, kind.list_size), _plain(kind.value_type)
        else:
            break
    if _is_number(kind):
        dtype = np.dtype(kind.to_pandas_dtype())
        if depth:
            return ColumnType("jagged", dtype, depth=depth + len(shape), text=text)
        return ColumnType("fixed" if shape else "scalar", dtype, shape, text=text)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ColumnType("other" if depth or shape else "string", text=text)
    return _generic_type(kind, text)


def _generic_type(kind: Any, text: str) -> ColumnType:
    """`ColumnType` of what is left to awkward; `kind`: what is inside the lists, if any."""
    if pa.types.is_null(kind):
        return ColumnType("unsupported", text=f"{text}: it has no values, nothing but nulls")
    error = _refusal(kind)
    if error is not None:
        return ColumnType("unsupported", text=f"{text} ({error})")
    return ColumnType("other", text=text)


@lru_cache(maxsize=1024)
def _refusal(kind: Any) -> str | None:
    """Why awkward cannot take arrays of this type (decimals, maps, views); None: it can."""
    try:
        empty = pa.array([], kind)
    except pa.ArrowException:  # a union: nothing to try it on
        return None
    try:
        ak.from_arrow(empty, highlevel=False)
    except Exception as error:  # noqa: BLE001 - ValueError, assertions and others
        return f"{type(error).__name__}: {error}"
    return None


def _num_leaves(kind: Any) -> int:
    kind = _plain(kind)
    return sum(_num_leaves(kind.field(i).type) for i in range(kind.num_fields)) or 1


def _width(kind: Any) -> int:
    kind = _plain(kind)
    if kind.num_fields:
        inner = sum(_width(kind.field(i).type) for i in range(kind.num_fields))
        return inner * kind.list_size if pa.types.is_fixed_size_list(kind) else inner * 4 + 4
    return max(1, kind.bit_width // 8) if _is_number(kind) else 16


def _members(kind: Any, first: int) -> Iterator[tuple[str, Any, int]]:
    """Name, type and first leaf of the members of a record, or of a list of records."""
    wrap = [kind]
    while _is_list(wrap[-1]):
        wrap.append(_plain(wrap[-1].value_type))
    record = wrap.pop()
    if not pa.types.is_struct(record):
        return
    for i in range(record.num_fields):
        inner = record.field(i).type
        for outer in reversed(wrap):
            inner = pa.large_list(inner) if pa.types.is_large_list(outer) else pa.list_(inner)
        yield record.field(i).name, inner, first
        first += _num_leaves(inner)


def _walk(name: str, field: int, path: tuple[str, ...], kind: Any, first: int) -> Any:
    last = first + _num_leaves(kind)
    yield name, Leaf(field, path, type_of_arrow(kind), first, last, _width(kind))
    for member, inner, at in _members(_plain(kind), first):
        yield from _walk(f"{name}.{member}", field, (*path, member), inner, at)


def leaves_of(schema: Any) -> dict[str, Leaf]:
    """Columns of a schema: its fields, and ``field.member`` for (lists of) records.

    The first of two equal names wins for a member; no reader can distinguish two equal
    top-level names, so such a column is marked as unsupported.
    """
    found: dict[str, Leaf] = {}
    first = 0
    for index, field in enumerate(schema):
        walked = list(_walk(field.name, index, (field.name,), field.type, first))
        first = walked[0][1].last
        for name, leaf in walked:
            if name in found and not leaf.path[1:]:
                twice = ColumnType("unsupported", text=f"{field.type}: two columns of this name")
                found[name] = Leaf(index, leaf.path, twice, leaf.first, leaf.last, leaf.width)
            found.setdefault(name, leaf)
    return found


def _refuse_nulls(array: Any, name: str) -> None:
    if array.null_count:
        message = (
            f"column {name!r} has {array.null_count} nulls among {len(array)} values of type "
            f"{array.type}; nulls have no numeric value: fill them when the file is written"
        )
        raise UnsupportedTypeError(message)


def _numbers(array: Any, name: str) -> Array:
    """Flat values; nulls of a floating-point column are NaN, as in Arrow's own `to_numpy`."""
    if array.null_count and pa.types.is_floating(array.type):
        array = pc.if_else(array.is_valid(), array, pa.scalar(np.nan, array.type))
    _refuse_nulls(array, name)
    if not len(array):
        return np.empty(0, array.type.to_pandas_dtype())
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _flat_fixed(array: Any, name: str) -> Any:
    while pa.types.is_fixed_size_list(array.type):
        _refuse_nulls(array, name)
        array = array.flatten()
    return array


def _nested(array: Any, name: str) -> Any:
    """Awkward layout of lists of numbers."""
    array = _undictionary(array)
    if _is_number(array.type):
        return ak.contents.NumpyArray(np.array(_numbers(array, name)))
    _refuse_nulls(array, name)
    if pa.types.is_fixed_size_list(array.type):
        size = array.type.list_size
        offsets = np.arange(len(array) + 1, dtype=np.int64) * size
        return ak.contents.ListOffsetArray(
            ak.index.Index64(offsets), _nested(array.flatten(), name)
        )
    offsets = np.array(array.offsets.to_numpy(zero_copy_only=False), np.int64)
    values = array.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    return ak.contents.ListOffsetArray(
        ak.index.Index64(offsets - offsets[0]), _nested(values, name)
    )


def _undictionary(array: Any) -> Any:
    while True:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        elif isinstance(array, pa.ExtensionArray):
            array = array.storage
        else:
            return array


def _certain(layout: Any, **_: Any) -> Any:
    """Drop the option type of what has no nulls."""
    if isinstance(layout, ak.contents.UnmaskedArray):
        return ak.transform(_certain, layout.content, highlevel=False)
    return None


def _generic(array: Any) -> Any:
    layout = ak.from_arrow(array, highlevel=False)
    if isinstance(layout, ak.contents.BitMaskedArray | ak.contents.ByteMaskedArray):
        layout = layout.to_IndexedOptionArray64()
    return ak.transform(_certain, layout, highlevel=False)


def _descend(array: Any, path: tuple[str, ...], name: str) -> Any:
    """The member `path` of a record array, or of lists of records."""
    array = _undictionary(array)
    if not path:
        return array
    if pa.types.is_struct(array.type):
        _refuse_nulls(array, name)
        index = array.type.get_field_index(path[0])
        return _descend(array.flatten()[index], path[1:], name)
    _refuse_nulls(array, name)
    inner = _descend(array.values, path, name)
    make = pa.LargeListArray if pa.types.is_large_list(array.type) else pa.ListArray
    return make.from_arrays(array.offsets, inner)


def to_column(leaf: Leaf, table: Any, offset: int, length: int, name: str = "") -> Column:
    """Rows ``[offset, offset + length)`` of a column of `table`."""
    name = name or ".".join(leaf.path)
    chunked = table.column(table.schema.get_field_index(leaf.path[0])).slice(offset, length)
    array = chunked.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    array = _descend(array, leaf.path[1:], name)
    kind = leaf.type
    if kind.kind in {"scalar", "fixed"}:
        values = _numbers(_undictionary(_flat_fixed(array, name)), name)
        shaped = values.reshape((length, *kind.shape))
        return np.require(shaped, dtype=kind.dtype, requirements=["C", "W", "O"])
    if kind.kind == "jagged":
        return ak.Array(_nested(array, name))
    if kind.kind == "string":
        _refuse_nulls(array, name)
        array = array.cast(pa.large_string())
    layout = _generic(array)
    if kind.kind == "string" and layout.is_option:  # of a dictionary; without nulls, as was seen
        layout = layout.project()
    return uniform(layout, kind)
