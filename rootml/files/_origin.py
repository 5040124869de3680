"""What a file that we wrote was made from, recorded in the file itself as a short JSON text.

A ROOT file has it as a TObjString called ``rootml``; Parquet and Arrow files have it in the
metadata of their schema, under the same key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from rootml._internal.provenance import KEY as PROVENANCE
from rootml._internal.provenance import stamp
from rootml.errors import CorruptFileError
from rootml.storage import Table

KEY = "rootml"


@dataclass(frozen=True, slots=True)
class Origin:
    """Identity of the file that a friend was made for."""

    path: str
    tree: str
    uuid: str
    size: int
    num_entries: int

    @classmethod
    def of(cls, table: Table) -> Origin:
        """The identity of an open table; of its path only the name, files move."""
        fingerprint = table.fingerprint
        name = Path(table.path).name
        return cls(name, table.name, fingerprint.uuid, fingerprint.size, table.num_entries)

    def fits(self, table: Table) -> bool:
        """Whether `table` is, by all that is known, the one that was recorded.

        The name may differ. A ROOT file is recognised by its UUID, which a copy shares; other
        files by their size.
        """
        other = Origin.of(table)
        if self.uuid and other.uuid:
            same_file = self.uuid == other.uuid
        else:
            same_file = self.size == other.size
        return same_file and (self.tree, self.num_entries) == (other.tree, other.num_entries)

    def __str__(self) -> str:
        tree = f":{self.tree}" if self.tree else ""
        uuid = f", UUID {self.uuid}" if self.uuid else ""
        return f"{self.path}{tree} ({self.num_entries:,} entries, {self.size:,} bytes{uuid})"


def record(origin: Origin | None, **more: Any) -> dict[str, str]:
    """Metadata for a writer: what the file was made from and by what, and more."""
    content = {**more, PROVENANCE: stamp()}
    if origin is not None:
        names = ("path", "tree", "uuid", "size", "num_entries")
        content["origin"] = {name: getattr(origin, name) for name in names}
    return {KEY: json.dumps(content, sort_keys=True)}


def read_record(path: str) -> dict[str, Any]:
    """What `record` wrote; empty for files from elsewhere.

    Raises:
        CorruptFileError: The record is damaged.
    """
    text = _text(path)
    if text is None:
        return {}
    try:
        content = json.loads(text)
    except ValueError as error:
        message = f"{path!r}: its record of what it was made from is damaged: {error}"
        raise CorruptFileError(message) from error
    return content if isinstance(content, dict) else {}


def read_origin(path: str) -> Origin | None:
    """What the file says it was made for; None for files from elsewhere."""
    content = read_record(path).get("origin")
    if not isinstance(content, dict):
        return None
    try:
        return Origin(
            str(content["path"]),
            str(content["tree"]),
            str(content["uuid"]),
            int(content["size"]),
            int(content["num_entries"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"{path!r}: its record of what it was made from is damaged: {error!r}"
        raise CorruptFileError(message) from error


def _text(path: str) -> str | None:
    local = Path(path)
    if not local.exists():  # a URL: what it was made from is not worth a connection
        return None
    stat = local.stat()
    return _read_text(path, (stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=4096)
def _read_text(path: str, _version: tuple[int, int]) -> str | None:
    """The text under `KEY`; the version is there to know a file that was written anew."""
    with Path(path).open("rb") as stream:
        magic = stream.read(4)
        stream.seek(0)
        if magic == b"root":
            with uproot.open(stream, object_cache=None, array_cache=None) as file:
                found = file.classnames(recursive=False, cycle=False).get(KEY) == "TObjString"
                return str(file[KEY]) if found else None
        if magic == b"PAR1":
            metadata = pq.ParquetFile(stream).schema_arrow.metadata
        else:
            metadata = pa.ipc.open_file(stream).schema.metadata
    text = (metadata or {}).get(KEY.encode())
    return None if text is None else text.decode()
