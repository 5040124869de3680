"""What is wrong in an analysis file is said before anything runs, with the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
from analysis_files import FOREST, HEAD, PICTURE, write_analysis

from rootml.analysis import load_analysis
from rootml.errors import (
    CorruptFileError,
    ExpressionError,
    MissingColumnError,
    MissingFileError,
    RootmlError,
    UsageError,
)

RATIOS = """
[step.ratios]
kind = "ratios"
processes = ["S", "B"]
reference = "B"
inputs = "x"
"""
FIT = """
[step.fit]
kind = "fit"
ratios = "ratios"
data = "D"
processes = { S = "mu * expected", B = "expected" }
parameters = { mu = { value = 1.0 } }
"""

MISTAKES = {
    "kind": (
        PICTURE,
        "histogram",
        "histogramm",
        "unknown kind 'histogramm'; nearest: 'hist",
    ),
    "no kind": (PICTURE, 'kind = "histogram"', "", r"\[step.picture\]: kind = ... is missing"),
    "key": (PICTURE, "column", "colum", "unknown key 'colum'; nearest: 'column'"),
    "missing key": (PICTURE, 'column = "z"', "", "column = ... is missing"),
    "top": (PICTURE, "[step.picture]", "[stop.picture]", "unknown key 'stop'; nearest: 'step'"),
    "value": (PICTURE, "[-4, -2, 0, 2, 4]", '"many"', "bins='many'"),
    "bins": (PICTURE, "[-4, -2, 0, 2, 4]", "10", "give range ="),
    "sample": (PICTURE, '["B", "S"]', '["B", "SS"]', "no sample 'SS'; nearest: 'S'"),
    "sample key": (HEAD, "weight = 0.5", "wieght = 0.5", r"\[sample.B\]: unknown key 'wieght'"),
    "step": (FOREST, 'bdt = "forest"', 'bdt = "forrest"', "no step 'forrest'; nearest: 'forest'"),
    "wrong kind": (FOREST, 'bdt = "forest"', 'bdt = "performance"', "is of kind 'evaluate'"),
    "friends": (FOREST, '["S", "B", "D"]', '["S", "D"]', r"gives no scores for \['B'\]"),
    "twice": (FOREST, 'background = "B"\ninputs', 'background = "S"\ninputs', "'S' is in signal"),
    "split key": (HEAD, 'by = "event"', 'bye = "event"', r"\[split\]: unknown key 'bye'"),
    "name": (PICTURE, "step.picture", "step.report", r"\[step.report\]: letters"),
    "seed": (HEAD, "seed = 3", "seed = -3", "seed=-3"),
    "one class": (RATIOS, '["S", "B"]', '["B"]', "there is only one class"),
    "reference": (RATIOS, 'reference = "B"', 'reference = "D"', "is none of processes"),
    "parameter": (RATIOS + FIT, "value = 1.0", "vlaue = 1.0", "unknown key 'vlaue'; nearest: 'va"),
    "no data": (RATIOS + FIT, 'data = "D"', "", "give data ="),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_named_with_the_file(mistake: str, tmp_path: Path) -> None:
    where, old, new, message = MISTAKES[mistake]
    assert old in where
    text = where.replace(old, new)
    parts = (text, PICTURE) if where is HEAD else (HEAD, text)
    path = write_analysis(tmp_path, parts[1], head=parts[0])
    with pytest.raises(UsageError, match=message) as caught:
        load_analysis(path)
    assert str(caught.value).startswith(str(path))


def test_unknown_parameter_in_a_yield_is_named(tmp_path: Path) -> None:
    path = write_analysis(tmp_path, RATIOS, FIT.replace("mu * expected", "nu * expected"))
    with pytest.raises(RootmlError, match=r"\[step.fit\].*nu"):
        load_analysis(path)


def test_circle_is_drawn(tmp_path: Path) -> None:
    path = write_analysis(tmp_path, FOREST.replace("rounds", 'friends = "scores"\nrounds'))
    with pytest.raises(UsageError, match="forest -> scores -> forest"):
        load_analysis(path)


def test_evaluation_needs_a_split(tmp_path: Path) -> None:
    head = HEAD.replace('[split]\ntest = 0.4\nby = "event"\n', "")
    with pytest.raises(UsageError, match=r"\[step.performance\].*\[split\]"):
        load_analysis(write_analysis(tmp_path, FOREST, head=head))


def test_files_that_are_not_there_or_no_toml(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        load_analysis(tmp_path / "nothing.toml")
    with pytest.raises(UsageError, match="folder"):
        load_analysis(tmp_path)
    path = write_analysis(tmp_path, PICTURE, head="seed = = 3\n")
    with pytest.raises(CorruptFileError, match="line 1"):
        load_analysis(path)
    path = write_analysis(tmp_path, PICTURE, head=HEAD.replace("B.parquet", "C.parquet"))
    with pytest.raises(MissingFileError, match=r"C\.parquet"):
        load_analysis(path)
    path = write_analysis(tmp_path, PICTURE, head=HEAD.replace("x > -3", "x > (3"))
    with pytest.raises(ExpressionError, match=r"analysis\.toml"):
        load_analysis(path)


@pytest.mark.parametrize(
    ("old", "new", "missing"),
    [
        ('column = "z"', 'column = "zz"', "zz"),
        ('column = "z"', 'column = "z"\ncut = "q > 0"', "q"),
    ],
)
def test_missing_column_is_named_before_anything_runs(
    old: str, new: str, missing: str, tmp_path: Path
) -> None:
    analysis = load_analysis(write_analysis(tmp_path, PICTURE.replace(old, new)))
    with pytest.raises(MissingColumnError, match=rf"\[step.picture\].*'{missing}'"):
        analysis.plan()


def test_missing_score_is_named_before_the_training(tmp_path: Path) -> None:
    path = write_analysis(tmp_path, FOREST.replace('score = "bdt"', 'score = "btd"'))
    with pytest.raises(MissingColumnError, match=r"\[step.performance\].*'btd'"):
        load_analysis(path).run()
    assert not (tmp_path / "analysis-output" / "forest").exists()


def test_steps_run_behind_what_they_need(tmp_path: Path) -> None:
    tables = FOREST.strip().split("[step.")[1:]
    backwards = "".join(f"\n[step.{table}" for table in reversed(tables))
    steps = load_analysis(write_analysis(tmp_path, backwards)).steps
    assert list(steps) == ["forest", "scores", "performance", "report"]
