"""Scores beside those of the libraries that trained the models, bit by bit, on nasty rows."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from bdt_forests import rows_on_thresholds
from numpy.typing import NDArray
from sklearn import ensemble

import rootml.bdt
from rootml.bdt import Forest

ROWS = 600


def events(classes: int = 2, targets: int = 0) -> tuple[NDArray[np.float32], NDArray[Any]]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(ROWS, 5)).astype(np.float32)
    x[:, 4] = rng.integers(0, 9, ROWS)
    signal = x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + (x[:, 4] % 3) + 0.3 * rng.normal(size=ROWS)
    x[rng.random(x.shape) < 0.1] = np.nan
    if targets:
        return x, np.stack([signal, signal**2], axis=1)[:, :targets]
    order = np.argsort(np.argsort(signal))
    return x, order * classes // ROWS


LOGISTIC = {"objective": "binary:logistic"}
XGBOOST: dict[str, dict[str, Any]] = {
    "binary:logistic": LOGISTIC,
    "binary:logitraw": {"objective": "binary:logitraw"},
    "binary:hinge": {"objective": "binary:hinge"},
    "count:poisson": {"objective": "count:poisson"},
    "rank:pairwise": {"objective": "rank:pairwise"},
    "reg:absoluteerror": {"objective": "reg:absoluteerror"},
    "reg:gamma": {"objective": "reg:gamma"},
    "reg:logistic": {"objective": "reg:logistic"},
    "reg:pseudohubererror": {"objective": "reg:pseudohubererror"},
    "reg:quantileerror": {"objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.7]},
    "reg:squarederror": {"objective": "reg:squarederror"},
    "reg:squaredlogerror": {"objective": "reg:squaredlogerror"},
    "reg:tweedie": {"objective": "reg:tweedie"},
    "survival:cox": {"objective": "survival:cox"},
    "multi:softmax": {"objective": "multi:softmax", "num_class": 3},
    "multi:softprob": {"objective": "multi:softprob", "num_class": 3},
    "dart": {**LOGISTIC, "booster": "dart", "rate_drop": 0.3},
    "random forest": {**LOGISTIC, "num_parallel_tree": 8, "subsample": 0.7, "eta": 1},
    "deep": {"objective": "reg:squarederror", "max_depth": 14, "min_child_weight": 0},
    "exact": {**LOGISTIC, "tree_method": "exact", "max_depth": 7},
    "few leaves": {**LOGISTIC, "grow_policy": "lossguide", "max_leaves": 12, "max_depth": 0},
    "vectors": {"objective": "reg:squarederror", "multi_strategy": "multi_output_tree"},
    "one-hot": {**LOGISTIC, "categories": True, "max_cat_to_onehot": 20},
    "sets": {**LOGISTIC, "categories": True, "max_cat_to_onehot": 1},
}


def train_xgboost(name: str) -> tuple[xgboost.Booster, list[str]]:
    options = {"max_depth": 4, "nthread": 1, "seed": 3, **XGBOOST[name]}
    x, y = events(options.get("num_class", 2), 2 if name == "vectors" else 0)
    types = ["float"] * 4 + (["c"] if options.pop("categories", False) else ["float"])
    rounds = 3 if name == "random forest" else 15
    y = y + 1.0 if name in {"reg:gamma", "survival:cox"} else y
    matrix = xgboost.DMatrix(x, y, feature_types=types, enable_categorical=True)
    if name == "rank:pairwise":
        matrix.set_group([ROWS // 4] * 4)
    return xgboost.train(options, matrix, rounds), types


@pytest.mark.parametrize("name", XGBOOST)
def test_xgboost_margins_and_predictions(name: str) -> None:
    booster, types = train_xgboost(name)
    forest = rootml.bdt.load(booster)
    x = rows_on_thresholds(np.random.default_rng(1), forest, 700)
    if "c" in types:  # XGBoost refuses categories that are none
        x[:, 4] = np.random.default_rng(2).choice([0, 1, 2, 5, 8, np.nan], 700)
    finite = np.where(np.isinf(x), np.float32(7), x)
    matrix = xgboost.DMatrix(finite, feature_types=types, enable_categorical=True)
    margins = booster.predict(matrix, output_margin=True)
    predictions = booster.predict(matrix)
    for engine in ("llvm", "numpy"):
        model = forest.compile(engine)
        assert np.array_equal(model.predict_margin(finite), margins), engine
        found = model.predict(finite)
        if engine == "llvm":
            assert np.array_equal(found, predictions)
        else:  # NumPy rounds its own exponential
            np.testing.assert_array_max_ulp(found, predictions, maxulp=2)
        assert np.array_equal(model.predict(finite[:5]), found[:5])
    if name != "dart" and "c" not in types:
        raw = booster.inplace_predict(x, predict_type="margin")
        assert np.array_equal(forest.compile().predict_margin(x), raw)


def test_xgboost_custom_missing_value() -> None:
    x, y = events()
    x = np.nan_to_num(x, nan=-999.0)
    matrix = xgboost.DMatrix(x, y, missing=-999.0)
    booster = xgboost.train({**LOGISTIC, "nthread": 1}, matrix, 10)
    forest = rootml.bdt.load(booster).replace(missing=-999.0)
    expected = booster.predict(matrix, output_margin=True)
    for engine in ("llvm", "numpy"):
        assert np.array_equal(forest.compile(engine).predict_margin(x), expected)
        assert np.array_equal(forest.compile(engine).predict_margin(x[:3]), expected[:3])


def test_xgboost_casts_doubles_as_it_does() -> None:
    x, y = events()
    booster = xgboost.train({**LOGISTIC, "nthread": 1}, xgboost.DMatrix(x, y), 20)
    forest = rootml.bdt.load(booster)
    exact = rows_on_thresholds(np.random.default_rng(8), forest, 500).astype(np.float64)
    near = exact * (1 + 1e-9)  # rounds back to the threshold
    expected = booster.inplace_predict(near, predict_type="margin")
    for order in ("C", "F"):
        given = np.array(near, order=order)
        assert np.array_equal(forest.compile().predict_margin(given), expected)


LIGHTGBM: dict[str, dict[str, Any]] = {
    "binary": {"objective": "binary", "sigmoid": 1.5},
    "multiclass": {"objective": "multiclass", "num_class": 3},
    "regression": {"objective": "regression", "num_leaves": 60, "min_data_in_leaf": 2},
    "zero as missing": {"objective": "regression", "zero_as_missing": True},
    "categories": {"objective": "binary", "categories": [4], "min_data_per_group": 5},
    "random forest": {
        "objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LIGHTGBM)
def test_lightgbm(name: str) -> None:
    options = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, **LIGHTGBM[name]}
    x, y = events(options.get("num_class", 2))
    wide = x.astype(np.float64)
    sets = options.pop("categories", "auto")
    booster = lightgbm.train(options, lightgbm.Dataset(wide, y, categorical_feature=sets), 25)
    forest = rootml.bdt.load(booster)
    rows = rows_on_thresholds(np.random.default_rng(1), forest, 700)
    rows = np.where(np.isinf(rows), 3.0, rows)
    if name == "categories":
        rows[:, 4] = np.random.default_rng(2).choice([0, 1, 2, 5, 8, 40, -1, np.nan], 700)
    raw = np.asarray(booster.predict(rows, raw_score=True))
    scores = np.asarray(booster.predict(rows))
    model = forest.compile()
    if name == "random forest":  # LightGBM's raw score is then not what its link takes
        raw = raw / 25
    assert np.array_equal(model.predict_margin(rows), raw)
    assert np.array_equal(forest.compile("numpy").predict_margin(rows), raw)
    np.testing.assert_array_max_ulp(model.predict(rows), scores, maxulp=4)


@pytest.mark.parametrize("kind", ["boosting", "histogram", "forest"])
def test_scikit_learn(kind: str) -> None:
    x, y = events()
    x = np.nan_to_num(x)
    made = {
        "boosting": lambda: ensemble.GradientBoostingClassifier(n_estimators=30, random_state=1),
        "histogram": lambda: ensemble.HistGradientBoostingClassifier(max_iter=20),
        "forest": lambda: ensemble.RandomForestClassifier(20, random_state=1),
    }
    estimator = made[kind]().fit(x, y)
    forest = rootml.bdt.load(estimator)
    rows = rows_on_thresholds(np.random.default_rng(1), forest, 400, nan=False)
    rows = np.where(np.abs(rows) > 1e30, 3, rows).astype(np.float32)  # sums overflow there
    model = forest.compile()
    reference = _reference(estimator, forest, rows)
    np.testing.assert_array_max_ulp(model.predict(rows), reference, maxulp=8)
    assert np.array_equal(model.predict_margin(rows), forest.compile("numpy").predict_margin(rows))


def _reference(estimator: Any, forest: Forest, rows: NDArray[Any]) -> NDArray[Any]:
    probabilities = np.asarray(estimator.predict_proba(rows))
    return probabilities if forest.num_outputs > 1 else probabilities[:, 1]
