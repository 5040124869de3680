"""`rootml evaluate` says what `rootml.evaluate` finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rootml
from rootml.cli import main

pytest.importorskip("hist")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    for name, label in (("test", 0), ("test", 1), ("train", 0), ("train", 1)):
        dnn = rng.normal(label, 1, 300)
        table = pa.table({"dnn": dnn, "pt": rng.exponential(40, 300), "y": np.full(300, label)})
        pa.parquet.write_table(table, tmp_path / f"{name}_{label}.parquet")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("files")
def test_numbers_tables_and_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mplhep")
    given = ["evaluate", "test_*.parquet", "--label", "y", "--score", "dnn", "--quiet"]
    more = ["--train", "train_*.parquet", "--by", "pt=0,30,400", "--point", "0.5"]
    assert main([*given, *more, "--json", "--report", "report.html"]) == 0
    found = json.loads(capsys.readouterr().out)
    test, train = (rootml.open(f"{name}_*.parquet", label="y") for name in ("test", "train"))
    wanted = rootml.evaluate(
        test, "dnn", train=train, by={"pt": [0, 30, 400]}, working_points=[0.5]
    )
    assert found["auc"] == wanted.auc
    assert found["train_auc"] == wanted.train_auc
    assert found["efficiencies"]["pt"]["signal"] == wanted.efficiencies["pt"].signal.tolist()
    assert len(found["working_points"]) == 1
    assert "pt" in Path("report.html").read_text(encoding="utf-8")
    assert main([*given, "--sample", "0=train_0.parquet"]) == 0
    assert "rejection" in capsys.readouterr().out


@pytest.mark.usefixtures("files")
def test_what_makes_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    files = ["evaluate", "test_*.parquet", "--label", "y", "--quiet"]
    for options, code, words in (
        ([], 2, "give --score COLUMN"),
        (["--score", "dnm"], 1, "'dnn'"),
        (["--score", "dnn", "--by", "pt=0,x"], 2, "edges of bins"),
        (["--score", "dnn", "--cut", "y == 1"], 1, "no selected event has label 0"),
    ):
        assert main([*files, *options]) == code
        assert words in " ".join(capsys.readouterr().err.split())
