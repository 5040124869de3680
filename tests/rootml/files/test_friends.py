"""Friend trees: joined, written, read by ROOT; scores beside their events, out of fold too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pandas as pd
import pytest
import uproot
from event_files import FORMATS, NUM_EVENTS, columns_of, write_events

import rootml
from rootml.errors import (
    EmptySelectionError,
    MissingColumnError,
    SchemaError,
    UnsupportedTypeError,
    UsageError,
)

Events = Callable[[str], rootml.Dataset]
IDS = np.arange(NUM_EVENTS, dtype=np.int64)
ALL = columns_of(IDS)
SIZES = np.cumsum([0, 700, 1301, 90, 1000, 811])


def paths_of(data: rootml.Dataset) -> list[str]:
    return [spec.where for sample in data.samples for spec in sample.files.specs]


def score_of(ids: Any) -> Any:
    return (np.asarray(ids) * 0.25 + 1).astype(np.float32)


def check_files(paths: list[str], mask: Any, score: Any) -> None:
    """Every file has all its entries, with values where `mask` says, by uproot alone."""
    for path, start, stop in zip(paths, SIZES[:-1], SIZES[1:], strict=True):
        if path.endswith(".root"):
            columns = uproot.open(path)["Friends"].arrays(library="np")
        else:
            table = rootml.open(path).to_awkward()
            columns = {name: table[name].to_numpy() for name in table.fields}
        valid = mask[start:stop]
        np.testing.assert_array_equal(columns["score_valid"], valid)
        wanted = np.where(valid, score[start:stop], np.nan).astype(columns["score"].dtype)
        np.testing.assert_array_equal(columns["score"], wanted)


# --- writing ---


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("kind", ["array", "list", "batches", "function", "one by one"])
def test_values_land_beside_their_events(
    events: Events, tmp_path: Path, format_: str, kind: str
) -> None:
    data = events(format_).filter("k > 2 && flag").select(["id"])
    mask = (ALL["k"] > 2) & ALL["flag"]
    score = score_of(IDS)[mask]

    def batches() -> Iterator[dict[str, Any]]:
        for batch in data.batches(64, observers=["id"], inputs=["id"]).iterate():
            assert batch.observers is not None
            yield {"score": score_of(batch.observers["id"])}

    values = {
        "array": {"score": score},
        "list": {"score": score.astype(float).tolist()},
        "batches": batches(),
        "function": lambda columns: {"score": score_of(columns["id"])},
        "one by one": ({"score": score[i : i + 1]} for i in range(len(score))),
    }[kind]
    paths = data.write_friend(tmp_path / "friends", values)
    assert [Path(p).stem for p in paths] == [
        f"s{a}_{b}" for a, b in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    ]
    check_files(paths, mask, score_of(IDS))
    joined = rootml.open(paths_of(data), friends=paths).filter("score_valid")
    found = joined.select(["id", "score"]).to_awkward()
    np.testing.assert_array_equal(found["id"], IDS[mask])
    np.testing.assert_array_equal(found["score"], score)


def test_scores_out_of_fold(events: Events, tmp_path: Path) -> None:
    data = events("ttree").filter("k > 0").select(["id"])
    parts, fold_of = [], np.full(NUM_EVENTS, -1)
    for number, (train, test) in enumerate(data.folds(3, by="id")):
        ids = test.to_awkward()["id"].to_numpy()
        assert not np.isin(ids, train.to_awkward()["id"].to_numpy()).any()
        fold_of[ids] = number
        as_function = number == 1
        parts.append(
            (test, lambda c, n=number: {"score": score_of(c["id"]) + n})
            if as_function
            else (test, {"score": score_of(ids) + number})
        )
    paths = data.write_friend(tmp_path, parts)
    check_files(paths, ALL["k"] > 0, score_of(IDS) + fold_of)


def test_part_of_the_events_or_too_many(events: Events, tmp_path: Path) -> None:
    data = events("ttree").select(["id"])
    (_, one), (_, two), (_, three) = data.folds(3, by="id")

    def constant(columns: Any) -> dict[str, Any]:
        return {"score": np.zeros(len(columns["id"]))}

    for parts, match in (
        ([(one, constant), (two, constant)], "are selected, and no values are given"),
        ([(one, constant), (one, constant), (two, constant), (three, constant)], "more than once"),
    ):
        with pytest.raises(SchemaError, match=match):
            data.write_friend(tmp_path / "f", parts)
    with pytest.raises(SchemaError, match="are given values, and are not selected"):
        data.filter("k > 1").write_friend(tmp_path / "f", [(data, constant)])
    background = rootml.Dataset(data.samples[:1])
    with pytest.raises(SchemaError, match="is not a file of"):
        background.write_friend(tmp_path / "f", [(data, constant)])
    with pytest.raises(SchemaError, match=r"float64.*float32|float32.*float64"):
        data.write_friend(
            tmp_path / "f",
            [(one, constant), (two, constant), (three, lambda c: {"score": score_of(c["id"])})],
        )
    assert not (tmp_path / "f").exists()


def test_one_file_in_several_samples(tmp_path: Path) -> None:
    """Signal and background of one file, told apart by a branch."""
    write_events(tmp_path / "f", IDS[:900], "ttree")
    path = f"{tmp_path}/f.root:Events"
    flagged = rootml.open(path, label=1).filter("flag")
    rest = rootml.open(path, label=0).filter("!flag && k > 1")
    data = (flagged + rest).select(["id"])
    order = np.concatenate(
        [IDS[:900][ALL["flag"][:900]], IDS[:900][~ALL["flag"][:900] & (ALL["k"][:900] > 1)]]
    )
    pieces = ({"score": score_of(part)} for part in np.array_split(order, 7))
    for number, values in enumerate(({"score": score_of(order)}, pieces)):
        (written,) = data.write_friend(tmp_path / str(number), values)
        found = uproot.open(written)["Friends"].arrays(library="np")
        np.testing.assert_array_equal(found["score_valid"], np.isin(IDS[:900], order))
        np.testing.assert_array_equal(found["score"][order], score_of(order))
    with pytest.raises(SchemaError, match="more than once"):
        (flagged + rootml.open(path, label=0)).write_friend(
            tmp_path / "x", lambda c: {"s": score_of(c["id"])}
        )


def test_vectors_lists_integers_and_bools(events: Events, tmp_path: Path) -> None:
    data = events("ttree").filter("k > 3").select(["id", "jet"])
    mask = ALL["k"] > 3
    lists = [[float(k)] * (k % 3) for k in IDS[mask].tolist()]
    values: dict[str, Any] = {
        "as_lists": lists,
        "probabilities": np.stack([score_of(IDS), score_of(IDS) * 2], axis=1)[mask],
        "jet_score": ALL["jet"][mask] * 2,
        "category": IDS[mask],
        "good": ALL["flag"][mask],
    }
    paths = data.write_friend(tmp_path, values)
    found = ak.concatenate([uproot.open(path)["Friends"].arrays() for path in paths])
    for name, column in values.items():
        np.testing.assert_array_equal(found[f"{name}_valid"], mask)
        assert ak.array_equal(found[name][mask], ak.Array(column), check_parameters=False), name
    rest = found[~mask]
    assert np.isnan(ak.to_numpy(rest["probabilities"])).all()
    assert ak.all(ak.num(rest["jet_score"]) == 0)
    assert not ak.any(rest["category"])
    assert not ak.any(rest["good"])


def test_entry_range_and_empty_selection(tmp_path: Path) -> None:
    write_events(tmp_path / "f", IDS[:900], "ttree")
    data = rootml.open(f"{tmp_path}/f.root:Events", entry_range=(100, 300)).select(["id"])
    (path,) = data.write_friend(tmp_path / "a", {"score": score_of(IDS[100:300])})
    valid = uproot.open(path)["Friends"]["score_valid"].array(library="np")
    np.testing.assert_array_equal(np.flatnonzero(valid), np.arange(100, 300))
    nothing = data.filter("k > 100")
    (path,) = nothing.write_friend(tmp_path / "b", {"score": np.zeros(0)})
    assert np.isnan(uproot.open(path)["Friends"]["score"].array(library="np")).all()
    with pytest.raises(EmptySelectionError, match="nothing to compute"):
        nothing.write_friend(tmp_path / "c", lambda c: {"s": score_of(c["id"])})


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        ({"s": np.zeros(10)}, UsageError, "'s' has 10 values, 3,902 events"),
        ({"s": np.zeros(5000)}, UsageError, "'s' has 5,000 values"),
        ({"s": np.zeros(NUM_EVENTS), "s_valid": np.zeros(NUM_EVENTS)}, SchemaError, "'s_valid'"),
        ({"s": 1.0}, UsageError, "one value per selected event"),
        ({"s": ["a"] * NUM_EVENTS}, UnsupportedTypeError, "give numbers"),
        ({"s": np.ma.masked_less(np.arange(NUM_EVENTS), 3)}, UnsupportedTypeError, "masked"),
        ({"s": np.zeros(NUM_EVENTS, np.float16)}, UnsupportedTypeError, "float16"),
        ({}, UsageError, "give {name: values}"),
        (np.zeros(NUM_EVENTS), UsageError, "not ndarray"),
        (pd.DataFrame({"s": np.zeros(NUM_EVENTS)}), UsageError, "not DataFrame"),
        ({"s": [[1.0], "a"] * (NUM_EVENTS // 2)}, UnsupportedTypeError, "'s': values of type"),
        ([{"s": np.zeros(10)}], UsageError, "values end after 10 events"),
        ([{"s": np.zeros(5000)}], UsageError, "left over after 3,902"),
        ([{"s": np.zeros(10)}, {"t": np.zeros(10)}], SchemaError, "at first and are"),
        ([], UsageError, "no values were given"),
        (lambda c: {"s": np.zeros(3)}, UsageError, "the function gives 3 values 's' for"),
        (lambda c: np.zeros(len(c["id"])), UsageError, "the function: give {name: values}"),
        ([(1, {})], UsageError, "pairs .Dataset, values."),
    ],
    ids=lambda value: "" if not isinstance(value, str) else value,
)
def test_values_that_do_not_fit(
    events: Events, tmp_path: Path, values: Any, error: Any, match: str
) -> None:
    data = events("ttree").select(["id"])
    with pytest.raises(error, match=match):
        data.write_friend(tmp_path / "f", values)
    left = list((tmp_path / "f").iterdir()) if (tmp_path / "f").exists() else []
    assert left == []


def test_files_that_are_there_stay(events: Events, tmp_path: Path) -> None:
    write_events(tmp_path / "f", IDS[:50], "ttree")
    data = rootml.open(f"{tmp_path}/f.root:Events")
    score = {"score": score_of(IDS[:50])}
    with pytest.raises(UsageError, match="is an input file"):
        data.write_friend(tmp_path, score, overwrite=True)
    data.write_friend(tmp_path / "out", score)
    with pytest.raises(UsageError, match="is there already.*overwrite=True"):
        data.write_friend(tmp_path / "out", score)
    data.write_friend(tmp_path / "out", {"score": 2 * score["score"]}, overwrite=True)
    found = rootml.open(f"{tmp_path}/f.root:Events", friends=f"{tmp_path}/out/f.root")
    np.testing.assert_array_equal(found.to_awkward()["score"], 2 * score["score"])
    with pytest.raises(UsageError, match="is a file"):
        data.write_friend(tmp_path / "f.root", score)


# --- joining ---


def test_inputs_of_one_name_are_told_by_what_friends_record(tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / f"d{number}").mkdir()
        write_events(tmp_path / f"d{number}" / "f", IDS[:60] + 100 * number, "ttree")
    paths = [f"{tmp_path}/d{number}/f.root:Events" for number in (0, 1)]
    data = rootml.open(paths).select(["id"])
    written = data.write_friend(tmp_path / "out", lambda c: {"score": score_of(c["id"])})
    assert [Path(path).name for path in written] == ["d0_f.root", "d1_f.root"]
    for order in (paths, paths[::-1]):
        found = rootml.open(order, friends=f"{tmp_path}/out/*.root").to_awkward()
        np.testing.assert_array_equal(found["score"], score_of(found["id"]))


def test_friend_of_another_file_is_refused(tmp_path: Path) -> None:
    write_events(tmp_path / "a", IDS[:60], "ttree")
    write_events(tmp_path / "b", IDS[60:120], "ttree")
    write_events(tmp_path / "c", IDS[:70], "ttree")
    a, b, c = (rootml.open(f"{tmp_path}/{name}.root:Events").select(["id"]) for name in "abc")
    (friend,) = a.write_friend(tmp_path / "out", {"score": score_of(IDS[:60])})
    with pytest.raises(SchemaError, match=r"was made from another file than .*b\.root"):
        rootml.open(paths_of(b), friends=friend).scan()
    with pytest.raises(SchemaError, match="has 60 entries, .* has 70"):
        rootml.open(paths_of(c), friends=friend).scan()
    copy = tmp_path / "moved.root"
    copy.write_bytes((tmp_path / "a.root").read_bytes())
    found = rootml.open(f"{copy}:Events", friends=friend).to_awkward()
    np.testing.assert_array_equal(found["score"], score_of(IDS[:60]))


def test_names_of_friends(tmp_path: Path) -> None:
    x = np.arange(5.0)
    for name, shift in (("main", 0), ("one", 10), ("two", 20)):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file["t"] = {"x": x + shift, f"only_{name}": x - shift}
    data = rootml.open(
        f"{tmp_path}/main.root",
        friends={"one": f"{tmp_path}/one.root", "two": f"{tmp_path}/two.root"},
    )
    found = data.select(["x", "one.x", "two.x", "only_two", "s = one.x + x"]).to_awkward()
    for name, shift in (("x", 0), ("one.x", 10), ("two.x", 20)):
        np.testing.assert_array_equal(found[name], x + shift)
    np.testing.assert_array_equal(found["s"], 2 * x + 10)
    with pytest.raises(MissingColumnError, match="three"):
        data.select(["three.x"]).to_awkward()
    with pytest.raises(UsageError, match="several friends of one file are called 't'"):
        rootml.open(
            f"{tmp_path}/main.root", friends=[f"{tmp_path}/{n}.root" for n in ("one", "two")]
        ).scan()
    with pytest.raises(UsageError, match="cannot tell which of 1 friends"):
        rootml.open(
            [f"{tmp_path}/{n}.root" for n in ("one", "two")], friends=f"{tmp_path}/main.root"
        )


@pytest.mark.needs_root
def test_root_joins_our_friends(events: Events, tmp_path: Path, root: Any) -> None:
    data = events("ttree").filter("k > 2").select(["id"])
    friends = data.write_friend(tmp_path, lambda c: {"score": score_of(c["id"])})
    chain, friend = root.TChain("Events"), root.TChain("Friends")
    for path, other in zip(paths_of(data), friends, strict=True):
        chain.Add(path.rpartition(":")[0])
        friend.Add(other)
    chain.AddFriend(friend)
    frame = root.RDataFrame(chain).Filter("score_valid")
    found = frame.AsNumpy(["id", "score"])
    np.testing.assert_array_equal(found["id"], IDS[ALL["k"] > 2])
    np.testing.assert_array_equal(found["score"], score_of(found["id"]))


@pytest.mark.needs_root
def test_friends_that_root_recorded(tmp_path: Path, root: Any) -> None:
    x = np.arange(40.0)
    for name in ("main", "side"):
        with uproot.recreate(tmp_path / f"{name}_plain.root") as file:
            file["t"] = {"x": x if name == "main" else -x, f"y_{name}": x}
        frame = root.RDataFrame("t", str(tmp_path / f"{name}_plain.root"))
        frame.Snapshot("t" if name == "main" else "s", str(tmp_path / f"{name}.root"))
    file = root.TFile(str(tmp_path / "main.root"), "UPDATE")
    tree = file.Get("t")
    tree.AddFriend("s", str(tmp_path / "side.root"))
    tree.Write("", root.TObject.kOverwrite)
    file.Close()
    data = rootml.open(f"{tmp_path}/main.root:t")
    assert set(data.to_awkward().fields) == {"x", "y_main"}, "a recorded friend waits to be asked"
    found = data.filter("s.x < -3").select(["x", "s.x", "y_side"]).to_awkward()
    np.testing.assert_array_equal(found["x"], x[4:])
    np.testing.assert_array_equal(found["s.x"], -x[4:])
    np.testing.assert_array_equal(found["y_side"], x[4:])


INDEXED = """
void make_indexed_friends(const char *folder) {
  for (auto kind : {"main", "sorted", "reversed", "computed"}) {
    TString name(kind);
    TFile file(TString::Format("%s/%s.root", folder, kind), "RECREATE");
    TTree tree(name == "main" ? "T" : "F", "");
    int run, event; float s;
    tree.Branch("run", &run); tree.Branch("event", &event);
    if (name != "main") tree.Branch("s", &s);
    for (int k = 0; k < 50; ++k) {
      int row = name == "reversed" ? 49 - k : k;
      run = row / 10; event = row % 10; s = 2 * row; tree.Fill();
    }
    if (name == "computed") tree.BuildIndex("10 * run + event");
    else if (name != "main") tree.BuildIndex("run", "event");
    tree.Write();
  }
  TFile file(TString::Format("%s/recorded.root", folder), "RECREATE");
  TTree tree("T", ""); int run, event;
  tree.Branch("run", &run); tree.Branch("event", &event);
  for (int k = 0; k < 50; ++k) { run = k / 10; event = k % 10; tree.Fill(); }
  tree.AddFriend("F", TString::Format("%s/reversed.root", folder));
  tree.Write();
}
"""


@pytest.mark.needs_root
def test_friends_with_an_index(tmp_path: Path, root: Any) -> None:
    """ROOT finds their entries by value: the same as by entry, or refused."""
    root.gInterpreter.Declare(INDEXED)
    root.make_indexed_friends(str(tmp_path))
    main = f"{tmp_path}/main.root:T"
    for name in ("sorted", "reversed", "computed"):
        file = root.TFile.Open(f"{tmp_path}/main.root")
        tree = file.Get("T")
        tree.AddFriend("F", f"{tmp_path}/{name}.root")
        count = tree.Draw("s - 20 * run - 2 * event", "", "goff")
        assert [tree.GetV1()[k] for k in range(count)] == [0] * 50
    found = rootml.open(main, friends=f"{tmp_path}/sorted.root").to_awkward()
    assert found["s"].tolist() == (20 * found["run"] + 2 * found["event"]).tolist()
    with pytest.raises(SchemaError, match="'run' is 4 in its entry 0 and 0 there"):
        rootml.open(main, friends=f"{tmp_path}/reversed.root").to_awkward()
    with pytest.raises(SchemaError, match="by '10 .* run.*cannot be determined"):
        rootml.open(main, friends=f"{tmp_path}/computed.root").to_awkward()
    with pytest.raises(SchemaError, match="by 'run' and 'event', and its entries"):
        rootml.open(f"{tmp_path}/recorded.root").select(["s"]).to_awkward()


def test_a_folder_may_hold_the_friends_of_other_samples(tmp_path: Path) -> None:
    """Each dataset takes its own, by what the friends say; one of a changed file is an error."""
    for number, name in enumerate(("sig", "bkg_1", "bkg_2", "other")):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file["Events"] = {"x": np.arange(20.0) + 100 * number}
    everything = rootml.open(str(tmp_path / "*.root:Events"))
    everything.write_friend(tmp_path / "friends", lambda c: {"twice": 2 * c["x"]})
    friends = str(tmp_path / "friends" / "*.root")
    for pattern in ("sig", "bkg_[12]", "*"):
        data = rootml.open(str(tmp_path / f"{pattern}.root:Events"), friends=friends)
        found = data.select(["x", "twice"]).to_awkward()
        np.testing.assert_array_equal(found["twice"], 2 * found["x"])
    (tmp_path / "sig.root").rename(tmp_path / "renamed.root")
    renamed = rootml.open(str(tmp_path / "renamed.root:Events"), friends=friends)
    assert renamed.select(["twice"]).to_awkward()["twice"][1] == 2.0
    with uproot.recreate(tmp_path / "other.root") as file:
        file["Events"] = {"x": np.arange(20.0)}
    with pytest.raises(SchemaError, match="made from another file"):
        rootml.open(str(tmp_path / "other.root:Events"), friends=friends).scan()


def test_friends_of_other_samples_may_be_of_trees_of_other_names(tmp_path: Path) -> None:
    for name, tree in (("sig", "S"), ("bkg", "B")):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file[tree] = {"x": np.arange(20.0)}
        data = rootml.open(str(tmp_path / f"{name}.root:{tree}"))
        data.write_friend(tmp_path / "friends", {f"of_{name}": np.arange(20.0)})
    for name, tree in (("sig", "S"), ("bkg", "B")):
        data = rootml.open(
            str(tmp_path / f"{name}.root:{tree}"), friends=str(tmp_path / "friends" / "*.root")
        )
        found = [each for each in data.columns if each.startswith("of_")]
        assert found == [f"of_{name}", f"of_{name}_valid"]
