"""A compiled forest scores a dataset on a cluster: the workers compile it for themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

import rootml
import rootml.bdt


def test_friends_scored_on_workers(
    events: Callable[[str], rootml.Dataset], processes: Any, tmp_path: Path
) -> None:
    xgboost = pytest.importorskip("xgboost")
    pytest.importorskip("llvmlite")
    data = events("ttree").filter("k > 1").select(["x", "k"])
    table = data.to_awkward()
    x = np.stack([table["x"].to_numpy(), table["k"].to_numpy()], axis=1).astype(np.float32)
    y = x[:, 0] > np.median(x[:, 0])
    options = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1}
    booster = xgboost.train(options, xgboost.DMatrix(x, y, feature_names=["x", "k"]), 5)
    model = rootml.bdt.load(booster).compile()
    paths = model.write_friend(data.on(processes), tmp_path / "friends", progress=False)
    scores = []
    for path in paths:
        (tree,) = uproot.open(path).values(filter_classname="TTree")
        columns = tree.arrays(library="np")
        scores.append(columns["score"][columns["score_valid"].astype(bool)])
    expected = booster.predict(xgboost.DMatrix(x, feature_names=["x", "k"]))
    assert np.array_equal(np.concatenate(scores), expected)
