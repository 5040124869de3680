"""Datasets as TOML: nothing is lost on the way, what is written by hand means what it says."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

import rootml
from rootml import toml
from rootml.dataset._sample import Filter, Sample
from rootml.errors import (
    CorruptFileError,
    ExpressionError,
    MissingFileError,
    RootmlError,
    UsageError,
)
from rootml.files._files import Files
from rootml.files._friends import FriendLink
from rootml.storage import Cache, Remote
from rootml.storage._paths import remote_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two ROOT files of 20 events each, friends of both, an odd name."""
    rng = np.random.default_rng(1)
    (tmp_path / "friends").mkdir()
    for number, name in enumerate(("a", "b", "ö [1]")):
        ids = np.arange(20 * number, 20 * number + 20)
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file["dir/Events"] = {
                "event": ids, "pt": rng.exponential(40, 20), "w": rng.normal(1, 1, 20),
                "pt_up": rng.exponential(40, 20),
            }  # fmt: skip
            file["Runs"] = {"sumw": np.array([10.0, 5.0])}
        with uproot.recreate(tmp_path / "friends" / f"{name}.root") as file:
            file["Friends"] = {"score": rng.random(20)}
    return tmp_path


def opened(folder: Path, name: str, **options: Any) -> rootml.Dataset:
    return rootml.open(f"{folder}/{name}.root:dir/Events", **options)


def plain(data: rootml.Dataset) -> list[dict[str, Any]]:
    """Everything that a dataset says, by the fields themselves; NaN as a text."""
    facts = []
    for sample in data.samples:
        one = {f.name: getattr(sample, f.name) for f in fields(sample) if f.compare}
        one["files"] = sample.files.specs
        facts.append({name: repr(value) for name, value in one.items()})
    return facts


DATASETS: dict[str, Callable[[Path], rootml.Dataset]] = {
    "plain": lambda f: opened(f, "a"),
    "two samples": lambda f: (
        (
            opened(f, "a", label=1, weight="w * 2", cross_section=0.5, sum_of_weights="Runs:sumw")
            + opened(f, "b", label=0, weight=2.5,
                     sum_of_weights=3.0, luminosity=2, cross_section=1.5)
        )
        .filter("pt > 5 && w > -1")
        .define(HT="2 * pt", lead="pt / 3")
        .select(["HT", "twice = lead * 2", "event"])
    ),
    "own cuts": lambda f: (
        opened(f, "a").filter("pt > 3", name="a\tname \"quoted\" \\ ' \x7f\u2028 é")
        + opened(f, "b").filter("w > 0").define(x="pt").define(y="1")
    ),
    "missing": lambda f: opened(f, "a").define(m="w", missing=math.nan).define(
        {"odd name": "pt", "x.y": "3"}, missing=-math.inf),
    "splits": lambda f: opened(f, "a").split(test=0.3, validation=0.1, by=["event"], seed=-3)[1]
    .folds(3)[1][0].filter("pt > 1").split(test=0.5)[0],
    "entries": lambda f: opened(f, "a", entry_range=(3, None))
    + opened(f, "b", entry_range=(0, 7)),
    "variation": lambda f: opened(f, "a", label="w > 0").select(["pt"]).vary("up", suffix="_up"),
    "friends": lambda f: rootml.open(
        [f"{f}/a.root:dir/Events", f"{f}/b.root:dir/Events"],
        friends={"one": [f"{f}/friends/a.root", f"{f}/friends/b.root:Friends"]},
    ).select(["one.score", "pt"]),
    "odd path": lambda f: rootml.open({f / "ö [1].root": "dir/Events"}, weight=1e-300),
    "tree unnamed": lambda f: rootml.open(str(f / "friends" / "a.root"), label=3.0),
    "lines": lambda f: opened(f, "a").filter("pt > 3\n && w > 0").define(z="pt\n + 1"),
}  # fmt: skip


@pytest.mark.parametrize("how", ["text", "file beside", "file elsewhere"])
@pytest.mark.parametrize("name", DATASETS)
def test_there_and_back(name: str, how: str, folder: Path) -> None:
    data = DATASETS[name](folder)
    if how == "text":
        back = toml.loads(toml.dumps(data))
    else:
        place = folder if how == "file beside" else folder / "deep"
        place.mkdir(exist_ok=True)
        toml.save(data, place / "data.toml")
        back = toml.load(place / "data.toml")
    assert plain(back) == plain(data)
    assert back.fingerprint == data.fingerprint
    assert repr(back.to_awkward().tolist()) == repr(data.to_awkward().tolist())
    assert toml.dumps(back) == toml.dumps(data)


