"""`ShufflePolicy`: in which mode rows are shuffled, and how an epoch is divided up for that."""

from __future__ import annotations

import numpy as np

from rootml._internal.sizes import format_bytes
from rootml.batching._options import Options
from rootml.batching.order._plan import Mode, Sharding
from rootml.batching.order._schedule import required_rows
from rootml.batching.rows._decoder import UnitDecoder
from rootml.batching.rows._records import RecordLayout
from rootml.batching.rows._unit_index import UnitIndex
from rootml.errors import BufferTooSmallError

_BLOCK_ROWS = 16_384
_BLOCK_BYTES = 8 << 20
_ORDER_BYTES = np.dtype(np.int64).itemsize
_SHARDS_IN_BUFFER = 32


class ShufflePolicy:
    """Chooses the mode by the size of the selection and of the buffer."""

    def __init__(self, options: Options, index: UnitIndex, decoder: UnitDecoder) -> None:
        self._options = options
        self._index = index
        self._decoder = decoder
        self._spill_shards: int | None = None

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self._decoder.row_bytes

    @property
    def record_bytes(self) -> int:
        """Bytes of one row in the buffer of a pool."""
        layout = self._decoder.layout
        return self.row_bytes - layout.row_bytes + RecordLayout.of(layout).size

    def mode(self, workers: int) -> Mode:
        """How rows are mixed when a rank has `workers` workers, which share its buffer."""
        if not self._options.shuffle:
            return "sequential"
        if self.resident_bytes <= self._options.buffer_bytes // workers:
            return "resident"
        return "disk" if self._options.cache is not None else "pool"

    @property
    def resident_bytes(self) -> int:
        """Bytes that all selected rows take in memory, with the orders of two epochs."""
        index = self._index
        rows = sum(index.keys[number].rows for number in index.originals)
        return rows * self.row_bytes + 2 * index.num_rows * _ORDER_BYTES

    def sharding(self, mode: Mode, world: int, workers: int) -> Sharding:
        """How an epoch is shared out with this buffer.

        Raises:
            BufferTooSmallError: The buffer cannot hold the units that must be open.
        """
        options = self._options
        block_rows = self._block_rows
        if mode in {"sequential", "resident"}:
            return Sharding(world, workers, options.batch_size, options.drop_last, block_rows)
        rows = self.buffer_rows(workers)
        largest = self._largest_units(mode)
        for block in (block_rows, min(block_rows, options.batch_size)):
            spare = rows - required_rows(largest, block)
            if spare >= 0:
                return Sharding(
                    world, workers, options.batch_size, options.drop_last, block, spare
                )
        raise self._too_small(largest, workers)

    def buffer_rows(self, workers: int) -> int:
        """Rows that fit into the buffer of one of `workers` workers."""
        return self._options.buffer_bytes // workers // self.record_bytes

    @property
    def _block_rows(self) -> int:
        size = min(self._options.batch_size, self._index.num_rows)
        rows = min(_BLOCK_ROWS, _BLOCK_BYTES // max(1, self.row_bytes))
        return size * max(1, rows // size)

    def _largest_units(self, mode: Mode) -> list[int]:
        """Rows of the largest unit of each source."""
        if mode == "disk":
            return [-(-self._index.num_rows // self.spill_shards)]
        counts, sources = self._index.counts, self._index.sources
        return [int(counts[sources == source].max()) for source in np.unique(sources)]

    def _too_small(self, largest: list[int], workers: int) -> BufferTooSmallError:
        rows = required_rows(largest, min(self._block_rows, self._options.batch_size))
        needed = -(-rows * self.record_bytes * workers // 1000) * 1000
        message = (
            f"{self._index.dataset}: buffer_bytes={format_bytes(self._options.buffer_bytes)} "
            "cannot hold the units that shuffling must have open: two of each of "
            f"{len(largest)} source(s), the largest of {max(largest):,} rows of "
            f"{self.record_bytes} bytes, and two batches"
            + (f", for each of {workers} workers" if workers > 1 else "")
            + f"; it needs at least {needed / 1e6:.3f} MB"
            + ("" if self._options.cache else ", or cache=folder for a shuffle on disk")
        )
        return BufferTooSmallError(message)

    @property
    def spill_shards(self) -> int:
        """Number of shards on disk: small enough that several fit into a worker's buffer."""
        if self._spill_shards is None:
            rows = self._index.num_rows
            size = max(1, self._options.buffer_bytes // _SHARDS_IN_BUFFER)
            self._spill_shards = min(rows, max(2, -(-rows * self.row_bytes // size)))
        return self._spill_shards

    def adopt_spill_shards(self, shards: int) -> None:
        """Use the number of shards of a saved state."""
        self._spill_shards = shards
