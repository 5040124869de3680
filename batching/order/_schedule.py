"""The order of an epoch at the level of indices: which rows make up which batches.

A schedule knows only numbers of rows. It never waits and never reads. So the same schedule drives
the pipeline, a resumed pipeline (which skips what was delivered), and the computation of what
other ranks have left over.

Rows are drawn in *blocks* of one or several batches, which costs the same for batches of 32 rows
as for 8192. Within a block the rows of a piece are always used in the piece's own order: whatever
the number of batches delivered, each piece is used up to a cursor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rootml.batching.kernels._permutation import permutation
from rootml.batching.order._rng import Counts, draw_counts
from rootml.batching.order._sharding import Piece


@dataclass(frozen=True, slots=True)
class Take:
    """Rows ``[start, stop)`` of piece number `piece` of the schedule."""

    piece: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that are gathered together and handed out as consecutive batches.

    Attributes:
        takes: Where the rows come from.
        positions: Position in the block of each row of the concatenated takes; None: as they come.
        sizes: Rows of each batch.
        finished: Pieces that no later block uses.
    """

    takes: tuple[Take, ...]
    positions: npt.NDArray[np.intp] | None
    sizes: tuple[int, ...]
    finished: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(self.sizes)


class Schedule(Protocol):
    """What the pipeline needs of a schedule."""

    @property
    def pieces(self) -> Sequence[Piece]:
        """The pieces; a `Take` names one by its number."""

    @property
    def sizes(self) -> Sequence[int]:
        """Rows of each batch."""

    def blocks(self) -> Iterator[Block]:
        """The blocks of the epoch, from its start; repeatable."""

    def left_after(self, batches: int) -> list[Piece]:
        """What remains of the pieces when `batches` batches have been delivered."""


def group_batches(sizes: Sequence[int], block_rows: int) -> Iterator[tuple[int, ...]]:
    """Group consecutive batches into blocks of at least one batch and about `block_rows` rows."""
    group: list[int] = []
    rows = 0
    for size in sizes:
        if group and rows + size > block_rows:
            yield tuple(group)
            group, rows = [], 0
        group.append(size)
        rows += size
    if group:
        yield tuple(group)


@dataclass(frozen=True)
class SequentialSchedule:
    """One piece after the other, as they stand: unshuffled data, or one permutation of all rows.

    Attributes:
        pieces: The pieces of this rank.
        rank_sizes: Batch sizes of the rank; of these, worker `worker` of `workers` makes every
            `workers`-th, so that batches taken in turn from the workers keep the order.
    """

    pieces: Sequence[Piece]
    rank_sizes: Sequence[int]
    block_rows: int
    worker: int = 0
    workers: int = 1

    @property
    def sizes(self) -> Sequence[int]:
        return self.rank_sizes[self.worker :: self.workers]

    def blocks(self) -> Iterator[Block]:
        cursor = _PieceCursor(self.pieces)
        for group in self._groups():
            if isinstance(group, int):
                cursor.advance(group)
                continue
            takes = cursor.advance(sum(group))
            yield Block(tuple(takes), None, group, tuple(cursor.finished()))

    def _groups(self) -> Iterator[tuple[int, ...] | int]:
        if self.workers == 1:
            yield from group_batches(self.rank_sizes, self.block_rows)
            return
        for number, size in enumerate(self.rank_sizes):
            yield (size,) if number % self.workers == self.worker else size

    def left_after(self, batches: int) -> list[Piece]:
        """Remaining pieces of the *rank* when it has delivered `batches` batches."""
        used = sum(self.rank_sizes[:batches])
        left = []
        for piece in self.pieces:
            skip = min(used, piece.rows)
            used -= skip
            if skip < piece.rows:
                left.append(replace(piece, start=piece.start + skip))
        return left


