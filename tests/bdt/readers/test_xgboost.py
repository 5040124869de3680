"""XGBoost's files of seven versions and its objects, against what XGBoost itself predicts."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
import pytest
from forest_walk import margins
from make_xgboost_models import KINDS
from numpy.typing import NDArray
from xgboost_references import model_bytes, names, stored

from rootml.bdt import load
from rootml.errors import ModelError, UnsupportedModelError, UsageError

VERSIONS = ("1.6.2", "1.7.6", "2.0.3", "3.0.5", "3.1.3", "3.3.0", "3.4.1")


def release(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")[:2]))


def same_bits(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    theirs = theirs.reshape(len(theirs), -1)
    return ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes()


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_stored_models_give_the_bits_of_the_version_that_wrote_them(version: str) -> None:
    kept = stored(version)
    assert len(names(kept)) >= 26
    for name in names(kept):
        forest, x = load(model_bytes(kept, name)), kept[f"{name}.x"]
        assert forest.library_version == version
        wanted = kept[f"{name}.margin"]
        if name.startswith("category") and version == "1.6.2":  # sent unseen categories elsewhere
            seen = np.isnan(x[:, 2]) | (np.isin(x[:, 2], np.arange(9)))
            x, wanted = x[seen], wanted[seen]
        assert same_bits(margins(forest, x), wanted), name


@pytest.mark.parametrize("version", VERSIONS)
def test_stored_models_give_the_predictions_of_the_version_that_wrote_them(version: str) -> None:
    kept = stored(version)
    for name in names(kept):
        x, wanted = kept[f"{name}.x"], kept[f"{name}.prediction"]
        if name.startswith("category") and version == "1.6.2":  # sent unseen categories elsewhere
            seen = np.isnan(x[:, 2]) | (np.isin(x[:, 2], np.arange(9)))
            x, wanted = x[seen], wanted[seen]
        ours = load(model_bytes(kept, name)).compile("numpy").predict(x)
        np.testing.assert_allclose(ours, wanted, rtol=2e-6, atol=1e-7, err_msg=name)


def test_quantiles_cross_in_margins_and_in_no_prediction_from_3_4_on() -> None:
    for version, sorts in (("3.3.0", False), ("3.4.1", True)):
        kept = stored(version)
        for what, crosses in (("margin", True), ("prediction", not sorts)):
            steps = np.diff(kept[f"quantileerror_crossing.{what}"], axis=1)
            assert bool((steps < 0).any()) == crosses, (version, what)


@pytest.mark.parametrize("version", VERSIONS)
def test_stored_models_give_the_bits_of_the_installed_version(version: str) -> None:
    xgboost = pytest.importorskip("xgboost")
    from make_xgboost_models import matrix

    if release(version) > release(xgboost.__version__) or release(xgboost.__version__) < (3, 0):
        pytest.skip(f"XGBoost {xgboost.__version__} does not read all models of {version}")
    kept = stored(version)
    for name in names(kept):
        if name == "multi_output_tree":
            continue  # 3.2 dies of a segmentation fault when it loads those of 3.1 and before
        booster = xgboost.Booster()
        booster.load_model(bytearray(model_bytes(kept, name)))
        x = kept[f"{name}.x"]
        data = matrix(x, name.startswith("category"))
        data.feature_names = booster.feature_names
        wanted = booster.predict(data, output_margin=True)
        assert same_bits(margins(load(model_bytes(kept, name)), x), wanted), name


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kind", ["json", "ubj", "object"])
def test_models_trained_here(name: str, kind: str, xgboost_model: Callable[..., Any]) -> None:
    one = xgboost_model(name)
    forest = one.forest if kind == "object" else load(bytes(one.model.save_raw(kind)))
    assert same_bits(margins(forest, one.x), one.margin)
    assert forest.objective == json.loads(one.model.save_config())["learner"]["objective"]["name"]


@pytest.mark.parametrize("name", KINDS)
def test_the_link_is_that_of_the_objective(name: str, xgboost_model: Callable[..., Any]) -> None:
    one = xgboost_model(name)
    m = one.margin.astype(np.float64)
    soft = np.exp(m - m.max(axis=1, keepdims=True))
    expected = {
        "argmax": m.argmax(axis=1)[:, None],
        "exp": np.exp(m),
        "hinge": m > 0,
        "identity": m,
        "increments": np.cumsum(np.c_[m[:, :1], 1e-6 + np.logaddexp(m[:, 1:], 0)], axis=1),
        "sigmoid": 1 / (1 + np.exp(-m)),
        "softmax": soft / soft.sum(axis=1, keepdims=True),
        "sorted": np.sort(m, axis=1),
    }
    np.testing.assert_allclose(one.prediction, expected[one.forest.link], rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["squarederror", "category_set", "softprob", "dart", "forest"])
def test_gblinear_aside_infinities_go_where_xgboost_sends_them(
    name: str, xgboost_model: Callable[..., Any]
) -> None:
    one = xgboost_model(name)
    x = one.x[:40].copy()
    x[::2, 0], x[1::2, 1] = np.inf, -np.inf
    wanted = one.model.inplace_predict(x, predict_type="margin")
    if name == "dart":  # inplace_predict of dart adds in another order
        np.testing.assert_allclose(margins(one.forest, x)[:, 0], wanted, rtol=1e-5, atol=1e-6)
    else:
        assert same_bits(margins(one.forest, x), wanted)


def test_rounds_are_cut_as_iteration_range_does(xgboost_model: Callable[..., Any]) -> None:
    for name in ("softprob", "forest", "forest_multiclass", "dart", "multi_output_tree"):
        one = xgboost_model(name)
        forest, data = one.forest, _matrix(one.x)
        last = forest.num_iterations
        for begin, end in ((0, 1), (1, 2), (0, last)):
            wanted = one.model.predict(data, output_margin=True, iteration_range=(begin, end))
            cut = forest.iterations(begin, end)
            assert cut.num_iterations == end - begin
            assert same_bits(margins(cut, one.x), wanted), (name, begin, end)
        for begin, end in ((0, 0), (0, last + 1), (-1, 1)):
            with pytest.raises(UsageError, match="iterations"):
                forest.iterations(begin, end)


def test_best_iteration_is_told_and_not_applied(xgboost_model: Callable[..., Any]) -> None:
    one = xgboost_model("best_iteration")
    best = one.model.best_iteration
    assert one.forest.best_iteration == best
    assert 0 <= best < one.forest.num_iterations - 1
    wanted = one.model.predict(_matrix(one.x), output_margin=True, iteration_range=(0, best + 1))
    assert same_bits(margins(one.forest.iterations(0, best + 1), one.x), wanted)


@pytest.mark.parametrize("kind", ["weight", "gain", "cover", "total_gain", "total_cover"])
@pytest.mark.parametrize("name", ["logistic", "category_set", "exact_pruned", "forest"])
def test_importance(kind: str, name: str, xgboost_model: Callable[..., Any]) -> None:
    one = xgboost_model(name)
    wanted = one.model.get_score(importance_type=kind)
    ours = one.forest.importance(kind)
    assert set(wanted) == {feature for feature, value in ours.items() if value}
    for feature, value in wanted.items():
        np.testing.assert_allclose(ours[feature], value, rtol=1e-5)


def _matrix(x: NDArray[Any], **options: Any) -> Any:
    import xgboost

    return xgboost.DMatrix(x, **options)


# --- objects -------------------------------------------------------------------------------------


def data() -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    return x, x[:, 0] + np.abs(x[:, 1]) + rng.normal(scale=0.3, size=300)


@pytest.mark.parametrize("kind", ["XGBRegressor", "XGBRFRegressor", "XGBClassifier",
                                  "XGBRFClassifier", "three classes", "XGBRanker"])  # fmt: skip
def test_wrappers(kind: str) -> None:
    xgboost = pytest.importorskip("xgboost")
    x, score = data()
    options: dict[str, Any] = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1}
    fit: dict[str, Any] = {}
    label: Any = score if "Regressor" in kind else (score > 1).astype(int)
    if kind == "three classes":
        kind, label = "XGBClassifier", np.digitize(score, [0.5, 1.5])
    if kind == "XGBRanker":
        fit["qid"] = np.repeat(np.arange(30), 10)
    model = getattr(xgboost, kind)(**options).fit(x, label, **fit)
    wanted = model.predict(x, output_margin=True)
    assert same_bits(margins(load(model), x), wanted)


def test_a_wrapper_brings_its_missing_and_its_best_iteration() -> None:
    xgboost = pytest.importorskip("xgboost")
    x, score = data()
    x[np.random.default_rng(4).random(x.shape) < 0.2] = -999
    model = xgboost.XGBClassifier(
        n_estimators=30, max_depth=4, learning_rate=1.0, missing=-999, n_jobs=1,
        early_stopping_rounds=3,
    )  # fmt: skip
    model.fit(x[:200], score[:200] > 1, eval_set=[(x[200:], score[200:] > 1)], verbose=False)
    forest = load(model)
    assert forest.missing == -999
    assert forest.num_iterations == model.best_iteration + 1 < 30
    x[0, 0] = np.nan  # missing too
    assert same_bits(margins(forest, x), model.predict(x, output_margin=True))
    fromfile = load(bytes(model.get_booster().save_raw("json")), missing=-999)
    whole = model.get_booster().predict(_matrix(x, missing=-999), output_margin=True)
    assert same_bits(margins(fromfile, x), whole)


def test_an_untrained_wrapper_is_an_error() -> None:
    xgboost = pytest.importorskip("xgboost")
    with pytest.raises(UsageError, match="not trained"):
        load(xgboost.XGBClassifier())


@pytest.mark.parametrize("tau", ["tau", "\N{GREEK SMALL LETTER TAU}"])
def test_categories_of_pandas_are_kept(tau: str) -> None:
    xgboost = pytest.importorskip("xgboost")
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(6)
    words = rng.choice(["mu", "e", tau, "jet"], 200)
    frame = pandas.DataFrame({"pt": rng.normal(size=200), "kind": pandas.Categorical(words)})
    target = frame["pt"] + (words == "mu") * 2 + (words == "jet")
    booster = xgboost.train(
        {"max_cat_to_onehot": 1, "nthread": 1},
        xgboost.DMatrix(frame, target, enable_categorical=True), 4,
    )  # fmt: skip
    forest = load(booster)
    assert forest.feature_names == ("pt", "kind")
    assert forest.feature_types == ("float", "c")
    if release(xgboost.__version__) >= (3, 1):  # which keeps them
        cut = not tau.isascii() and release(xgboost.__version__) < (3, 4)
        names = forest.feature_categories[1] if forest.feature_categories else None
        assert names == ("e", "jet", "mu", tau) or (cut and names is None)
    codes = np.c_[frame["pt"], frame["kind"].cat.codes].astype(np.float32)
    wanted = booster.predict(xgboost.DMatrix(frame, enable_categorical=True), output_margin=True)
    assert same_bits(margins(forest, codes), wanted)


def test_numbers_that_may_be_categories_or_their_positions_are_refused() -> None:
    xgboost = pytest.importorskip("xgboost", minversion="3.1")
    pandas, arrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    rng = np.random.default_rng(6)
    kinds = np.array([-11, 11, 13, 22])
    codes, pt = rng.integers(0, 4, 200), rng.normal(size=200)
    columns = {"pt": pt, "pdg": kinds[codes]}
    frame = pandas.DataFrame(columns).astype({"pdg": "category"})
    data = xgboost.DMatrix(frame, pt + codes % 2 * 3, enable_categorical=True)
    booster = xgboost.train({"nthread": 1}, data, 4)
    forest = load(booster)
    model, wanted = forest.compile(), booster.predict(data)
    assert same_bits(model.predict(frame)[:, None], wanted)
    assert same_bits(model.predict(frame.astype({"pdg": object}))[:, None], wanted)
    assert same_bits(model.predict(np.c_[pt, codes])[:, None], wanted)
    plain = pandas.DataFrame(columns)
    with pytest.raises(xgboost.core.XGBoostError, match="numeric or categorical"):
        booster.inplace_predict(plain)
    wide = plain.astype(float)
    tables = arrow.table(columns), ak.Array(columns), wide.to_records()
    for given in (plain, wide, columns, *tables):
        with pytest.raises(UsageError, match="'pdg' holds numbers.*column of -11, 11, 13, 22: "):
            model.predict(given)
    coded = forest.replace(feature_categories=None).compile()
    assert same_bits(coded.predict({"pt": pt, "pdg": codes})[:, None], wanted)
    counted = forest.replace(feature_categories=(None, (0, 1, 2, 3))).compile()
    assert same_bits(counted.predict({"pt": pt, "pdg": codes})[:, None], wanted)


# --- refusals ------------------------------------------------------------------------------------


@pytest.fixture
def document() -> dict[str, Any]:
    """A stored model, parsed."""
    kept = stored("3.1.3")
    parsed: dict[str, Any] = json.loads(kept["logistic.json"].tobytes())
    return parsed


def trees(document: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["learner"]["gradient_booster"]["model"]["trees"]
    return found


def refused(document: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        load(json.dumps(document).encode())


def test_a_linear_booster_is_named() -> None:
    xgboost = pytest.importorskip("xgboost")
    x, score = data()
    booster = xgboost.train({"booster": "gblinear"}, _matrix(x, label=score), 2)
    with pytest.raises(UnsupportedModelError, match="gblinear"):
        load(booster)


def test_what_is_not_known_is_named(document: dict[str, Any]) -> None:
    other = copy.deepcopy(document)
    other["learner"]["objective"]["name"] = "reg:squarederr"
    refused(other, UnsupportedModelError, "'reg:squarederr'.*supported: 'reg:squarederror'")
    for version, words in (([4, 0, 0], "4.0.0"), ([1, 5, 2], "1.5.2.*load it into a newer")):
        refused({**document, "version": version}, UnsupportedModelError, words)
    for where in ("learner", "tree", "model"):
        other = copy.deepcopy(document)
        table = {
            "learner": other["learner"],
            "tree": trees(other)[0],
            "model": other["learner"]["gradient_booster"]["model"],
        }[where]
        table["oblique_weights"] = [1]
        refused(other, UnsupportedModelError, "'oblique_weights'.*newer")


def test_a_newer_schema_is_read_if_every_field_is_known(document: dict[str, Any]) -> None:
    newer = {**document, "version": [3, 99, 0]}
    assert load(json.dumps(newer).encode()).library_version == "3.99.0"
    learner = newer["learner"]
    for path in ((), ("objective",), ("objective", "reg_loss_param"),
                 ("gradient_booster", "model", "gbtree_model_param"),
                 ("gradient_booster", "model", "cats")):  # fmt: skip
        table = learner if path else newer
        for name in path:
            table = table[name]
        table["oblique"] = "1"
        refused(newer, UnsupportedModelError, "'oblique'.*newer")
        refused_not = {**newer, "version": [3, 4, 0]}
        assert load(json.dumps(refused_not).encode()).library_version == "3.4.0"
        del table["oblique"]
    trees(newer)[0]["tree_param"]["oblique"] = "1"
    refused(newer, UnsupportedModelError, "tree_param has 'oblique'.*newer")


def test_dart_keeps_its_weights_in_one_place(document: dict[str, Any]) -> None:
    booster = document["learner"]["gradient_booster"]
    weights = [0.5] * len(trees(document))
    plain = load(json.dumps(document).encode())
    booster["weight_drop"] = weights
    beside = load(json.dumps(document).encode())
    booster["model"]["weight_drop"] = weights
    refused(document, ModelError, "weight_drop is given twice")
    del booster["weight_drop"]
    within = load(json.dumps(document).encode())
    assert np.array_equal(beside.value, plain.value * np.float32(0.5))
    assert np.array_equal(within.value, beside.value)
    booster["model"]["weight_drop"] = weights[1:]
    refused(document, ModelError, "weights for")


def test_attributes_must_be_a_table(document: dict[str, Any]) -> None:
    document["learner"]["attributes"] = 5
    refused(document, ModelError, "attributes must be a table")


@pytest.mark.parametrize(
    ("name", "place", "value", "words"),
    [
        ("left_children", 1, 0, "reached twice"),
        ("left_children", 0, 2, "reached twice"),
        ("left_children", 0, 10**6, "outside of its tree"),
        ("right_children", 0, 2**40, "right_children has values"),
        ("left_children", 0, -2, "left_children has values"),
        ("right_children", 0, -1, "one child"),
        ("left_children", 0, 1.5, "must be a list of numbers"),
        ("left_children", 0, "1", "must be a list of numbers"),
        ("split_indices", 0, 4, "tests feature 4"),
        ("split_conditions", 0, float("nan"), "NaN"),
        ("default_left", 0, 3, "default_left has values"),
        ("split_type", 0, 1, "categor"),
        ("tree_param", "size_leaf_vector", "3", "leaves of"),
        ("tree_param", "size_leaf_vector", "-3", "whole number"),
    ],
)
def test_damaged_trees(
    document: dict[str, Any], name: str, place: Any, value: Any, words: str
) -> None:
    trees(document)[1][name][place] = value
    refused(document, ModelError, words)


def test_trees_with_lists_that_are_short_or_missing(document: dict[str, Any]) -> None:
    trees(document)[1]["split_conditions"].pop()
    refused(document, ModelError, "split_conditions has")
    del trees(document)[1]["right_children"]
    refused(document, ModelError, "right_children is missing")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("learner_model_param", "num_feature"), "2000000000", "2000000000 features"),
        (("learner_model_param", "num_class"), "2000000000", "num_class"),
        (("learner_model_param", "base_score"), "[0.5,0.5,0.5]", "3 values for 1 outputs"),
        (("learner_model_param", "base_score"), "[half]", "base_score"),
        (("learner_model_param", "base_score"), "[1E0]", "no finite margin"),
        (("learner_model_param", "num_feature"), None, "num_feature"),
        (("gradient_booster", "model", "tree_info"), [0, 0], "tree_info has 2"),
        (("gradient_booster", "model", "tree_info"), [0, 0, 7, 0, 0], "tree_output"),
        (("gradient_booster", "model", "iteration_indptr"), [0, 9], "iteration_indptr"),
        (("gradient_booster", "model", "trees"), {}, "must be a list"),
        (("feature_names",), ["a"], "feature_names"),
        (("objective",), [], "objective"),
    ],
)
def test_damaged_heads(
    document: dict[str, Any], path: tuple[str, ...], value: Any, words: str
) -> None:
    table = document["learner"]
    for name in path[:-1]:
        table = table[name]
    table[path[-1]] = value
    refused(document, ModelError, words)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("categories", [2**24], "categories has values"),
        ("categories_sizes", [10**6], "outside of categories"),
        ("categories_segments", [10**6], "outside of categories"),
        ("categories_nodes", [10**6], "does not exist"),
    ],
)
def test_damaged_categories(name: str, value: list[int], words: str) -> None:
    kept = stored("3.1.3")
    document = json.loads(kept["category_onehot.json"].tobytes())
    tree = next(tree for tree in trees(document) if tree["categories_nodes"])
    tree[name][: len(value)] = value
    refused(document, ModelError, words)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("gbtree_model_param", "num_trees"), "4", "gbtree_model_param has"),
        (("trees", 1, "id"), 0, "tree 1 has the id 0"),
        (("trees", 1, "tree_param", "num_nodes"), "3", "its num_nodes is"),
        (("trees", 0, "parents", 1), 5, "parents contradict"),
        (("trees", 0, "sum_hessian"), [1.0], "sum_hessian must have one entry"),
    ],
)
def test_trees_that_contradict_themselves(
    document: dict[str, Any], path: tuple[Any, ...], value: Any, words: str
) -> None:
    table: Any = document["learner"]["gradient_booster"]["model"]
    for name in path[:-1]:
        table = table[name]
    table[path[-1]] = value
    refused(document, ModelError, words)


def test_feature_types_are_those_of_xgboost(document: dict[str, Any]) -> None:
    document["learner"]["feature_types"] = ["q", "qe9", "q", "q"]
    refused(document, ModelError, "the feature type 'qe9'")


def test_without_trees_the_base_score_was_no_margin_before_3_1() -> None:
    """XGBoost 2.1.4 and 3.0.5 wrote and predicted so: a margin of logit(1/2) = 0."""
    model = {
        "learner": {
            "learner_model_param": {
                "base_score": "5E-1", "boost_from_average": "1", "num_class": "0",
                "num_feature": "3", "num_target": "1",
            },
            "gradient_booster": {"name": "gbtree", "model": {
                "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": "0"},
                "iteration_indptr": [0], "tree_info": [], "trees": [],
            }},
            "objective": {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}},
            "attributes": {}, "feature_names": [], "feature_types": [],
        },
        "version": [2, 1, 4],
    }  # fmt: skip
    forest = load(json.dumps(model).encode())
    assert margins(forest, np.zeros((2, 3), np.float32)).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("options", [{}, {"base_score": 0.27}])
@pytest.mark.parametrize("objective", ["binary:logistic", "count:poisson"])
def test_models_without_trees(objective: str, options: dict[str, float]) -> None:
    xgboost = pytest.importorskip("xgboost")
    x, score = data()
    matrix = _matrix(x, label=(score > 0).astype(int))
    booster = xgboost.train({"objective": objective, **options}, matrix, 0)
    forest = load(booster)
    assert forest.num_trees == 0
    wanted = booster.predict(matrix, output_margin=True)  # -0.0 before 3.1, where we say 0.0
    np.testing.assert_array_equal(margins(forest, x).ravel(), wanted)
    ours = forest.compile("numpy").predict(x)
    np.testing.assert_allclose(ours, booster.predict(matrix), rtol=1e-6)
