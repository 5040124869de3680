"""Texts written for TTree::Draw, with its arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

import rootml
from rootml import toml
from rootml.errors import ExpressionError, UsageError


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "d.root")
    x = np.array([-4.0, 5.5, 0.0, 30.0, 2.0])
    with uproot.recreate(path) as file:
        types = {"x": "float64", "z": "float64", "event": "int64"}
        columns = {"x": x, "z": np.array([0.0, 1, 2, 0, 4]), "event": np.arange(5)}
        file.mktree("Events", types).extend(columns)
    return path


@pytest.mark.needs_root
def test_d07_cuts_select_the_events_of_tree_draw(root: Any, path: str) -> None:
    file = root.TFile.Open(path)
    tree = file.Get("Events")
    texts = ("x / z > 1", "sqrt(x) > 1", "log(x) > 1", "x % 2 == 1", "acos(x) > 1", "x^2 > 20")
    for text in texts:
        theirs = tree.GetEntries(text)
        data = rootml.open(path)
        assert data.filter(text, dialect="draw").scan().num_rows == theirs, text
        assert rootml.open(path, dialect="draw").filter(text).scan().num_rows == theirs, text
    assert rootml.open(path).filter("x / z > 1").scan().num_rows != tree.GetEntries("x / z > 1")


def test_definitions_labels_and_weights(path: str) -> None:
    data = rootml.open(path, dialect="draw", weight="x / z", label="sqrt(x) > 1.5")
    found = data.select(["x", "q = x / z"]).to_awkward()
    np.testing.assert_allclose(found["q"], [0, 5.5, 0, 0, 0.5])
    assert data.scan().total.sumw == 6.0
    assert (
        toml.loads(toml.dumps(data.filter("log(x) < 1"))).scan().total.sumw
        == (data.filter("log(x) < 1").scan().total.sumw)
        == 0.5
    )


def test_names_and_errors(path: str) -> None:
    data = rootml.open(path)
    (cut,) = data.filter("x/z > 1", dialect="draw").samples[0].cuts
    assert cut.name == "x/z > 1"
    with pytest.raises(ExpressionError, match="write a < b && b < c"):
        data.filter("1 < x < 3", dialect="draw")
    with pytest.raises(UsageError, match="expected one of 'draw'"):
        data.filter("x > 1", dialect="drow")  # type: ignore[arg-type]
    with pytest.raises(ExpressionError, match="expected a value"):
        data.filter("x >", dialect="draw")
    with pytest.raises(UsageError, match='"name = x / z"'):
        rootml.open(path, dialect="draw").select(["x / z"])
