"""Writer of RNTuple files, through uproot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np

from rootml.errors import UnsupportedTypeError, UsageError
from rootml.storage._base import Column, ColumnType
from rootml.storage._root_writer import WRITABLE, RootWriter


def _form(name: str, kind: ColumnType) -> Any:
    """The awkward form of a column, from which uproot makes a field."""
    forms = ak.forms
    if kind.kind == "string":
        chars = forms.NumpyForm("uint8", parameters={"__array__": "char"})
        return forms.ListOffsetForm("i64", chars, parameters={"__array__": "string"})
    good = kind.kind in {"scalar", "fixed", "jagged"} and kind.dtype is not None
    if not good or kind.dtype is None or kind.dtype.name not in WRITABLE:
        message = (
            f"column {name!r} of type {kind} cannot be written to an RNTuple: it holds numbers "
            "and bools up to 64 bits, fixed arrays and lists of them, and strings"
        )
        raise UnsupportedTypeError(message)
    form = forms.NumpyForm(kind.dtype.name)
    for size in reversed(kind.shape):
        form = forms.RegularForm(form, size)
    for _ in range(kind.depth):
        form = forms.ListOffsetForm("i64", form)
    return form


def _check_name(name: str) -> None:
    """Field names as ROOT has them: no dots, slashes, colons, backslashes, control characters."""
    bad = [letter for letter in name if letter in "./:\\" or not letter.isprintable()]
    if bad:
        message = (
            f"column {name!r} cannot be written to an RNTuple, whose fields have no {bad[0]!r} in "
            "their names; select it as 'other_name = ...'"
        )
        raise UsageError(message)


class RNTupleWriter(RootWriter):
    """A file with one RNTuple."""

    def __init__(
        self,
        path: str,
        *,
        tree: str,
        columns: Mapping[str, ColumnType],
        metadata: Mapping[str, str],
    ) -> None:
        for name in columns:
            _check_name(name)
        forms = [_form(name, kind) for name, kind in columns.items()]
        super().__init__(path, columns=columns, metadata=metadata)
        self._ntuple = self._file.mkrntuple(tree, ak.forms.RecordForm(forms, list(columns)))

    def _cluster(self, columns: Mapping[str, Column]) -> None:
        contents = [self._layout(name, columns[name]) for name in self._types]
        length = len(next(iter(columns.values())))
        record = ak.contents.RecordArray(contents, list(self._types), length=length)
        self._ntuple.extend(ak.Array(record))

    def _layout(self, name: str, column: Column) -> Any:
        kind = self._types[name]
        if isinstance(column, np.ndarray):
            assert kind.dtype is not None
            values = np.ascontiguousarray(column, kind.dtype)
            return ak.to_layout(ak.from_numpy(values, regulararray=True))
        packed = ak.to_packed(column)
        if kind.kind != "string":
            plain = ak.without_parameters(packed)  # a set is written as a list
            packed = ak.values_astype(plain, kind.dtype)  # without an element there is no type
        return ak.to_layout(packed)
