"""Wide trees: what is asked for is parsed and nothing else, as uproot has it, which parses all."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

import rootml
from rootml.errors import ChangedFileError, CorruptFileError, RootmlError
from rootml.storage import Columns, Table, open_table
from rootml.storage.ttree._branches import Branch, Tree
from rootml.storage.ttree._survey import survey

RealFile = Callable[[str], str]
ROOT_FILES = {
    "uproot-HZZ.root": "events",
    "uproot-Zmumu-zstd.root": "events",
    "nanoAOD_2015_CMS_Open_Data_ttbar.root": "Events",
    "uproot-issue187.root": "fTreeV0",
    "uproot-stl_containers.root": "tree",
    "uproot-small-flat-tree.root": "tree",
}
WIDTH, EVENTS = 300, 500
IDS = np.arange(EVENTS)


@pytest.fixture
def wide(tmp_path: Path) -> str:
    """A tree of 300 columns in two clusters; column `c7` is 7, 8, 9, ..."""
    path = tmp_path / "wide.root"
    columns = {f"c{number}": IDS + number for number in range(WIDTH)}
    with uproot.recreate(path) as file:
        file.mktree("T", {name: values.dtype for name, values in columns.items()})
        for start, stop in ((0, 200), (200, EVENTS)):
            file["T"].extend({name: values[start:stop] for name, values in columns.items()})
    return str(path)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the branches that are parsed one by one from here on."""
    names: list[str] = []
    whole = Tree._branch

    def noted(self: Tree, *args: Any, **options: Any) -> Branch:
        branch = whole(self, *args, **options)
        names.append(branch.name)
        return branch

    monkeypatch.setattr(Tree, "_branch", noted)
    return names


def tree_of(path: str, name: str) -> Tree:
    """The parsed header of a tree."""
    with open_table(path, name) as table:
        key = table._key  # type: ignore[attr-defined]
        with table._guard.source(table.where) as source:  # type: ignore[attr-defined]
            return table._tree(source, key)  # type: ignore[attr-defined, no-any-return]


# --- all branches at once ---


@pytest.mark.parametrize("name", ROOT_FILES)
def test_branches_are_those_that_uproot_finds(name: str, real_file: RealFile) -> None:
    path, tree = real_file(name), ROOT_FILES[name]
    found = survey(tree_of(path, tree))
    with uproot.open(path) as file:
        branches = [file[tree][key] for key in file[tree].keys(recursive=True)]
        assert list(found.paths) == file[tree].keys(recursive=True)
        entries = [-1 if len(branch.branches) else branch.num_entries for branch in branches]
        classes = [branch.classname for branch in branches]
        own = [branch.member("fZipBytes") for branch in branches if not len(branch.branches)]
    assert found.entries.tolist() == entries
    assert [("TBranch", "TBranchElement", "TBranchObject")[c] for c in found.codes] == classes
    assert found.zipped[found.entries >= 0].tolist() == own


@pytest.mark.parametrize("name", ["nanoAOD_2015_CMS_Open_Data_ttbar.root", "uproot-HZZ.root"])
def test_plain_branches_are_not_parsed_one_by_one(
    name: str, real_file: RealFile, parsed: list[str]
) -> None:
    assert len(survey(tree_of(real_file(name), ROOT_FILES[name])).paths) > 40
    assert not parsed


def test_common_boundaries_are_those_of_uproot(tmp_path: Path, wide: str) -> None:
    with uproot.open(wide) as file, open_table(wide, "T") as table:
        assert table.clusters().tolist() == [0, 200, EVENTS]
        assert table.clusters().tolist() == list(file["T"].common_entry_offsets())


# --- what is asked for ---


def test_what_is_read_is_parsed(wide: str, parsed: list[str]) -> None:
    with open_table(wide, "T") as table:
        assert len(table.columns) == WIDTH
        assert table.stored_bytes(["c3"]) > 0
        assert table.clusters()[-1] == EVENTS
        found = table.read(["c250", "c7"], 100, 300)
        assert sorted(parsed) == ["c250", "c3", "c7"]
    with uproot.open(wide) as file:
        theirs = file["T"].arrays(["c250", "c7"], entry_start=100, entry_stop=300, library="np")
    for name in ("c250", "c7"):
        np.testing.assert_array_equal(found[name], theirs[name])


def test_a_scan_parses_what_the_cut_needs(wide: str, parsed: list[str]) -> None:
    data = rootml.open(f"{wide}:T").filter("c5 > 104").define(twice="2 * c6").filter("twice < 900")
    index = data.scan()
    assert set(parsed) == {"c5", "c6"}
    with uproot.open(wide) as file:
        theirs = file["T"].arrays(["c5", "c6"], library="np")
    mask = (theirs["c5"] > 104) & (2 * theirs["c6"] < 900)
    assert index.num_rows == mask.sum()
    assert index.num_entries == EVENTS
    assert set(parsed) == {"c5", "c6"}
    assert index.partitions == data.partitions()
    assert index.counts.sum() == mask.sum()


