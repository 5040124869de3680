"""Columns as files: NumPy's npz, Parquet, ROOT, and HDF5 in the layout of Salt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from rootml._internal.optional import optional_import
from rootml.batching.inputs._batch import BatchSpec, RaggedArray
from rootml.batching.saved._columns import Columns, column_names, groups
from rootml.errors import UnsupportedTypeError

EVENTS = "events"
"""The data set of one row per event in HDF5."""


@dataclass(frozen=True, slots=True)
class Format:
    """How columns are written and read.

    Attributes:
        suffix: Of the files.
        write, read: Of one part; both are given what a batch looks like.
    """

    suffix: str
    write: Callable[[Path, BatchSpec, Columns], None]
    read: Callable[[Path, BatchSpec], Columns]


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


def _write_hdf5(path: Path, spec: BatchSpec, columns: Columns) -> None:
    """Structured data sets: one row per event in "events", one per padded input with "valid"."""
    h5py: Any = optional_import("h5py", feature="format='hdf5'", extra="hdf")
    left = dict(columns)
    with h5py.File(path, "w") as file:
        for dataset, fields in _hdf5_fields(spec).items():
            values: dict[str, Any] = {field: left[name] for field, name in fields.items()}
            first = next(iter(values.values()))
            dtype = [
                (field, v.dtype, v.shape[len(first.shape) if dataset != EVENTS else 1 :])
                for field, v in values.items()
            ]
            shape = first.shape if dataset != EVENTS else first.shape[:1]
            rows = np.empty(shape, dtype)
            for field, v in values.items():
                rows[field] = v
            file.create_dataset(dataset, data=rows, chunks=True, compression="lzf")


def _hdf5_fields(spec: BatchSpec) -> dict[str, dict[str, str]]:
    """The column of each field of each data set."""
    names = column_names(spec)
    datasets: dict[str, dict[str, str]] = {EVENTS: {}}
    for role, item in groups(spec):
        if item.kind == "ragged" or item.dtype.name == "bfloat16":
            message = (
                f"{role} {item.name!r}: HDF5 in the layout of Salt holds no {item.kind} lists of "
                f"{item.dtype}; use Padded, a dtype of NumPy, or format='rootml'"
            )
            raise UnsupportedTypeError(message)
        home = datasets.setdefault(EVENTS if item.kind == "flat" else item.name, {})
        for feature in item.features:
            name = names[role, item.name, feature]
            home[name] = name
        if item.kind == "padded":
            home["valid"] = names[role, item.name]
    lists = {names[role, item.name, f] for role, item in groups(spec) for f in item.features}
    masks = {names[role, item.name] for role, item in groups(spec) if item.kind == "padded"}
    others = [name for name in names.values() if name not in lists | masks]
    datasets[EVENTS] |= {name: name for name in others}
    return {dataset: fields for dataset, fields in datasets.items() if fields}


def _read_hdf5(path: Path, spec: BatchSpec) -> Columns:
    h5py: Any = optional_import("h5py", feature="format='hdf5'", extra="hdf")
    columns = Columns()
    with h5py.File(path, "r") as file:
        for dataset, fields in _hdf5_fields(spec).items():
            rows = file[dataset][:]
            columns |= {name: np.ascontiguousarray(rows[field]) for field, name in fields.items()}
    return columns


FORMATS = {
    "rootml": Format("npz", _write_npz, _read_npz),
    "parquet": Format("parquet", _write_parquet, _read_parquet),
    "root": Format("root", _write_root, _read_root),
    "hdf5": Format("h5", _write_hdf5, _read_hdf5),
}