def test_what_has_one_table_per_file(tmp_path: Path, event_files: Any) -> None:
    for kind in ("parquet", "arrow", "rntuple"):
        data = rootml.open(event_files(kind)[0], label=1).filter("1 > 0")
        assert plain(toml.loads(toml.dumps(data))) == plain(data)


def test_remote_paths_stay_as_they_are() -> None:
    data = rootml.open(["root://host:1094//store/f.root:Events", "https://h/a.root"], label=1)
    text = toml.dumps(data, folder=".")
    assert tomllib.loads(text)["sample"][0]["files"] == [
        "root://host:1094//store/f.root:Events", "https://h/a.root",
    ]  # fmt: skip
    assert plain(toml.loads(text)) == plain(data)


REMOTES = {
    "patience": Remote(timeout=20, retries=3, backoff=0.25),
    "greed": Remote(gap=0, connections=8),
    "a limit as text": Remote(gap="1 MB"),
    "a cache": Remote(cache=Cache("/nowhere/cache", limit="2 GB")),
    "a cache of bytes": Remote(cache=Cache("/nowhere/cache", limit=10**9)),
}


@pytest.mark.parametrize("how", REMOTES)
def test_how_urls_are_read_is_written(how: str) -> None:
    urls = ["https://h/a.root:Events", "https://h/b.root"]
    near = rootml.open({"https://h/d.root": "Events"}, remote=REMOTES[how], label=0)
    data = rootml.open(urls, remote=REMOTES[how], label=1) + near
    back = toml.loads(toml.dumps(data))
    for sample in back.samples:
        assert [remote_of(spec.path) for spec in sample.files.specs] == [REMOTES[how]] * len(
            sample.files.specs
        )
    assert plain(back) == plain(data)
    assert toml.dumps(back) == toml.dumps(data)


def test_a_literal_url_is_read_as_its_sample_says() -> None:
    text = """
        [[sample]]
        files = { file = "https://me:hidden@h/a[1].root", tree = "Events" }
        remote = { timeout = 5, cache = { path = "kept" } }
    """
    (sample,) = toml.loads(text, folder="/place").samples
    (spec,) = sample.files.specs
    assert remote_of(spec.path) == Remote(timeout=5, cache=Cache("/place/kept"))
    assert "hidden" not in f"{spec.path}"


def test_headers_are_named_and_not_written() -> None:
    headers = {"Authorization": "Bearer s3cret", "X-Site": "s3cret too"}
    remote = Remote(headers=headers, timeout=9)
    text = toml.dumps(rootml.open("https://h/a.root:Events", remote=remote))
    assert "s3cret" not in text
    table = tomllib.loads(text)["sample"][0]["remote"]
    assert table == {"timeout": 9, "headers": ["Authorization", "X-Site"]}
    (sample,) = toml.loads(text, headers=headers).samples
    assert remote_of(sample.files.specs[0].path) == remote
    with pytest.raises(
        UsageError, match=r"remote: headers \['X-Site'\] .* load\(\.\.\., headers="
    ):
        toml.loads(text, headers={"Authorization": "Bearer s3cret"})
    with pytest.raises(UsageError, match=r"\['X-Other'\] are given"):
        toml.loads(text, headers={**headers, "X-Other": "no"})


@pytest.mark.parametrize("tree", ["", ":Events"])
@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cret@h/a.root", "https://h/a.root?X-Amz-Signature=s3cret",
        "root://s3cret@h//a.root", "https://h/a.root#s3cret",
    ],
)  # fmt: skip
def test_credentials_of_urls_are_refused(url: str, tree: str, tmp_path: Path) -> None:
    data = rootml.open({url: tree[1:] or None}, label=1)
    with pytest.raises(
        UsageError, match=r"//h/+a\.root' of .*cannot be written.*headers"
    ) as caught:
        toml.save(data, tmp_path / "data.toml")
    assert "s3cret" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_credentials_of_friends_are_refused(folder: Path) -> None:
    data = rootml.open(f"{folder}/a.root:dir/Events")
    (sample,) = data.samples
    (spec,) = sample.files.specs
    link = FriendLink("https://me:s3cret@h/f.root", "T", "T")
    files = Files([replace(spec, friends=(link,))])
    with pytest.raises(UsageError, match="cannot be written") as caught:
        toml.dumps(rootml.Dataset([replace(sample, files=files)]))
    assert "s3cret" not in str(caught.value)


