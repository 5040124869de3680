"""scikit-learn's estimators, against what scikit-learn itself predicts, in all bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from forest_walk import margins

from rootml.bdt import load
from rootml.errors import UnsupportedModelError, UsageError

KINDS = (
    "ada_three", "decision_tree", "extra_trees", "extra_trees_reg", "extra_trees_targets",
    "gb_exponential", "gb_init_hist", "gb_init_tree", "gb_reg", "gb_three", "gb_two", "gb_zero",
    "hist_categories", "hist_gamma", "hist_poisson", "hist_three", "random_forest",
    "random_forest_reg", "random_forest_targets",
)  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_margins_have_scikit_learns_bits(name: str, sklearn_model: Callable[..., Any]) -> None:
    one = sklearn_model(name)
    assert len(one.x) > 100
    assert np.array_equal(margins(one.forest, one.x), one.margin)


@pytest.mark.parametrize("name", KINDS)
def test_the_link_is_that_of_the_loss(name: str, sklearn_model: Callable[..., Any]) -> None:
    one = sklearn_model(name)
    m, forest = one.margin, one.forest
    soft = np.exp(forest.link_scale * (m - m.max(axis=1, keepdims=True)))
    expected = {
        "exp": np.exp(m),
        "identity": m,
        "sigmoid": 1 / (1 + np.exp(-forest.link_scale * m)),
        "softmax": soft / soft.sum(axis=1, keepdims=True),
    }[forest.link]
    np.testing.assert_allclose(expected, one.prediction, rtol=1e-12)


@pytest.mark.parametrize("name", ["random_forest", "gb_two", "extra_trees_reg"])
def test_importance_has_the_proportions_of_feature_importances(
    name: str, sklearn_model: Callable[..., Any]
) -> None:
    one = sklearn_model(name)
    forest, total = one.forest, np.zeros(one.forest.num_features)
    parts = [forest] if name == "gb_two" else [forest.iterations(i, i + 1) for i in range(5)]
    for part in parts:  # random forests: the mean of normalised trees
        gains = np.array([*part.importance("total_gain").values()])
        total += gains / gains.sum()
    np.testing.assert_allclose(total / total.sum(), one.model.feature_importances_, rtol=1e-6)


def test_nan_is_an_error_where_scikit_learn_refuses_it(sklearn_model: Callable[..., Any]) -> None:
    assert not sklearn_model("gb_two").forest.allow_nan
    assert sklearn_model("random_forest").forest.allow_nan
    assert sklearn_model("hist_three").forest.allow_nan


def test_float64_inputs_are_compared_as_scikit_learn_casts_them(
    sklearn_model: Callable[..., Any],
) -> None:
    one = sklearn_model("random_forest_reg")
    edges = one.forest.threshold[one.forest.feature == 0].astype(np.float64)
    edges = edges[np.isfinite(edges)]  # "all that is not missing" is x <= inf
    rows = np.zeros((3 * len(edges), 5))
    rows[:, 0] = np.r_[edges, np.nextafter(edges, 9), np.nextafter(edges, -9)]
    assert np.array_equal(margins(one.forest, rows)[:, 0], one.model.predict(rows))


@pytest.mark.parametrize("kind", ["text", "numbers", "missing"])
def test_categories_of_pandas(kind: str) -> None:
    pytest.importorskip("sklearn")
    pandas = pytest.importorskip("pandas")
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(9)
    words = rng.choice(["mu", "e", "tau", "jet"] if kind == "text" else [7, 2, 40, 11], 400)
    frame = pandas.DataFrame({"pt": rng.normal(size=400), "kind": pandas.Categorical(words)})
    if kind == "missing":
        frame["kind"] = frame["kind"].where(rng.random(400) > 0.2)
    y = (frame["pt"] > 0) ^ (words == words[0])
    model = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype")
    forest = load(model.fit(frame, y))
    assert forest.feature_names == ("pt", "kind")
    if kind == "text":
        assert forest.feature_categories == (None, ("e", "jet", "mu", "tau"))
        values = frame["kind"].cat.codes.to_numpy(dtype=float)
    else:
        assert forest.feature_categories is None
        values = frame["kind"].astype(float).to_numpy()
    rows = np.c_[frame["pt"], values]
    assert np.array_equal(margins(forest, rows), model._raw_predict(frame))
    found = forest.compile("numpy").predict_margin(frame)
    assert np.array_equal(found, model._raw_predict(frame)[:, 0])


def test_what_cannot_be_represented_is_named() -> None:
    pytest.importorskip("sklearn")
    from sklearn import ensemble
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LinearRegression
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.pipeline import make_pipeline

    x, y = np.random.default_rng(1).normal(size=(60, 2)), np.arange(60) % 2
    with pytest.raises(UsageError, match="not trained"):
        load(ensemble.RandomForestClassifier())
    for model, word in (
        (ensemble.AdaBoostRegressor(), "AdaBoostRegressor"),
        (make_pipeline(ensemble.RandomForestClassifier(2)), "Pipeline"),
        (ensemble.GradientBoostingRegressor(init=LinearRegression(), n_estimators=2),
         "LinearRegression"),
    ):  # fmt: skip
        with pytest.raises(UnsupportedModelError, match=word):
            load(model.fit(x, y))
    names = (
        "RandomForestClassifier",
        "GradientBoostingClassifier",
        "HistGradientBoostingClassifier",
    )
    for init in [getattr(ensemble, name)() for name in names]:
        model = ensemble.GradientBoostingClassifier(init=init, n_estimators=2).fit(x, y)
        with pytest.raises(UnsupportedModelError, match=f"init={type(init).__name__}"):
            load(model)
    drawn = DummyClassifier(strategy="stratified")
    with pytest.raises(UnsupportedModelError, match="draws at random"):
        load(ensemble.GradientBoostingClassifier(init=drawn, n_estimators=2).fit(x, y))
    forests = MultiOutputClassifier(ensemble.RandomForestClassifier(2)).fit(x, np.c_[y, y])
    with pytest.raises(UnsupportedModelError, match="MultiOutputClassifier of RandomForestClass"):
        load(forests)
    negative = np.c_[x[:, 0], np.tile([-1, 0, 3], 20)]
    hist = ensemble.HistGradientBoostingClassifier(max_iter=2, categorical_features=[1])
    with pytest.raises(UnsupportedModelError, match="categories of feature 1"):
        load(hist.fit(negative, y))


@pytest.mark.parametrize("loss", ["log_loss", "exponential"])
@pytest.mark.parametrize("init", ["tree", "dummy", "uniform"])
def test_initial_estimators_of_two_classes(init: str, loss: str) -> None:
    """An initial probability of 0 or 1, in pure leaves, is cut as scikit-learn cuts it."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    from sklearn.dummy import DummyClassifier
    from sklearn.tree import ExtraTreeClassifier

    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 3))
    y = x[:, 0] + rng.normal(size=300) > 0
    made = {
        "tree": ExtraTreeClassifier(max_depth=5, random_state=1),
        "dummy": DummyClassifier(),
        "uniform": DummyClassifier(strategy="uniform"),
    }[init]
    model = ensemble.GradientBoostingClassifier(init=made, loss=loss, n_estimators=4).fit(x, y)
    forest = load(model)
    assert np.array_equal(margins(forest, x), model._raw_predict(x.astype(np.float32)))
    assert forest.num_iterations == 4 + (init == "tree")
    np.testing.assert_allclose(
        forest.compile("numpy").predict(x), model.predict_proba(x)[:, 1], rtol=1e-13
    )