@dataclass
class _PieceCursor:
    pieces: Sequence[Piece]
    number: int = 0
    offset: int = 0
    _reported: int = 0

    def advance(self, rows: int) -> list[Take]:
        takes = []
        while rows:
            piece = self.pieces[self.number]
            step = min(rows, piece.rows - self.offset)
            start = piece.start + self.offset
            takes.append(Take(self.number, start, start + step))
            rows -= step
            self.offset += step
            if self.offset == piece.rows:
                self.number, self.offset = self.number + 1, 0
        return takes

    def finished(self) -> range:
        done = range(self._reported, self.number)
        self._reported = self.number
        return done


class RngMaker(Protocol):
    """Makes a fresh generator in the same state each time."""

    def __call__(self) -> np.random.Generator: ...


@dataclass(frozen=True)
class PoolSchedule:
    """Rows drawn from several open pieces of every source, in proportion to the rows remaining.

    The number of rows of each source in a block is hypergeometric in the rows that the source has
    left, exactly as if the whole shard were permuted, so files of one class each give batches as
    mixed as independent draws.

    Within a source the open pieces are used at rates in proportion to their sizes. Pieces that
    were opened one after the other are then used up one after the other, and each makes room for
    the next. At the start only one piece per source is open, and pieces are opened three times as
    fast as rows are delivered until `spare_rows` is in use: the first batch does not wait for a
    full buffer.

    When all open pieces of a source together have too few rows for a block, they are used up in
    it and further ones are opened whatever `spare_rows` says. At most two such generations are in
    memory at a time; `required_rows` says how much that is.

    Attributes:
        pieces: The pieces of this shard, in the order of the epoch within each source.
        sizes: Batch sizes of this shard.
        spare_rows: Rows that open pieces may occupy before they are needed.
    """

    pieces: Sequence[Piece]
    sizes: Sequence[int]
    block_rows: int
    spare_rows: int
    make_rng: RngMaker = field(repr=False)

    def blocks(self) -> Iterator[Block]:
        run = _PoolState(self)
        for group in group_batches(self.sizes, self.block_rows):
            yield run.block(group)

    def left_after(self, batches: int) -> list[Piece]:
        """Remaining pieces of this shard when it has delivered `batches` batches."""
        run = _PoolState(self)
        cursor = run.cursor
        for group in group_batches(self.sizes, self.block_rows):
            if batches <= 0:
                break
            before = cursor.copy()
            block = run.block(group)
            if batches < len(group):
                cursor = before
                for take, rows in zip(block.takes, used_by(block, batches), strict=True):
                    cursor[take.piece] += rows
                break
            batches -= len(group)
        return [
            replace(piece, start=int(at))
            for piece, at in zip(self.pieces, cursor, strict=True)
            if at < piece.stop
        ]


def used_by(block: Block, batches: int) -> list[int]:
    """How many rows of each take are in the first `batches` batches of a block of a pool."""
    end = sum(block.sizes[:batches])
    if block.positions is None:
        return [end]
    ends = np.cumsum([take.stop - take.start for take in block.takes])
    return [int(np.searchsorted(part, end)) for part in np.split(block.positions, ends[:-1])]


def required_rows(largest: Sequence[int], block_rows: int) -> int:
    """Rows that a pool may need beyond its `spare_rows`.

    Args:
        largest: Rows of the largest piece of each source.
    """
    return 2 * (sum(largest) + block_rows)


