"""The files of a sample: opened when they are needed, the same ones ever after.

A `Files` is shared by every dataset derived from one `rootml.open`. Its paths are absolute from
then on. It remembers of each file the
number of entries, the cluster boundaries and the fingerprint, and keeps the most recently used
tables open (a table holds no descriptor between reads, but names, types and seek tables). Pickled,
it takes along what it remembers and no table, so that a worker detects a file that changed. What
it remembers of many files, or of a URL, is kept on disk too (`rootml.storage._headers`).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.urls import is_remote
from rootml.errors import ChangedFileError, MissingColumnError, MissingFileError, SchemaError
from rootml.execution import ProcessLock, map_ordered
from rootml.execution._threads import REMOTE_THREADS
from rootml.files._friends import (
    FriendLink,
    JoinedTable,
    check_origin,
    recorded_friends,
)
from rootml.files._matching import MatchedFriends, MatchedTable, anchored
from rootml.storage import Columns, ColumnType, Fingerprint, Table, open_table
from rootml.storage._base import LazyColumns
from rootml.storage._headers import Header, HeaderCache, question

_MAX_TABLES = 512
_MANY_FILES = 16


@dataclass(frozen=True, slots=True)
class FileSpec:
    """One input as the user named it: file, tree (None: the only one), friends.

    Attributes:
        friends: Whose entries go with those of the tree.
        matched: Whose events are found by their ids.
    """

    path: str
    tree: str | None
    friends: tuple[FriendLink, ...] = ()
    matched: tuple[MatchedFriends, ...] = ()

    def anchored(self) -> FileSpec:
        """The same with absolute paths: another working folder later means no other file."""
        friends = tuple(replace(link, path=_absolute(link.path)) for link in self.friends)
        matched = tuple(anchored(each, _absolute) for each in self.matched)
        return replace(self, path=_absolute(self.path), friends=friends, matched=matched)

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.path}:{self.tree}" if self.tree else self.path


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What is remembered of a file: little enough for ten thousand of them.

    Attributes:
        fingerprints: Fingerprints of the file and of the files of its friends, by path.
    """

    path: str
    tree: str
    format: str
    num_entries: int
    fingerprints: tuple[tuple[str, Fingerprint], ...]

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.path}:{self.tree}" if self.tree else self.path


