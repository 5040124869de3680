"""TTree: plain branches by direct basket reading, everything else through uproot.

Opening reads the file's header and the record of the tree. The first question about columns finds
the names and positions of all branches at once (`_survey`); types and seek tables are parsed only
for the branches that are asked for. Memory holds the names (shared by files of the same layout),
and the types and seek tables of the branches in use.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Allocate
from rootml._internal.helping import for_each
from rootml._internal.types import Array
from rootml.errors import RootmlError
from rootml.storage._base import (
    Column,
    Columns,
    ColumnType,
    Fingerprint,
    LazyColumns,
    Table,
)
from rootml.storage._failures import reading
from rootml.storage._guard import Guard, check_columns, check_range
from rootml.storage._source import Source
from rootml.storage._types import side_by_side, uniform
from rootml.storage._uproot import UprootTree, array_of, branch_of, type_of_uproot
from rootml.storage.ttree._baskets import Int64s, Plan, cheap_cuts, plan_of, read_flat
from rootml.storage.ttree._branches import Branch, NeedsUproot, Tree, read_tree
from rootml.storage.ttree._interpret import storage_of, type_of_branch
from rootml.storage.ttree._jagged import KnownOffsets, read_jagged, room
from rootml.storage.ttree._names import name_columns
from rootml.storage.ttree._rootfile import Key, RootFile, read_record
from rootml.storage.ttree._survey import (
    CLASSES,
    common_bounds,
    is_narrow,
    survey,
    survey_of,
    walk,
)
from rootml.storage.ttree._templates import branches_of

logger = logging.getLogger(__name__)

_NEVER_FLUSHED = 0
_MAX_RECORDS, _LARGE_RECORD = 4, 8 << 20
_MAX_BRANCHES = 64
_SHARED_VALUES = 1 << 17
"""Reads of fewer values are not shared out among threads."""
_FEW_ENTRIES = 10_000
"""Trees of so few entries are seldom divided: nobody asks for their clusters."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What trees of the same branches share: names of columns, and the branches behind."""

    index: dict[str, int]
    aliases: dict[str, str]
    paths: tuple[str, ...]

    def path(self, name: str) -> str:
        """Branch path of the column `name`."""
        return self.paths[self.index[name]]


@lru_cache(maxsize=64)
def make_layout(paths: tuple[str, ...]) -> Layout:
    """The layout of a tree. Of two branches of one path the first counts, as in uproot."""
    first: dict[str, int] = {}
    for number, path in enumerate(paths):
        first.setdefault(path, number)
    names, aliases = name_columns(list(first))
    return Layout(dict(zip(names, first.values(), strict=True)), aliases, paths)


class _Records:
    """The records of the trees that were read last, for the next questions about them."""

    def __init__(self) -> None:
        self._recent: tuple[tuple[Any, Tree], ...] = ()

    def tree(self, source: Source, key: Key, path: str, known: Fingerprint) -> Tree:
        """The tree of a file that was seen to be the one that is `known`."""
        mark = (path, known, key)
        for other, tree in self._recent:
            if other == mark:
                return tree
        tree = read_tree(read_record(source, key, known.size), key.keylen, key.classname)
        if len(tree.data) <= _LARGE_RECORD:  # one assignment: threads may lose one another's
            self._recent = ((mark, tree), *self._recent[: _MAX_RECORDS - 1])
        return tree


_RECORDS = _Records()


def header_clusters(tree: Tree) -> Int64s | None:
    """Cluster boundaries that the header of a tree states, None when it states none.

    ROOT: ``TTree::TClusterIterator``. Ranges of equal clusters, the last range being fAutoFlush
    entries; a tree that was never flushed by entries has a negative or zero fAutoFlush.
    """
    edges, start = [np.zeros(1, np.int64)], 0
    for end, size in zip(tree.range_ends.tolist(), tree.range_sizes.tolist(), strict=True):
        stop = min(end + 1, tree.entries)
        if size <= 0 or stop <= start:
            return None
        edges.append(np.arange(start + size, stop, size, dtype=np.int64))
        edges.append(np.array([stop], np.int64))
        start = stop
    if start < tree.entries:
        if tree.auto_flush <= _NEVER_FLUSHED:
            return None
        edges.append(np.arange(start + tree.auto_flush, tree.entries, tree.auto_flush))
        edges.append(np.array([tree.entries], np.int64))
    return np.unique(np.concatenate(edges))


