"""`rootml bdt`: look at, compile, score files, convert; against XGBoost where it computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from rootml.bdt import load
from rootml.cli import main

xgboost = pytest.importorskip("xgboost")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two features, one without names, and a ROOT file of 300 events."""
    made = tmp_path_factory.mktemp("bdt-cli")
    rng = np.random.default_rng(4)
    pt, eta = rng.exponential(30, 300).astype(np.float32), rng.normal(size=300).astype(np.float32)
    pt[::17] = -999
    label = (pt > 20) & (np.abs(eta) < 1.5)
    for name, names in (("model", ["pt", "eta"]), ("nameless", None)):
        data = xgboost.DMatrix(np.c_[pt, eta], label, feature_names=names)
        booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 6)
        booster.save_model(made / f"{name}.json")
    with uproot.recreate(made / "events.root") as file:
        file.mktree("Events", {"pt": np.float32, "eta": np.float32})
        file["Events"].extend({"pt": pt, "eta": eta})
    return made


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def fails(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 1) -> str:
    assert main([str(word) for word in words]) == code
    return capsys.readouterr().err


def events(folder: Path) -> Any:
    return uproot.open(folder / "events.root")["Events"].arrays(library="np")


def wanted(folder: Path, **options: Any) -> Any:
    columns = events(folder)
    data = xgboost.DMatrix(np.c_[columns["pt"], columns["eta"]], feature_names=["pt", "eta"],
                           missing=options.pop("missing", np.nan))  # fmt: skip
    return xgboost.Booster(model_file=folder / "model.json").predict(data, **options)


def test_info(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "bdt", "info", folder / "model.json", "--importance", "gain")
    for words in ("trees", "6 (depth", "2: pt, eta", "binary:logistic", "feature", "gain"):
        assert words in text
    found = json.loads(run(capsys, "bdt", "info", folder / "model.json", "--json",
                           "--importance", "weight", "--missing", "-999"))  # fmt: skip
    booster = xgboost.Booster(model_file=folder / "model.json")
    assert found["importance"] == booster.get_score(importance_type="weight")
    assert (found["trees"], found["features"], found["missing"]) == (6, ["pt", "eta"], -999)
    assert "'wieght'" in fails(
        capsys, "bdt", "info", folder / "model.json", "--importance", "wieght"
    )
    assert "no model file" in fails(capsys, "bdt", "info", folder / "none.json")


def test_compile(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "bdt", "compile", folder / "model.json", "--engine", "numpy",
                           "--json"))  # fmt: skip
    assert found["engine"] == found["isa"] == "numpy"
    assert found["cache"] is None
    pytest.importorskip("llvmlite")
    assert "llvm" in run(capsys, "bdt", "compile", folder / "model.json")
    assert "engine" in fails(capsys, "bdt", "compile", folder / "model.json", "--engine", "gcc")


