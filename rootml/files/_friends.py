"""Friend trees: matched to the files they belong to, joined column by column.

Names follow ROOT (``TTree::GetBranch``): a plain name is the tree's own branch, else the first
friend's that has it; ``alias.name`` is always that friend's. An alias is the name of the friend's
tree unless the user gives another.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Allocate
from rootml._internal.urls import is_remote
from rootml.errors import MissingTreeError, RootmlError, SchemaError, UsageError
from rootml.files._origin import Origin, read_origin
from rootml.storage import (
    Column,
    Columns,
    ColumnType,
    Fingerprint,
    FriendSpec,
    Paths,
    Table,
    expand_paths,
    find_friends,
    open_table,
)
from rootml.storage._paths import beside, remote_of

logger = logging.getLogger(__name__)

FriendPaths: TypeAlias = "Paths | Mapping[str, Paths]"
"""Files of friends as `rootml.open` takes files; ``{alias: paths}`` for several friends."""


@dataclass(frozen=True, slots=True)
class FriendLink:
    """A friend of one file: where it is, and its prefix (None: the name of its tree).

    Attributes:
        recorded: Found in the file, not named by the user: its columns can be asked for but are
            not among those that are read when none are named.
    """

    path: str
    tree: str | None
    alias: str | None = None
    recorded: bool = False


class JoinedTable(Table):
    """A table with friends beside it: entry `i` of all belongs together.

    Attributes:
        fingerprints: Of the file and of the friends' files, by path.
        recorded: Names of the columns of friends that only the file itself names.
    """

    def __init__(self, main: Table, links: Sequence[FriendLink]) -> None:
        self.path, self.name, self.format = main.path, main.name, main.format
        self.num_entries, self.fingerprint = main.num_entries, main.fingerprint
        self.links = tuple(links)
        self._tables = [main, *(open_table(link.path, link.tree) for link in links)]
        for friend in self._tables[1:]:
            _check_entries(main, friend)
            _check_index(main, friend)
        names = [link.alias or friend.name for link, friend in self._with_links()]
        _check_aliases(names, [link.path for link in links])
        self._columns: Columns | None = None
        self._locations: dict[str, tuple[int, str]] = {}
        self.recorded: frozenset[str] = frozenset()

    @property
    def friends(self) -> list[Table]:
        """The friends' tables."""
        return self._tables[1:]

    def _with_links(self) -> Iterable[tuple[FriendLink, Table]]:
        return zip(self.links, self.friends, strict=True)

    @property
    def fingerprints(self) -> dict[str, Fingerprint]:
        return {table.path: table.fingerprint for table in self._tables}

    @property
    def columns(self) -> Columns:
        if self._columns is None:
            self._columns = self._join()
        return self._columns

    def _join(self) -> Columns:
        main = self._tables[0].columns
        types: dict[str, ColumnType] = dict(main)
        aliases = dict(main.aliases)
        locations = {name: (0, name) for name in types}
        recorded = set()
        for number, (link, friend) in enumerate(self._with_links(), 1):
            prefix = link.alias or friend.name
            for name, kind in friend.columns.items():
                full = f"{prefix}.{name}"
                listed = full if name in types or name in aliases else name
                types[listed], locations[listed] = kind, (number, name)
                if listed != full:
                    aliases[full] = listed
                if link.recorded:
                    recorded.add(listed)
            for other, name in friend.columns.aliases.items():
                listed = name if locations.get(name) == (number, name) else f"{prefix}.{name}"
                aliases.setdefault(f"{prefix}.{other}", listed)
                if other not in types:
                    aliases.setdefault(other, listed)
        self._locations, self.recorded = locations, frozenset(recorded)
        return Columns(types, aliases)

    def _by_table(self, columns: Sequence[str]) -> dict[int, dict[str, str]]:
        """For each table the columns wanted of it: listed name to its own name."""
        known = self.columns
        wanted: dict[int, dict[str, str]] = {}
        for column in columns:
            listed = known.canonical(column) if column in known else column
            number, name = self._locations.get(listed, (0, column))  # unknown: the tree complains
            wanted.setdefault(number, {})[column] = name
        return wanted

    def clusters(self) -> npt.NDArray[np.int64]:
        return self._tables[0].clusters()

    def cheap_cuts(
        self, columns: Sequence[str], start: int, stop: int, max_entries: int
    ) -> list[int]:
        own = [
            name
            for number, names in self._by_table(columns).items()
            if number == 0
            for name in names.values()
        ]
        return self._tables[0].cheap_cuts(own, start, stop, max_entries) if own else []

    def read(
        self,
        columns: Sequence[str],
        start: int,
        stop: int,
        *,
        allocate: Allocate = np.empty,
        raw: Collection[str] = (),
    ) -> dict[str, Column]:
        found: dict[str, Column] = {}
        for number, names in self._by_table(columns).items():
            wanted = list(names.values())
            mine = {name for column, name in names.items() if column in raw}
            mine -= {name for column, name in names.items() if column not in raw}
            values = self._tables[number].read(wanted, start, stop, allocate=allocate, raw=mine)
            found |= {column: values[name] for column, name in names.items()}
        return {column: found[column] for column in columns}

    def stored_bytes(self, columns: Sequence[str]) -> int:
        return sum(
            self._tables[number].stored_bytes(list(names.values()))
            for number, names in self._by_table(columns).items()
        )

    def close(self) -> None:
        for table in self._tables:
            table.close()