def test_files_beside_it_move_with_it(folder: Path) -> None:
    toml.save(opened(folder, "a").filter("pt > 5"), folder / "data.toml")
    lines = (folder / "data.toml").read_text().splitlines()
    assert any("dir/Events" in line for line in lines)
    assert not any(str(folder) in line for line in lines if not line.startswith("title"))
    expected = toml.load(folder / "data.toml").to_awkward().tolist()
    moved = folder.with_name("moved")
    folder.rename(moved)
    assert toml.load(moved / "data.toml").to_awkward().tolist() == expected


def test_by_hand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "data.toml").write_text(
        """
        select = ["HT", "twice = pt * 2", "first.score"]
        cuts = [{ name = "hard", cut = "pt > 10" }, { split = "train", test = 0.25, by = "event" }]
        [define]
        HT = "pt + 1"
        c = 3
        lead = { text = "pt", missing = 0 }
        [[sample]]
        files = ["[ab].root:dir/Events"]
        friends = { first = "friends/[ab].root" }
        label = 1
        weight = "w"
        cuts = "w > -5"
        entries = { stop = 30 }
        [[sample]]
        files = { file = "ö [1].root", tree = "dir/Events" }
        friends = { first = "friends/ö*.root" }
        label = 0
        cuts = { fold = 1, of = 3, side = "test", by = "event", seed = 2 }
        """,
        encoding="utf-8",
    )
    monkeypatch.chdir("/")
    found = toml.load(folder / "data.toml")
    signal = rootml.open(
        f"{folder}/[ab].root:dir/Events", friends={"first": f"{folder}/friends/[ab].root"},
        label=1, weight="w", entry_range=(None, 30),
    )  # fmt: skip
    other = rootml.open(
        {str(folder / "ö [1].root"): "dir/Events"}, label=0,
        friends={"first": f"{folder}/friends/ö*.root"},
    )  # fmt: skip
    expected = signal.filter("w > -5") + other.folds(3, by="event", seed=2)[1][1]
    expected = expected.define(HT="pt + 1", c=3).define(lead="pt", missing=0)
    expected = expected.select(["HT", "twice = pt * 2", "first.score"])
    expected = expected.filter("pt > 10", name="hard").split(test=0.25, by="event")[0]
    assert found.fingerprint == expected.fingerprint
    assert found.to_awkward().tolist() == expected.to_awkward().tolist()
    assert [len(sample.cuts) for sample in found.samples] == [3, 3]


def test_what_toml_cannot_say_is_named(folder: Path) -> None:
    sample = opened(folder, "a").samples[0]

    def score(event: Any) -> Any:
        return event

    for changed, named in (
        (replace(sample, weight=score), "weight"),  # type: ignore[arg-type]
        (replace(sample, label=score), "label"),  # type: ignore[arg-type]
        (replace(sample, cuts=(score,)), "a cut"),  # type: ignore[arg-type]
        (replace(sample, cuts=(Filter("n", score),)), "cut"),  # type: ignore[arg-type]
        (replace(sample, suffixes=(score,)), "vary"),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError, match=rf"{named}.* cannot be written as TOML.*score"):
            toml.dumps(rootml.Dataset([changed]))
    bad = opened(folder, "a").filter("pt > 1", name="bad \udcff")
    with pytest.raises(UsageError, match=r"not valid Unicode"):
        toml.dumps(bad)
    with pytest.raises(UsageError, match=r"'q = 3' cannot be written"):
        toml.dumps(rootml.Dataset([replace(sample, outputs=("q = 3",))]))


