"""Friends that are matched by the ids of events, not by their place.

For a range of entries of the tree: its ids, the rows of the friends that have them, and of these
the columns that are asked for, one stretch of a friend's clusters at a time. The friends of all
files of a sample are one pool, so events may lie in any order and in any file. A table of friends
with their index is kept for all files of a process.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Allocate
from rootml._internal.event_hash import check_by, unsplittable
from rootml._internal.urls import is_remote
from rootml._internal.validators import check_choice
from rootml.errors import (
    MissingColumnError,
    SchemaError,
    UnsupportedTypeError,
    UsageError,
    nearest,
)
from rootml.execution import ProcessLock
from rootml.files._event_index import EventIndex, Int64s, same_ids
from rootml.storage import (
    Column,
    Columns,
    ColumnType,
    Fingerprint,
    Table,
    expand_paths,
    open_table,
)
from rootml.storage._paths import remote_of

Unmatched: TypeAlias = Literal["error", "drop", "fill"]
UNMATCHED: tuple[Unmatched, ...] = ("error", "drop", "fill")
Places: TypeAlias = "tuple[tuple[str, str | None], ...]"

_STRETCH = 1 << 18
_KEPT = 4


@dataclass(frozen=True, slots=True)
class MatchedFriends:
    """Friends of a sample that are matched by ids.

    Attributes:
        places: Files and trees.
        alias: Prefix of their columns.
        by: Columns that tell events apart, in the tree and in the friends.
        unmatched: What happens to events that the friends lack.
    """

    places: Places
    alias: str
    by: tuple[str, ...]
    unmatched: Unmatched

    @property
    def flag(self) -> str:
        """The column that says whether an event was found."""
        return f"{self.alias}_matched"


def matched_friends(
    files: Sequence[str], friends: Any, by: Any, unmatched: Any
) -> tuple[MatchedFriends, ...]:
    """What ``friends=, by=, unmatched=`` say; opens the first friend for the name of its tree.

    Args:
        friends: As `rootml.open` takes them: paths, or ``{alias: paths}``.

    Raises:
        UsageError: `by` without friends, or something else.
    """
    names = check_by(by)
    check_choice("unmatched", unmatched, UNMATCHED)
    if names is None or not friends:
        message = "by= needs friends=" if names else "unmatched= needs by=, the ids to match by"
        raise UsageError(message)
    named = friends if isinstance(friends, Mapping) else {None: friends}
    found = []
    for alias, paths in named.items():
        places = tuple(expand_paths(paths, remote=remote_of(files[0])))
        prefix = open_table(*places[0]).name.rpartition("/")[2] if alias is None else alias
        found.append(MatchedFriends(places, prefix or "friend", names, unmatched))
    return tuple(found)


class FriendPool:
    """The tables of all friends with an index of their events; shared by the files of a sample."""

    def __init__(self, places: Places, by: tuple[str, ...]) -> None:
        self.tables = [open_table(*place) for place in places]
        self.by = by
        for table in self.tables:
            check_ids(table, by)
        filled = [table for table in self.tables if table.num_entries]
        self.columns = (filled or self.tables)[0].columns
        self._where = (filled or self.tables)[0].where
        self._checked: dict[int, set[str]] = {}
        self._index: EventIndex | None = None
        self._lock = ProcessLock()

    @property
    def index(self) -> EventIndex:
        """Made at the first use: a pass over the ids."""
        with self._lock:
            if self._index is None:
                self._index = EventIndex(self.tables, self.by)
            return self._index

    def rows(self, ids: Sequence[Column], count: int) -> Int64s:
        """The row that has the same ids, -1 for events without."""
        rows = self.index.find(ids, count)
        hits = np.flatnonzero(rows >= 0)
        if len(hits):
            found = self.gather(self.by, rows[hits])
            mine = [column[hits] for column in ids]
            equal = same_ids(mine, [found[name] for name in self.by])
            rows[hits[~equal]] = -1
        return rows

    def gather(self, names: Sequence[str], rows: Int64s) -> dict[str, Column]:
        """Columns of some rows, in their order."""
        order = np.argsort(rows, kind="stable")
        parts = list(self._stretches(names, rows[order]))
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return {name: _joined([part[name] for part in parts])[back] for name in names}

    def _stretches(self, names: Sequence[str], rows: Int64s) -> Iterator[dict[str, Column]]:
        """Columns of rising rows, a stretch of neighbouring clusters of a file at a time."""
        edges = self.index.edges
        files = np.searchsorted(edges, rows, "right") - 1
        if not len(rows):
            yield self.tables[0].read(list(names), 0, 0)
        for number in np.unique(files).tolist():
            table = self._table(number, names)
            entries = rows[files == number] - edges[number]
            clusters = np.searchsorted(table.clusters(), entries, "right") - 1
            far = (np.diff(clusters) > 1) | (np.diff(entries // _STRETCH) > 0)
            cuts = [0, *(np.flatnonzero(far) + 1).tolist(), len(entries)]
            for first, last in itertools.pairwise(cuts):
                start, stop = int(entries[first]), int(entries[last - 1]) + 1
                columns = table.read(list(names), start, stop)
                taken = entries[first:last] - start
                yield {name: columns[name][taken] for name in names}

    def _table(self, number: int, names: Sequence[str]) -> Table:
        """A table, whose columns are those of the first."""
        table, done = self.tables[number], self._checked.setdefault(number, set())
        for name in set(names) - done:
            if name not in table.columns:
                message = f"{table.where} has no column {name!r}, which {self._where} has"
                raise MissingColumnError(message)
            mine, theirs = table.columns[name], self.columns[name]
            if not mine.same_as(theirs) and name not in self.by:
                message = (
                    f"column {name!r} is {theirs} in {self._where} and {mine} in {table.where}: "
                    "friends of one sample must have the same types"
                )
                raise SchemaError(message)
            done.add(name)
        return table


class _Pools:
    """The pools that were used last, as long as their files are those of then."""

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._kept: OrderedDict[Any, FriendPool] = OrderedDict()

    def get(self, friends: MatchedFriends) -> FriendPool:
        key = (friends.places, friends.by, *(_mark(path) for path, _ in friends.places))
        with self._lock:
            if key not in self._kept:
                self._kept[key] = FriendPool(friends.places, friends.by)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]


_POOLS = _Pools()


def _mark(path: str) -> tuple[int, int]:
    """Size and time of a local file."""
    if is_remote(path):
        return 0, 0
    stat = Path(path).stat()
    return stat.st_size, stat.st_mtime_ns


class MatchedTable(Table):
    """A table with friends whose events are found by their ids.

    Attributes:
        fingerprints: Of the file and of the friends' files, by path.
    """

    def __init__(self, main: Table, friends: Sequence[MatchedFriends]) -> None:
        self.path, self.name, self.format = main.path, main.name, main.format
        self.num_entries, self.fingerprint = main.num_entries, main.fingerprint
        self.main, self.url = main, main.url
        self._friends = tuple(friends)
        self._pools = [_POOLS.get(each) for each in friends]
        self._columns: Columns | None = None
        self._locations: dict[str, tuple[int, str | None]] = {}
        for each in friends:
            check_ids(main, each.by)

    @property
    def fingerprints(self) -> dict[str, Fingerprint]:
        own: Mapping[str, Fingerprint] = getattr(self.main, "fingerprints", {})
        tables = [table for pool in self._pools for table in pool.tables]
        found = {table.path: table.fingerprint for table in tables}
        return {self.path: self.fingerprint, **own, **found}

    @property
    def columns(self) -> Columns:
        if self._columns is None:
            self._columns = self._join()
        return self._columns

    def _join(self) -> Columns:
        main = self.main.columns
        types: dict[str, ColumnType] = dict(main)
        aliases = dict(main.aliases)
        for number, (friends, pool) in enumerate(zip(self._friends, self._pools, strict=True)):
            for name, kind in pool.columns.items():
                full = f"{friends.alias}.{name}"
                if name in friends.by:
                    aliases.setdefault(full, main.canonical(name))
                    continue
                listed = full if name in types or name in aliases else name
                types[listed], self._locations[listed] = kind, (number, name)
                if listed != full:
                    aliases[full] = listed
            if friends.flag in types or friends.flag in aliases:
                message = (
                    f"{self.where} or its friends have a column {friends.flag!r}, which says "
                    "whether an event was matched: give friends={alias: paths}"
                )
                raise UsageError(message)
            flag = ColumnType("scalar", np.dtype(bool))
            types[friends.flag], self._locations[friends.flag] = flag, (number, None)
        return Columns(types, aliases)

    def _by_friends(
        self, columns: Sequence[str]
    ) -> tuple[list[str], dict[int, dict[str, str | None]]]:
        """The columns of the tree, and those of each pool of friends by the names asked for."""
        known, own = self.columns, []
        wanted: dict[int, dict[str, str | None]] = {}
        for column in columns:
            listed = known.canonical(column) if column in known else column
            if listed in self._locations:
                number, name = self._locations[listed]
                wanted.setdefault(number, {})[column] = name
            else:
                own.append(column)
        return own, wanted

    def clusters(self) -> npt.NDArray[np.int64]:
        return self.main.clusters()

    def cheap_cuts(self, columns: Sequence[str], start: int, stop: int, most: int) -> list[int]:
        own = self._by_friends(columns)[0]
        return self.main.cheap_cuts(own, start, stop, most) if own else []

    def stored_bytes(self, columns: Sequence[str]) -> int:
        own, wanted = self._by_friends(columns)
        size = self.main.stored_bytes(own)
        for number, names in wanted.items():
            table, stored = self._pools[number].tables[0], [n for n in names.values() if n]
            share = self.num_entries / max(1, table.num_entries)
            size += int(table.stored_bytes(stored) * share)
        return size

    def read(
        self,
        columns: Sequence[str],
        start: int,
        stop: int,
        *,
        allocate: Allocate = np.empty,
        raw: Collection[str] = (),  # noqa: ARG002 - ids are compared
    ) -> dict[str, Column]:
        own, wanted = self._by_friends(columns)
        ids = dict.fromkeys(name for number in wanted for name in self._friends[number].by)
        found = self.main.read([*dict.fromkeys([*own, *ids])], start, stop, allocate=allocate)
        for number, names in wanted.items():
            values = [found[name] for name in self._friends[number].by]
            found |= self._read_friends(number, names, values, start, stop)
        return {column: found[column] for column in columns}

    def _read_friends(
        self,
        number: int,
        names: Mapping[str, str | None],
        ids: Sequence[Column],
        start: int,
        stop: int,
    ) -> dict[str, Column]:
        friends, pool = self._friends[number], self._pools[number]
        rows = pool.rows(ids, stop - start)
        there = rows >= 0
        if friends.unmatched == "error" and not there.all():
            raise self._unmatched(friends, ids, there, start)
        stored = list(dict.fromkeys(name for name in names.values() if name is not None))
        values = pool.gather(stored, rows[there]) if stored else {}
        return {
            column: there if name is None else self._filled(pool, name, values[name], there)
            for column, name in names.items()
        }

    def _filled(
        self, pool: FriendPool, name: str, values: Column, there: npt.NDArray[np.bool_]
    ) -> Column:
        try:
            return _filled(values, pool.columns[name], there)
        except UnsupportedTypeError as error:
            message = f"{self.where}: column {name!r} of {pool.tables[0].where}: {error}"
            raise UnsupportedTypeError(message) from None

    def _unmatched(
        self,
        friends: MatchedFriends,
        ids: Sequence[Column],
        there: npt.NDArray[np.bool_],
        start: int,
    ) -> SchemaError:
        lacking = np.flatnonzero(~there)
        first = [column[lacking[0] : lacking[0] + 1].tolist()[0] for column in ids]
        named = ", ".join(f"{n} = {v!r}" for n, v in zip(friends.by, first, strict=True))
        message = (
            f"{self.where}: {len(lacking):,} of {len(there):,} events from entry {start:,} on are "
            f"not among the friends {friends.alias!r} ({friends.places[0][0]}), the first is "
            f'{named}; leave them out with unmatched="drop", or fill them with unmatched="fill"'
        )
        return SchemaError(message)

    def close(self) -> None:
        self.main.close()


def check_ids(table: Table, by: Sequence[str]) -> None:
    """See that a table has the columns to match by, one integer or string per event each.

    Raises:
        MissingColumnError, UnsupportedTypeError: It has not.
    """
    for name in by:
        kind = table.columns.get(name)
        if kind is None:
            near = nearest(name, table.columns)
            message = f"{table.where} has no column {name!r} to match by; nearest: {near}"
            raise MissingColumnError(message)
        whole = kind.kind == "scalar" and kind.dtype is not None and kind.dtype.kind in "biu"
        if not whole and kind.kind != "string":
            raise unsplittable(kind, f"{name} of {table.where}")


def anchored(friends: MatchedFriends, absolute: Any) -> MatchedFriends:
    """The same with absolute paths."""
    return replace(friends, places=tuple((absolute(p), tree) for p, tree in friends.places))


def _joined(parts: Sequence[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else ak.concatenate(parts)


def _filled(values: Column, kind: ColumnType, there: npt.NDArray[np.bool_]) -> Column:
    """Values of the events that are there, and NaN, 0, false, "" or an empty list of the others.

    Raises:
        UnsupportedTypeError: Records and the like, if some are not there.
    """
    if there.all():
        return values
    if isinstance(values, np.ndarray):
        fill = np.nan if values.dtype.kind == "f" else 0
        filled = np.full((len(there), *values.shape[1:]), fill, values.dtype)
        filled[there] = values
        return filled
    if kind.kind not in {"jagged", "string"}:
        message = f"there is nothing to fill a {kind} with; leave it out, or drop the events"
        raise UnsupportedTypeError(message)
    layout = ak.to_layout(values).to_ListOffsetArray64(True)
    counts = np.zeros(len(there), np.int64)
    counts[there] = np.diff(np.asarray(layout.offsets.data))
    offsets = ak.index.Index64(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    spread = ak.contents.ListOffsetArray(offsets, layout.content, parameters=layout.parameters)
    return ak.Array(spread)


__all__ = ["MatchedFriends", "MatchedTable", "Unmatched", "anchored", "matched_friends"]
