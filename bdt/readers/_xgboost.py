"""XGBoost models of versions 1.6 to 3.4: JSON, UBJSON, `Booster` and scikit-learn wrappers.

The schema is that of XGBoost's ``doc/model.schema`` and of ``src/tree/io_utils.h``. What gives
XGBoost's own bits: thresholds and leaves are float32, ``x < threshold`` goes left, leaves are
added in float32 in tree order to the base margin, which is ``ProbToMargin(base_score)`` of the
objective, for the logistic ones ``-logf(1 / b - 1)`` in float32. Categories in a node's set go
right there, so such nodes change sides here. Weights of dart are multiplied in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest, Link
from rootml.bdt._libm import expm1f, logf
from rootml.bdt._structure import check_offsets, keep_reached
from rootml.bdt.readers._fields import (
    entry,
    flat,
    float32,
    items,
    lengths,
    mapping,
    narrow,
    numbers,
    only_known,
    parse_json,
    text,
    whole,
)
from rootml.bdt.readers._ubjson import parse_ubjson
from rootml.errors import ModelError, UnsupportedModelError, nearest

NEWEST = (3, 4)
"""The newest version that stored models of the tests were made with."""
OLDEST = (1, 6)
MAX_OUTPUTS = 2**20
MAX_CATEGORY = 2**24  # XGBoost's own limit: integers are exact in float32 below it

_LEARNER = {
    "attributes", "feature_names", "feature_types", "gradient_booster", "learner_model_param",
    "objective",
}  # fmt: skip
_LEARNER_PARAM = {"base_score", "boost_from_average", "num_class", "num_feature", "num_target"}
_MODEL = {
    "cats", "gbtree_model_param", "iteration_indptr", "tree_info", "trees", "weight_drop",
}  # fmt: skip
_TREE = {
    "base_weights", "categories", "categories_nodes", "categories_segments", "categories_sizes",
    "default_left", "id", "leaf_weights", "left_children", "loss_changes", "parents",
    "right_children", "split_conditions", "split_indices", "split_type", "sum_hessian",
    "tree_param",
}  # fmt: skip
_TABLES: dict[tuple[str, ...], set[str]] = {
    (): {"learner", "version"},
    ("learner", "objective"): {
        "aft_loss_param", "expectile_loss_param", "lambda_rank_param", "lambdarank_param", "name",
        "poisson_regression_param", "pseduo_huber_param", "pseudo_huber_param",
        "quantile_loss_param", "reg_loss_param", "softmax_multiclass_param",
        "tweedie_regression_param",
    },
    ("learner", "objective", "expectile_loss_param"): {"expectile_alpha"},
    ("learner", "objective", "pseudo_huber_param"): {"huber_slope"},
    ("learner", "objective", "quantile_loss_param"): {"quantile_alpha"},
    ("learner", "objective", "reg_loss_param"): {"scale_pos_weight"},
    ("learner", "objective", "softmax_multiclass_param"): {"num_class"},
    ("learner", "gradient_booster", "model", "cats"): {"enc", "feature_segments", "sorted_idx"},
    ("learner", "gradient_booster", "model", "gbtree_model_param"): {
        "num_parallel_tree", "num_trees", "size_leaf_vector",
    },
}  # fmt: skip
"""Tables that older versions read past, and whose fields must all be known in a newer schema."""
_TREE_PARAM = {"num_deleted", "num_feature", "num_nodes", "size_leaf_vector"}
_FEATURE_TYPES = {"c", "categorical", "float", "i", "int", "q"}
_COLUMNS = {
    "left_children": "iu", "right_children": "iu", "split_indices": "iu", "split_type": "iu",
    "split_conditions": "iuf", "default_left": "iub",
}  # fmt: skip


Base = list[np.float32]
"""One base score, or one for each output."""


def _same(base: Base) -> Base:
    return base


def _log(base: Base) -> Base:
    return [logf(value) for value in base]


def _logit(base: Base) -> Base:
    with np.errstate(all="ignore"):
        return [-logf(np.float32(1) / value - np.float32(1)) for value in base]


def _increments(base: Base) -> Base:
    """The first, and how much each is above the one before, through the inverse of softplus."""
    epsilon = np.float32(1e-6)
    with np.errstate(all="ignore"):
        gaps = [max(b - a - epsilon, epsilon) for a, b in pairwise(base)]
        return [base[0], *(gap + logf(-expm1f(-gap)) for gap in gaps)]


@dataclass(frozen=True)
class _Objective:
    """How predictions follow from margins, and margins from base scores."""

    link: Link
    base: Callable[[Base], Base] = _same


OBJECTIVES: dict[str, _Objective] = {
    "binary:hinge": _Objective("hinge"),
    "binary:logistic": _Objective("sigmoid", _logit),
    "binary:logitraw": _Objective("identity"),
    "count:poisson": _Objective("exp", _log),
    "multi:softmax": _Objective("argmax"),
    "multi:softprob": _Objective("softmax"),
    "rank:map": _Objective("identity"),
    "rank:ndcg": _Objective("identity"),
    "rank:pairwise": _Objective("identity"),
    "reg:absoluteerror": _Objective("identity"),
    "reg:expectileerror": _Objective("increments", _increments),
    "reg:gamma": _Objective("exp", _log),
    "reg:linear": _Objective("identity"),
    "reg:logistic": _Objective("sigmoid", _logit),
    "reg:pseudohubererror": _Objective("identity"),
    "reg:quantileerror": _Objective("identity"),
    "reg:squarederror": _Objective("identity"),
    "reg:squaredlogerror": _Objective("identity"),
    "reg:tweedie": _Objective("exp", _log),
    "survival:aft": _Objective("exp", _log),
    "survival:cox": _Objective("exp", _log),
}


def read_xgboost(data: bytes, *, missing: float = math.nan) -> Forest:
    """A forest from the bytes of an XGBoost JSON or UBJSON model.

    Args:
        data: The file's content.
        missing: The value that stands for missing in the inputs; files do not hold it.

    Raises:
        ModelError: Damaged.
        UnsupportedModelError: gblinear, an unknown objective, a schema older than 1.6 or newer
            than is known.
    """
    document = parse_ubjson(data) if is_ubjson(data) else parse_json(data)
    return forest_of_document(document, missing=missing)


def is_ubjson(data: bytes) -> bool:
    """Whether bytes that begin with ``{`` go on as UBJSON does: with the length of a key."""
    return data[:1] == b"{" and data[1:2] in {b"L", b"l", b"I", b"i", b"U", b"$", b"#", b"N"}


def read_booster(model: Any) -> Forest:
    """A forest from a `Booster` or from one of the scikit-learn wrappers.

    A wrapper's `missing` is taken over, and after early stopping only the rounds up to the best
    one, as its own ``predict`` does; a `Booster` predicts with all.
    """
    if not hasattr(model, "get_booster"):
        return read_xgboost(bytes(model.save_raw(raw_format="ubj")))
    missing = math.nan if model.missing is None else float(model.missing)
    forest = read_xgboost(
        bytes(model.get_booster().save_raw(raw_format="ubj")),
        missing=float(np.float32(missing)),
    )
    best = forest.best_iteration
    return forest if best is None else forest.iterations(0, best + 1)


def forest_of_document(document: Any, *, missing: float = math.nan) -> Forest:
    """A forest from the parsed model."""
    version = numbers(entry(document, "version"), "version").tolist()
    _check_version(document, version)
    learner = mapping(document, "learner")
    only_known(learner, _LEARNER, "learner")
    objective = text(learner, "objective", "name")
    if objective not in OBJECTIVES:
        message = (
            f"objective {objective!r} of XGBoost is not supported; supported: "
            f"{nearest(objective, OBJECTIVES)}"
        )
        raise UnsupportedModelError(message)
    model, weights = _booster(mapping(learner, "gradient_booster"))
    param = mapping(learner, "learner_model_param")
    only_known(param, _LEARNER_PARAM, "learner_model_param")
    num_features = whole(param, "num_feature")
    trees = items(model, "trees")
    if whole(model, "gbtree_model_param", "num_trees") != len(trees):
        message = f"{len(trees)} trees, but gbtree_model_param has {model['gbtree_model_param']}"
        raise ModelError(message)
    targets = whole(param, "num_target", maximum=MAX_OUTPUTS) if "num_target" in param else 1
    outputs = max(1, whole(param, "num_class", maximum=MAX_OUTPUTS), targets)
    best = mapping(learner, "attributes") if "attributes" in learner else {}
    return Forest(
        **_nodes(trees, weights, outputs),
        tree_output=_tree_output(model, len(trees)),
        base=_base(text(param, "base_score"), outputs, _transform(objective, param, trees)),
        num_features=num_features,
        missing=missing,
        link=_link(objective, version, outputs),
        library="xgboost",
        library_version=".".join(map(str, version)),
        objective=objective,
        feature_names=_words(learner, "feature_names", num_features),
        feature_types=_types(learner, num_features),
        feature_categories=_category_names(model, num_features),
        trees_per_iteration=_trees_per_iteration(model, len(trees)),
        best_iteration=whole(best, "best_iteration") if "best_iteration" in best else None,
    )


def _link(objective: str, version: Sequence[int], outputs: int) -> Link:
    if objective == "reg:quantileerror" and tuple(version) >= (3, 4) and outputs > 1:
        return "sorted"  # predictions do not cross from 3.4 on; margins still do
    return OBJECTIVES[objective].link


def _check_version(document: Any, version: Sequence[int]) -> None:
    if len(version) != 3:
        message = f"version is {version}, not three numbers"
        raise ModelError(message)
    if tuple(version[:2]) < OLDEST:
        message = (
            f"a model of XGBoost {'.'.join(map(str, version))}; models of 1.6 and newer are "
            "supported: "
            "load it into a newer XGBoost and save it again"
        )
        raise UnsupportedModelError(message)
    if version[0] > NEWEST[0]:
        message = (
            f"a model of XGBoost {'.'.join(map(str, version))}; models up to {NEWEST[0]} are "
            "supported"
        )
        raise UnsupportedModelError(message)
    if tuple(version[:2]) > NEWEST:
        _check_newer(document)


def _check_newer(document: Any) -> None:
    """A schema newer than the newest one tested: every field must be one of those known."""
    for path, known in _TABLES.items():
        table = document
        for name in path:
            table = table.get(name) if isinstance(table, Mapping) else None
        if isinstance(table, Mapping):
            only_known(table, known, ".".join(path) or "the model")
    booster = mapping(document, "learner", "gradient_booster")
    for tree in items(booster, "model", "trees"):
        only_known(mapping(tree, "tree_param"), _TREE_PARAM, "tree_param")


def _booster(booster: Mapping[str, Any]) -> tuple[Mapping[str, Any], NDArray[np.float32] | None]:
    """The trees' part of the model, and for dart a weight for each tree."""
    name = text(booster, "name")
    if name not in {"gbtree", "dart"}:
        message = f"booster {name!r} of XGBoost is not supported; supported: 'gbtree', 'dart'"
        raise UnsupportedModelError(message)
    only_known(booster, {"gbtree", "model", "name", "weight_drop"}, "gradient_booster")
    model = mapping(booster, "gbtree", "model") if name == "dart" else mapping(booster, "model")
    only_known(model, _MODEL, "gradient_booster.model")
    # where dart keeps its weights: beside the model, of 3.3 also with the name gbtree, from 3.4 on
    # inside of it
    holders = [table for table in (booster, model) if "weight_drop" in table]
    if not holders and name == "gbtree":
        return model, None
    if len(holders) > 1:
        message = "weight_drop is given twice, in gradient_booster and in its model"
        raise ModelError(message)
    holder = holders[0] if holders else booster
    weights = float32(numbers(entry(holder, "weight_drop"), "weight_drop", "iuf"))
    if len(weights) != len(items(model, "trees")):
        message = f"{len(weights)} weights for {len(items(model, 'trees'))} trees"
        raise ModelError(message)
    return model, weights


def _transform(
    objective: str, param: Mapping[str, Any], trees: Sequence[Any]
) -> Callable[[Base], Base]:
    """From base scores to margins.

    What training was to estimate, and did not, is a margin from XGBoost 3.1 on, which writes a
    list.
    """
    listed = str(param.get("base_score", "")).startswith("[")
    untrained = not trees and listed and param.get("boost_from_average") == "1"
    return _same if untrained else OBJECTIVES[objective].base


def _base(written: str, outputs: int, transform: Callable[[Base], Base]) -> NDArray[np.float32]:
    """``base_score``, ``"5E-1"`` or ``"[5E-1,...]"``, as margins of each output."""
    try:
        values = [np.float32(float(word)) for word in written.strip("[]").split(",")]
    except ValueError as error:
        message = f"base_score is {written!r:.40}"
        raise ModelError(message) from error
    if len(values) not in {1, outputs}:
        message = f"base_score has {len(values)} values for {outputs} outputs"
        raise ModelError(message)
    if transform is _increments:  # a single value is that of each output
        values = values * (outputs // len(values))
    margins = np.array(transform(values), dtype=np.float32)
    if not np.all(np.isfinite(margins)):
        message = f"base_score {written:.40} gives no finite margin"
        raise ModelError(message)
    return np.broadcast_to(margins, (outputs,)).copy()


def _tree_output(model: Mapping[str, Any], count: int) -> NDArray[np.int32]:
    outputs = narrow(numbers(entry(model, "tree_info"), "tree_info"), "tree_info")
    if len(outputs) != count:
        message = f"tree_info has {len(outputs)} entries for {count} trees"
        raise ModelError(message)
    return outputs.astype(np.int32)


def _trees_per_iteration(model: Mapping[str, Any], count: int) -> int:
    """From ``iteration_indptr`` (2.0 on), else from parallel trees and outputs."""
    if "iteration_indptr" not in model:
        parallel = whole(model, "gbtree_model_param", "num_parallel_tree", minimum=1)
        return max(parallel, 1) * (int(_tree_output(model, count).max(initial=0)) + 1)
    limits = narrow(numbers(entry(model, "iteration_indptr"), "iteration_indptr"), "rounds")
    steps = np.diff(limits)
    if len(limits) == 0 or limits[0] != 0 or limits[-1] != count or np.any(steps < 1):
        message = f"iteration_indptr does not rise from 0 to {count} trees"
        raise ModelError(message)
    if np.any(steps != steps[:1]):
        message = "rounds of boosting with different numbers of trees are not supported"
        raise UnsupportedModelError(message)
    return int(steps[0]) if len(steps) else 1


def _words(learner: Mapping[str, Any], name: str, count: int) -> tuple[str, ...] | None:
    words = items(learner, name) if name in learner else []
    if not words:
        return None
    if len(words) != count or not all(isinstance(word, str) for word in words):
        message = f"{name} must be {count} strings"
        raise ModelError(message)
    return tuple(words)


def _types(learner: Mapping[str, Any], count: int) -> tuple[str, ...] | None:
    words = _words(learner, "feature_types", count)
    if words is not None and (unknown := sorted(set(words) - _FEATURE_TYPES)):
        message = f"the feature type {unknown[0]!r:.40}; XGBoost has {sorted(_FEATURE_TYPES)}"
        raise ModelError(message)
    return words


# --- trees ---------------------------------------------------------------------------------------


def _nodes(
    trees: Sequence[Any], weights: NDArray[np.float32] | None, outputs: int
) -> dict[str, Any]:
    """The fields of a `Forest` that have an element per node."""
    for tree in trees:
        only_known(tree if isinstance(tree, Mapping) else {}, _TREE, "a tree")
    sizes = lengths(trees, "left_children")
    _check_trees(trees, sizes)
    offset = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    count = int(offset[-1])
    check_offsets(offset, count)
    statistics = [name for name in ("loss_changes", "sum_hessian") if trees and name in trees[0]]
    column = {name: flat(trees, name, kinds) for name, kinds in _COLUMNS.items()}
    column |= {name: flat(trees, name, "iuf") for name in statistics}
    for name, array in column.items():
        if len(array) != count:
            message = f"the trees have {count} nodes, {name} has {len(array)} entries"
            raise ModelError(message)
    leaf = column["left_children"] == -1
    first = np.repeat(offset[:-1], sizes)
    value = _values(trees, sizes, leaf, column, outputs)
    if weights is not None:
        value = value * np.repeat(weights, sizes)[:, None]
    left = narrow(column["left_children"], "left_children", minimum=-1)
    right = narrow(column["right_children"], "right_children", minimum=-1)
    if value.shape[1] == 1 and np.any((right == -1) != leaf):
        message = "a node has one child; each node needs two or none"
        raise ModelError(message)
    is_set = (narrow(column["split_type"], "split_type", maximum=1) == 1) & ~leaf
    goes_left = narrow(column["default_left"], "default_left", maximum=1) == 1
    left, right = np.where(is_set, right, left), np.where(is_set, left, right)
    left, right = (np.where(leaf, -1, child + first) for child in (left, right))
    narrow(left, "left_children", minimum=-1)
    narrow(right, "right_children", minimum=-1)
    reached, offset, left32, right32 = keep_reached(
        offset, left.astype(np.int32), right.astype(np.int32)
    )
    _check_parents(trees, left, right, first, reached)
    category, sets = _category_sets(trees, sizes, is_set, reached)
    threshold = np.where(leaf | is_set, np.float32(0), float32(column["split_conditions"]))
    features = np.where(leaf, -1, column["split_indices"])[reached]
    local = (np.arange(count) - first)[reached]
    return {
        "leaf_id": local if len(reached) < count else None,
        "tree_offset": offset,
        "feature": narrow(features, "split_indices", minimum=-1),
        "threshold": threshold[reached],
        "left": left32,
        "right": right32,
        "default_left": ((goes_left ^ is_set) & ~leaf)[reached],
        "value": value[reached],
        "category": category,
        "category_offset": sets[0],
        "category_values": sets[1],
        **{
            field: column[name][reached].astype(np.float64)
            for field, name in (("gain", "loss_changes"), ("cover", "sum_hessian"))
            if name in statistics
        },
    }


def _check_trees(trees: Sequence[Any], sizes: NDArray[np.int64]) -> None:
    """Refuse trees that contradict themselves: parts of the file are lost, or mixed up."""
    for number, (tree, size) in enumerate(zip(trees, sizes.tolist(), strict=True)):
        if "id" in tree and whole(tree, "id") != number:
            message = f"tree {number} has the id {tree['id']}"
            raise ModelError(message)
        if whole(tree, "tree_param", "num_nodes") != size:
            message = f"tree {number} has {size} nodes, its num_nodes is {tree['tree_param']}"
            raise ModelError(message)
    for name in ("loss_changes", "sum_hessian", "parents"):
        if trees and name in trees[0] and np.any(lengths(trees, name) != sizes):
            message = f"{name} must have one entry for each node of a tree"
            raise ModelError(message)


def _check_parents(
    trees: Sequence[Any],
    left: NDArray[Any],
    right: NDArray[Any],
    first: NDArray[np.int64],
    reached: NDArray[np.int64],
) -> None:
    """Refuse `parents` that contradict the children."""
    if not trees or "parents" not in trees[0]:
        return
    parents = narrow(flat(trees, "parents"), "parents", minimum=-(2**31), maximum=2**32 - 1)
    inner = reached[left[reached] >= 0]
    for child in (left[inner], right[inner]):
        if np.any(parents[child] != inner - first[inner]):
            message = "parents contradict left_children and right_children"
            raise ModelError(message)


def _values(
    trees: Sequence[Any],
    sizes: NDArray[np.int64],
    leaf: NDArray[np.bool_],
    column: Mapping[str, NDArray[Any]],
    outputs: int,
) -> NDArray[np.float32]:
    """Leaf values, shape (nodes, width).

    Vectors: since 3.2 ``leaf_weights``, in which ``right_children`` of a leaf counts; before
    that ``base_weights`` with a vector for each node.
    """
    widths = {whole(tree, "tree_param", "size_leaf_vector") for tree in trees}
    if widths <= {0, 1}:
        scalars = float32(column["split_conditions"])
        return np.where(leaf, scalars, np.float32(0))[:, None]
    if widths != {outputs}:
        message = f"leaves of {sorted(widths)} values in a model of {outputs} outputs"
        raise ModelError(message)
    has_weights = all("leaf_weights" in tree for tree in trees)
    vectors = float32(flat(trees, "leaf_weights" if has_weights else "base_weights", "iuf"))
    if len(leaf) * outputs > 2 * len(vectors):  # each leaf has its own, and half are leaves
        message = f"{len(vectors)} leaf values for {len(leaf)} nodes of {outputs} outputs"
        raise ModelError(message)
    value = np.zeros((len(leaf), outputs), dtype=np.float32)
    if not has_weights:
        if len(vectors) != value.size:
            message = f"base_weights has {len(vectors)} entries for {len(leaf)} vectors"
            raise ModelError(message)
        value[leaf] = vectors.reshape(-1, outputs)[leaf]
        return value
    held = lengths(trees, "leaf_weights")
    starts = np.cumsum(held) - held
    number = narrow(column["right_children"][leaf], "leaf index")
    if np.any((number + 1) * outputs > np.repeat(held, sizes)[leaf]):
        message = "a leaf's index points outside of leaf_weights"
        raise ModelError(message)
    begin = np.repeat(starts, sizes)[leaf] + number * outputs
    value[leaf] = vectors[begin[:, None] + np.arange(outputs)]
    return value


def _category_sets(
    trees: Sequence[Any],
    sizes: NDArray[np.int64],
    is_set: NDArray[np.bool_],
    reached: NDArray[np.int64],
) -> tuple[NDArray[np.int32], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Index of the set of each reached node, and the sets: offsets and members."""
    none = (
        np.full(len(reached), -1, dtype=np.int32),
        (np.zeros(1, np.int64), np.zeros(0, np.int64)),
    )
    if not np.any(is_set):
        return none
    names = ("categories_nodes", "categories_segments", "categories_sizes", "categories")
    node, segment, size, members = (narrow(flat(trees, name), name) for name in names)
    each = {name: lengths(trees, name) for name in names}
    if not len(node) == len(segment) == len(size) or any(
        np.any(each[name] != each["categories_nodes"]) for name in names[1:3]
    ):
        message = "categories_nodes, categories_segments and categories_sizes differ in length"
        raise ModelError(message)
    per_tree = each["categories_nodes"]
    if np.any(node >= np.repeat(sizes, per_tree)):
        message = "categories_nodes names a node that does not exist"
        raise ModelError(message)
    starts = np.cumsum(each["categories"]) - each["categories"]
    if np.any(segment + size > np.repeat(each["categories"], per_tree)) or size.sum() > len(
        members
    ):
        message = "categories_segments point outside of categories, or overlap"
        raise ModelError(message)
    node = node + np.repeat(np.cumsum(sizes) - sizes, per_tree)
    offset = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    place = np.repeat(segment + np.repeat(starts, per_tree) - offset[:-1], size)
    values = narrow(members[place + np.arange(offset[-1])], "categories", maximum=MAX_CATEGORY - 1)
    category = np.full(len(is_set), -1, dtype=np.int32)
    category[node] = np.arange(len(node), dtype=np.int32)
    category = np.where(is_set, category, -1)[reached]
    if np.any(category[is_set[reached]] < 0):
        message = "a categorical node has no categories"
        raise ModelError(message)
    order = np.lexsort((values, np.repeat(np.arange(len(size)), size)))
    return category, (offset, values[order])


def _category_names(
    model: Mapping[str, Any], num_features: int
) -> tuple[tuple[str | int | float, ...] | None, ...] | None:
    """What the categories 0, 1, ... of each feature were in the training data (3.1 on)."""
    encodings = items(model, "cats", "enc") if "cats" in model else []
    if not encodings:
        return None
    if len(encodings) != num_features:
        message = f"cats.enc has {len(encodings)} entries for {num_features} features"
        raise ModelError(message)
    return tuple(_names(encoding) for encoding in encodings)


def _names(encoding: Any) -> tuple[str | int | float, ...] | None:
    values = numbers(entry(encoding, "values"), "cats.enc.values", "iuf")
    if "offsets" not in encoding:
        return tuple(values.tolist())
    limits = narrow(numbers(entry(encoding, "offsets"), "cats.enc.offsets"), "cats.enc.offsets")
    if not len(limits):
        return None
    letters = (
        narrow(values, "cats.enc.values", minimum=-128, maximum=255).astype(np.uint8).tobytes()
    )
    if limits[0] != 0 or limits[-1] != len(letters) or np.any(np.diff(limits) < 0):
        message = "cats.enc.offsets do not fit the texts"
        raise ModelError(message)
    try:
        words = tuple(letters[a:b].decode() for a, b in pairwise(limits))
    except UnicodeDecodeError:  # XGBoost before 3.4 cuts names with letters of several bytes
        return None
    return words if len(set(words)) == len(words) else None
