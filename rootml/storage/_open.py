"""The door: which format a file has, and what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uproot

from rootml.errors import CorruptFileError, MissingTreeError, UsageError, nearest
from rootml.storage._arrow import ArrowTable, ParquetTable
from rootml.storage._arrow_writer import ArrowWriter, ParquetWriter
from rootml.storage._base import ColumnType, FriendSpec, Table, Writer
from rootml.storage._failures import reading
from rootml.storage._paths import is_remote, missing_file
from rootml.storage._rntuple import RNTupleTable
from rootml.storage._ttree import TTreeTable
from rootml.storage._ttree_writer import TTreeWriter

_TREES = {"TTree": TTreeTable, "TNtuple": TTreeTable, "TNtupleD": TTreeTable}
_CLASSES = {**_TREES, "ROOT::RNTuple": RNTupleTable}
_MAGIC = {b"root": "root", b"PAR1": "parquet", b"ARRO": "arrow"}
_SUFFIX = {".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow"}


def _format(path: str) -> str:
    if is_remote(path):
        return _SUFFIX.get(Path(path).suffix.lower(), "root")
    file = Path(path)
    if not file.exists():
        raise missing_file(path)
    if file.is_dir():
        message = f"{path!r} is a folder; give a glob such as {str(file / '*.root')!r}"
        raise UsageError(message)
    with file.open("rb") as stream:
        magic = stream.read(4)
    if magic not in _MAGIC:
        known = "ROOT, Parquet, Arrow IPC (Feather 2)"
        message = f"{path!r} is none of {known}: it begins with {magic!r}"
        raise CorruptFileError(message)
    return _MAGIC[magic]


def _root_trees(file: Any) -> dict[str, str]:
    """Names (without cycle) and classes of the trees of an open ROOT file."""
    found: dict[str, str] = {}
    for key, classname in file.classnames(recursive=True).items():
        if classname in _CLASSES:
            found.setdefault(key.rsplit(";", 1)[0], classname)
    return found


def _the_only(path: str, entries: Mapping[str, int]) -> str:
    if len(entries) == 1:
        return next(iter(entries))
    if not entries:
        message = f"{path!r} has no tree"
        raise MissingTreeError(message)
    listed = ", ".join(f"{name!r} ({count:,} entries)" for name, count in entries.items())
    message = f"{path!r} has several trees, say which with '{path}:tree': {listed}"
    raise MissingTreeError(message)


def _no_such(path: str, tree: str, entries: Mapping[str, int]) -> MissingTreeError:
    counts = ", ".join(f"{name}: {count:,} entries" for name, count in entries.items())
    message = f"{path!r} has no tree {tree!r}; nearest: {nearest(tree, entries)} ({counts})"
    return MissingTreeError(message)


def open_table(path: str, tree: str | None = None) -> Table:
    """Open one tree of one file; the format is told by the file's first bytes."""
    kind = _format(path)
    if kind != "root":
        if tree is not None:
            message = f"{path!r} holds one table; it has no tree {tree!r}"
            raise MissingTreeError(message)
        return ParquetTable(path) if kind == "parquet" else ArrowTable(path)
    with reading(path), uproot.open(path) as file:
        classes = _root_trees(file)
        name = tree if tree is not None else _the_only(path, list_trees(path))
        plain = name.rsplit(";", 1)[0]
        if plain not in classes:
            raise _no_such(path, name, list_trees(path))
        return _CLASSES[classes[plain]](path, name, file[name], str(file.file.uuid))


def list_trees(path: str) -> dict[str, int]:
    """Trees of a file and their numbers of entries; "" for formats of one table per file."""
    if _format(path) != "root":
        return {"": open_table(path).num_entries}
    with reading(path), uproot.open(path) as file:
        return {name: int(file[name].num_entries) for name in _root_trees(file)}


def find_friends(path: str, tree: str) -> list[FriendSpec]:
    """Friends that the file records for `tree` (TTree's ``fFriends``)."""
    if _format(path) != "root":
        return []
    with reading(f"{path}:{tree}"), uproot.open(path, minimal_ttree_metadata=False) as file:
        friends = file[tree].members.get("fFriends") if tree in file else None
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
) -> Writer:
    """Begin a new file."""
    if format == "root":
        return TTreeWriter(path, tree=tree, columns=columns)
    if format == "parquet":
        return ParquetWriter(path, columns=columns)
    if format == "arrow":
        return ArrowWriter(path, columns=columns)
    message = f"format must be 'root', 'parquet' or 'arrow', not {format!r}"
    raise UsageError(message)
