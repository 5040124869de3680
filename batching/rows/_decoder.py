"""`UnitDecoder`: reads units, in threads here or on a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.buffers import Allocate
from rootml._internal.helping import HelpingPool
from rootml._internal.progress import track
from rootml.batching.inputs._layout import Layout
from rootml.batching.rows._pipeline import THREAD_NAME
from rootml.batching.rows._unit_index import UnitIndex
from rootml.batching.rows._units import DatasetUnits, Decode, UnitJob, UnitSource
from rootml.batching.rows._watchdog import Watchdog
from rootml.storage.remote import compute_slot

if TYPE_CHECKING:
    from rootml.batching.inputs._layout import Prepared
    from rootml.batching.rows._timing import Timing
    from rootml.execution import RemoteFunction


class UnitDecoder:
    """Decodes the units of an index."""

    def __init__(self, index: UnitIndex, layout: Layout) -> None:
        self._index = index
        self.layout = layout
        self._lock = threading.Lock()
        self._remote: RemoteFunction[UnitJob, Prepared] | None = None
        self._slots = threading.Semaphore(index.options.threads)

    def __getstate__(self) -> dict[str, Any]:
        hidden = {"_lock", "_remote", "_slots"}
        return {key: value for key, value in self.__dict__.items() if key not in hidden}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._remote = None
        self._slots = threading.Semaphore(self._index.options.threads)

    @property
    def units_at_once(self) -> int:
        """Units that are decoded at the same time."""
        index = self._index
        return index.parallelism.units_at_once(rows=index.num_rows, units=len(index.keys))

    @property
    def helping(self) -> bool:
        """Whether idle threads help to decode a unit: all of them are for decoding."""
        return self.units_at_once <= self._index.options.threads

    @property
    def source(self) -> UnitSource:
        """The units of the dataset."""
        index, layout = self._index, self.layout
        label = layout.needs_label or any(key.label is not None for key in index.keys)
        read = index.dataset.read_task(layout.columns, label=label, weight=layout.weight)
        decode = Decode(replace(read, raw=layout.any_order, widen=False), layout)
        executor = index.parallelism.executor
        remote = None
        if executor is not None:
            with self._lock:
                if self._remote is None:
                    self._remote = executor.broadcast(decode, what="decoding")
                remote = self._remote
        units = DatasetUnits(decode, remote, index.partitions, index.selection, index.keys)
        return _TimedSource(units, index.timing, self._slots if remote is None else None)

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of one row; ragged fields count with their mean in the first unit with rows."""
        size = self.layout.row_bytes
        if not self.layout.ragged:
            return size
        first = int(np.flatnonzero(self._index.counts)[0])
        unit = self.source.load(first)
        lists = unit.ragged(0, unit.num_rows).values()
        values = sum(array.values.nbytes + array.offsets.nbytes for array in lists)
        return size + -(-values // unit.num_rows)

    def for_each(self, function: Callable[[int], None], units: Sequence[int], what: str) -> None:
        """Call `function` for each unit in threads; the first error stops the rest."""
        threads = HelpingPool(
            self.units_at_once, helping=self.helping, thread_name_prefix=THREAD_NAME
        )
        with threads as pool, self._index.timing(what):
            futures = [pool.submit(function, unit) for unit in units]
            enabled = self._index.options.progress
            done = self._as_completed(futures, units, what)
            try:
                for future in track(done, total=len(futures), what=what, enabled=enabled):
                    future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _as_completed(
        self, futures: Sequence[Future[None]], units: Sequence[int], what: str
    ) -> Iterator[Future[None]]:
        """`concurrent.futures.as_completed` with a watchdog."""
        left = dict(zip(futures, units, strict=True))
        source = self.source

        def describe() -> str:
            unit = next(iter(left.values()))
            return f"{what}, {len(left)} of {len(units)} units to go, {source.describe(unit)}"

        seconds = self._index.options.stall_seconds
        watchdog = Watchdog(seconds, threads=THREAD_NAME)
        while left:
            with watchdog.waiting(describe) as patience:
                while not (done := wait(left, patience.timeout, return_when=FIRST_COMPLETED).done):
                    patience.check()
            for future in done:
                del left[future]
                yield future

    def close(self) -> None:
        """Forget what was sent to a cluster."""
        with self._lock:
            self._remote = None


@dataclass(frozen=True, slots=True)
class _TimedSource:
    """Counts the time, and lets no more threads decode at a time than there are slots."""

    source: UnitSource
    timing: Timing
    slots: threading.Semaphore | None

    def load(self, unit: int, allocate: Allocate = np.empty) -> Any:  # as the source makes it
        slot = nullcontext() if self.slots is None else compute_slot(self.slots)
        with slot, self.timing("decode"):
            return self.source.load(unit, allocate)

    def describe(self, unit: int) -> str:
        return self.source.describe(unit)