class _PoolState:
    """The state of one pass over a `PoolSchedule`."""

    def __init__(self, schedule: PoolSchedule) -> None:
        pieces = schedule.pieces
        self.schedule = schedule
        self.rng = schedule.make_rng()
        self.rows = np.array([piece.rows for piece in pieces], dtype=np.int64)
        self.cursor = np.array([piece.start for piece in pieces], dtype=np.int64)
        self.stop = np.array([piece.stop for piece in pieces], dtype=np.int64)
        names = sorted({piece.source for piece in pieces})
        self.waiting = [
            [i for i, piece in enumerate(pieces) if piece.source == name][::-1] for name in names
        ]
        self.open: list[list[int]] = [[] for _ in names]
        self.left: Counts = np.array(
            [sum(pieces[i].rows for i in queue) for queue in self.waiting], dtype=np.int64
        )
        self.open_rows = [0] * len(names)
        self.free = schedule.spare_rows
        self.delivered = 0
        self.opened = 0

    def block(self, group: tuple[int, ...]) -> Block:
        """The next block."""
        rows = sum(group)
        self._open_ahead()
        takes: list[Take] = []
        finished: list[int] = []
        for source, wanted in enumerate(draw_counts(self.rng, self.left, rows).tolist()):
            if wanted:
                self._draw(source, wanted, takes, finished)
        self.delivered += rows
        return Block(tuple(takes), self._mix(takes), group, tuple(finished))

    def _draw(self, source: int, wanted: int, takes: list[Take], finished: list[int]) -> None:
        if len(self.open[source]) == 1 and wanted < self.open_rows[source]:  # nothing to choose
            piece = self.open[source][0]
            start = self.cursor.item(piece)
            self.cursor[piece] = start + wanted
            takes.append(Take(piece, start, start + wanted))
            self.left[source] -= wanted
            self.open_rows[source] -= wanted
            return
        drained = len(self.open[source]) if self.open_rows[source] < wanted else 0
        while self.open_rows[source] < wanted:
            self._open(source)
        opened = np.array(self.open[source], dtype=np.int64)
        starts = self.cursor[opened]
        left = self.stop[opened] - starts
        counts = left.copy()
        rest = wanted - int(left[:drained].sum())
        counts[drained:] = self._spread(self.rows[opened[drained:]], left[drained:], rest)
        ends = starts + counts
        self.cursor[opened] = ends
        takes.extend(
            Take(piece, start, end)
            for piece, start, end in zip(
                self.open[source], starts.tolist(), ends.tolist(), strict=True
            )
            if end > start
        )
        done = opened[counts == left].tolist()
        if done:
            finished.extend(done)
            self.free += int(self.rows[done].sum())
            self.open[source] = opened[counts < left].tolist()
        self.left[source] -= wanted
        self.open_rows[source] -= wanted

    def _spread(self, rates: Counts, left: Counts, wanted: int) -> Counts:
        """How many of `wanted` rows come from each piece, at random at the given rates."""
        counts = np.zeros_like(left)
        while (missing := wanted - int(counts.sum())) > 0:
            active = np.where(counts < left, rates, 0)
            picks = self.rng.multinomial(missing, active / active.sum())
            counts = np.minimum(counts + picks, left)
        return counts

    def _mix(self, takes: list[Take]) -> npt.NDArray[np.intp] | None:
        """A random set of positions in the block for the rows of each take, ascending.

        None: there is one take, whose rows are in random order already.
        """
        if len(takes) == 1:
            return None
        ends = np.cumsum([take.stop - take.start for take in takes])
        rows = int(ends[-1])
        dtype = np.uint16 if rows <= 1 << 16 else np.uint32  # short numbers are sorted faster
        positions = permutation(self.rng, rows, dtype)
        for part in np.split(positions, ends[:-1]):
            part.sort()
        return positions.astype(np.intp)

    def _open_ahead(self) -> None:
        while self.opened <= 3 * self.delivered:
            hungry = [s for s, queue in enumerate(self.waiting) if queue]
            if not hungry:
                return
            source = min(hungry, key=lambda s: self.open_rows[s] / max(1, int(self.left[s])))
            if self.rows[self.waiting[source][-1]] > self.free:
                return
            self._open(source)

    def _open(self, source: int) -> None:
        piece = self.waiting[source].pop()
        rows = int(self.rows[piece])
        self.open[source].append(piece)
        self.open_rows[source] += rows
        self.free -= rows
        self.opened += rows
