"""What all shards of a loader share: the selection, its units, and where rows are kept.

An `EpochSource` answers three questions: which mode the rows are shuffled in, what the plan of
an epoch is, and what store feeds a walk of it. Everything that costs time is done
once, when first needed.
"""

from __future__ import annotations

import concurrent.futures
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Allocate, trim_heap
from rootml._internal.progress import track
from rootml.batching._bytes import format_bytes
from rootml.batching._options import Options
from rootml.batching.inputs._compile import Request, compile_layout
from rootml.batching.order._balance import (
    check_classes,
    class_factors,
    repeat_units,
    resampled_counts,
    resampled_rows,
)
from rootml.batching.order._plan import EpochPlan, Mode, Segment, Sharing
from rootml.batching.order._rng import Purpose, stream
from rootml.batching.order._schedule import Walk, forced_rows
from rootml.batching.rows._spill import Spill
from rootml.batching.rows._stores import (
    ChainStore,
    PoolStore,
    Resident,
    ResidentStore,
    Store,
    Workspace,
)
from rootml.batching.rows._stream import THREAD_NAME
from rootml.batching.rows._timing import Timing
from rootml.batching.rows._units import (
    CountLabels,
    DatasetUnits,
    Decode,
    UnitJob,
    UnitKey,
    UnitSource,
)
from rootml.dataset._tasks import select_partition
from rootml.errors import BufferTooSmallError, EmptySelectionError, StateError, UsageError
from rootml.execution._threads import map_partitions
from rootml.storage._paths import remote_of
from rootml.storage.remote import compute_slot

if TYPE_CHECKING:
    from rootml.batching.inputs._layout import Prepared
    from rootml.dataset import Dataset
    from rootml.execution._threads import Executor, RemoteFunction
    from rootml.partitions import Partition

