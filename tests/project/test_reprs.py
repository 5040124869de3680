"""How objects show themselves, as text and in notebooks, against golden files.

The files lie in ``tests/project/golden``: ``NAME.txt`` is ``repr``, ``NAME.html`` is
``_repr_html_``. After a change that is meant::

    ROOTML_RENEW_GOLDEN=1 make test ARGS="tests/project/test_reprs.py"

writes them anew (and fails, so that nobody leaves it on); look at the difference before
committing it. ``tests/project/golden/README.md`` says how to look at the HTML in a browser.

Content is made by hand where it can be, and always deterministic: seconds are replaced by 0.000,
and what comes out of a training by "#" for each digit.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from morphing_small import small
from morphing_toy import CONDITIONS, FEATURES, toy, write_toy

import rootml
from rootml import sbi
from rootml.bdt import Forest
from rootml.sbi.diagnostics._report import Check
from rootml.sbi.diagnostics._report import Report as DiagnosticsReport
from rootml.sbi.inference.fits._fit import FitResult

GOLDEN = Path(__file__).parent / "golden"
RENEW = "ROOTML_RENEW_GOLDEN"
EVIL = "<script>alert(\"x\")</script> & 'y'"
"""A name that must not become a part of a page."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files of events, in the working folder, so that no path of a machine is shown."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("signal", "background")):
        x = np.arange(40.0)
        columns = {"pt": x + number, "eta": x / 10 - 2, "w": np.where(x % 8, 1.0, -1.0)}
        pa.parquet.write_table(pa.table({**columns, EVIL: x}), f"{name}.parquet")
    return tmp_path


def dataset() -> rootml.Dataset:
    signal = rootml.open("signal.parquet", label=1, weight="w")
    background = rootml.open("background.parquet", label=0, weight="w * 0.5")
    data = (signal + background).filter("pt > 10").filter("eta < 1.5", name=EVIL)
    return data.define(HT="2 * pt").select(["HT", "eta", EVIL])


def loader() -> rootml.batching.BatchLoader:
    data = dataset()
    return data.batches(16, shuffle=True, seed=3, threads=2, buffer_bytes="10 MB")


def forest() -> Forest:
    arrays: dict[str, Any] = {
        "tree_offset": [0, 3, 6], "feature": [0, -1, -1, 1, -1, -1],
        "threshold": np.array([30, 0, 0, 1.5, 0, 0], np.float32), "left": [1, -1, -1, 4, -1, -1],
        "right": [2, -1, -1, 5, -1, -1], "default_left": [True] + [False] * 5,
        "value": np.array([[0], [-1], [1], [0], [0.5], [-0.5]], np.float32),
        "tree_output": [0, 0], "base": np.array([0.5], np.float32),
    }  # fmt: skip
    return Forest(
        **arrays, num_features=2, feature_names=("pt", EVIL), link="sigmoid", library="xgboost",
        library_version="3.2.0", objective="binary:logistic",
    )  # fmt: skip


def likelihood() -> sbi.Likelihood:
    model = sbi.Model(
        {"S": "mu * 10", "B": "90"}, {"mu": sbi.Parameter(1.0, lower=0.0, upper=5.0)},
        {"jes": sbi.Nuisance(constraint="gaussian", yields={"B": (1.05, 0.96)})},
    )  # fmt: skip
    columns = {"S": np.linspace(0.1, 3.0, 100), "B": np.linspace(1.2, 0.8, 100)}
    return model.likelihood(columns, engine="numpy")


def fit_result() -> FitResult:
    return FitResult(
        like=likelihood(), values={"mu": 1.234567, "jes": -0.25}, errors={"mu": 0.3, "jes": 0.0},
        covariance=np.array([[0.09, 0.0], [0.0, 0.0]]), nll=-123.456789, edm=1.5e-9, valid=True,
        problems=[f"look at {EVIL}"], at_limit=[], fixed=["jes"], calls=(12, 7),
    )  # fmt: skip


def diagnostics() -> DiagnosticsReport:
    checks = (
        Check("normalisation", "S/B", "mean ratio", 1.0123, 0.004, 1.0, 0.002, False,
              f"renormalise {EVIL}"),
        Check("closure", "MET_pt", "chi2 / ndf", 0.98, None, 1.0, 0.5, True),
        Check("tails", "S/B", "largest ratio", 41.5),
    )  # fmt: skip
    return DiagnosticsReport(checks, notes=("1,000 events of S", f"none of {EVIL}"))


def morpher() -> Any:
    return sbi.morphing.Morpher(FEATURES, CONDITIONS, id=["run", EVIL], ensemble=3, seed=7)


def fitted_morpher() -> Any:
    pytest.importorskip("torch")
    for kind in ("sim", "data"):
        write_toy(Path(f"{kind}.root"), kind, 600)
    sim, data = (rootml.open(f"{kind}.root") for kind in ("sim", "data"))
    return small(steps=2, reweight="none", batch_size=64).fit(sim, data, progress=False)