@pytest.mark.parametrize("margin", [False, True], ids=["prediction", "margin"])
def test_predict(
    margin: bool, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words: list[str | Path] = ["predict", folder / "model.json"]
    words += [f"{folder}/events.root:Events", "-o", tmp_path, "--name", "bdt"]
    words += ["--engine", "numpy", "--json", "--missing", "-999"]
    found = json.loads(run(capsys, *words, *(["--margin"] if margin else [])))
    (path,) = found["files"]
    (tree,) = uproot.open(path).values(filter_classname="TTree")
    score = tree["bdt"].array(library="np")
    expected = wanted(folder, output_margin=margin, missing=-999)
    if margin:
        assert score.astype(np.float32).tobytes() == expected.tobytes()
    else:
        np.testing.assert_allclose(score, expected, rtol=1e-6)
    assert tree["bdt_valid"].array(library="np").all()


def test_predict_with_columns_and_a_cut(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words: list[str | Path] = ["predict", folder / "nameless.json"]
    words += [f"{folder}/events.root:Events", "-o", tmp_path / "friends"]
    words += ["--engine", "numpy", "--margin", "--quiet"]
    assert "--column f0=" in fails(capsys, *words, code=2)
    assert "FEATURE=EXPRESSION" in fails(capsys, *words, "-c", "f0", code=2)
    assert "'f0', 'f1'" in fails(capsys, *words, "-c", "pt=pt", code=2)
    out = run(capsys, *words, "-c", "f0=pt * 1", "-c", "f1 = eta", "--cut", "eta > 0")
    (tree,) = uproot.open(out.strip()).values(filter_classname="TTree")
    score = tree["score"].array(library="np")
    passed = events(folder)["eta"] > 0
    assert np.array_equal(np.isfinite(score), passed)
    expected = wanted(folder, output_margin=True)[passed]
    assert score[passed].astype(np.float32).tobytes() == expected.tobytes()


def test_convert(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = folder / "model.json"
    run(capsys, "bdt", "convert", model, tmp_path / "m.forest.json", "--rounds", "1:3",
        "--missing", "-999")  # fmt: skip
    saved = load(tmp_path / "m.forest.json")
    assert (saved.num_trees, saved.missing) == (2, -999)
    run(capsys, "bdt", "convert", model, tmp_path / "m.hpp", "--name", "Tagger")
    assert "struct Tagger {" in (tmp_path / "m.hpp").read_text()
    pytest.importorskip("onnx")
    run(capsys, "bdt", "convert", model, tmp_path / "m.bin", "--to", "onnx")
    assert load(tmp_path / "m.bin").library == "onnx"
    for words, code, message in (
        ((tmp_path / "m.txt",), 2, "--to onnx, cpp or json"),
        ((tmp_path / "m.json", "--name", "X"), 2, "--name names a C++ class"),
        ((tmp_path / "m.json", "--rounds", "3"), 2, "as 0:100"),
        ((tmp_path / "m.json", "--rounds", "0:99"), 1, "rounds 0 to 6"),
    ):
        assert message in fails(capsys, "bdt", "convert", model, *words, code=code)


def test_predict_a_dataset_in_toml(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"cuts = ['eta < 1']\n[[sample]]\nfiles = '{folder}/events.root'\n"
    (tmp_path / "data.toml").write_text(text)
    words: list[str | Path] = ["predict", folder / "model.json", tmp_path / "data.toml"]
    words += ["-o", tmp_path / "friends", "--engine", "numpy", "--margin", "--json"]
    (path,) = json.loads(run(capsys, *words, "--cut", "pt > 0"))["files"]
    (tree,) = uproot.open(path).values(filter_classname="TTree")
    columns = events(folder)
    passed = (columns["eta"] < 1) & (columns["pt"] > 0)
    score = tree["score"].array(library="np")
    assert np.array_equal(np.isfinite(score), passed)
    expected = wanted(folder, output_margin=True)[passed]
    assert score[passed].astype(np.float32).tobytes() == expected.tobytes()
    words[1] = folder / "nameless.json"
    said = fails(capsys, *words, "-c", "f0=nothing", "-c", "f1=eta")
    assert "no column 'nothing'" in said
    assert "--column 'f0=pt'" in said


def test_bench(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words: list[str | Path] = ["bdt", "bench", folder / "model.json", "-n", "2000", "--turns", "2"]
    words += ["--engine", "numpy"]
    found = json.loads(run(capsys, *words, "--json"))
    ours, theirs = found["engines"]
    assert (ours["name"], theirs["name"]) == ("rootml numpy", "xgboost")
    assert theirs["equal"] is True
    assert theirs["ratio"] == pytest.approx(theirs["ns_per_event"] / ours["ns_per_event"])
    assert ours["events_per_second"] == pytest.approx(1e9 / ours["ns_per_event"])
    assert "xgboost" in run(capsys, *words)
    assert "xgboost" not in run(capsys, *words, "--no-peer")


def test_random_rows_go_everywhere(folder: Path) -> None:
    """Leaves that XGBoost reaches with them: all of those that any event can reach."""
    from rootml.cli._bdt_bench import random_rows

    rows = random_rows(load(folder / "model.json"), 20_000)
    assert rows.dtype == np.float32
    booster = xgboost.Booster(model_file=folder / "model.json")
    booster.feature_names = None
    leaves = booster.predict(xgboost.DMatrix(rows), pred_leaf=True)
    dumps = booster.get_dump()
    reached = [len(set(leaves[:, tree].tolist())) for tree in range(len(dumps))]
    there = [dump.count("leaf=") for dump in dumps]
    assert sum(reached) >= 0.9 * sum(there)
    assert np.isnan(rows).any()


def test_convert_says_what_it_wrote(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.hpp"
    found = json.loads(run(capsys, "bdt", "convert", folder / "model.json", out, "--json"))
    assert found == {"file": str(out), "format": "cpp", "bytes": out.stat().st_size}


def test_explain(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("llvmlite")
    words: list[str | Path] = ["bdt", "explain", folder / "model.json"]
    words += [f"{folder}/events.root:Events", "--missing", "-999"]
    theirs = wanted(folder, pred_contribs=True, missing=-999)
    found = json.loads(run(capsys, *words, "--json"))
    sizes = np.abs(theirs[:, :-1]).mean(axis=0)
    np.testing.assert_allclose(
        [found["mean_size"][name] for name in ("pt", "eta")], sizes, rtol=1e-4
    )
    np.testing.assert_allclose(found["bias"], theirs[0, -1], rtol=1e-4)
    text = run(capsys, *words, "-o", tmp_path, "--name", "bdt")
    assert "mean |contribution|" in text
    (tree,) = uproot.open(tmp_path / "events.root").values(filter_classname="TTree")
    np.testing.assert_allclose(tree["bdt_from_pt"].array(library="np"), theirs[:, 0], atol=1e-5)
