"""From the units of a dataset to the walk of one shard in one epoch, also after a resume.

Pseudo-code::

    pieces = all rows of all units, units in the order of (seed, epoch)
    for segment in the parts of the epoch that are already delivered:   # none, one, or a chain
        walks = the walks of all shards of that segment
        pieces = what those walks leave after the batches they delivered
    deal the pieces to the shards of (world, workers); return the walk of (rank, worker)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rootml.batching.order._rng import Purpose, stream
from rootml.batching.order._schedule import ChainWalk, PoolWalk, Walk
from rootml.batching.order._sharding import Piece, batch_sizes, cut_chain, deal
from rootml.errors import StateError

Mode = Literal["sequential", "resident", "disk", "pool"]


@dataclass(frozen=True, slots=True)
class Sharing:
    """How an epoch, or the rest of one, is shared out; two equal ones give the same order.

    Attributes:
        world: Ranks.
        workers: Loader workers per rank.
        room: Rows of units that a pool opens before they are needed.
    """

    world: int
    workers: int
    batch_size: int
    drop_last: bool
    block_rows: int
    room: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of an epoch that was delivered: `batches` batches per rank under `sharing`."""

    sharing: Sharing
    batches: int

    def to_json(self) -> dict[str, Any]:
        """As plain numbers."""
        return {**asdict(self.sharing), "batches": self.batches}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Segment:
        """The inverse of `to_json`."""
        try:
            rest = {name: value for name, value in values.items() if name != "batches"}
            return cls(Sharing(**rest), int(values["batches"]))
        except (TypeError, KeyError) as error:
            message = f"not a segment of a loader state: {dict(values)!r}"
            raise StateError(message) from error


@dataclass(frozen=True)
class EpochPlan:
    """Who reads which rows when, in one epoch.

    Attributes:
        mode: ``"sequential"`` and ``"resident"`` walk along chains of rows, ``"pool"`` and
            ``"disk"`` draw from several open units.
        counts: Rows of each unit.
        sources: Source of each unit; the sources of a pool are mixed in proportion.
    """

    mode: Mode
    counts: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]
    seed: int
    epoch: int
    history: tuple[Segment, ...] = ()

    @property
    def chained(self) -> bool:
        """Whether rows follow one another along a chain of units."""
        return self.mode in {"sequential", "resident"}

    def walk(self, sharing: Sharing, rank: int, worker: int) -> Walk:
        """The walk of one worker of one rank."""
        pieces, number = self._left
        return self._walks(pieces, sharing, number, only=(rank, worker))[0]

    @property
    def rows_left(self) -> int:
        """Rows that are still to be delivered, over all ranks."""
        return sum(piece.rows for piece in self._left[0])

    def batches(self, sharing: Sharing, rank: int) -> int:
        """Batches that a rank gets of the rows that are still to be delivered."""
        return len(_sizes(self.rows_left, sharing)[rank]) if self.rows_left else 0

    @functools.cached_property
    def _left(self) -> tuple[list[Piece], int]:
        pieces = self._all_pieces()
        for number, segment in enumerate(self.history):
            pieces = self._left_after(pieces, segment, number)
        return pieces, len(self.history)

    def _all_pieces(self) -> list[Piece]:
        rows = self.counts.tolist()
        units = np.flatnonzero(self.counts)
        if not self.chained:
            rng = stream(self.seed, self.epoch, Purpose.ORDER)
            units = rng.permutation(units)
        sources = self.sources.tolist()
        return [Piece(int(unit), 0, rows[unit], sources[unit]) for unit in units]

    def _left_after(self, pieces: list[Piece], segment: Segment, number: int) -> list[Piece]:
        sharing = segment.sharing
        if self.chained:
            walks = self._walks(pieces, sharing, number)
            return [piece for walk in walks for piece in walk.left_after(segment.batches)]
        left: list[Piece] = []
        for index, walk in enumerate(self._walks(pieces, sharing, number)):
            worker = index % sharing.workers
            delivered = -(-(segment.batches - worker) // sharing.workers)
            left += walk.left_after(max(0, delivered))
        rng = stream(self.seed, self.epoch, Purpose.ORDER, number + 1)
        return [left[i] for i in rng.permutation(len(left))]

    def _walks(
        self,
        pieces: list[Piece],
        sharing: Sharing,
        number: int,
        only: tuple[int, int] | None = None,
    ) -> Sequence[Walk]:
        sizes = _sizes(sum(piece.rows for piece in pieces), sharing)
        if self.chained:
            return self._chains(pieces, sharing, sizes, only)
        return self._pools(pieces, sharing, sizes, number, only)

    def _chains(
        self,
        pieces: list[Piece],
        sharing: Sharing,
        sizes: list[list[int]],
        only: tuple[int, int] | None,
    ) -> list[Walk]:
        """Whole ranks (for a history), or the one worker asked for."""
        cut = cut_chain(pieces, [sum(rank) for rank in sizes])
        shards = [(rank, 0, 1) for rank in range(sharing.world)]
        if only is not None:
            shards = [(*only, sharing.workers)]
        return [
            ChainWalk(cut[rank], sizes[rank], sharing.block_rows, worker, workers)
            for rank, worker, workers in shards
        ]

    def _pools(
        self,
        pieces: list[Piece],
        sharing: Sharing,
        sizes: list[list[int]],
        number: int,
        only: tuple[int, int] | None,
    ) -> list[Walk]:
        shards = [
            (rank, worker) for rank in range(sharing.world) for worker in range(sharing.workers)
        ]
        parts = [sizes[rank][worker :: sharing.workers] for rank, worker in shards]
        rng = stream(self.seed, self.epoch, Purpose.DEAL, number)
        dealt = deal(pieces, [sum(part) for part in parts], rng)
        wanted = range(len(shards)) if only is None else [shards.index(only)]
        return [
            PoolWalk(
                dealt[shard],
                parts[shard],
                sharing.block_rows,
                sharing.room,
                functools.partial(
                    stream, self.seed, self.epoch, Purpose.WALK, (number << 32) + shard
                ),
            )
            for shard in wanted
        ]


def _sizes(rows: int, sharing: Sharing) -> list[list[int]]:
    return batch_sizes(rows, sharing.batch_size, sharing.world, drop_last=sharing.drop_last)
