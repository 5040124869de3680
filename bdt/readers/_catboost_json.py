"""CatBoost's JSON, as ``save_model(path, format="json")`` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt.readers._catboost_parts import MAX_OUTPUTS, Parts, Split, Tree, symmetric_tree
from rootml.bdt.readers._fields import (
    INT32,
    entry,
    items,
    mapping,
    numbers,
    only_known,
    parse_json,
    text,
    whole,
)
from rootml.errors import ModelError, UnsupportedModelError

_KINDS = ("float_features", "categorical_features", "text_features", "embedding_features")
_FEATURES = {*_KINDS, "cat_features_hash", "ctrs"}
_NAN_TREATMENTS = ("AsIs", "AsFalse", "AsTrue")
_NODE = {"left", "right", "split", "value", "weight"}
_TOP = {
    "ctr_data", "features_info", "model_info", "oblivious_trees", "scale_and_bias", "trees",
}  # fmt: skip


def is_catboost_json(document: Any) -> bool:
    """Whether parsed JSON is a model of CatBoost."""
    return isinstance(document, Mapping) and "features_info" in document


def parts_of_json(document: Any) -> Parts:
    """The parts of a parsed model.

    Raises:
        ModelError: Damaged.
        UnsupportedModelError: A test of something else than a number or a category.
    """
    only_known(document, _TOP, "the model")
    features = mapping(document, "features_info")
    only_known(features, _FEATURES, "features_info")
    columns = _columns(features)
    reader = _Splits(columns)
    scale_and_bias = items(document, "scale_and_bias")
    if len(scale_and_bias) != 2:
        message = f"scale_and_bias has {len(scale_and_bias)} entries, not 2"
        raise ModelError(message)
    bias = _floats(scale_and_bias[1], "scale_and_bias")
    info = mapping(document, "model_info")
    check_classes(info.get("class_params"))
    trees = (
        [_symmetric(tree, reader, len(bias)) for tree in items(document, "oblivious_trees")]
        if "oblivious_trees" in document
        else [_other(tree, reader, len(bias)) for tree in items(document, "trees")]
    )
    return Parts(
        names=_names(columns),
        categorical={flat for (kind, _), (flat, _) in columns.items() if kind == _KINDS[1]},
        nan_yes=_nan_yes(features),
        splits=reader.splits,
        trees=trees,
        scale=float(_floats([scale_and_bias[0]], "scale_and_bias")[0]),
        bias=bias,
        loss=loss_of(info.get("params")),
        version=str(info.get("catboost_version_info", "")),
        texts=_texts(features),
    )


def loss_of(params: Any) -> str:
    """Name of the loss function in the parameters of the training; "" where there are none.

    Sums of models have none: their ``predict`` gives sums of leaves.
    """
    if params is None:
        return ""
    params = parse_json(params) if isinstance(params, str) else params
    return text(params, "loss_function", "type")


def check_classes(params: Any) -> None:
    """Refuse classes without events, for which CatBoost predicts further columns.

    Args:
        params: ``class_params`` of the model.

    Raises:
        UnsupportedModelError: There are some.
    """
    if not params:
        return
    params = parse_json(params) if isinstance(params, str) else params
    seen = items(params, "class_to_label") if "class_to_label" in params else []
    named = items(params, "class_names") if "class_names" in params else []
    count = whole(params, "classes_count") if "classes_count" in params else 0
    if seen and max(count, len(named)) > len(seen):
        message = (
            f"a CatBoost model of {max(count, len(named))} classes (classes_count, class_names), "
            f"of which the training saw {len(seen)}: train it with the classes that there are"
        )
        raise UnsupportedModelError(message)


def _floats(values: Any, name: str) -> NDArray[np.float64]:
    array = numbers(values, name, "iuf").astype(np.float64)
    if not 1 <= len(array) <= MAX_OUTPUTS or not np.all(np.isfinite(array)):
        message = f"{name} must hold finite numbers"
        raise ModelError(message)
    return array


# --- features ------------------------------------------------------------------------------------

_Columns = dict[tuple[str, int], tuple[int, str]]
"""From a kind of features and the number in it to the column and its name."""


def _columns(features: Mapping[str, Any]) -> _Columns:
    made: _Columns = {}
    for kind in _KINDS:
        for one in items(features, kind) if kind in features else []:
            key = kind, whole(one, "feature_index")
            if key in made:
                message = f"two of {kind} have the feature_index {key[1]}"
                raise ModelError(message)
            name = one.get("feature_name") or one.get("feature_id", "")
            made[key] = whole(one, "flat_feature_index"), str(name)
    return made


def _names(columns: _Columns) -> list[str]:
    names = dict(columns.values())
    if len(names) != len(columns) or sorted(names) != list(range(len(names))):
        message = "the flat_feature_index of the features do not count from 0"
        raise ModelError(message)
    return [names[column] for column in range(len(names))]


def _nan_yes(features: Mapping[str, Any]) -> set[int]:
    found = set()
    for one in items(features, "float_features") if "float_features" in features else []:
        treatment = text(one, "nan_value_treatment")
        if treatment not in _NAN_TREATMENTS:
            message = f"nan_value_treatment is {treatment!r:.40}; one of {_NAN_TREATMENTS}"
            raise UnsupportedModelError(message)
        if treatment == "AsTrue":
            found.add(whole(one, "flat_feature_index"))
    return found


def _texts(features: Mapping[str, Any]) -> dict[int, str]:
    known = items(features, "cat_features_hash") if "cat_features_hash" in features else []
    return {whole(one, "hash", maximum=2**32 - 1): text(one, "value") for one in known}


# --- trees ---------------------------------------------------------------------------------------


class _Splits:
    """Tests of the trees, each of them once."""

    def __init__(self, columns: _Columns) -> None:
        self._columns = columns
        self._index: dict[Split, int] = {}

    @property
    def splits(self) -> list[Split]:
        return list(self._index)

    def add(self, table: Any) -> int:
        """Index of the test that `table` describes."""
        return self._index.setdefault(self._read(table), len(self._index))

    def _read(self, table: Any) -> Split:
        kind = text(table, "split_type")
        if kind == "FloatFeature":
            column = self._column("float_features", whole(table, "float_feature_index"))
            border = numbers([entry(table, "border")], "border", "iuf")[0]
            return Split(column, float(np.float32(border)))
        if kind == "OneHotFeature":
            column = self._column("categorical_features", whole(table, "cat_feature_index"))
            value = whole(table, "value", minimum=-(2**31), maximum=INT32)
            return Split(column, category=value & 0xFFFFFFFF)
        message = (
            f"a test of the type {kind!r:.40}: CatBoost's statistics of categories (CTR), texts "
            "and embeddings are not supported; numbers and one-hot categories are "
            "(one_hot_max_size=)"
        )
        raise UnsupportedModelError(message)

    def _column(self, kind: str, number: int) -> int:
        if (kind, number) not in self._columns:
            message = f"a test of number {number} of {kind}, which the model does not have"
            raise ModelError(message)
        return self._columns[kind, number][0]


def _symmetric(table: Any, reader: _Splits, outputs: int) -> Tree:
    only_known(
        mapping({"tree": table}, "tree"), {"leaf_values", "leaf_weights", "splits"}, "a tree"
    )
    splits = items(table, "splits") if table.get("splits") else []
    value = numbers(items(table, "leaf_values"), "leaf_values", "iuf").astype(np.float64)
    if len(value) % outputs:
        message = f"{len(value)} leaf_values for {outputs} outputs"
        raise ModelError(message)
    weight = items(table, "leaf_weights") if "leaf_weights" in table else []
    return symmetric_tree(
        np.array([reader.add(one) for one in splits], dtype=np.int64),
        value.reshape(-1, outputs),
        numbers(weight, "leaf_weights", "iuf").astype(np.float64),
    )


def _other(root: Any, reader: _Splits, outputs: int) -> Tree:
    """A tree of nested tables; nodes are numbered as they are met, parents first."""
    rows: list[list[int]] = []
    values: list[NDArray[np.float64]] = []
    weights: list[float] = []
    waiting: list[tuple[Any, int, int]] = [(root, -1, 0)]
    while waiting:
        table, parent, side = waiting.pop()
        if parent >= 0:
            rows[parent][side] = len(rows)
        only_known(mapping({"node": table}, "node"), _NODE, "a node")
        inner = "split" in table
        if inner:
            waiting += [
                (entry(table, "right"), len(rows), 2),
                (entry(table, "left"), len(rows), 1),
            ]
        rows.append([reader.add(table["split"]) if inner else -1, -1, -1])
        values.append(np.zeros(outputs) if inner else _value(table, outputs))
        weights.append(0.0 if inner else float(_floats([table.get("weight", 0)], "weight")[0]))
    split, no, yes = np.array(rows, dtype=np.int64).T
    leaf = np.where(split < 0, np.cumsum(split < 0) - 1, 0)
    return Tree(split, no, yes, leaf, np.array(values), np.array(weights))


def _value(table: Any, outputs: int) -> NDArray[np.float64]:
    found = entry(table, "value")
    value = _floats(found if isinstance(found, list) else [found], "value")
    if len(value) != outputs:
        message = f"a leaf with {len(value)} values for {outputs} outputs"
        raise ModelError(message)
    return value