class TTreeTable(Table):
    """A TTree (or TNtuple) of one file."""

    format = "ttree"

    def __init__(self, path: str, name: str, guard: Guard) -> None:
        self.path = path
        self.name = name
        self._guard = guard
        self._uproot = UprootTree(name, self.where, guard)
        self._lock = threading.RLock()
        self._key: Key | None = None
        self._narrow: Tree | None = None
        self._layout: Layout | None = None
        self._columns: Columns | None = None
        self._told: dict[str, ColumnType] = {}
        self._branches: dict[str, Branch] = {}
        self._lazy: weakref.ref[LazyColumns] | None = None
        self._places: npt.NDArray[np.int32] = np.empty((0, 3), np.int32)
        self._bytes: Int64s = np.empty(0, np.int64)
        self._plans: dict[str, Plan | None] = {}
        self._bounds: Int64s | None = None

    @classmethod
    def direct(cls, path: str, name: str, guard: Guard, file: RootFile, key: Key) -> TTreeTable:
        """Open a tree of an open file."""
        table = cls(path, name, guard)
        table.fingerprint = Fingerprint(
            guard.fingerprint.size, guard.fingerprint.modified, file.uuid
        )
        try:
            record = read_record(file.source, key, file.size)
            tree = read_tree(record, key.keylen, key.classname)
            index = tree.index()
        except NeedsUproot:
            return cls.through_uproot(path, name, guard)
        table._key = key
        table._narrow = tree if is_narrow(tree) else None
        table.num_entries, table.index = tree.entries, index
        table._bounds = header_clusters(tree)
        return table

    @classmethod
    def through_uproot(cls, path: str, name: str, guard: Guard) -> TTreeTable:
        """Open a tree of a make that only uproot knows."""
        table = cls(path, name, guard)
        with table._uproot.open() as tree:
            table.num_entries = int(tree.num_entries)
            bounds = [0, *tree.common_entry_offsets(), table.num_entries]
            table._bounds = np.unique(np.array(bounds, np.int64))
            mark = guard.fingerprint
            table.fingerprint = Fingerprint(mark.size, mark.modified, str(tree.file.uuid))
        return table

    def _tree(self, source: Source, key: Key) -> Tree:
        return self._narrow or _RECORDS.tree(source, key, self.path, self.fingerprint)

    # -- columns ---------------------------------------------------------------------------------

    @property
    def columns(self) -> Columns:
        layout = self._known()
        if self._columns is not None:
            return self._columns
        lazy = None if self._lazy is None else self._lazy()
        if lazy is None:
            lazy = LazyColumns(layout.index, layout.aliases, self._types, self._told)
            self._lazy = weakref.ref(lazy)
        return lazy

    def _known(self) -> Layout:
        """The layout, parsed at the first call."""
        if self._layout is None:
            with self._lock, reading(self.where):
                if self._layout is None:
                    self._layout = self._parse()
        return self._layout

    def _parse(self) -> Layout:
        if self._key is not None:
            try:
                return self._parse_directly(self._key)
            except NeedsUproot:
                self._key = None
        return self._parse_with_uproot()

    def _parse_directly(self, key: Key) -> Layout:
        with self._guard.source(self.where) as source:
            tree = self._tree(source, key)
        branches = branches_of(tree) if is_narrow(tree) else None
        found = survey(tree) if branches is None else survey_of(branches)
        few = self.num_entries <= _FEW_ENTRIES
        if self._bounds is None and len(found.paths) <= _MAX_BRANCHES and not few:
            self._bounds = common_bounds(tree, found)  # of others, if they are asked for
        layout = make_layout(found.paths)
        if len(layout.index) < len(found.paths):
            message = "%s has several branches of the same name; the first of each is read"
            logger.warning(message, self.where)
        if branches is not None:  # parsed already; their types and seek tables are wanted next
            parsed = list(walk(branches))
            self._branches = {name: parsed[number] for name, number in layout.index.items()}
        self._places = np.stack([found.codes, found.positions, found.top], axis=1).astype(np.int32)
        self._bytes = found.zipped
        return layout

    def _types(self, names: Sequence[str]) -> dict[str, ColumnType]:
        """The types of some columns; those of all, if uproot has to be asked."""
        with self._lock, reading(self.where):
            found = self._parsed_types(names)
            if None not in found.values():
                return {name: kind for name, kind in found.items() if kind is not None}
            layout = self._known()
            found = self._parsed_types(list(layout.index))
            with self._uproot.open() as tree:
                return {
                    name: type_of_uproot(branch_of(tree, layout.path(name)))
                    if kind is None
                    else kind
                    for name, kind in found.items()
                }

    def _parsed_types(self, names: Sequence[str]) -> dict[str, ColumnType | None]:
        """Types as far as they can be known without uproot."""
        if self._key is None:
            return dict.fromkeys(names)
        with self._guard.source(self.where) as source:
            tree = self._tree(source, self._key)
        return {name: self._type(tree, name) for name in names}

    def _branch(self, tree: Tree, name: str) -> Branch:
        """The branch behind a column.

        Raises:
            NeedsUproot: uproot has to read it.
        """
        if name in self._branches:
            return self._branches[name]
        layout = self._known()
        number = layout.index[name]
        code, position, top = self._places[number].tolist()
        return tree.branch_at(CLASSES[code], position, layout.paths[number], top=bool(top))

    def _type(self, tree: Tree, name: str) -> ColumnType | None:
        try:
            branch = self._branch(tree, name)
        except NeedsUproot:
            return None
        if len(self._branches) < _MAX_BRANCHES:
            self._branches[name] = branch  # whose seek table is often the next thing wanted
        if branch.file_name:
            text = f"its data is in another file, {branch.file_name!r}"
            return ColumnType("unsupported", text=text)
        if not branch.children and (branch.entries, branch.first_entry) != (self.num_entries, 0):
            text = (
                f"it has {branch.entries:,} entries from {branch.first_entry:,} on, the tree has"
            )
            return ColumnType("unsupported", text=f"{text} {self.num_entries:,}")
        return type_of_branch(branch)

    def _parse_with_uproot(self) -> Layout:
        with self._uproot.open() as tree:
            paths = tuple(tree.keys(recursive=True))
            branches = [branch_of(tree, path) for path in paths]
            types = [type_of_uproot(branch) for branch in branches]
            zipped = [int(branch.compressed_bytes) for branch in branches]
            bounds = [0, *tree.common_entry_offsets(), self.num_entries]
        self._bytes = np.array(zipped, np.int64)
        self._bounds = np.unique(np.array(bounds, np.int64))
        layout = make_layout(paths)
        known = {name: types[number] for name, number in layout.index.items()}
        self._columns = Columns(known, layout.aliases)
        return layout

    def clusters(self) -> Int64s:
        if self._bounds is None:
            with self._lock, reading(self.where):
                self._bounds = self._common_bounds()
        return self._bounds.copy()

    def _common_bounds(self) -> Int64s:
        """Those of a tree whose header states none."""
        self._known()
        if self._bounds is not None:  # found on the way
            return self._bounds
        assert self._key is not None  # else they are from uproot
        with self._guard.source(self.where) as source:
            tree = self._tree(source, self._key)
        return common_bounds(
            tree, survey_of(branches_of(tree)) if is_narrow(tree) else survey(tree)
        )

    def stored_bytes(self, columns: Sequence[str]) -> int:
        names = set(check_columns(self, columns).values())
        index = self._known().index
        return int(sum(self._bytes[index[name]] for name in names))

    def cheap_cuts(
        self, columns: Sequence[str], start: int, stop: int, max_entries: int
    ) -> list[int]:
        names = list(check_columns(self, columns).values())
        if self._key is None:
            return []
        with reading(self.where, columns), self._guard.source(self.where) as source:
            self._make_plans(source, self._key, names)
        plans = [plan for name in names if (plan := self._plans[name]) is not None]
        return cheap_cuts(plans, start, stop, max_entries)

    # -- reading ---------------------------------------------------------------------------------

    def read(
        self,
        columns: Sequence[str],
        start: int,
        stop: int,
        *,
        allocate: Allocate = np.empty,
        raw: Collection[str] = (),
    ) -> dict[str, Column]:
        check_range(self, start, stop)
        names = check_columns(self, columns)
        wanted = list(dict.fromkeys(names.values()))
        native = {inner for name, inner in names.items() if name not in raw}
        found: dict[str, Column] = {}
        if self._key is not None:
            with (
                reading(self.where, columns, start, stop),
                self._guard.source(self.where) as source,
            ):
                self._make_plans(source, self._key, wanted)
                fetched = source.fetch(self._ranges(wanted, start, stop))
                targets = self._side_by_side(fetched, wanted, start, stop, allocate, native)
                found = self._read_direct(fetched, wanted, start, stop, targets)
        rest = [name for name in wanted if name not in found]
        if rest:
            found |= self._indirect(rest, start, stop)
        return {name: found[inner] for name, inner in names.items()}

    def _read_direct(
        self,
        source: Source,
        names: Sequence[str],
        start: int,
        stop: int,
        targets: Mapping[str, Array],
    ) -> dict[str, Column]:
        """What can be read from baskets; threads of the caller's pool that are idle help."""
        found: dict[str, Column] = {}
        known = KnownOffsets()

        def read(name: str) -> None:
            out = targets.get(name)
            values = self._direct(source, name, start, stop, out, known=known)
            if values is not None:
                found[name] = values

        jagged = (name for name in names if (p := self._plans[name]) and p.storage.jagged)
        first = next(jagged, None)
        if first is not None:
            read(first)  # its offsets serve the others
        rest = [name for name in names if name != first]
        if (stop - start) * len(rest) < _SHARED_VALUES:
            for name in rest:
                read(name)
        else:
            for_each(read, rest)
        return found

    def _make_plans(self, source: Source, key: Key, names: Sequence[str]) -> None:
        """Check that there is a plan for each of `names`: None, where uproot has to read."""
        if all(name in self._plans for name in names):
            return
        with self._lock:
            tree = self._tree(source, key)
            for name in names:
                if name not in self._plans:
                    with reading(self.where, [name]):
                        self._plans[name] = self._make_plan(tree, name)
            self._narrow = None  # most of what is asked of it was asked now

    def _make_plan(self, tree: Tree, name: str) -> Plan | None:
        try:
            branch = self._branch(tree, name)
            self._branches.pop(name, None)
            storage = storage_of(branch)
            if storage is None:
                return None
            return plan_of(tree, branch, storage, self._guard.fingerprint.size)
        except NeedsUproot:
            return None

    def _ranges(self, names: Sequence[str], start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Position and size of the baskets that are read directly."""
        for name in names:
            plan = self._plans[name]
            if plan is not None:
                for number in plan.overlapping(start, stop):
                    if plan.seeks[number]:
                        yield int(plan.seeks[number]), int(plan.sizes[number])

    def _side_by_side(
        self,
        source: Source,
        names: Sequence[str],
        start: int,
        stop: int,
        allocate: Allocate,
        native: Collection[str],
    ) -> dict[str, Array]:
        """A row of an array for each column of numbers or lists that is read directly.

        Columns of one dtype share an array, lists if they also need the same room: those of one
        counter do.
        """
        scalars: dict[str, np.dtype[Any]] = {}
        groups: dict[int, dict[str, np.dtype[Any]]] = {}
        for name in names:
            plan = self._plans[name]
            if plan is None:
                continue
            kept = plan.storage.jagged or name in native
            dtype = plan.storage.native if kept else plan.storage.dtype
            if plan.storage.jagged:
                with reading(self.where, [name], start, stop):
                    groups.setdefault(room(source, plan, start, stop), {})[name] = dtype
            elif not plan.storage.shape:
                scalars[name] = dtype
        found = side_by_side(scalars, stop - start, allocate)
        for elements, dtypes in groups.items():
            found |= side_by_side(dtypes, elements, allocate)
        return found

    def _direct(
        self,
        source: Source,
        name: str,
        start: int,
        stop: int,
        out: Array | None,
        *,
        known: KnownOffsets,
    ) -> Column | None:
        """Values read from the baskets; None, where uproot has to read."""
        plan = self._plans[name]
        if plan is None:
            return None
        with reading(self.where, [name], start, stop):
            try:
                if not plan.storage.jagged:
                    return read_flat(source, plan, start, stop, out)
                assert out is not None
                return read_jagged(
                    source, plan, start, stop, self._counts, known=known, content=out
                )
            except NeedsUproot:
                return None

    def _counts(self, counter: str, start: int, stop: int) -> Int64s:
        """Values of the branch that counts, for baskets that were written without offsets."""
        kind = self.columns.get(counter)
        if kind is None or kind.kind != "scalar":
            message = f"no branch called {counter!r} counts the elements"
            raise NeedsUproot(message)
        return np.asarray(self.read([counter], start, stop)[counter]).astype(np.int64)

    def _indirect(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        found: dict[str, Column] = {}
        with reading(self.where, names, start, stop), self._uproot.open() as tree:
            for name in names:
                with reading(self.where, [name], start, stop):
                    found[name] = self._uproot_array(tree, name, start, stop)
        return found

    def _uproot_array(self, tree: Any, name: str, start: int, stop: int) -> Column:
        branch = branch_of(tree, self._known().path(name))
        return uniform(array_of(branch, start, stop), self.columns[name])

    def close(self) -> None:
        lazy = None if self._lazy is None else self._lazy()
        if lazy is not None and not self._guard.closed:  # somebody may ask it later
            with suppress(RootmlError):
                lazy.resolve(lazy)
        self._guard.close()
        self._uproot.close()