def test_a_new_field_of_a_sample_is_not_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever adds one to `Sample` has to say how it is written."""
    from rootml.toml import _write

    known = {field.name for field in fields(Sample) if field.compare}
    assert known == _write._KNOWN
    monkeypatch.setattr(_write, "_KNOWN", known - {"label"})
    toml.dumps(opened(folder, "a"))  # the default says nothing
    with pytest.raises(UsageError, match="label"):
        toml.dumps(opened(folder, "a", label=3))


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("", UsageError, "[[sample]]: missing"),
        ("a = ", CorruptFileError, "is not TOML: Invalid value"),
        ("cut = 'pt > 1'\nA", UsageError, "unknown key 'cut'; nearest: 'cuts'"),
        ("format = 'other'\nA", UsageError, "format: expected"),
        ("version = 2\nA", UsageError, "knows version 1"),
        ("sample = 3", UsageError, "[[sample]]: expected a list of tables"),
        ("[[sample]]\nlabel = 1", UsageError, "[[sample]] 1: files = ... is missing"),
        ("[[sample]]\nfiles = []", UsageError, "no files given"),
        ("[[sample]]\nfiles = 3", UsageError, "expected a path, not 3"),
        ("[[sample]]\nfiles = 'c.root'", MissingFileError, "[[sample]] 1: files: no such file"),
        ("[[sample]]\nfiles = 'c*.root'", MissingFileError, "no file matches"),
        ("[[sample]]\nfiles = {file = 'c.root'}", MissingFileError, "no such file"),
        ("[[sample]]\nfiles = {path = 'a.root'}", UsageError, "unknown key 'path'"),
        ("[[sample]]\nfiles = ['a.root', './a.root']", UsageError, "given twice"),
        ("A\nlabel = true", UsageError, "label: expected a number"),
        ("A\nlabel = inf", UsageError, "finite number"),
        ("A\nlabels = 1", UsageError, "nearest: 'label'"),
        ("A\ncross_section = 1", UsageError, "needs sum_of_weights"),
        ("A\nentries = [0, 1]", UsageError, "{ start = 0, stop = 1000 }"),
        ("A\nentries = {start = 3, stop = 1}", UsageError, "entry_range"),
        ("A\nentries = {start = true}", UsageError, "entry_range"),
        ("[[sample]]\nfiles = 'a.root:Runs'\ncuts = ['pt >']", ExpressionError, "pt >"),
        ("A\ncuts = [3]", UsageError, "expected an expression"),
        ("cuts = [{split = 'train'}]\nA", UsageError, "fractions"),
        ("cuts = [{split = 'tset', test = 0.1}]\nA", UsageError, "'tset'"),
        ("cuts = [{fold = 5, of = 5, side = 'test'}]\nA", UsageError, "0 to 4"),
        ("cuts = [{start = '0x3'}]\nA", UsageError, "stop: expected a hex"),
        ("cuts = [{cut = 3}]\nA", UsageError, "expected texts"),
        ("cuts = [{start = 3, stop = 5}]\nA", UsageError, "hexadecimal"),
        ("select = ['x', 'x']\nA", UsageError, "twice"),
        ("[define]\nx = true\nA", UsageError, "define: x: expected"),
        ("[define]\nx = {text = '1', missing = 'y'}\nA", UsageError, "missing"),
        ("[define]\nx = '1'\nA\ndefine = {x = '2'}", UsageError, "already"),
        ("A\nvary = 3", UsageError, "vary"),
        ("A\nremote = 3", UsageError, "remote: expected {"),
        ("A\nremote = {time = 3}", UsageError, "unknown key 'time'; nearest: 'timeout'"),
        ("A\nremote = {timeout = -3}", UsageError, "remote: timeout=-3"),
        ("A\nremote = {cache = 'x'}", UsageError, "remote: cache: expected"),
        ("A\nremote = {cache = {path = 'x', limit = 'y'}}", UsageError, "remote: limit"),
        ("A\nremote = {cache = {path = 'x', size = 1}}", UsageError, "unknown key 'size'"),
        ("A\nremote = {headers = {X = 'y'}}", UsageError, "the names, not the values"),
        ("A\nremote = {headers = ['X']}", UsageError, "['X'] are sent"),
        ("A\ntitle = 3", UsageError, "title"),
    ],
)  # fmt: skip
def test_errors_say_where(text: str, error: type[RootmlError], says: str, folder: Path) -> None:
    text = re.sub(r"\bA\b", "[[sample]]\nfiles = 'a.root'", text)
    (folder / "data.toml").write_text(text)
    with pytest.raises(error) as caught:
        toml.load(folder / "data.toml")
    assert says in str(caught.value)
    if error is not ExpressionError:
        assert str(caught.value).startswith(str(folder / "data.toml"))


def test_files_that_are_none(folder: Path) -> None:
    (folder / "data.toml").write_text("")
    (folder / "x.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(MissingFileError, match=r"no such file.*'data.toml'"):
        toml.load(folder / "date.toml")
    with pytest.raises(UsageError, match="is a folder"):
        toml.load(folder)
    with pytest.raises(CorruptFileError, match="not UTF-8"):
        toml.load(folder / "x.toml")
    with pytest.raises(MissingFileError, match="there is no folder"):
        toml.save(opened(folder, "a"), folder / "none" / "x.toml")