def morphing_report() -> Any:
    pytest.importorskip("xgboost")
    from rootml.sbi.morphing.validation._metrics_sample import Sample
    from rootml.sbi.morphing.validation._validate import make_report
    from rootml.sbi.morphing.validation._validate_compare import Options

    names = {FEATURES[0]: EVIL}

    def sample(kind: Literal["sim", "data"], seed: int) -> Sample:
        columns = {names.get(name, name): x for name, x in toy(kind, 800, seed=seed).items()}
        return Sample.of(columns, what=kind)

    return make_report(
        sample("data", 1), {"before": sample("sim", 1), "after": sample("data", 2)},
        features=[names.get(name, name) for name in FEATURES], conditions=CONDITIONS,
        options=Options(classifier="trees", slices=3), notes=[EVIL],
    )  # fmt: skip


def described_loader() -> Any:
    made = loader()
    for _ in made.numpy():
        pass
    found = made.describe()
    made.close()
    return found


OBJECTS: dict[str, Callable[[], Any]] = {
    "cutflow": lambda: dataset().cutflow(),
    "dataset": dataset,
    "description": lambda: dataset().describe(),
    "diagnostics": diagnostics,
    "fit_result": fit_result,
    "forest": forest,
    "likelihood": likelihood,
    "loader": loader,
    "loader_description": described_loader,
    "model": lambda: forest().compile("numpy", threads=1),
    "morpher": morpher,
    "morpher_fitted": fitted_morpher,
    "morphing_report": morphing_report,
}
FROM_TRAINING = {"morpher_fitted", "morphing_report"}


def settled(name: str, text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"\d+\.\d{3} s\b", "0.000 s", text)
    if name not in FROM_TRAINING:
        return text
    return re.sub(r"(?<![A-Za-z])-?[\d.,]*\d(?:e[+-]?\d+)?(?![A-Za-z])", _hashes, text)


def _hashes(match: re.Match[str]) -> str:
    return re.sub(r"\d+", "#", match.group().lstrip("-"))


def compare(path: Path, text: str) -> None:
    """Against the golden file, or write it anew."""
    if os.environ.get(RENEW):
        path.write_text(text + "\n", encoding="utf-8")
        pytest.fail(f"{path.name} is written anew: look at it, and unset {RENEW}")
    expected = path.read_text(encoding="utf-8").removesuffix("\n")
    lines = difflib.unified_diff(
        expected.splitlines(), text.splitlines(), "golden", "now", lineterm=""
    )
    assert text == expected, "\n".join(lines)


def squeezed(text: str) -> str:
    """Tables lose the width of their columns where digits were replaced."""
    return re.sub(r" {2,}", "  ", text)


@pytest.mark.parametrize("name", OBJECTS)
def test_text_is_as_it_was(name: str, folder: Path) -> None:
    text = settled(name, repr(OBJECTS[name]()))
    compare(GOLDEN / f"{name}.txt", squeezed(text) if name in FROM_TRAINING else text)


@pytest.mark.parametrize("name", OBJECTS)
def test_html_is_as_it_was_and_harmless(name: str, folder: Path) -> None:
    html = OBJECTS[name]()._repr_html_()
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == [], "tags that are not closed"
    assert page.wrong == []
    assert "alert(" not in html or "&lt;script&gt;alert(" in html
    compare(GOLDEN / f"{name}.html", settled(name, html.replace("><", ">\n<")))


class Page(HTMLParser):
    """Well-formed, and nothing in it that could clash with a page or act in it."""

    TAGS: ClassVar = {"b", "div", "p", "strong", "table", "tbody", "td", "th", "thead", "tr"}
    STYLES: ClassVar = {"margin", "overflow-wrap", "overflow-x", "text-align", "vertical-align",
              "white-space"}  # fmt: skip

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag not in self.TAGS:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            styles = {each.partition(":")[0].strip() for each in (value or "").split(";") if each}
            if name != "style" or not styles <= self.STYLES:
                self.wrong.append(f'{name}="{value}"')

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        del attrs
        self.wrong.append(f"<{tag}/>")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}>")


def test_the_golden_files_are_those_of_the_objects() -> None:
    found = {path.name for path in GOLDEN.iterdir()} - {"README.md"}
    assert found == {f"{name}.{kind}" for name in OBJECTS for kind in ("txt", "html")}


@pytest.mark.parametrize(
    ("html", "wrong"),
    [
        ("<p>x", ["p"]), ("<p>x</b>", ["</b>"]), ("<script>x</script>", ["<script>"]),
        ('<p id="a">x</p>', ['id="a"']), ('<p style="color:red">x</p>', ['style="color:red"']),
        ("<p>&lt;script&gt;</p>", []),
    ],
)  # fmt: skip
def test_the_judge_itself(html: str, wrong: list[str]) -> None:
    page = Page()
    page.feed(html)
    page.close()
    assert (page.wrong or page.open) == wrong
