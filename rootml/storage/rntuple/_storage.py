"""RNTuple: numbers and lists of numbers by direct page reading, everything else through uproot.

uproot says what the fields of a header are, once for all files with the same header: names, types
and columns are remembered as a `Schema`. What differs from file to file, the clusters and pages,
is parsed here (`_envelopes`); where that does not know a file, and of files on servers, by uproot.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Allocate
from rootml.execution import ProcessLock
from rootml.storage._base import Column, Columns, ColumnType, Fingerprint, Table
from rootml.storage._failures import reading
from rootml.storage._guard import Guard, check_columns, check_range
from rootml.storage._types import side_by_side, uniform
from rootml.storage._uproot import UprootTree, type_of_uproot
from rootml.storage.rntuple._envelopes import PageLists, Unknown, read_metadata
from rootml.storage.rntuple._pages import (
    FieldPages,
    Int64s,
    PageColumn,
    check_page_lists,
    check_pages,
    cluster_ranges,
    column_of_lists,
    column_of_tree,
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
from rootml.storage.ttree._rootfile import Key, RootFile

_CHAR = "char"
_VARIANT = 3  # the structural role of its field
_SAMPLED = 64
_KEPT = 16


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


@dataclass(frozen=True, slots=True)
class Schema:
    """What all RNTuples with the same header share.

    Attributes:
        columns: Names and types.
        numbers: As `fields_by_name` gives them.
        kinds: Types of the columns on disk, by their numbers.
    """

    columns: Columns
    numbers: dict[str, list[int]]
    kinds: list[int]


def schema_of(tree: Any) -> Schema:
    """The schema of an RNTuple that uproot has opened."""
    _find_children(tree)
    numbers = fields_by_name(tree)
    kinds = [int(column.type) for column in tree.column_records]
    known: dict[Any, ColumnType] = {}
    types = {}
    for name, field in tree.items():  # iterating over the tree itself gives something else
        if name in numbers:  # simple fields of equal types on disk and in C++ are equal
            key = (field.typename, *(kinds[number] for number in numbers[name]))
            if key not in known:
                known[key] = _type(field)
            types[name] = known[key]
        else:
            types[name] = _type(field)
    return Schema(Columns(types), numbers, kinds)


def _find_children(tree: Any) -> None:
    """What is in each field, which uproot looks up among all fields for each field again."""
    children: dict[int, list[int]] = {}
    for number, record in enumerate(tree.field_records):
        if record.parent_field_id != number:
            children.setdefault(record.parent_field_id, []).append(number)
    fields = tree.all_fields

    def inside(number: int) -> list[Any]:
        found = []
        for child in children.get(number, []):
            field = fields[child]
            found += inside(child) if field.is_anonymous else [field]
        return found

    for number, field in enumerate(fields):
        field._fields = inside(number)


class _Schemas:
    """The schemas that were used last, by header."""

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._kept: OrderedDict[bytes, Schema] = OrderedDict()

    def get(self, header: bytes) -> Schema | None:
        with self._lock:
            return self._kept.get(header)

    def keep(self, header: bytes, schema: Schema) -> None:
        with self._lock:
            self._kept[header] = schema
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


_SCHEMAS = _Schemas()


class RNTupleTable(Table):
    """An RNTuple of one file."""

    format = "rntuple"

    def __init__(
        self,
        path: str,
        name: str,
        guard: Guard,
        file: RootFile | None = None,
        key: Key | None = None,
    ) -> None:
        self.path = path
        self.name = name
        self._guard = guard
        self._uproot = UprootTree(name, self.where, guard)
        self._lock = threading.RLock()
        self._pages: dict[str, FieldPages | None] = {}
        self._bounds: npt.NDArray[np.int64] | None = None
        self._lists: PageLists | None = None
        try:
            starts = self._open_directly(file, key)
        except Unknown:
            starts = self._open_with_uproot()
        self._clusters = np.unique(np.array([0, *starts, self.num_entries], np.int64))

    def _open_directly(self, file: RootFile | None, key: Key | None) -> list[int]:
        """Read what differs from file to file; the first entry of each cluster."""
        if file is None or key is None or self._guard.remote is not None:
            raise Unknown
        found = read_metadata(file.source, key, file.size)
        header = hashlib.sha256(found.schema).digest()
        schema = _SCHEMAS.get(header)
        if schema is None:
            with self._uproot.open() as tree:
                schema = schema_of(tree)
            _SCHEMAS.keep(header, schema)
        self._schema, self._lists = schema, found.lists
        self.num_entries = found.lists.num_entries
        mark = self._guard.fingerprint
        self.fingerprint = Fingerprint(mark.size, mark.modified, file.uuid)
        return found.lists.starts

    def _open_with_uproot(self) -> list[int]:
        with self._uproot.open() as tree:
            self.num_entries = int(tree.num_entries)
            if self._guard.remote is None:  # a remote one would be read twice
                check_page_lists(tree)
            mark = self._guard.fingerprint
            self.fingerprint = Fingerprint(mark.size, mark.modified, str(tree.file.uuid))
            self._schema = schema_of(tree)
            return [int(cluster.num_first_entry) for cluster in tree.cluster_summaries]

    @property
    def columns(self) -> Columns:
        return self._schema.columns

    def clusters(self) -> npt.NDArray[np.int64]:
        if self._bounds is None:
            names = [name for name in self.columns if name in self._schema.numbers][:_SAMPLED]
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
        known = self._schema.numbers
        missing = [name for name in names if name in known and name not in self._pages]
        if missing and self._lists is not None:
            column = partial(column_of_lists, self._lists, self._schema.kinds)
            with self._lock:
                self._pages |= {name: self._find(column, name) for name in missing}
        elif missing:
            with self._lock, self._uproot.open() as tree:
                column = partial(column_of_tree, tree)
                self._pages |= {name: self._find(column, name) for name in missing}
        found = {name: self._pages.get(name) for name in names}
        return {name: pages for name, pages in found.items() if pages is not None}

    def _find(self, column: Callable[[int], PageColumn | None], name: str) -> FieldPages | None:
        pages, kind = pages_of(self._schema.numbers[name], column), self.columns[name]
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
        raw: Collection[str] = (),  # noqa: ARG002 - always in native order
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
