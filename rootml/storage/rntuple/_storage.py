"""RNTuple: numbers and lists of numbers by direct page reading, everything else through uproot."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Allocate
from rootml.storage._base import Column, Columns, ColumnType, Fingerprint, Table
from rootml.storage._failures import reading
from rootml.storage._guard import Guard, check_columns, check_range
from rootml.storage._types import side_by_side, uniform
from rootml.storage._uproot import UprootTree, type_of_uproot
from rootml.storage.rntuple._pages import (
    FieldPages,
    Int64s,
    check_page_lists,
    check_pages,
    cluster_ranges,
    element_ranges,
    family_of,
    fields_by_name,
    first_ranges,
    list_offsets,
    page_bounds,
    pages_of,
    read_flat,
    read_lists,
)

_CHAR = "char"
_VARIANT = 3  # the structural role of its field
_SAMPLED = 64


def _type(field: Any) -> ColumnType:
    """As uproot says, but a ``char`` is a signed number, as in a TTree and as ROOT reads it."""
    kind = type_of_uproot(field)
    if kind.text == _CHAR and kind.kind == "scalar":
        return replace(kind, dtype=np.dtype(np.int8))
    return kind


def _array_of(tree: Any, name: str, start: int, stop: int, clusters: Int64s) -> ak.Array:
    """Entries ``[start, stop)`` of a field, around two mistakes of uproot 5.7.

    Variants of several clusters: uproot takes positions that are counted in each cluster for
    positions in all that is read. Arrays of fixed length in a field that was added late: uproot
    subtracts entries from a number of elements, unless one reads from the first entry on.
    """
    field = tree[name]
    variant, late = _oddities(tree, field.field_id)
    if variant and late:
        message = "a variant with an array of fixed length, added when there were entries already"
        raise NotImplementedError(message)
    if late:
        return field.array(entry_start=0, entry_stop=stop)[start:]
    inside: Any = clusters[(clusters > start) & (clusters < stop)] if variant else []
    edges = [start, *map(int, inside), stop]
    parts = [field.array(entry_start=a, entry_stop=b) for a, b in itertools.pairwise(edges)]
    return parts[0] if len(parts) == 1 else ak.concatenate(parts)


def _oddities(tree: Any, number: int) -> tuple[bool, bool]:
    """Whether a field has a variant in it, and an array of fixed length that was added late."""
    fields, family = tree.field_records, family_of(tree, [number])
    late = any(c.first_element_index for c in tree.column_records if c.field_id in family)
    fixed = any(fields[each].repetition for each in family)
    return any(int(fields[each].struct_role) == _VARIANT for each in family), late and fixed


class RNTupleTable(Table):
    """An RNTuple of one file."""

    format = "rntuple"

    def __init__(self, path: str, name: str, guard: Guard) -> None:
        self.path = path
        self.name = name
        self._guard = guard
        self._uproot = UprootTree(path, name, self.where, guard)
        self._lock = threading.RLock()
        self._pages: dict[str, FieldPages | None] = {}
        self._bounds: npt.NDArray[np.int64] | None = None
        with self._uproot.open() as tree:
            self.num_entries = int(tree.num_entries)
            if guard.remote is None:  # a remote one would be read twice
                check_page_lists(tree)
            mark = guard.fingerprint
            self.fingerprint = Fingerprint(mark.size, mark.modified, str(tree.file.uuid))
            starts = [cluster.num_first_entry for cluster in tree.cluster_summaries]
            self._clusters = np.unique(np.array([0, *starts, self.num_entries], np.int64))
            names = list(tree.keys())  # iterating over the tree itself gives something else
            self._columns = Columns({key: _type(tree[key]) for key in names})
            self._numbers = fields_by_name(tree)

    @property
    def columns(self) -> Columns:
        return self._columns

    def clusters(self) -> npt.NDArray[np.int64]:
        if self._bounds is None:
            names = [name for name in self._columns if name in self._numbers][:_SAMPLED]
            with reading(self.where):
                known = self._known(names)
                bounds = page_bounds(known, self.num_entries)
            self._bounds = self._clusters if bounds is None else bounds
        return self._bounds.copy()

    def stored_bytes(self, columns: Sequence[str]) -> int:
        names = set(check_columns(self, columns).values())
        known = self._known(list(names))
        rest = len(names) - len(known)
        share = self.fingerprint.size * rest // max(1, len(self.columns))
        return sum(pages.stored_bytes for pages in known.values()) + share

    def _known(self, names: Sequence[str]) -> dict[str, FieldPages]:
        """The pages of those of `names` that are read directly."""
        missing = [name for name in names if name in self._numbers and name not in self._pages]
        if missing:
            with self._lock, self._uproot.open() as tree:
                for name in missing:
                    self._pages[name] = self._find(tree, name)
        found = {name: self._pages.get(name) for name in names}
        return {name: pages for name, pages in found.items() if pages is not None}

    def _find(self, tree: Any, name: str) -> FieldPages | None:
        pages, kind = pages_of(tree, self._numbers[name]), self._columns[name]
        wanted = "scalar" if pages is None or pages.ends is None else "jagged"
        good = pages is not None and (kind.kind, kind.dtype) == (wanted, pages.values.dtype)
        if good and pages is not None and pages.per_entry.bounds[-1] == self.num_entries:
            return pages
        return None

    def read(
        self,
        columns: Sequence[str],
        start: int,
        stop: int,
        *,
        allocate: Allocate = np.empty,
    ) -> dict[str, Column]:
        check_range(self, start, stop)
        names = check_columns(self, columns)
        wanted = list(dict.fromkeys(names.values()))
        with reading(self.where, columns, start, stop):
            direct = self._known(wanted)
        found: dict[str, Column] = {}
        if direct:
            found |= self._direct(direct, start, stop, allocate)
        rest = [name for name in wanted if name not in found]
        if rest:
            with reading(self.where, rest, start, stop), self._uproot.open() as tree:
                if self._guard.remote is not None:
                    tree.file.source.aim(cluster_ranges(tree, rest, start, stop))
                found |= {name: self._array(tree, name, start, stop) for name in rest}
        return {name: found[inner] for name, inner in names.items()}

    def _direct(
        self, direct: dict[str, FieldPages], start: int, stop: int, allocate: Allocate
    ) -> dict[str, Column]:
        flat = {name: pages.values.dtype for name, pages in direct.items() if pages.ends is None}
        positions = side_by_side(flat, stop - start, allocate)
        found: dict[str, Column] = {}
        offsets: dict[str, Int64s] = {}
        with reading(self.where), self._guard.source(self.where) as source:
            first = source.fetch(first_ranges(direct.values(), start, stop))
            for name, pages in direct.items():
                with reading(self.where, [name], start, stop):
                    if pages.ends is None:
                        found[name] = read_flat(first, pages, start, stop, positions[name])
                    else:
                        offsets[name] = list_offsets(first, pages, start, stop)
            lists = [(direct[name], ends) for name, ends in offsets.items()]
            second = source.fetch(element_ranges(lists)) if lists else source
            for name, ends in offsets.items():
                with reading(self.where, [name], start, stop):
                    found[name] = read_lists(second, direct[name], ends)
        return {name: found[name] for name in direct}

    def _array(self, tree: Any, name: str, start: int, stop: int) -> Column:
        kind = self.columns[name]
        if self._guard.remote is None:
            with self._guard.source(self.where) as source:
                check_pages(source, tree, tree[name].field_id, start, stop)
        array = _array_of(tree, name, start, stop, self._clusters)
        if kind.text == _CHAR and kind.kind == "scalar":
            return np.asarray(uniform(array, type_of_uproot(tree[name]))).view(np.int8)
        return uniform(array, kind)

    def close(self) -> None:
        self._guard.close()
        self._uproot.close()
