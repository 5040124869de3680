"""Friends whose events are found by their ids, against pandas' merge and ROOT's ``TTreeIndex``."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import uproot

import rootml
from rootml import toml
from rootml._internal import event_hash
from rootml.errors import (
    ChangedFileError,
    MissingColumnError,
    SchemaError,
    UnsupportedTypeError,
    UsageError,
)
from rootml.files import _event_index

BY = ["run", "luminosityBlock", "event"]
EVENTS = 4000


def tables(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events, and friends of three quarters of them in another order, with some of others."""
    random = np.random.default_rng(seed)
    numbers = random.permutation(3 * EVENTS)
    ids = {
        "run": 380_000 + numbers % 3,
        "luminosityBlock": (numbers // 3 % 17).astype(np.uint32),
        "event": (numbers // 51).astype(np.uint64) + np.uint64(2**40),
    }
    whole = pd.DataFrame(ids)
    main = whole.iloc[:EVENTS].assign(pt=random.normal(size=EVENTS))
    friend = pd.concat([whole.iloc[: 3 * EVENTS // 4], whole.iloc[2 * EVENTS :][:500]])
    friend = friend.sample(frac=1, random_state=seed)
    friend = friend.assign(
        tau=random.normal(size=len(friend)).astype(np.float32),
        n=random.integers(0, 100, len(friend)),
        pt=random.normal(size=len(friend)),
    )
    return main.reset_index(drop=True), friend.reset_index(drop=True)


def lists_of(frame: pd.DataFrame) -> ak.Array:
    """A list per event of the length ``n % 4``, made of the event's number."""
    counts = frame["n"].to_numpy() % 4
    return ak.unflatten(np.repeat(frame["event"].to_numpy() % 1000, counts) * 0.5, counts)


def write(path: Path, frame: pd.DataFrame, *, lists: bool = False, chunk: int = 700) -> str:
    """A TTree with a cluster for each chunk."""
    columns = {name: frame[name].to_numpy() for name in frame}
    types: dict[str, Any] = {name: column.dtype for name, column in columns.items()}
    if lists:
        types["v"] = "var * float64"
    with uproot.recreate(path) as file:
        file.mktree("Events", types)
        for start in range(0, len(frame), chunk):
            part: dict[str, Any] = {n: c[start : start + chunk] for n, c in columns.items()}
            if lists:
                part["v"] = lists_of(frame.iloc[start : start + chunk])
            file["Events"].extend(part)
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> tuple[pd.DataFrame, pd.DataFrame, list[str], list[str]]:
    """Two files of events, and three of friends."""
    main, friend = tables(1)
    mains = [
        write(tmp_path / "a.root", main.iloc[:2500]),
        write(tmp_path / "b.root", main.iloc[2500:]),
    ]
    friends = [
        write(tmp_path / f"friend{number}.root", friend.iloc[number::3], lists=True)
        for number in range(3)
    ]
    return main, friend, mains, friends


def merged(main: pd.DataFrame, friend: pd.DataFrame, how: Any) -> pd.DataFrame:
    renamed = friend.rename(columns={"pt": "friend_pt"})
    return main.merge(renamed, on=BY, how=how, validate="one_to_one")


@pytest.mark.parametrize("small", [False, True], ids=["in memory", "on disk"])
def test_dropped_and_filled_as_pandas_merges(
    files: Any, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, friend, mains, friends = files
    if small:
        monkeypatch.setattr(_event_index, "IN_MEMORY", 300)
        monkeypatch.setattr(_event_index, "_PART", 1000)
    columns = [*BY, "pt", "tau", "n", "other = F.pt", "v"]
    kept = rootml.open(mains, friends={"F": friends}, by=BY, unmatched="drop").select(columns)
    found, wanted = kept.to_awkward(), merged(main, friend, "inner")
    assert len(found) == 3 * EVENTS // 4
    for name in (*BY, "pt", "tau", "n"):
        assert found[name].tolist() == wanted[name].tolist(), name
    assert found["other"].tolist() == wanted["friend_pt"].tolist()
    assert found["v"].tolist() == lists_of(wanted).tolist()

    filled = rootml.open(mains, friends={"F": friends}, by=BY, unmatched="fill")
    found = filled.select([*columns, "F_matched"]).to_awkward()
    left = merged(main, friend, "left")
    np.testing.assert_array_equal(found["tau"].to_numpy(), left["tau"].to_numpy())
    assert found["n"].tolist() == left["n"].fillna(0).astype(int).tolist()
    assert found["F_matched"].tolist() == left["n"].notna().tolist()
    assert ak.num(found["v"]).tolist() == (left["n"].fillna(0).astype(int) % 4).tolist()


def test_scan_skim_batches_and_friends_of_friends(files: Any, tmp_path: Path) -> None:
    main, friend, mains, friends = files
    data = rootml.open(mains, friends=friends, by=BY, unmatched="drop", label=1)
    data = data.filter("tau > 0.5").select([*BY, "tau"])
    wanted = merged(main, friend, "inner").query("tau > 0.5")
    assert data.scan().num_rows == len(wanted)
    assert [step.name for step in data.cutflow().steps][-2:] == [
        "among the friends Events",
        "tau > 0.5",
    ]
    taus = np.concatenate([x[:, -1] for x, _ in data.batches(100, inputs=["tau"]).numpy()])
    assert taus.tolist() == wanted["tau"].tolist()
    paths = data.skim(tmp_path / "skims")
    assert rootml.open(paths).to_awkward()["event"].tolist() == wanted["event"].tolist()
    train, test = data.split(test=0.5, by=BY)
    assert train.scan().num_rows + test.scan().num_rows == len(wanted)
    again = pickle.loads(pickle.dumps(data))
    assert again.to_awkward()["tau"].tolist() == wanted["tau"].tolist()
    other = rootml.open(mains, friends=friends, by=BY[::-1], unmatched="drop", label=1)
    assert other.filter("tau > 0.5").select([*BY, "tau"]).fingerprint != data.fingerprint


def test_strings_and_other_integers(tmp_path: Path) -> None:
    """Equal ids are equal whatever their type; an id of another kind is never equal."""
    names = ["a", "bb", "", "a\0", "ccc"]
    main = pa.table({"name": names, "event": pa.array([1, 2, 3, 4, -1], pa.int64())})
    order = [3, 1, 0]
    friend = pa.table(
        {
            "name": [names[i] for i in order],
            "event": pa.array([4, 2, 1], pa.uint64()),
            "x": [1.5, 2.5, 3.5],
            "s": ["three", "one", "zero"],
        }
    )
    pyarrow.parquet.write_table(main, tmp_path / "main.parquet")
    pyarrow.parquet.write_table(friend, tmp_path / "friend.parquet")
    data = rootml.open(str(tmp_path / "main.parquet"))
    data = data.with_friends(str(tmp_path / "friend.parquet"), by=["name", "event"],
                             unmatched="fill")  # fmt: skip
    found = data.select(["x", "s", "friend_matched"]).to_awkward()
    assert found["s"].tolist() == ["zero", "one", "", "three", ""]
    assert found["friend_matched"].tolist() == [True, True, False, True, False]
    minus = pa.table({"name": ["ccc"], "event": pa.array([2**64 - 1], pa.uint64()), "x": [1.0]})
    pyarrow.parquet.write_table(minus, tmp_path / "minus.parquet")
    data = rootml.open(str(tmp_path / "main.parquet"))
    data = data.with_friends(str(tmp_path / "minus.parquet"), by=["name", "event"],
                             unmatched="fill")  # fmt: skip
    assert not data.select(["friend_matched"]).to_awkward()["friend_matched"].to_numpy().any()


def test_hashes_that_coincide(files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A coincidence among the friends takes another seed; one with the tree is no match."""
    main, friend, mains, friends = files
    true = event_hash.hash_ids

    def weak(columns: Any, count: int, *, seed: int, stream: int = 0) -> Any:
        bits = np.uint64(40 if seed == 0 else 22)
        return (
            true(columns, count, seed=seed) >> bits if seed < 2 else true(columns, count, seed=9)
        )

    monkeypatch.setattr(_event_index, "hash_ids", weak)
    data = rootml.open(mains, friends=friends, by=BY, unmatched="drop")
    assert data.select(["tau"]).to_awkward()["tau"].tolist() == (
        merged(main, friend, "inner")["tau"].tolist()
    )


def test_what_is_refused(files: Any, tmp_path: Path) -> None:
    _, friend, mains, friends = files
    data = rootml.open(mains, friends=friends, by=BY)
    assert len(data.select(["pt"]).to_awkward()) == EVENTS
    with pytest.raises(
        SchemaError, match=r"not among the friends 'Events'.*the first is run = 38"
    ):
        data.select(["tau"]).to_awkward()
    twice = write(tmp_path / "twice.root", friend.iloc[[5, 7, 5]])
    with pytest.raises(SchemaError, match=r"is there twice: entry 0 of .* and entry 2 of"):
        rootml.open(mains, friends=twice, by=BY, unmatched="fill").select(["tau"]).to_awkward()
    with pytest.raises(MissingColumnError, match=r"no column 'evt' to match by; nearest: 'event'"):
        rootml.open(mains, friends=friends, by="evt").types()
    with pytest.raises(UnsupportedTypeError, match="a float is refused"):
        rootml.open(mains, friends=friends, by="pt").types()
    with pytest.raises(UsageError, match="by= needs friends="):
        rootml.open(mains, by="event")
    with pytest.raises(UsageError, match="unmatched= needs by="):
        rootml.open(mains, friends=friends, unmatched="drop")
    data = rootml.open(mains, friends=friends, by=BY, unmatched="drop").select(["tau"])
    data.to_awkward()
    write(Path(friends[0]), friend.iloc[:50], lists=True)
    with pytest.raises(ChangedFileError):
        data.to_awkward()


@pytest.mark.needs_root
def test_as_root_matches_by_an_index(tmp_path: Path, root: Any) -> None:
    main, friend = tables(3)
    friend = friend[friend["luminosityBlock"] == 5].drop_duplicates(["run", "event"])
    main = main[main["luminosityBlock"] == 5].reset_index(drop=True)
    write(tmp_path / "main.root", main)
    write(tmp_path / "friend.root", friend)
    file = root.TFile(str(tmp_path / "friend.root"))
    tree = file.Get("Events")
    tree.BuildIndex("run", "event")
    whole = root.TFile(str(tmp_path / "main.root"))
    events = whole.Get("Events")
    theirs = []
    for event in events:
        entry = tree.GetEntryNumberWithIndex(int(event.run), int(event.event))
        if entry >= 0:
            tree.GetEntry(entry)
            theirs.append((int(event.event), float(tree.tau)))
    data = rootml.open(
        str(tmp_path / "main.root"), friends={"F": str(tmp_path / "friend.root")},
        by=["run", "event"], unmatched="drop",
    )  # fmt: skip
    found = data.select(["event", "tau"]).to_awkward()
    assert [tuple(row.values()) for row in found.tolist()] == theirs
    assert len(theirs) > 100


@pytest.mark.parametrize("unmatched", ["drop", "fill"])
def test_in_a_toml_file(files: Any, tmp_path: Path, unmatched: Any) -> None:
    _, _, mains, friends = files
    data = rootml.open(mains, friends={"F": friends}, by=BY, unmatched=unmatched)
    data = data.filter("pt > 0").select(["pt", "tau", "F_matched"])
    toml.save(data, tmp_path / "data.toml")
    assert str(tmp_path) not in (tmp_path / "data.toml").read_text().split("files = [")[1]
    by_hand = f"""
        cuts = "pt > 0"
        select = ["pt", "tau", "F_matched"]
        [[sample]]
        files = ["a.root", "b.root"]
        friends = {{ F = "friend*.root" }}
        by = {BY}
        unmatched = "{unmatched}"
    """
    for back in (toml.load(tmp_path / "data.toml"), toml.loads(by_hand, folder=tmp_path)):
        assert back.fingerprint == data.fingerprint
        assert [c.name for c in back.samples[0].cuts] == [c.name for c in data.samples[0].cuts]
        assert ak.array_equal(back.to_awkward(), data.to_awkward(), equal_nan=True)


def test_what_a_toml_file_says_of_friends_is_checked(files: Any, tmp_path: Path) -> None:
    place = 'files = "a.root"\n'
    exact = 'matched = [{ alias = "F", files = "friend0.root", by = "event", unmatched = "drop" }]'
    for text, problem in {
        exact: "needs the cut 'F_matched'",
        'by = "event"': "by= needs friends=",
        'friends = "friend0.root"\nunmatched = "drop"': "unmatched= needs by=",
        'friends = "friend0.root"\nby = "event"\nunmatched = "dorp"': "'drop'",
        'matched = [{ files = "friend0.root", by = "event" }]': "expected alias, files and by",
        'matched = [{ alias = "F", file = "friend0.root" }]': "unknown key 'file'",
    }.items():
        with pytest.raises(UsageError, match=problem):
            toml.loads(f"[[sample]]\n{place}{text}\n", folder=tmp_path)
