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
    forests, more than two classes) or of the second one (boosting with two classes).

    Raises:
        UsageError: The estimator is not fitted.
        UnsupportedModelError: Another estimator, an initial estimator of boosting that is no
            constant, a classifier of several targets, categories that are neither texts nor
            whole numbers from 0 on.
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
    if hasattr(model, "classes_") and model.n_outputs_ != 1:
        message = f"{type(model).__name__} with {model.n_outputs_} targets is not supported"
        raise UnsupportedModelError(message)
    trees = [estimator.tree_ for estimator in estimators]
    values = [tree.value.reshape(tree.node_count, -1).astype(np.float64) for tree in trees]
    if hasattr(model, "classes_"):
        values = [_fractions(value) for value in values]
    width = values[0].shape[1]
    return Forest(
        **_common(model),
        **tree_fields(trees, values),
        tree_output=np.zeros(len(trees), dtype=np.int32),
        base=np.zeros(width),
        divisor=float(len(trees)),
        allow_nan=_allow_nan(estimators[0]),
    )


def _fractions(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fractions of the classes; before 1.3 trees held weighted counts."""
    total = value.sum(axis=1, keepdims=True)
    if np.allclose(total, 1, rtol=0, atol=1e-9):
        return value.copy()
    return value / np.where(total == 0, 1, total)


def _ada_boost(model: Any) -> Forest:
    """Votes of trees for one of two classes, weighted: ``decision_function``."""
    if len(model.classes_) != 2:
        message = (
            f"AdaBoostClassifier of {len(model.classes_)} classes is not supported, of 2 it is"
        )
        raise UnsupportedModelError(message)
    for estimator in model.estimators_:
        if type(estimator).__name__ != "DecisionTreeClassifier" or len(estimator.classes_) != 2:
            message = f"AdaBoostClassifier of {type(estimator).__name__} is not supported"
            raise UnsupportedModelError(message)
    trees = [estimator.tree_ for estimator in model.estimators_]
    weights = np.asarray(model.estimator_weights_, dtype=np.float64)[: len(trees)]
    values = [
        np.where(np.argmax(tree.value[:, 0, :], axis=1) == 1, 2 * weight, -2 * weight)[:, None]
        for tree, weight in zip(trees, weights.tolist(), strict=True)
    ]
    return Forest(
        **_common(model),
        **tree_fields(trees, values),
        tree_output=np.zeros(len(trees), dtype=np.int32),
        base=np.zeros(1),
        divisor=float(model.estimator_weights_.sum()),
        allow_nan=_allow_nan(model),
        link="sigmoid",
    )


def _gradient_boosting(model: Any) -> Forest:
    """Sum of the initial prediction and of ``learning_rate * leaf``."""
    init = model.init_
    if init != "zero" and type(init).__name__ not in {"DummyClassifier", "DummyRegressor"}:
        message = f"gradient boosting with init={type(init).__name__} is not supported"
        raise UnsupportedModelError(message)
    estimators = model.estimators_
    outputs = estimators.shape[1]
    trees = [estimator.tree_ for estimator in estimators.ravel()]
    values = [model.learning_rate * tree.value.reshape(-1, 1) for tree in trees]
    first = np.zeros((1, model.n_features_in_), dtype=np.float32)
    link, scale = _link(model)
    return Forest(
        **_common(model),
        **tree_fields(trees, values),
        tree_output=np.arange(len(trees), dtype=np.int32) % outputs,
        base=np.asarray(model._raw_predict_init(first), dtype=np.float64).reshape(outputs),
        allow_nan=False,
        link=link,
        link_scale=scale,
        trees_per_iteration=outputs,
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
    "ExtraTreesClassifier": _random_forest,
    "ExtraTreesRegressor": _random_forest,
    "GradientBoostingClassifier": _gradient_boosting,
    "GradientBoostingRegressor": _gradient_boosting,
    "HistGradientBoostingClassifier": _hist_gradient_boosting,
    "HistGradientBoostingRegressor": _hist_gradient_boosting,
    "RandomForestClassifier": _random_forest,
    "RandomForestRegressor": _random_forest,
}
