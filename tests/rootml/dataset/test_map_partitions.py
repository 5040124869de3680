"""`Dataset.map_partitions` and what stands on it, against plain NumPy over the same events."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from event_files import FORMATS, NUM_EVENTS, columns_of

import rootml
from rootml.batching import BatchLoader
from rootml.dataset import EventBlock
from rootml.errors import MissingColumnError, UsageError

Events = Callable[[str], rootml.Dataset]
ALL = columns_of(np.arange(NUM_EVENTS, dtype=np.int64))
MASK = ALL["k"] > 2
EDGES = np.linspace(-3, 3, 13)


def histogram(block: EventBlock) -> Any:
    return np.histogram(block.columns["x"], EDGES, weights=block.weight)[0]


def ids_and_entries(block: EventBlock) -> Any:
    assert block.entries is not None
    return block.columns["id"], block.entries, block.partition


@pytest.mark.parametrize("name", FORMATS)
def test_a_histogram_in_threads(events: Events, name: str) -> None:
    data = events(name).filter("k > 2").with_weight("0.5 * k")
    found = sum(data.map_partitions(histogram, columns=["x"], weight=True, threads=3))
    wanted = np.histogram(ALL["x"][MASK], EDGES, weights=0.5 * ALL["k"][MASK])[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_results_come_in_order_with_their_places(events: Events) -> None:
    data = events("ttree").filter("k > 2").select(["id"])
    data.scan(target_bytes=4000)
    found = list(data.map_partitions(ids_and_entries, ids=True, threads=4))
    np.testing.assert_array_equal(np.concatenate([ids for ids, *_ in found]), ALL["id"][MASK])
    for _, entries, partition in found:
        assert ((partition.start <= entries) & (entries < partition.stop)).all()


def test_label_and_weight_only_when_asked_for(events: Events) -> None:
    data = events("ttree").with_label(1)

    def look(block: EventBlock) -> Any:
        return block.label is None, block.weight is None, block.entries is None, block.num_rows

    assert {row[:3] for row in data.map_partitions(look, columns=[])} == {(True, True, True)}
    both = list(data.map_partitions(look, columns=[], label=True, weight=True))
    assert {row[:3] for row in both} == {(False, False, True)}
    assert sum(row[3] for row in both) == NUM_EVENTS


def test_nothing_selected_gives_no_block(events: Events) -> None:
    assert list(events("ttree").filter("k > 1e9").map_partitions(histogram)) == []


def test_an_error_of_the_function_names_the_partition(events: Events) -> None:
    def refuse(block: EventBlock) -> None:
        message = "no such cut"
        raise UsageError(message)

    with pytest.raises(UsageError, match=r"entries 0 to [\d,]+: no such cut"):
        list(events("ttree").map_partitions(refuse, threads=1))
    with pytest.raises(MissingColumnError, match="'idd' is not a selected column; nearest: 'id'"):
        list(events("ttree").select(["id"]).map_partitions(refuse, columns=["idd"]))


def test_other_errors_come_as_they_are_and_threads_end(events: Events) -> None:
    def fail(block: EventBlock) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(events("ttree").map_partitions(fail, threads=2))


def test_a_read_task_reads_what_the_index_selects(events: Events) -> None:
    data = events("ttree").filter("k > 2").select(["id"])
    task = pickle.loads(pickle.dumps(data.read_task(["id"], ids=True)))
    index = data.scan()
    blocks = [task(index.select(partition)) for partition in index.partitions]
    np.testing.assert_array_equal(
        np.concatenate([block.columns["id"] for block in blocks]), ALL["id"][MASK]
    )
    assert sum(selected.num_rows for selected in index.selected()) == np.count_nonzero(MASK)


def test_dependencies(events: Events) -> None:
    data = events("ttree").define(twice="2 * x").filter("twice > 0").with_weight("k * twice")
    needs, _ = data.with_label("id % 2").select(["y"]).dependencies()
    assert (needs.cuts, needs.label, needs.weight) == (("x",), ("id",), ("x", "k"))
    assert {"x", "y", "k", "id"} <= needs.columns.keys()
    assert "twice" not in needs.columns


def test_with_friends(events: Events, tmp_path: Path) -> None:
    data = events("ttree")
    paths = data.write_friend(tmp_path, {"score": ALL["x"] * 2})
    found = data.with_friends(paths).filter("score > 0").select(["id", "score"]).to_awkward()
    mask = ALL["x"] > 0
    np.testing.assert_array_equal(ak.to_numpy(found["id"]), ALL["id"][mask])
    np.testing.assert_array_equal(ak.to_numpy(found["score"]), 2 * ALL["x"][mask])


# --- a door that shows its parameters ---


def test_batches_shows_what_the_loader_takes() -> None:
    mine = dict(inspect.signature(rootml.Dataset.batches).parameters)
    theirs = dict(inspect.signature(BatchLoader.__init__).parameters)
    del mine["self"], theirs["self"], theirs["dataset"]
    assert list(mine) == list(theirs)
    assert {name: each.default for name, each in mine.items()} == {
        name: each.default for name, each in theirs.items()
    }
    assert all(f"{name}" in (rootml.Dataset.batches.__doc__ or "") for name in mine)


def test_a_misspelt_option_of_batches(events: Events) -> None:
    with pytest.raises(UsageError, match="no option 'shufle'; nearest: 'shuffle'"):
        events("ttree").batches(10, shufle=True)  # type: ignore[call-arg]
