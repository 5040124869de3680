"""Where decoded rows wait for their block: a store per mode, behind one small interface."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Buffers
from rootml._internal.helping import for_each
from rootml.batching.inputs._layout import (
    Dense,
    Layout,
    Ragged,
    join_ragged,
    slice_ragged,
    take_ragged,
)
from rootml.batching.kernels._permutation import permutation
from rootml.batching.order._rng import Purpose, generator
from rootml.batching.order._schedule import Block, Take
from rootml.batching.order._sharding import Piece
from rootml.batching.rows._records import RecordLayout, RowBuffer, take_rows
from rootml.batching.rows._units import Unit, UnitSource

_IDLE_BYTES = 160 << 20
_MIN_THREAD_BYTES = 1 << 19
_MAX_EXTENTS = 6
_MANY_ROWS = 1 << 12
"""Blocks of more rows are gathered by two threads while nothing is being loaded."""
_SHARED_ROWS = 1 << 15
"""Rows that one of several threads writes to the arena at a time."""

Slots = npt.NDArray[np.int64]
Stage = Callable[[str], Any]
"""``with stage("decode"): ...`` adds the time spent to that stage."""


class Store(Protocol):
    """Loads the pieces of a schedule in the background and gathers their rows."""

    def has_empty_like(self, piece: int) -> bool:
        """Whether the piece may be loaded now, ahead of its turn."""

    def submit(self, piece: int) -> None:
        """Begin to load a piece (once)."""

    def prepare(self, pieces: Iterable[int]) -> None:
        """Pieces that are going to be submitted, the first ones first, when there is room."""

    def wait(self, piece: int) -> None:
        """Wait until the piece is loaded; raise what its loading raised."""

    def gather(self, block: Block) -> tuple[Dense, Ragged]:
        """The rows of a block, whose pieces are all loaded."""

    def release(self, piece: int) -> None:
        """Forget a piece that no later block uses."""

    def describe(self, piece: int) -> str:
        """Where the piece comes from, for messages."""

    def close(self) -> None:
        """Give memory back; no thread uses this store any more."""


class Workspace:
    """Memory that the epochs of a loader use one after the other.

    Kept from epoch to epoch, because a system that gets it back hands it out zeroed, page by page:
    without this a tenth of an epoch's CPU time.

    Attributes:
        buffers: For decoded columns and for blocks.
    """

    def __init__(self) -> None:
        self.buffers = Buffers(_IDLE_BYTES)
        self._lock = threading.Lock()
        self._arena: RowBuffer | None = None

    def take_arena(self, layout: Layout, rows: int) -> RowBuffer:
        """Memory for `rows` rows: what was given back last, if it is as long."""
        with self._lock:
            kept, self._arena = self._arena, None
        if kept is not None and len(kept) == rows:
            return kept
        del kept
        return RecordLayout.of(layout).allocate(rows)

    def give_arena(self, arena: RowBuffer) -> None:
        """Keep the arena; nobody may use it any more."""
        with self._lock:
            self._arena = arena

    def clear(self) -> None:
        """Give everything back to the system."""
        self.buffers.clear()
        with self._lock:
            self._arena = None


class SequentialStore:
    """Units in natural order: rows go straight from the decoded columns into the block."""

    def __init__(
        self,
        layout: Layout,
        pieces: Sequence[Piece],
        source: UnitSource,
        pool: Executor,
        *,
        ahead: int,
        buffers: Buffers,
    ) -> None:
        self._buffers = buffers
        self._layout = layout
        self._pieces = pieces
        self._source = source
        self._pool = pool
        self._ahead = ahead
        self._futures: dict[int, Future[Unit]] = {}

    def has_empty_like(self, piece: int) -> bool:  # noqa: ARG002
        return len(self._futures) < self._ahead

    def submit(self, piece: int) -> None:
        self._futures[piece] = self._pool.submit(
            self._source.load, self._pieces[piece].unit, self._buffers
        )

    def prepare(self, pieces: Iterable[int]) -> None: ...

    def wait(self, piece: int) -> None:
        self._futures[piece].result()

    def gather(self, block: Block) -> tuple[Dense, Ragged]:
        dense = self._layout.allocate(block.rows, self._buffers)
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

    def describe(self, piece: int) -> str:
        return self._source.describe(self._pieces[piece].unit)

    def close(self) -> None:
        self._futures.clear()


class Resident:
    """All rows of the selection in memory, decoded once, shared by all epochs and iterators."""

    def __init__(self, layout: Layout, counts: npt.NDArray[np.int64]) -> None:
        self.num_rows = int(counts.sum())
        self.dense = layout.allocate(self.num_rows)
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        self._parts: list[Ragged] = [{} for _ in counts]
        self.lists: Ragged = {}

    def fill(self, number: int, unit: Unit) -> None:
        """Put the rows of unit `number` into their slots."""
        start, stop = int(self._starts[number]), int(self._starts[number + 1])
        _fill(unit, [(start, stop)], self.dense)
        self._parts[number] = unit.ragged(0, stop - start)

    def seal(self) -> None:
        """All units are there."""
        self.lists = join_ragged(self._parts)
        self._parts = []


class ResidentStore:
    """One global permutation of all rows in memory; nothing is left to load.

    The threads that decode for other stores help to gather here.
    """

    def __init__(
        self,
        data: Resident,
        order: npt.NDArray[np.int64],
        pool: Executor,
        *,
        threads: int,
        buffers: Buffers,
    ) -> None:
        self._buffers = buffers
        self._data = data
        self._order = order
        self._pool = pool
        self._threads = threads

    def has_empty_like(self, piece: int) -> bool:  # noqa: ARG002
        return True

    def submit(self, piece: int) -> None: ...

    def prepare(self, pieces: Iterable[int]) -> None: ...

    def wait(self, piece: int) -> None: ...

    def gather(self, block: Block) -> tuple[Dense, Ragged]:
        rows = _concatenate([self._order[take.start : take.stop] for take in block.takes])
        source = self._data.dense
        dense = _empty_like(source, len(rows), self._buffers)
        size = sum(values.nbytes for values in dense.values())
        parts = min(self._threads, 1 + size // _MIN_THREAD_BYTES)
        edges = np.linspace(0, len(rows), parts + 1).astype(np.int64).tolist()
        jobs = [
            self._pool.submit(take_rows, source, rows[low:high], dense, low)
            for low, high in itertools.pairwise(edges[:-1])
        ]
        take_rows(source, rows[edges[-2] :], dense, edges[-2])
        for job in jobs:
            job.result()
        return dense, {key: take_ragged(array, rows) for key, array in self._data.lists.items()}

    def release(self, piece: int) -> None: ...

    def describe(self, piece: int) -> str:  # noqa: ARG002
        return "rows in memory"

    def close(self) -> None: ...


Extent = tuple[int, int]
"""Rows ``[start, stop)`` of an arena."""


class _Extents:
    """Which rows of the arena are free. Memory that is handed out need not be contiguous."""

    def __init__(self, rows: int) -> None:
        self.free = rows
        self._extents: list[Extent] = [(0, rows)] if rows else []

    def take(self, rows: int) -> list[Extent]:
        """`rows` free rows, from the largest extents."""
        assert rows <= self.free, "the schedule counts on more room than there is"
        self.free -= rows
        self._extents.sort(key=lambda extent: extent[1] - extent[0])
        taken = []
        while rows:
            start, stop = self._extents.pop()
            if stop - start > rows:
                self._extents.append((start + rows, stop))
                stop = start + rows
            taken.append((start, stop))
            rows -= stop - start
        return taken

    def give_back(self, extents: Sequence[Extent]) -> None:
        """Free again, joined with free neighbours."""
        joined: list[Extent] = []
        for start, stop in sorted([*self._extents, *extents]):
            if joined and joined[-1][1] == start:
                joined[-1] = (joined[-1][0], stop)
            else:
                joined.append((start, stop))
        self._extents = joined
        self.free += sum(stop - start for start, stop in extents)


@dataclass(slots=True)
class _OpenPiece:
    """A piece in the arena.

    Attributes:
        slots: Arena row of each row of the piece, in the order in which the schedule uses them.
        ragged: The ragged fields, in that order.
    """

    extents: list[Extent]
    slots: Slots
    ragged: Ragged


class PoolStore:
    """Open units in one arena; a block is one gather from all over the arena.

    The size of the arena is fixed when it is made; a unit may lie in several extents of it.

    Args:
        ahead: Units that are loaded at the same time.
        prefetch: Units that are read before there is room for them in the arena, which is full
            most of the time. So a distant server is asked for several at once.
    """

    def __init__(
        self,
        layout: Layout,
        pieces: Sequence[Piece],
        source: UnitSource,
        pool: Executor,
        *,
        rows: int,
        key: tuple[int, int],
        stage: Stage,
        ahead: int,
        workspace: Workspace,
        prefetch: int = 0,
    ) -> None:
        self._workspace = workspace
        self._buffers = workspace.buffers
        self._layout = layout
        self._pieces = pieces
        self._source = source
        self._pool = pool
        self._key = key
        self._stage = stage
        self._ahead = ahead
        self._arena: RowBuffer | None = workspace.take_arena(layout, rows)
        self._free = _Extents(rows)
        self._loading: dict[int, Future[None]] = {}
        self._open: dict[int, _OpenPiece] = {}
        self._prefetch = prefetch
        self._prefetched: dict[int, Future[Unit]] = {}

    def has_empty_like(self, piece: int) -> bool:
        waiting = sum(not future.done() for future in self._loading.values())
        return waiting < self._ahead and self._pieces[piece].rows <= self._free.free

    def submit(self, piece: int) -> None:
        extents = self._free.take(self._pieces[piece].rows)
        early = self._prefetched.pop(piece, None)
        self._loading[piece] = self._pool.submit(self._load, piece, extents, early)

    def prepare(self, pieces: Iterable[int]) -> None:
        for piece in pieces:
            if len(self._prefetched) >= self._prefetch:
                return
            if piece not in self._prefetched:
                unit = self._pieces[piece].unit
                self._prefetched[piece] = self._pool.submit(self._source.load, unit, self._buffers)

    def wait(self, piece: int) -> None:
        future = self._loading.get(piece)
        if future is not None:
            future.result()
            del self._loading[piece]

    def _load(self, number: int, extents: list[Extent], early: Future[Unit] | None) -> None:
        piece = self._pieces[number]
        # what is loaded early was given to the same threads before this: it runs, or is done
        unit = self._source.load(piece.unit, self._buffers) if early is None else early.result()
        with self._stage("fill"):
            rng = generator(*self._key, Purpose.UNIT, piece.unit)
            order = permutation(rng, unit.num_rows)[piece.start : piece.stop]
            if piece.rows < unit.num_rows:
                rows = np.sort(order)
                unit, order = unit.take(rows), np.searchsorted(rows, order)
            _fill(unit, extents, self._records.dense)
            ragged = unit.ragged(0, unit.num_rows)
            ragged = {key: take_ragged(array, order) for key, array in ragged.items()}
            slots = _slots_of(extents, order)
        self._open[number] = _OpenPiece(extents, slots, ragged)

    def gather(self, block: Block) -> tuple[Dense, Ragged]:
        slots = _placed(_concatenate([self._slots(take) for take in block.takes]), block)
        records = self._records
        dense = _empty_like(records.dense, block.rows, self._buffers)
        idle = all(future.done() for future in self._loading.values())
        step = -(-block.rows // 2) if idle and block.rows > _MANY_ROWS else block.rows
        parts = [(low, min(low + step, block.rows)) for low in range(0, block.rows, step)]
        for_each(
            lambda part: records.gather(slots[slice(*part)], dense, part[0]),
            parts,
            pool=self._pool,
        )
        return dense, self._gather_ragged(block)

    @property
    def _records(self) -> RowBuffer:
        assert self._arena is not None, "the store is closed"
        return self._arena

    def _slots(self, take: Take) -> Slots:
        start = self._pieces[take.piece].start
        return self._open[take.piece].slots[take.start - start : take.stop - start]

    def _gather_ragged(self, block: Block) -> Ragged:
        if not self._layout.ragged:
            return {}
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
        order = _placed(np.arange(block.rows), block)
        return {key: take_ragged(array, order) for key, array in join_ragged(parts).items()}

    def release(self, piece: int) -> None:
        self._free.give_back(self._open.pop(piece).extents)

    def describe(self, piece: int) -> str:
        return self._source.describe(self._pieces[piece].unit)

    def close(self) -> None:
        self._open.clear()
        self._prefetched.clear()
        arena, self._arena = self._arena, None
        if arena is not None:
            self._workspace.give_arena(arena)


def _fill(unit: Unit, extents: Sequence[Extent], dense: Dense) -> None:
    """Write the rows of a unit to `extents`, one after the other; idle threads help."""
    parts, at = [], 0
    for start, stop in extents:
        for first in range(start, stop, _SHARED_ROWS):
            rows = min(stop - first, _SHARED_ROWS)
            parts.append((at, at + rows, first))
            at += rows
    for_each(lambda part: unit.fill(part[0], part[1], dense, part[2]), parts)


def _slots_of(extents: Sequence[Extent], order: Slots) -> Slots:
    """Arena rows of the rows `order` of a piece that lies in `extents`; changes `order`."""
    if len(extents) > _MAX_EXTENTS:
        return np.concatenate([np.arange(*extent) for extent in extents])[order]
    moves, ends, at = [], [], 0
    for start, stop in extents:
        moves.append(start - at)
        at += stop - start
        ends.append(at)
    behind = [order >= end for end in ends[:-1]]
    order += moves[0]
    for rows, (before, move) in zip(behind, itertools.pairwise(moves), strict=True):
        np.add(order, move - before, out=order, where=rows)
    return order


def _placed(rows: Slots, block: Block) -> Slots:
    """One number per row of the takes, in the order of the block."""
    if block.positions is None:
        return rows
    placed = np.empty_like(rows)
    placed[block.positions] = rows
    return placed


def _empty_like(source: Dense, rows: int, buffers: Buffers) -> Dense:
    return {key: buffers((rows, *v.shape[1:]), v.dtype) for key, v in source.items()}


def _concatenate(parts: Sequence[Slots]) -> Slots:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
