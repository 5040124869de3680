"""The door: which format a file has, and what is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from rootml.errors import (
    CorruptFileError,
    MissingTreeError,
    RootmlError,
    UsageError,
    nearest,
)
from rootml.storage._arrow import ArrowTable, ParquetTable
from rootml.storage._arrow_writer import ArrowWriter, ParquetWriter
from rootml.storage._base import ColumnType, FriendSpec, Table, Writer
from rootml.storage._failures import reading
from rootml.storage._guard import Guard
from rootml.storage._paths import is_remote, missing_file
from rootml.storage._rntuple import RNTupleTable
from rootml.storage._rntuple_writer import RNTupleWriter
from rootml.storage._rootfile import Key, RootFile
from rootml.storage._source import LocalSource
from rootml.storage._ttree import TTreeTable
from rootml.storage._ttree_writer import TTreeWriter
from rootml.storage._uproot import open_file

TTREES = {"TTree", "TNtuple", "TNtupleD"}
RNTUPLES = {"ROOT::RNTuple", "ROOT::Experimental::RNTuple"}
_MAGIC = {b"root": "root", b"PAR1": "parquet", b"ARRO": "arrow"}
_SUFFIX = {".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow"}


def _format(path: str) -> str:
    """``"root"``, ``"parquet"`` or ``"arrow"``, by the first bytes (of a URL: the suffix)."""
    if is_remote(path):
        return _SUFFIX.get(Path(urlsplit(path).path).suffix.lower(), "root")
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise missing_file(path) from None
    try:
        magic = b"" if stat.S_ISDIR(os.fstat(fd).st_mode) else os.read(fd, 4)
    except IsADirectoryError:
        magic = b""
    finally:
        os.close(fd)
    if magic not in _MAGIC:
        raise _unknown(path, magic)
    return _MAGIC[magic]


def _unknown(path: str, magic: bytes) -> RootmlError:
    if Path(path).is_dir():
        inside = str(Path(path) / "*.root")
        return UsageError(f"{path!r} is a folder; give a glob such as {inside!r}")
    if not magic:
        return CorruptFileError(f"{path!r} is empty: 0 bytes")
    known = "ROOT, Parquet, Arrow IPC (Feather 2)"
    return CorruptFileError(f"{path!r} is none of {known}: it begins with {magic!r}")


@contextmanager
def _root_file(path: str) -> Iterator[tuple[RootFile, Guard]]:
    """An open local ROOT file and what it was when it was opened."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        guard = Guard(path, fd)
        yield RootFile(LocalSource(fd), guard.fingerprint.size), guard
    finally:
        os.close(fd)


def _local_trees(file: RootFile) -> dict[str, Key]:
    """The keys of trees by name and cycle, ``"folder/tree;1"``."""
    keys = file.keys()
    return {f"{key.name};{key.cycle}": key for key in keys if key.classname in TTREES | RNTUPLES}


def _remote_trees(path: str) -> dict[str, str]:
    """The classes of the trees of a URL by name and cycle."""
    with open_file(path) as file:
        classes = file.classnames(recursive=True, cycle=True)
    return {name: kind for name, kind in classes.items() if kind in TTREES | RNTUPLES}


def _newest(cycles: Iterable[str]) -> dict[str, str]:
    """By name the spelling with the highest cycle.

    >>> _newest(["a;1", "b;2", "a;10", "a;9"])
    {'a': 'a;10', 'b': 'b;2'}
    """
    found: dict[str, str] = {}
    for full in cycles:
        name = full.rpartition(";")[0]
        found[name] = max(found.get(name, full), full, key=_cycle)
    return found


def _cycle(full: str) -> int:
    return int(full.rpartition(";")[2])


def _choose(path: str, tree: str | None, cycles: Collection[str]) -> tuple[str, str]:
    """The tree that is meant, as asked for and with its cycle, or an error that lists all."""
    names = _newest(cycles)
    if tree is None:
        if len(names) == 1:
            return next(iter(names.items()))
        if not names:
            message = f"{path!r} has no tree"
            raise MissingTreeError(message)
        listed = _with_entries(path, names)
        message = f"{path!r} has several trees, say which with '{path}:tree': {listed}"
        raise MissingTreeError(message)
    name, _, cycle = tree.partition(";")
    if tree in cycles:
        return tree, tree
    if name in names and not cycle:
        return tree, names[name]
    if name in names:
        there = sorted((o for o in cycles if o.rpartition(";")[0] == name), key=_cycle)
        message = (
            f"{path!r} has no cycle {cycle} of {name!r}; there: {', '.join(map(repr, there))}; "
            f"{name!r} alone is the newest"
        )
        raise MissingTreeError(message)
    near = nearest(tree, names)
    message = (
        f"{path!r} has no tree {tree!r}; nearest: {near}; there: {_with_entries(path, names)}"
    )
    raise MissingTreeError(message)


