"""`rootml sbi`: fits and limits of model files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sbi_problems import SignalBackground

from rootml import sbi
from rootml.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model files: with data, without, and one that has no minimum."""
    place = tmp_path_factory.mktemp("models")
    problem = SignalBackground()
    like = problem.likelihood(problem.draw(np.random.default_rng(3)))
    sbi.save(like, place / "model.json")
    sbi.save(like.model, place / "empty.json")
    ghost = sbi.Model({"S": "mu * 10"}, {"mu": 1.0, "ghost": 0.5})
    sbi.save(ghost.likelihood({"S": np.ones(10)}), place / "ghost.json")
    return place


def test_fit(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = str(folder / "model.json")
    expected = sbi.fit(sbi.load(model))
    assert main(["sbi", "fit", model, "--minos", "mu"]) == 0
    printed = capsys.readouterr().out
    assert "mu in [" in printed
    assert f"{expected.values['mu']:.2f}   {expected.errors['mu']:.2f}" in printed
    words = ["--fix", "jes=0.5", "--impacts", "mu", "--plots", str(tmp_path), "--json"]
    assert main(["sbi", "fit", model, *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["values"] == sbi.fit(expected.like, fixed={"jes": 0.5}).values
    assert found["fixed"] == ["jes"]
    assert {p.name for p in tmp_path.iterdir()} == {
        "impacts-mu.png"
    }  # no nuisance is left to pull


def test_fit_without_a_minimum_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sbi", "fit", str(folder / "ghost.json"), "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["valid"] is False
    assert captured.err.startswith("error: the fit did not converge")


def test_limit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(folder / "model.json")
    assert main(["sbi", "limit", model, "mu", "--level", "0.9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = sbi.limit(sbi.load(model), "mu", level=0.9)
    assert found["observed"] == pytest.approx(expected.observed, rel=1e-6)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["fit", "none.json"], 1, "no such model file"),
        (["fit", "empty.json"], 1, "without data"),
        (["fit", "model.json", "--fix", "mu"], 2, "not of the form --fix mu=1"),
        (["fit", "model.json", "--fix", "mu=x"], 2, "not a number"),
        (["fit", "model.json", "--fix", "nu=1"], 1, "no parameter 'nu'"),
        (["diagnose", "none.onnx", "--sample", "S"], 2, "not of the form --sample"),
    ],
    ids=range(6),
)
def test_errors(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, says: str
) -> None:
    words[1] = str(folder / Path(words[1]).name)
    assert main(["sbi", *words]) == code
    assert says in capsys.readouterr().err
