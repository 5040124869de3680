"""What is sent to threads and clusters: a function once, and a small object per partition.

The function has a `Reader` but no selection index. What the index knows of a partition goes along
with the partition, as packed bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Allocate
from rootml.dataset._reader import EventBlock, Mask, Reader
from rootml.errors import RootmlError, located
from rootml.execution import Cost
from rootml.partitions import Partition

R = TypeVar("R")

_ROW_BYTES = 100


@dataclass(frozen=True, slots=True)
class SelectedPartition:
    """A partition and which of its entries are selected.

    Attributes:
        bits: The mask, packed; None: all entries.
    """

    partition: Partition
    bits: npt.NDArray[np.uint8] | None

    @property
    def where(self) -> str:
        """File, tree and range of entries, for messages."""
        return self.partition.where

    @property
    def mask(self) -> Mask | None:
        """Which entries are selected, bool; None: all."""
        if self.bits is None:
            return None
        return np.unpackbits(self.bits, count=self.partition.num_entries).view(bool)

    @property
    def num_rows(self) -> int:
        """Selected entries."""
        if self.bits is None:
            return self.partition.num_entries
        return int(np.unpackbits(self.bits).sum())

    @property
    def cost(self) -> Cost:
        """What reading it is expected to take; the rows are the result."""
        return Cost(self.partition.cost.seconds, _ROW_BYTES * self.num_rows, 4)


@dataclass(frozen=True, slots=True)
class ReadTask:
    """Reads the selected events of partitions, here or on a cluster; from `Dataset.read_task`.

    Attributes:
        raw: Columns that may come in the byte order of the file.
        widen: Whether labels and weights come as int64 and float64 in any case.
    """

    reader: Reader
    columns: tuple[str, ...] | None = None
    label: bool = False
    weight: bool = False
    ids: bool = False
    raw: frozenset[str] = frozenset()
    widen: bool = True

    def __call__(self, selected: SelectedPartition, allocate: Allocate = np.empty) -> EventBlock:
        return self.reader.block(
            selected.partition,
            self.columns,
            mask=selected.mask,
            select=False,
            label=self.label,
            weight=self.weight,
            ids=self.ids,
            allocate=allocate,
            raw=self.raw,
            widen=self.widen,
        )


@dataclass(frozen=True, slots=True)
class MapTask(Generic[R]):
    """Reads partitions and calls a function with their events; see `Dataset.map_partitions`."""

    read: ReadTask
    function: Callable[[EventBlock], R]

    def __call__(self, selected: SelectedPartition) -> R:
        block = self.read(selected)
        try:
            return self.function(block)
        except RootmlError as error:
            raise located(error, selected.where) from error