def test_one_estimator_for_each_target() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor

    rng = np.random.default_rng(6)
    x = rng.normal(size=(400, 3))
    x[:, 2] = rng.integers(0, 5, 400)
    y = np.c_[x[:, 0] * x[:, 2], x[:, 1] ** 2]
    x[rng.random(400) < 0.1, 0] = np.nan
    boosted = ensemble.HistGradientBoostingRegressor(max_iter=5, categorical_features=[2])
    model = MultiOutputRegressor(boosted).fit(x, np.nan_to_num(y))
    assert np.array_equal(load(model).compile().predict(x), model.predict(x))
    assert np.array_equal(margins(load(model), x), model.predict(x))
    two = MultiOutputClassifier(ensemble.HistGradientBoostingClassifier(max_iter=4)).fit(x, y > 1)
    shares = np.stack([each[:, 1] for each in two.predict_proba(x)], axis=1)
    np.testing.assert_allclose(load(two).compile().predict(x), shares, rtol=1e-14)


def test_a_predict_of_the_users_own_is_refused() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    x = np.random.default_rng(0).normal(size=(50, 3))

    class Renamed(ensemble.RandomForestRegressor):  # type: ignore[misc, name-defined]
        pass

    class Doubled(ensemble.RandomForestRegressor):  # type: ignore[misc, name-defined]
        def predict(self, given: Any) -> Any:
            return 2 * super().predict(given)

    model = Renamed(3, random_state=1).fit(x, x[:, 0])
    assert np.array_equal(load(model).compile("numpy").predict(x), model.predict(x))
    with pytest.raises(UnsupportedModelError, match=r"Doubled defines its own predict\(\)"):
        load(Doubled(3).fit(x, x[:, 0]))


def test_ada_boost() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    rng = np.random.default_rng(3)
    x = rng.normal(size=(500, 4)).astype(np.float32)
    label = x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=500) > 0
    weight = rng.uniform(0.1, 3, 500)
    for depth in (1, 4):
        tree = DecisionTreeClassifier(max_depth=depth, random_state=1)
        model = ensemble.AdaBoostClassifier(tree, n_estimators=30, random_state=1)
        model.fit(x, label, sample_weight=weight)
        forest = load(model)
        rows = np.repeat(x[:60], 3, axis=0)
        inner = np.flatnonzero(forest.feature >= 0)[:180]
        rows[np.arange(len(inner)), forest.feature[inner]] = forest.threshold[inner]
        assert np.array_equal(margins(forest, rows)[:, 0], model.decision_function(rows))
        ours = forest.compile("numpy").predict(rows)
        np.testing.assert_allclose(ours, model.predict_proba(rows)[:, 1], rtol=1e-13)
    linear = ensemble.AdaBoostClassifier(LogisticRegression(), n_estimators=3).fit(x, label)
    with pytest.raises(UnsupportedModelError, match="LogisticRegression"):
        load(linear)