def test_loops_over_all_types_are_one_question(wide: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_table(wide, "T") as table:
        asked = []
        whole = type(table)._types  # type: ignore[attr-defined]

        def counted(self: Table, names: Any) -> Any:
            asked.append(len(names))
            return whole(self, names)

        monkeypatch.setattr(type(table), "_types", counted)
        columns = table.columns
        types = {name: columns[name] for name in columns}
        assert sum(asked) == WIDTH
        assert len(asked) < 80
        assert types == dict(columns.items())
        assert {str(kind) for kind in types.values()} == {"int64"}


def test_types_outlive_the_table_and_travel(wide: str) -> None:
    with open_table(wide, "T") as table:
        columns = table.columns
    assert str(columns["c299"]) == "int64"
    copy = pickle.loads(pickle.dumps(columns))
    assert type(copy) is Columns
    assert copy == columns
    data = rootml.open(f"{wide}:T").select(["c1", "sum = c1 + c2"])
    assert str(data.types()["sum"]) == "int64"
    data.close()
    assert str(data.select(["c9"]).types()["c9"]) == "int64"


def test_a_pickled_dataset_knows_names_and_finds_types(wide: str, parsed: list[str]) -> None:
    data = rootml.open(f"{wide}:T").filter("c5 > 104")
    data.scan()
    size = len(pickle.dumps(data._reader))
    assert size < 10 * WIDTH + 3000
    parsed.clear()
    copy = pickle.loads(pickle.dumps(data))
    assert len(copy.columns) == WIDTH
    np.testing.assert_array_equal(copy.select(["c9"]).to_awkward()["c9"], IDS[IDS > 99] + 9)


# --- damage and change ---


def test_damage_of_one_branch_is_its_own(wide: str) -> None:
    tree = tree_of(wide, "T")
    found = survey(tree)
    raw = Path(wide).read_bytes()
    at = raw.index(tree.data)  # uproot writes it as it is
    begin = at + int(found.positions[77])
    leaf = raw.index(b"TLeaf", begin) if b"TLeaf" in raw[begin : begin + 400] else begin + 150
    broken = bytearray(raw)
    broken[leaf + 12 : leaf + 16] = b"\xff" * 4
    Path(wide).write_bytes(broken)
    with open_table(wide, "T") as table:
        for name in ("c76", "c78", "c299"):
            number = int(name[1:])
            np.testing.assert_array_equal(table.read([name], 0, EVENTS)[name], IDS + number)
        with pytest.raises(RootmlError, match=r"wide\.root:T"):
            table.read(["c77"], 0, EVENTS)


@pytest.mark.parametrize("seed", range(4))
def test_damage_anywhere_in_the_record_is_an_error_or_harmless(wide: str, seed: int) -> None:
    tree = tree_of(wide, "T")
    raw = Path(wide).read_bytes()
    start, rng = raw.index(tree.data), np.random.default_rng(seed)
    for _ in range(25):
        broken = bytearray(raw)
        where = start + int(rng.integers(len(tree.data)))
        broken[where] ^= 1 << int(rng.integers(8))
        Path(wide).write_bytes(broken)
        with reported(), open_table(wide, "T") as table:
            table.clusters()
            names = [name for name in ("c0", "c150") if name in table.columns]
            for name, values in table.read(names, 0, 10).items():
                np.testing.assert_array_equal(values, IDS[:10] + int(name[1:]), err_msg=name)


@contextmanager
def reported() -> Iterator[None]:
    """Lets errors of ours pass that name the file."""
    try:
        yield
    except RootmlError as error:
        if "wide.root" not in str(error):
            raise


def test_a_file_that_changes_before_its_types_are_asked_for(wide: str) -> None:
    with open_table(wide, "T") as table:
        columns = table.columns
        assert str(columns["c1"]) == "int64"
        stat = Path(wide).stat()
        os.utime(wide, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
        assert str(columns["c1"]) == "int64"
        with pytest.raises(ChangedFileError, match=r"wide\.root:T has changed"):
            columns["c2"]


def test_another_file_of_the_same_name_and_length(wide: str, tmp_path: Path) -> None:
    """The record of a tree is remembered, but not for another file."""
    with open_table(wide, "T") as table:
        assert "c299" in table.columns
    stat, raw = Path(wide).stat(), Path(wide).read_bytes()
    other = tmp_path / "other.root"
    with uproot.recreate(other) as file:
        file.mktree("T", {"d": IDS.dtype})
        file["T"].extend({"d": IDS})
    Path(wide).write_bytes(other.read_bytes().ljust(len(raw), b"\0"))
    os.utime(wide, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with open_table(wide, "T") as table:
        assert list(table.columns) == ["d"]
        np.testing.assert_array_equal(table.read(["d"], 0, EVENTS)["d"], IDS)


def test_a_truncated_record(wide: str) -> None:
    tree = tree_of(wide, "T")
    raw = Path(wide).read_bytes()
    start = raw.index(tree.data)
    broken = bytearray(raw)
    half = len(tree.data) // 2
    broken[start + half : start + 2 * half] = bytes(half)
    Path(wide).write_bytes(broken)
    with pytest.raises(CorruptFileError, match=r"wide\.root"), open_table(wide, "T") as table:
        table.read(["c299"], 0, 10)
