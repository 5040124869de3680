"""RNTuple, through uproot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._buffers import Allocate
from rootml.storage._base import Column, Columns, ColumnType, Fingerprint, Table
from rootml.storage._failures import reading
from rootml.storage._guard import Guard, check_columns, check_range
from rootml.storage._paths import is_remote
from rootml.storage._types import uniform
from rootml.storage._uproot import UprootTree, type_of_uproot

_CHAR = "char"


def _type(field: Any) -> ColumnType:
    """As uproot says, but a ``char`` is a signed number, as in a TTree and as ROOT reads it."""
    kind = type_of_uproot(field)
    if kind.text == _CHAR and kind.kind == "scalar":
        return replace(kind, dtype=np.dtype(np.int8))
    return kind


class RNTupleTable(Table):
    """An RNTuple."""

    format = "rntuple"

    def __init__(self, path: str, name: str, guard: Guard) -> None:
        self.path = path
        self.name = name
        self._guard = guard
        self._uproot = UprootTree(path, name, self.where, guard)
        with self._uproot.open() as tree:
            self.num_entries = int(tree.num_entries)
            size = guard.fingerprint.size
            if is_remote(path):
                size = int(tree.file.source.num_bytes or 0)
            self.fingerprint = Fingerprint(size, guard.fingerprint.modified, str(tree.file.uuid))
            starts = [cluster.num_first_entry for cluster in tree.cluster_summaries]
            self._bounds = np.unique(np.array([0, *starts, self.num_entries], np.int64))
            names = list(tree.keys())  # iterating over the tree itself gives something else
            self._columns = Columns({key: _type(tree[key]) for key in names})

    @property
    def columns(self) -> Columns:
        return self._columns

    def clusters(self) -> npt.NDArray[np.int64]:
        return self._bounds.copy()

    def stored_bytes(self, columns: Sequence[str]) -> int:
        return self.fingerprint.size * len(columns) // max(1, len(self.columns))

    def read(
        self,
        columns: Sequence[str],
        start: int,
        stop: int,
        *,
        allocate: Allocate = np.empty,  # noqa: ARG002
    ) -> dict[str, Column]:
        check_range(self, start, stop)
        names = check_columns(self, columns)
        with reading(self.where, columns, start, stop), self._uproot.open() as tree:
            return {name: self._array(tree, inner, start, stop) for name, inner in names.items()}

    def _array(self, tree: Any, name: str, start: int, stop: int) -> Column:
        kind = self.columns[name]
        array = tree[name].array(entry_start=start, entry_stop=stop)
        if kind.text == _CHAR and kind.kind == "scalar":
            return np.asarray(uniform(array, type_of_uproot(tree[name]))).view(np.int8)
        return uniform(array, kind)

    def close(self) -> None:
        self._guard.close()
        self._uproot.close()
