"""Workers that die, partitions that fail, schedulers that go away, files that break."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import distributed
import numpy as np
import pytest
from event_files import NUM_EVENTS, check_batch, columns_of, write_events

import rootml
from rootml.errors import (
    CastError,
    ChangedFileError,
    ClusterError,
    CorruptFileError,
    MissingElementError,
    RootmlError,
)

Events = Callable[[str], rootml.Dataset]
IDS = np.arange(NUM_EVENTS, dtype=np.int64)
ALL = columns_of(IDS)


def halves(paths: list[str]) -> Any:
    return rootml.open(paths).to_awkward()["half"]


# --- what can be cured ---


def test_a_worker_that_is_killed(events: Events, two: Any, tmp_path: Path) -> None:
    flag = tmp_path / "killed"

    def once_deadly(columns: Any) -> Any:
        if (columns["id"] > 2500).any() and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"half": columns["id"] / 2}

    data = events("ttree").filter("k > 2").select(["id"]).on(two)
    paths = data.write_friend(tmp_path / "friends", once_deadly)
    assert flag.exists()
    wanted = np.where(ALL["k"] > 2, IDS / 2, np.nan)
    np.testing.assert_array_equal(halves(paths), wanted)
    assert len(list((tmp_path / "friends").iterdir())) == 5


def test_a_worker_that_is_killed_in_the_middle_of_an_epoch(events: Events, two: Any) -> None:
    options: Any = {"shuffle": True, "seed": 2, "buffer_bytes": 60_000, "unit_bytes": 9_000}
    options |= {"inputs": ["x", "y", "k"], "observers": ["id"], "batch_size": 50}
    data = events("ttree").filter("k > 1")
    wanted = [check_batch(batch) for batch in data.batches(**options).iterate()]
    found = []
    for batch in data.on(two).batches(**options).iterate():
        found.append(check_batch(batch))
        if len(found) == 2:
            os.kill(next(iter(two.run(os.getpid).values())), signal.SIGKILL)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_partition_that_fails_once(events: Events, threads: Any, tmp_path: Path) -> None:
    flag = tmp_path / "failed"

    def moody(columns: Any) -> Any:
        if (columns["id"] > 2500).any() and not flag.exists():
            flag.touch()
            message = "the file system has a bad moment"
            raise OSError(message)
        return {"half": columns["id"] / 2}

    data = events("ttree").select(["id"]).on(threads)
    paths = data.write_friend(tmp_path / "friends", moody)
    assert flag.exists()
    np.testing.assert_array_equal(halves(paths), IDS / 2)


# --- what cannot ---


def test_a_partition_that_always_fails(events: Events, threads: Any, tmp_path: Path) -> None:
    tries = tmp_path / "tries"

    def failing(columns: Any) -> Any:
        if (columns["id"] == 2500).any():
            with tries.open("a") as stream:
                stream.write("x")
            raise ZeroDivisionError
        return {"half": columns["id"] / 2}

    data = events("ttree").select(["id"]).on(threads)
    with pytest.raises(
        ClusterError, match=r"s1_0\.root:Events, entries 0 to 1,000: .*ZeroDivisionError.* 3 times"
    ) as caught:
        data.write_friend(tmp_path / "friends", failing)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert tries.read_text() == "xxx"


def test_a_partition_that_kills_all_workers(events: Events, two: Any, tmp_path: Path) -> None:
    data = events("ttree").filter("id >= 3091").select(["id"]).on(two)

    def deadly(columns: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(
        ClusterError, match=r"s1_1\.root:Events, entries 0 to 811: several workers died"
    ):
        data.write_friend(tmp_path / "friends", deadly)
    assert not (tmp_path / "friends").exists()


def test_errors_of_ours_come_back_as_they_are(
    events: Events, threads: Any, tmp_path: Path
) -> None:
    def raised(data: rootml.Dataset, what: Callable[[rootml.Dataset], Any]) -> RootmlError:
        with pytest.raises(RootmlError) as caught:
            what(data)
        return caught.value

    large = events("ttree").define(large="id + 20000000")
    for data, what, kind in (
        (
            events("ttree").select(["first = jet[0]"]),
            lambda data: data.to_awkward(),
            MissingElementError,
        ),
        (large, lambda data: list(data.batches(10, inputs=["large"]).iterate()), CastError),
    ):
        here, there = raised(data, what), raised(data.on(threads), what)
        assert type(here) is type(there) is kind
        assert str(here) == str(there)
        assert "s0_0.root:Events, entries 0 to 700" in str(there)


@pytest.mark.parametrize("format_", ["ttree", "rntuple", "parquet"])
def test_a_file_truncated_after_the_scan(threads: Any, tmp_path: Path, format_: str) -> None:
    path = write_events(tmp_path / "f", IDS[:2000], format_)
    file = Path(path.removesuffix(":Events"))
    data = rootml.open(path).filter("k > 1").select(["id", "jet"])
    there = data.on(threads)
    there.scan()
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 2)
    for each in (there, data):
        with pytest.raises((CorruptFileError, ChangedFileError)) as caught:
            each.to_awkward()
        assert str(file) in str(caught.value)
    with pytest.raises((CorruptFileError, ChangedFileError), match=r"entries 0 to"):
        there.to_awkward()


def test_a_scheduler_that_is_gone(events: Events, tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    options: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", *common, "--port", "0"], **options
    )
    worker = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", *common, "--no-nanny"], **options
    )
    try:
        while not file.exists():
            assert scheduler.poll() is None
            time.sleep(0.05)
        dask: Any = distributed  # half typed
        with dask.Client(scheduler_file=str(file), set_as_default=False, timeout=10) as client:
            client.wait_for_workers(1)
            data = events("ttree").on(client)
            folder = tmp_path / "friends"

            def slow(columns: Any) -> Any:
                if columns["id"][0] > 0:
                    (tmp_path / "busy").touch()
                    time.sleep(60)
                return {"half": columns["id"] / 2}

            def kill() -> None:
                while not (tmp_path / "busy").exists():
                    time.sleep(0.02)
                scheduler.kill()

            killer = threading.Thread(target=kill)
            killer.start()
            started = time.monotonic()
            with pytest.raises(
                ClusterError, match=r"Events, entries 0 to .*: the Dask scheduler is gone"
            ):
                data.select(["id"]).write_friend(folder, slow)
            killer.join()
            assert not list(folder.glob("*.part.root"))
            with pytest.raises(ClusterError):
                data.filter("k > 3").scan()
            assert time.monotonic() - started < 60  # not when the worker would be done
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


def test_nothing_is_left_running(events: Events, threads: Any) -> None:
    before = threading.active_count()
    data = events("ttree").filter("k > 2").on(threads)
    assert ak.num(data.to_awkward(), axis=0) == (ALL["k"] > 2).sum()
    iterator = data.batches(10, inputs=["x"]).iterate()
    next(iterator)
    iterator.close()
    names = {thread.name for thread in threading.enumerate() if "rootml" in thread.name}
    assert names <= {"rootml-progress"}  # that of an earlier test, which ends by itself
    assert threading.active_count() <= before + 2  # Dask's own, that come when they are needed
