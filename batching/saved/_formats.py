"""Columns as files: NumPy's npz, Parquet, ROOT, and HDF5 in the layout of Salt."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from rootml._internal.optional import optional_import
from rootml.batching.inputs._batch import BatchSpec, InputSpec, RaggedArray
from rootml.batching.saved._columns import Columns, column_names, groups
from rootml.errors import SchemaError, UnsupportedTypeError, UsageError

EVENTS = "events"
"""The data set of one row per event in HDF5."""
VALID = "valid"
"""The field that says which elements of padded lists are there."""


@dataclass(frozen=True, slots=True)
class Format:
    """How columns are written and read.

    Attributes:
        suffix: Of the files.
        write, read: Of one part; both are given what a batch looks like.
        check: Raises the error for batches that the format does not hold, before any are made.
    """

    suffix: str
    write: Callable[[Path, BatchSpec, Columns], None]
    read: Callable[[Path, BatchSpec], Columns]
    check: Callable[[BatchSpec], Any]


def _write_npz(path: Path, _: BatchSpec, columns: Columns) -> None:
    arrays: dict[str, Any] = {}
    for number, values in enumerate(columns.values()):  # names of columns are not file names
        if isinstance(values, RaggedArray):
            arrays |= {
                f"values{number}": _plain(values.values),
                f"offsets{number}": values.offsets,
            }
        else:
            arrays[f"values{number}"] = _plain(values)
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _read_npz(path: Path, spec: BatchSpec) -> Columns:
    dtypes = _dtypes(spec)
    columns = Columns()
    with np.load(path, allow_pickle=False) as file:
        for number, name in enumerate(_written(spec)):
            values = file[f"values{number}"].view(dtypes.get(name, file[f"values{number}"].dtype))
            lists = f"offsets{number}" in file
            columns[name] = RaggedArray(values, file[f"offsets{number}"]) if lists else values
    return columns


def _plain(values: Any) -> Any:
    """npz knows no bfloat16."""
    return values.view(np.uint16) if values.dtype.name == "bfloat16" else values


def _dtypes(spec: BatchSpec) -> dict[str, np.dtype[Any]]:
    names = column_names(spec)
    return {
        names[role, item.name, feature]: item.dtype
        for role, item in groups(spec)
        for feature in item.features
    }


def _written(spec: BatchSpec) -> list[str]:
    """Names in the order of `to_columns`, which is that of `column_names`."""
    return list(column_names(spec).values())


def _write_parquet(path: Path, _: BatchSpec, columns: Columns) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({name: _to_arrow(pa, v) for name, v in columns.items()}), path)


def _to_arrow(pa: Any, values: Any) -> Any:
    if isinstance(values, RaggedArray):
        return pa.LargeListArray.from_arrays(values.offsets, _to_arrow(pa, values.values))
    if values.dtype.name == "bfloat16":
        message = "Parquet has no bfloat16: use format='rootml', or dtype='float16'"
        raise UnsupportedTypeError(message)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in values.shape[:0:-1]:
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return flat


def _read_parquet(path: Path, spec: BatchSpec) -> Columns:
    import pyarrow.parquet as pq

    table, lists = pq.read_table(path), _ragged(spec)
    return {
        name: _from_awkward(ak.from_arrow(table[name].combine_chunks()), lists=name in lists)
        for name in _written(spec)
    }


def _from_awkward(array: Any, *, lists: bool) -> Any:
    if not lists:
        return ak.to_numpy(array, allow_missing=False)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(ak.to_numpy(ak.num(array)))])
    return RaggedArray(ak.to_numpy(ak.flatten(array), allow_missing=False), offsets)


def _ragged(spec: BatchSpec) -> set[str]:
    """The columns that are lists of any length."""
    names = column_names(spec)
    return {
        names[role, item.name, feature]
        for role, item in groups(spec)
        if item.kind == "ragged"
        for feature in item.features
    }


def _write_root(path: Path, _: BatchSpec, columns: Columns) -> None:
    import uproot

    for name, values in columns.items():
        dtype = values.values.dtype if isinstance(values, RaggedArray) else values.dtype
        if dtype.itemsize < 4 and dtype.kind not in "biu":
            message = f"column {name!r}: ROOT files hold no {dtype}; use dtype='float32'"
            raise UnsupportedTypeError(message)
    arrays = {
        name: ak.unflatten(v.values, np.diff(v.offsets)) if isinstance(v, RaggedArray) else v
        for name, v in columns.items()
    }
    with uproot.recreate(path) as file:
        file["Events"] = arrays


def _read_root(path: Path, spec: BatchSpec) -> Columns:
    import uproot

    with uproot.open(path) as file:
        names, lists = _written(spec), _ragged(spec)
        arrays = {name: file["Events"][name].array(library="ak") for name in names}
        return {name: _from_awkward(arrays[name], lists=name in lists) for name in names}


@dataclass(slots=True)
class _DataSet:
    """One structured data set of an HDF5 file.

    Attributes:
        fields: The column of each field.
        masks: Columns that are its field "valid": of an input, and of observers of its name.
    """

    fields: dict[str, str] = field(default_factory=dict)
    masks: list[str] = field(default_factory=list)


def _write_hdf5(path: Path, spec: BatchSpec, columns: Columns) -> None:
    """Structured data sets: one row per event in "events", one per padded input with "valid"."""
    h5py: Any = optional_import("h5py", feature="format='hdf5'", extra="hdf")
    left: dict[str, Any] = dict(columns)
    memory = io.BytesIO()  # a full disk under HDF5 itself ends the process
    with h5py.File(memory, "w") as file:
        for dataset, each in _hdf5_layout(spec).items():
            values = {name: left[column] for name, column in each.fields.items()}
            if each.masks:
                values[VALID] = _common_mask(dataset, [left[column] for column in each.masks])
            shape = next(iter(values.values())).shape[: 2 if each.masks else 1]
            dtype = [(name, v.dtype, v.shape[len(shape) :]) for name, v in values.items()]
            rows = np.empty(shape, dtype)
            for name, v in values.items():
                rows[name] = v
            file.create_dataset(dataset, data=rows, chunks=True, compression="lzf")
    path.write_bytes(memory.getbuffer())


def _common_mask(dataset: str, masks: list[Any]) -> Any:
    """The mask of all lists of a data set: an element is there in all of them, or in none."""
    if any(not np.array_equal(masks[0], mask) for mask in masks[1:]):
        message = (
            f"inputs, targets and observers called {dataset!r} share a data set of HDF5, but "
            "their lists have different lengths; rename one"
        )
        raise SchemaError(message)
    return masks[0]


def _hdf5_layout(spec: BatchSpec) -> dict[str, _DataSet]:
    """The data sets and their fields.

    Raises:
        UnsupportedTypeError: What Salt's layout does not hold.
        UsageError: Names that mean something else in it.
    """
    items: dict[tuple[str, ...], InputSpec] = {}
    lengths: dict[str, int | None] = {}
    for role, item in groups(spec):
        _check_hdf5(role, item)
        items[role, item.name] = item
        if item.kind == "padded" and lengths.setdefault(item.name, item.length) != item.length:
            message = (
                f"{role} {item.name!r}: lists of {item.length} and of {lengths[item.name]} share "
                "a data set of HDF5 by this name; pad both to one length, or rename one"
            )
            raise UsageError(message)
    datasets: dict[str, _DataSet] = {EVENTS: _DataSet()}
    for key, column in column_names(spec).items():
        owner = items.get(key[:2])
        padded = owner is not None and owner.kind == "padded"
        home = datasets.setdefault(key[1] if padded else EVENTS, _DataSet())
        if padded and len(key) == 2:
            home.masks.append(column)
        else:
            home.fields[column if key[-1] in home.fields else key[-1]] = column
    return {name: each for name, each in datasets.items() if each.fields}


def _check_hdf5(role: str, item: InputSpec) -> None:
    if item.kind == "ragged" or item.dtype.name == "bfloat16":
        message = (
            f"{role} {item.name!r}: HDF5 in the layout of Salt holds no {item.kind} lists of "
            f"{item.dtype}; use Padded, a dtype of NumPy, or format='rootml'"
        )
        raise UnsupportedTypeError(message)
    if item.kind == "padded" and item.name == EVENTS:
        message = (
            f"{role} {EVENTS!r}: in HDF5 that is the data set of one row per event; call the "
            "lists something else"
        )
        raise UsageError(message)
    if item.kind == "padded" and VALID in item.features:
        message = (
            f"{role} {item.name!r}: in HDF5 {VALID!r} is the mask of padded lists; rename the "
            f"feature: define(is_{VALID}=...)"
        )
        raise UsageError(message)


def _read_hdf5(path: Path, spec: BatchSpec) -> Columns:
    h5py: Any = optional_import("h5py", feature="format='hdf5'", extra="hdf")
    columns = Columns()
    with h5py.File(path, "r") as file:
        for dataset, each in _hdf5_layout(spec).items():
            rows = file[dataset][:]
            fields = {column: name for name, column in each.fields.items()}
            fields |= dict.fromkeys(each.masks, VALID)
            columns |= {c: np.ascontiguousarray(rows[name]) for c, name in fields.items()}
    return columns


def _anything(_: BatchSpec) -> None: ...


FORMATS = {
    "rootml": Format("npz", _write_npz, _read_npz, _anything),
    "parquet": Format("parquet", _write_parquet, _read_parquet, _anything),
    "root": Format("root", _write_root, _read_root, _anything),
    "hdf5": Format("h5", _write_hdf5, _read_hdf5, _hdf5_layout),
}
