"""`rootml run`: plan, run, what goes where, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from analysis_files import PICTURE, write_analysis

from rootml.analysis._step import Outcome
from rootml.analysis.steps._histogram import Histogram
from rootml.cli import main

pytest.importorskip("hist")
pytest.importorskip("matplotlib")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(write_analysis(tmp_path, PICTURE))


def test_plan_run_and_run_again(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", path, "--dry"]) == 0
    assert "picture  histogram  run  has never run" in capsys.readouterr().out
    assert not (Path(path).parent / "analysis-output").exists()
    assert main(["run", path]) == 0
    said = capsys.readouterr()
    assert "ok  picture (histogram)," in said.out
    assert "report.html" in said.out
    assert "picture: running (has never run)" in said.err
    assert "\x1b" not in said.out + said.err  # no colour without a terminal
    assert main(["run", path]) == 0
    assert "ok  picture (histogram), up to date" in capsys.readouterr().out


def test_json(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", path, "--dry", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"][0]["action"] == "run"
    assert main(["run", path, "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [step["ran"] for step in found["steps"]] == [True, True]
    assert Path(found["report"]).exists()


def test_what_has_to_be_looked_at(
    path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Histogram, "run", lambda *_: Outcome(problems=["it is odd"]))
    assert main(["run", path]) == 3
    out = capsys.readouterr().out
    assert "LOOK  picture" in out
    assert "LOOK  it is odd" in out


@pytest.mark.parametrize("option", ["--only", "--force"])
def test_errors_are_one_line(option: str, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", path, option, "pictur"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "no step 'pictur'; nearest: 'picture'" in error


def test_changed_results_are_named_with_the_option(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", path, "-q"]) == 0
    (Path(path).parent / "analysis-output/picture/histogram.json").write_text("mine", "utf-8")
    assert main(["run", path]) == 1
    assert "--force picture" in capsys.readouterr().err
    assert main(["run", path, "--force", "picture", "-q"]) == 0
