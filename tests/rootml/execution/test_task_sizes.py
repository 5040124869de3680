"""Many small partitions go to a cluster in few tasks, and each is still answered for alone."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from event_files import columns_of

import rootml
from rootml.dataset._tasks import SelectedPartition
from rootml.errors import ClusterError, CorruptFileError, UsageError
from rootml.execution._dask import DaskExecutor
from rootml.execution._task_sizes import Cost, TaskSizer, cost_of, size_of
from rootml.partitions import Partition

FILES, ROWS = 60, 40
IDS = np.arange(FILES * ROWS, dtype=np.int64)
ALL = columns_of(IDS)
MASK = ALL["k"] > 2


@pytest.fixture
def small(tmp_path: Path) -> list[Path]:
    """Sixty files of forty events each."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(FILES):
        ids = IDS[number * ROWS : (number + 1) * ROWS]
        columns = {name: columns_of(ids)[name] for name in ("id", "x", "y", "k")}
        with uproot.recreate(folder / f"f{number:02d}.root") as file:
            file.mktree("T", {name: values.dtype for name, values in columns.items()})
            file["T"].extend(columns)
    return sorted(folder.iterdir())


@pytest.fixture
def tasks(threads: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items each task has that is sent from here on."""
    sizes: list[int] = []
    whole = type(threads).submit

    def counted(self: Any, function: Any, *args: Any, **options: Any) -> Any:
        if function.__name__ in {"_work_alone", "_work_all"}:
            sizes.append(len(args[1]) if function.__name__ == "_work_all" else 1)
        return whole(self, function, *args, **options)

    monkeypatch.setattr(type(threads), "submit", counted)
    return sizes


def parts(count: int = 30) -> list[Partition]:
    """Neighbours of ten entries each, so little that they go together."""
    return [Partition(0, 0, "f.root", "T", 10 * n, 10 * n + 10) for n in range(count)]


def cut_short(path: Path) -> None:
    """Damage the baskets of a file, not its header."""
    with uproot.open(path) as file:
        seek = int(file["T/k"].member("fBasketSeek")[0])
    raw = bytearray(path.read_bytes())
    raw[seek : seek + 18] = bytes(18)
    stat = path.stat()
    path.write_bytes(raw)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


# --- everything as in one process ---


def test_many_files_in_few_tasks(
    small: list[Path], threads: Any, tasks: list[int], tmp_path: Path
) -> None:
    data = rootml.open([f"{path}:T" for path in small]).filter("k > 2").on(threads)
    index = data.scan()
    assert sum(tasks) == FILES
    assert len(tasks) < FILES / 4
    assert index.num_rows == MASK.sum()
    found = np.concatenate([index.mask(number) for number in range(len(index.partitions))])
    np.testing.assert_array_equal(found, MASK)
    tasks.clear()
    np.testing.assert_array_equal(data.select(["id"]).to_awkward()["id"], IDS[MASK])
    assert sum(tasks) == FILES
    assert len(tasks) < FILES / 2
    tasks.clear()
    paths = data.select(["id", "y"]).skim(tmp_path / "skim")
    assert len(tasks) < FILES
    ids = [uproot.open(path)["T/id"].array(library="np") for path in paths]
    assert [len(each) for each in ids] == MASK.reshape(FILES, ROWS).sum(axis=1).tolist()
    np.testing.assert_array_equal(np.concatenate(ids), IDS[MASK])


def test_units_of_small_files_are_decoded_together(
    small: list[Path], threads: Any, tasks: list[int]
) -> None:
    data = rootml.open([f"{path}:T" for path in small]).filter("k > 2").on(threads)
    data.scan()
    options: Any = {"batch_size": 50, "inputs": ["x"], "observers": ["id"], "shuffle": True}
    for epoch in range(2):
        tasks.clear()
        loader = data.batches(seed=4, buffer_bytes=1_000_000, unit_bytes=9_000, **options)
        loader.set_epoch(epoch)
        batches: Any = list(loader.iterate())
        found = [(batch.observers["id"], batch.x[:, 0]) for batch in batches]
        ids = np.concatenate([each for each, _ in found])
        np.testing.assert_array_equal(np.sort(ids), IDS[MASK])
        np.testing.assert_array_equal(np.concatenate([x for _, x in found]), ALL["x"][ids])
        assert len(tasks) < FILES
        here = data.on(None).batches(seed=4, buffer_bytes=1_000_000, unit_bytes=9_000, **options)
        here.set_epoch(epoch)
        others: Any = list(here.iterate())
        np.testing.assert_array_equal(ids, np.concatenate([b.observers["id"] for b in others]))


# --- one of them fails ---


def test_one_of_a_group_that_always_fails(threads: Any, tasks: list[int], tmp_path: Path) -> None:
    tries = tmp_path / "tries"

    def failing(part: Partition) -> int:
        if part.start == 170:
            with tries.open("a") as stream:
                stream.write("x")
            raise ZeroDivisionError
        return part.start

    results = DaskExecutor(threads).map(failing, parts(), what="dividing")
    assert [next(results) for _ in range(17)] == list(range(0, 170, 10))
    where = r"f\.root:T, entries 170 to 180: .*ZeroDivisionError.* 3 times"
    with pytest.raises(ClusterError, match=where) as caught:
        next(results)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert tries.read_text() == "xxx"
    assert max(tasks) > 5


@pytest.mark.parametrize("error", [OSError, CorruptFileError])
def test_one_of_a_group_that_fails_once(
    threads: Any, tmp_path: Path, error: type[Exception]
) -> None:
    def moody(part: Partition) -> int:
        flag = tmp_path / str(part.start)
        if part.start % 70 == 0 and not flag.exists():
            flag.touch()
            message = "a bad moment"
            raise error(message)
        return part.start

    assert list(DaskExecutor(threads).map(moody, parts(), what="waiting")) == list(
        range(0, 300, 10)
    )
    assert len(list(tmp_path.iterdir())) == 5


def test_the_first_error_in_order_is_raised_and_final_ones_are_not_tried_again(
    threads: Any, tmp_path: Path
) -> None:
    def refusing(part: Partition) -> int:
        if part.start in {120, 130}:
            (tmp_path / f"{part.start}.{time.monotonic_ns()}").touch()
            message = f"no {part.start}"
            raise UsageError(message)
        return part.start

    with pytest.raises(UsageError, match=r"^f\.root:T, entries 120 to 130: no 120$"):
        list(DaskExecutor(threads).map(refusing, parts(), what="asking"))
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["120", "130"]


def test_results_that_cannot_be_sent_name_their_item(two: Any) -> None:
    lock = threading.Lock

    def locking(part: Partition) -> Any:
        return lock() if part.start == 50 else part.start

    results = DaskExecutor(two).map(locking, parts(8), what="locking")
    assert [next(results) for _ in range(5)] == [0, 10, 20, 30, 40]
    with pytest.raises(ClusterError, match="entries 50 to 60: on the Dask cluster: TypeError"):
        next(results)


def test_a_damaged_file_among_many(small: list[Path], threads: Any) -> None:
    data = rootml.open([f"{path}:T" for path in small]).filter("k > 2").on(threads)
    data.samples[0].files.infos()
    cut_short(small[37])
    with pytest.raises(CorruptFileError, match=r"f37\.root:T.*entries 0 to 40"):
        data.scan()


def test_a_worker_that_is_killed_in_a_group(two: Any, tmp_path: Path) -> None:
    flag = tmp_path / "killed"

    def once_deadly(part: Partition) -> int:
        if part.start == 170 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return part.start

    found = list(DaskExecutor(two).map(once_deadly, parts(), what="dying"))
    assert flag.exists()
    assert found == list(range(0, 300, 10))


def test_one_of_a_group_that_kills_all_workers(two: Any) -> None:
    def deadly(part: Partition) -> int:
        if part.start == 170:
            os.kill(os.getpid(), signal.SIGKILL)
        return part.start

    results = DaskExecutor(two).map(deadly, parts(), what="dying")
    assert [next(results) for _ in range(17)] == list(range(0, 170, 10))
    with pytest.raises(ClusterError, match=r"f\.root:T, entries 170 to 180: several workers died"):
        next(results)


# --- from several threads ---


def test_calls_of_many_threads_go_together(threads: Any, tasks: list[int]) -> None:
    def slowly(part: Partition) -> int:
        time.sleep(0.005)
        if part.start == 110:
            message = "no 110"
            raise UsageError(message)
        return part.start

    held = DaskExecutor(threads).broadcast(slowly, what="calling")
    with ThreadPoolExecutor(30) as pool:
        calls = [pool.submit(held, part) for part in parts(60)]
    for number, call in enumerate(calls):
        if number == 11:
            with pytest.raises(UsageError, match="entries 110 to 120: no 110"):
                call.result()
        else:
            assert call.result() == 10 * number
    assert sum(tasks) == 60
    assert len(tasks) < 40


# --- how many ---


def test_what_items_cost() -> None:
    large, small_ = (Partition(0, 0, "f", "T", 0, stop) for stop in (1_000_000, 1000))
    assert cost_of(large).seconds > 10 * cost_of(small_).seconds
    rows = SelectedPartition(large, np.packbits(np.arange(1_000_000) % 4 == 0))
    assert cost_of(rows).nbytes == pytest.approx(100 * 250_000)
    assert cost_of(SelectedPartition(large, None)).nbytes > 3 * cost_of(rows).nbytes
    assert cost_of("something").group == 1
    assert size_of({"a": np.zeros(5), "b": [np.zeros(3, np.float32), None]}) == 52


def test_groups_of_known_items_are_shared_by_all_workers() -> None:
    pace = TaskSizer()
    costs = [Cost(0.01, group=64)] * 100
    assert pace.take(costs, 1.0, 1) == 25  # a quarter of a second
    assert pace.take(costs, 1.0, 10) == 10  # all of them have something to do
    assert pace.take(costs, 1.0, 1000) == 5  # a twentieth of a second at least
    assert pace.take(costs[:3], 0.03, 1) == 3
    assert pace.take([Cost(9.0)] * 3, 27.0, 1) == 1


def test_groups_follow_what_was_measured() -> None:
    pace = TaskSizer()
    unknown = [cost_of(None)] * 1000
    left = sum(cost.seconds for cost in unknown)
    assert pace.take(unknown, left, 2) == 1
    sizes = []
    for _ in range(12):
        count = pace.take(unknown, left, 2)
        sizes.append(count)
        pace.learn(unknown[:count], 0.001 * count, 0)
    assert sizes[:5] == [1, 2, 4, 8, 16]
    assert sizes[-1] == 252  # of a millisecond each
    pace.learn(unknown[:250], 250 * 0.1, 0)
    pace.learn(unknown[:250], 250 * 0.1, 0)
    assert pace.take(unknown, left, 2) < 6


def test_groups_are_as_large_as_their_results_allow() -> None:
    pace = TaskSizer()
    rows = [Cost(0.001, 5_000_000, 64)] * 50
    assert pace.take(rows, 1.0, 1) == 3
    pace.learn(rows[:3], 0.003, 3 * 9_000_000)
    assert pace.take(rows, 1.0, 1) == 1
