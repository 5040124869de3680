"""ONNX: TreeEnsembleRegressor, TreeEnsembleClassifier, and TreeEnsemble of ai.onnx.ml 5.

Semantics from the operators' specification and, where it is silent, from ONNX Runtime
(``onnxruntime/core/providers/cpu/ml/tree_ensemble_aggregator.h``): leaves are added in the type of
the thresholds, tree after tree, the base last. A test of equality becomes a category set. Scores
that are multiplied by a constant, or are the sum of several ensembles, agree to a few ulp: the
order of rounding differs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml._internal.optional import optional_import
from rootml.bdt._forest import Forest, Link
from rootml.bdt._structure import order_by_tree
from rootml.bdt.readers._join import joined_nodes
from rootml.bdt.readers._onnx_equality import (
    EQ,
    GT,
    GTE,
    LEQ,
    LT,
    MEMBER,
    MODES,
    NEQ,
    Trees,
    with_numeric_tests,
)
from rootml.bdt.readers._onnx_graph import check_graph
from rootml.bdt.readers._onnx_tail import OPERATORS, Behind, behind, summed
from rootml.errors import ModelError, UnsupportedModelError

_LINKS: dict[str, Link] = {
    "LOGISTIC": "sigmoid",
    "NONE": "identity",
    "PROBIT": "probit",
    "SOFTMAX": "softmax",
    "SOFTMAX_ZERO": "softmax_zero",
}
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
_ENSEMBLES = {"TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"}
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}
_MAX_VALUES = 2**27  # nodes x outputs


def read_onnx(data: bytes | Any) -> Forest:
    """A forest from the bytes of an ONNX model, or from a ModelProto.

    A classifier of two classes with one score gives the score of the second class.

    Raises:
        MissingPackageError: The package onnx is not installed.
        ModelError: Damaged.
        UnsupportedModelError: Other operators than one tree ensemble or a sum of regressors, and
            what `rootml.bdt.readers._onnx_tail` knows; aggregates MIN and MAX.
    """
    onnx = optional_import("onnx", feature="reading an ONNX model", extra="onnx")
    if isinstance(data, bytes):
        try:
            data = onnx.load_model_from_string(data)
        except Exception as error:
            message = f"the file is not an ONNX model: {type(error).__name__}"
            raise ModelError(message) from error
    nodes = _ensembles(data.graph)
    check_graph(onnx, data)
    forests = [_read(onnx, data.graph, node) for node in nodes]
    scores = summed(data.graph, [_scores(node) for node in nodes])
    found = behind(onnx, data, scores, forests[0].dtype)
    return _with_behind(forests[0] if len(forests) == 1 else _sum(forests), found)


def _scores(node: Any) -> str:
    """Name of the scores that an ensemble gives."""
    return str(node.output[1 if node.op_type == "TreeEnsembleClassifier" else 0])


def _read(onnx: Any, graph: Any, node: Any) -> Forest:
    """The forest of one ensemble."""
    width, dtype = _input(onnx, graph, node)
    given = _attributes(onnx, node)
    try:
        made = (
            _scattered(given, dtype)
            if node.op_type == "TreeEnsemble"
            else _listed(given, dtype, node.op_type)
        )
        return _forest(*made, given, width, node.op_type)
    except (KeyError, TypeError, OverflowError) as error:
        message = f"{node.op_type} with missing or wrong attributes: {error}"
        raise ModelError(message) from error


def _sum(forests: list[Forest]) -> Forest:
    """The trees of all ensembles, whose scores the graph adds up."""
    first = forests[0]
    shared = ("divisor", "link", "num_features", "num_outputs")
    if any(getattr(each, name) != getattr(first, name) for each in forests for name in shared):
        message = f"a sum of tree ensembles that differ in one of {', '.join(shared)}"
        raise UnsupportedModelError(message)
    if first.link != "identity":
        message = f"a sum of tree ensembles that transform their scores ({first.link})"
        raise UnsupportedModelError(message)
    alike = [_less_or_equal(each) for each in forests]
    return alike[0].replace(
        **joined_nodes(alike),
        tree_output=np.concatenate([each.tree_output for each in alike]),
        base=np.sum([each.base for each in alike], axis=0, dtype=first.dtype),
    )


def _less_or_equal(forest: Forest) -> Forest:
    """The same with tests ``x <= t`` where they are ``x < t``."""
    if forest.comparison == "<=":
        return forest
    numeric = (forest.feature >= 0) & (forest.category < 0)
    if np.any(np.isneginf(forest.threshold[numeric])):
        message = "tests x < -inf in a sum of tree ensembles"
        raise UnsupportedModelError(message)
    with np.errstate(all="ignore"):
        below = np.nextafter(forest.threshold, forest.threshold.dtype.type(-np.inf))
    return forest.replace(threshold=np.where(numeric, below, forest.threshold), comparison="<=")


def _with_behind(forest: Forest, found: Behind) -> Forest:
    """With the factor, the summand and the link of the operators behind the trees."""
    changed = forest
    if found.factor != 1 or found.summand != 0:
        if forest.link != "identity":
            message = f"scores that are transformed ({forest.link}), then scaled or shifted"
            raise UnsupportedModelError(message)
        kind = forest.dtype.type
        changed = forest.replace(
            divisor=forest.divisor / found.factor,
            base=forest.base * kind(found.factor) + kind(found.summand),
        )
    if found.link == "identity":
        return changed
    if forest.link != "identity":
        message = f"scores that are transformed ({forest.link}), and by {found.link} once more"
        raise UnsupportedModelError(message)
    return changed.replace(link=found.link)


def _ensembles(graph: Any) -> list[Any]:
    """The tree ensembles of a graph."""
    found = [n for n in graph.node if n.op_type in _ENSEMBLES and n.domain in _DOMAINS]
    others = {str(n.op_type) for n in graph.node if n not in found} - OPERATORS
    if (
        not found
        or others
        or (len(found) > 1 and any(n.op_type == "TreeEnsembleClassifier" for n in found))
    ):
        names = ", ".join(sorted(others)) or "no"
        message = (
            f"an ONNX graph of {len(found)} tree ensembles and of {names} other operators; one "
            "ensemble or a sum of regressors can be read, behind it "
            f"{', '.join(sorted(OPERATORS))}"
        )
        raise UnsupportedModelError(message)
    return found


def _input(onnx: Any, graph: Any, node: Any) -> tuple[int, np.dtype[Any]]:
    """The width of an ensemble's input (0 if unknown) and the dtype."""
    inputs = {one.name: one.type.tensor_type for one in graph.input}
    if len(node.input) != 1 or node.input[0] not in inputs or len(inputs) != 1:
        message = f"{node.op_type} does not take the one input of the graph as it is"
        raise UnsupportedModelError(message)
    tensor = inputs[node.input[0]]
    kinds = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.DOUBLE: np.float64}
    if tensor.elem_type not in kinds:
        message = f"an ONNX model whose input has the element type {tensor.elem_type}"
        raise UnsupportedModelError(message)
    shape = tensor.shape.dim
    width = int(shape[1].dim_value) if len(shape) == 2 else 0
    return width, np.dtype(kinds[tensor.elem_type])


