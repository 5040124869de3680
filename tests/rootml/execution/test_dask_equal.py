"""On a cluster everything is as in one process, bit for bit and in the same order."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import distributed
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from dask_state import settled
from event_files import FORMATS, NUM_BACKGROUND, NUM_EVENTS, check_batch, check_epoch, columns_of

import rootml
from rootml.batching import Padded, Ragged
from rootml.batching.rows._units import Decode
from rootml.errors import ClusterError, MissingPackageError, UsageError
from rootml.execution._dask import DaskExecutor

DASK: Any = distributed  # half typed
Events = Callable[[str], rootml.Dataset]
IDS = np.arange(NUM_EVENTS, dtype=np.int64)
ALL = columns_of(IDS)
CUT = "k > 2 && jet[0] > -1"
MASK = (ALL["k"] > 2) & (ak.to_numpy(ak.num(ALL["jet"])) > 0)


def chosen(data: rootml.Dataset) -> rootml.Dataset:
    return data.filter(CUT, name="jets").select([*ALL, "twice = 2 * y"])


def assert_same(found: Any, wanted: Any) -> None:
    assert found.type == wanted.type
    assert ak.array_equal(found, wanted, equal_nan=True)


def halve(columns: Any) -> Any:
    return {"half": columns["id"] / 2, "jets": columns["jet"]}


def everything(data: rootml.Dataset, folder: Path) -> dict[str, Any]:
    """What a dataset gives, by every way."""
    function: Any = lambda columns: halve(columns)  # noqa: E731, PLW0108 - workers cannot import us
    index = data.scan(target_bytes=9000)
    loader = data.batches(64, shuffle=True, seed=3, inputs=["x", "y", "k"], observers=["id"])
    return {
        "masks": [index.mask(n) for n in range(len(index.partitions))],
        "counts": index.counts,
        "cutflow": str(data.cutflow()),
        "labels": repr(index.labels),
        "awkward": data.to_awkward(),
        "arrow": data.to_arrow(),
        "batches": [(batch.x, check_batch(batch), batch.w) for batch in loader.iterate()],
        "skim": rootml.open(data.skim(folder / "skim")).to_awkward(),
        "friend": rootml.open(data.write_friend(folder / "friend", function)).to_awkward(),
    }


def check_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    for name in ("cutflow", "labels", "arrow"):
        assert found[name] == wanted[name], name
    for name in ("awkward", "skim", "friend"):
        assert_same(found[name], wanted[name])
    np.testing.assert_array_equal(found["counts"], wanted["counts"])
    for mine, theirs in zip(found["masks"], wanted["masks"], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(found["batches"], wanted["batches"], strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert one.tobytes() == other.tobytes()


def test_any_number_of_worker_processes(
    events: Events, process_cluster: Any, processes: Any, tmp_path: Path
) -> None:
    wanted = everything(chosen(events("ttree")), tmp_path / "here")
    np.testing.assert_array_equal(wanted["awkward"]["id"], IDS[MASK])
    np.testing.assert_array_equal(wanted["skim"]["twice"], 2 * ALL["y"][MASK])
    np.testing.assert_array_equal(wanted["friend"]["half"], np.where(MASK, IDS / 2, np.nan))
    for workers in (1, 2, 3):
        process_cluster.scale(workers)
        processes.wait_for_workers(workers)
        data = chosen(events("ttree")).on(processes)
        check_same(everything(data, tmp_path / str(workers)), wanted)
    del data
    assert settled(processes)


@pytest.mark.parametrize("format_", FORMATS)
def test_any_format(events: Events, threads: Any, tmp_path: Path, format_: str) -> None:
    wanted = everything(chosen(events(format_)), tmp_path / "here")
    found = everything(chosen(events(format_)).on(threads), tmp_path / "there")
    check_same(found, wanted)
    assert settled(threads)


@pytest.mark.parametrize("format_", ["root", "rntuple", "parquet"])
def test_skims_written_by_workers(
    events: Events, threads: Any, tmp_path: Path, format_: str
) -> None:
    paths = chosen(events("ttree")).on(threads).skim(tmp_path, format=format_, tree="T")
    assert len(paths) == 5
    assert sorted(tmp_path.iterdir()) == sorted(map(Path, paths))
    if format_ == "parquet":
        ids = [ak.from_parquet(path)["id"] for path in paths]
    else:
        ids = [uproot.open(path)["T"]["id"].array() for path in paths]
    np.testing.assert_array_equal(ak.concatenate(ids), IDS[MASK])


def test_one_large_file_is_read_by_workers(events: Events, threads: Any, tmp_path: Path) -> None:
    data = chosen(events("ttree")).with_entry_range(None, None)
    one = rootml.open(data.samples[0].files.specs[1].where).filter("k > 2").select(["id"])
    (path,) = one.on(threads).skim(tmp_path)
    ids = IDS[700:2001]
    np.testing.assert_array_equal(uproot.open(path)["Events/id"].array(), ids[ids % 7 > 2])


SMALL = {"buffer_bytes": 60_000, "unit_bytes": 9_000}
LISTS = {
    "inputs": {
        "event": ["x", "y", "k"],
        "padded": Padded(["jet", "tag"], length=2, value=-1),
        "ragged": Ragged(["jet", "tag"]),
    }
}


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("sequential", {}),
        ("sequential", LISTS),
        ("resident", {"shuffle": True}),
        ("resident", {"shuffle": True, "balance": "resample"}),
        ("pool", {"shuffle": True, **SMALL}),
        ("disk", {"shuffle": True, "cache": "here", **SMALL}),
    ],
)
def test_batches_of_every_mode(
    events: Events, threads: Any, tmp_path: Path, mode: str, options: dict[str, Any]
) -> None:
    options = {"inputs": ["x", "y", "k"], "seed": 5, **options}
    if "cache" in options:
        options["cache"] = tmp_path
    data = events("ttree").filter("k > 1")
    here, there = (
        each.batches(70, observers=["id"], **options) for each in (data, data.on(threads))
    )
    assert there.mode == mode
    for _ in range(2):
        mine, theirs = (check_epoch(loader.iterate()) for loader in (there, here))
        for one, other in zip(mine.batches, theirs.batches, strict=True):
            np.testing.assert_array_equal(one, other)
        if "balance" not in options:
            np.testing.assert_array_equal(np.sort(mine.ids), IDS[IDS % 7 > 1])
    iterator = there.iterate()
    next(iterator)
    iterator.close()
    del iterator, there
    assert settled(threads)


def test_labels_of_events_are_counted_there(events: Events, threads: Any) -> None:
    data = events("parquet").with_label("flag")
    options: Any = {"shuffle": True, "balance": "resample", "inputs": ["x"], **SMALL}
    here, there = (each.batches(70, **options) for each in (data, data.on(threads)))
    for mine, theirs in zip(there.iterate(), here.iterate(), strict=True):
        np.testing.assert_array_equal(np.asarray(mine.x), np.asarray(theirs.x))


def test_sums_of_weights_without_a_cut(events: Events, threads: Any) -> None:
    data = events("ttree").on(threads)
    labels = data.scan().labels
    weights = ALL["weight"].astype(np.float64)
    assert labels[0.0].count == NUM_BACKGROUND
    assert labels[1.0].sumw == pytest.approx(weights[NUM_BACKGROUND:].sum())
    assert str(data.describe()) == str(events("ttree").describe())


# --- dask-awkward ---


@pytest.mark.parametrize("format_", ["ttree", "parquet"])
def test_dask_awkward_array(events: Events, threads: Any, format_: str) -> None:
    data = chosen(events(format_))
    lazy: Any = data.to_dask()
    assert lazy.npartitions == len(data.partitions())
    found = lazy.compute(scheduler=threads)
    assert_same(found, data.to_awkward())
    np.testing.assert_array_equal(found["id"], IDS[MASK])
    total = lazy["twice"].compute(scheduler="sync")
    np.testing.assert_array_equal(total, 2 * ALL["y"][MASK])


# --- what is sent, and what is kept ---


def test_few_are_in_flight(threads: Any) -> None:
    place = DaskExecutor(threads)
    assert place.parallelism == 3
    results = place.map(lambda number: number + 1, range(100), what="counting")
    most = 0
    for wanted, found in enumerate(results, 1):
        assert found == wanted
        most = max(most, len(threads.futures))
    assert 3 < most <= 2 * 3 + 1
    assert settled(threads)
    unfinished = place.map(lambda number: number + 1, range(100), what="counting")
    next(unfinished)
    unfinished.close()  # type: ignore[attr-defined]
    del unfinished
    assert settled(threads)


def test_large_functions_are_sent_in_pieces(threads: Any) -> None:
    table = np.random.default_rng(1).integers(0, 2**62, 1_500_000)  # 12 MB, not compressible
    results = DaskExecutor(threads).map(lambda at: table[at], [0, 7], what="looking up")
    assert list(results) == [table[0], table[7]]


class _Where:
    """Says which worker it runs on; more bytes make a longer function of it."""

    def __init__(self, length: int) -> None:
        self.bytes = np.random.default_rng(2).bytes(length)

    def __call__(self, number: int) -> str:
        time.sleep(0.002 + 0 * number)  # less than the scheduler takes to find an idle worker
        name: str = DASK.get_worker().address
        return name


@pytest.mark.parametrize("length", [0, 100_000])
def test_short_work_is_shared_by_all_workers(threads: Any, length: int) -> None:
    where = Counter(DaskExecutor(threads).map(_Where(length), range(90), what="looking"))
    assert len(where) == 3
    assert min(where.values()) > 9  # of 30


def test_memory_is_kept_where_the_nanny_forbids_it() -> None:
    for value, wanted in (("65536", True), (str(2**28), False), ("", False)):
        script = "from rootml._internal.heap import keep_heap; print(keep_heap())"
        environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": value}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        assert done.stdout.strip() == str(wanted and sys.platform == "linux"), value


def test_the_client_stays_with_derived_datasets_and_is_never_pickled(
    events: Events, threads: Any
) -> None:
    there = events("ttree").on(threads)
    train, _ = there.filter("k > 1").select(["x"]).split(test=0.5, by="id")
    for data in (train, there + events("parquet"), events("parquet") + there):
        place: Any = data._reader.executor
        assert place.client is threads
    copy = pickle.loads(pickle.dumps(train))
    assert copy._reader.executor is None
    assert_same(copy.to_awkward(), train.to_awkward())
    assert there.on(None)._reader.executor is None
    assert "Client" not in repr(there)


def test_what_is_no_client(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"takes a distributed\.Client"):
        events("ttree").on("localhost:8786")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingPackageError, match=r"rootml\[dask\]"):
        events("ttree").on(object())
    monkeypatch.setitem(sys.modules, "dask_awkward", None)
    with pytest.raises(MissingPackageError, match=r"rootml\[dask\]"):
        events("ttree").to_dask()


def test_functions_that_cannot_be_sent(events: Events, threads: Any, tmp_path: Path) -> None:
    stream = (tmp_path / "open").open("w")
    with stream, pytest.raises(UsageError, match="cannot be sent to the workers"):
        events("ttree").on(threads).write_friend(
            tmp_path / "f", lambda columns: {"half": stream.name}
        )
    assert not (tmp_path / "f").exists()


def test_a_closed_client(events: Events) -> None:
    dask: Any = distributed  # half typed
    with dask.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster:
        with dask.Client(cluster, set_as_default=False) as client:
            data = events("ttree").filter("k > 2").on(client)
        with pytest.raises(ClusterError, match="scanning: on the Dask cluster"):
            data.scan()


def test_friends_matched_by_ids(processes: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    ids, among = random.permutation(6000), random.permutation(6000)[:4000]
    for part in range(3):
        own, other = ids[part::3], among[part::3]
        table = pa.table({"event": own, "x": own * 0.5})
        pq.write_table(table, tmp_path / f"main{part}.parquet", row_group_size=500)
        pq.write_table(pa.table({"event": other, "tau": other * 2}), tmp_path / f"f{part}.parquet")
    data = rootml.open(
        f"{tmp_path}/main*.parquet",
        friends={"F": f"{tmp_path}/f*.parquet"},
        by="event",
        unmatched="drop",
    ).select(["event", "x", "tau"])
    there = data.on(processes)
    found = there.to_awkward()
    kept = np.concatenate([ids[part::3] for part in range(3)])
    kept = kept[np.isin(kept, among)]
    assert found["event"].tolist() == kept.tolist()
    np.testing.assert_array_equal(found["tau"], kept * 2)
    files = {}
    for name, each in {"here": data, "there": there}.items():
        loader = each.batches(100, shuffle=True, seed=2, inputs=["tau"], observers=["event"])
        files[name] = loader.save(tmp_path / name, part_bytes="10 kB")
    assert len(files["there"]) > 1
    for mine, theirs in zip(files["there"], files["here"], strict=True):
        assert Path(mine).read_bytes() == Path(theirs).read_bytes()
    assert settled(processes)


def test_the_watchdog_says_what_the_cluster_has_not_sent(
    events: Events,
    threads: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = threading.Event()
    decode = Decode.__call__

    def slow(self: Decode, *args: Any, **options: Any) -> Any:
        gate.wait(20)
        return decode(self, *args, **options)

    loader = events("ttree").on(threads).batches(64, inputs=["x"], stall_seconds=0.2)
    count = len(loader)
    monkeypatch.setattr(Decode, "__call__", slow)  # the workers are threads of this process
    with caplog.at_level(logging.WARNING, "rootml.batching"):
        batches = loader.iterate()
        opener = threading.Thread(target=lambda: _when_told(caplog, gate))
        opener.start()
        assert sum(1 for _ in batches) == count
        opener.join()
    assert "no progress for" in caplog.text
    assert "on the cluster" in caplog.text
    assert ".root" in caplog.text


def _when_told(caplog: pytest.LogCaptureFixture, gate: threading.Event) -> None:
    end = time.monotonic() + 15
    while "no progress" not in caplog.text and time.monotonic() < end:
        time.sleep(0.02)
    gate.set()
