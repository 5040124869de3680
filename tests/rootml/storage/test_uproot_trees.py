"""Trees that uproot has to read are parsed once, not once for each read."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from rootml.errors import ChangedFileError, UsageError
from rootml.storage import Table, _uproot, open_table

EVENTS = 60


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that uproot is asked to open."""
    paths: list[str] = []
    true = _uproot._open_guarded

    def spied(guard: Any, **options: Any) -> Any:
        paths.append(Path(guard.path).name)
        return true(guard, **options)

    monkeypatch.setattr(_uproot, "_open_guarded", spied)
    monkeypatch.setattr(_uproot, "_parsed_trees", _uproot._ParsedTrees(2))
    return paths


def texts(table: Table, start: int, stop: int) -> Any:
    """Texts, which no direct reader reads."""
    return ak.to_list(table.read(["s"], start, stop)["s"])


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = []
    for number in range(4):
        path = str(tmp_path / f"{number}.root")
        with uproot.recreate(path) as file:
            file["t"] = {"x": np.arange(EVENTS) + number, "s": [str(number)] * EVENTS}
        paths.append(path)
    return paths


def test_one_tree_serves_all_reads(files: list[str], parsed: list[str]) -> None:
    with open_table(files[0], "t") as table:
        for start in range(0, EVENTS, 10):
            assert texts(table, start, start + 10) == ["0"] * 10
    assert parsed == ["0.root"]
    with pytest.raises(UsageError, match="closed"):
        table.read(["s"], 0, 1)


def test_threads_have_a_tree_each(files: list[str], parsed: list[str]) -> None:
    with open_table(files[0], "t") as table, ThreadPoolExecutor(4) as pool:
        starts = list(range(0, EVENTS, 2)) * 3
        found = list(pool.map(lambda start: texts(table, start, start + 2), starts))
    assert found == [["0"] * 2] * len(starts)
    assert 1 <= len(parsed) < len(starts)


def test_only_the_last_trees_are_kept(files: list[str], parsed: list[str]) -> None:
    tables = [open_table(path, "t") for path in files]
    for _ in range(2):
        for number, table in enumerate(tables):
            assert texts(table, 3, 4) == [str(number)]
    assert len(parsed) == 8  # two are kept, and four ask for one in turn
    assert len(_uproot._parsed_trees._trees) == 2
    del table
    tables.clear()
    with open_table(files[0], "t") as table:
        table.read(["s"], 0, 1)
        assert len(_uproot._parsed_trees._trees) == 1  # of tables that are gone none is left
    assert not _uproot._parsed_trees._trees


def test_a_changed_file_is_noticed(files: list[str], parsed: list[str]) -> None:
    with open_table(files[0], "t") as table:
        table.read(["s"], 0, EVENTS)
        Path(files[0]).write_bytes(Path(files[1]).read_bytes())
        os.utime(files[0], ns=(1, 1))
        with pytest.raises(ChangedFileError, match=r"0\.root"):
            table.read(["s"], 0, EVENTS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_reads_beside_its_parent(files: list[str]) -> None:
    with open_table(files[1], "t") as table:
        table.read(["s"], 0, EVENTS)
        child = os.fork()
        ok = all(texts(table, 5, 50) == ["1"] * 45 for _ in range(50))
        if child == 0:
            os._exit(0 if ok else 1)
        assert ok
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
