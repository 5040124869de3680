"""CatBoost's models, against what CatBoost itself predicts, in all bits of the margins."""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations
from math import factorial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forest_walk import margins
from numpy.typing import NDArray

from rootml.bdt import Forest, load
from rootml.errors import ModelError, UnsupportedModelError, UsageError

OPTIONS = {
    "iterations": 8, "depth": 4, "verbose": False, "allow_writing_files": False,
    "thread_count": 1, "random_seed": 1,
}  # fmt: skip
LOSSES = {
    "Logloss": ("two", "Probability"),
    "CrossEntropy": ("unit", "Probability"),
    "Focal:focal_alpha=0.5;focal_gamma=1": ("two", "Probability"),
    "RMSE": ("real", "RawFormulaVal"),
    "MAE": ("real", "RawFormulaVal"),
    "Quantile:alpha=0.2": ("real", "RawFormulaVal"),
    "Poisson": ("positive", "Exponent"),
    "Tweedie:variance_power=1.5": ("positive", "Exponent"),
    "MultiClass": ("three", "Probability"),
    "MultiClassOneVsAll": ("three", "Probability"),
    "MultiLogloss": ("labels", "Probability"),
    "MultiRMSE": ("pair", "RawFormulaVal"),
    "MultiQuantile:alpha=0.2,0.8": ("real", "RawFormulaVal"),
}
"""The label that each is trained with, and what its link must give."""
POLICIES = ("SymmetricTree", "Depthwise", "Lossguide")


@pytest.fixture
def catboost() -> Any:
    return pytest.importorskip("catboost")


@cache
def events() -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    x[:, 2] = rng.integers(0, 5, 400)
    score = x[:, 0] + np.abs(x[:, 1]) * (1 + x[:, 2])
    x[rng.random(x.shape) < 0.1] = np.nan
    labels = {
        "two": (score > 2) * 1, "three": np.digitize(score, [1, 3]), "real": score,
        "positive": np.exp(score / 9), "unit": 1 / (1 + np.exp(-score)),
        "pair": np.c_[score, score**2], "labels": np.c_[score > 1, score > 3] * 1,
    }  # fmt: skip
    return x, labels


