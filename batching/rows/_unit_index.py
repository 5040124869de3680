"""`UnitIndex`: the selected events of a dataset, divided into units."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rootml.batching._options import Options
from rootml.batching.order._balance import check_classes, repeat_units, resampled_counts
from rootml.batching.order._unit_keys import UnitKey
from rootml.batching.rows._parallelism import Parallelism
from rootml.batching.rows._timing import Timing
from rootml.batching.rows._units import CountLabels
from rootml.errors import EmptySelectionError
from rootml.execution import map_tasks

if TYPE_CHECKING:
    from rootml.dataset import Dataset, SelectionIndex
    from rootml.partitions import Partition

Counts = npt.NDArray[np.int64]
_MAX_CLASSES = 50


@dataclass(frozen=True, slots=True)
class _Units:
    partitions: tuple[Partition, ...]
    selection: SelectionIndex
    keys: tuple[UnitKey, ...]


@dataclass(frozen=True)
class UnitIndex:
    """Which units there are and how many rows each one has.

    The first use scans the dataset if it has a cut.

    Raises:
        EmptySelectionError: From the first use: no event is selected.
    """

    dataset: Dataset
    options: Options
    parallelism: Parallelism
    timing: Timing

    @cached_property
    def _units(self) -> _Units:
        with self.timing("scan"):
            selection = self.dataset.scan(
                target_bytes=self.options.unit_bytes,
                progress=self.options.progress,
                threads=self.parallelism.scan_threads,
            )
            partitions = tuple(selection.partitions)
        if not selection.num_rows:
            message = f"{self.dataset}: no event is selected, so there are no batches"
            raise EmptySelectionError(message)
        return _Units(partitions, selection, tuple(self._make_keys(partitions, selection)))

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The partitions that the units are made of."""
        return self._units.partitions

    @property
    def selection(self) -> SelectionIndex:
        """Which entries are selected."""
        return self._units.selection

    @property
    def keys(self) -> tuple[UnitKey, ...]:
        """The units."""
        return self._units.keys

    @cached_property
    def counts(self) -> Counts:
        """Rows of each unit."""
        return np.array([key.rows for key in self.keys], dtype=np.int64)

    @cached_property
    def sources(self) -> Counts:
        """Source of each unit."""
        return np.array([key.source for key in self.keys], dtype=np.int64)

    @cached_property
    def originals(self) -> tuple[int, ...]:
        """Numbers of the units that are not repetitions of another unit."""
        return tuple(number for number, key in enumerate(self.keys) if key.copy == 0)

    @cached_property
    def num_rows(self) -> int:
        """Rows of an epoch, over all ranks."""
        return int(self.epoch_counts(0).sum())

    def epoch_counts(self, epoch: int) -> Counts:
        """Rows that each unit gives to this epoch."""
        resample = self.options.resample
        if resample is None:
            return self.counts
        return resampled_counts(self.keys, resample, self.options.seed, epoch)

    @cached_property
    def fingerprint(self) -> str:
        """Identifies the data, the selection, and the division into units."""
        division = zlib.crc32(self.counts.tobytes() + self.sources.tobytes())
        return f"{self.dataset.fingerprint}-{division:08x}"

    # --- how units are made -------------------------------------------------------------------

    def _make_keys(
        self, partitions: Sequence[Partition], selection: SelectionIndex
    ) -> list[UnitKey]:
        sources = self._sources_of(partitions)
        keys = [
            UnitKey(number, int(rows), source)
            for number, (rows, source) in enumerate(zip(selection.counts, sources, strict=True))
        ]
        resample = self.options.resample
        if resample is None:
            return keys
        if self._constant_labels:
            found = {sample.constant_label for sample in self.dataset.samples}
            labels = sorted(float(label) for label in found if label is not None)
        else:
            keys = self._keys_by_label(partitions, selection)
            labels = sorted({float(key.label) for key in keys if key.label is not None})
        check_classes(keys, labels, str(self.dataset))
        return repeat_units(keys, resample)

    @property
    def _constant_labels(self) -> bool:
        return all(sample.constant_label is not None for sample in self.dataset.samples)

    def _sources_of(self, partitions: Sequence[Partition]) -> list[int]:
        """Files of one label are one source; without constant labels each sample is one."""
        samples = self.dataset.samples
        names: list[Any] = list(range(len(samples)))
        if self.dataset.has_label and self._constant_labels:
            names = [sample.constant_label for sample in samples]
        numbers = {name: number for number, name in enumerate(sorted(set(names)))}
        return [numbers[names[partition.sample]] for partition in partitions]

    def label_counts(self) -> npt.NDArray[np.int64] | None:
        """Rows of each label in each unit, `(units, labels)`.

        None where that is not needed: files of one label each, no labels, or so many of them that
        they are not classes.
        """
        if not self.dataset.has_label or self._constant_labels or self.options.resample:
            return None
        labels = sorted(self.selection.labels)
        if not 2 <= len(labels) <= _MAX_CLASSES:
            return None
        found = self.count_labels(self.partitions, self.selection)
        rows = [[counts.get(label, 0) for label in labels] for counts in found]
        return np.array(rows, dtype=np.int64)

    def _keys_by_label(
        self, partitions: Sequence[Partition], selection: SelectionIndex
    ) -> list[UnitKey]:
        """One unit for the rows of each label in a partition."""
        found = self.count_labels(partitions, selection)
        labels = sorted({label for counts in found for label in counts})
        return [
            UnitKey(number, rows, labels.index(label), label=label)
            for number, counts in enumerate(found)
            for label, rows in counts.items()
        ]

    def count_labels(
        self, partitions: Sequence[Partition], selection: SelectionIndex
    ) -> list[dict[float, int]]:
        """Rows of each label in each partition; one pass over the labels."""
        what = "reading labels"
        with self.timing(what):
            return list(
                map_tasks(
                    CountLabels(self.dataset.read_task((), label=True)),
                    [selection.select(partition) for partition in partitions],
                    threads=self.parallelism.scan_threads,
                    progress=self.options.progress,
                    what=what,
                    executor=self.parallelism.executor,
                )
            )
