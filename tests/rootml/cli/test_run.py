"""`rootml run`: plan, run, what goes where, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
    told = Outcome(problems=["it is odd"], notes=["there are <few> events"])
    monkeypatch.setattr(Histogram, "run", lambda *_: told)
    assert main(["run", path]) == 3
    out = capsys.readouterr().out
    assert "LOOK  picture" in out
    assert "LOOK  it is odd" in out
    assert "note: there are <few> events" in out
    page = (Path(path).parent / "analysis-output/report/report.html").read_text("utf-8")
    assert "<p>Note: there are &lt;few&gt; events</p>" in page


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


def test_verdicts_have_colours_on_a_terminal_and_none_in_a_pipe(path: str) -> None:
    """A terminal of its own; NO_COLOR is respected there."""
    code = "import sys; from rootml.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "run", path, "--quiet"]
    said = {}
    for name, more in (("colour", {}), ("plain", {"NO_COLOR": "1"})):
        reader, writer = os.openpty()
        environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | more
        run = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, check=False, env=environment
        )
        os.close(writer)
        said[name] = os.read(reader, 100_000).decode()
        os.close(reader)
        assert run.returncode == 0, run.stderr
        assert b"\x1b" not in run.stderr
    assert "\x1b[32mok\x1b[0m  picture" in said["colour"]
    assert "ok  picture" in said["plain"]
    assert "\x1b" not in said["plain"]


def test_a_batch_job_gets_lines_of_progress(
    path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rootml._internal.progress.INTERVAL", 0.0)
    assert main(["run", path]) == 0
    assert "filling: 1 of 1 (100 %)" in capsys.readouterr().err
    assert main(["run", path, "--force", "all", "--quiet"]) == 0
    assert "filling" not in capsys.readouterr().err
