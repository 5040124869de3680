"""Train small models of every kind with the installed XGBoost and keep its predictions.

How ``tests/bdt/data/xgboost-VERSION.npz`` were made, once for each version, in an environment of
its own::

    pip install xgboost==1.6.2 "numpy<2" scipy
    python make_xgboost_models.py xgboost-1.6.2.npz

XGBoost 3.3 and 3.4 need Python 3.12 or newer.

Per model the file holds ``NAME.json`` (or ``NAME.ubj``), the bytes of the model, ``NAME.x``, rows
with missing values and with values at and one ulp beside every threshold, and what that XGBoost
predicted for them: ``NAME.margin`` and ``NAME.prediction``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import xgboost as xgb

VERSION = tuple(int(word) for word in xgb.__version__.split(".")[:2])
ROWS, FEATURES, CATEGORIES = 400, 4, 9
TYPES = ["q", "q", "c", "c"]


def training_data(categorical: bool) -> tuple[Any, Any]:
    """Features with missing values, and a target in (0, 1)."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    score = x[:, 0] + np.abs(x[:, 1]) * x[:, 3]
    if categorical:
        x[:, 2] = rng.integers(0, CATEGORIES, ROWS)
        x[:, 3] = rng.integers(0, 3, ROWS)
        score = x[:, 0] + np.array([0, 2, -1, 3, 0, -2, 1, 4, -3])[x[:, 2].astype(int)] * x[:, 3]
    x[rng.random(x.shape) < 0.1] = np.nan
    return x, 1 / (1 + np.exp(-(score + rng.normal(scale=0.3, size=ROWS))))


def targets(y: Any) -> dict[str, Any]:
    """Labels by the name that `KINDS` gives them."""
    return {
        "class": (y > 0.6).astype(int),
        "three": np.digitize(y, [0.35, 0.7]),
        "positive": np.exp(2 * y),
        "real": 3 * y - 1,
        "unit": y,
        "grades": np.digitize(y, [0.2, 0.5, 0.8]),
        "two": np.c_[y, 1 - y**2],
    }


DART = {"booster": "dart"} if VERSION < (3, 3) else {}  # from 3.3 on, gbtree with rate_drop

# name: (label, parameters, oldest version)
_KINDS: dict[str, tuple[str, dict[str, Any], tuple[int, int]]] = {
    "absoluteerror": ("real", {"objective": "reg:absoluteerror"}, (1, 7)),
    "aft": ("positive", {"objective": "survival:aft"}, (1, 6)),
    "base_score": ("class", {"objective": "binary:logistic", "base_score": 0.27}, (1, 6)),
    "best_iteration": ("class", {"objective": "binary:logistic", "eta": 1.0}, (1, 6)),
    "category_onehot": ("real", {"max_cat_to_onehot": 99}, (1, 6)),
    "category_set": ("real", {"max_cat_to_onehot": 1, "max_depth": 4}, (1, 6)),
    "cox": ("positive", {"objective": "survival:cox"}, (1, 6)),
    "dart": ("class", {**DART, "objective": "binary:logistic", "rate_drop": 0.5,
                       "one_drop": 1}, (1, 6)),
    "dart_multiclass": ("three", {**DART, "objective": "multi:softprob", "num_class": 3,
                                  "rate_drop": 0.5, "one_drop": 1}, (1, 6)),
    "dart_vectors": ("two", {"multi_strategy": "multi_output_tree", "rate_drop": 0.5,
                             "one_drop": 1}, (3, 3)),
    "exact_pruned": ("real", {"tree_method": "exact", "gamma": 3.0, "max_depth": 4}, (1, 6)),
    "expectileerror": ("real", {"objective": "reg:expectileerror", "eta": 1.0,
                                "expectile_alpha": np.array([0.2, 0.5, 0.8])}, (3, 3)),
    "expectileerror_one": ("real", {"objective": "reg:expectileerror",
                                    "expectile_alpha": 0.3, "base_score": 0.4}, (3, 3)),
    "forest": ("class", {"objective": "binary:logistic", "num_parallel_tree": 3, "eta": 1,
                         "subsample": 0.5, "colsample_bynode": 0.7}, (1, 6)),
    "forest_multiclass": ("three", {"objective": "multi:softprob", "num_class": 3,
                                    "subsample": 0.5, "num_parallel_tree": 2}, (1, 6)),
    "gamma": ("positive", {"objective": "reg:gamma"}, (1, 6)),
    "hinge": ("class", {"objective": "binary:hinge"}, (1, 6)),
    "logistic": ("class", {"objective": "binary:logistic"}, (1, 6)),
    "logitraw": ("class", {"objective": "binary:logitraw"}, (1, 6)),
    "lossguide": ("real", {"tree_method": "hist", "grow_policy": "lossguide", "max_leaves": 7,
                           "max_depth": 0}, (1, 6)),
    "multi_output_tree": ("two", {"multi_strategy": "multi_output_tree"}, (2, 0)),
    "multi_target": ("two", {}, (1, 6)),
    "poisson": ("positive", {"objective": "count:poisson"}, (1, 6)),
    "pseudohubererror": ("real", {"objective": "reg:pseudohubererror"}, (1, 6)),
    "quantileerror": ("real", {"objective": "reg:quantileerror",
                               "quantile_alpha": np.array([0.2, 0.8])}, (2, 0)),
    "quantileerror_crossing": ("real", {"objective": "reg:quantileerror", "eta": 1.5,
                                        "quantile_alpha": np.array([0.4, 0.5, 0.6])}, (2, 0)),
    "rank_map": ("class", {"objective": "rank:map"}, (1, 6)),
    "rank_ndcg": ("grades", {"objective": "rank:ndcg"}, (1, 6)),
    "rank_pairwise": ("grades", {"objective": "rank:pairwise"}, (1, 6)),
    "reg_logistic": ("unit", {"objective": "reg:logistic"}, (1, 6)),
    "softmax": ("three", {"objective": "multi:softmax", "num_class": 3}, (1, 6)),
    "softprob": ("three", {"objective": "multi:softprob", "num_class": 3}, (1, 6)),
    "squarederror": ("real", {}, (1, 6)),
    "squaredlogerror": ("positive", {"objective": "reg:squaredlogerror"}, (1, 6)),
    "tweedie": ("positive", {"objective": "reg:tweedie"}, (1, 6)),
}  # fmt: skip

