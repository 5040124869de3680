"""`rootml describe|skim|batches`: datasets from options and from TOML; NumPy is the reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import uproot

from rootml import toml
from rootml.cli import main
from rootml.cli._datasets import entry_range, expanded, number

ROWS = 3000
Columns = dict[str, Any]


def columns_of(seed: int) -> Columns:
    rng = np.random.default_rng(seed)
    return {
        "event": np.arange(ROWS) + 10**8 * seed,
        "pt": rng.exponential(40, ROWS).astype(np.float32),
        "eta": rng.normal(size=ROWS).astype(np.float32),
        "w": rng.normal(1, 1.2, ROWS),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signal and background of 3,000 events each, and a TOML file that describes both."""
    made = tmp_path_factory.mktemp("datasets")
    for seed, name in enumerate(("bkg", "sig"), 1):
        with uproot.recreate(made / f"{name}.root") as file:
            columns = columns_of(seed)
            file.mktree("Events", {key: value.dtype for key, value in columns.items()})
            file["Events"].extend(columns)
            file.mktree("Runs", {"sumw": np.float64})
            file["Runs"].extend({"sumw": np.array([30.0, 20.0])})
    (made / "data.toml").write_text(
        """
        cuts = ["pt > 20"]
        [define]
        HT = "2 * pt"
        [[sample]]
        files = "sig.root:Events"
        label = 1
        weight = "w"
        [[sample]]
        files = "bkg.root:Events"
        label = 0
        """
    )
    return made


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[str, str]]:
    """Standard output and error of a command in the folder, or in `cwd`."""

    def command(*words: Any, code: int = 0) -> tuple[str, str]:
        assert main([str(word) for word in words]) == code
        return capsys.readouterr()

    monkeypatch.chdir(folder)
    return command


Run = Callable[..., tuple[str, str]]


# --- describe ------------------------------------------------------------------------------------


def test_describe_by_options(run: Run) -> None:
    words = ["--sample", "1=sig.root:Events", "--sample", "0=bkg.root:Events", "--weight", "w"]
    words += ["--cut", "pt > 30", "--cut", "abs(eta) < 1", "--json"]
    found = json.loads(run("describe", *words)[0])
    assert (found["files"], found["entries"]) == (2, 2 * ROWS)
    for label, row in zip((0, 1), found["labels"], strict=True):
        events = columns_of(label + 1)
        passed = (events["pt"] > 30) & (np.abs(events["eta"]) < 1)
        w = events["w"][passed]
        assert row["label"] == label
        assert row["events"] == passed.sum()
        np.testing.assert_allclose(row["sumw"], w.sum(), rtol=1e-12)
        np.testing.assert_allclose(row["sumw2"], (w**2).sum(), rtol=1e-12)
        np.testing.assert_allclose(row["effective"], w.sum() ** 2 / (w**2).sum(), rtol=1e-12)
        assert row["negative_fraction"] == pytest.approx((w < 0).mean())
        first = [step["labels"][label]["events"] for step in found["cutflow"][0]["steps"]]
        assert first == [ROWS, (events["pt"] > 30).sum(), passed.sum()]
    assert sum(row["share"] for row in found["labels"]) == pytest.approx(1)
    assert sum(row["sumw_share"] for row in found["labels"]) == pytest.approx(1)


def test_describe_a_toml_file_with_another_cut(run: Run) -> None:
    text, _ = run("describe", "data.toml", "--cut", "eta > 0")
    found = json.loads(run("describe", "data.toml", "--cut", "eta > 0", "--json")[0])
    expected = [int(((e := columns_of(seed))["pt"] > 20)[e["eta"] > 0].sum()) for seed in (1, 2)]
    assert [row["events"] for row in found["labels"]] == expected
    assert "HT" in found["columns"]
    for words in ("share", "eta > 0", "effective", "sample"):
        assert words in text
    assert f"{expected[0]:,}" in text


def test_describe_normalised(run: Run) -> None:
    words = ["sig.root", "--tree", "Events", "--weight", "w", "--cross-section", "2.5"]
    words += ["--luminosity", "4", "--sum-of-weights", "Runs:sumw", "--entries", ":100"]
    found = json.loads(run("describe", *words, "--json")[0])
    expected = columns_of(2)["w"][:100].sum() * 2.5 * 4 / 50
    np.testing.assert_allclose(found["labels"][0]["sumw"], expected, rtol=1e-12)


def test_what_is_described_can_be_kept(run: Run, tmp_path: Path) -> None:
    words = ["sig.root:Events", "--label", "1", "--weight", "w", "--cut", "pt > 50"]
    words += ["--define", "x=pt + 1", "--columns", "p*,x"]
    before = json.loads(run("describe", *words, "--save", tmp_path / "d.toml", "--json")[0])
    after = json.loads(run("describe", tmp_path / "d.toml", "--json")[0])
    assert before == after
    assert list(after["columns"]) == ["pt", "x"]
    assert toml.load(tmp_path / "d.toml").to_awkward().x.tolist() == pytest.approx(
        (columns_of(2)["pt"][columns_of(2)["pt"] > 50] + 1).tolist()
    )


