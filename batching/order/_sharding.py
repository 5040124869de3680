"""Who gets which rows of an epoch: batch sizes per rank, pieces of units per shard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rootml.batching.order._rng import draw_counts
from rootml.errors import ShardError, UsageError


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows ``[start, stop)`` of a unit, counted in the order in which the epoch reads the unit.

    That order is the unit's own permutation of the epoch (its natural order when not shuffled), so
    every piece of a shuffled unit is a random subset of it, and two pieces never overlap.
    """

    unit: int
    start: int
    stop: int
    source: int = 0

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start


def batch_sizes(num_rows: int, batch_size: int, world: int, *, drop_last: bool) -> list[list[int]]:
    """The batch sizes of every rank: equally many batches on all ranks, every row once.

    All rounds but the last give `batch_size` rows to each rank. A short last round is divided
    evenly; if it holds fewer rows than ranks, it is divided together with the round before.

    Raises:
        ShardError: Fewer rows than ranks.
        UsageError: Fewer rows than one batch with `drop_last`.

    >>> batch_sizes(25, 4, 2, drop_last=False)
    [[4, 4, 3, 2], [4, 4, 2, 2]]
    >>> batch_sizes(22, 4, 2, drop_last=False)
    [[4, 4, 3], [4, 4, 3]]
    """
    if num_rows < world:
        message = f"{num_rows} rows cannot be shared among {world} ranks: fewer rows than ranks"
        raise ShardError(message)
    rounds, left = divmod(num_rows, batch_size * world)
    if drop_last:
        if not rounds:
            message = (
                f"drop_last=True leaves no batch: {num_rows} rows are fewer than one batch of "
                f"{batch_size} for each of {world} rank(s)"
            )
            raise UsageError(message)
        return [[batch_size] * rounds for _ in range(world)]
    if not left or left >= world:
        tails = [[n] if n else [] for n in _even(left, world)]
        return [[batch_size] * rounds + tail for tail in tails]
    return [
        [batch_size] * (rounds - 1) + _halves(share, batch_size)
        for share in _even(left + batch_size * world, world)
    ]


def _even(rows: int, world: int) -> list[int]:
    return [rows // world + (rank < rows % world) for rank in range(world)]


def _halves(share: int, batch_size: int) -> list[int]:
    if share < 2:
        message = (
            f"with batch_size={batch_size} the rows cannot be shared so that all ranks have "
            "equally many batches; use a larger batch or drop_last=True"
        )
        raise ShardError(message)
    return [share - share // 2, share // 2]


def distribute(
    pieces: Sequence[Piece], shard_rows: Sequence[int], rng: np.random.Generator
) -> list[list[Piece]]:
    """Share out `pieces` among shards that get `shard_rows` rows each, in the pieces' order.

    Each shard gets rows of every source in the proportions of a random draw, as consecutive
    stretches of the chain of that source's pieces: a shard decodes only its share of the units,
    plus the two that it shares with its neighbours.
    """
    sources = sorted({piece.source for piece in pieces})
    chains = [[piece for piece in pieces if piece.source == source] for source in sources]
    left = np.array([sum(piece.rows for piece in chain) for chain in chains], dtype=np.int64)
    wanted = []
    for rows in shard_rows:
        wanted.append(draw_counts(rng, left, rows))
        left = left - wanted[-1]
    cut = [
        cut_chain(chain, [int(counts[s]) for counts in wanted]) for s, chain in enumerate(chains)
    ]
    return [[piece for parts in cut for piece in parts[shard]] for shard in range(len(shard_rows))]


def cut_chain(chain: Iterable[Piece], lengths: Sequence[int]) -> list[list[Piece]]:
    """Cut the rows of a chain of pieces into consecutive stretches of the given lengths.

    >>> cut_chain([Piece(0, 0, 5), Piece(1, 0, 5)], [6, 2])
    [[Piece(unit=0, start=0, stop=5, source=0), Piece(unit=1, start=0, stop=1, source=0)], \
[Piece(unit=1, start=1, stop=3, source=0)]]
    """
    stretches: list[list[Piece]] = []
    rest = iter(chain)
    piece = next(rest, None)
    for length in lengths:
        stretch: list[Piece] = []
        missing = length
        while missing and piece is not None:
            middle = min(piece.stop, piece.start + missing)
            stretch.append(replace(piece, stop=middle))
            missing -= middle - piece.start
            piece = replace(piece, start=middle) if middle < piece.stop else next(rest, None)
        stretches.append(stretch)
    return stretches
