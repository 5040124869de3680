"""What all writers share: checks, and batches of a size that reads well later."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np

from rootml._internal.atomic import AtomicPath, naming
from rootml.errors import SchemaError, UsageError
from rootml.storage._base import Column, ColumnType, Writer
from rootml.storage._types import type_of_form

BATCH_ENTRIES = 100_000
"""Entries per cluster: some MB per ten columns, and few enough clusters to list."""
BATCH_BYTES = 64 << 20


def type_of_values(values: Column) -> ColumnType:
    """`ColumnType` of an array.

    >>> str(type_of_values(np.zeros((4, 3), np.float32)))
    'float32[3]'
    """
    if isinstance(values, np.ndarray):
        kind = "fixed" if values.ndim > 1 else "scalar"
        if values.dtype.kind not in "biuf":
            kind = "other"
        dtype = values.dtype.newbyteorder("=")
        return ColumnType(kind, dtype, values.shape[1:], text=str(values.dtype))  # type: ignore[arg-type]
    form = ak.to_layout(values).form
    return type_of_form(form, str(form.type))


def _matches(values: Column, kind: ColumnType) -> bool:
    given = type_of_values(values)
    if not isinstance(values, np.ndarray) and "unknown" in given.text:
        return kind.kind in {"jagged", "string"}  # without a single element there is no type
    if kind.kind in {"scalar", "fixed", "jagged"}:
        return given.same_as(kind)
    return given.kind == kind.kind


class BufferedWriter(Writer):
    """Collects entries and hands them on in clusters; subclasses write the clusters."""

    def __init__(self, path: str, columns: Mapping[str, ColumnType]) -> None:
        if not columns:
            message = f"cannot write {path!r}: no columns"
            raise UsageError(message)
        self.path = path
        self.num_entries = 0
        self._types = dict(columns)
        self._pending: list[dict[str, Column]] = []
        self._pending_entries = 0
        self._pending_bytes = 0
        self._done = False
        self._atomic = AtomicPath(path)

    def write(self, columns: Mapping[str, Column]) -> None:
        if self._done:
            message = f"{self.path!r} is closed"
            raise UsageError(message)
        length = self._checked_length(columns)
        if not length:
            return
        self._pending.append({name: columns[name] for name in self._types})
        self._pending_entries += length
        self._pending_bytes += sum(int(column.nbytes) for column in columns.values())
        self.num_entries += length
        if self._pending_entries >= BATCH_ENTRIES or self._pending_bytes >= BATCH_BYTES:
            self._flush()

    def _checked_length(self, columns: Mapping[str, Column]) -> int:
        if set(columns) != set(self._types):
            missing = sorted(set(self._types) - set(columns))
            surplus = sorted(set(columns) - set(self._types))
            message = f"{self.path!r}: columns missing: {missing}, not in the file: {surplus}"
            raise SchemaError(message)
        for name, kind in self._types.items():
            if not _matches(columns[name], kind):
                given = type_of_values(columns[name])
                message = f"{self.path!r}: column {name!r} is {kind} in the file, given {given}"
                raise SchemaError(message)
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1:
            message = f"{self.path!r}: columns of unequal length: {lengths}"
            raise SchemaError(message)
        return next(iter(lengths.values()))

    def _flush(self) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        total, self._pending_entries, self._pending_bytes = self._pending_entries, 0, 0
        joined = {name: _join([part[name] for part in pending]) for name in self._types}
        # one huge write of the caller's becomes several clusters
        pieces = max(1, round(total / (2 * BATCH_ENTRIES)))
        bounds = np.linspace(0, total, pieces + 1).astype(np.int64)
        with naming(self.path):
            for start, stop in itertools.pairwise(bounds):
                self._cluster({name: column[start:stop] for name, column in joined.items()})

    @abc.abstractmethod
    def _cluster(self, columns: Mapping[str, Column]) -> None:
        """Write one cluster."""

    @abc.abstractmethod
    def _finish(self) -> None:
        """Write the end of the file and close it."""

    @abc.abstractmethod
    def _drop(self) -> None:
        """Close the file without caring for what is in it."""

    def close(self) -> None:
        if self._done:
            return
        try:
            self._flush()
            with naming(self.path):
                self._finish()
            self._atomic.commit()
        except BaseException:
            self.abort()
            raise
        self._done = True

    def abort(self) -> None:
        if self._done:
            return
        self._done = True
        self._pending = []
        try:
            self._drop()
        finally:
            self._atomic.discard()


def _join(parts: list[Any]) -> Column:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return ak.concatenate(parts)
