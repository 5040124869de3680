"""Parquet files and Arrow IPC files (Feather 2), read through pyarrow.

Clusters are Parquet's row groups and Arrow's record batches: each is decoded as a whole. Parquet
pages and Arrow buffers carry checksums only where the writer asked for them (`_arrow_writer` does
for Parquet); elsewhere a flipped bit in a number cannot be noticed, as with any other reader.
"""

from __future__ import annotations

import abc
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from rootml._internal.buffers import Allocate
from rootml.storage._base import Column, Columns, Table
from rootml.storage._failures import reading
from rootml.storage._guard import Guard, check_columns, check_range
from rootml.storage._source import Ranges
from rootml.storage.arrow._stream import SourceStream
from rootml.storage.arrow._types import Leaf, leaves_of, to_column


class _ArrowBase(Table):
    """What both formats share: leaves by name, and columns cut out of record batches."""

    name = ""

    def __init__(self, path: str, guard: Guard) -> None:
        self.path = path
        self._guard = guard
        self.fingerprint = guard.fingerprint
        with reading(path):
            schema = self._open()
            self._leaves = leaves_of(schema)
        self._columns = Columns({name: leaf.type for name, leaf in self._leaves.items()})

    @contextmanager
    def _stream(self, ranges: Ranges = ()) -> Iterator[Any]:
        """A file object for pyarrow; never a memory map, which kills the process on a lost page.

        Args:
            ranges: What is going to be read of a remote file.
        """
        remote = self._guard.remote
        if remote is None:
            with pa.OSFile(self.path, "rb") as file:
                yield file
        else:
            stream = SourceStream(remote.fetch(ranges), remote.stat.size)
            yield pa.PythonFile(stream, mode="r")

    @abc.abstractmethod
    def _open(self) -> pa.Schema:
        """Read the metadata, set `_bounds` and `num_entries`, return the schema."""

    @abc.abstractmethod
    def _chunks(self, leaves: Sequence[Leaf], groups: Sequence[int]) -> pa.Table:
        """The columns of `leaves`, whole `groups`."""

    @property
    def columns(self) -> Columns:
        return self._columns

    def clusters(self) -> npt.NDArray[np.int64]:
        return self._bounds.copy()

    def _set_bounds(self, rows: Sequence[int]) -> None:
        counts = np.array(rows, np.int64)
        self._all_bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        self._bounds = np.unique(self._all_bounds)
        self.num_entries = int(self._all_bounds[-1])

    def read(
        self,
        columns: Sequence[str],
        start: int,
        stop: int,
        *,
        allocate: Allocate = np.empty,  # noqa: ARG002
        raw: Collection[str] = (),  # noqa: ARG002 - always in native order
    ) -> dict[str, Column]:
        check_range(self, start, stop)
        names = check_columns(self, columns)
        with reading(self.where, columns, start, stop):
            self._guard.check(self.where)
            leaves = [self._leaves[name] for name in names.values()]
            first = int(np.searchsorted(self._all_bounds, start, "right")) - 1
            last = int(np.searchsorted(self._all_bounds, stop, "left"))
            groups = range(first, last if stop > start else first)
            table = self._chunks(leaves, groups)
            offset = start - int(self._all_bounds[first])
            return {
                name: to_column(leaf, table, offset, stop - start)
                for name, leaf in zip(names, leaves, strict=True)
            }

    def close(self) -> None:
        self._guard.close()


class ParquetTable(_ArrowBase):
    """A Parquet file."""

    format = "parquet"

    def _open(self) -> pa.Schema:
        with self._stream() as source:
            file = pq.ParquetFile(source)
            self._metadata = file.metadata
            schema = file.schema_arrow
        groups = range(self._metadata.num_row_groups)
        self._set_bounds([self._metadata.row_group(i).num_rows for i in groups])
        return schema

    def _ranges(self, leaves: Sequence[Leaf], groups: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Position and size of the column chunks."""
        for group in map(self._metadata.row_group, groups):
            for leaf in leaves:
                for number in range(leaf.first, leaf.last):
                    chunk = group.column(number)
                    start = chunk.data_page_offset
                    if chunk.has_dictionary_page:
                        start = min(start, chunk.dictionary_page_offset)
                    yield start, chunk.total_compressed_size

    def _parquet_paths(self, leaves: Sequence[Leaf]) -> list[str]:
        schema = self._metadata.schema
        return [schema.column(i).path for leaf in leaves for i in range(leaf.first, leaf.last)]

    def _chunks(self, leaves: Sequence[Leaf], groups: Sequence[int]) -> pa.Table:
        with self._stream(self._ranges(leaves, groups)) as source:
            file = pq.ParquetFile(source, metadata=self._metadata, page_checksum_verification=True)
            return file.read_row_groups(
                list(groups), columns=self._parquet_paths(leaves), use_threads=False
            )

    def stored_bytes(self, columns: Sequence[str]) -> int:
        names = check_columns(self, columns)
        indices = {
            i
            for name in names.values()
            for i in range(self._leaves[name].first, self._leaves[name].last)
        }
        groups = [self._metadata.row_group(g) for g in range(self._metadata.num_row_groups)]
        return sum(group.column(i).total_compressed_size for group in groups for i in indices)


class ArrowTable(_ArrowBase):
    """An Arrow IPC file (Feather version 2)."""

    format = "arrow"

    def _open(self) -> pa.Schema:
        options = pa.ipc.IpcReadOptions(included_fields=[0], use_threads=False)
        with self._stream() as source:
            file = pa.ipc.open_file(source, options=options)
            rows = [file.get_batch(i).num_rows for i in range(file.num_record_batches)]
        with self._stream() as source:
            schema = pa.ipc.open_file(source).schema
        self._set_bounds(rows)
        return schema

    def _chunks(self, leaves: Sequence[Leaf], groups: Sequence[int]) -> pa.Table:
        fields = sorted({leaf.field for leaf in leaves})
        options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        with self._stream() as source:
            file = pa.ipc.open_file(source, options=options)
            batches = [file.get_batch(i) for i in groups]
            table = pa.Table.from_batches(batches, schema=file.schema)
        table.validate(full=True)
        return table

    def stored_bytes(self, columns: Sequence[str]) -> int:
        names = set(check_columns(self, columns).values())
        widths = {name: leaf.width for name, leaf in self._leaves.items() if not leaf.path[1:]}
        wanted = sum(self._leaves[name].width for name in names)
        return self.fingerprint.size * wanted // max(1, sum(widths.values()))
