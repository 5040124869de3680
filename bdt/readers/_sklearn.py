"""Fitted estimators of scikit-learn (>= 1.5) held in memory; pickles are never opened.

Sources: ``_gb.py``, ``_forest.py`` and ``_hist_gradient_boosting/_predictor.pyx`` in
``sklearn/ensemble``, and ``sklearn/tree/_tree.pyx``. Trees of `tree_` compare float32 inputs with
float64 thresholds, which is the same as comparing with the threshold rounded down to float32. The
histogram kind compares float64 with float64. All additions are float64, in the order of the
estimators.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest, Link
from rootml.bdt.readers._join import joined_nodes
from rootml.errors import ModelError, UnsupportedModelError, UsageError

_LINKS: dict[str, tuple[Link, float]] = {
    "HalfLogitLink": ("sigmoid", 2.0),
    "IdentityLink": ("identity", 1.0),
    "LogLink": ("exp", 1.0),
    "LogitLink": ("sigmoid", 1.0),
    "MultinomialLogit": ("softmax", 1.0),
}


def read_sklearn(model: Any) -> Forest:
    """A forest from a fitted estimator.

    Regressors give their ``predict``; classifiers ``predict_proba`` of all classes (random
    forests, more than two classes) or of the second one (boosting with two classes). Of several
    targets the classes of the first come first. Trees of an initial estimator stand before those
    of the boosting, as one round or several.

    Raises:
        UsageError: The estimator is not fitted.
        UnsupportedModelError: Another estimator, an initial estimator of boosting that is not a
            constant, a tree or (of regression) boosted trees, categories that are neither texts
            nor whole numbers from 0 on.
    """
    names = {kind.__name__: kind for kind in type(model).__mro__}
    reader = next((reader for name, reader in _READERS.items() if name in names), None)
    if reader is None:
        message = (
            f"{type(model).__name__} of scikit-learn is not supported; supported: "
            f"{', '.join(sorted(_READERS))}"
        )
        raise UnsupportedModelError(message)
    if not hasattr(model, "n_features_in_"):
        message = f"this {type(model).__name__} is not trained"
        raise UsageError(message)
    return reader(model)


def _common(model: Any) -> dict[str, Any]:
    from sklearn import __version__

    names = getattr(model, "feature_names_in_", None)
    return {
        "num_features": int(model.n_features_in_),
        "comparison": "<=",
        "category_rule": "exact",
        "library": "sklearn",
        "library_version": str(getattr(model, "_sklearn_version", __version__)),
        "objective": str(getattr(model, "loss", None) or getattr(model, "criterion", "")),
        "feature_names": None if names is None else tuple(map(str, names)),
    }


# --- trees with `tree_` --------------------------------------------------------------------------


def floor32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 not above each float64.

    >>> floor32(np.array([0.1])).astype(float) <= 0.1
    array([ True])
    """
    with np.errstate(all="ignore"):
        rounded = values.astype(np.float32)
        return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def tree_fields(trees: Sequence[Any], values: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    """Fields of a `Forest` from `tree_` objects and the values of their nodes."""
    sizes = np.array([tree.node_count for tree in trees], dtype=np.int64)
    offset = np.concatenate([[0], np.cumsum(sizes)])
    first = np.repeat(offset[:-1], sizes)

    def joined(take: Callable[[Any], Any]) -> NDArray[Any]:
        return np.concatenate([np.asarray(take(tree)) for tree in trees])

    left = joined(lambda tree: tree.children_left)
    right = joined(lambda tree: tree.children_right)
    leaf = left < 0
    value = np.concatenate(values)
    value[leaf == 0] = 0
    weight = joined(lambda tree: tree.weighted_n_node_samples)
    bulk = weight * joined(lambda tree: tree.impurity)
    left, right = (np.where(leaf, -1, child + first) for child in (left, right))
    gain = np.where(leaf, 0, bulk - bulk[left] - bulk[right])
    return {
        "tree_offset": offset,
        "feature": np.where(leaf, -1, joined(lambda tree: tree.feature)),
        "threshold": floor32(np.where(leaf, 0.0, joined(lambda tree: tree.threshold))),
        "left": left,
        "right": right,
        "default_left": ~leaf & (joined(lambda tree: tree.missing_go_to_left) != 0),
        "value": value,
        "gain": gain,
        "cover": weight,
    }


def _allow_nan(tree: Any) -> bool:
    if hasattr(tree, "__sklearn_tags__"):
        return bool(tree.__sklearn_tags__().input_tags.allow_nan)
    return bool(tree._get_tags()["allow_nan"])


def _random_forest(model: Any) -> Forest:
    """The mean over the trees of their leaves: fractions of classes, or targets."""
    return _mean(model, list(model.estimators_))


def _decision_tree(model: Any) -> Forest:
    return _mean(model, [model])


def _mean(model: Any, estimators: list[Any]) -> Forest:
    trees = [estimator.tree_ for estimator in estimators]
    values = [_mean_leaves(tree, hasattr(model, "classes_")) for tree in trees]
    width = values[0].shape[1]
    return Forest(
        **_common(model),
        **tree_fields(trees, values),
        tree_output=np.zeros(len(trees), dtype=np.int32),
        base=np.zeros(width),
        divisor=float(len(trees)),
        allow_nan=_allow_nan(estimators[0]),
    )


def _mean_leaves(tree: Any, is_classifier: bool) -> NDArray[np.float64]:
    """Shape (nodes, outputs): targets, or the fractions of the classes of each target."""
    value: NDArray[np.float64] = tree.value.astype(np.float64)
    if not is_classifier:
        return value.reshape(tree.node_count, -1)
    counts = np.atleast_1d(tree.n_classes).tolist()
    parts = [_fractions(value[:, i, :n]) for i, n in enumerate(counts)]
    return np.concatenate(parts, axis=1)


def _fractions(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fractions of the classes; before 1.3 trees held weighted counts."""
    total = value.sum(axis=1, keepdims=True)
    if np.allclose(total, 1, rtol=0, atol=1e-9):
        return value.copy()
    return value / np.where(total == 0, 1, total)


def _ada_boost(model: Any) -> Forest:
    """Votes of trees for the classes, weighted: ``decision_function``."""
    for estimator in model.estimators_:
        if type(estimator).__name__ != "DecisionTreeClassifier":
            message = f"AdaBoostClassifier of {type(estimator).__name__} is not supported"
            raise UnsupportedModelError(message)
    count = len(model.classes_)
    weights = np.asarray(model.estimator_weights_, dtype=np.float64)[: len(model.estimators_)]
    values = [
        _votes(estimator, model.classes_, weight)
        for estimator, weight in zip(model.estimators_, weights.tolist(), strict=True)
    ]
    return Forest(
        **_common(model),
        **tree_fields([estimator.tree_ for estimator in model.estimators_], values),
        tree_output=np.zeros(len(values), dtype=np.int32),
        base=np.zeros(1 if count == 2 else count),
        divisor=float(model.estimator_weights_.sum()),
        allow_nan=_allow_nan(model),
        link="sigmoid" if count == 2 else "softmax",
        link_scale=1.0 / (count - 1),
    )


def _votes(estimator: Any, classes: NDArray[Any], weight: float) -> NDArray[np.float64]:
    """Shape (nodes, classes): `weight` for the class of a node, the rest shares its negative.

    Of two classes the difference of their votes, shape (nodes, 1).
    """
    chosen = estimator.classes_[np.argmax(estimator.tree_.value[:, 0, :], axis=1)]
    votes = np.where(chosen[:, None] == classes, weight, -1 / (len(classes) - 1) * weight)
    return votes[:, 1:] - votes[:, :1] if len(classes) == 2 else votes


def _gradient_boosting(model: Any) -> Forest:
    """Sum of the initial prediction and of ``learning_rate * leaf``."""
    estimators = model.estimators_
    outputs = estimators.shape[1]
    trees = [estimator.tree_ for estimator in estimators.ravel()]
    values = [model.learning_rate * tree.value.reshape(-1, 1) for tree in trees]
    link, scale = _link(model)
    boosted = Forest(
        **_common(model),
        **tree_fields(trees, values),
        tree_output=np.arange(len(trees), dtype=np.int32) % outputs,
        base=np.zeros(outputs),
        allow_nan=False,
        link=link,
        link_scale=scale,
        trees_per_iteration=outputs,
    )
    if _is_constant(model.init_):
        first = np.zeros((1, model.n_features_in_), dtype=np.float32)
        base = np.asarray(model._raw_predict_init(first), dtype=np.float64)
        return boosted.replace(base=base.reshape(outputs))
    return _after(_initial(model, boosted), boosted)


def _is_constant(init: Any) -> bool:
    """Whether an initial estimator gives the same for all events, at every call."""
    if isinstance(init, str):
        return init == "zero"
    name = type(init).__name__
    if name == "DummyClassifier" and init.strategy == "stratified":
        message = (
            "gradient boosting with init=DummyClassifier('stratified'), which draws at random"
        )
        raise UnsupportedModelError(message)
    return _is_own(init) and name in {"DummyClassifier", "DummyRegressor"}


def _is_own(estimator: Any) -> bool:
    return type(estimator).__module__.startswith("sklearn.")


def _initial(model: Any, boosted: Forest) -> Forest:
    """The trees of an initial estimator, with leaves that are raw predictions of the boosting."""
    init, name = model.init_, type(model.init_).__name__
    if _is_own(init) and not hasattr(model, "classes_") and name in _INITIAL_REGRESSORS:
        return _READERS[name](init)
    if _is_own(init) and hasattr(model, "classes_") and name in _INITIAL_CLASSIFIERS:
        epsilon = _smallest_share()
        shares = np.clip(_mean_leaves(init.tree_, True), epsilon, 1 - epsilon, dtype=np.float64)
        count = boosted.num_outputs
        raw = model._loss.link.link(shares if count > 1 else shares[:, 1]).reshape(-1, count)
        return boosted.replace(
            **tree_fields([init.tree_] * count, [raw[:, [k]] for k in range(count)]),
            tree_output=np.arange(count),
            category=np.zeros(0),
        )
    message = (
        f"gradient boosting with init={name} is not supported; supported are constants, "
        f"{', '.join(_INITIAL_CLASSIFIERS)} for classes and {', '.join(_INITIAL_REGRESSORS)} for "
        "regression"
    )
    raise UnsupportedModelError(message)


def _smallest_share() -> Any:
    """Where the installed scikit-learn cuts the shares of an initial classifier.

    As ``_init_raw_predictions()`` of ``sklearn/ensemble/_gb.py``; it is the installed version that
    predicts, whatever version has trained.
    """
    from sklearn import __version__

    fine = tuple(map(int, __version__.split(".")[:2])) >= (1, 8)
    return np.finfo(np.float64 if fine else np.float32).eps


def _after(first: Forest, boosted: Forest) -> Forest:
    """The trees of `first`, which compare in float32 here, as boosting casts its input; then those
    of `boosted`."""
    rounded = first.replace(threshold=floor32(first.threshold.astype(np.float64)))
    return boosted.replace(
        **joined_nodes([rounded, boosted]),
        tree_output=np.r_[first.tree_output, boosted.tree_output],
        feature_categories=first.feature_categories,
        base=first.base,
    )


def _multi_output(model: Any) -> Forest:
    """One estimator for each target: their outputs, beside one another."""
    forests = [read_sklearn(estimator) for estimator in model.estimators_]
    shared = ("link", "link_scale", "divisor", "base_first", "input_dtype", "allow_nan")
    first = forests[0]
    differ = [name for name in shared if len({getattr(each, name) for each in forests}) > 1]
    if differ or first.link == "softmax" or any(each.leaf_width > 1 for each in forests):
        message = (
            f"{type(model).__name__} of {type(model.estimators_[0]).__name__}: read are boosted "
            "trees of regression or two classes for each target, with one link for all of them"
        )
        raise UnsupportedModelError(message)
    starts = np.cumsum([0, *(each.num_outputs for each in forests)]).tolist()
    outputs = [each.tree_output + k for each, k in zip(forests, starts, strict=False)]
    return first.replace(
        **joined_nodes(forests),
        tree_output=np.concatenate(outputs),
        base=np.concatenate([each.base for each in forests]),
        trees_per_iteration=sum(each.num_trees for each in forests),
    )


def _link(model: Any) -> tuple[Link, float]:
    name = type(model._loss.link).__name__
    if name not in _LINKS:
        message = (
            f"the loss {model.loss!r} of {type(model).__name__} (link {name}) is not supported"
        )
        raise UnsupportedModelError(message)
    return _LINKS[name]


# --- histogram gradient boosting -----------------------------------------------------------------


@dataclass(frozen=True)
class _Columns:
    """What the estimator's own preprocessing does with the columns.

    Attributes:
        order: Column of the user's that each column of the trees is.
        members: For a categorical column of the trees, what its codes 0, 1, ... are in the
            user's data.
        names: The same as texts where the user's data are no numbers.
    """

    order: NDArray[np.int64]
    members: dict[int, NDArray[np.int64]]
    names: tuple[tuple[str | int | float, ...] | None, ...] | None


def _hist_gradient_boosting(model: Any) -> Forest:
    columns = _columns(model)
    predictors = list(itertools.chain.from_iterable(model._predictors))
    outputs = int(model.n_trees_per_iteration_)
    sizes = np.array([len(one.nodes) for one in predictors], dtype=np.int64)
    offset = np.concatenate([[0], np.cumsum(sizes)])
    first = np.repeat(offset[:-1], sizes)
    nodes = np.concatenate([one.nodes for one in predictors])
    leaf = nodes["is_leaf"] != 0
    is_set = ~leaf & (nodes["is_categorical"] != 0)
    to_left = nodes["missing_go_to_left"] != 0
    swap = is_set & to_left  # the set is then of what is known and goes right
    left, right = (
        np.where(leaf, -1, nodes[side].astype(np.int64) + first) for side in ("left", "right")
    )
    sets = _sets(predictors, nodes, is_set, sizes, columns)
    category = np.full(len(nodes), -1)
    category[is_set] = np.arange(len(sets))
    link, scale = _link(model)
    return Forest(
        **_common(model),
        tree_offset=offset,
        feature=np.where(leaf, -1, columns.order[np.where(leaf, 0, nodes["feature_idx"])]),
        threshold=np.where(leaf | is_set, 0.0, nodes["num_threshold"]),
        left=np.where(swap, right, left),
        right=np.where(swap, left, right),
        default_left=~leaf & ~is_set & to_left,
        value=np.where(leaf, nodes["value"], 0.0)[:, None],
        tree_output=np.arange(len(predictors), dtype=np.int32) % outputs,
        base=np.asarray(model._baseline_prediction, dtype=np.float64).reshape(outputs),
        category=category,
        category_offset=np.cumsum([0, *map(len, sets)]),
        category_values=np.concatenate([np.zeros(0, np.int64), *sets]),
        link=link,
        link_scale=scale,
        feature_categories=columns.names,
        trees_per_iteration=outputs,
        gain=np.where(leaf, 0.0, nodes["gain"]),
        cover=nodes["count"].astype(np.float64),
    )


def _columns(model: Any) -> _Columns:
    flags = getattr(model, "is_categorical_", None)
    if flags is None:
        return _Columns(np.arange(model.n_features_in_), {}, None)
    if getattr(model, "_preprocessor", None) is None:
        message = "categorical features of scikit-learn before 1.4: train again with a newer one"
        raise UnsupportedModelError(message)
    order = np.concatenate([np.flatnonzero(flags), np.flatnonzero(~flags)])
    encoder = model._preprocessor.named_transformers_["encoder"]
    members: dict[int, NDArray[np.int64]] = {}
    names: list[tuple[str | int | float, ...] | None] = [None] * len(order)
    for column, categories in enumerate(encoder.categories_):
        known = [one for one in np.asarray(categories).tolist() if not _is_missing(one)]
        members[column] = np.arange(len(known))
        if all(isinstance(one, str) for one in known):
            names[order[column]] = tuple(known)
        elif all(isinstance(one, int | float) and one >= 0 and one == int(one) for one in known):
            members[column] = np.array(known, dtype=np.int64)
        else:
            message = (
                f"categories of feature {order[column]} that are neither strings nor whole "
                f"numbers >= 0: {known[:5]}"
            )
            raise UnsupportedModelError(message)
    return _Columns(order, members, tuple(names) if any(names) else None)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _sets(
    predictors: Sequence[Any],
    nodes: NDArray[Any],
    is_set: NDArray[np.bool_],
    sizes: NDArray[np.int64],
    columns: _Columns,
) -> list[NDArray[np.int64]]:
    """For each categorical node the categories that go left, or right if the rest goes left.

    The predictor sends a category in its bitset left, another known one right, and an unknown
    one where missing values go.
    """
    tree = np.repeat(np.arange(len(sizes)), sizes)
    made = []
    for n in np.flatnonzero(is_set).tolist():
        bitset = predictors[tree[n]].raw_left_cat_bitsets[nodes["bitset_idx"][n]]
        bits = np.unpackbits(np.ascontiguousarray(bitset, "<u4").view(np.uint8), bitorder="little")
        members = columns.members.get(int(nodes["feature_idx"][n]))
        if members is None or len(members) > len(bits):
            message = "a categorical test of a feature without categories"
            raise ModelError(message)
        goes_left = bits[: len(members)] != 0
        chosen = ~goes_left if nodes["missing_go_to_left"][n] else goes_left
        made.append(np.sort(members[chosen]))
    return made


_READERS: dict[str, Callable[[Any], Forest]] = {
    "AdaBoostClassifier": _ada_boost,
    "DecisionTreeClassifier": _decision_tree,
    "DecisionTreeRegressor": _decision_tree,
    "ExtraTreeClassifier": _decision_tree,
    "ExtraTreeRegressor": _decision_tree,
    "ExtraTreesClassifier": _random_forest,
    "ExtraTreesRegressor": _random_forest,
    "GradientBoostingClassifier": _gradient_boosting,
    "GradientBoostingRegressor": _gradient_boosting,
    "HistGradientBoostingClassifier": _hist_gradient_boosting,
    "HistGradientBoostingRegressor": _hist_gradient_boosting,
    "MultiOutputClassifier": _multi_output,
    "MultiOutputRegressor": _multi_output,
    "RandomForestClassifier": _random_forest,
    "RandomForestRegressor": _random_forest,
}
_INITIAL_CLASSIFIERS = ("DecisionTreeClassifier", "ExtraTreeClassifier")
_INITIAL_REGRESSORS = (
    "DecisionTreeRegressor", "ExtraTreeRegressor", "GradientBoostingRegressor",
    "HistGradientBoostingRegressor",
)  # fmt: skip
