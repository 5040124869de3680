"""The pipeline: errors reach the consumer, and nothing is left behind, however it ends."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rootml._internal.buffers import Allocate
from rootml.batching.inputs._batch import Batch, BatchSpec, InputSpec
from rootml.batching.inputs._layout import Dense, Layout, Ragged, RawField
from rootml.batching.order._plan import EpochPlan, Mode, Sharding
from rootml.batching.rows._pipeline import THREAD_NAME, Pipeline
from rootml.batching.rows._stores import PoolStore, SequentialStore, Store, Workspace
from rootml.batching.rows._timing import Timing
from rootml.batching.rows._units import RowsUnit

INT64 = np.dtype(np.int64)
LAYOUT = Layout(
    BatchSpec((InputSpec("x", "flat", (), None, INT64),), True, None, INT64, None, False, INT64,
              10, False, {"id": INT64}),
    (), (), (RawField("id", "id", "id", INT64, ()),), False, False, INT64,
)  # fmt: skip


class Units:
    """Units of 100 consecutive ids; `fail` raises at one of them, `delay` makes them slow."""

    def __init__(self, *, fail: int | None = None, delay: float = 0.0) -> None:
        self.fail = fail
        self.delay = delay
        self.loaded: list[int] = []

    def load(self, unit: int, allocate: Allocate = np.empty) -> RowsUnit:  # noqa: ARG002
        self.loaded.append(unit)
        time.sleep(self.delay)
        if unit == self.fail:
            message = f"unit {unit} is broken"
            raise OSError(message)
        return RowsUnit(100, {"id": np.arange(100 * unit, 100 * unit + 100)}, {})

    def describe(self, unit: int) -> str:
        return f"unit {unit}"


class RowsLayout(Layout):
    """A layout whose batches are just the ids."""

    def batch(self, dense: Dense, ragged: Ragged, start: int, stop: int) -> Batch:  # noqa: ARG002
        return Batch(dense["id"][start:stop], None, None, None, stop - start)


def ids_of(pipeline: Pipeline) -> Iterator[Any]:
    """The ids of each batch; closing it closes the pipeline."""
    batches = pipeline.batches()
    try:
        for batch in batches:
            yield batch.x
    finally:
        batches.close()  # type: ignore[attr-defined]  # a generator


def make_pipeline(units: Units, mode: Mode, *, threads: int = 2, skip: int = 0) -> Pipeline:
    layout = RowsLayout(**{name: getattr(LAYOUT, name) for name in LAYOUT.__dataclass_fields__})
    plan = EpochPlan(mode, np.full(20, 100), np.zeros(20, dtype=np.int64), seed=1, epoch=0)
    sharding = Sharding(1, 1, batch_size=10, drop_last=False, block_rows=30, spare_rows=300)
    schedule = plan.schedule(sharding, 0, 0)

    space = Workspace()

    def store(pool: Executor) -> Store:
        if mode == "sequential":
            return SequentialStore(
                layout, schedule.pieces, units, pool, ahead=3, buffers=space.buffers
            )
        return PoolStore(
            layout, schedule.pieces, units, pool, rows=600, key=(1, 0), stage=Timing(), ahead=2,
            workspace=space,
        )  # fmt: skip

    return Pipeline(
        layout, schedule, store, threads=threads, timing=Timing(), skip=skip, block_rows=30
    )


def running() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith(THREAD_NAME)]


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    gc.collect()
    assert not running()


MODES: list[Mode] = ["sequential", "pool"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("threads", [1, 4])
def test_same_order_whatever_the_timing(mode: Mode, threads: int) -> None:
    quick = np.concatenate(list(ids_of(make_pipeline(Units(), mode))))
    slow = np.concatenate(list(ids_of(make_pipeline(Units(delay=0.003), mode, threads=threads))))
    np.testing.assert_array_equal(quick, slow)
    np.testing.assert_array_equal(np.sort(quick), np.arange(2000))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("skip", [1, 7, 100, 199, 200])
def test_skipping_gives_the_rest(mode: Mode, skip: int) -> None:
    whole: list[Any] = list(ids_of(make_pipeline(Units(), mode)))
    rest = list(ids_of(make_pipeline(Units(), mode, skip=skip)))
    assert len(rest) == 200 - skip
    for one, other in zip(whole[skip:], rest, strict=True):
        np.testing.assert_array_equal(one, other)


def test_skipping_does_not_read_what_was_used_up() -> None:
    units = Units()
    list(ids_of(make_pipeline(units, "sequential", skip=150)))
    assert sorted(units.loaded) == [15, 16, 17, 18, 19]


@pytest.mark.parametrize("mode", MODES)
def test_an_error_of_a_thread_is_raised_in_the_consumer(mode: Mode) -> None:
    received: list[Any] = []
    with pytest.raises(OSError, match="unit 13 is broken"):
        received.extend(ids_of(make_pipeline(Units(fail=13), mode)))
    assert len(received) < 200


def test_what_came_before_the_error_is_delivered() -> None:
    """In the order of the file, 13 whole units precede the broken one."""
    received: list[Any] = []
    with pytest.raises(OSError, match="broken"):
        received.extend(ids_of(make_pipeline(Units(fail=13), "sequential")))
    assert sum(map(len, received)) >= 1290  # the block that needs unit 13 is not complete


@pytest.mark.parametrize("mode", MODES)
def test_break_close_and_del_stop_the_threads(mode: Mode) -> None:
    for _ in ids_of(make_pipeline(Units(), mode)):
        break
    gc.collect()
    assert not running()
    batches = iter(ids_of(make_pipeline(Units(), mode)))
    next(batches)
    assert running()
    batches.close()  # type: ignore[attr-defined]
    assert not running()
    batches = iter(ids_of(make_pipeline(Units(delay=0.01), mode)))
    next(batches)
    del batches
    gc.collect()
    assert not running()


@pytest.mark.parametrize("mode", MODES)
def test_an_error_of_the_consumer_stops_the_threads(mode: Mode) -> None:
    def consume() -> None:
        for _ in ids_of(make_pipeline(Units(), mode)):
            message = "mine"
            raise KeyError(message)

    with pytest.raises(KeyError, match="mine"):
        consume()
    gc.collect()
    assert not running()


def test_batches_stay_valid_when_the_stream_is_gone() -> None:
    """Memory is reused only when no batch refers to it."""
    kept: list[Any] = list(ids_of(make_pipeline(Units(), "pool")))
    np.testing.assert_array_equal(np.sort(np.concatenate(kept)), np.arange(2000))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_many_streams_leave_no_memory_behind() -> None:
    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def once() -> None:
        batches = iter(ids_of(make_pipeline(Units(), "pool")))
        next(batches)

    for _ in range(20):
        once()
    before = resident()
    for _ in range(300):
        once()
    assert resident() - before < 10e6
