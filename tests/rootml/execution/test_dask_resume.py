"""Skims and friends that were interrupted go on where they stopped, on a cluster or without."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_files import FILE_ROWS, NUM_EVENTS, columns_of, write_events

import rootml
from rootml.errors import ClusterError, RootmlError, StateError, UsageError

IDS = np.arange(NUM_EVENTS, dtype=np.int64)
ALL = columns_of(IDS)
MASK = ALL["k"] > 2
STARTS = np.cumsum([0, *FILE_ROWS[0], *FILE_ROWS[1]])

Open = Callable[[], rootml.Dataset]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Five input files of this test's own."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, (start, stop) in enumerate(itertools.pairwise(STARTS)):
        write_events(folder / f"f{number}", IDS[start:stop], "ttree")
    return sorted(folder.iterdir())


@pytest.fixture(params=["here", "there"])
def open_(request: pytest.FixtureRequest, files: list[Path]) -> Open:
    """Opens the files anew; on a cluster or not."""
    client = request.getfixturevalue("threads") if request.param == "there" else None

    def dataset() -> rootml.Dataset:
        data = rootml.open([f"{path}:Events" for path in files])
        return data.filter("k > 2").select(["id", "jet"]).on(client)

    return dataset


def times(folder: Path) -> dict[str, int]:
    """When the files of these names were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("f*.root")}