class Files:
    """The files of a sample; safe to use from several threads and after a fork."""

    def __init__(self, specs: Iterable[FileSpec], *, recorded: bool = False) -> None:
        self.specs = tuple(spec.anchored() for spec in specs)
        self._folder = os.getcwd()  # noqa: PTH109 - a text
        self.recorded_names: frozenset[str] = frozenset()
        self._recorded = recorded
        self._infos: dict[int, FileInfo] = {}
        self._clusters: dict[int, npt.NDArray[np.int64]] = {}
        self._cuts: dict[int, dict[str, list[int]]] = {}
        self._saved: dict[int, tuple[bool, int]] = {}
        self._columns: Columns | None = None
        self._checked: dict[int, set[str]] = {}
        self._lock = ProcessLock()
        self._forget_tables()

    def _forget_tables(self) -> None:
        self._tables: OrderedDict[int, Table] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        hidden = {"_tables", "_process"}
        state = {name: value for name, value in self.__dict__.items() if name not in hidden}
        columns = self._columns
        if isinstance(columns, LazyColumns):  # names, and the types that somebody asked for
            state["_columns"] = (tuple(columns), columns.aliases, columns.resolved)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_tables()
        if isinstance(state["_columns"], tuple):
            self._columns = self._lazily(*state["_columns"])

    def __len__(self) -> int:
        return len(self.specs)

    # --- opening ------------------------------------------------------------------------------

    def table(self, number: int) -> Table:
        """The table of a file, with its friends; opened if need be.

        Raises:
            ChangedFileError: The file is not the one that was opened before.
            MissingFileError, MissingTreeError, CorruptFileError: As `rootml.storage.open_table`.
            SchemaError: A friend of another length, or made from another file.
        """
        if self._process != os.getpid():
            self._forget_tables()  # their locks may be held by threads that were not forked
        with self._lock:
            table = self._tables.get(number)
            if table is not None:
                self._tables.move_to_end(number)
                return table
        return self._remember_table(number, self._open(number))

    def _open(self, number: int) -> Table:
        spec = self.specs[number]
        table = open_table(spec.path, spec.tree)
        links = list(spec.friends)
        if self._recorded:
            links += recorded_friends(table, links, self._folder)
        if links:
            table = JoinedTable(table, links)
            check_origin(table)
        return MatchedTable(table, spec.matched) if spec.matched else table

    def _remember_table(self, number: int, table: Table) -> Table:
        info = _info(table)
        with self._lock:
            before = self._infos.setdefault(number, info)
            if before.fingerprints != info.fingerprints:
                if number in self._saved:
                    HeaderCache().store({self._named(number): None})
                raise _changed(before, info)
            kept = self._tables.setdefault(number, table)
            while len(self._tables) > _MAX_TABLES:
                self._tables.popitem(last=False)  # not closed: another thread may be reading it
        return kept

    def info(self, number: int) -> FileInfo:
        """What is remembered of a file; opens it if nothing is."""
        if number not in self._infos:
            self.table(number)
        return self._infos[number]

    def infos(self, *, threads: int | None = None) -> list[FileInfo]:
        """What is remembered of all files; those not seen yet are opened, in threads."""
        self._load_headers()
        missing = [number for number in range(len(self)) if number not in self._infos]
        if threads is None and any(is_remote(self.specs[number].path) for number in missing[:1]):
            threads = REMOTE_THREADS
        for _ in map_ordered(self.info, missing, threads=threads):
            pass
        return [self._infos[number] for number in range(len(self))]

    def clusters(self, number: int) -> npt.NDArray[np.int64]:
        """Entries at which reading a file is cheap to begin."""
        if number not in self._clusters:
            self._clusters[number] = self.table(number).clusters()
        return self._clusters[number]

    def cheap_cuts(
        self, number: int, names: Sequence[str], start: int, stop: int, max_entries: int
    ) -> list[int]:
        """As `Table.cheap_cuts`, for columns that are as those of the reference file."""
        known = self._cuts.setdefault(number, {})
        key = question(names, start, stop, max_entries)
        if key not in known:
            self.check(number, names)
            known[key] = self.table(number).cheap_cuts(names, start, stop, max_entries)
        return known[key]

    # --- on disk ------------------------------------------------------------------------------

    def _named(self, number: int) -> tuple[str, str | None]:
        spec = self.specs[number]
        return str(spec.path), spec.tree  # a URL without credentials: it is kept on disk

    def _with_saved_headers(self) -> list[int]:
        """Files whose headers are kept on disk: of many, and URLs; friends are read each time."""
        if self._recorded:
            return []
        many = len(self) > _MANY_FILES
        return [
            number
            for number, spec in enumerate(self.specs)
            if not spec.friends and not spec.matched and (many or is_remote(spec.path))
        ]

    def _load_headers(self) -> None:
        """Take over what is known of files that were not opened yet."""
        missing = [number for number in self._with_saved_headers() if number not in self._infos]
        if not missing:
            return
        known = HeaderCache().recall([self._named(number) for number in missing])
        with self._lock:
            for number in missing:
                header = known.get(self._named(number))
                if header is not None and number not in self._infos:
                    self._apply_header(number, header)

    def _apply_header(self, number: int, header: Header) -> None:
        path = self.specs[number].path
        fingerprints = ((path, header.fingerprint),)
        self._infos[number] = FileInfo(
            path, header.tree, header.format, header.num_entries, fingerprints
        )
        if header.clusters is not None:
            self._clusters[number] = header.clusters
        self._cuts[number] = header.cuts
        self._saved[number] = self._header_state(number)

    def _header_state(self, number: int) -> tuple[bool, int]:
        """How much is known of a file."""
        return number in self._clusters, len(self._cuts.get(number, ()))

    def save_headers(self) -> None:
        """Keep what was found out since on disk, for the next process."""
        new: dict[tuple[str, str | None], Header | None] = {}
        for number in self._with_saved_headers():
            info, known = self._infos.get(number), self._header_state(number)
            if info is None or self._saved.get(number) == known:
                continue
            ((_, fingerprint),) = info.fingerprints
            new[self._named(number)] = Header(
                info.tree,
                info.format,
                info.num_entries,
                fingerprint,
                self._clusters.get(number),
                self._cuts.get(number, {}),
            )
            self._saved[number] = known
        if new:
            HeaderCache().store(new)

    def close(self) -> None:
        """Close the open tables; they are opened again when they are needed."""
        with self._lock:
            tables, self._tables = list(self._tables.values()), OrderedDict()
        for table in tables:
            table.close()

    # --- columns ------------------------------------------------------------------------------

    def reference(self) -> int:
        """The file whose columns count: the first that has entries, else the first."""
        for number in range(len(self)):
            if self.info(number).num_entries:
                return number
        return 0

    @property
    def columns(self) -> Columns:
        """The columns of the reference file."""
        if self._columns is None:
            found = self.table(self.reference()).columns
            lazy = isinstance(found, LazyColumns)
            self._columns = self._lazily(tuple(found), found.aliases, {}) if lazy else found
        return self._columns

    def _lazily(
        self, names: tuple[str, ...], aliases: dict[str, str], known: dict[str, ColumnType]
    ) -> LazyColumns:
        """Columns of the reference file, which is opened again if a type is asked for then."""
        return LazyColumns(dict.fromkeys(names), aliases, self._types_of, known)

    def _types_of(self, names: Sequence[str]) -> dict[str, ColumnType]:
        columns = self.table(self.reference()).columns
        if isinstance(columns, LazyColumns):
            columns.resolve(names)
        return {name: columns[name] for name in names}

    def follow_recorded_friends(self) -> bool:
        """Join the friends that the files record from now on; False if that brings nothing new."""
        with self._lock:
            number = self.reference()
            known = self.specs[number].friends
            main = _unmatched(self.table(number))
            if self._recorded or not recorded_friends(main, known, self._folder):
                return False
            self._recorded = True
            self._infos, self._columns, self._checked = {}, None, {}
            self._clusters, self._cuts, self._saved = {}, {}, {}
            self._forget_tables()
            table = self.table(number)
            self._columns = table.columns
            main = _unmatched(table)
            self.recorded_names = main.recorded if isinstance(main, JoinedTable) else frozenset()
        return True

    def check(self, number: int, names: Sequence[str]) -> None:
        """See that a file has the columns of the reference file, of the same types.

        Raises:
            MissingColumnError: It lacks one.
            SchemaError: It has one of another type.
        """
        done = self._checked.setdefault(number, set())
        missing = [name for name in names if name not in done]
        if not missing:
            return
        expected, table = self.columns, self.table(number)
        found = table.columns
        for columns in (expected, found):
            if isinstance(columns, LazyColumns):
                columns.resolve(columns.canonical(name) for name in missing if name in columns)
        for name in missing:
            self._check_column(table, name, found, expected)
        done.update(missing)

    def _check_column(self, table: Table, name: str, found: Columns, expected: Columns) -> None:
        if name not in found:
            first = self.info(self.reference()).where
            message = f"{table.where} has no column {name!r}, which {first} has"
            raise MissingColumnError(message)
        mine, theirs = found[name], expected[name]
        if not mine.same_as(theirs):
            first = self.info(self.reference()).where
            message = (
                f"column {name!r} is {theirs} in {first} and {mine} in {table.where}: files of "
                "one sample must have the same types; open them as two samples, with + between"
            )
            raise SchemaError(message)

    # --- identity -----------------------------------------------------------------------------

    def verify(self) -> None:
        """See that the files that were opened are still the same; one `stat` per local file.

        Raises:
            ChangedFileError: One was written since.
            MissingFileError: One is gone.
        """
        for info in list(self._infos.values()):
            for path, known in info.fingerprints:
                if known.modified:  # local
                    verify_file(path, known)

    def with_friends(self, links: Mapping[str, tuple[FriendLink, ...]]) -> Files:
        """The same files, with more friends: those that `links` has for their paths."""
        return self._with_specs(
            [replace(spec, friends=(*spec.friends, *links[spec.path])) for spec in self.specs]
        )

    def with_matched(self, friends: Sequence[MatchedFriends]) -> Files:
        """The same files, with more friends that are matched by ids."""
        return self._with_specs(
            [replace(spec, matched=(*spec.matched, *friends)) for spec in self.specs]
        )

    def _with_specs(self, specs: Iterable[FileSpec]) -> Files:
        files = Files(specs, recorded=self._recorded)
        files._folder = self._folder
        return files

    def with_tree(self, tree: str, *, friends: bool = True) -> Files:
        """The same files, another tree in them; with the same friends or without."""
        specs = [
            replace(spec, tree=tree)
            if friends
            else replace(spec, tree=tree, friends=(), matched=())
            for spec in self.specs
        ]
        files = Files(specs, recorded=self._recorded and friends)
        files._folder = self._folder
        return files


