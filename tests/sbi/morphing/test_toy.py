"""The small version of the toy, judged by XGBoost: the bar that CI holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from morphing_toy import CONDITIONS, FEATURES, GAPS, toy, write_toy

import rootml
from rootml.sbi.morphing import Morpher

pytest.importorskip("torch")
xgboost = pytest.importorskip("xgboost")
EVENTS, FRESH = 50_000, 40_000


def auc(data: Any, sim: Any, weights: Any, seed: int) -> float:
    """Of a classifier trained on one half, for the other."""
    from sklearn.metrics import roc_auc_score

    x = np.concatenate([data, sim])
    y = np.repeat([1.0, 0.0], [len(data), len(sim)])
    w = np.concatenate([np.ones(len(data)), weights / weights.mean() * len(data) / len(sim)])
    train, test = np.array_split(np.random.default_rng(seed).permutation(len(y)), 2)
    options: dict[str, Any] = {
        "eta": 0.1,
        "max_depth": 6,
        "subsample": 0.5,
        "min_child_weight": 20,
        "nthread": 1,
    }
    matrix = xgboost.DMatrix(x[train], y[train], weight=w[train])
    options |= {"objective": "binary:logistic", "seed": seed}
    score = xgboost.train(options, matrix, 80).predict(xgboost.DMatrix(x[test]))
    return float(roc_auc_score(y[test], score, sample_weight=w[test]))


@pytest.mark.long
def test_fifty_thousand_events_close(tmp_path: Path) -> None:
    sim, data = (
        rootml.open(write_toy(tmp_path / f"{kind}.root", kind, EVENTS)) for kind in ("sim", "data")
    )
    morpher = Morpher(FEATURES, CONDITIONS, id="event", steps=1000).fit(sim, data)
    before: dict[str, Any] = {**toy("sim", FRESH, seed=5), "event": np.arange(FRESH)}
    target = toy("data", FRESH, seed=6)
    after = morpher.transform(before)
    names = (*FEATURES, *CONDITIONS)
    old, new, true = (
        np.column_stack([each[n] for n in names]) for each in (before, after, target)
    )
    weights = morpher.kinematics.weights(old[:, len(FEATURES) :].astype("f8"))
    assert auc(true, old, weights, 0) > 0.82
    found = auc(true, new, weights, 0)
    assert found < 0.525
    for name, (low, high) in GAPS.items():
        assert not ((after[name] > low) & (after[name] < high)).any()
        assert not (after[name] < 0).any()