KINDS = {name: kind for name, kind in _KINDS.items() if kind[2] <= VERSION}


def matrix(x: Any, categorical: bool, **labels: Any) -> xgb.DMatrix:
    if categorical:
        return xgb.DMatrix(x, feature_types=TYPES, enable_categorical=True, **labels)
    return xgb.DMatrix(x, **labels)


def train(name: str, label: str, parameters: dict[str, Any]) -> xgb.Booster:
    categorical = name.startswith("category")
    x, y = training_data(categorical)
    y = targets(y)[label]
    parameters = {"max_depth": 3, "nthread": 1, "seed": 3, **parameters}
    if categorical:
        parameters["tree_method"] = "hist" if VERSION >= (1, 7) else "approx"
    data = matrix(x, categorical, label=y)
    if name == "aft":
        data = matrix(x, categorical)
        data.set_float_info("label_lower_bound", y)
        data.set_float_info("label_upper_bound", y * 1.5)
    if name.startswith("rank"):
        data.set_group([20] * (ROWS // 20))
    if name == "best_iteration":
        held = matrix(x[:150], False, label=y[:150])
        data = matrix(x[150:], False, label=y[150:])
        return xgb.train(parameters, data, 12, evals=[(held, "held")], early_stopping_rounds=3,
                         verbose_eval=False)  # fmt: skip
    return xgb.train(parameters, data, 2 if name.startswith("multi") else 5)


def rows(name: str, booster: xgb.Booster) -> Any:
    """Rows of the training kind, and one for each threshold, below, at and above it."""
    model = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]
    trees = model.get("gbtree", model)["model"]["trees"]
    x, _ = training_data(name.startswith("category"))
    made = [x[:40]]
    pairs = sorted(
        {
            (tree["split_indices"][n], tree["split_conditions"][n])
            for tree in trees
            for n, left in enumerate(tree["left_children"])
            if left >= 0
        }
    )
    for i, (f, t) in enumerate(pairs[:: max(1, len(pairs) // 25)]):
        three = x[[i, i, i]]
        edge = np.float32(t)
        three[:, f] = [np.nextafter(edge, np.float32(-9)), edge, np.nextafter(edge, np.float32(9))]
        made.append(three)
    if name.startswith("category"):
        odd = np.repeat(x[:6], 8, axis=0)
        odd[:, 2] = np.tile([3.7, 8, 9, 12, 100, 40000, np.nan, 5], 6)
        made.append(odd)
    return np.concatenate(made)


def main(path: str) -> None:
    kept: dict[str, Any] = {}
    for name, (label, parameters, _) in KINDS.items():
        booster = train(name, label, parameters)
        x = rows(name, booster)
        data = matrix(x, name.startswith("category"))
        kind = "ubj" if name in {"category_set", "softprob", "multi_output_tree"} else "json"
        if name == "forest" and VERSION < (2, 0):
            booster.feature_names = ["pt", "eta", "phi", "é"]  # names from before 2.0
            data.feature_names = booster.feature_names
        kept[f"{name}.{kind}"] = np.frombuffer(bytes(booster.save_raw(kind)), np.uint8)
        kept[f"{name}.x"] = x
        kept[f"{name}.margin"] = booster.predict(data, output_margin=True)
        kept[f"{name}.prediction"] = booster.predict(data)
        if name == "best_iteration":
            kept[f"{name}.sliced"] = booster.predict(
                data, output_margin=True, iteration_range=(0, booster.best_iteration + 1)
            )
    np.savez_compressed(path, **kept)


if __name__ == "__main__":
    main(sys.argv[1])
