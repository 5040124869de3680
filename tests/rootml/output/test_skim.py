"""Skims: the selected events and columns of each input, read back by uproot and Arrow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import uproot
from event_files import FORMATS, NUM_EVENTS, columns_of, write_events

import rootml
from rootml.errors import UnsupportedTypeError, UsageError

Events = Callable[[str], rootml.Dataset]
IDS = np.arange(NUM_EVENTS, dtype=np.int64)
ALL = columns_of(IDS)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("target", ["root", "rntuple", "parquet", "arrow"])
def test_skim_has_the_selected_events_and_columns(
    events: Events, tmp_path: Path, format_: str, target: str
) -> None:
    data = events(format_).filter("k > 2 && jet[0] > -1").select([*ALL, "twice = 2 * y"])
    mask = (ALL["k"] > 2) & (ak.to_numpy(ak.num(ALL["jet"])) > 0)
    paths = data.skim(tmp_path / "skims", format=target)
    assert len(paths) == 5
    found = rootml.open(paths).select([*ALL, "twice"]).to_awkward()
    for name, column in {**ALL, "twice": 2 * ALL["y"]}.items():
        wanted = ak.Array(column)[mask]
        assert found[name].type.content == wanted.type.content
        assert ak.array_equal(found[name], wanted), name
    ids = IDS[:700][mask[:700]]
    if target in {"root", "rntuple"}:
        np.testing.assert_array_equal(uproot.open(paths[0])["Events/id"].array(), ids)
    elif target == "parquet":
        assert pyarrow.parquet.read_table(paths[0])["id"].to_pylist() == ids.tolist()


def test_format_and_tree_follow_the_input(events: Events, tmp_path: Path) -> None:
    for format_, suffix in (
        ("ttree", ".root"),
        ("rntuple", ".root"),
        ("parquet", ".parquet"),
        ("arrow", ".arrow"),
    ):
        paths = events(format_).select(["id"]).skim(tmp_path / format_)
        assert {Path(path).suffix for path in paths} == {suffix}
    paths = events("ttree").select(["id"]).skim(tmp_path / "named", tree="Selected", threads=1)
    assert uproot.open(paths[0]).keys(cycle=False) == ["Selected", "rootml"]


def test_inputs_without_selected_events_give_empty_files(events: Events, tmp_path: Path) -> None:
    data = events("ttree").filter("id < 100").select(["id", "jet"])
    paths = data.skim(tmp_path)
    sizes = [uproot.open(path)["Events"].num_entries for path in paths]
    assert sizes == [100, 0, 0, 0, 0]
    again = rootml.open(paths)
    np.testing.assert_array_equal(again.to_awkward()["id"], IDS[:100])
    loader = again.batches(10, inputs=["id"])
    assert sum(len(batch) for batch in loader.numpy()) == 100


def test_one_large_file_in_threads(tmp_path: Path) -> None:
    ids = np.arange(20_000, dtype=np.int64)
    write_events(tmp_path / "f", ids, "parquet")
    data = rootml.open(tmp_path / "f.parquet").filter("k < 5")
    one, three = (data.skim(tmp_path / str(n), threads=n, format="root")[0] for n in (1, 3))
    for path in (one, three):
        np.testing.assert_array_equal(uproot.open(path)["Events/id"].array(), ids[ids % 7 < 5])


def test_two_samples_of_one_file(tmp_path: Path) -> None:
    write_events(tmp_path / "f", IDS[:300], "ttree")
    path = f"{tmp_path}/f.root:Events"
    both = rootml.open(path).filter("flag") + rootml.open(path).filter("!flag")
    paths = both.select(["id"]).skim(tmp_path / "out")
    assert len(set(paths)) == 2
    flags = ALL["flag"][:300]
    for name, wanted in zip(paths, (IDS[:300][flags], IDS[:300][~flags]), strict=True):
        np.testing.assert_array_equal(uproot.open(name)["Events/id"].array(), wanted)


@pytest.mark.parametrize("target", ["root", "rntuple", "parquet", "arrow"])
def test_strings_with_a_dictionary(tmp_path: Path, target: str) -> None:
    """As pandas writes categories: skimmed as a whole, and in part."""
    table = pa.table({"x": [1, 2, 3], "s": pa.array(["mu", "e", "mu"]).dictionary_encode()})
    pyarrow.parquet.write_table(table, f"{tmp_path}/in.parquet")
    data = rootml.open(f"{tmp_path}/in.parquet")
    for number, part in enumerate((data, data.filter("x > 1"))):
        (path,) = part.skim(f"{tmp_path}/{number}", format=target)
        wanted = table["s"].to_pylist()[number:]
        assert rootml.open(path).to_awkward()["s"].to_list() == wanted
        assert part.to_arrow()["s"].to_pylist() == wanted


def test_real_files_survive(real_file: Callable[[str], str], tmp_path: Path) -> None:
    path = real_file("uproot-HZZ.root")
    data = rootml.open(path).filter("NMuon == 2")
    (written,) = data.skim(tmp_path)
    theirs = uproot.open(path)["events"].arrays()
    theirs = theirs[theirs["NMuon"] == 2]
    mine = uproot.open(written)["events"].arrays()
    for name in theirs.fields:
        assert ak.array_equal(mine[name], theirs[name], check_parameters=False), name


def test_what_cannot_be_written(real_file: Callable[[str], str], tmp_path: Path) -> None:
    data = rootml.open(real_file("uproot-stl_containers.root"))
    with pytest.raises(UnsupportedTypeError, match="cannot be written to a TTree"):
        data.skim(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="format must be one of"):
        data.skim(tmp_path, format="csv")


def test_nothing_is_overwritten(events: Events, tmp_path: Path) -> None:
    data = events("ttree").select(["id"])
    data.skim(tmp_path)
    with pytest.raises(UsageError, match="and 4 more is there already"):
        data.filter("k > 1").skim(tmp_path)
    data.filter("k > 1").skim(tmp_path, overwrite=True)
    assert rootml.open(f"{tmp_path}/*.root:Events").scan().num_rows == (ALL["k"] > 1).sum()


def test_friends_of_a_skim_belong_to_the_skim(events: Events, tmp_path: Path) -> None:
    paths = events("ttree").filter("k > 4").select(["id"]).skim(tmp_path / "skim")
    skim: Any = rootml.open(paths).select(["id"])
    friends = skim.write_friend(tmp_path / "friends", lambda c: {"half": c["id"] / 2})
    found = rootml.open(paths, friends=friends).to_awkward()
    np.testing.assert_array_equal(found["half"], found["id"] / 2)
