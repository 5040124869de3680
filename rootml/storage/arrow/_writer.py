"""Writers of Parquet and Arrow IPC files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rootml.errors import UnsupportedTypeError
from rootml.storage._base import Column, ColumnType
from rootml.storage._buffered import BufferedWriter


def _arrow_type(name: str, kind: ColumnType) -> Any:
    if kind.kind == "string":
        return pa.large_string()
    if kind.dtype is None or kind.kind in {"other", "unsupported"}:
        message = f"column {name!r} of type {kind} cannot be written to Parquet or Arrow files"
        raise UnsupportedTypeError(message)
    inner = pa.from_numpy_dtype(kind.dtype)
    for size in reversed(kind.shape):
        inner = pa.list_(pa.field("item", inner, nullable=False), size)
    for _ in range(kind.depth):
        inner = pa.large_list(pa.field("item", inner, nullable=False))
    return inner


def _from_layout(layout: Any, kind: Any) -> Any:
    """Arrow array of lists of numbers, or of strings."""
    if pa.types.is_large_string(kind):
        layout = layout.to_ListOffsetArray64(True)
        chars = np.ascontiguousarray(ak.to_numpy(layout.content))
        offsets = np.asarray(layout.offsets.data)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(chars)]
        return pa.Array.from_buffers(kind, len(layout), buffers)
    if not pa.types.is_large_list(kind):
        values = np.asarray(ak.to_numpy(layout), dtype=kind.to_pandas_dtype())
        return pa.array(values, type=kind)
    layout = layout.to_ListOffsetArray64(True)
    inner = _from_layout(layout.content, kind.value_type)
    offsets = pa.array(np.asarray(layout.offsets.data))
    return pa.LargeListArray.from_arrays(offsets, inner, type=kind)


def _to_arrow(column: Column, kind: Any) -> Any:
    if not isinstance(column, np.ndarray):
        return _from_layout(ak.to_layout(ak.to_packed(column)), kind)
    values = np.ascontiguousarray(column).reshape(-1)
    levels = []
    while pa.types.is_fixed_size_list(kind):
        levels.append(kind)
        kind = kind.value_type
    array = pa.array(values.astype(values.dtype.newbyteorder("="), copy=False), type=kind)
    for level in reversed(levels):
        array = pa.FixedSizeListArray.from_arrays(array, type=level)
    return array


class _Base(BufferedWriter):
    """What both writers share."""

    def __init__(
        self, path: str, *, columns: Mapping[str, ColumnType], metadata: Mapping[str, str]
    ) -> None:
        fields = [
            pa.field(name, _arrow_type(name, kind), nullable=False)
            for name, kind in columns.items()
        ]
        super().__init__(path, columns)
        self._schema = pa.schema(fields, metadata=dict(metadata))
        self._file = self._create(str(self._atomic.temporary))

    def _create(self, path: str) -> Any:
        raise NotImplementedError

    def _batch(self, columns: Mapping[str, Column]) -> Any:
        arrays = [_to_arrow(columns[field.name], field.type) for field in self._schema]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _finish(self) -> None:
        self._file.close()

    def _drop(self) -> None:
        self._file.close()


class ParquetWriter(_Base):
    """Parquet with zstd compression and page checksums; one row group per cluster."""

    def _create(self, path: str) -> Any:
        return pq.ParquetWriter(path, self._schema, compression="zstd", write_page_checksum=True)

    def _cluster(self, columns: Mapping[str, Column]) -> None:
        batch = self._batch(columns)
        self._file.write_batch(batch, row_group_size=max(1, batch.num_rows))


class ArrowWriter(_Base):
    """An Arrow IPC file (Feather 2) with zstd compression; one record batch per cluster."""

    def _create(self, path: str) -> Any:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        return pa.ipc.new_file(path, self._schema, options=options)

    def _cluster(self, columns: Mapping[str, Column]) -> None:
        self._file.write_batch(self._batch(columns))
