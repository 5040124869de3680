"""Units: what is decoded in one go and then gives its rows to the blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Allocate
from rootml.batching.inputs._layout import (
    Dense,
    Layout,
    Lists,
    Prepared,
    Ragged,
    slice_ragged,
    take_ragged,
)
from rootml.batching.order._unit_keys import UnitKey
from rootml.errors import ChangedFileError

if TYPE_CHECKING:
    from rootml.dataset import ReadTask, SelectedPartition, SelectionIndex
    from rootml.execution import Cost, RemoteFunction
    from rootml.partitions import Partition

Rows = npt.NDArray[np.integer[Any]]


class Unit(Protocol):
    """The rows of a unit in memory."""

    @property
    def num_rows(self) -> int: ...

    def fill(self, start: int, stop: int, dense: Dense, at: int) -> None:
        """Write rows ``[start, stop)`` to the dense arrays, from row `at` on."""

    def ragged(self, start: int, stop: int) -> Ragged:
        """Rows ``[start, stop)`` of the ragged fields."""

    def take(self, rows: Rows) -> Unit:
        """The given rows only."""


class UnitSource(Protocol):
    """Where the units of an epoch come from; `load` is called from several threads."""

    def load(self, unit: int, allocate: Allocate = np.empty) -> Unit:
        """Read and decode one unit; large arrays may come from `allocate`."""

    def describe(self, unit: int) -> str:
        """Where the unit comes from, for messages."""


@dataclass(frozen=True, slots=True)
class DecodedUnit:
    """Decoded columns; `fill` turns them into rows."""

    layout: Layout
    prepared: Prepared

    @property
    def num_rows(self) -> int:
        return self.prepared.num_rows

    def fill(self, start: int, stop: int, dense: Dense, at: int) -> None:
        self.layout.fill(self.prepared, start, stop, dense, at)

    def ragged(self, start: int, stop: int) -> Ragged:
        return self.layout.ragged_rows(self.prepared, start, stop)

    def take(self, rows: Rows) -> DecodedUnit:
        mine = self.prepared
        return DecodedUnit(
            self.layout,
            replace(
                mine,
                num_rows=len(rows),
                flat={key: tuple(s[:, rows] for s in strips) for key, strips in mine.flat.items()},
                lists={key: _take_lists(lists, rows) for key, lists in mine.lists.items()},
                raw={key: values[rows] for key, values in mine.raw.items()},
            ),
        )


def _take_lists(lists: Lists, rows: Rows) -> Lists:
    starts = lists.offsets[rows]
    counts = lists.offsets[rows + 1] - starts
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    source = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)
    return Lists(offsets, tuple(strip[:, source] for strip in lists.strips))


@dataclass(frozen=True, slots=True)
class UnitJob:
    """What is needed to decode a unit; small, because it may be sent to another machine."""

    selected: SelectedPartition
    key: UnitKey

    @property
    def where(self) -> str:
        """For messages."""
        return self.selected.where

    @property
    def cost(self) -> Cost:
        """What reading it is expected to take."""
        return self.selected.cost


@dataclass(frozen=True, slots=True)
class Decode:
    """Reads the selected rows of a unit and makes columns of them, here or on a cluster.

    Raises:
        ChangedFileError: Not as many events are selected as there were.
        CastError, NonFiniteError, SchemaError: As `Layout.prepare`.
    """

    read: ReadTask
    layout: Layout

    def __call__(self, job: UnitJob, allocate: Allocate = np.empty) -> Prepared:
        key, partition, layout = job.key, job.selected.partition, self.layout
        block = self.read(job.selected, allocate)
        where = f"{partition.path}:{partition.tree}" if partition.tree else partition.path
        where = f"{where}, entries {partition.start} to {partition.stop}"
        decoded = DecodedUnit(layout, layout.prepare(block, where))
        if key.label is not None:
            decoded = decoded.take(np.flatnonzero(block.label == key.label))
        if decoded.num_rows != key.rows:
            message = (
                f"{where}: {decoded.num_rows} events are selected where {key.rows} were when the "
                "dataset was scanned; the file must have changed"
            )
            raise ChangedFileError(message)
        return decoded.prepared


@dataclass(frozen=True, slots=True)
class CountLabels:
    """Rows of each label in a partition."""

    read: ReadTask

    def __call__(self, selected: SelectedPartition) -> dict[float, int]:
        block = self.read(selected)
        assert block.label is not None
        values, rows = np.unique(block.label, return_counts=True)
        return dict(zip(values.tolist(), rows.tolist(), strict=True))


@dataclass(frozen=True)
class DatasetUnits:
    """Units read from the files of a dataset.

    Attributes:
        remote: `decode` on a cluster, which is called instead; None: `decode` is called here.
    """

    decode: Decode
    remote: RemoteFunction[UnitJob, Prepared] | None
    partitions: Sequence[Partition]
    index: SelectionIndex
    keys: Sequence[UnitKey]

    def load(self, unit: int, allocate: Allocate = np.empty) -> DecodedUnit:
        key = self.keys[unit]
        job = UnitJob(self.index.select(self.partitions[key.partition]), key)
        prepared = self.decode(job, allocate) if self.remote is None else self.remote(job)
        return DecodedUnit(self.decode.layout, prepared)

    def describe(self, unit: int) -> str:
        where = self.partitions[self.keys[unit].partition].where
        return f"{where}, {'in threads here' if self.remote is None else 'on the cluster'}"


@dataclass(frozen=True, slots=True)
class RowsUnit:
    """Rows in row order, as a shard on disk keeps them."""

    num_rows: int
    dense: Dense
    lists: Ragged

    def fill(self, start: int, stop: int, dense: Dense, at: int) -> None:
        for key, values in self.dense.items():
            dense[key][at : at + stop - start] = values[start:stop]

    def ragged(self, start: int, stop: int) -> Ragged:
        return {key: slice_ragged(array, start, stop) for key, array in self.lists.items()}

    def take(self, rows: Rows) -> RowsUnit:
        return RowsUnit(
            len(rows),
            {key: values[rows] for key, values in self.dense.items()},
            {key: take_ragged(array, rows) for key, array in self.lists.items()},
        )
