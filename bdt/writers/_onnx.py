"""A `Forest` as an ONNX model.

::

    features -> (missing to NaN) -> (categories rounded) -> trees -> (/ divisor) -> margin
    margin -> link -> prediction

float32 forests without categories become a TreeEnsembleRegressor (ai.onnx.ml 3), which every
runtime has; all others a TreeEnsemble (ai.onnx.ml 5). The base is a first tree of one leaf, so
that a runtime which adds tree after tree gets the library's own margins; one that sums in another
order (ONNX Runtime does over several threads for few rows) differs in the last bits. Predictions
follow the runtime's own exp. A sigmoid is written as ``1 / (1 + exp(-m))``: ONNX Runtime's
operator Sigmoid of float32 is off by 3.5e-4 at m = -9.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml._internal.onnx_graph import OnnxGraph
from rootml.bdt._forest import ZERO, Forest
from rootml.errors import UnsupportedModelError

_LEQ, _LT, _MEMBER = 0, 1, 6


def onnx_model(forest: Forest) -> Any:  # a ModelProto; onnx is optional and not imported here
    """The ModelProto: input ``features`` (rows, features), outputs ``margin`` and ``prediction``.

    Raises:
        MissingPackageError: The package onnx is not installed.
        UnsupportedModelError: The links "probit" and "softmax_zero", or float32 leaves behind
            float64 inputs.
    """
    graph = _ForestGraph(forest)
    graph.missing()
    graph.categories()
    graph.trees()
    graph.margin()
    graph.link()
    return graph.finish()


class _ForestGraph(OnnxGraph):
    """The graph so far, and the name of the value that the next node takes."""

    def __init__(self, forest: Forest) -> None:
        super().__init__(feature="Forest.to_onnx()")
        if forest.input_dtype == np.float64 and forest.dtype == np.float32:
            message = "float32 leaves behind float64 inputs: no tree operator of ONNX has both"
            raise UnsupportedModelError(message)
        self.forest = forest
        self.now = "features"
        self.inputs = forest.input_dtype
        self.is_old = forest.dtype == np.float32 and not forest.has_categories

    def then(self, kind: str, *others: str, output: str | None = None, **attributes: Any) -> str:
        """A node that takes the current value first; its output becomes the current value."""
        self.now = self.op(kind, self.now, *others, output=output, **attributes)
        return self.now

    def missing(self) -> None:
        """Values that count as missing become NaN."""
        forest = self.forest
        if not math.isnan(forest.missing):
            marker = self.constant(forest.missing, self.inputs)
            self.to_nan(self.op("Equal", self.now, marker))
        if np.any(forest.zero_missing):
            zero = self.constant(ZERO, self.inputs)
            near = self.op("LessOrEqual", self.op("Abs", self.now), zero)
            mask = self.constant(forest.zero_missing[None, :], bool)
            self.to_nan(self.op("And", near, mask))

    def to_nan(self, where: str) -> None:
        nan = self.constant(math.nan, self.inputs)
        self.now = self.op("Where", where, nan, self.now)

    def categories(self) -> None:
        """Categorical columns once more behind the others, as the whole numbers they stand for.

        What stands for no category becomes -1: runtimes may round what is not whole.
        """
        forest = self.forest
        if not forest.has_categories:
            return
        used = self.constant(_categorical(forest), np.int64)
        given = self.op("Gather", self.now, used, axis=1)
        whole = self.op("Floor", given)
        if forest.category_rule == "truncate":
            size = self.op("Floor", self.op("Abs", given))
            whole = self.op("Mul", self.op("Sign", given), size)
        elif forest.category_rule == "exact":
            none = self.constant(-1, self.inputs)
            nan = self.op("IsNaN", given)
            keep = self.op("Or", self.op("Equal", given, whole), nan)
            whole = self.op("Where", keep, given, none)
        self.now = self.op("Concat", self.now, whole, axis=1)

    def trees(self) -> None:
        if self.is_old:
            attributes = _regressor(self.forest)
            self.then("TreeEnsembleRegressor", domain="ai.onnx.ml", **attributes)
            return
        if self.inputs != self.forest.dtype:
            self.now = self.cast(self.now, np.float64)
        attributes = _ensemble(self.forest)
        for name, value in attributes.items():
            if isinstance(value, np.ndarray) and value.dtype.kind in "fu":
                attributes[name] = self.tensor(value, name)
        self.then("TreeEnsemble", domain="ai.onnx.ml", **attributes)

    def margin(self) -> None:
        forest = self.forest
        if forest.divisor != 1:
            self.then("Div", self.constant(forest.divisor, forest.dtype))
        if not forest.base_first:
            self.then("Add", self.constant(forest.base[None, :], forest.dtype))
        self.then("Identity", output="margin")

    def link(self) -> None:
        link = self.forest.link
        simple = {
            "exp": "Exp", "identity": "Identity", "softplus": "Softplus", "tanh": "Tanh",
        }  # fmt: skip
        if link in simple:
            self.then(simple[link], output="prediction")
        elif link == "softmax":
            self.scale()
            self.then("Softmax", axis=1, output="prediction")
        elif link == "signed_square":
            self.then("Mul", self.op("Abs", self.now), output="prediction")
        elif link in {"argmax", "hinge", "increments", "sigmoid", "sorted"}:
            getattr(self, link)()
        else:
            message = f"to_onnx() of a forest with the link {link!r}: no operator has it"
            raise UnsupportedModelError(message)

    def scale(self) -> None:
        if self.forest.link_scale != 1:
            self.then("Mul", self.constant(self.forest.link_scale, self.forest.dtype))

    def sigmoid(self) -> None:
        dtype = self.forest.dtype
        self.scale()
        self.then("Neg")
        self.then("Exp")
        self.then("Add", self.constant(1, dtype))
        self.then("Reciprocal", output="prediction")

    def argmax(self) -> None:
        self.then("ArgMax", axis=1, keepdims=1)
        self.then("Cast", to=self.type_number(self.forest.dtype), output="prediction")

    def hinge(self) -> None:
        self.then("Greater", self.constant(0, self.forest.dtype))
        self.then("Cast", to=self.type_number(self.forest.dtype), output="prediction")

    def sorted(self) -> None:
        count = self.constant([self.forest.num_outputs], np.int64)
        inputs, names = [self.now, count], ["prediction", "order"]
        node = self.onnx.helper.make_node("TopK", inputs, names, axis=1, largest=0)
        self.nodes.append(node)

    def increments(self) -> None:
        """The first margin, then steps of softplus, added up."""
        numbers = np.arange(self.forest.num_outputs)
        first, others = (
            self.op("Gather", self.now, self.constant(part, np.int64), axis=1)
            for part in (numbers[:1], numbers[1:])
        )
        steps = self.op("Add", self.op("Softplus", others), self.constant(1e-6, self.forest.dtype))
        self.now = self.op("Concat", first, steps, axis=1)
        self.then("CumSum", self.constant(1, np.int64), output="prediction")

    def finish(self) -> Any:  # a ModelProto
        """The ModelProto."""
        forest = self.forest
        width = 1 if forest.link == "argmax" else forest.num_outputs
        return self.model(
            "forest",
            {"features": (forest.input_dtype, ["rows", forest.num_features])},
            {
                "margin": (forest.dtype, ["rows", forest.num_outputs]),
                "prediction": (forest.dtype, ["rows", width]),
            },
            opset=17 if self.is_old else 18,
            ml_opset=3 if self.is_old else 5,
            ir_version=8 if self.is_old else 10,
            properties={"feature_names": "\n".join(forest.names), "objective": forest.objective},
        )


def _regressor(forest: Forest) -> dict[str, Any]:
    """Attributes of TreeEnsembleRegressor; the first tree is the base."""
    first = np.repeat(forest.tree_offset[:-1], np.diff(forest.tree_offset))
    tree = np.repeat(np.arange(forest.num_trees), np.diff(forest.tree_offset))
    inner = forest.feature >= 0
    number = np.arange(forest.num_nodes) - first
    leaf = np.flatnonzero(~inner)
    width, outputs = forest.leaf_width, forest.num_outputs
    targets = np.arange(outputs) if width > 1 else forest.tree_output[tree[leaf]]
    base = forest.base if forest.base_first else np.zeros_like(forest.base)
    mode = "BRANCH_LT" if forest.comparison == "<" else "BRANCH_LEQ"
    none = np.zeros(1, dtype=np.int64)
    return {
        "n_targets": outputs,
        "nodes_treeids": np.r_[none, tree + 1].tolist(),
        "nodes_nodeids": np.r_[none, number].tolist(),
        "nodes_featureids": np.r_[none, np.where(inner, forest.feature, 0)].tolist(),
        "nodes_values": np.r_[none, forest.threshold].astype(np.float32),
        "nodes_modes": ["LEAF", *np.where(inner, mode, "LEAF").tolist()],
        "nodes_truenodeids": np.r_[none, np.where(inner, forest.left - first, 0)].tolist(),
        "nodes_falsenodeids": np.r_[none, np.where(inner, forest.right - first, 0)].tolist(),
        "nodes_missing_value_tracks_true": np.r_[none, forest.default_left & inner].tolist(),
        "target_treeids": np.r_[np.zeros(outputs, int), np.repeat(tree[leaf] + 1, width)].tolist(),
        "target_nodeids": np.r_[np.zeros(outputs, int), np.repeat(number[leaf], width)].tolist(),
        "target_ids": np.r_[
            np.arange(outputs), np.tile(targets, len(leaf)) if width > 1 else targets
        ].tolist(),
        "target_weights": np.r_[base, forest.value[leaf].ravel()].astype(np.float32),
    }


def _ensemble(forest: Forest) -> dict[str, Any]:
    """Attributes of TreeEnsemble; a leaf has one target, so trees of vectors are repeated.

    A tree without a test, and the base, become a node whose two leaves are the same.
    """
    parts = [_bases(forest)]
    if forest.leaf_width == 1:
        parts.append(_part(forest, np.repeat(forest.tree_output, np.diff(forest.tree_offset)), 0))
    else:
        # one forest per target behind another: each output still sums its trees in their order
        parts += [
            _part(forest, np.full(forest.num_nodes, k), k) for k in range(forest.num_outputs)
        ]
    made: dict[str, NDArray[Any]] = {}
    for part in parts:
        inner, leaves = len(made.get("feature", ())), len(made.get("weight", ()))
        for side in ("true", "false"):
            part[side] = part[side] + np.where(part[f"{side}_leaf"], leaves, inner)
        part["root"] = part["root"] + inner
        made = {
            name: np.concatenate([made[name], value]) if made else value
            for name, value in part.items()
        }
    members = {"membership_values": made["members"]} if len(made["members"]) else {}
    return members | {
        "n_targets": forest.num_outputs,
        "aggregate_function": 1,
        "post_transform": 0,
        "tree_roots": made["root"].tolist(),
        "nodes_featureids": made["feature"].tolist(),
        "nodes_modes": made["mode"].astype(np.uint8),
        "nodes_splits": made["split"],
        "nodes_truenodeids": made["true"].tolist(),
        "nodes_falsenodeids": made["false"].tolist(),
        "nodes_trueleafs": made["true_leaf"].astype(int).tolist(),
        "nodes_falseleafs": made["false_leaf"].astype(int).tolist(),
        "nodes_missing_value_tracks_true": made["nan_true"].astype(int).tolist(),
        "leaf_targetids": made["target"].tolist(),
        "leaf_weights": made["weight"],
    }


def _bases(forest: Forest) -> dict[str, NDArray[Any]]:
    """A tree for each output whose leaves are its base."""
    outputs = np.arange(forest.num_outputs)
    base = forest.base if forest.base_first else np.zeros_like(forest.base)
    always = outputs >= 0
    return {
        "root": outputs,
        "feature": outputs * 0,
        "mode": outputs * 0,
        "split": np.zeros(len(outputs), dtype=forest.dtype),
        "true": 2 * outputs,
        "false": 2 * outputs + 1,
        "true_leaf": always,
        "false_leaf": always,
        "nan_true": ~always,
        "target": np.repeat(outputs, 2),
        "weight": np.repeat(base, 2),
        "members": np.zeros(0, dtype=forest.dtype),
    }


def _categorical(forest: Forest) -> NDArray[np.int64]:
    """The columns that any node takes for a category."""
    return np.unique(forest.feature[forest.category >= 0]).astype(np.int64)


def _part(forest: Forest, target: NDArray[Any], column: int) -> dict[str, NDArray[Any]]:
    """All trees with the leaf values of one column."""
    inner = forest.feature >= 0
    alone = ~inner & (forest.node_depth == 0)  # trees that are one leaf
    tests = np.flatnonzero(inner | alone)
    node_number = np.cumsum(inner | alone) - 1
    weight = np.concatenate([forest.value[~inner, column], forest.value[alone, column]])
    leaf_number = np.cumsum(~inner) - 1
    again = np.cumsum(alone) - 1 + int(np.sum(~inner))  # the second leaf of a lonely node
    left, right = forest.left[tests], forest.right[tests]
    lonely = alone[tests]

    def child(index: NDArray[Any], own: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        is_leaf = lonely | ~inner[index]
        at = np.where(is_leaf, leaf_number[index], node_number[index])
        return np.where(lonely, own[tests], at), is_leaf

    true, true_leaf = child(left, leaf_number)
    false, false_leaf = child(right, again)
    mode = _LT if forest.comparison == "<" else _LEQ
    sets = forest.category[tests]
    is_set = sets >= 0
    is_empty = np.zeros(len(tests), dtype=bool)  # runtimes want members: x < -inf is never true
    is_empty[is_set] = np.diff(forest.category_offset)[sets[is_set]] == 0
    copies = forest.num_features + np.searchsorted(_categorical(forest), forest.feature[tests])
    members = [
        np.append(forest.category_set(index), math.nan)
        for index in sets[is_set & ~is_empty].tolist()
    ]
    return {
        "root": node_number[forest.tree_offset[:-1]],
        "feature": np.where(lonely, 0, np.where(is_set, copies, forest.feature[tests])),
        "mode": np.where(is_empty, _LT, np.where(is_set, _MEMBER, mode)),
        "split": np.where(is_empty, -np.inf, forest.threshold[tests]).astype(forest.dtype),
        "true": true,
        "false": false,
        "true_leaf": true_leaf,
        "false_leaf": false_leaf,
        "nan_true": forest.default_left[tests] & ~lonely,
        "target": np.concatenate([target[~inner], target[alone]]),
        "weight": weight,
        "members": np.concatenate([np.zeros(0), *members]).astype(forest.dtype),
    }
