"""`make quickstart` checks what it shows; here: that it shows all of it, and that it can fail."""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import uproot
from filelock import FileLock
from page import ClaimFailed, Page

from rootml.analysis import load_analysis

TUTORIALS = Path(__file__).parents[2] / "tutorials"
SMALL = ("--events", "30000", "--photons", "4000", "--steps", "200")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """As a user runs it, in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(TUTORIALS), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What a small run prints, and its folder."""
    for package in ("torch", "matplotlib", "xgboost", "llvmlite", "iminuit"):
        pytest.importorskip(package)
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "quickstart"
    output = folder / "output.txt"
    with FileLock(f"{folder}.lock"):  # whichever worker comes first, while the others wait
        if not output.exists():
            folder.mkdir()
            done = run(folder, str(TUTORIALS / "quickstart.py"), *SMALL)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            output.write_text(done.stdout, encoding="utf-8")
    return output.read_text(encoding="utf-8"), folder / "quickstart-output"


def test_the_whole_mission_is_shown(made: tuple[str, Path]) -> None:
    output, folder = made
    assert re.findall(r"^(\d)/6 ", output, re.MULTILINE) == list("123456")
    claims = re.findall(r"✓ (.+)", output)
    for part in ("exactly once", "bit by bit", "friend files", "injected signal", "AUC"):
        assert any(part in claim for claim in claims), part
    by_roofit = any("RooFit" in claim for claim in claims)
    assert by_roofit == (importlib.util.find_spec("ROOT") is not None)
    assert output.rstrip().endswith("quickstart-output/report.html")
    assert (folder / "report.html").is_file()


def test_an_analysis_file_for_the_same_events_is_left(made: tuple[str, Path]) -> None:
    """The weights are those of the quickstart, and `rootml run` takes it."""
    _, folder = made
    analysis = load_analysis(folder / "analysis.toml")
    assert len([planned for planned in analysis.plan() if planned.action == "run"]) > 8
    text = (folder / "analysis.toml").read_text(encoding="utf-8")
    assert re.findall(r"genWeight \* ([\d.]+)", text) == ["0.005", "0.1"]
    sums = [
        analysis.dataset(name).scan().total.sumw for name in ("signal", "background", "observed")
    ]
    assert sums[2] == pytest.approx(1.5 * sums[0] + sums[1], rel=0.1)


def test_scores_stand_beside_the_events(made: tuple[str, Path]) -> None:
    _, folder = made
    inputs = sorted(folder.glob("signal_*.root")) + sorted(folder.glob("background_*.root"))
    assert len(inputs) == 5
    for path in inputs:
        with uproot.open(path) as file:
            events = file["Events"].arrays(["nJet", "Jet_pt"])
        enough = (events["nJet"] >= 2).to_numpy()
        hard = np.array([pt[1] > 30 if len(pt) > 1 else False for pt in events["Jet_pt"].tolist()])
        for name in ("network", "forest"):
            with uproot.open(folder / name / path.name) as file:
                (tree,) = file.values(filter_classname="TTree")
                scores = tree.arrays(library="np")
            assert np.array_equal(scores[f"{name}_valid"].astype(bool), enough & hard)
            assert np.array_equal(np.isfinite(scores[name]), enough & hard)
            assert np.nanmin(scores[name]) >= 0
            assert np.nanmax(scores[name]) <= 1


class Reader(HTMLParser):
    """What a page consists of, and what it asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        asked = {"src", "srcset", "href", "data", "poster", "action"}
        self.sources += [value or "" for name, value in attrs if name in asked]
        if tag == "img":
            assert dict(attrs)["alt"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_report_is_one_file(made: tuple[str, Path]) -> None:
    output, folder = made
    text = (folder / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.tags.count("section") == 6
    pictures = {path.stem for path in folder.glob("*.png")} - {"overview"}  # of three of them
    assert reader.tags.count("img") == len(pictures) == 6
    assert len(reader.sources) == 12  # for light and for dark screens
    for source in reader.sources:
        kind, _, content = source.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content, validate=True).startswith(b"\x89PNG")
    assert not re.search(r"url\(|@import|<script|<link", text)
    shown = " ".join(reader.words)
    for claim in re.findall(r"✓ (.+)", output):
        assert claim in shown


def test_margins_that_differ_from_those_of_xgboost_end_it(tmp_path: Path) -> None:
    for package in ("torch", "matplotlib", "xgboost", "llvmlite", "iminuit"):
        pytest.importorskip(package)
    script = (
        "import sys, numpy, quickstart\n"
        "from rootml.bdt._model import Model\n"
        "right = Model.predict_margin\n"
        "wrong = lambda *a, **k: numpy.nextafter(right(*a, **k), numpy.float32(9))\n"
        "Model.predict_margin = wrong\n"
        "sys.exit(quickstart.main(['--events', '30000']))\n"
    )
    done = run(tmp_path, "-c", script)
    assert done.returncode == 1, done.stderr[-3000:]
    assert "this does not hold: the compiled forest gives XGBoost's margins" in done.stderr
    assert not (tmp_path / "quickstart-output" / "report.html").exists()


def test_a_claim_that_does_not_hold_is_not_written_down(tmp_path: Path) -> None:
    page = Page(tmp_path, steps=1)
    with page.step("arithmetic"):
        page.claim("2 + 2 = 4", 2 + 2 == 4)
        with pytest.raises(ClaimFailed, match="2 \\+ 2 = 5"):
            page.claim("2 + 2 = 5", 2 + 2 == 5)
    assert page.sections[0].claims == ["2 + 2 = 4"]
    text = page.write("<b>", "a & b").read_text(encoding="utf-8")
    assert "<h1>&lt;b&gt;</h1>" in text
    assert "a &amp; b" in text
