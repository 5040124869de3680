"""Writer of TTree files, through uproot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np

from rootml.errors import UnsupportedTypeError
from rootml.storage._base import Column, ColumnType
from rootml.storage._root_writer import WRITABLE, RootWriter


def _uproot_type(name: str, kind: ColumnType) -> Any:
    """What `mktree` takes for a column."""
    if kind.kind == "string":
        return "string"
    if kind.dtype is not None and kind.dtype.name in WRITABLE:
        if kind.kind == "jagged" and kind.depth == 1:
            return f"var * {kind.dtype.name}"
        if kind.kind in {"scalar", "fixed"}:
            return np.dtype((kind.dtype, kind.shape))
    message = (
        f"column {name!r} of type {kind} cannot be written to a TTree: it holds numbers and bools "
        f"up to 64 bits, fixed arrays and one level of lists of them, and strings; "
        'lists of lists go into format="rntuple", "parquet" or "arrow"'
    )
    raise UnsupportedTypeError(message)


def _counter_names(columns: Mapping[str, ColumnType]) -> dict[str, str]:
    """A counter branch for each jagged column: ``nJet_pt`` for ``Jet_pt``, unless that is taken.

    One counter per column, because nothing says that two columns always have equal counts; a
    column of the user's that has the counter's name must not be replaced by it.
    """
    taken = set(columns)
    names = {}
    for name, kind in columns.items():
        if kind.kind == "jagged":
            counter = f"n{name}"
            while counter in taken:
                counter = f"n_{counter}"
            taken.add(counter)
            names[name] = counter
    return names


class TTreeWriter(RootWriter):
    """A file with one TTree; a basket per branch and cluster."""

    def __init__(
        self,
        path: str,
        *,
        tree: str,
        columns: Mapping[str, ColumnType],
        metadata: Mapping[str, str],
    ) -> None:
        types = {name: _uproot_type(name, kind) for name, kind in columns.items()}
        super().__init__(path, columns=columns, metadata=metadata)
        self._counters = _counter_names(columns)
        self._tree = self._file.mktree(tree, types, counter_name=self._counters.__getitem__)

    def _cluster(self, columns: Mapping[str, Column]) -> None:
        self._tree.extend({name: self._prepared(name, columns[name]) for name in columns})

    def _prepared(self, name: str, column: Column) -> Column:
        if isinstance(column, np.ndarray):
            return column
        kind = self._types[name]
        packed = ak.to_packed(column)
        return packed if kind.kind == "string" else ak.values_astype(packed, kind.dtype)
