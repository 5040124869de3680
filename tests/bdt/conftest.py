"""Trained models that the tests of readers, engines and exports share."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rootml.bdt import Forest, load


@dataclass(frozen=True)
class Trained:
    """A trained model, nasty rows, and what its library predicts for them.

    Attributes:
        model: The library's object.
        x: Rows in the input dtype: ordinary ones, thresholds and their neighbours, odd values.
        margin: Shape (rows, outputs).
        prediction: Shape (rows, outputs), or (rows, 1) of a class.
    """

    model: Any
    forest: Forest
    x: NDArray[Any]
    margin: NDArray[Any]
    prediction: NDArray[Any]


def columns(array: Any) -> NDArray[Any]:
    """Shape (rows, outputs)."""
    made = np.asarray(array)
    return made.reshape(len(made), -1)


@cache
def _xgboost(name: str) -> Trained:
    from make_xgboost_models import KINDS, matrix, rows, train

    label, parameters, _ = KINDS[name]
    booster = train(name, label, parameters)
    x = rows(name, booster)
    data = matrix(x, name.startswith("category"))
    margin = columns(booster.predict(data, output_margin=True))
    return Trained(booster, load(booster), x, margin, columns(booster.predict(data)))


@pytest.fixture(scope="session")
def xgboost_model() -> Callable[[str], Trained]:
    """`xgboost_model("dart")`: one of the kinds of ``make_xgboost_models.KINDS``, trained here."""
    pytest.importorskip("xgboost")
    return _xgboost


LIGHTGBM: dict[str, dict[str, Any]] = {
    "binary": {"objective": "binary"},
    "cross_entropy": {"objective": "cross_entropy"},
    "cross_entropy_lambda": {"objective": "cross_entropy_lambda"},
    "dart": {"objective": "regression", "boosting": "dart"},
    "fair": {"objective": "fair"},
    "gamma": {"objective": "gamma"},
    "huber": {"objective": "huber"},
    "mape": {"objective": "mape"},
    "multiclass": {"objective": "multiclass", "num_class": 3},
    "multiclassova": {"objective": "multiclassova", "num_class": 3, "sigmoid": 1.7},
    "poisson": {"objective": "poisson"},
    "quantile": {"objective": "quantile"},
    "regression": {"objective": "regression"},
    "regression_l1": {"objective": "regression_l1"},
    "rf": {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    "sqrt": {"objective": "regression", "reg_sqrt": True},
    "tweedie": {"objective": "tweedie"},
}


def events(rows: int = 500) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features (two numeric, one with many zeros, categories 0 to 19, small counts), a score."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(rows, 5))
    x[:, 2] *= rng.random(rows) < 0.5
    x[:, 3] = rng.integers(0, 20, rows)
    x[:, 4] = rng.poisson(1, rows)
    score = x[:, 0] + np.abs(x[:, 1]) * (1 + x[:, 2]) + (x[:, 3] % 7 > 3) * x[:, 4]
    return x, score


def odd_rows(x: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of `x`, some with thresholds, their neighbours, zeros, infinities, odd categories."""
    rng = np.random.default_rng(12)
    some = rng.permutation(thresholds)[:25]
    special = [
        0,
        -0.0,
        1e-36,
        -1e-36,
        1e-35,
        2e-35,
        -2e-35,
        np.inf,
        -np.inf,
        5e-324,
        np.nan,
        1e300,
    ]
    values = np.r_[some, np.nextafter(some, -np.inf), np.nextafter(some, np.inf), special]
    made = x[rng.integers(0, len(x), 3 * len(values))].copy()
    for column, each in zip((0, 2, 4), np.split(np.arange(len(made)), 3), strict=True):
        made[each, column] = values
    codes = [-1, -0.5, -1.5, 0.7, 3.9, 19, 20, 31, 32, 64, 1e9, np.nan, np.inf, -np.inf, 5.0]
    cats = x[: 2 * len(codes)].copy()
    cats[:, 3] = np.tile(codes, 2)
    return np.concatenate([x[:40], made, cats])


@cache
def _lightgbm(name: str, missing: str, *, categorical: bool) -> Trained:
    import lightgbm

    x, score = events()
    if missing != "none":
        x[np.random.default_rng(13).random(x.shape) < 0.1] = np.nan
    three, unit = np.digitize(score, [0.5, 2]), 1 / (1 + np.exp(-score))
    label = {
        "binary": score > 1, "rf": score > 1, "multiclass": three, "multiclassova": three,
        "cross_entropy": unit, "cross_entropy_lambda": unit,
    }.get(name, np.exp(score / 3))  # fmt: skip
    parameters = {
        "verbose": -1, "num_leaves": 9, "num_threads": 1, "zero_as_missing": missing == "zero",
        "min_data_per_group": 5, "cat_smooth": 1, "deterministic": True, "seed": 1,
    }  # fmt: skip
    data = lightgbm.Dataset(x, label, categorical_feature=[3] if categorical else [])
    model = lightgbm.train({**parameters, **LIGHTGBM[name]}, data, 6)
    forest = load(model)
    inner = (forest.feature >= 0) & (forest.category < 0)
    rows = odd_rows(x, forest.threshold[inner].astype(np.float64))
    margin = columns(model.predict(rows, raw_score=True))
    return Trained(model, forest, rows, margin, columns(model.predict(rows)))