def odd_rows(forest: Forest, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of `x`, some with borders, their neighbours, infinities and NaN."""
    rng = np.random.default_rng(6)
    border = forest.threshold[(forest.feature >= 0) & (forest.category < 0)]
    some = rng.permutation(border)[:25].astype(np.float32)
    inf = np.float32(np.inf)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3e38, -3e38], np.float32)
    with np.errstate(over="ignore"):  # a border of the largest float tells NaN from numbers
        values = np.r_[some, np.nextafter(some, inf), np.nextafter(some, -inf), special]
    made = [x[:60]]
    for column in range(x.shape[1]):
        rows = x[rng.integers(0, len(x), len(values))].copy()
        rows[:, column] = values
        made.append(rows)
    return np.concatenate(made)


def columns(values: Any) -> NDArray[Any]:
    return np.asarray(values).reshape(len(values), -1)


def as_json(model: Any, folder: Path, **options: Any) -> Path:
    path = folder / "model.json"
    model.save_model(str(path), format="json", **options)
    return path


@pytest.mark.parametrize(
    ("loss", "policy"),
    [(loss, "SymmetricTree") for loss in LOSSES]
    + [(loss, policy) for loss in ("Logloss", "MultiClass") for policy in POLICIES[1:]],
)
def test_margins_have_catboosts_bits(
    catboost: Any, loss: str, policy: str, tmp_path: Path
) -> None:
    x, labels = events()
    label, kind = LOSSES[loss]
    model = catboost.CatBoost({**OPTIONS, "loss_function": loss, "grow_policy": policy})
    model.fit(x, labels[label])
    model.save_model(str(tmp_path / "model.cbm"))
    forest = load(tmp_path / "model.cbm")
    rows = odd_rows(forest, x)
    expected = columns(model.predict(rows, prediction_type="RawFormulaVal"))
    for other in (forest, load(model), load(as_json(model, tmp_path))):
        assert other.num_trees == 8
        assert np.array_equal(margins(other, rows), expected)
    compiled = forest.compile()
    assert np.array_equal(columns(compiled.predict_margin(rows)), expected)
    made = columns(compiled.predict(rows))
    theirs = columns(model.predict(rows, prediction_type=kind))
    theirs = theirs[:, 1:] if theirs.shape[1] > made.shape[1] else theirs
    np.testing.assert_allclose(made, theirs, rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("mode", ["Min", "Max", "Forbidden"])
def test_nan_goes_where_the_mode_sends_it(
    catboost: Any, mode: str, policy: str, tmp_path: Path
) -> None:
    x, labels = events()
    known = np.nan_to_num(x) if mode == "Forbidden" else x
    model = catboost.CatBoostRegressor(**OPTIONS, nan_mode=mode, grow_policy=policy)
    model.fit(known, labels["real"])
    forest = load(model)
    assert np.isnan(rows := odd_rows(forest, x)).any()
    assert np.array_equal(forest.compile().predict(rows), model.predict(rows))
    other = load(as_json(model, tmp_path)).compile()
    assert np.array_equal(other.predict(rows), model.predict(rows))


@pytest.mark.parametrize("policy", POLICIES)
def test_leaves_and_contributions(catboost: Any, policy: str, tmp_path: Path) -> None:
    x, labels = events()
    model = catboost.CatBoostClassifier(**OPTIONS, grow_policy=policy).fit(x, labels["two"])
    ours = load(model).compile()
    assert np.array_equal(ours.predict_leaf(x), model.calc_leaf_indexes(x))
    if policy == "SymmetricTree":  # for others CatBoost's are not Shapley values: see below
        theirs = model.get_feature_importance(catboost.Pool(x), type="ShapValues")
        np.testing.assert_allclose(ours.contributions(x), theirs, atol=1e-12)
    path = as_json(model, tmp_path)
    again = catboost.CatBoost().load_model(str(path), format="json")  # it numbers leaves anew
    leaves = load(path).compile().predict_leaf(x)
    assert np.array_equal(leaves, again.calc_leaf_indexes(x))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["numbers", "words"])
def test_one_hot_categories(catboost: Any, kind: str, policy: str, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rng, (x, _) = np.random.default_rng(7), events()
    code = rng.integers(0, 4, len(x))
    words = np.array(["mu", "e", "tau", "jet"])
    given = code * 50 if kind == "numbers" else words[code]
    frame = pandas.DataFrame({"pt": x[:, 0], "kind": given, "eta": x[:, 1]})
    y = (np.nan_to_num(x[:, 0]) + 2 * (code == 1) - (code == 3) > 0) * 1
    model = catboost.CatBoostClassifier(**OPTIONS, one_hot_max_size=9, grow_policy=policy)
    pool = catboost.Pool(frame, y, cat_features=["kind"])
    model.fit(pool)
    path = as_json(model, tmp_path, pool=pool)
    frame.loc[::7, "kind"] = 7 if kind == "numbers" else "nu"  # unknown to the model
    expected = model.predict(frame, prediction_type="RawFormulaVal")
    for source in [path, model] if kind == "numbers" else [path]:
        forest = load(source)
        assert forest.feature_names == ("pt", "kind", "eta")
        assert forest.has_categories
        assert np.array_equal(forest.compile().predict_margin(frame), expected)
        assert np.array_equal(forest.compile("numpy").predict_margin(frame), expected)
    if kind == "numbers":
        same = frame.astype({"kind": "category"})
        assert np.array_equal(forest.compile().predict_margin(same), expected)
    if kind == "words":
        assert forest.feature_categories is not None
        assert set(forest.feature_categories[1] or ()) <= set(words)  # those of the tests
        frame["kind"] = frame["kind"].astype("category")
        assert np.array_equal(forest.compile().predict_margin(frame), expected)
        with pytest.raises(UnsupportedModelError, match="'kind' is stored as a hash alone"):
            load(model)
    if policy == "SymmetricTree":  # CatBoost's own are not Shapley values otherwise: see below
        given = catboost.Pool(frame, cat_features=["kind"])
        theirs = model.get_feature_importance(given, type="ShapValues")
        np.testing.assert_allclose(forest.compile().contributions(frame), theirs, atol=1e-12)


def test_the_text_nan_is_a_category(catboost: Any, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    code = np.arange(300) % 4
    words = np.array(["nan", "a", "None", "b"], dtype=object)[code]
    frame = pandas.DataFrame({"kind": words, "pt": np.arange(300) % 7})
    pool = catboost.Pool(frame, code * 2, cat_features=["kind"])
    model = catboost.CatBoostRegressor(**OPTIONS, one_hot_max_size=9).fit(pool)
    compiled = load(as_json(model, tmp_path, pool=pool)).compile()
    for given in (frame, frame.astype({"kind": "category"})):
        assert np.array_equal(compiled.predict(given), model.predict(pool))


@pytest.mark.parametrize("loss", ["LambdaMart", "QuerySoftMax", "StochasticRank:metric=NDCG"])
def test_losses_of_rankers(catboost: Any, loss: str) -> None:
    x, labels = events()
    model = catboost.CatBoost({**OPTIONS, "loss_function": loss})
    model.fit(x, labels["two"], group_id=np.arange(400) // 20)
    assert np.array_equal(load(model).compile().predict(x), model.predict(x))


@pytest.mark.parametrize("options", [{"classes_count": 4}, {"class_names": [0, 1, 2, 3]}])
def test_classes_without_events_are_refused(
    catboost: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    x, labels = events()
    model = catboost.CatBoostClassifier(**OPTIONS, loss_function="MultiClass", **options)
    model.fit(x, labels["three"] + (labels["three"] > 1))  # 0, 1, 3
    assert model.predict(x, prediction_type="RawFormulaVal").shape == (400, 4)
    for source in (model, as_json(model, tmp_path)):
        with pytest.raises(UnsupportedModelError, match="4 classes.*the training saw 3"):
            load(source)


@pytest.mark.parametrize("policy", POLICIES)
def test_contributions_by_their_definition(catboost: Any, policy: str) -> None:
    """Shapley values by all subsets of features. For trees that are not symmetric, in which a path
    tests a feature twice, CatBoost's own ShapValues are others."""
    pandas = pytest.importorskip("pandas")
    x, labels = events()
    frame = pandas.DataFrame({"a": x[:, 0], "c": np.arange(400) % 3, "b": x[:, 1]})
    assert frame[:3].isna().any(axis=None)
    y = labels["real"] + np.arange(400) % 3
    options = {**OPTIONS, "one_hot_max_size": 9, "grow_policy": policy, "iterations": 2}
    model = catboost.CatBoostRegressor(**options).fit(frame, y, cat_features=["c"])
    forest = load(model)
    rows = frame.to_numpy(np.float32)[:3]
    found = forest.compile().contributions(rows)
    for row, phi in zip(rows, found, strict=True):
        for i in range(3):
            others = [k for k in range(3) if k != i]
            value = sum(
                factorial(size) * factorial(2 - size) / 6
                * (_expected(forest, {*known, i}, row) - _expected(forest, {*known}, row))
                for size in range(3)
                for known in combinations(others, size)
            )  # fmt: skip
            assert phi[i] == pytest.approx(value, abs=1e-12)


def _expected(forest: Forest, known: set[int], row: NDArray[np.float32]) -> float:
    """The margin expected where some features are known, by the weights of the nodes."""

    def walk(n: int) -> float:
        if forest.feature[n] < 0:
            return float(forest.value[n, 0])
        left, right = int(forest.left[n]), int(forest.right[n])
        if (f := int(forest.feature[n])) in known:
            if forest.category[n] >= 0:
                goes_left = row[f] in forest.category_set(int(forest.category[n]))
            else:
                goes_left = bool(row[f] <= forest.threshold[n]) or bool(
                    np.isnan(row[f]) and forest.default_left[n]
                )
            return walk(left if goes_left else right)
        assert forest.cover is not None
        weights = forest.cover[[left, right]]
        return float(weights @ [walk(left), walk(right)] / weights.sum())

    roots = forest.tree_offset[:-1].tolist()
    return float(forest.base[0]) + sum(walk(root) for root in roots)


def test_scale_bias_and_sums_of_models(catboost: Any) -> None:
    x, labels = events()
    one = catboost.CatBoostRegressor(**OPTIONS).fit(x, labels["real"])
    two = catboost.CatBoostRegressor(**{**OPTIONS, "depth": 2}).fit(x, labels["positive"])
    total = catboost.sum_models([one, two], [1, 0.5])
    forest = load(total)
    assert (forest.num_trees, forest.objective, forest.link) == (16, "", "identity")
    assert np.array_equal(forest.compile().predict(x), total.predict(x))
    one.set_scale_and_bias(0.3, 2.0)
    np.testing.assert_allclose(load(one).compile().predict(x), one.predict(x), rtol=1e-14)


def test_trees_of_one_leaf_and_deep_ones(catboost: Any, tmp_path: Path) -> None:
    x, labels = events()
    for options in (
        {**OPTIONS, "grow_policy": "Lossguide", "min_data_in_leaf": 1000},
        {**OPTIONS, "depth": 11},
    ):
        model = catboost.CatBoostRegressor(**options).fit(x, labels["real"])
        expected = model.predict(x)
        assert np.array_equal(load(model).compile().predict(x), expected)
        assert np.array_equal(load(as_json(model, tmp_path)).compile().predict(x), expected)


def test_what_cannot_be_represented_is_named(catboost: Any, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    x, labels = events()
    with pytest.raises(UsageError, match="CatBoostRegressor is not trained"):
        load(catboost.CatBoostRegressor())
    model = catboost.CatBoostRegressor(**OPTIONS, loss_function="RMSEWithUncertainty")
    with pytest.raises(UnsupportedModelError, match="'RMSEWithUncertainty' of CatBoost"):
        load(model.fit(x, labels["real"]))
    frame = pandas.DataFrame({"pt": x[:, 0], "c": np.arange(400) % 40})
    y = (np.arange(400) % 40 % 3 > 0) * 1
    pool = catboost.Pool(frame, y, cat_features=["c"])
    model = catboost.CatBoostClassifier(**OPTIONS).fit(pool)
    for source in (model, as_json(model, tmp_path, pool=pool)):
        with pytest.raises(UnsupportedModelError, match="CTR"):
            load(source)
    for values, word in ((np.arange(400) % 3 - 1, "'-1'"), (np.arange(400) % 2 + 0.5, "1.5")):
        frame["c"] = values.astype(str)
        y = (values > 0.6) * 1
        pool = catboost.Pool(frame, y, cat_features=["c"])
        model = catboost.CatBoostClassifier(**OPTIONS, one_hot_max_size=9).fit(pool)
        with pytest.raises(UnsupportedModelError, match=f"categories of feature 'c'.*{word}"):
            load(as_json(model, tmp_path, pool=pool))


def test_damaged_json_names_the_field(catboost: Any, tmp_path: Path) -> None:
    x, labels = events()
    model = catboost.CatBoostRegressor(**OPTIONS).fit(x, labels["real"])
    document = json.loads(as_json(model, tmp_path).read_text())

    def broken(change: Any) -> bytes:
        copy = json.loads(json.dumps(document))
        change(copy, copy["oblivious_trees"][0])
        return json.dumps(copy).encode()

    for change, words in (
        (lambda _, tree: tree["leaf_values"].pop(), "symmetric tree of 4 tests with 15 leaves"),
        (lambda _, tree: tree["splits"][0].update(float_feature_index=9), "number 9 of float_f"),
        (lambda _, tree: tree["splits"][0].update(border="x"), "border must be a list of numbers"),
        (lambda _, tree: tree["splits"][0].update(border=float("nan")), "a threshold is NaN"),
        (lambda all_, _: all_.update(scale_and_bias=[1]), "scale_and_bias has 1 entries"),
        (lambda all_, _: all_.pop("features_info"), "JSON, but not"),
        (
            lambda all_, _: all_["features_info"]["float_features"].pop(1),
            "number 1 of float_features",
        ),
    ):
        with pytest.raises(ModelError, match=words):
            load(broken(change))
    with pytest.raises(UnsupportedModelError, match="'new', which no supported schema has"):
        load(broken(lambda all_, _: all_.update(new=1)))