def _attributes(onnx: Any, node: Any) -> dict[str, Any]:
    """Attributes by name: numbers and texts, or arrays."""
    made: dict[str, Any] = {}
    for one in node.attribute:
        value = onnx.helper.get_attribute_value(one)
        if isinstance(value, onnx.TensorProto):
            if value.external_data or value.data_location == onnx.TensorProto.EXTERNAL:
                message = f"{one.name} is stored in another file; external data is not supported"
                raise UnsupportedModelError(message)
            try:
                value = onnx.numpy_helper.to_array(value)
            except Exception as error:
                message = f"{one.name} is a damaged tensor"
                raise ModelError(message) from error
        elif isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif not isinstance(value, int | float):
            try:
                value = list(value)
            except TypeError as error:
                message = f"the attribute {one.name!r:.40} has no value"
                raise ModelError(message) from error
        made[str(one.name)] = value  # bytes that are not UTF-8 are replaced
    return made


def _integers(given: dict[str, Any], name: str, count: int | None = None) -> NDArray[np.int64]:
    return _array(given, name, np.int64, count)


def _array(given: dict[str, Any], name: str, dtype: Any, count: int | None) -> NDArray[Any]:
    try:
        array = np.asarray(given[name], dtype=dtype)
    except (ValueError, OverflowError) as error:
        message = f"{name} must hold numbers"
        raise ModelError(message) from error
    if array.ndim != 1 or (count is not None and len(array) != count):
        message = f"{name} has the shape {array.shape}, expected {count} entries"
        raise ModelError(message)
    return array