@pytest.fixture(scope="session")
def lightgbm_model() -> Callable[..., Trained]:
    """`lightgbm_model("binary", "nan", categorical=True)`; missing: "nan", "zero", "none"."""
    pytest.importorskip("lightgbm")
    return _lightgbm


def _sklearn_kinds() -> dict[str, tuple[Callable[[], Any], str]]:
    from sklearn import ensemble, tree

    e = ensemble
    return {
        "ada_three": (lambda: e.AdaBoostClassifier(
            tree.DecisionTreeClassifier(max_depth=3, random_state=1), n_estimators=6,
            random_state=1), "three"),
        "decision_tree": (lambda: tree.DecisionTreeClassifier(max_depth=6, random_state=1), "two"),
        "extra_trees": (lambda: e.ExtraTreesClassifier(5, max_depth=7, random_state=1), "three"),
        "extra_trees_reg": (lambda: e.ExtraTreesRegressor(5, max_depth=7, random_state=1), "real"),
        "extra_trees_targets": (
            lambda: e.ExtraTreesClassifier(4, max_depth=5, random_state=1), "classes"),
        "gb_exponential": (
            lambda: e.GradientBoostingClassifier(n_estimators=5, loss="exponential"), "two"),
        "gb_init_hist": (
            lambda: e.GradientBoostingRegressor(
                n_estimators=5, init=e.HistGradientBoostingRegressor(
                    max_iter=4, categorical_features=[3])), "real"),
        "gb_init_tree": (
            lambda: e.GradientBoostingClassifier(
                n_estimators=4, init=tree.DecisionTreeClassifier(max_depth=4, random_state=1)),
            "three"),
        "gb_reg": (lambda: e.GradientBoostingRegressor(n_estimators=5, loss="huber"), "real"),
        "gb_three": (lambda: e.GradientBoostingClassifier(n_estimators=4), "three"),
        "gb_two": (lambda: e.GradientBoostingClassifier(n_estimators=6), "two"),
        "gb_zero": (lambda: e.GradientBoostingClassifier(n_estimators=4, init="zero"), "two"),
        "hist_categories": (
            lambda: e.HistGradientBoostingClassifier(max_iter=5, categorical_features=[3]), "two"),
        "hist_gamma": (
            lambda: e.HistGradientBoostingRegressor(max_iter=5, loss="gamma",
                                                    categorical_features=[3, 4]), "positive"),
        "hist_poisson": (
            lambda: e.HistGradientBoostingRegressor(max_iter=5, loss="poisson"), "positive"),
        "hist_three": (lambda: e.HistGradientBoostingClassifier(max_iter=4), "three"),
        "random_forest": (lambda: e.RandomForestClassifier(5, random_state=1), "two"),
        "random_forest_reg": (lambda: e.RandomForestRegressor(5, random_state=1), "real"),
        "random_forest_targets": (lambda: e.RandomForestRegressor(3, random_state=1), "pair"),
    }  # fmt: skip


SKLEARN = (
    "ada_three", "decision_tree", "extra_trees", "extra_trees_reg", "extra_trees_targets",
    "gb_exponential", "gb_init_hist", "gb_init_tree", "gb_reg", "gb_three", "gb_two", "gb_zero",
    "hist_categories", "hist_gamma", "hist_poisson", "hist_three", "random_forest",
    "random_forest_reg", "random_forest_targets",
)  # fmt: skip


@cache
def _sklearn(name: str) -> Trained:
    x, score = events()
    make, label = _sklearn_kinds()[name]
    version = importlib.metadata.version("scikit-learn").split(".")
    if name.startswith("extra") and tuple(map(int, version[:2])) < (1, 6):
        pytest.skip("before 1.6 these take no NaN")
    y = {
        "two": score > 1, "three": np.digitize(score, [0.5, 2]), "real": score,
        "positive": np.exp(score / 3), "pair": np.c_[score, score**2],
        "classes": np.c_[score > 1, np.digitize(score, [0.5, 2])],
    }[label]  # fmt: skip
    if not name.startswith(("ada", "gb")):
        x[np.random.default_rng(14).random(x.shape) < 0.1] = np.nan
    model = make().fit(x, y)
    forest = load(model)
    inner = (forest.feature >= 0) & (forest.category < 0)
    rows = odd_rows(x, forest.threshold[inner].astype(np.float64))
    rows = rows[~np.any(np.isinf(rows) | (np.abs(rows) > 1e30), axis=1)]  # which it refuses
    if name.startswith(("ada", "gb")):
        rows = rows[~np.any(np.isnan(rows), axis=1)]
    if hasattr(model, "predict_proba"):
        shares = model.predict_proba(rows)
        shares = np.concatenate(shares, axis=1) if isinstance(shares, list) else shares
        prediction = shares[:, -forest.num_outputs :]
    else:
        prediction = model.predict(rows)
    raw = None
    if name[:2] in {"gb", "hi"}:
        raw = model._raw_predict(rows.astype(forest.input_dtype))
    elif name.startswith("ada"):
        raw = model.decision_function(rows)
    margin = columns(prediction if raw is None else raw)
    return Trained(model, forest, rows, margin, columns(prediction))


@pytest.fixture(scope="session")
def sklearn_model() -> Callable[[str], Trained]:
    """`sklearn_model("hist_categories")`: one of `SKLEARN`, trained here."""
    pytest.importorskip("sklearn")
    return _sklearn
