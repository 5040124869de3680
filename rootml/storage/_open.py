"""The door: which format a file has, and what is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rootml._internal.urls import is_remote
from rootml.errors import (
    CorruptFileError,
    MissingTreeError,
    RootmlError,
    UsageError,
    nearest,
)
from rootml.storage._base import ColumnType, FriendSpec, Table, Writer
from rootml.storage._failures import reading
from rootml.storage._guard import Guard
from rootml.storage._paths import Url, missing_file, remote_of
from rootml.storage._source import LocalSource
from rootml.storage._uproot import open_file
from rootml.storage.arrow._storage import ArrowTable, ParquetTable
from rootml.storage.arrow._writer import ArrowWriter, ParquetWriter
from rootml.storage.remote import Remote, RemoteFile, check_remote, redact
from rootml.storage.rntuple._storage import RNTupleTable
from rootml.storage.rntuple._writer import RNTupleWriter
from rootml.storage.ttree._rootfile import Key, RootFile
from rootml.storage.ttree._storage import TTreeTable
from rootml.storage.ttree._writer import TTreeWriter

TTREES = {"TTree", "TNtuple", "TNtupleD"}
RNTUPLES = {"ROOT::RNTuple", "ROOT::Experimental::RNTuple"}
_MAGIC = {b"root": "root", b"PAR1": "parquet", b"ARRO": "arrow"}


def _format(path: str) -> str:
    """``"root"``, ``"parquet"`` or ``"arrow"``, by the first bytes of a local file."""
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
    return _known(path, magic)


def _known(path: str, magic: bytes) -> str:
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
def _root_file(path: str, remote: RemoteFile | None = None) -> Iterator[tuple[RootFile, Guard]]:
    """An open ROOT file and what it was when it was opened."""
    if remote is not None:
        yield RootFile(remote, remote.stat.size), Guard(path, remote=remote)
        return
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


def _choose(
    path: str, tree: str | None, cycles: Collection[str], count: Callable[[str], int]
) -> tuple[str, str]:
    """The tree that is meant, as asked for and with its cycle, or an error that lists all."""
    names = _newest(cycles)
    if tree is None:
        if len(names) == 1:
            return next(iter(names.items()))
        if not names:
            message = f"{path!r} has no tree"
            raise MissingTreeError(message)
        listed = _with_entries(names, count)
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
            f"{path!r} has no cycle {cycle} of {name!r}; "
            f"available: {', '.join(map(repr, there))}; {name!r} alone is the newest"
        )
        raise MissingTreeError(message)
    near = nearest(tree, names)
    message = (
        f"{path!r} has no tree {tree!r}; nearest: {near}; available: {_with_entries(names, count)}"
    )
    raise MissingTreeError(message)


def _with_entries(names: Collection[str], count: Callable[[str], int]) -> str:
    """Trees with their entries; the count is left out where the tree itself is damaged."""
    shown = []
    for name in names:
        try:
            shown.append(f"{name!r} ({count(name):,} entries)")
        except RootmlError:
            shown.append(f"{name!r} (not readable)")
    return ", ".join(shown) or "none"


def _open_root(path: str, tree: str | None, remote: RemoteFile | None = None) -> Table:
    def count(name: str) -> int:
        with reading(path):
            return _open_root(path, name, remote).num_entries

    with _root_file(path, remote) as (file, guard):
        key = None if tree is None else file.find(tree)
        if key is None or key.classname not in TTREES | RNTUPLES:
            trees = _local_trees(file)
            name, full = _choose(path, tree, trees, count)
            key = trees[full]
        else:
            name = str(tree)
        if key.classname in TTREES:
            return TTreeTable.direct(path, name, guard, file, key)
        return RNTupleTable(path, name, guard, file, key)


def _open_remote(url: str, options: Remote) -> tuple[RemoteFile, str]:
    """A file on a server, and its format."""
    with reading(redact(url)):
        file = RemoteFile(url, options)
        try:
            return file, _known(file.name, file.read(min(4, file.stat.size), 0))
        except BaseException:
            file.close()
            raise


def open_table(path: str, tree: str | None = None, *, remote: Remote | None = None) -> Table:
    """Open one tree of one file; the file's first bytes show the format.

    Args:
        path: A local path or a URL.
        tree: Name of the tree, with folders (``"folder/Events"``); None: the only one.
        remote: How a URL is read; None: as `Remote()` says.

    Raises:
        MissingFileError: No such file.
        MissingTreeError: No such tree, or several and none named; lists them with their entries.
            No such cycle (``"Events;3"``); lists those there are.
        CorruptFileError: Empty, truncated, damaged, or none of the formats.
        RemoteError: A server that is gone, refuses, keeps failing, or does not know ranges.
        UsageError: A folder.
    """
    options = check_remote(remote or remote_of(path))
    if not is_remote(path):
        return _open(path, tree, _format(path), None)
    file, kind = _open_remote(path, options)
    try:
        table = _open(file.name, tree, kind, file)
    except BaseException:
        file.close()
        raise
    table.url = Url(path, options)
    return table


def _open(path: str, tree: str | None, kind: str, file: RemoteFile | None) -> Table:
    if kind == "root":
        with reading(path):
            return _open_root(path, tree, file)
    if tree is not None:
        message = f"{path!r} holds one table without a name; it has no tree {tree!r}"
        raise MissingTreeError(message)
    guard = Guard(path, remote=file)
    return ParquetTable(path, guard) if kind == "parquet" else ArrowTable(path, guard)


def list_trees(path: str, *, remote: Remote | None = None) -> dict[str, int]:
    """Trees of a file and their numbers of entries; "" for formats of one table per file.

    Raises:
        MissingFileError, CorruptFileError, RemoteError, UsageError: As `open_table`.
    """
    file, kind = None, ""
    if is_remote(path):
        file, kind = _open_remote(path, check_remote(remote or remote_of(path)))
        path = file.name
    kind = kind or _format(path)
    if kind != "root":
        return {"": _open(path, None, kind, file).num_entries}
    with reading(path):
        with _root_file(path, file) as (opened, _):
            names = list(_newest(_local_trees(opened)))
        return {name: _open_root(path, name, file).num_entries for name in names}


def find_friends(path: str, tree: str, *, remote: Remote | None = None) -> list[FriendSpec]:
    """Friends that the file records for `tree` (ROOT: ``TTree::AddFriend``, ``fFriends``).

    Raises:
        MissingFileError, MissingTreeError, CorruptFileError, RemoteError: As `open_table`.
    """
    file, kind = None, ""
    if is_remote(path):
        file, kind = _open_remote(path, check_remote(remote or remote_of(path)))
        path = file.name
    kind = kind or _format(path)
    table = _open(path, tree if kind == "root" else None, kind, file)
    if table.format != "ttree":
        return []
    with (
        reading(table.where),
        open_file(path, file, minimal_ttree_metadata=False) as opened,
    ):
        friends = opened[table.name].members.get("fFriends")
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
        MissingFileError: The folder does not exist.
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