def _absolute(path: str) -> str:
    return path if is_remote(path) else os.path.abspath(path)  # noqa: PTH100 - Path keeps ".."


def _info(table: Table) -> FileInfo:
    parts: Mapping[str, Fingerprint] = {table.path: table.fingerprint}
    if isinstance(table, (JoinedTable, MatchedTable)):
        parts = table.fingerprints
    return FileInfo(
        table.path,
        table.name,
        table.format,
        table.num_entries,
        tuple(parts.items()),
    )


def _unmatched(table: Table) -> Table:
    """The table without the friends that are matched by ids."""
    return table.main if isinstance(table, MatchedTable) else table


def _changed(before: FileInfo, now: FileInfo) -> ChangedFileError:
    message = f"{before.where} has changed since it was opened first; open the dataset anew"
    if before.num_entries != now.num_entries:
        message += f" ({before.num_entries:,} entries then, {now.num_entries:,} now)"
    return ChangedFileError(message)


def verify_file(path: str, known: Fingerprint) -> None:
    """See that a local file still has the size and time that it had.

    Raises:
        ChangedFileError: It has not.
        MissingFileError: It is gone.
    """
    try:
        stat = Path(path).stat()
    except FileNotFoundError:
        message = f"{path!r} is gone; it was there when the dataset was opened"
        raise MissingFileError(message) from None
    if (stat.st_size, stat.st_mtime_ns) != (known.size, known.modified):
        message = (
            f"{path!r} has changed since it was opened: {known.size:,} bytes then, "
            f"{stat.st_size:,} now; open the dataset anew"
        )
        raise ChangedFileError(message)