def _with_entries(path: str, names: Collection[str]) -> str:
    """Trees with their entries; the count is left out where the tree itself is damaged."""
    shown = []
    for name in names:
        try:
            shown.append(f"{name!r} ({open_table(path, name).num_entries:,} entries)")
        except RootmlError:
            shown.append(f"{name!r} (not readable)")
    return ", ".join(shown) or "none"


def _open_root(path: str, tree: str | None) -> Table:
    if is_remote(path):
        classes = _remote_trees(path)
        name, full = _choose(path, tree, classes)
        if classes[full] in TTREES:
            return TTreeTable.through_uproot(path, name, Guard(path))
        return RNTupleTable(path, name, Guard(path))
    with _root_file(path) as (file, guard):
        key = None if tree is None else file.find(tree)
        if key is None or key.classname not in TTREES | RNTUPLES:
            trees = _local_trees(file)
            name, full = _choose(path, tree, trees)
            key = trees[full]
        else:
            name = str(tree)
        if key.classname in TTREES:
            return TTreeTable.local(path, name, guard, file, key)
        return RNTupleTable(path, name, guard)


def open_table(path: str, tree: str | None = None) -> Table:
    """Open one tree of one file; the format is told by the file's first bytes.

    Args:
        path: A local path or a URL.
        tree: Name of the tree, with folders (``"folder/Events"``); None: the only one.

    Raises:
        MissingFileError: No such file.
        MissingTreeError: No such tree, or several and none named; lists them with their entries.
            No such cycle (``"Events;3"``); lists those there are.
        CorruptFileError: Empty, truncated, damaged, or none of the formats.
        UsageError: A folder.
    """
    kind = _format(path)
    if kind == "root":
        with reading(path):
            return _open_root(path, tree)
    if tree is not None:
        message = f"{path!r} holds one table without a name; it has no tree {tree!r}"
        raise MissingTreeError(message)
    return ParquetTable(path) if kind == "parquet" else ArrowTable(path)


def list_trees(path: str) -> dict[str, int]:
    """Trees of a file and their numbers of entries; "" for formats of one table per file.

    Raises:
        MissingFileError, CorruptFileError, UsageError: As `open_table`.
    """
    if _format(path) != "root":
        return {"": open_table(path).num_entries}
    with reading(path):
        if is_remote(path):
            names = list(_newest(_remote_trees(path)))
        else:
            with _root_file(path) as (file, _):
                names = list(_newest(_local_trees(file)))
    return {name: open_table(path, name).num_entries for name in names}


def find_friends(path: str, tree: str) -> list[FriendSpec]:
    """Friends that the file records for `tree` (ROOT: ``TTree::AddFriend``, ``fFriends``).

    Raises:
        MissingFileError, MissingTreeError, CorruptFileError: As `open_table`.
    """
    table = open_table(path, tree if _format(path) == "root" else None)
    if table.format != "ttree":
        return []
    with (
        reading(table.where),
        open_file(path, minimal_ttree_metadata=False) as file,
    ):
        friends = file[table.name].members.get("fFriends")
        return [
            FriendSpec(
                tree=str(friend.member("fTreeName")),
                path=str(friend.member("fTitle")),
                alias=str(friend.member("fName")),
            )
            for friend in friends or ()
        ]


def open_writer(
    path: str,
    *,
    format: str,  # noqa: A002 - the word users look for
    tree: str = "Events",
    columns: Mapping[str, ColumnType],
    metadata: Mapping[str, str] | None = None,
) -> Writer:
    """Begin a new file.

    Args:
        metadata: Texts to keep in it: as TObjString by name in ROOT files, in the metadata of the
            schema of others.

    Raises:
        UsageError: An unknown format, or no columns.
        UnsupportedTypeError: A column that the format cannot hold.
        MissingFileError: There is no such folder.
    """
    texts = dict(metadata or {})
    if format == "root":
        return TTreeWriter(path, tree=tree, columns=columns, metadata=texts)
    if format == "rntuple":
        return RNTupleWriter(path, tree=tree, columns=columns, metadata=texts)
    if format == "parquet":
        return ParquetWriter(path, columns=columns, metadata=texts)
    if format == "arrow":
        return ArrowWriter(path, columns=columns, metadata=texts)
    message = f"format must be 'root', 'rntuple', 'parquet' or 'arrow', not {format!r}"
    raise UsageError(message)