def _floats(
    given: dict[str, Any], name: str, dtype: np.dtype[Any], count: int | None = None
) -> NDArray[Any]:
    """An attribute of floats, or its twin that holds a tensor of any precision."""
    name = name if name in given else f"{name}_as_tensor"
    array = _array(given, name, None, count)
    if array.dtype == np.float64 and dtype == np.float32 and name.endswith("tensor"):
        message = f"{name} has float64 for an input of float32"
        raise UnsupportedModelError(message)
    return array.astype(dtype)


# --- TreeEnsembleRegressor and Classifier: one entry per node, leaves among them -----------------


def _listed(
    given: dict[str, Any], dtype: np.dtype[Any], kind: str
) -> tuple[Trees, int, NDArray[Any]]:
    """The trees, the number of outputs and the bases."""
    tree = _integers(given, "nodes_treeids")
    count = len(tree)
    number = _integers(given, "nodes_nodeids", count)
    modes = given["nodes_modes"]
    if len(modes) != count or not count:
        message = f"nodes_modes has {len(modes)} entries for {count} nodes"
        raise ModelError(message)
    names = [one.decode(errors="replace") if isinstance(one, bytes) else one for one in modes]
    if unknown := set(names) - {*MODES[:-1], "LEAF"}:
        message = f"nodes_modes has {min(unknown)!r:.40}"
        raise UnsupportedModelError(message)
    leaf = np.array([name == "LEAF" for name in names])
    mode = np.array([0 if name == "LEAF" else MODES.index(name) for name in names])
    find = _finder(tree, number)
    true, false = (
        np.where(leaf, -1, find(tree, _integers(given, f"nodes_{side}nodeids", count), leaf))
        for side in ("true", "false")
    )
    first = np.sort(np.unique(tree, return_index=True)[1])  # a tree's first node is its root
    tracks = _tracks(given, count)
    prefix = "target" if kind == "TreeEnsembleRegressor" else "class"
    outputs, ids = _outputs(given, kind)
    _check_size(count, outputs)
    node = find(
        _integers(given, f"{prefix}_treeids", len(ids)),
        _integers(given, f"{prefix}_nodeids", len(ids)),
        np.zeros(len(ids), dtype=bool),
    )
    value = np.zeros((count, outputs), dtype=dtype)
    if np.any(ids < 0) or np.any(ids >= outputs) or np.any(~leaf[node]):
        message = f"{prefix}_ids beyond the {outputs} outputs, or weights of inner nodes"
        raise ModelError(message)
    np.add.at(value, (node, ids), _floats(given, f"{prefix}_weights", dtype, len(ids)))
    bases = _bases(given, dtype, outputs)
    if outputs > 1:
        _check_scores(kind, bases, bool(_given_bases(given)), _covered(tree, leaf, node, ids))
    trees = Trees(
        roots=first,
        feature=np.where(leaf, -1, _integers(given, "nodes_featureids", count)),
        mode=mode,
        split=_floats(given, "nodes_values", dtype, count),
        true=true,
        false=false,
        nan_true=tracks & ~leaf,
        value=value,
        members={},
    )
    return trees, outputs, bases


