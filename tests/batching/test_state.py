"""States of a loader that are not simple: worker processes, chains of resumes, ends of epochs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from event_files import NUM_EVENTS, check_epoch

import rootml
from rootml.batching import BatchLoader
from rootml.errors import StateError, UsageError

POOL: dict[str, Any] = {"shuffle": True, "buffer_bytes": 300_000, "unit_bytes": 6_000}
MODES: dict[str, dict[str, Any]] = {"in order": {}, "resident": {"shuffle": True}, "pool": POOL}

workers_warning = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(params=MODES)
def make(events: Callable[[str], rootml.Dataset], request: Any) -> Callable[[], BatchLoader]:
    data = events("ttree").select(["x", "y", "k", "id"])
    return lambda: data.batches(50, observers=["id"], **MODES[request.param])


def with_workers(loader: BatchLoader, workers: int) -> Iterator[list[int]]:
    """Ids of the batches that a DataLoader with workers hands over."""
    data = pytest.importorskip("torch.utils.data")
    for batch in data.DataLoader(loader.torch(), None, num_workers=workers):
        yield batch[-1]["id"].tolist()


def first(batches: Iterator[list[int]], count: int) -> list[int]:
    ids: list[int] = [number for _ in range(count) for number in next(batches)]
    batches.close()  # type: ignore[attr-defined]
    return ids


def rest(loader: BatchLoader) -> list[int]:
    return [int(number) for number in check_epoch(loader.iterate()).ids]


@workers_warning
@pytest.mark.parametrize("workers", [2, 3])
def test_a_chain_of_resumes_with_workers(make: Callable[[], BatchLoader], workers: int) -> None:
    """`batches` counts what the DataLoader gave since it began, also after a resume."""
    loader = make()
    done = first(with_workers(loader, 2), 5)
    state = loader.state_dict(batches=5, workers=2)
    again = make()
    again.load_state_dict(state)
    done += first(with_workers(again, workers), 3)
    if workers == 2:  # the turn of the other worker: the order goes on
        whole = with_workers(make(), 2)
        assert done == first(whole, 8)
    state = again.state_dict(batches=3, workers=workers)
    last = make()
    last.load_state_dict(state)
    assert sorted(done + rest(last)) == list(range(NUM_EVENTS))
    assert last.epoch == 1


@workers_warning
def test_a_chain_of_resumes_on_ranks_with_workers(make: Callable[[], BatchLoader]) -> None:
    loader = make()
    done = first(with_workers(loader, 2), 5)
    state = loader.state_dict(batches=5, workers=2)
    ranks = [make().shard(rank, 3) for rank in range(3)]
    states = []
    for rank in ranks:
        rank.load_state_dict(state)
        done += first(with_workers(rank, 2), 7)
        states.append(rank.state_dict(batches=7, workers=2))
    assert states[0] == states[1] == states[2]
    last = make()
    last.load_state_dict(states[0])
    assert sorted(done + rest(last)) == list(range(NUM_EVENTS))


def test_batches_counts_this_iteration_in_this_process_too(
    make: Callable[[], BatchLoader],
) -> None:
    """The consumer may be behind the iterator, as behind a prefetching output."""
    loader = make()
    batches = loader.iterate()
    done = [next(batches) for _ in range(9)][:6]
    state = loader.state_dict(batches=6)
    again = make()
    again.load_state_dict(state)
    batches = again.iterate()
    done += [next(batches) for _ in range(8)][:3]
    assert again.state_dict(batches=3)["segments"][-1]["batches"] == 9
    last = make()
    last.load_state_dict(again.state_dict(batches=3))
    ids = check_epoch(iter(done)).ids.tolist()
    assert sorted(ids + rest(last)) == list(range(NUM_EVENTS))


@workers_warning
def test_workers_must_be_counted(make: Callable[[], BatchLoader]) -> None:
    loader = make()
    batches = with_workers(loader, 2)
    next(batches)
    with pytest.raises(StateError, match=r"state_dict\(batches=\.\.\., workers=\.\.\.\)"):
        loader.state_dict()
    batches.close()  # type: ignore[attr-defined]
    loader.set_epoch(4)
    assert loader.state_dict()["epoch"] == 4
    next(loader.iterate())
    assert loader.state_dict()["segments"][-1]["batches"] == 1


@workers_warning
def test_workers_that_gave_all_batches(make: Callable[[], BatchLoader]) -> None:
    loader = make()
    batches = with_workers(loader, 2)
    count = sum(1 for _ in batches)
    state = loader.state_dict(batches=count, workers=2)
    assert (state["epoch"], state["segments"]) == (1, [])


def test_the_last_batch_ends_the_epoch(make: Callable[[], BatchLoader]) -> None:
    loader = make()
    batches = loader.iterate()
    for _ in range(len(loader)):
        next(batches)
    state = loader.state_dict()
    assert (state["epoch"], state["segments"]) == (1, [])
    again = make()
    again.load_state_dict(state)
    assert len(rest(again)) == NUM_EVENTS


def test_the_last_batch_after_a_resume_on_other_ranks(make: Callable[[], BatchLoader]) -> None:
    loader = make()
    next(loader.iterate())
    state = loader.state_dict()
    for rank in range(3):
        again = make().shard(rank, 3)
        again.load_state_dict(state)
        batches = list(again.iterate())
        again.load_state_dict(state)
        iterator = again.iterate()
        for _ in batches:
            next(iterator)
        assert again.state_dict()["segments"] == []
        assert again.state_dict()["epoch"] == 1


def test_set_epoch_leaves_an_abandoned_epoch(make: Callable[[], BatchLoader]) -> None:
    loader = make()
    for _ in loader.iterate():
        break
    loader.set_epoch(7)
    state = loader.state_dict()
    assert (state["epoch"], state["segments"]) == (7, [])


@pytest.mark.parametrize("batches", [-1, 1.5, "3", 10**6])
def test_batches_that_cannot_be(make: Callable[[], BatchLoader], batches: Any) -> None:
    loader = make()
    next(loader.iterate())
    with pytest.raises(UsageError, match="batches="):
        loader.state_dict(batches=batches)


@pytest.mark.parametrize("epoch", ["3", 1.5, True, -1, 10**30])
def test_epochs_that_cannot_be(make: Callable[[], BatchLoader], epoch: Any) -> None:
    loader = make()
    with pytest.raises(UsageError, match="epoch="):
        loader.set_epoch(epoch)
    with pytest.raises(UsageError, match="epoch="):
        loader.iterate(epoch=epoch)
    three: Any = np.int32(3)
    loader.set_epoch(three)
    assert loader.epoch == 3


def test_tensorflow_fetches_nothing_ahead(make: Callable[[], BatchLoader]) -> None:
    pytest.importorskip("tensorflow")
    loader = make()
    batches = iter(loader.tensorflow())
    done = [number for _ in range(5) for number in next(batches)[-1]["id"].numpy().tolist()]
    time.sleep(0.1)  # whoever fetches ahead does it now
    state = loader.state_dict()
    del batches
    again = make()
    again.load_state_dict(state)
    assert sorted(done + rest(again)) == list(range(NUM_EVENTS))


@pytest.mark.filterwarnings("ignore")
def test_keras_fetches_nothing_ahead(events: Callable[[str], rootml.Dataset]) -> None:
    tf = pytest.importorskip("tensorflow")
    loader = events("ttree").select(["x", "k"]).batches(64)
    counts = []

    class Count(tf.keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            if batch + 1 < len(loader):
                counts.append((batch + 1, loader.state_dict()["segments"][-1]["batches"]))

    model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(loader.tensorflow(), epochs=1, verbose=0, callbacks=[Count()])
    assert counts == [(number, number) for number in range(1, len(loader))]