def _check_entries(main: Table, friend: Table) -> None:
    if friend.num_entries != main.num_entries:
        message = (
            f"friend {friend.where} has {friend.num_entries:,} entries, {main.where} has "
            f"{main.num_entries:,}: a friend has one entry for each entry of the tree"
        )
        raise SchemaError(message)


def _check_index(main: Table, friend: Table) -> None:
    """See that a friend with an index goes with the tree by its entries too.

    ROOT looks the entry of such a friend up by the values of the index (``TTree::BuildIndex``,
    ``TTree::AddFriend``); here entry `i` of both belongs together.

    Raises:
        SchemaError: It does not, or that cannot be determined.
    """
    if friend.index is None:
        return
    names = [name for name in friend.index if name not in {"", "0"}]
    index = f"friend {friend.where} has an index, by {' and '.join(map(repr, names))}"
    todo = "write it in the order of the tree, without an index"
    for name in names:
        mine, theirs = (table.columns.get(name) for table in (main, friend))
        if mine is None or theirs is None or {mine.kind, theirs.kind} != {"scalar"}:
            message = (
                f"{index}: whether its entries are in the order of {main.where}, which lacks such "
                f"a column, cannot be determined; {todo}"
            )
            raise SchemaError(message)
        both = [table.read([name], 0, main.num_entries)[name] for table in (main, friend)]
        different = np.flatnonzero(both[0] != both[1])
        if len(different):
            first = int(different[0])
            message = (
                f"{index}, and its entries are in another order than those of {main.where}: "
                f"{name!r} is {both[1][first]} in its entry {first:,} and {both[0][first]} there. "
                f"Friends are joined by entries unless by= names what to match by; {todo}"
            )
            raise SchemaError(message)


def check_origin(joined: JoinedTable) -> None:
    """See that friends that say what they were made from belong to this file.

    Raises:
        SchemaError: One was made from another file.
    """
    for friend in joined.friends:
        origin = read_origin(friend.path) if friend.path != joined.path else None
        if origin is not None and not origin.fits(joined):
            message = (
                f"friend {friend.where} was made from another file than {joined.where}: from "
                f"{origin}; this one is {Origin.of(joined)}"
            )
            raise SchemaError(message)


# --- friends that a file records -------------------------------------------------------------


def recorded_friends(table: Table, known: Iterable[FriendLink], folder: str) -> list[FriendLink]:
    """Friends that the file names for its tree, without those in `known` and those not there.

    Args:
        folder: The working folder when the dataset was opened.
    """
    aliases = {link.alias or link.tree for link in known}
    links = []
    for spec in find_friends(table.url or table.path, table.name):
        link = _link(table.url or table.path, spec, folder)
        if link.alias in aliases:
            continue
        try:
            open_table(link.path, link.tree)
        except RootmlError as error:
            logger.warning("%s names a friend that cannot be read: %s", table.where, error)
            continue
        links.append(link)
    return links


def _link(path: str, spec: FriendSpec, folder: str) -> FriendLink:
    """As ROOT, the friend's path is taken as it is; else it is looked for beside the file.

    Beside a file on a server it is looked for there, and nowhere here.
    """
    found = spec.path or path
    if is_remote(path) and not is_remote(found):
        found = beside(path, found)
    elif not is_remote(found):
        candidates = [str(Path(each) / found) for each in (folder, Path(path).parent)]
        found = next((each for each in candidates if Path(each).exists()), candidates[0])
    return FriendLink(found, spec.tree, spec.alias or spec.tree, recorded=True)


# --- friends that the user names -------------------------------------------------------------


