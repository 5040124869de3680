"""Columns in files: .npz, Parquet or ROOT, found again by an index and a checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from rootml._internal.types import Float
from rootml.errors import ChangedFileError, CorruptFileError, MissingFileError, UsageError
from rootml.sbi.likelihood._columns import NOMINAL, RatioColumns
from rootml.sbi.likelihood._origin import Beyond, DroppedShape, Origin

Format: TypeAlias = Literal["npz", "parquet", "root"]
FORMATS = ("npz", "parquet", "root")
_TREE = "columns"


def write_columns(columns: RatioColumns, path: Path, kind: str) -> dict[str, Any]:
    """Write columns; what is needed to find and check them again, as JSON data."""
    index, arrays = [], {}
    for number, (process, label, array) in enumerate(columns.arrays()):
        key = f"column{number}"
        index.append({"process": process, "column": label, "key": key})
        arrays[key] = array
    if columns.weights is not None:
        arrays["weight"] = columns.weights
    if kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    elif kind == "parquet":
        _write_parquet(arrays, path)
    elif kind == "root":
        _write_root(arrays, path)
    else:
        message = f"columns are written as one of {FORMATS}, not {kind!r}"
        raise UsageError(message)
    return {
        "file": path.name,
        "format": kind,
        "sha256": file_sha256(path),
        "events": columns.num_events,
        "weighted": columns.weights is not None,
        "asimov": columns.asimov,
        "columns": index,
        "origin": _write_origin(columns.origin, path, index),
    }


def _write_origin(
    origin: Origin, path: Path, index: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """The members' columns go to an .npz file of their own: they are fewer events."""
    found: dict[str, Any] = {"dropped": [asdict(shape) for shape in origin.dropped]}
    if origin.beyond:
        found["beyond"] = [asdict(each) for each in origin.beyond]
    if not origin.members:
        return found
    arrays: dict[str, Any] = {"sampled": origin.sampled}
    for number, member in enumerate(origin.members):
        by_name = {(p, label): array for p, label, array in RatioColumns(member).arrays()}
        for entry in index:
            key = by_name[entry["process"], entry["column"]]
            arrays[f"member{number}.{entry['key']}"] = key
    beside_it = path.with_name(f"{path.name}.members.npz")
    with beside_it.open("wb") as file:
        np.savez(file, **arrays)
    return found | {
        "file": beside_it.name,
        "sha256": file_sha256(beside_it),
        "members": len(origin.members),
    }


def _write_parquet(arrays: Mapping[str, Float], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(arrays)), path)


def _write_root(arrays: Mapping[str, Float], path: Path) -> None:
    import uproot

    with uproot.recreate(path) as file:
        tree = file.mktree(_TREE, dict.fromkeys(arrays, "float64"))
        tree.extend(dict(arrays))


def read_columns(facts: Mapping[str, Any], folder: Path) -> RatioColumns:
    """Columns as they were written.

    Raises:
        MissingFileError: Their file is not beside the JSON file.
        ChangedFileError: The file has another checksum.
        CorruptFileError: The file has not what the JSON file says.
    """
    path = beside(folder, facts["file"])
    check_sha256(path, facts["sha256"])
    keys = [entry["key"] for entry in facts["columns"]] + ["weight"] * bool(facts["weighted"])
    arrays = _read(path, facts["format"], keys)
    ratios = _named(facts["columns"], arrays)
    weights = arrays["weight"] if facts["weighted"] else None
    columns_read = RatioColumns(
        ratios, weights, may_be_empty=True, asimov=bool(facts.get("asimov", False)),
        origin=_read_origin(facts, folder),
    )  # fmt: skip
    if columns_read.num_events != facts["events"]:
        message = f"{path} has {columns_read.num_events} events, not {facts['events']}"
        raise CorruptFileError(message)
    return columns_read


def _named(index: Sequence[Mapping[str, str]], arrays: Mapping[str, Float]) -> dict[str, Any]:
    """Columns by process, as `RatioColumns` takes them."""
    ratios: dict[str, dict[str, Any]] = {}
    for entry in index:
        array, label = arrays[entry["key"]], entry["column"]
        columns = ratios.setdefault(entry["process"], {})
        if label == NOMINAL:
            columns[NOMINAL] = array
            continue
        nuisance, _, side = label.rpartition(".")
        pair = columns.setdefault(nuisance, [None, None])
        pair[("up", "down").index(side)] = array
    return ratios


def _read_origin(facts: Mapping[str, Any], folder: Path) -> Origin:
    given = facts.get("origin", {})
    dropped = tuple(DroppedShape(**shape) for shape in given.get("dropped", ()))
    beyond = tuple(Beyond(**each) for each in given.get("beyond", ()))
    if "file" not in given:
        return Origin(dropped, beyond=beyond)
    path = beside(folder, given["file"])
    check_sha256(path, given["sha256"])
    index = facts["columns"]
    numbers = range(int(given["members"]))
    keys = [f"member{number}.{entry['key']}" for number in numbers for entry in index]
    arrays = _read(path, "npz", ["sampled", *keys])
    sampled = arrays["sampled"].astype(np.int64)
    members = []
    for number in numbers:
        own = {entry["key"]: arrays[f"member{number}.{entry['key']}"] for entry in index}
        members.append(_named(index, own))
    if len(sampled) and not 0 <= sampled.min() <= sampled.max() < facts["events"]:
        message = f"{path} has members at events beyond the {facts['events']:,} of the columns"
        raise CorruptFileError(message)
    if any(RatioColumns(member).num_events != len(sampled) for member in members):
        message = f"{path} has not one ratio of each member for {len(sampled):,} events"
        raise CorruptFileError(message)
    return Origin(dropped, sampled, tuple(members), beyond)


def _read(path: Path, kind: str, keys: list[str]) -> dict[str, Float]:
    try:
        if kind == "npz":
            with np.load(path, allow_pickle=False) as file:
                return {key: file[key] for key in keys}
        if kind == "parquet":
            import pyarrow.parquet as pq

            table = pq.read_table(path)
            return {key: table.column(key).to_numpy() for key in keys}
        if kind == "root":
            import uproot

            with uproot.open(path) as file:
                return dict(file[_TREE].arrays(keys, library="np"))
    except (KeyError, OSError, ValueError) as error:
        message = f"{path} cannot be read as the columns that the model file names: {error}"
        raise CorruptFileError(message) from error
    message = f"columns are of one of the formats {FORMATS}, not {kind!r}"
    raise UsageError(message)


def beside(folder: Path, name: str) -> Path:
    """The file of this name in `folder`; a name that leads elsewhere is refused."""
    if Path(name).name != name or name in {"", ".", ".."}:
        message = f"the file name {name!r} in the model file leads out of its folder"
        raise UsageError(message)
    path = folder / name
    if not path.is_file():
        message = f"{path} is missing; it belongs beside the model file"
        raise MissingFileError(message)
    return path


def file_sha256(path: Path) -> str:
    """The checksum of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str) -> None:
    """Refuse a file whose bytes are others than when it was written.

    Raises:
        ChangedFileError: They are.
    """
    found = file_sha256(path)
    if found != expected:
        message = (
            f"{path} was changed after the model was saved: its sha256 is {found[:12]}..., the "
            f"model file says {str(expected)[:12]}...; save the model again, or restore the file"
        )
        raise ChangedFileError(message)
