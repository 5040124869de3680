"""Headers kept on disk: planning opens no file again, and nothing kept is believed blindly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

import rootml
from rootml.dataset._reader import Reader
from rootml.errors import ChangedFileError
from rootml.partitions import Partition
from rootml.storage import open_table

NUMBER = 20
SMALL = 900  # bytes: the clusters of 100 events below are not joined, and divided


def write(path: Path, events: int, start: int = 0) -> None:
    """A file of clusters of 100 events, the last one shorter."""
    ids = np.arange(start, start + events)
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", {"id": np.int64, "x": np.float64})
        for first in range(0, events, 100):
            part = ids[first : first + 100]
            tree.extend({"id": part, "x": part / 2})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty files, and a place for headers beside them."""
    monkeypatch.setenv("ROOTML_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    for number in range(NUMBER):
        write(data / f"f_{number}.root", 150 + number, 1000 * number)
    return data


def document(folder: Path) -> Path:
    (found,) = (folder.parent / "cache" / "headers").iterdir()
    return found


def plan(folder: Path, size: int = SMALL) -> tuple[Partition, ...]:
    data = rootml.open(str(folder / "*.root"))
    return Reader(data.samples).partitions(size)


def entries(folder: Path) -> list[int]:
    """What uproot says of each file."""
    counts = []
    for number in range(NUMBER):
        with uproot.open(folder / f"f_{number}.root") as file:
            counts.append(int(file["Events"].num_entries))
    return counts


def check(partitions: tuple[Partition, ...], folder: Path) -> None:
    """Partitions cover each file, divided at its clusters."""
    for number, count in enumerate(entries(folder)):
        mine = [p for p in partitions if p.file == number]
        assert [p.start for p in mine] == list(range(0, count, 100))
        assert [p.stop for p in mine] == [*range(100, count, 100), count]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the tables that are opened."""
    paths: list[str] = []

    def counting(path: str, tree: str | None = None) -> Any:
        paths.append(path)
        return open_table(path, tree)

    monkeypatch.setattr("rootml.files._files.open_table", counting)
    return paths


def test_nothing_is_opened_twice(folder: Path, opened: list[str]) -> None:
    first = plan(folder)
    check(first, folder)
    assert len(opened) == NUMBER
    opened.clear()
    assert plan(folder) == first
    assert len(opened) == 1  # whose columns are those of all
    assert (folder.parent / "cache" / "headers").stat().st_mode & 0o777 == 0o700


def test_another_question_is_asked_of_the_files(folder: Path, opened: list[str]) -> None:
    whole = plan(folder, 10**9)  # needs no clusters
    assert [p.num_entries for p in whole] == entries(folder)
    opened.clear()
    check(plan(folder), folder)
    assert len(opened) == NUMBER
    opened.clear()
    check(plan(folder), folder)
    assert len(opened) == 1


@pytest.mark.needs_root
def test_large_clusters_are_divided_without_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str], root: Any
) -> None:
    monkeypatch.setenv("ROOTML_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    frame = root.RDataFrame(20_000).Define("x", "double(rdfentry_)").Define("y", "x * 2")
    frame.Snapshot("Events", str(data / "f_0.root"))
    for number in range(1, NUMBER):
        shutil.copy(data / "f_0.root", data / f"f_{number}.root")
    first = plan(data, 64_000)
    assert len(first) > NUMBER  # though each file is one cluster
    opened.clear()
    assert plan(data, 64_000) == first
    assert len(opened) == 1


def test_a_file_written_since(folder: Path) -> None:
    plan(folder)
    write(folder / "f_7.root", 333)
    check(plan(folder), folder)
    data = rootml.open(str(folder / "*.root")).filter("id >= 0")
    assert data.scan().num_rows == sum(entries(folder))


def test_a_file_replaced_by_one_of_the_same_size_and_time(folder: Path) -> None:
    path = folder / "f_3.root"
    before = path.stat()
    plan(folder)
    write(path, 153, 50_000)
    now = path.stat()
    assert now.st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    data = rootml.open(str(folder / "*.root"))
    with pytest.raises(ChangedFileError, match=r"f_3\.root"):
        data.to_awkward()
    again = rootml.open(str(folder / "*.root")).to_awkward()
    np.testing.assert_array_equal(again["id"][again["id"] >= 50_000], np.arange(50_000, 50_153))
    assert len(again) == sum(entries(folder))


def damage(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Changes the content of a document."""

    def apply(path: Path) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return apply


def in_entry(**changes: Any) -> Callable[[Path], None]:
    return damage(lambda content: content["files"]["f_4.root"].update(changes))


HARMS: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "no text": lambda path: path.write_bytes(b"\xff\xfe" * 30),
    "too deep": lambda path: path.write_text("[" * 100_000),
    "a list": lambda path: path.write_text("[]"),
    "another format": damage(lambda content: content.update(format=99)),
    "another place": damage(lambda content: content.update(place="/elsewhere/")),
    "a list of files": damage(lambda content: content.update(files=[])),
    "a number for an entry": damage(lambda content: content["files"].update({"f_4.root": 3})),
    "something missing": damage(lambda content: content["files"]["f_4.root"].pop("entries")),
    "negative": in_entry(entries=-1),
    "a bool": in_entry(entries=True),
    "more entries than clusters": in_entry(entries=1000),
    "a text": in_entry(entries="154"),
    "no tree": in_entry(tree=None),
    "clusters that fall": in_entry(clusters=[0, 200, 154]),
    "no clusters": in_entry(clusters=[]),
    "half a cluster": in_entry(clusters=[0, 0.5, 154]),
    "a huge cluster": in_entry(clusters=[0, 2**70], entries=2**70),
    "a cut outside": in_entry(cuts={"0:154:50:x": [154]}),
    "a cut of nothing": in_entry(cuts={"": []}),
    "half a fingerprint": in_entry(print={"size": 1}),
    "more than a fingerprint": in_entry(print={"size": 1, "modified": 1, "uuid": "", "a": 1}),
}


@pytest.mark.parametrize("harm", HARMS)
def test_damaged_documents_are_not_believed(
    folder: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    plan(folder)
    HARMS[harm](document(folder))
    check(plan(folder), folder)
    check(plan(folder), folder)  # what was read anew was kept
    assert "Traceback" not in caplog.text


def test_documents_that_others_may_write_to(folder: Path, opened: list[str]) -> None:
    plan(folder)
    opened.clear()
    document(folder).chmod(0o666)
    check(plan(folder), folder)
    assert len(opened) == NUMBER


@pytest.mark.parametrize("place", ["", "/proc/nowhere"])
def test_without_a_place(folder: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("ROOTML_CACHE", place)
    check(plan(folder), folder)
    check(plan(folder), folder)
    assert not (folder.parent / "cache").exists()


def test_few_local_files_are_not_kept(folder: Path) -> None:
    data = rootml.open([str(folder / f"f_{number}.root") for number in range(3)])
    assert data.scan().num_rows == sum(entries(folder)[:3])
    assert not (folder.parent / "cache").exists()


def test_processes_at_the_same_time(folder: Path) -> None:
    script = f"""
import rootml
from rootml.dataset._reader import Reader
for _ in range(5):
    data = rootml.open({str(folder / "*.root")!r})
    Reader(data.samples).partitions({SMALL})
    data.samples[0].files._saved.clear()
    data.samples[0].files.save_headers()
"""
    running = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert len(json.loads(document(folder).read_text())["files"]) == NUMBER
    check(plan(folder), folder)
