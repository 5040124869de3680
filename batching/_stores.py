"""Where decoded rows wait for their block: a store per mode, behind one small interface."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rootml.batching._layout import (
    Dense,
    Layout,
    Ragged,
    join_ragged,
    slice_ragged,
    take_ragged,
)
from rootml.batching._random import Purpose, stream
from rootml.batching._shares import Piece
from rootml.batching._units import Unit, UnitSource
from rootml.batching._walk import Block, Take

Slots = npt.NDArray[np.int64]
Stage = Callable[[str], Any]
"""``with stage("decode"): ...`` adds the time spent to that stage."""


class Store(Protocol):
    """Loads the pieces of a walk in the background and gathers their rows."""

    def has_room(self, piece: int) -> bool:
        """Whether the piece may be loaded now, ahead of its turn."""

    def submit(self, piece: int) -> None:
        """Begin to load a piece (once)."""

    def wait(self, piece: int) -> None:
        """Wait until the piece is loaded; raise what its loading raised."""

    def gather(self, block: Block) -> tuple[Dense, Ragged]:
        """The rows of a block, whose pieces are all loaded."""

    def release(self, piece: int) -> None:
        """Forget a piece that no later block uses."""


class ChainStore:
    """Units in natural order: rows go straight from the decoded columns into the block."""

    def __init__(
        self,
        layout: Layout,
        pieces: Sequence[Piece],
        source: UnitSource,
        pool: Executor,
        ahead: int,
    ) -> None:
        self._layout = layout
        self._pieces = pieces
        self._source = source
        self._pool = pool
        self._ahead = ahead
        self._futures: dict[int, Future[Unit]] = {}

    def has_room(self, piece: int) -> bool:
        return len(self._futures) < self._ahead

    def submit(self, piece: int) -> None:
        self._futures[piece] = self._pool.submit(self._source.load, self._pieces[piece].unit)

    def wait(self, piece: int) -> None:
        self._futures[piece].result()

    def gather(self, block: Block) -> tuple[Dense, Ragged]:
        dense = self._layout.allocate(block.rows)
        parts: list[Ragged] = []
        at = 0
        for take in block.takes:
            unit = self._futures[take.piece].result()
            unit.fill(take.start, take.stop, dense, at)
            parts.append(unit.ragged(take.start, take.stop))
            at += take.stop - take.start
        return dense, join_ragged(parts)

    def release(self, piece: int) -> None:
        self._futures.pop(piece, None)


class Resident:
    """All rows of the selection in memory, decoded once, shared by all epochs and iterators."""

    def __init__(self, layout: Layout, counts: npt.NDArray[np.int64]) -> None:
        self.num_rows = int(counts.sum())
        self.dense = layout.allocate(self.num_rows)
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        self._parts: list[Ragged] = [{} for _ in counts]
        self.lists: Ragged = {}

    def fill(self, number: int, unit: Unit) -> None:
        """Put the rows of unit `number` into their place."""
        start, stop = int(self._starts[number]), int(self._starts[number + 1])
        unit.fill(0, stop - start, self.dense, start)
        self._parts[number] = unit.ragged(0, stop - start)

    def seal(self) -> None:
        """All units are there."""
        self.lists = join_ragged(self._parts)
        self._parts = []


class ResidentStore:
    """One global permutation of all rows in memory; nothing is left to load."""

    def __init__(self, data: Resident, order: npt.NDArray[np.int64]) -> None:
        self._data = data
        self._order = order

    def has_room(self, piece: int) -> bool:
        return True

    def submit(self, piece: int) -> None: ...

    def wait(self, piece: int) -> None: ...

    def gather(self, block: Block) -> tuple[Dense, Ragged]:
        rows = _concatenate([self._order[take.start : take.stop] for take in block.takes])
        dense = {key: np.take(values, rows, axis=0) for key, values in self._data.dense.items()}
        return dense, {key: take_ragged(array, rows) for key, array in self._data.lists.items()}

    def release(self, piece: int) -> None: ...


@dataclass(slots=True)
class _OpenPiece:
    """A piece in the arena.

    Attributes:
        slots: Arena row of each row of the piece, in the order in which the walk uses them.
        ragged: The ragged fields, in that order.
    """

    slabs: list[int]
    slots: Slots
    ragged: Ragged


class PoolStore:
    """Open units in an arena of slabs; a block is one gather from all over the arena.

    Units differ in size, so each takes as many slabs as it needs, wherever they are: the arena
    does not fragment, and its size is fixed when it is made.
    """

    def __init__(
        self,
        layout: Layout,
        pieces: Sequence[Piece],
        source: UnitSource,
        pool: Executor,
        *,
        slabs: int,
        slab_rows: int,
        key: tuple[int, int],
        stage: Stage,
        ahead: int,
    ) -> None:
        self._layout = layout
        self._pieces = pieces
        self._source = source
        self._pool = pool
        self._slab_rows = slab_rows
        self._key = key
        self._stage = stage
        self._ahead = ahead
        self._arena = layout.allocate(slabs * slab_rows)
        self._free = list(range(slabs))[::-1]
        self._loading: dict[int, Future[None]] = {}
        self._open: dict[int, _OpenPiece] = {}
        self._lock = threading.Lock()

    def has_room(self, piece: int) -> bool:
        waiting = sum(not future.done() for future in self._loading.values())
        return waiting < self._ahead and self._slabs(piece) <= len(self._free)

    def _slabs(self, piece: int) -> int:
        return -(-self._pieces[piece].rows // self._slab_rows)

    def submit(self, piece: int) -> None:
        number = self._slabs(piece)
        assert number <= len(self._free), "the walk counts on more room than there is"
        slabs = sorted(self._free[len(self._free) - number :])
        del self._free[len(self._free) - number :]
        self._loading[piece] = self._pool.submit(self._load, piece, slabs)

    def wait(self, piece: int) -> None:
        future = self._loading.get(piece)
        if future is not None:
            future.result()
            del self._loading[piece]

    def _load(self, number: int, slabs: list[int]) -> None:
        piece = self._pieces[number]
        unit = self._source.load(piece.unit)
        with self._stage("fill"):
            rng = stream(*self._key, Purpose.UNIT, piece.unit)
            order = rng.permutation(unit.num_rows)[piece.start : piece.stop]
            if piece.rows < unit.num_rows:
                rows = np.sort(order)
                unit, order = unit.take(rows), np.searchsorted(rows, order)
            slots = self._place(unit, slabs)
            ragged = unit.ragged(0, unit.num_rows)
            ragged = {key: take_ragged(array, order) for key, array in ragged.items()}
        opened = _OpenPiece(slabs, slots[order], ragged)
        with self._lock:
            self._open[number] = opened

    def _place(self, unit: Unit, slabs: list[int]) -> Slots:
        size = self._slab_rows
        starts = np.array(slabs, dtype=np.int64) * size
        slots: Slots = (starts[:, None] + np.arange(size)).ravel()[: unit.num_rows]
        breaks = np.flatnonzero(np.diff(starts) != size) + 1
        for run in np.split(np.arange(len(slabs)), breaks):
            first, last = int(run[0]) * size, min(unit.num_rows, (int(run[-1]) + 1) * size)
            unit.fill(first, last, self._arena, int(starts[run[0]]))
        return slots

    def gather(self, block: Block) -> tuple[Dense, Ragged]:
        assert block.places is not None
        found = _concatenate([self._slots(take) for take in block.takes])
        slots = np.empty_like(found)
        slots[block.places] = found
        dense = {key: np.take(values, slots, axis=0) for key, values in self._arena.items()}
        return dense, self._gather_ragged(block)

    def _slots(self, take: Take) -> Slots:
        start = self._pieces[take.piece].start
        return self._open[take.piece].slots[take.start - start : take.stop - start]

    def _gather_ragged(self, block: Block) -> Ragged:
        if not self._layout.ragged:
            return {}
        assert block.places is not None
        parts = []
        for take in block.takes:
            start = self._pieces[take.piece].start
            mine = self._open[take.piece].ragged
            parts.append(
                {
                    key: slice_ragged(array, take.start - start, take.stop - start)
                    for key, array in mine.items()
                }
            )
        order = np.empty(block.rows, dtype=np.int64)
        order[block.places] = np.arange(block.rows)
        return {key: take_ragged(array, order) for key, array in join_ragged(parts).items()}

    def release(self, piece: int) -> None:
        self._free.extend(self._open.pop(piece).slabs)


def _concatenate(parts: Sequence[Slots]) -> Slots:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