_BLOCK_ROWS = 16_384
_BLOCK_BYTES = 8 << 20
_ORDER_BYTES = np.dtype(np.int64).itemsize
_SMALL_ROWS, _MANY_SMALL = 5_000, 16


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The selected events, divided into units."""

    partitions: tuple[Partition, ...]
    index: Any
    keys: tuple[UnitKey, ...]

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        return np.array([key.rows for key in self.keys], dtype=np.int64)

    @property
    def sources(self) -> npt.NDArray[np.int64]:
        return np.array([key.source for key in self.keys], dtype=np.int64)


class EpochSource:
    """The data behind a loader and all its shards; see the module."""

    def __init__(self, dataset: Dataset, request: Request, options: Options) -> None:
        self.options = options
        self.timing = Timing()
        self.workspace = Workspace()
        self._lock = threading.RLock()
        self._resident: Resident | None = None
        self._next_order: tuple[int, npt.NDArray[np.int64]] | None = None
        self._spill: Spill | None = None
        self._spill_shards: int | None = None
        self._held: RemoteFunction[UnitJob, Prepared] | None = None
        self._turns = threading.Semaphore(options.threads)
        factors = None
        if options.balance is not None and not dataset.has_label:
            message = f"{dataset}: balance= needs classes: open the samples with label="
            raise UsageError(message)
        if options.balance == "weights":
            factors = class_factors(self._class_sums(dataset), str(dataset))
        self.dataset, self.layout = compile_layout(dataset, request, factors)

    def __getstate__(self) -> dict[str, Any]:
        hidden = {"_lock", "_resident", "_next_order", "_held", "_turns", "workspace"}
        return {key: value for key, value in self.__dict__.items() if key not in hidden}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()
        self._resident = None
        self._next_order = None
        self._held = None
        self._turns = threading.Semaphore(self.options.threads)
        self.workspace = Workspace()

    # --- the selection ------------------------------------------------------------------------

    def _class_sums(self, dataset: Dataset) -> dict[float, float]:
        index = dataset.scan(progress=self.options.progress)
        return {float(label): sums.sumw for label, sums in index.labels.items()}

    @cached_property
    def chosen(self) -> _Chosen:
        """The selected events, divided into units; scans the dataset if it has a cut.

        Raises:
            EmptySelectionError: No event is selected.
        """
        with self.timing("scan"):
            index = self.dataset.scan(
                target_bytes=self.options.unit_bytes,
                progress=self.options.progress,
                threads=max(self.options.threads, self._units_ahead),
            )
            partitions = tuple(index.partitions)
        if not index.num_rows:
            message = f"{self.dataset}: no event is selected, so there are no batches"
            raise EmptySelectionError(message)
        keys = self._keys(partitions, index)
        return _Chosen(partitions, index, tuple(keys))

    def _keys(self, partitions: Sequence[Partition], index: Any) -> list[UnitKey]:
        sources = self._sources(partitions)
        keys = [
            UnitKey(number, int(rows), source)
            for number, (rows, source) in enumerate(zip(index.counts, sources, strict=True))
        ]
        resample = self.options.resample
        if resample is None:
            return keys
        if self._constant_labels():
            found = {sample.constant_label for sample in self.dataset.samples}
            labels = sorted(float(label) for label in found if label is not None)
        else:
            keys = self._keys_by_label(partitions, index)
            labels = sorted({float(key.label) for key in keys if key.label is not None})
        check_classes(keys, labels, str(self.dataset))
        return repeat_units(keys, resample)

    def _constant_labels(self) -> bool:
        return all(sample.constant_label is not None for sample in self.dataset.samples)

    def _sources(self, partitions: Sequence[Partition]) -> list[int]:
        """Files of one label are one source; without constant labels each sample is one."""
        samples = self.dataset.samples
        names: list[Any] = list(range(len(samples)))
        if self.dataset.has_label and self._constant_labels():
            names = [sample.constant_label for sample in samples]
        numbers = {name: number for number, name in enumerate(sorted(set(names)))}
        return [numbers[names[partition.sample]] for partition in partitions]

    def _keys_by_label(self, partitions: Sequence[Partition], index: Any) -> list[UnitKey]:
        """Rows of each label in a partition are a unit of their own; one pass over labels."""
        what = "reading labels"
        with self.timing(what):
            found = list(
                map_partitions(
                    CountLabels(self.dataset._reader),
                    [select_partition(index, partition) for partition in partitions],
                    threads=max(self.options.threads, self._units_ahead),
                    progress=self.options.progress,
                    what=what,
                    executor=self._executor,
                )
            )
        labels = sorted({label for counts in found for label in counts})
        return [
            UnitKey(number, rows, labels.index(label), label=label)
            for number, counts in enumerate(found)
            for label, rows in counts.items()
        ]

    @cached_property
    def num_rows(self) -> int:
        """Rows of an epoch, over all ranks."""
        return int(self.counts(0).sum())

    def counts(self, epoch: int) -> npt.NDArray[np.int64]:
        """Rows that each unit gives to this epoch."""
        resample = self.options.resample
        if resample is None:
            return self.chosen.counts
        return resampled_counts(self.chosen.keys, resample, self.options.seed, epoch)

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of one row; ragged fields by their mean in the first unit that has rows."""
        size = self.layout.row_bytes
        if not self.layout.ragged:
            return size
        first = int(np.flatnonzero(self.chosen.counts)[0])
        unit = self._source.load(first)
        lists = unit.ragged(0, unit.num_rows).values()
        values = sum(array.values.nbytes + array.offsets.nbytes for array in lists)
        return size + -(-values // unit.num_rows)

    @cached_property
    def fingerprint(self) -> str:
        """What a state must agree with: the data, the selection, and its division into units."""
        division = zlib.crc32(self.chosen.counts.tobytes() + self.chosen.sources.tobytes())
        return f"{self.dataset.fingerprint}-{division:08x}"

    # --- where units are decoded --------------------------------------------------------------

    @property
    def _executor(self) -> Executor | None:
        """The cluster of ``Dataset.on``, in the process that has its client."""
        executor = self.dataset._reader.executor
        return executor if executor is not None and executor.usable else None

    @property
    def decoders(self) -> int:
        """Units that are decoded at the same time: in threads, most of which wait.

        A cluster gets as many as it has threads and as many again to go on with, more if they are
        small (it takes those together), a server as many as `Remote` says, as long as they take no
        more than half of the buffer when they arrive here.
        """
        fit = self.options.buffer_bytes // (2 * self.options.unit_bytes)
        if self._executor is not None:
            small = self.num_rows < _SMALL_ROWS * len(self.chosen.keys)
            return max(1, min((_MANY_SMALL if small else 2) * self._executor.parallelism, fit))
        return self.options.threads + min(self._units_ahead, fit)

    @cached_property
    def _units_ahead(self) -> int:
        """Units of remote files that may be read at the same time; 0: all are local."""
        paths = (spec.path for sample in self.dataset.samples for spec in sample.files.specs)
        ways = (remote_of(path) for path in paths)
        return max((way.units_ahead for way in ways if way is not None), default=0)

    @property
    def _source(self) -> UnitSource:
        chosen = self.chosen
        decode = Decode(self.dataset._reader, self.layout)
        executor = self._executor
        with self._lock:
            if executor is not None and self._held is None:
                self.dataset._reader.scales()
                self._held = executor.broadcast(decode, what="decoding")
            held = None if executor is None else self._held
        units = DatasetUnits(decode, held, chosen.partitions, chosen.index, chosen.keys)
        return _Timed(units, self.timing, self._turns if held is None else None)

    # --- the mode -----------------------------------------------------------------------------

    def mode(self, workers: int) -> Mode:
        """How rows are mixed when a rank has `workers` workers, which share its buffer."""
        if not self.options.shuffle:
            return "sequential"
        if self.resident_bytes <= self.options.buffer_bytes // workers:
            return "resident"
        return "disk" if self.options.cache is not None else "pool"

    @property
    def resident_bytes(self) -> int:
        """Bytes that all selected rows take in memory, with the orders of two epochs."""
        first = [key.rows for key in self.chosen.keys if key.copy == 0]
        return sum(first) * self.row_bytes + 2 * self.num_rows * _ORDER_BYTES

    def sharing(self, mode: Mode, world: int, workers: int) -> Sharing:
        """The sharing for this buffer.

        Raises:
            BufferTooSmallError: The buffer cannot hold the units that must be open.
        """
        options = self.options
        block_rows = self._block_rows
        if mode in {"sequential", "resident"}:
            return Sharing(world, workers, options.batch_size, options.drop_last, block_rows)
        rows = self._buffer_rows(workers)
        counts, sources = self._pool_units(mode)
        largest = [int(counts[sources == source].max()) for source in np.unique(sources)]
        for block in (block_rows, options.batch_size):
            room = rows - forced_rows(largest, block)
            if room >= 0:
                return Sharing(world, workers, options.batch_size, options.drop_last, block, room)
        raise self._too_small(largest, workers)

    def _buffer_rows(self, workers: int) -> int:
        return self.options.buffer_bytes // workers // self.row_bytes

    def _too_small(self, largest: list[int], workers: int) -> BufferTooSmallError:
        rows = forced_rows(largest, self.options.batch_size)
        needed = -(-rows * self.row_bytes * workers // 1000) * 1000
        message = (
            f"{self.dataset}: buffer_bytes={format_bytes(self.options.buffer_bytes)} cannot hold "
            f"the units that shuffling must have open: two of each of {len(largest)} source(s), "
            f"the largest of {max(largest):,} rows of {self.row_bytes} bytes, and two batches"
            + (f", for each of {workers} workers" if workers > 1 else "")
            + f"; it needs at least {needed / 1e6:.3f} MB"
            + ("" if self.options.cache else ", or cache=folder for a shuffle on disk")
        )
        return BufferTooSmallError(message)

    @property
    def _block_rows(self) -> int:
        size = self.options.batch_size
        rows = min(_BLOCK_ROWS, _BLOCK_BYTES // max(1, self.row_bytes))
        return size * max(1, rows // size)

    def _pool_units(self, mode: Mode) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        if mode == "disk":
            shards = self.spill_shards
            counts = np.full(shards, -(-self.num_rows // shards), dtype=np.int64)
            return counts, np.zeros(shards, dtype=np.int64)
        return self.chosen.counts, self.chosen.sources

    @property
    def spill_shards(self) -> int:
        """Number of shards on disk: small enough that several fit into a worker's buffer."""
        if self._spill_shards is None:
            size = max(1, self.options.buffer_bytes // 32)
            self._spill_shards = min(
                self.num_rows, max(2, -(-self.num_rows * self.row_bytes // size))
            )
        return self._spill_shards

    def adopt_spill_shards(self, shards: int) -> None:
        """Use the number of shards of a saved state."""
        if self._spill is not None and len(self._spill.counts) != shards:
            message = (
                f"the state counts on {shards} shards of the shuffle cache, this loader has "
                f"already made {len(self._spill.counts)}; load the state before the first epoch"
            )
            raise StateError(message)
        self._spill_shards = shards

    # --- plans and stores ---------------------------------------------------------------------

    def plan(self, mode: Mode, epoch: int, history: tuple[Segment, ...]) -> EpochPlan:
        """The plan of an epoch, of which `history` was delivered before."""
        counts = self.counts(epoch)
        sources = self.chosen.sources
        if mode == "resident":
            counts, sources = np.array([counts.sum()]), np.zeros(1, dtype=np.int64)
        elif mode == "disk":
            counts = self.spill.counts
            sources = np.zeros(len(counts), dtype=np.int64)
        return EpochPlan(mode, counts, sources, self.options.seed, epoch, history)

    def store(
        self,
        mode: Mode,
        epoch: int,
        walk: Walk,
        sharing: Sharing,
        pool: concurrent.futures.Executor,
    ) -> Store:
        """The store that feeds a walk; in mode "resident" all rows are decoded now."""
        seed, threads = self.options.seed, self.decoders
        buffers = self.workspace.buffers
        if mode == "resident":
            order = self._order_of(epoch, pool)
            gatherers = self.options.threads
            return ResidentStore(self.resident, order, pool, threads=gatherers, buffers=buffers)
        if mode == "sequential":
            return ChainStore(
                self.layout, walk.pieces, self._source, pool, ahead=threads + 1, buffers=buffers
            )
        source = self.spill if mode == "disk" else self._source
        rows = min(self._buffer_rows(sharing.workers), sum(piece.rows for piece in walk.pieces))
        return PoolStore(
            self.layout,
            walk.pieces,
            source,
            pool,
            rows=rows,
            key=(seed, epoch),
            stage=self.timing,
            ahead=threads,
            workspace=self.workspace,
            early=threads - self.options.threads if mode == "pool" and not self._executor else 0,
        )

    def _order_of(self, epoch: int, pool: concurrent.futures.Executor) -> npt.NDArray[np.int64]:
        """The order of an epoch; that of the next is drawn in the background meanwhile."""
        with self._lock:
            kept, self._next_order = self._next_order, None
        order = kept[1] if kept is not None and kept[0] == epoch else self._resident_order(epoch)

        def draw() -> None:
            following = self._resident_order(epoch + 1)
            with self._lock:
                self._next_order = (epoch + 1, following)

        pool.submit(draw)
        return order

    def _resident_order(self, epoch: int) -> npt.NDArray[np.int64]:
        rng = stream(self.options.seed, epoch, Purpose.UNIT)
        resample = self.options.resample
        if resample is None:
            return rng.permutation(self.resident.num_rows)
        firsts = self._first_copies
        ends = np.cumsum([key.rows for key in firsts])
        classes = sorted({key.source for key in firsts})
        rows = [
            np.concatenate(
                [
                    np.arange(end - key.rows, end)
                    for key, end in zip(firsts, ends.tolist(), strict=True)
                    if key.source == source
                ]
            )
            for source in classes
        ]
        return rng.permutation(resampled_rows(rows, resample, self.options.seed, epoch))

    @property
    def _first_copies(self) -> list[UnitKey]:
        return [key for key in self.chosen.keys if key.copy == 0]

    @property
    def resident(self) -> Resident:
        """All rows in memory, decoded when first needed."""
        with self._lock:
            if self._resident is None:
                units = [n for n, key in enumerate(self.chosen.keys) if key.copy == 0]
                data = Resident(self.layout, self.chosen.counts[units])
                source = self._source
                place = {unit: number for number, unit in enumerate(units)}

                buffers = self.workspace.buffers

                def load(unit: int) -> None:
                    data.fill(place[unit], source.load(unit, buffers))

                self._map_units(load, units, "decoding into memory")
                data.seal()
                self._resident = data
            return self._resident

    @property
    def spill(self) -> Spill:
        """All rows on disk in random shards, written when first needed."""
        with self._lock:
            if self._spill is None:
                options = self.options
                assert options.cache is not None
                spill = Spill(
                    self.layout,
                    self.chosen.counts,
                    options.cache,
                    shards=self.spill_shards,
                    seed=options.seed,
                )

                def in_threads(function: Callable[[int], None], units: Iterable[int]) -> None:
                    self._map_units(function, list(units), "shuffling onto disk")

                spill.write(self._source, in_threads)
                trim_heap()  # whole units were in memory, from here on it is small shards
                self._spill = spill
            return self._spill

    def close(self) -> None:
        """Forget the rows in memory and remove the files on disk, until they are needed again."""
        self.workspace.clear()
        with self._lock:
            self._resident = self._next_order = self._held = None
            if self._spill is not None:
                self._spill.close()
                self._spill = None

    def _map_units(self, function: Callable[[int], None], units: Sequence[int], what: str) -> None:
        """Call `function` for each unit in threads; the first error stops the rest."""
        threads = ThreadPoolExecutor(self.decoders, thread_name_prefix=THREAD_NAME)
        with threads as pool, self.timing(what):
            futures = [pool.submit(function, unit) for unit in units]
            try:
                for future in track(
                    as_completed(futures),
                    total=len(futures),
                    what=what,
                    enabled=self.options.progress,
                ):
                    future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


@dataclass(frozen=True, slots=True)
class _Timed:
    source: UnitSource
    timing: Timing
    turns: threading.Semaphore | None

    def load(self, unit: int, allocate: Allocate = np.empty) -> Any:
        turn = nullcontext() if self.turns is None else compute_slot(self.turns)
        with turn, self.timing("decode"):
            return self.source.load(unit, allocate)