def match_friends(files: Sequence[str], friends: Any) -> list[tuple[FriendLink, ...]]:
    """For each of `files` its friends.

    Args:
        friends: Paths as `rootml.open` takes them, or ``{alias: paths}`` for several friends.
            Each path goes to the input it was made from (if it says so), else to the one of the
            same name, else, if there are as many as inputs, to the one at the same position.

    Raises:
        UsageError: An input without friend, or paths that cannot be assigned.
        MissingFileError: No such file.
    """
    if friends is None:
        return [() for _ in files]
    if not isinstance(friends, Mapping):
        return _match_one(files, friends, None)
    if not friends:
        message = "friends={}: give {alias: paths}, or None"
        raise UsageError(message)
    columns = [_match_one(files, paths, alias) for alias, paths in friends.items()]
    return [tuple(link for links in row for link in links) for row in zip(*columns, strict=True)]


def _match_one(files: Sequence[str], paths: Any, alias: Any) -> list[tuple[FriendLink, ...]]:
    if alias is not None and not (isinstance(alias, str) and alias):
        message = f"friends: an alias is a name, not {alias!r}; to name a tree: 'file.root:tree'"
        raise UsageError(message)
    found_at = expand_paths(paths, remote=remote_of(files[0]))
    pool = _of_these(files, [FriendLink(path, tree, alias) for path, tree in found_at])
    if len(files) == 1:
        found = {0: pool}
    else:
        found = _by_name(files, pool) or _by_origin(files, pool) or _by_place(files, pool)
    return [tuple(found.get(number, ())) for number in range(len(files))]


def _of_these(files: Sequence[str], pool: list[FriendLink]) -> list[FriendLink]:
    """Without friends that say that they were made from other files than these.

    A folder often holds the friends of all samples. One that names a file of these stays, so that
    it is an error if that file has changed since.
    """
    if len(pool) <= len(files):
        return pool
    names = {Path(path).name for path in files}
    origins = [read_origin(link.path) for link in pool]
    others = [origin for origin in origins if origin is not None and origin.path not in names]
    if not others:
        return pool
    tables = [table for tree in {each.tree for each in others} for table in _tables(files, tree)]
    strangers = [origin for origin in others if not any(map(origin.fits, tables))]
    pairs = zip(pool, origins, strict=True)
    return [link for link, origin in pairs if origin not in strangers] or pool


def _tables(files: Sequence[str], tree: str) -> Iterator[Table]:
    """The tables of this name; samples may have trees of other names."""
    for path in files:
        with suppress(MissingTreeError):
            yield open_table(path, tree)


def _assigned(
    files: Sequence[str], pool: Sequence[FriendLink], owners: Sequence[int | None]
) -> dict[int, list[FriendLink]] | None:
    """Links by file, if each link has an owner and each file the same number of links."""
    counts = Counter(owners)
    if None in counts or len(counts) != len(files) or len(set(counts.values())) != 1:
        return None
    found: dict[int, list[FriendLink]] = {}
    for owner, link in zip(owners, pool, strict=True):
        found.setdefault(owner or 0, []).append(link)
    return found


def _by_name(
    files: Sequence[str], pool: Sequence[FriendLink]
) -> dict[int, list[FriendLink]] | None:
    stems = [Path(path).stem for path in files]
    if len(set(stems)) != len(stems):
        return None
    numbers = {stem: number for number, stem in enumerate(stems)}
    return _assigned(files, pool, [numbers.get(Path(link.path).stem) for link in pool])


def _by_origin(
    files: Sequence[str], pool: Sequence[FriendLink]
) -> dict[int, list[FriendLink]] | None:
    origins = [read_origin(link.path) for link in pool]
    if None in origins:
        return None
    tables = [open_table(path, origins[0].tree if origins[0] else None) for path in files]

    def owner(origin: Origin) -> int | None:
        fits = [number for number, table in enumerate(tables) if origin.fits(table)]
        return fits[0] if len(fits) == 1 else None

    return _assigned(files, pool, [owner(origin) for origin in origins if origin is not None])


def _by_place(files: Sequence[str], pool: Sequence[FriendLink]) -> dict[int, list[FriendLink]]:
    if len(files) != len(pool):
        message = (
            f"cannot tell which of {len(pool)} friends belongs to which of {len(files)} files: "
            f"give one per file, of the same names or in the same order, or several as "
            f"{{alias: paths}}; first file {files[0]!r}, first friend {pool[0].path!r}"
        )
        raise UsageError(message)
    return {number: [link] for number, link in enumerate(pool)}


def _check_aliases(names: Sequence[str], paths: Sequence[str]) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        message = (
            f"several friends of one file are called {twice[0]!r}: "
            f"{', '.join(map(repr, paths))}; give them as {{alias: path}}"
        )
        raise UsageError(message)