def _covered(
    tree: NDArray[np.int64],
    leaf: NDArray[np.bool_],
    node: NDArray[np.int64],
    ids: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """The outputs to which every event adds a weight: those of all leaves of at least one tree."""
    present = np.zeros((len(tree), int(ids.max(initial=0)) + 1), dtype=bool)
    present[node, ids] = True
    _, number = np.unique(tree, return_inverse=True)
    absent = np.zeros((int(number.max(initial=0)) + 1, present.shape[1]), dtype=np.int64)
    np.add.at(absent, number[leaf], ~present[leaf])
    covered: NDArray[np.bool_] = np.any(absent == 0, axis=0)
    return covered


def _check_scores(
    kind: str, bases: NDArray[Any], has_bases: bool, covered: NDArray[np.bool_]
) -> None:
    """Refuse scores of which ONNX says nothing, and which ONNX Runtime gives in a way of its own.

    It leaves out the base of a target that no leaf of the event has, and mixes the two scores of
    a classifier of two classes if there are bases, or if no leaf has the second class.
    """
    missing = np.ones(len(bases), dtype=bool)
    missing[: len(covered)] = ~covered
    if kind == "TreeEnsembleRegressor" and np.any(missing & (bases != 0)):
        message = f"base_values of target {int(np.argmax(missing))}, to which not all leaves add,"
    elif kind == "TreeEnsembleClassifier" and len(bases) == 2 and (has_bases or missing[1]):
        message = "two classes with base_values, or with leaves without the second class,"
    else:
        return
    message = f"{message} have no meaning defined by ONNX in a {kind}"
    raise UnsupportedModelError(message)


def _tracks(given: dict[str, Any], count: int) -> NDArray[np.bool_]:
    """Whether NaN takes the true branch whatever the test; false if the attribute is left out."""
    name = "nodes_missing_value_tracks_true"
    return _integers(given, name, count) != 0 if given.get(name) else np.zeros(count, dtype=bool)


def _check_size(nodes: int, outputs: int) -> None:
    if nodes * outputs > _MAX_VALUES:
        message = f"{nodes} nodes with {outputs} outputs each"
        raise UnsupportedModelError(message)


def _finder(
    tree: NDArray[np.int64], number: NDArray[np.int64]
) -> Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]], NDArray[np.int64]]:
    """A function from (tree, node number) to the index in the list of nodes."""
    order = np.lexsort((number, tree))
    keys = np.stack([tree[order], number[order]])
    if np.any(np.all(keys[:, 1:] == keys[:, :-1], axis=0)):
        message = "two nodes of a tree have the same number"
        raise ModelError(message)
    trees, rank = np.unique(tree, return_inverse=True)
    low, span = int(number.min()), int(number.max()) - int(number.min()) + 1
    if span > 2**62 // max(1, len(trees)):
        message = "the range of nodes_nodeids is too wide"
        raise ModelError(message)
    code = rank.astype(np.int64) * span + (number - low)
    order = np.argsort(code)

    def find(
        in_tree: NDArray[np.int64], wanted: NDArray[np.int64], ignored: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        row = np.minimum(np.searchsorted(trees, in_tree), len(trees) - 1)
        inside = (wanted >= low) & (wanted < low + span) & (trees[row] == in_tree)
        key = row * span + np.where(inside, wanted - low, 0)
        at = order[np.minimum(np.searchsorted(code[order], key), len(order) - 1)]
        if np.any(~ignored & (~inside | (code[at] != key))):
            message = "a node refers to a node that does not exist"
            raise ModelError(message)
        return at

    return find


def _outputs(given: dict[str, Any], kind: str) -> tuple[int, NDArray[np.int64]]:
    """How many outputs, and the output of each weight."""
    if kind == "TreeEnsembleRegressor":
        return max(1, int(given.get("n_targets", 1))), _integers(given, "target_ids")
    labels = given.get("classlabels_int64s") or given.get("classlabels_strings") or []
    ids = _integers(given, "class_ids")
    if not 2 <= len(labels) <= 10_000:
        message = f"a classifier of {len(labels)} classes"
        raise ModelError(message)
    if len(labels) == 2 and len(np.unique(ids)) == 1:
        _check_one_score(int(ids[0]), str(given.get("post_transform", "NONE")))
        bases = _given_bases(given)
        if len(bases) > 1 or (len(bases) == 1 and ids[0] != 0):
            message = (
                f"a classifier with one score, that of class {ids[0]}, and {len(bases)} "
                "base_values: the meaning is not defined by ONNX"
            )
            raise UnsupportedModelError(message)
        return 1, ids * 0  # one score, that of the second class
    return len(labels), ids


def _check_one_score(place: int, transform: str) -> None:
    """Refuse transforms of one score that ONNX Runtime does not apply to both classes alike."""
    if transform in ({"PROBIT"} if place == 0 else {"SOFTMAX", "SOFTMAX_ZERO"}):
        message = (
            f"a classifier with one score, that of class {place}, and the transform {transform}: "
            "the meaning is not defined by ONNX"
        )
        raise UnsupportedModelError(message)


def _given_bases(given: dict[str, Any]) -> list[Any]:
    return list(given.get("base_values", given.get("base_values_as_tensor", [])))


def _bases(given: dict[str, Any], dtype: np.dtype[Any], outputs: int) -> NDArray[Any]:
    if not ({"base_values", "base_values_as_tensor"} & set(given)):
        return np.zeros(outputs, dtype=dtype)
    bases = _floats(given, "base_values", dtype)
    if len(bases) == 0:
        return np.zeros(outputs, dtype=dtype)
    if len(bases) != outputs:
        message = f"{len(bases)} base_values for {outputs} outputs"
        raise UnsupportedModelError(message)
    return bases


# --- TreeEnsemble: inner nodes and leaves in lists of their own ----------------------------------


def _scattered(given: dict[str, Any], dtype: np.dtype[Any]) -> tuple[Trees, int, NDArray[Any]]:
    """The trees, the number of outputs and the bases (none); each leaf is copied per parent."""
    features = _integers(given, "nodes_featureids")
    count = len(features)
    mode = _integers(given, "nodes_modes", count)
    if np.any((mode < 0) | (mode > MEMBER)):
        message = f"nodes_modes has values from {mode.min()} to {mode.max()}"
        raise ModelError(message)
    outputs = int(given.get("n_targets", 1))
    target = _integers(given, "leaf_targetids")
    weight = _floats(given, "leaf_weights", dtype, len(target))
    if not 1 <= outputs <= 10_000 or np.any((target < 0) | (target >= outputs)):
        message = f"leaf_targetids beyond the {outputs} targets"
        raise ModelError(message)
    child = {}
    leaves: list[NDArray[np.int64]] = []
    for side in ("true", "false"):
        index = _integers(given, f"nodes_{side}nodeids", count)
        is_leaf = _integers(given, f"nodes_{side}leafs", count) != 0
        if np.any((index < 0) | (index >= np.where(is_leaf, len(target), count))):
            message = f"nodes_{side}nodeids points to a node that does not exist"
            raise ModelError(message)
        start = count + sum(map(len, leaves))
        new = start + np.cumsum(is_leaf) - 1
        child[side] = np.where(is_leaf, new, index)
        leaves.append(index[is_leaf])
    copied = np.concatenate(leaves)
    _check_size(count + len(copied), outputs)
    value = np.zeros((count + len(copied), outputs), dtype=dtype)
    value[count + np.arange(len(copied)), target[copied]] = weight[copied]
    roots = _integers(given, "tree_roots")
    none = np.full(len(copied), -1)
    trees = Trees(
        roots=roots,
        feature=np.r_[features, none],
        mode=np.r_[mode, none * 0],
        split=np.r_[_floats(given, "nodes_splits", dtype, count), np.zeros(len(copied), dtype)],
        true=np.r_[child["true"], none],
        false=np.r_[child["false"], none],
        nan_true=np.r_[_tracks(given, count), none >= 0],
        value=value,
        members=_members(given, mode, dtype),
    )
    return trees, outputs, np.zeros(outputs, dtype=dtype)


def _members(
    given: dict[str, Any], mode: NDArray[np.int64], dtype: np.dtype[Any]
) -> dict[int, NDArray[Any]]:
    """The sets of BRANCH_MEMBER nodes, NaN between them."""
    nodes = np.flatnonzero(mode == MEMBER)
    if not len(nodes):
        return {}
    values = _floats(given, "membership_values", dtype)
    ends = np.flatnonzero(np.isnan(values))
    if len(ends) == len(nodes) - 1:
        ends = np.r_[ends, len(values)]
    if len(ends) < len(nodes):
        message = f"membership_values holds {len(ends)} sets for {len(nodes)} nodes"
        raise ModelError(message)
    begins = np.r_[0, ends[:-1] + 1]
    return {int(node): values[a:b] for node, a, b in zip(nodes, begins, ends, strict=False)}


# --- to a Forest ---------------------------------------------------------------------------------


def _forest(
    trees: Trees, outputs: int, bases: NDArray[Any], given: dict[str, Any], width: int, kind: str
) -> Forest:
    aggregate = _word(given, "aggregate_function", "SUM", _AGGREGATES)
    if aggregate not in {"SUM", "AVERAGE"}:
        message = f"the aggregate {aggregate} of {kind} is not supported"
        raise UnsupportedModelError(message)
    scalar = outputs == 1
    transform = _transform(given, kind, scalar=scalar)
    trees = with_numeric_tests(trees)
    inner = trees.true >= 0
    is_set = inner & (trees.mode >= EQ)
    swap = inner & np.isin(trees.mode, (GTE, GT, NEQ))
    comparison, split = _one_comparison(trees, inner & ~is_set)
    sets = _sets(trees, is_set)
    category = np.full(len(inner), -1)
    category[is_set] = np.arange(len(sets))
    nan_true = trees.nan_true | (trees.mode == NEQ)
    order, offset = order_by_tree(trees.roots, trees.true, trees.false)
    number = np.full(len(inner) + 1, -1)  # the last element serves child -1
    number[order] = np.arange(len(order))
    true, false = number[trees.true[order]], number[trees.false[order]]
    flip = swap[order]
    last = int(trees.feature.max(initial=0))
    if np.any(trees.feature[inner] < 0) or (width and last >= width):
        message = f"a node tests feature {last}; the input has {width or 'not so many'}"
        raise ModelError(message)
    return Forest(
        tree_offset=offset,
        feature=np.where(inner, trees.feature, -1)[order],
        threshold=np.where(inner & ~is_set, split, split.dtype.type(0))[order],
        left=np.where(flip, false, true),
        right=np.where(flip, true, false),
        default_left=((nan_true ^ swap) & inner)[order],
        value=trees.value[order],
        tree_output=np.zeros(len(trees.roots), dtype=np.int32),
        base=bases,
        base_first=False,
        divisor=float(len(trees.roots)) if aggregate == "AVERAGE" else 1.0,
        category=category[order],
        category_offset=np.cumsum([0, *map(len, sets)]),
        category_values=np.concatenate([np.zeros(0, np.int64), *sets]),
        comparison="<" if comparison == LT else "<=",
        category_rule="exact",
        num_features=width or last + 1,
        link="identity" if scalar and "SOFTMAX" in transform else _LINKS[transform],
        library="onnx",
        objective=f"{kind}, {transform}",
    )


def _transform(given: dict[str, Any], kind: str, *, scalar: bool) -> str:
    transform = _word(given, "post_transform", "NONE", _TRANSFORMS)
    if transform not in _LINKS:
        message = f"the transform {transform!r:.40} of {kind} is not supported"
        raise UnsupportedModelError(message)
    if scalar and transform == "LOGISTIC" and kind != "TreeEnsembleClassifier":
        message = (
            f"the transform LOGISTIC of the one target of {kind}: ONNX says that it is a sigmoid, "
            "ONNX Runtime leaves it out; write NONE, and a Sigmoid behind it if it is wanted"
        )
        raise UnsupportedModelError(message)
    return transform


def _word(given: dict[str, Any], name: str, default: str, words: tuple[str, ...]) -> str:
    """An attribute that is a text, or in TreeEnsemble the number of one."""
    value = given.get(name, default if "nodes_splits" not in given else words.index(default))
    if isinstance(value, str):
        return value
    return words[value] if 0 <= value < len(words) else str(value)


def _one_comparison(trees: Trees, numeric: NDArray[np.bool_]) -> tuple[int, NDArray[Any]]:
    """All numeric tests as ``<`` or all as ``<=``: ``x < t`` is ``x <= (the float below t)``.

    GTE and GT are the opposites of LT and LEQ, with the children exchanged.
    """
    strict = numeric & np.isin(trees.mode, (LT, GTE))
    split = trees.split
    if np.any(np.isnan(split[numeric])):
        message = "a split value is NaN"
        raise ModelError(message)
    if np.array_equal(strict, numeric) and np.any(numeric):
        return LT, split
    if np.any(np.isneginf(split[strict])):
        message = "tests x < -inf among tests x <= t"
        raise UnsupportedModelError(message)
    with np.errstate(all="ignore"):
        below = np.nextafter(split, split.dtype.type(-np.inf))
    return LEQ, np.where(strict, below, split)


def _sets(trees: Trees, is_set: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    nodes = np.flatnonzero(is_set).tolist()
    return [np.unique(trees.equal_to(node)).astype(np.int64) for node in nodes]
