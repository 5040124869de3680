"""From the units of a dataset to the schedule of one shard in one epoch, also after a resume.

Pseudo-code::

    pieces = all rows of all units, units in the order of (seed, epoch)
    for segment in the parts of the epoch that are already delivered:   # none, one, or a chain
        schedules = the schedules of all shards of that segment
        pieces = what those schedules leave after the batches they delivered
    deal the pieces to the shards of (world, workers); return the schedule of (rank, worker)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rootml.batching.order._rng import Purpose, generator
from rootml.batching.order._schedule import PoolSchedule, Schedule, SequentialSchedule
from rootml.batching.order._sharding import Piece, batch_sizes, cut_chain, distribute
from rootml.errors import StateError

Mode = Literal["sequential", "resident", "disk", "pool"]


@dataclass(frozen=True, slots=True)
class Sharding:
    """How an epoch, or the rest of one, is shared out; two equal ones give the same order.

    Attributes:
        world: Ranks.
        workers: Loader workers per rank.
        spare_rows: Rows of units that a pool opens before they are needed.
    """

    world: int
    workers: int
    batch_size: int
    drop_last: bool
    block_rows: int
    spare_rows: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of an epoch that was delivered: `batches` batches per rank under `sharding`."""

    sharding: Sharding
    batches: int

    def to_json(self) -> dict[str, Any]:
        """As plain numbers."""
        return {**asdict(self.sharding), "batches": self.batches}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Segment:
        """The inverse of `to_json`."""
        try:
            rest = {name: value for name, value in values.items() if name != "batches"}
            return cls(Sharding(**rest), int(values["batches"]))
        except (TypeError, KeyError) as error:
            message = f"not a segment of a loader state: {dict(values)!r}"
            raise StateError(message) from error


@dataclass(frozen=True)
class EpochPlan:
    """Who reads which rows when, in one epoch.

    Attributes:
        mode: ``"sequential"`` and ``"resident"`` schedule along chains of rows, ``"pool"`` and
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

    def schedule(self, sharding: Sharding, rank: int, worker: int) -> Schedule:
        """The schedule of one worker of one rank."""
        pieces, number = self._left
        return self._schedules(pieces, sharding, number, only=(rank, worker))[0]

    @property
    def rows_left(self) -> int:
        """Rows that are still to be delivered, over all ranks."""
        return sum(piece.rows for piece in self._left[0])

    def batches(self, sharding: Sharding, rank: int) -> int:
        """Batches that a rank gets of the rows that are still to be delivered."""
        return len(_sizes(self.rows_left, sharding)[rank]) if self.rows_left else 0

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
            rng = generator(self.seed, self.epoch, Purpose.ORDER)
            units = rng.permutation(units)
        sources = self.sources.tolist()
        return [Piece(int(unit), 0, rows[unit], sources[unit]) for unit in units]

    def _left_after(self, pieces: list[Piece], segment: Segment, number: int) -> list[Piece]:
        sharding = segment.sharding
        if self.chained:
            schedules = self._schedules(pieces, sharding, number)
            return [
                piece for schedule in schedules for piece in schedule.left_after(segment.batches)
            ]
        left: list[Piece] = []
        for index, schedule in enumerate(self._schedules(pieces, sharding, number)):
            worker = index % sharding.workers
            delivered = -(-(segment.batches - worker) // sharding.workers)
            left += schedule.left_after(max(0, delivered))
        rng = generator(self.seed, self.epoch, Purpose.ORDER, number + 1)
        return [left[i] for i in rng.permutation(len(left))]

    def _schedules(
        self,
        pieces: list[Piece],
        sharding: Sharding,
        number: int,
        only: tuple[int, int] | None = None,
    ) -> Sequence[Schedule]:
        sizes = _sizes(sum(piece.rows for piece in pieces), sharding)
        if self.chained:
            return self._chains(pieces, sharding, sizes, only)
        return self._pools(pieces, sharding, sizes, number, only)

    def _chains(
        self,
        pieces: list[Piece],
        sharding: Sharding,
        sizes: list[list[int]],
        only: tuple[int, int] | None,
    ) -> list[Schedule]:
        """Whole ranks (for a history), or the one worker asked for."""
        cut = cut_chain(pieces, [sum(rank) for rank in sizes])
        shards = [(rank, 0, 1) for rank in range(sharding.world)]
        if only is not None:
            shards = [(*only, sharding.workers)]
        return [
            SequentialSchedule(cut[rank], sizes[rank], sharding.block_rows, worker, workers)
            for rank, worker, workers in shards
        ]

    def _pools(
        self,
        pieces: list[Piece],
        sharding: Sharding,
        sizes: list[list[int]],
        number: int,
        only: tuple[int, int] | None,
    ) -> list[Schedule]:
        shards = [
            (rank, worker) for rank in range(sharding.world) for worker in range(sharding.workers)
        ]
        parts = [sizes[rank][worker :: sharding.workers] for rank, worker in shards]
        rng = generator(self.seed, self.epoch, Purpose.SHARD, number)
        shares = distribute(pieces, [sum(part) for part in parts], rng)
        wanted = range(len(shards)) if only is None else [shards.index(only)]
        return [
            PoolSchedule(
                shares[shard],
                parts[shard],
                sharding.block_rows,
                sharding.spare_rows,
                functools.partial(
                    generator, self.seed, self.epoch, Purpose.SCHEDULE, (number << 32) + shard
                ),
            )
            for shard in wanted
        ]


def _sizes(rows: int, sharding: Sharding) -> list[list[int]]:
    return batch_sizes(rows, sharding.batch_size, sharding.world, drop_last=sharding.drop_last)
