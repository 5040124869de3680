"""`RowCache`: decoded rows that are kept between epochs, in memory or on disk."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import trim_heap
from rootml.batching._options import Options
from rootml.batching.inputs._layout import Layout
from rootml.batching.kernels._permutation import permutation
from rootml.batching.order._balance import resampled_rows
from rootml.batching.order._rng import Purpose, generator
from rootml.batching.rows._decoder import UnitDecoder
from rootml.batching.rows._shuffle_policy import ShufflePolicy
from rootml.batching.rows._spill import Spill
from rootml.batching.rows._stores import Resident, Workspace
from rootml.batching.rows._unit_index import UnitIndex
from rootml.errors import StateError

Order = npt.NDArray[np.int64]
_PROCESS_LOCAL = {"_lock", "_resident", "_next_order", "workspace"}


class RowCache:
    """Makes what a mode keeps when it is first needed, once for all shards of a loader.

    Attributes:
        workspace: Memory that the epochs use one after the other.
    """

    def __init__(
        self,
        options: Options,
        layout: Layout,
        index: UnitIndex,
        decoder: UnitDecoder,
        policy: ShufflePolicy,
    ) -> None:
        self._options = options
        self._layout = layout
        self._index = index
        self._decoder = decoder
        self._policy = policy
        self._spill: Spill | None = None
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._resident: Resident | None = None
        self._next_order: tuple[int, Order] | None = None
        self.workspace = Workspace()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in _PROCESS_LOCAL}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    @property
    def resident(self) -> Resident:
        """All rows in memory, decoded when first needed."""
        with self._lock:
            if self._resident is None:
                self._resident = self._decode_all()
            return self._resident

    def _decode_all(self) -> Resident:
        units = self._index.originals
        data = Resident(self._layout, self._index.counts[list(units)])
        source = self._decoder.source
        numbers = {unit: number for number, unit in enumerate(units)}
        buffers = self.workspace.buffers

        def load(unit: int) -> None:
            data.fill(numbers[unit], source.load(unit, buffers))

        self._decoder.for_each(load, units, "decoding into memory")
        data.seal()
        return data

    @property
    def spill(self) -> Spill:
        """All rows on disk in random shards, written when first needed."""
        with self._lock:
            if self._spill is None:
                self._spill = self._write_spill()
            return self._spill

    def _write_spill(self) -> Spill:
        options = self._options
        assert options.cache is not None
        shards = self._policy.spill_shards
        spill = Spill(
            self._layout, self._index.counts, options.cache, shards=shards, seed=options.seed
        )

        def in_threads(function: Callable[[int], None], units: Iterable[int]) -> None:
            self._decoder.for_each(function, list(units), "shuffling onto disk")

        spill.write(self._decoder.source, in_threads)
        trim_heap()  # whole units were in memory, from here on it is small shards
        return spill

    def adopt_spill_shards(self, shards: int) -> None:
        """Use the number of shards of a saved state.

        Raises:
            StateError: The shards are on disk already, and their number is another one.
        """
        if self._spill is not None and len(self._spill.counts) != shards:
            message = (
                f"the state needs {shards} shards of the shuffle cache, this loader has "
                f"already made {len(self._spill.counts)}; load the state before the first epoch"
            )
            raise StateError(message)
        self._policy.adopt_spill_shards(shards)

    # --- the order of rows in memory ----------------------------------------------------------

    def order_of(self, epoch: int, pool: concurrent.futures.Executor) -> Order:
        """The order of an epoch; that of the next epoch is drawn in the background meanwhile."""
        with self._lock:
            kept, self._next_order = self._next_order, None
        order = kept[1] if kept is not None and kept[0] == epoch else self._draw_order(epoch)

        def draw() -> None:
            following = self._draw_order(epoch + 1)
            with self._lock:
                self._next_order = (epoch + 1, following)

        pool.submit(draw)
        return order

    def _draw_order(self, epoch: int) -> Order:
        seed, resample = self._options.seed, self._options.resample
        rng = generator(seed, epoch, Purpose.UNIT)
        if resample is None:
            return permutation(rng, self.resident.num_rows)
        return rng.permutation(resampled_rows(self._rows_of_classes(), resample, seed, epoch))

    def _rows_of_classes(self) -> list[Order]:
        """Numbers of the rows of each class."""
        keys = [self._index.keys[number] for number in self._index.originals]
        ends = np.cumsum([key.rows for key in keys]).tolist()
        ranges: dict[int, list[Order]] = {}
        for key, end in zip(keys, ends, strict=True):
            ranges.setdefault(key.source, []).append(np.arange(end - key.rows, end))
        return [np.concatenate(ranges[source]) for source in sorted(ranges)]

    def close(self) -> None:
        """Free the memory and remove the files, until they are needed again."""
        self.workspace.clear()
        with self._lock:
            self._resident = self._next_order = None
            if self._spill is not None:
                self._spill.close()
                self._spill = None
