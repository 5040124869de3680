"""Contributions, against XGBoost, LightGBM, shap, and the definition of Shapley values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bdt_forests import random_forest, rows_on_thresholds
from forest_walk import in_set, inputs
from numpy.typing import NDArray

from rootml.bdt import Forest, load
from rootml.errors import CastError, UsageError

pytest.importorskip("llvmlite")

LIGHTGBM = ("binary", "multiclass", "dart", "rf", "regression")
SKLEARN = (
    "decision_tree", "extra_trees", "extra_trees_reg", "gb_reg", "gb_two", "hist_poisson",
    "random_forest", "random_forest_reg",
)  # fmt: skip


def agree(ours: NDArray[Any], theirs: NDArray[Any], axes: int = 1) -> None:
    """To 1e-5 of one and the sum of the contributions of an event."""
    theirs = theirs.reshape(ours.shape)
    scale = 1 + np.abs(theirs).sum(axis=tuple(range(-axes, 0)), keepdims=True)
    assert np.max(np.abs(ours - theirs) / scale) <= 1e-5


def sums_to_margins(contributions: NDArray[Any], margins: NDArray[Any]) -> None:
    sums = contributions.sum(axis=-1)
    scale = 1 + np.abs(contributions).sum(axis=-1)
    assert np.max(np.abs(sums - margins.reshape(sums.shape)) / scale) <= 1e-5


def xgboost_kinds() -> list[str]:
    from make_xgboost_models import KINDS

    return list(KINDS)


@pytest.mark.parametrize("name", xgboost_kinds())
def test_xgboost(name: str, xgboost_model: Callable[..., Any]) -> None:
    from make_xgboost_models import VERSION, matrix

    one = xgboost_model(name)
    vectors = one.forest.leaf_width > 1
    if vectors and VERSION < (3, 0):
        pytest.skip("before 3.0 such models do not hold the weights of nodes")
    model, data = one.forest.compile("numpy"), matrix(one.x, name.startswith("category"))
    ours = model.contributions(one.x)
    sums_to_margins(ours, one.margin)
    if vectors and VERSION < (3, 4):
        return  # XGBoost has no contributions of vector leaves before 3.4
    agree(ours, one.model.predict(data, pred_contribs=True))
    approximate = model.contributions(one.x, approximate=True)
    if vectors:  # of which XGBoost has no approximation
        sums_to_margins(approximate, one.margin)
    else:
        agree(approximate, one.model.predict(data, pred_contribs=True, approx_contribs=True))
    pairs = model.contributions(one.x, interactions=True)
    agree(pairs, one.model.predict(data, pred_interactions=True), axes=2)
    np.testing.assert_allclose(pairs.sum(axis=-1), ours, atol=1e-5)


def test_xgboost_refreshed_by_few_events() -> None:
    """Nodes without weight, of which older XGBoost has no contributions, and no approximate ones
    to this day (NaN).
    """
    from make_xgboost_models import VERSION

    xgboost = pytest.importorskip("xgboost")
    rng = np.random.default_rng(12)
    x = rng.normal(size=(500, 5)).astype(np.float32)
    y = x[:, 0] + x[:, 1] * x[:, 2]
    options = {"max_depth": 5, "nthread": 1, "tree_method": "hist"}
    trained = xgboost.train(options, xgboost.DMatrix(x, y), 5)
    again = {"nthread": 1, "verbosity": 0, "process_type": "update", "updater": "refresh"}
    booster = xgboost.train(again, xgboost.DMatrix(x[:20], y[:20]), 5, xgb_model=trained)
    forest, data = load(booster), xgboost.DMatrix(x)
    assert forest.cover is not None
    assert (forest.cover == 0).any()
    model, margins = forest.compile(), booster.predict(data, output_margin=True)
    sums_to_margins(model.contributions(x), margins)
    sums_to_margins(model.contributions(x, approximate=True), margins)
    if VERSION >= (3, 4):
        agree(model.contributions(x), booster.predict(data, pred_contribs=True))


@pytest.mark.parametrize(
    ("name", "missing", "categorical"),
    [*((name, "nan", True) for name in LIGHTGBM), ("binary", "zero", False),
     ("binary", "none", True)],
)  # fmt: skip
def test_lightgbm(
    name: str, missing: str, categorical: bool, lightgbm_model: Callable[..., Any]
) -> None:
    one = lightgbm_model(name, missing, categorical=categorical)
    ours = one.forest.compile("numpy").contributions(one.x)
    # LightGBM's margins and contributions of random forests are those of the sum of the trees
    trees = one.model.num_trees() if name == "rf" else 1
    sums_to_margins(ours, one.margin / trees)
    agree(ours, one.model.predict(one.x, pred_contrib=True) / trees)


@pytest.mark.parametrize("name", SKLEARN)
def test_sklearn_beside_shap(name: str, sklearn_model: Callable[[str], Any]) -> None:
    one = sklearn_model(name)
    model = one.forest.compile("numpy")
    sums_to_margins(model.contributions(one.x), one.margin)
    shap = pytest.importorskip("shap")
    explainer = shap.TreeExplainer(one.model, feature_perturbation="tree_path_dependent")
    x = one.x[~np.isnan(one.x).any(axis=1)]  # shap sends NaN right, whatever the tree says
    theirs = explainer.shap_values(x, check_additivity=False)
    agree(
        model.contributions(x)[..., :-1], np.moveaxis(theirs, 2, 1) if theirs.ndim == 3 else theirs
    )


# --- by the definition ---------------------------------------------------------------------------


def expectation(forest: Forest, row: NDArray[Any], known: frozenset[int], n: int) -> Any:
    """The value of a tree if only some features are known."""
    feature = int(forest.feature[n])
    if feature < 0:
        return forest.value[n].astype(np.float64)
    left, right = int(forest.left[n]), int(forest.right[n])
    if feature in known:
        v = row[feature : feature + 1]
        if np.isnan(v[0]):
            goes = bool(forest.default_left[n])
        elif forest.category[n] >= 0:
            goes = bool(in_set(forest, v, int(forest.category[n]))[0])
        else:
            goes = bool(v[0] < forest.threshold[n] if forest.comparison == "<"
                        else v[0] <= forest.threshold[n])  # fmt: skip
        return expectation(forest, row, known, left if goes else right)
    assert forest.cover is not None
    share = forest.cover[left] / (forest.cover[left] + forest.cover[right])
    return share * expectation(forest, row, known, left) + (1 - share) * expectation(
        forest, row, known, right
    )


def shapley(forest: Forest, row: NDArray[Any]) -> NDArray[np.float64]:
    """Shape (outputs, features + 1), from all subsets of the features."""
    count = forest.num_features

    def value(known: frozenset[int]) -> NDArray[np.float64]:
        total = np.zeros(forest.num_outputs)
        for tree, root in enumerate(forest.tree_offset[:-1].tolist()):
            found = expectation(forest, row, known, root)
            if forest.leaf_width == 1:
                total[forest.tree_output[tree]] += found[0]
            else:
                total += found
        return total / forest.divisor

    subsets = [
        frozenset(s) for k in range(count + 1) for s in itertools.combinations(range(count), k)
    ]
    values = {s: value(s) for s in subsets}
    made = np.zeros((forest.num_outputs, count + 1))
    for s in subsets:
        for i in set(range(count)) - s:
            weight = math.factorial(len(s)) * math.factorial(count - len(s) - 1)
            made[:, i] += weight / math.factorial(count) * (values[s | {i}] - values[s])
    base = forest.base / forest.divisor if forest.base_first else forest.base
    made[:, -1] = values[frozenset()] + base
    return made


def with_random_cover(forest: Forest, rng: np.random.Generator) -> Forest:
    cover = np.where(forest.feature < 0, rng.uniform(0, 10, forest.num_nodes), 0)
    cover[rng.random(forest.num_nodes) < 0.1] = 1e-7
    inner = np.flatnonzero(forest.feature >= 0)
    for n in inner[np.argsort(-forest.node_depth[inner])]:
        cover[n] = cover[forest.left[n]] + cover[forest.right[n]]
    return forest.replace(cover=cover)


@pytest.mark.parametrize("seed", range(8))
def test_random_forests_by_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outputs = int(rng.integers(1, 4))
    real = (np.float32, np.float64)[seed % 2]
    forest = random_forest(
        rng, trees=9, depth=7, sets=seed % 3, outputs=outputs,
        width=outputs if seed % 4 == 0 else 1, input_dtype=real,
        dtype=np.float64 if seed % 3 else np.float32, comparison="<" if seed % 4 < 2 else "<=",
        category_rule=("floor", "truncate", "exact")[seed % 3], base_first=seed % 5 != 0,
        divisor=3.0 if seed % 4 == 1 else 1.0, missing=-999.0 if seed % 2 else math.nan,
        zero_missing=np.array([seed == 3, False, False, False]),
    )  # fmt: skip
    forest = with_random_cover(forest, rng)
    x = rows_on_thresholds(rng, forest, 24)
    model = forest.compile("numpy")
    ours = model.contributions(x).reshape(len(x), forest.num_outputs, -1)
    seen = inputs(forest, x)
    agree(ours, np.stack([shapley(forest, row) for row in seen]))
    pairs = model.contributions(x, interactions=True)
    np.testing.assert_allclose(pairs.sum(axis=-1).reshape(ours.shape), ours, atol=2e-5)
    np.testing.assert_allclose(pairs, np.swapaxes(pairs, -1, -2), atol=2e-5)


def test_a_path_of_many_features() -> None:
    """A chain of 90 tests of 90 features: more than the rule of the integral sums exactly."""
    count = 90
    inner = 2 * np.arange(count)
    feature = np.full(2 * count + 1, -1)
    feature[inner] = np.arange(count)
    left, right = np.full(2 * count + 1, -1), np.full(2 * count + 1, -1)
    left[inner], right[inner] = inner + 1, inner + 2
    cover = np.ones(2 * count + 1)
    cover[inner] = 2.0 ** np.minimum(count - np.arange(count), 60)
    value = np.zeros((2 * count + 1, 1))
    value[-1] = 1
    forest = Forest(
        tree_offset=np.array([0, 2 * count + 1]), feature=feature,
        threshold=np.zeros(2 * count + 1),
        left=left, right=right, default_left=feature < -1, value=value,
        tree_output=np.zeros(1, np.int32), base=np.zeros(1), num_features=count, cover=cover,
    )  # fmt: skip
    x = np.ones((1, count))
    found = forest.compile("numpy").contributions(x)[0]
    assert abs(found.sum() - 1) < 1e-9
    assert np.all(found[:-1] > 0)


# --- leaves and trees ----------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["llvm", "numpy"])
def test_leaves_and_trees(
    engine: Any,
    xgboost_model: Callable[..., Any],
    lightgbm_model: Callable[..., Any],
    sklearn_model: Callable[[str], Any],
) -> None:
    from make_xgboost_models import matrix

    for name in ("softprob", "exact_pruned", "category_set"):
        one = xgboost_model(name)
        model, data = one.forest.compile(engine), matrix(one.x, name.startswith("category"))
        theirs = one.model.predict(data, pred_leaf=True).reshape(len(one.x), -1)
        leaves = model.predict_leaf(one.x)
        assert leaves.dtype == np.int32
        assert np.array_equal(leaves, theirs), name
        trees = model.predict_trees(one.x)
        assert trees.dtype == np.float32
        margin = np.tile(one.forest.base, (len(one.x), 1))
        for tree, output in enumerate(one.forest.tree_output.tolist()):
            margin[:, output] += trees[:, tree]
        assert np.array_equal(margin, one.margin)
    one = lightgbm_model("multiclass", "nan", categorical=True)
    model = one.forest.compile(engine)
    assert np.array_equal(model.predict_leaf(one.x), one.model.predict(one.x, pred_leaf=True))
    one = sklearn_model("random_forest")
    model = one.forest.compile(engine)
    assert np.array_equal(model.predict_leaf(one.x), one.model.apply(one.x))
    trees = model.predict_trees(one.x)
    assert trees.shape == (len(one.x), one.forest.num_trees, one.forest.num_outputs)
    np.testing.assert_allclose(trees.mean(axis=1), one.margin, rtol=1e-12)


def test_leaves_of_many_shapes() -> None:
    rng = np.random.default_rng(4)
    for trees, depth in ((1, 0), (40, 2), (11, 8)):
        forest = random_forest(rng, trees=trees, depth=depth, full=1.0)
        x = rows_on_thresholds(rng, forest, 2100)
        leaves = forest.compile().predict_leaf(x)
        assert np.array_equal(leaves, forest.compile("numpy").predict_leaf(x))
        nodes = leaves + forest.tree_offset[:-1]
        assert np.all(forest.feature[nodes] < 0)
        sums = forest.base[0] + forest.value[nodes, 0].astype(np.float64).sum(axis=1)
        np.testing.assert_allclose(sums, forest.compile().predict_margin(x), rtol=1e-4, atol=1e-5)


# --- what users pass -----------------------------------------------------------------------------


def test_inputs_threads_and_refusals(xgboost_model: Callable[..., Any]) -> None:
    import awkward as ak

    one = xgboost_model("logistic")
    model = one.forest.compile("numpy")
    x = np.tile(one.x, (30, 1))
    whole = model.contributions(x)
    assert np.array_equal(model.contributions(x, threads=3), whole)
    assert np.array_equal(model.predict_leaf(x, threads=3), model.predict_leaf(x))
    columns = {name: x[:, i] for i, name in enumerate(one.forest.names)}
    assert np.array_equal(model.contributions(columns), whole)
    jets = ak.unflatten(ak.zip({n: c[:6] for n, c in columns.items()}), [2, 0, 4])
    found = model.contributions(jets)
    assert ak.num(found, axis=1).to_list() == [2, 0, 4]
    assert np.array_equal(ak.flatten(found).to_numpy(), whole[:6])
    assert model.contributions(x[:0]).shape == (0, whole.shape[1])
    assert model.predict_leaf(x[:0]).shape == (0, one.forest.num_trees)
    with pytest.raises(UsageError, match="approximate"):
        model.contributions(x, approximate=True, interactions=True)
    with pytest.raises(UsageError, match="'interaction'; nearest: 'interactions'"):
        model.contributions(x, interaction=True)
    bare = one.forest.replace(cover=None).compile("numpy")
    with pytest.raises(UsageError, match=r"with_cover"):
        bare.contributions(x)
    strict = one.forest.replace(allow_nan=False).compile("numpy")
    with pytest.raises(CastError, match="is NaN"):
        strict.contributions(x)


def test_cover_from_events(sklearn_model: Callable[[str], Any]) -> None:
    """Counted with the training events, the weights are those of the model."""
    from sklearn.ensemble import GradientBoostingRegressor

    from rootml.bdt import load

    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 3))
    weight = rng.uniform(0.1, 2, 400)
    fitted = GradientBoostingRegressor(n_estimators=4).fit(x, x[:, 0] ** 2, sample_weight=weight)
    forest = load(fitted)
    counted = forest.replace(cover=None).with_cover(x, weight)
    assert forest.cover is not None
    assert counted.cover is not None
    np.testing.assert_allclose(counted.cover, forest.cover, rtol=1e-9)
    with pytest.raises(UsageError, match="weight of the shape"):
        forest.with_cover(x, weight[1:])
    with pytest.raises(UsageError, match="weight of the shape"):
        forest.with_cover(x, -weight)


def test_friends_hold_contributions(tmp_path: Any, xgboost_model: Callable[..., Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    import rootml

    one = xgboost_model("logistic")
    table = {name: one.x[:, i] for i, name in enumerate(one.forest.names)}
    pyarrow.parquet.write_table(pa.table(table), tmp_path / "in.parquet")
    data = rootml.open(str(tmp_path / "in.parquet"))
    model = one.forest.compile("numpy")
    model.write_friend(data, tmp_path / "friends", name="bdt", contributions=True)
    friends = rootml.open(str(tmp_path / "friends/in.parquet")).to_awkward()
    wanted = model.contributions(one.x)
    assert np.array_equal(friends["bdt"], model.predict(one.x))
    assert np.array_equal(friends["bdt_from_f1"], wanted[:, 1])
    assert np.array_equal(friends["bdt_expected"], wanted[:, -1])
    assert np.array_equal(model.contributions(data), wanted)
