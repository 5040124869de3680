"""From the type systems of the formats to `ColumnType`, and layouts made uniform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import awkward as ak
import numpy as np

from rootml._internal.buffers import Allocate
from rootml._internal.types import Array
from rootml.storage._base import Column, ColumnType

_NUMERIC = "biuf"


def native(dtype: Any) -> np.dtype[Any]:
    """`dtype` in the byte order of this machine."""
    plain: np.dtype[Any] = np.dtype(dtype)
    return plain.newbyteorder("=")


def _number(form: Any, depth: int, shape: tuple[int, ...], text: str) -> ColumnType:
    dtype = np.dtype(ak.types.numpytype.primitive_to_dtype(form.primitive))
    if dtype.kind not in _NUMERIC:
        return ColumnType("other", text=text)
    shape += tuple(form.inner_shape)
    if depth:  # arrays of fixed length inside lists are lists too: one rule for all of them
        return ColumnType("jagged", native(dtype), depth=depth + len(shape), text=text)
    return ColumnType("fixed" if shape else "scalar", native(dtype), shape, text=text)


def type_of_form(form: Any, text: str) -> ColumnType:
    """`ColumnType` of an awkward form; `text` is how the file spells the type."""
    found = _type_of_form(form, text)
    return replace(found, form=form) if found.kind == "other" else found


def _type_of_form(form: Any, text: str) -> ColumnType:
    depth, shape = 0, ()  # type: tuple[int, tuple[int, ...]]
    while True:
        if form.parameter("__array__") in {"string", "bytestring"}:
            return ColumnType("other" if depth or shape else "string", text=text)
        if isinstance(form, ak.forms.ListOffsetForm | ak.forms.ListForm):
            depth, shape = depth + len(shape) + 1, ()
        elif isinstance(form, ak.forms.RegularForm):
            shape += (form.size,)
        elif form.is_numpy:
            return _number(form, depth, shape, text)
        else:
            return ColumnType("other", text=text)
        form = form.content


def _unregular(layout: Any, **_: Any) -> Any:
    """Turn every kind of list below into a ListOffsetArray, packed."""
    if layout.is_numpy and layout.data.ndim > 1:
        layout = layout.to_RegularArray()
    if layout.is_list:
        layout = layout.to_ListOffsetArray64(True)
        content = ak.transform(_unregular, layout.content, highlevel=False)
        return ak.contents.ListOffsetArray(layout.offsets, content, parameters=layout.parameters)
    return None


def side_by_side(
    dtypes: Mapping[str, np.dtype[Any]], rows: int, allocate: Allocate
) -> dict[str, Array]:
    """A row of one array per dtype for each scalar column."""
    groups: dict[np.dtype[Any], list[str]] = {}
    for name, dtype in dtypes.items():
        groups.setdefault(dtype, []).append(name)
    columns_by_name: dict[str, Array] = {}
    for dtype, group in groups.items():
        block = allocate((len(group), rows), dtype)
        columns_by_name |= dict(zip(group, block, strict=True))
    return columns_by_name


def uniform(array: Any, kind: ColumnType) -> Column:
    """`array` in the layout that `Table.read` promises for columns of type `kind`."""
    if kind.kind in {"scalar", "fixed"}:
        values = np.asarray(ak.to_numpy(array, allow_missing=False))
        return np.require(values, dtype=kind.dtype, requirements=["C", "W", "O"])
    return ak.Array(ak.transform(_unregular, ak.to_packed(array), highlevel=False))
