"""LightGBM's text and objects, against what LightGBM itself predicts, in all bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from forest_walk import margins

from rootml.bdt import load
from rootml.errors import ModelError, UnsupportedModelError, UsageError

KINDS = (
    "binary", "cross_entropy", "cross_entropy_lambda", "dart", "fair", "gamma", "huber", "mape",
    "multiclass", "multiclassova", "poisson", "quantile", "regression", "regression_l1", "rf",
    "sqrt", "tweedie",
)  # fmt: skip
LINKS: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "identity": lambda m: m,
    "signed_square": lambda m: np.sign(m) * m**2,
    "softmax": lambda m: np.exp(m) / np.exp(m).sum(axis=1, keepdims=True),
    "softplus": lambda m: np.log1p(np.exp(m)),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("missing", ["nan", "zero", "none"])
@pytest.mark.parametrize("categorical", [False, True], ids=["numeric", "categorical"])
def test_margins_have_lightgbms_bits(
    name: str, missing: str, categorical: bool, lightgbm_model: Callable[..., Any]
) -> None:
    one = lightgbm_model(name, missing, categorical=categorical)
    assert one.forest.has_categories == categorical
    wanted = one.margin
    if name == "rf":  # its raw_score is the sum, its prediction the link of the mean
        wanted = wanted / one.model.num_trees()
    ours = margins(one.forest, one.x)
    assert ours.dtype == np.float64
    assert np.array_equal(ours, wanted)


@pytest.mark.parametrize("name", KINDS)
def test_the_link_is_that_of_the_objective(name: str, lightgbm_model: Callable[..., Any]) -> None:
    one = lightgbm_model(name, "nan", categorical=True)
    forest, m = one.forest, margins(one.forest, one.x)
    if forest.link == "sigmoid":
        expected = 1 / (1 + np.exp(-forest.link_scale * m))
    else:
        expected = LINKS[forest.link](m)
    np.testing.assert_allclose(expected, one.prediction, rtol=1e-12)


def test_text_and_wrappers_and_best_iteration() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    from sklearn.exceptions import NotFittedError

    assert issubclass(NotFittedError, ValueError)
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 3))
    y = x[:, 0] + rng.normal(scale=0.7, size=400) > 0
    model = lightgbm.LGBMClassifier(
        n_estimators=40, num_leaves=15, min_child_samples=3, learning_rate=0.1, n_jobs=1,
        verbose=-1,
    )  # fmt: skip
    with pytest.raises(UsageError, match="not trained"):
        load(model)
    model.fit(
        x[:250], y[:250], eval_X=x[250:], eval_y=y[250:],
        callbacks=[lightgbm.early_stopping(3, verbose=False)],
    )  # fmt: skip
    best = model.best_iteration_
    assert 2 <= best < 40
    forest = load(model)
    assert forest.num_iterations == best
    wanted = model.booster_.predict(x, raw_score=True)
    assert np.array_equal(margins(forest, x)[:, 0], wanted)
    same = load(model.booster_.model_to_string().encode())
    assert np.array_equal(same.value, forest.value)
    cut = model.booster_.predict(x, raw_score=True, num_iteration=2)
    assert np.array_equal(margins(forest.iterations(0, 2), x)[:, 0], cut)


def test_importance(lightgbm_model: Callable[..., Any]) -> None:
    one = lightgbm_model("multiclass", "nan", categorical=True)
    model, forest = one.model, one.forest
    split = model.feature_importance("split")
    assert list(forest.importance("weight").values()) == split.tolist()
    gain = model.feature_importance("gain")
    np.testing.assert_allclose(list(forest.importance("total_gain").values()), gain, rtol=1e-4)


def test_categories_of_pandas_are_kept() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(6)
    words = rng.choice(["mu", "e", "tau", "jet"], 400)
    frame = pandas.DataFrame({"pt": rng.normal(size=400), "kind": pandas.Categorical(words)})
    target = frame["pt"] + (words == "mu") * 2 + (words == "jet")
    model = lightgbm.train(
        {"verbose": -1, "min_data_per_group": 5, "num_threads": 1},
        lightgbm.Dataset(frame, target), 4,
    )  # fmt: skip
    forest = load(model)
    assert forest.feature_names == ("pt", "kind")
    assert forest.feature_categories == (None, ("e", "jet", "mu", "tau"))
    codes = np.c_[frame["pt"], frame["kind"].cat.codes].astype(np.float64)
    assert np.array_equal(margins(forest, codes)[:, 0], model.predict(frame))


def test_trees_of_one_leaf() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    x = np.zeros((50, 2))
    data = lightgbm.Dataset(x, np.arange(50.0))
    forest = load(lightgbm.train({"verbose": -1, "num_threads": 1}, data, 2))
    assert forest.depth == 0
    assert np.array_equal(margins(forest, x)[:, 0], np.full(50, 24.5))


# --- refusals ------------------------------------------------------------------------------------


@pytest.fixture
def text(lightgbm_model: Callable[..., Any]) -> str:
    model = lightgbm_model("binary", "nan", categorical=True).model
    written: str = model.model_to_string()
    return written


def test_linear_trees_are_named() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    data = lightgbm.Dataset(x, x[:, 0] * 2, params={"linear_tree": True})
    model = lightgbm.train({"verbose": -1, "linear_tree": True, "num_threads": 1}, data, 2)
    with pytest.raises(UnsupportedModelError, match="linear trees"):
        load(model)


@pytest.mark.parametrize(
    ("before", "after", "error", "words"),
    [
        ("objective=binary", "objective=oblique", UnsupportedModelError, "'oblique'.*supported"),
        ("version=v4", "version=v9", UnsupportedModelError, "version 'v9'"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=4", ModelError, "cannot be divided"),
        ("max_feature_idx=4", "max_feature_idx=1", ModelError, "feature"),
        ("max_feature_idx=4", "max_feature_idx=999999999", ModelError, "feature"),
        ("Tree=1", "Tree=7", ModelError, "tree 1 is labelled '7"),
        ("\nend of trees", "\nend of tree", ModelError, "end of trees"),
        ("num_leaves=9", "num_leaves=8", ModelError, "entries, expected"),
        ("num_leaves=9", "num_leaves=999999999", ModelError, "entries, expected"),
        ("left_child=", "left_child=1 ", ModelError, "entries, expected"),
        ("split_feature=", "split_feature=x", ModelError, "numbers"),
        ("cat_boundaries=0", "cat_boundaries=1", ModelError, "cat_boundaries"),
        ("decision_type=", "decision_type=1", ModelError, "decision_type has values"),
    ],
)
def test_damaged(text: str, before: str, after: str, error: type[Exception], words: str) -> None:
    assert before in text
    with pytest.raises(error, match=words):
        load(text.replace(before, after, 1).encode())


def test_cycles(text: str) -> None:
    line = next(line for line in text.split("\n") if line.startswith("left_child="))
    first = line.split("=")[1].split(" ", 1)
    for bad in ("0", "1000", "-1000"):
        broken = text.replace(line, f"left_child={bad} {first[1]}", 1)
        with pytest.raises(ModelError, match="reached twice|child index"):
            load(broken.encode())


def test_trees_of_another_length_than_the_file_says(lightgbm_model: Callable[..., Any]) -> None:
    text = lightgbm_model("binary", "nan", categorical=True).model.model_to_string()
    assert load(text.replace("\n", "\r\n").encode()).num_trees == load(text.encode()).num_trees
    start = text.index("internal_value=", text.index("Tree=1"))
    lost = text[:start] + text[text.index("\n", start) + 1 :]
    with pytest.raises(ModelError, match="lengths of the trees"):
        load(lost.encode())


def early(text: str) -> str:
    """A model as LightGBM 2.0 wrote it: version v2, nothing between the trees and the rest."""
    return text.replace("version=v4", "version=v2").replace("end of trees\n\n", "\n\n")


def test_early_files_without_an_end_of_trees(lightgbm_model: Callable[..., Any]) -> None:
    one = lightgbm_model("binary", "nan", categorical=True)
    text = early(one.model.model_to_string())
    assert "end of trees" not in text
    assert np.array_equal(margins(load(text.encode()), one.x), one.margin)
    start = text.rindex("\nTree=")
    for stop in (start, start + 30, text.index("shrinkage", start), text.index("\n\n", start)):
        with pytest.raises(ModelError):
            load(text[:stop].encode())
