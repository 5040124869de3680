"""Partitions with what is known of them: the small things that are sent to threads and clusters.

A function that works on them is sent once; it has a `Reader`, but no selection index. What the
index knows of a partition goes along with the partition, as packed bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Allocate
from rootml.dataset._reader import EventBlock, Mask, Reader
from rootml.partitions import Partition

if TYPE_CHECKING:
    from rootml.dataset._selection import SelectionIndex


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
        """For messages."""
        return self.partition.where

    @property
    def mask(self) -> Mask | None:
        """Which entries are selected, bool; None: all."""
        if self.bits is None:
            return None
        return np.unpackbits(self.bits, count=self.partition.num_entries).view(bool)


def select_partition(index: SelectionIndex, partition: Partition) -> SelectedPartition:
    """What an index knows of any partition of the scanned files."""
    mask = index.mask_of(partition)
    return SelectedPartition(partition, None if mask is None else np.packbits(mask))


def select_partitions(
    index: SelectionIndex, partitions: Iterable[Partition]
) -> list[SelectedPartition]:
    """Those partitions that have a selected entry."""
    chosen = (select_partition(index, partition) for partition in partitions)
    return [each for each in chosen if each.bits is None or each.bits.any()]


@dataclass(frozen=True, slots=True)
class ReadTask:
    """Reads the selected events of partitions; see `Dataset.read`."""

    reader: Reader
    columns: tuple[str, ...] | None = None
    label: bool = False
    weight: bool = False
    ids: bool = False

    def __call__(self, chosen: SelectedPartition, allocate: Allocate = np.empty) -> EventBlock:
        return self.reader.block(
            chosen.partition,
            self.columns,
            mask=chosen.mask,
            select=False,
            label=self.label,
            weight=self.weight,
            ids=self.ids,
            allocate=allocate,
        )