class Broken:
    """A file that cannot be read for a while; afterwards it is the one it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = path.read_bytes()
        self.stat = path.stat()

    def __enter__(self) -> None:
        self.path.write_bytes(self.content[: len(self.content) // 2])

    def __exit__(self, *_: object) -> None:
        self.path.write_bytes(self.content)
        os.utime(self.path, ns=(self.stat.st_atime_ns, self.stat.st_mtime_ns))


def interrupt(open_: Open, files: list[Path], folder: Path) -> dict[str, int]:
    """A skim that stops at the fourth of five files; what it has written, and when."""
    data = open_()
    data.scan()
    data.close()
    with Broken(files[3]), pytest.raises(RootmlError, match=r"f3\.root"):
        data.skim(folder)
    written = times(folder)
    assert {"f0.root", "f1.root", "f2.root"} <= set(written)
    assert "f3.root" not in written
    assert not list(folder.glob(".*.part*"))
    assert len(list(folder.glob(".rootml-skim-*.jsonl"))) == 1
    return written


def check_skim(paths: list[str], folder: Path) -> None:
    assert sorted(folder.iterdir()) == sorted(map(Path, paths))
    np.testing.assert_array_equal(rootml.open(paths).to_awkward()["id"], IDS[MASK])


def test_a_skim_goes_on(open_: Open, files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "skim"
    written = interrupt(open_, files, folder)
    paths = open_().skim(folder)
    check_skim(paths, folder)
    for name in ("f0.root", "f1.root", "f2.root"):
        assert (folder / name).stat().st_mtime_ns == written[name]
    with pytest.raises(UsageError, match="is there already"):
        open_().skim(folder)


def test_finished_files_are_verified(open_: Open, files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "skim"
    interrupt(open_, files, folder)
    damaged = folder / "f1.root"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    (folder / "f2.root").unlink()
    (folder / ".f4.0123456789ab.part.root").write_bytes(b"half a file of a killed process")
    (manifest,) = folder.glob(".rootml-skim-*.jsonl")
    with manifest.open("a") as stream:
        stream.write('{"name": "f4.root", "si')  # killed while it wrote this
    check_skim(open_().skim(folder), folder)


def test_another_job_is_refused(open_: Open, files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "skim"
    interrupt(open_, files, folder)
    for other in (open_().filter("k > 3"), open_().select(["id"])):
        with pytest.raises(StateError, match="belongs to an unfinished job"):
            other.skim(folder)
    with pytest.raises(StateError, match="belongs to an unfinished job"):
        open_().skim(folder, tree="Other")
    rootml.open(f"{files[3]}:Events").skim(tmp_path / "elsewhere")
    paths = open_().filter("k > 3").skim(folder, overwrite=True)
    assert sorted(folder.iterdir()) == sorted(map(Path, paths))
    ids = rootml.open(paths).to_awkward()["id"]
    np.testing.assert_array_equal(ids, IDS[ALL["k"] > 3])


def test_a_damaged_list(open_: Open, files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "skim"
    interrupt(open_, files, folder)
    (manifest,) = folder.glob(".rootml-skim-*.jsonl")
    first, _, rest = manifest.read_text().partition("\n")
    assert json.loads(first)["names"] == [f"f{n}.root" for n in range(5)]
    manifest.write_text(first.replace('"format": 1', '"format": 9') + "\n" + rest)
    with pytest.raises(StateError, match="not a list of finished files that this version"):
        open_().skim(folder)


# --- friends ---


def friend_of(mask: Any = MASK) -> Any:
    return np.where(mask, IDS / 2, np.nan)


def failing_at(number: int, scale: float = 0.5) -> Any:
    """A function of the columns that fails for the events of file `number`."""
    first, stop = int(STARTS[number]), int(STARTS[number + 1])

    def function(columns: Any) -> Any:
        ids = columns["id"].to_numpy() if hasattr(columns["id"], "to_numpy") else columns["id"]
        if ((ids >= first) & (ids < stop)).any():
            message = "no value for these"
            raise ZeroDivisionError(message)
        return {"half": ids * scale}

    return function


def good(scale: float = 0.5) -> Any:
    return lambda columns: {"half": columns["id"] * scale}


def test_friends_go_on(open_: Open, tmp_path: Path) -> None:
    folder = tmp_path / "friends"
    with pytest.raises((ZeroDivisionError, ClusterError), match="no value for these"):
        open_().write_friend(folder, failing_at(3))
    written = times(folder)
    assert set(written) == {"f0.root", "f1.root", "f2.root"}
    with pytest.raises(StateError, match="belongs to an unfinished job"):
        open_().write_friend(folder, good(scale=0.25))
    paths = open_().write_friend(folder, good())
    assert sorted(folder.iterdir()) == sorted(map(Path, paths))
    for name, when in written.items():
        assert (folder / name).stat().st_mtime_ns == when
    np.testing.assert_array_equal(rootml.open(paths).to_awkward()["half"], friend_of())


def test_batches_of_values_begin_anew(open_: Open, tmp_path: Path) -> None:
    folder = tmp_path / "friends"
    values = [{"half": IDS[MASK][start : start + 100] / 2} for start in range(0, 3000, 100)]
    with pytest.raises(UsageError, match="the values end"):
        open_().write_friend(folder, values[:20])
    assert list(folder.iterdir()) == []
    values = [part for part in values if len(part["half"])]
    paths = open_().write_friend(folder, values)
    np.testing.assert_array_equal(rootml.open(paths).to_awkward()["half"], friend_of())


_SCRIPT = """
import sys, time, pathlib
import rootml
folder, *files = sys.argv[1:]
data = rootml.open([f + ":Events" for f in files]).filter("k > 2").select(["id", "jet"])
def half(columns):
    while (columns["id"] >= {stop}).any():
        time.sleep(60)
    return {{"half": columns["id"] * 0.5}}
data.write_friend(folder, half, threads=1)
"""


def test_a_process_that_is_killed(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "friends"
    script = _SCRIPT.format(stop=STARTS[2])
    process = subprocess.Popen([sys.executable, "-c", script, str(folder), *map(str, files)])
    try:
        while not (folder / "f1.root").exists():
            assert process.poll() is None
            time.sleep(0.05)
        (listed,) = folder.glob(".rootml-*.jsonl")
        while "f1.root" not in listed.read_text().partition("\n")[2]:
            time.sleep(0.05)
        while not list(folder.glob(".f2.*.part.root")):
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    written = times(folder)
    assert set(written) == {"f0.root", "f1.root"}
    data = rootml.open([f"{path}:Events" for path in files]).filter("k > 2")
    paths = data.select(["id", "jet"]).write_friend(folder, good())
    assert sorted(folder.iterdir()) == sorted(map(Path, paths))
    for name, when in written.items():
        assert (folder / name).stat().st_mtime_ns == when
    np.testing.assert_array_equal(rootml.open(paths).to_awkward()["half"], friend_of())