def test_nothing_selected_is_said(run: Run) -> None:
    _, said = run("describe", "sig.root:Events", "--cut", "pt < 0")
    assert "no event is selected" in said
    found = json.loads(run("describe", "sig.root:Events", "--cut", "pt < 0", "--json")[0])
    assert found["labels"][0]["share"] is None


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["describe"], 2, "no files are given"),
        (["describe", "sig.root"], 1, "several trees, say which"),
        (["describe", "sig.root:Events", "--cut", "pt >"], 1, "expected a value"),
        (["describe", "sig.root:Events", "--cut", "ptt > 1"], 1, "nearest: 'pt'"),
        (["describe", "sig.root:Events", "--tree", "Runs"], 1, "two trees"),
        (["describe", "sig.root:Events", "--define", "x"], 2, "not of the form --define"),
        (["describe", "sig.root:Events", "--entries", "5"], 2, "as 0:1000"),
        (["describe", "sig.root:Events", "--columns", "x*"], 2, "meets no column"),
        (["describe", "data.toml", "--label", "1"], 2, "--label applies to ROOT files; data.toml"),
        (["describe", "data.toml", "--friends", "f.root"], 2, "--friends applies to ROOT files"),
        (["describe", "none.toml"], 1, "'data.toml'"),
        (["describe", "sig.root:Events", "data.toml"], 1, "label"),
        (["describe", "sig.root:Events", "--label"], 2, "requires an argument"),
        (["describe", "--sample", "sig.root"], 2, "not of the form --sample"),
        (["skim", "sig.root:Events", "out.root"], 2, "OUT is a folder"),
        (["skim", "sig.root:Events", "bkg.root"], 2, "OUT is a folder"),
        (["skim", "sig.root:Events"], 2, "expected input files and OUT"),
        (["skim"], 2, "no OUT is given"),
        (["skim", "sig.root:Events", "o", "--format", "csv"], 2, "ttree, rntuple, parquet"),
        (["skim", "sig.root:Events", "."], 1, "is an input file"),
        (["batches", "sig.root:Events", "--cut", "pt < 0"], 1, "no event is selected"),
        (["batches", "sig.root:Events", "-c", "event"], 1, "--dtype float64"),
        (["batches", "sig.root:Events", "--padded", "j=pt"], 2, "the length is missing"),
        (["batches", "sig.root:Events", "--buffer", "big"], 1, "'500 MB'"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_what_cannot_be_done(words: list[str], code: int, says: str, run: Run) -> None:
    text, said = run(*words, code=code)
    assert says in said
    assert text == ""
    assert "Traceback" not in said


# --- skim ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ttree", "rntuple", "parquet", "arrow"])
def test_skim(kind: str, run: Run, tmp_path: Path) -> None:
    words = ["sig.root:Events", "bkg.root:Events", tmp_path / "out", "--cut", "pt > 30"]
    words += ["--columns", "e*,HT = 2 * pt", "--format", kind, "--json"]
    found = json.loads(run("skim", *words)[0])
    passed = [columns_of(seed)["pt"] > 30 for seed in (2, 1)]
    assert found["events"] == sum(mask.sum() for mask in passed)
    for mask, seed, made in zip(passed, (2, 1), found["files"], strict=True):
        events = columns_of(seed)
        if kind == "parquet":
            table = pyarrow.parquet.read_table(made["path"])
        elif kind == "arrow":
            table = pyarrow.feather.read_table(made["path"])
        else:
            with uproot.open(made["path"]) as file:
                table = file["Events"].arrays(library="np")
                assert file["Events"].classname == {"ttree": "TTree"}.get(kind, "ROOT::RNTuple")
        assert np.array_equal(np.asarray(table["event"]), events["event"][mask])
        assert np.array_equal(np.asarray(table["HT"]), 2 * events["pt"][mask])
        assert made["bytes"] == Path(made["path"]).stat().st_size


def test_skim_goes_on_and_refuses_what_is_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["skim", "sig.root:Events", "bkg.root:Events", tmp_path / "out", "--cut", "pt > 30"]
    text, said = run(*words)
    assert text.split() == [f"{tmp_path}/out/sig.root", f"{tmp_path}/out/bkg.root"]
    assert "of 6,000 events" in said
    _, said = run(*words, code=1)
    assert "is there already; remove it, or give --overwrite" in said
    run(*words, "--overwrite")

    from rootml.output import _skim

    real, made = _skim._WriteFile.write, []

    def write(self: Any, job: Any, blocks: Any) -> Any:
        made.append(job.path)
        if len(made) == 2:
            raise KeyboardInterrupt
        return real(self, job, blocks)

    words[3] = tmp_path / "again"
    monkeypatch.setattr(_skim._WriteFile, "write", write)
    _, said = run(*words, "--threads", "1", code=130)
    assert "the same command goes on" in said
    assert "interrupted" in said

    def note_and_write(self: Any, job: Any, blocks: Any) -> Any:
        made.append(job.path)
        return real(self, job, blocks)

    monkeypatch.setattr(_skim._WriteFile, "write", note_and_write)
    run(*words, "--threads", "1")
    assert [Path(path).name for path in made] == ["sig.root", "bkg.root", "bkg.root"]


def test_columns_that_a_format_cannot_hold(
    run: Run, tmp_path: Path, real_file: Callable[[str], str]
) -> None:
    path = real_file("uproot-stl_containers.root")
    _, said = run("skim", path, tmp_path / "out", code=1)
    assert "a TTree cannot hold vector_string" in said
    assert "--skip-unwritable" in said
    assert not (tmp_path / "out").exists()
    text, said = run("skim", path, tmp_path / "out", "--skip-unwritable")
    assert "left out, because a TTree cannot hold them: vector_string" in said
    with uproot.open(text.strip()) as file, uproot.open(path) as original:
        tree = file["tree"]
        assert {"string", "vector_int32"} <= set(tree.keys())
        assert "vector_string" not in tree.keys()  # noqa: SIM118 - a tree is not a dict
        assert tree["vector_int32"].array().tolist() == (
            original["tree"]["vector_int32"].array().tolist()
        )


def test_an_empty_skim_is_said(run: Run, tmp_path: Path) -> None:
    _, said = run("skim", "sig.root:Events", tmp_path / "out", "--cut", "pt < 0")
    assert "no event is selected: the files have no entries" in said
    with uproot.open(tmp_path / "out" / "sig.root") as file:
        assert file["Events"].num_entries == 0


# --- batches -------------------------------------------------------------------------------------


def test_batches_of_a_toml_file(run: Run) -> None:
    found = json.loads(run("batches", "data.toml", "-c", "HT,eta", "-b", "500", "--json")[0])
    events = columns_of(2)
    passed = events["pt"] > 20
    assert found["shapes"] == {
        "x": "float32 (500, 2)", "y": "float32 (500,)", "w": "float32 (500,)",
    }  # fmt: skip
    for place, row in enumerate(found["first_rows"]):
        assert row["HT"] == pytest.approx(2 * events["pt"][passed][place])
        assert row["eta"] == events["eta"][passed][place]
        assert (row["y"], row["w"]) == (1, pytest.approx(events["w"][passed][place]))
    assert found["rows"] == passed.sum() + (columns_of(1)["pt"] > 20).sum()


def test_bench(run: Run) -> None:
    words = ["batches", "sig.root:Events", "--shuffle", "--bench", "--epochs", "3"]
    found = json.loads(run(*words, "--json")[0])
    assert [epoch["events"] for epoch in found["epochs"]] == [ROWS] * 3
    for epoch in found["epochs"]:
        assert epoch["events_per_second"] == pytest.approx(ROWS / epoch["seconds"])
        assert epoch["first_batch_seconds"] <= epoch["seconds"]
        assert epoch["bytes_per_second"] == pytest.approx(ROWS * 3 * 4 / epoch["seconds"])
    assert {"scan", "decode"} <= found["seconds"].keys()
    text, said = run(*words)
    for title in ("events/s", "MB/s", "first batch", "decode"):
        assert title in text
    assert "left out: event" in said


def test_padded_lists_and_default_columns(run: Run, real_file: Callable[[str], str]) -> None:
    path = real_file("uproot-HZZ.root")
    words = ["batches", path, "--padded", "jets=Jet_P*:3", "-c", "NJet", "--json"]
    found = json.loads(run(*words)[0])
    assert found["shapes"]["x['jets'].values"] == "float32 (1024, 3, 3)"
    with uproot.open(path) as file:
        arrays = file["events"].arrays(["NJet", "Jet_Px"], entry_stop=5)
    for row, event in zip(found["first_rows"], arrays, strict=True):
        assert row["NJet"] == event["NJet"]
        assert row["jets: Jet_Px"] == pytest.approx(event["Jet_Px"].tolist()[:3])
    for name in ("uproot-Zmumu-zstd.root", "nanoAOD_2015_CMS_Open_Data_ttbar.root"):
        text, said = run("batches", real_file(name))
        assert "first batch: x float32" in text
        assert "left out" in said


# --- pieces --------------------------------------------------------------------------------------


def test_pieces(folder: Path) -> None:
    import rootml

    assert [number(text) for text in ("1", "1.5", "1e3", "pt", None)] == [1, 1.5, 1e3, "pt", None]
    assert isinstance(number("1"), int)
    assert [entry_range(t) for t in (None, "1:5", ":5", "1:")] == [
        None,
        (1, 5),
        (None, 5),
        (1, None),
    ]
    data = rootml.open(f"{folder}/sig.root:Events")
    assert expanded(data, ["pt, x = max(pt, eta),e*", "pt"]) == [
        "pt", "x = max(pt, eta)", "event", "eta",
    ]  # fmt: skip
    assert expanded(data, ["pt*eta", "w"]) == ["pt*eta", "w"]
    nested = "min(pt, max(eta, w)), event == ',' || (pt > 1)"
    assert expanded(data, [nested]) == ["min(pt, max(eta, w))", "event == ',' || (pt > 1)"]
