"""Files of events: one interface over TTree, RNTuple, Parquet and Arrow, local and remote."""

from __future__ import annotations

from rootml._internal.types import Array
from rootml.storage._base import (
    Column,
    Columns,
    ColumnType,
    Fingerprint,
    FriendSpec,
    Table,
    Writer,
)
from rootml.storage._buffered import type_of_values
from rootml.storage._open import find_friends, list_trees, open_table, open_writer
from rootml.storage._paths import Paths, expand_paths, missing_file, remote_of
from rootml.storage.remote import Cache, Remote

__all__ = [
    "Array",
    "Cache",
    "Column",
    "ColumnType",
    "Columns",
    "Fingerprint",
    "FriendSpec",
    "Paths",
    "Remote",
    "Table",
    "Writer",
    "expand_paths",
    "find_friends",
    "list_trees",
    "missing_file",
    "open_table",
    "open_writer",
    "remote_of",
    "type_of_values",
]
