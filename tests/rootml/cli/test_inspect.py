"""`rootml inspect` beside uproot, pyarrow and ROOT, on real files and on broken ones."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import uproot

from rootml.cli import main

Run = Callable[..., dict[str, Any]]

REAL = [
    "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root",
    "nanoAOD_2015_CMS_Open_Data_ttbar.root",
    "uproot-HZZ.root",
    "uproot-Zmumu-zstd.root",
    "uproot-issue187.root",
    "uproot-small-flat-tree.root",
    "uproot-stl_containers.root",
]


@pytest.fixture
def facts(capsys: pytest.CaptureFixture[str]) -> Run:
    """The JSON of one file."""

    def run(*words: str | Path, code: int = 0) -> dict[str, Any]:
        assert main(["inspect", *map(str, words), "--json"]) == code
        (found,) = json.loads(capsys.readouterr().out)["files"]
        assert isinstance(found, dict)
        return found

    return run


def shown(
    capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0
) -> tuple[str, str]:
    assert main(["inspect", *map(str, words)]) == code
    return capsys.readouterr()


@pytest.mark.parametrize("name", REAL)
def test_entries_columns_and_sizes_of_real_files(
    name: str, real_file: Callable[[str], str], facts: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    path = real_file(name)
    found = facts(path)
    (tree,) = found["trees"]
    with uproot.open(path) as file:
        theirs = file[tree["name"]]
        assert found["bytes"] == os.path.getsize(path)  # noqa: PTH202
        assert found["uuid"] == str(file.file.uuid)
        assert tree["entries"] == theirs.num_entries
        assert tree["class"] == theirs.classname
        if tree["class"] == "TTree":
            branches = dict(theirs.iteritems(recursive=True, full_paths=False))
            for column in tree["columns"]:
                branch = branches.get(column["name"])
                if branch is not None and branch.compressed_bytes and not branch.branches:
                    assert column["packed_bytes"] == branch.compressed_bytes
                    assert column["unpacked_bytes"] == branch.uncompressed_bytes
            assert (tree["packed_bytes"] or 0) == sum(
                branch.compressed_bytes for branch in theirs.itervalues(recursive=True)
            )
    text, _ = shown(capsys, path)
    assert f"{tree['entries']:,}" in text
    assert tree["columns"][0]["name"] in text


def test_pages_of_an_rntuple(real_file: Callable[[str], str], facts: Run) -> None:
    path = real_file(REAL[0])
    (tree,) = facts(path)["trees"]
    with uproot.open(path) as file:
        pages = [
            page.locator.num_bytes
            for cluster in file["Events"].page_link_list
            for column in cluster
            for page in column.pages
        ]
        charges = file["Events"]["Muon_charge"].array()
    assert tree["packed_bytes"] == sum(pages)
    assert tree["compression"] == ["zstd 5"]
    columns = {column["name"]: column for column in tree["columns"]}
    inner = columns["_collection0.Muon_charge"]
    assert inner["unpacked_bytes"] == 4 * int(np.sum([len(row) for row in charges]))
    offsets = 8 * tree["entries"]
    assert columns["Muon_charge"]["unpacked_bytes"] == inner["unpacked_bytes"] + offsets
    assert columns["Muon_charge"]["same_as"] == "_collection0.Muon_charge"


@pytest.mark.needs_root
@pytest.mark.parametrize("name", ["uproot-HZZ.root", "uproot-Zmumu-zstd.root"])
def test_sizes_and_settings_as_root_says(
    name: str, real_file: Callable[[str], str], facts: Run, root: Any
) -> None:
    path = real_file(name)
    (tree,) = facts(path)["trees"]
    file = root.TFile.Open(path)
    theirs = file.Get(tree["name"])
    assert tree["packed_bytes"] == theirs.GetZipBytes()
    for column in tree["columns"]:
        branch = theirs.GetBranch(column["name"])
        assert column["packed_bytes"] == branch.GetZipBytes("*")
        assert column["compression"].endswith(f" {branch.GetCompressionLevel()}")
    version = file.GetVersion() % 1_000_000
    major, minor, patch = version // 10000, version // 100 % 100, version % 100
    assert facts(path)["writer"] == f"ROOT {major}.{minor:02d}/{patch:02d}"
    file.Close()


@pytest.mark.parametrize(
    ("compression", "words"),
    [
        (None, "none"), (uproot.ZLIB(3), "zlib 3"), (uproot.LZMA(2), "lzma 2"),
        (uproot.LZ4(4), "lz4 4"), (uproot.ZSTD(7), "zstd 7"),
    ],
)  # fmt: skip
def test_compression(compression: Any, words: str, tmp_path: Path, facts: Run) -> None:
    with uproot.recreate(tmp_path / "a.root", compression=compression) as file:
        file.mktree("t", {"x": np.float64})
        for start in (0, 700):
            file["t"].extend({"x": np.zeros(700) + start})
    found = facts(tmp_path / "a.root")
    (tree,) = found["trees"]
    assert found["compression"] == words
    assert tree["compression"] == [words]
    assert tree["clusters"] == {"count": 2, "smallest": 700, "median": 700, "largest": 700}


def test_several_trees_cycles_and_other_objects(
    tmp_path: Path, facts: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ä [1].root"
    with uproot.recreate(path) as file:
        for entries in (3, 7):
            file.mktree("dir/Events", {"x": np.int32})
            file["dir/Events"].extend({"x": np.arange(entries, dtype=np.int32)})
        file.mktree("Runs", {"w": np.float32})
        file["h"] = np.histogram([1.0, 2.0])
    found = facts(path)
    assert {(tree["name"], tree["cycle"], tree["entries"]) for tree in found["trees"]} == {
        ("dir/Events", 2, 7), ("Runs", 1, 0),
    }  # fmt: skip
    assert found["older_cycles"] == ["dir/Events;1"]
    assert found["others"] == {"TDirectory": 1, "TH1D": 1}
    text, said = shown(capsys, path)
    assert "dir/Events;1: not read unless named" in text
    assert f"rootml inspect '{path}:" in said
    assert facts(f"{path}:dir/Events;1")["trees"][0]["entries"] == 3
    assert [c["name"] for c in facts(f"{path}:Runs")["trees"][0]["columns"]] == ["w"]
    text, _ = shown(capsys, path, "--columns", "w,x")
    assert "float32" in text
    assert "int32" in text


def test_columns_are_chosen(real_file: Callable[[str], str], facts: Run, capsys: Any) -> None:
    path = real_file("uproot-HZZ.root")
    (tree,) = facts(path, "-c", "NJet", "-c", "Jet_P*")["trees"]
    assert [c["name"] for c in tree["columns"]] == ["NJet", "Jet_Px", "Jet_Py", "Jet_Pz"]
    _, said = shown(capsys, path, "-c", "Jet_p*", code=1)
    assert said.startswith("error: no column meets 'Jet_p*'; nearest: 'Jet_P")


@pytest.mark.needs_root
def test_friends_that_a_file_records(
    tmp_path: Path, root: Any, facts: Run, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, branch in (("main", "x"), ("other", "y"), ("gone", "z")):
        frame = root.RDataFrame(5).Define(branch, "(int)rdfentry_")
        frame.Snapshot("t", str(tmp_path / f"{name}.root"), [branch])
    file = root.TFile.Open(str(tmp_path / "main.root"), "update")
    tree = file.Get("t")
    tree.AddFriend("more = t", "other.root")
    tree.AddFriend("lost = t", "gone.root")
    tree.Write("", root.TObject.kOverwrite)
    file.Close()
    (tmp_path / "gone.root").unlink()
    monkeypatch.chdir("/")
    found = facts(tmp_path / "main.root")["trees"][0]["friends"]
    assert found == [
        {"tree": "t", "path": "other.root", "alias": "more", "found": True},
        {"tree": "t", "path": "gone.root", "alias": "lost", "found": False},
    ]
    text, _ = shown(capsys, tmp_path / "main.root")
    assert "t as more in other.root" in text
    assert "t as lost in gone.root (not there)" in text


def test_parquet_and_arrow(tmp_path: Path, facts: Run, capsys: Any) -> None:
    table = pa.table(
        {"x": np.zeros(1000), "jets": [[1.0, 2.0]] * 1000, "name": ["a"] * 1000,
         "p4": [{"pt": 1.0, "eta": 2.0}] * 1000}
    )  # fmt: skip
    pa.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=400, compression="zstd")
    pa.feather.write_feather(table.select(["x"]), tmp_path / "a.arrow")
    found = facts(tmp_path / "a.parquet")
    (tree,) = found["trees"]
    metadata = pa.parquet.read_metadata(tmp_path / "a.parquet")
    assert found["writer"] == metadata.created_by
    assert tree["compression"] == ["zstd"]
    assert tree["clusters"] == {"count": 3, "smallest": 200, "median": 400, "largest": 400}
    groups = [metadata.row_group(number) for number in range(3)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    assert tree["packed_bytes"] == sum(chunk.total_compressed_size for chunk in chunks)
    x = next(column for column in tree["columns"] if column["name"] == "x")
    assert x["unpacked_bytes"] == sum(g.column(0).total_uncompressed_size for g in groups)
    assert facts(tmp_path / "a.arrow")["trees"][0]["packed_bytes"] is None
    text, _ = shown(capsys, tmp_path / "a.parquet", tmp_path / "a.arrow")
    assert "size      not recorded" in text


# --- broken input --------------------------------------------------------------------------------


def make_broken(folder: Path) -> dict[str, tuple[str, int, str]]:
    """Words to inspect, the exit code, and what is said, by the kind of trouble."""
    with uproot.recreate(folder / "good.root") as file:
        file.mktree("Events", {"x": np.float64})
        file["Events"].extend({"x": np.arange(500.0)})
    whole = (folder / "good.root").read_bytes()
    (folder / "cut.root").write_bytes(whole[: len(whole) // 2])
    (folder / "text.root").write_text("run,event\n1,2\n")
    (folder / "empty.root").write_bytes(b"")
    (folder / "half.parquet").write_bytes(b"PAR1" + bytes(40))
    (folder / "data.toml").write_text("")
    return {
        "truncated": ("cut.root", 1, "truncated"),
        "not a ROOT file": ("text.root", 1, "none of ROOT, Parquet, Arrow"),
        "empty": ("empty.root", 1, "0 bytes"),
        "half a Parquet file": ("half.parquet", 1, "damaged"),
        "folder": (".", 1, "is a folder; give a glob"),
        "no file": ("goof.root", 1, "no such file: 'goof.root'"),
        "nearest file": ("goof.root", 1, "'good.root'"),
        "no match": ("x*.root", 1, "no file matches 'x*.root'"),
        "no tree": ("good.root:Evnts", 1, "has no tree 'Evnts'; nearest: 'Events'"),
        "no cycle": ("good.root:Events;4", 1, "cycle"),
        "a dataset": ("data.toml", 2, "rootml describe data.toml"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "trouble",
    [
        "truncated", "not a ROOT file", "empty", "half a Parquet file", "folder", "no file",
        "nearest file", "no match", "no tree", "no cycle", "a dataset",
    ],
)  # fmt: skip
def test_broken_input_is_one_line(
    trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    word, code, says = make_broken(tmp_path)[trouble]
    text, said = shown(capsys, word, code=code)
    assert says in said
    assert text == ""
    if code == 1:
        assert said.startswith("error: ")
        assert len(said.splitlines()) == 1


def test_a_folder_that_contains_itself_is_found(tmp_path: Path, capsys: Any) -> None:
    with uproot.recreate(tmp_path / "loop.root") as file:
        file.mktree("dir/t", {"x": np.int32})
    data = bytearray((tmp_path / "loop.root").read_bytes())
    # the folder's list of keys becomes that of the file itself
    with uproot.open(tmp_path / "loop.root") as file:
        outer = file.file.root_directory if hasattr(file.file, "root_directory") else file
        inner = file["dir"]
        old = struct.pack(">i", inner._fSeekKeys)
        new = struct.pack(">i", outer._fSeekKeys)
        lengths = [struct.pack(">i", each._fNbytesKeys) for each in (inner, outer)]
    assert data.count(old) >= 1
    data = data.replace(lengths[0], lengths[1]).replace(old, new)
    (tmp_path / "loop.root").write_bytes(data)
    _, said = shown(capsys, tmp_path / "loop.root", code=1)
    assert said.startswith("error: ")


def test_one_damaged_tree_does_not_hide_the_others(tmp_path: Path, capsys: Any) -> None:
    with uproot.recreate(tmp_path / "a.root", compression=None) as file:
        for name in ("good", "bad"):
            file.mktree(name, {"x": np.int32})
            file[name].extend({"x": np.arange(10, dtype=np.int32)})
    with uproot.open(tmp_path / "a.root") as file:
        key = file.key("bad")
        start, stop = key.fSeekKey + key.fKeylen, key.fSeekKey + key.fNbytes
    data = bytearray((tmp_path / "a.root").read_bytes())
    data[start:stop] = b"\xff" * (stop - start)
    (tmp_path / "a.root").write_bytes(data)
    text, said = shown(capsys, tmp_path / "a.root", code=1)
    assert "not readable" in text
    assert "good" in text
    assert f"error: {tmp_path}/a.root" in said
