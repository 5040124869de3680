"""TTree, through uproot."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import uproot

from rootml.storage._base import (
    Column,
    Columns,
    ColumnType,
    Fingerprint,
    Table,
    local_fingerprint,
)
from rootml.storage._failures import reading
from rootml.storage._guard import Guard, check_columns, check_range
from rootml.storage._paths import is_remote
from rootml.storage._types import type_of_form, uniform


class UprootTable(Table):
    """What TTree and RNTuple tables share."""

    def __init__(self, path: str, name: str, tree: Any, uuid: str) -> None:
        self.path = path
        self.name = name
        self.num_entries = int(tree.num_entries)
        self._remote = is_remote(path)
        self.fingerprint = (
            Fingerprint(int(tree.file.source.num_bytes or 0), 0, uuid)
            if self._remote
            else local_fingerprint(path, uuid)
        )
        self._bounds = self._cluster_bounds(tree)
        self._columns: Columns | None = None
        self._guard = Guard(path)
        self._lock = threading.Lock()

    def _open(self) -> Any:
        self._guard.check(self.where)
        return uproot.open(self.path, object_cache=None, array_cache=None)

    @property
    def columns(self) -> Columns:
        if self._columns is None:
            with self._lock, reading(self.where), self._open() as file:
                self._columns = self._make_columns(file[self.name])
        return self._columns

    def _make_columns(self, tree: Any) -> Columns:
        raise NotImplementedError

    def _cluster_bounds(self, tree: Any) -> npt.NDArray[np.int64]:
        raise NotImplementedError

    def clusters(self) -> npt.NDArray[np.int64]:
        return self._bounds.copy()

    def stored_bytes(self, columns: Sequence[str]) -> int:
        return self.fingerprint.size * len(columns) // max(1, len(self.columns))

    def read(self, columns: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        check_range(self, start, stop)
        names = check_columns(self, columns)
        with reading(self.where, columns, start, stop), self._open() as file:
            tree = file[self.name]
            return {
                name: uniform(self._array(tree, inner, start, stop), self.columns[name])
                for name, inner in names.items()
            }

    def _array(self, tree: Any, name: str, start: int, stop: int) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        self._guard.close()


class TTreeTable(UprootTable):
    """A TTree."""

    format = "ttree"

    def _cluster_bounds(self, tree: Any) -> npt.NDArray[np.int64]:
        return np.unique(np.array([0, *tree.common_entry_offsets(), self.num_entries], np.int64))

    def _make_columns(self, tree: Any) -> Columns:
        types, aliases = {}, {}
        paths = tree.keys(recursive=True)
        last = [path.rsplit("/", 1)[-1].split("[", 1)[0] for path in paths]
        self._paths = {}
        for path, bare in zip(paths, last, strict=True):
            name = bare if last.count(bare) == 1 else path
            if name != path:
                aliases[path] = name
            self._paths[name] = path
            branch = tree[path]
            try:
                form = branch.interpretation.awkward_form(tree.file)
                types[name] = type_of_form(form, branch.typename)
            except Exception as error:  # noqa: BLE001 - uproot has no class for "cannot read this"
                types[name] = ColumnType("unsupported", text=f"{branch.typename}: {error}")
        return Columns(types, aliases)

    def _array(self, tree: Any, name: str, start: int, stop: int) -> Any:
        return tree[self._paths[name]].array(entry_start=start, entry_stop=stop)
