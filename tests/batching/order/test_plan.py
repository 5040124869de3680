"""The order of an epoch, checked row by row against what an epoch must be.

The oracle is the plain list of all (unit, row) pairs: each must come exactly once, over all ranks
and workers, before and after a resume, for any division of the data.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rootml.batching.order._plan import EpochPlan, Mode, Segment, Sharding
from rootml.batching.order._schedule import Schedule, required_rows
from rootml.batching.order._sharding import batch_sizes
from rootml.errors import ShardError, UsageError

Row = tuple[int, int]
Batches = list[list[Row]]


def rows_of(schedule: Schedule) -> Batches:
    """The rows of each batch, as (unit, position in the epoch's order of the unit)."""
    batches = []
    for block in schedule.blocks():
        rows = [
            (schedule.pieces[take.piece].unit, position)
            for take in block.takes
            for position in range(take.start, take.stop)
        ]
        if block.positions is not None:
            placed = dict(zip(block.positions.tolist(), rows, strict=True))
            rows = [placed[place] for place in range(len(rows))]
        ends = list(itertools.accumulate(block.sizes))
        batches += [rows[end - size : end] for size, end in zip(block.sizes, ends, strict=True)]
    return batches


def epoch(plan: EpochPlan, sharding: Sharding) -> list[Batches]:
    """The batches of every rank, the workers' batches taken in turn as DataLoader does."""
    ranks = []
    for rank in range(sharding.world):
        workers = [
            rows_of(plan.schedule(sharding, rank, worker)) for worker in range(sharding.workers)
        ]
        total = sum(len(batches) for batches in workers)
        ranks.append([workers[i % len(workers)][i // len(workers)] for i in range(total)])
    return ranks


def flat(ranks: list[Batches]) -> list[Row]:
    return [row for batches in ranks for batch in batches for row in batch]


@st.composite
def shardings(draw: st.DrawFn) -> Sharding:
    return Sharding(
        world=draw(st.integers(1, 4)),
        workers=draw(st.integers(1, 3)),
        batch_size=draw(st.integers(2, 9)),
        drop_last=False,
        block_rows=draw(st.integers(1, 40)),
        spare_rows=draw(st.integers(0, 200)),
    )


@st.composite
def plans(draw: st.DrawFn) -> EpochPlan:
    counts = draw(st.lists(st.integers(0, 40), min_size=1, max_size=10))
    sources = draw(st.lists(st.integers(0, 2), min_size=len(counts), max_size=len(counts)))
    assume(sum(counts) >= 4)
    mode: Mode = draw(st.sampled_from(["sequential", "resident", "pool", "disk"]))
    return EpochPlan(
        mode,
        np.array(counts, dtype=np.int64),
        np.array(sources, dtype=np.int64),
        seed=draw(st.integers(0, 2**64 - 1)),
        epoch=draw(st.integers(0, 100)),
    )


def all_rows(plan: EpochPlan) -> list[Row]:
    return [(unit, row) for unit, rows in enumerate(plan.counts.tolist()) for row in range(rows)]


@given(plans(), shardings())
@settings(max_examples=200, deadline=None)
def test_every_row_once_and_equally_many_batches(plan: EpochPlan, sharding: Sharding) -> None:
    ranks = epoch(plan, sharding)
    assert sorted(flat(ranks)) == all_rows(plan)
    assert len({len(batches) for batches in ranks}) == 1
    assert all(0 < len(batch) <= sharding.batch_size for batches in ranks for batch in batches)


@given(plans(), shardings())
@settings(max_examples=50, deadline=None)
def test_a_walk_repeats_itself(plan: EpochPlan, sharding: Sharding) -> None:
    assert epoch(plan, sharding) == epoch(plan, sharding)


@given(plans(), shardings())
@settings(max_examples=50, deadline=None)
def test_unshuffled_rows_keep_their_order(plan: EpochPlan, sharding: Sharding) -> None:
    if plan.mode == "sequential":
        assert flat(epoch(plan, sharding)) == all_rows(plan)


@given(plans(), shardings(), shardings(), st.data())
@settings(max_examples=200, deadline=None)
def test_resume_on_other_ranks_gives_the_rest(
    plan: EpochPlan, before: Sharding, after: Sharding, data: st.DataObject
) -> None:
    """Twice in a row: the chain of segments must hold, not only its first link."""
    done: list[Row] = []
    for sharding in (before, after):
        left = plan.rows_left
        assume(left >= sharding.world)
        ranks = epoch(plan, sharding)
        batches = data.draw(st.integers(0, len(ranks[0])))
        done += [row for rank in ranks for batch in rank[:batches] for row in batch]
        history = (*plan.history, Segment(sharding, batches))
        plan = EpochPlan(plan.mode, plan.counts, plan.sources, plan.seed, plan.epoch, history)
    assume(plan.rows_left >= before.world)
    rest = flat(epoch(plan, before))
    assert sorted(done + rest) == all_rows(plan)


@given(plans(), shardings())
@settings(max_examples=100, deadline=None)
def test_a_pool_never_needs_more_room_than_it_says(plan: EpochPlan, sharding: Sharding) -> None:
    """What is in memory at a time, followed block by block as the store does."""
    if plan.mode != "pool":
        return
    counts, sources = plan.counts, plan.sources
    largest = [int(counts[sources == source].max()) for source in np.unique(sources)]
    for rank, worker in itertools.product(range(sharding.world), range(sharding.workers)):
        schedule = plan.schedule(sharding, rank, worker)
        block_rows = max(sharding.block_rows, sharding.batch_size)
        limit = sharding.spare_rows + required_rows(largest, block_rows)
        loaded: set[int] = set()
        for block in schedule.blocks():
            loaded.update(take.piece for take in block.takes)
            assert sum(schedule.pieces[piece].rows for piece in loaded) <= limit
            loaded.difference_update(block.finished)
        assert not loaded


@pytest.mark.parametrize("seed", range(5))
def test_class_sorted_units_give_batches_as_mixed_as_independent_draws(seed: int) -> None:
    """Spread of the class fraction per batch over the binomial expectation, mode (c)."""
    counts = np.full(20, 10_000, dtype=np.int64)
    sources = np.repeat([0, 1], 10)
    plan = EpochPlan("pool", counts, sources, seed, epoch=0)
    sharding = Sharding(1, 1, batch_size=1000, drop_last=False, block_rows=4000, spare_rows=30_000)
    batches = rows_of(plan.schedule(sharding, 0, 0))
    share = [np.mean([sources[unit] for unit, _ in batch]) for batch in batches]
    ratio = np.std(share) / np.sqrt(0.25 / 1000)
    assert 0.8 < ratio < 1.2  # 200 batches: the standard error of the ratio is 0.05


def test_first_block_opens_one_piece_per_source() -> None:
    """The first batch must not wait for a full buffer."""
    plan = EpochPlan("pool", np.full(200, 10_000), np.arange(200) % 2, seed=1, epoch=0)
    sharding = Sharding(1, 1, batch_size=1000, drop_last=False, block_rows=1000, spare_rows=10**9)
    first = next(iter(plan.schedule(sharding, 0, 0).blocks()))
    assert len({take.piece for take in first.takes}) <= 2


def test_a_rank_reads_only_its_share() -> None:
    """Of 100 units and 4 ranks each rank needs about 25, plus the ones cut by a boundary."""
    plan = EpochPlan("pool", np.full(100, 1000), np.arange(100) % 2, seed=3, epoch=0)
    sharding = Sharding(4, 1, batch_size=100, drop_last=False, block_rows=400, spare_rows=10_000)
    for rank in range(4):
        units = {piece.unit for piece in plan.schedule(sharding, rank, 0).pieces}
        assert len(units) <= 25 + 4


def test_orders_differ_between_epochs_and_seeds() -> None:
    sharding = Sharding(1, 1, batch_size=50, drop_last=False, block_rows=100, spare_rows=500)
    orders = {
        tuple(flat(epoch(EpochPlan("pool", np.full(10, 100), np.arange(10) % 2, s, e), sharding)))
        for s, e in itertools.product(range(3), range(3))
    }
    assert len(orders) == 9


def test_drop_last_gives_full_batches_only() -> None:
    assert batch_sizes(25, 4, 2, drop_last=True) == [[4, 4, 4], [4, 4, 4]]


def test_too_few_rows() -> None:
    with pytest.raises(ShardError, match="3 rows cannot be shared among 4 ranks"):
        batch_sizes(3, 8, 4, drop_last=False)
    with pytest.raises(UsageError, match="drop_last=True leaves no batch"):
        batch_sizes(7, 8, 1, drop_last=True)


@given(st.integers(1, 500), st.integers(2, 20), st.integers(1, 7))
def test_batch_sizes_share_all_rows(rows: int, size: int, world: int) -> None:
    assume(rows >= world)
    sizes = batch_sizes(rows, size, world, drop_last=False)
    assert sum(map(sum, sizes)) == rows
    assert len({len(rank) for rank in sizes}) == 1
    assert all(0 < batch <= size for rank in sizes for batch in rank)
    assert max(map(sum, sizes)) - min(map(sum, sizes)) <= 1
