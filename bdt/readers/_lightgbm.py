"""LightGBM models: the text that `save_model` writes, `Booster` and scikit-learn wrappers.

The format is that of LightGBM's ``src/boosting/gbdt_model_text.cpp`` and ``src/io/tree.cpp``, the
tests are those of ``include/LightGBM/tree.h``: inputs, thresholds, leaves and sums are float64,
``x <= threshold`` goes left, categories in a node's set go left. A feature's missing type gives
the meaning of NaN: "nan" goes the default way, "none" is 0, and for "zero" NaN and values within
1e-35 of 0 go the default way. Everything within 1e-35 of 0 is 0 (``kZeroThreshold``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import MAX_FEATURES, ZERO, Forest, Link
from rootml.errors import ModelError, UnsupportedModelError, nearest

_VERSIONS = ("v2", "v3", "v4")
_LINKS: dict[str, Link] = {
    "binary": "sigmoid",
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "softplus",
    "custom": "identity",
    "fair": "identity",
    "gamma": "exp",
    "huber": "identity",
    "lambdarank": "identity",
    "mape": "identity",
    "multiclass": "softmax",
    "multiclassova": "sigmoid",
    "poisson": "exp",
    "quantile": "identity",
    "rank_xendcg": "identity",
    "regression": "identity",
    "regression_l1": "identity",
    "tweedie": "exp",
    "xentlambda": "softplus",
    "xentropy": "sigmoid",
}
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of decision_type; the missing type is in the next two
_NONE, _ZERO, _NAN = 0, 1, 2
_END = "\nend of trees"
_MAX_WORDS = 2**19  # of a category set: 2^24 categories


def read_lightgbm(text: str) -> Forest:
    """A forest from the text of a LightGBM model.

    Raises:
        ModelError: Damaged.
        UnsupportedModelError: Linear trees, an unknown objective or version.
    """
    head, trees, tail = _sections(text)
    version = head.get("version", "")
    if version not in _VERSIONS:
        message = f"LightGBM model of version {version!r:.20}; supported: {', '.join(_VERSIONS)}"
        raise UnsupportedModelError(message)
    outputs = _whole(head, "num_tree_per_iteration", 1)  # not beyond the number of trees: below
    num_features = _whole(head, "max_feature_idx", 0) + 1
    if num_features > MAX_FEATURES:
        message = f"max_feature_idx={num_features - 1}; a forest has at most {MAX_FEATURES}"
        raise ModelError(message)
    if "tree_sizes" in head and len(head["tree_sizes"].split()) != len(trees):
        message = f"{len(trees)} trees, but tree_sizes lists {len(head['tree_sizes'].split())}"
        raise ModelError(message)
    if len(trees) % outputs:
        message = f"{len(trees)} trees cannot be divided among {outputs} outputs"
        raise ModelError(message)
    link, scale = _link(head.get("objective", "custom"))
    nodes = _join([_tree(table, num_features) for table in trees])
    _check_sizes(text, head.get("tree_sizes", ""))
    missing = _missing_types(nodes, num_features)
    names = head.get("feature_names", "").split()
    return Forest(
        **_tests(nodes, missing),
        tree_output=np.arange(len(trees), dtype=np.int32) % outputs,
        base=np.zeros(outputs),
        num_features=num_features,
        comparison="<=",
        category_rule="truncate",
        divisor=float(max(1, len(trees) // outputs)) if "average_output" in head else 1.0,
        zero_missing=missing == _ZERO,
        link=link,
        link_scale=scale,
        library="lightgbm",
        library_version=version,
        objective=head.get("objective", "custom"),
        feature_names=_names(names, num_features),
        feature_types=_kinds(head, num_features),
        feature_categories=_category_names(tail, _kinds(head, num_features)),
        trees_per_iteration=outputs,
    )


def read_lightgbm_model(model: Any) -> Forest:
    """A forest from a `Booster` or a scikit-learn wrapper: the rounds up to the best, as its
    ``predict`` takes them."""
    booster = getattr(model, "booster_", model)
    return read_lightgbm(booster.model_to_string())


# --- text ----------------------------------------------------------------------------------------


def _sections(text: str) -> tuple[dict[str, str], list[dict[str, str]], str]:
    """The head, one table for each tree, and what follows the trees."""
    body, end, tail = _cut(text)
    first, *rest = body.replace("\r\n", "\n").split("\nTree=")
    if first.split("\n", 1)[0].strip() != "tree" or not end:
        message = "not a LightGBM model: expected a first line 'tree' and a line 'end of trees'"
        raise ModelError(message)
    for number, block in enumerate(rest):
        if block.split("\n", 1)[0].strip() != str(number):
            message = f"tree {number} is labelled {block[:12]!r}"
            raise ModelError(message)
    return _table(first), [_table(block) for block in rest], tail


def _cut(text: str) -> tuple[str, str, str]:
    """The trees, what ends them ("" if nothing does), and what follows.

    Early files of version v2 have no line "end of trees"; there the last of ``tree_sizes`` gives
    the end of the trees, and a blank line must follow.
    """
    body, end, tail = text.partition(_END)
    sizes = re.search(r"\ntree_sizes=.*\b(\d{1,12})\n", text)
    last = text.rfind("\nTree=")
    if end or sizes is None or last < 0 or "\nversion=v2\n" not in text[:100]:
        return body, end, tail
    stop = last + 1 + int(sizes[1])
    return (
        (text[: stop - 1], "\n", text[stop:])
        if text[stop - 2 : stop] == "\n\n"
        else (text, "", "")
    )


def _check_sizes(text: str, sizes: str) -> None:
    """Refuse trees whose length is not the one in ``tree_sizes``: something was lost.

    Files whose line ends were converted have other sizes, and are not checked.
    """
    if "\r" in text or not sizes:
        return
    body = _cut(text)[0] + "\n"
    starts = [match.start() + 1 for match in re.finditer(r"\nTree=", body)]
    found = np.diff([*starts, len(body)]).tolist()
    if [str(size) for size in found] != sizes.split():
        message = "the lengths of the trees are not those of tree_sizes: the file was changed"
        raise ModelError(message)


def _table(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.split("\n"))
    return {name.strip(): value for name, _, value in pairs if name.strip()}


def _whole(table: dict[str, str], name: str, minimum: int) -> int:
    word = table.get(name, "").strip()
    if not word.isdecimal() or len(word) > 9 or int(word) < minimum:
        message = f"{name}={word!r:.20}, expected a whole number of at least {minimum}"
        raise ModelError(message)
    return int(word)


def _list(table: dict[str, str], name: str, count: int, kind: type = int) -> NDArray[Any]:
    words = table.get(name, "").split()
    if len(words) != count:
        message = f"{name} has {len(words)} entries, expected {count}"
        raise ModelError(message)
    try:
        return np.array([kind(word) for word in words], dtype=np.int64 if kind is int else float)
    except (ValueError, OverflowError) as error:
        message = f"{name} must hold numbers"
        raise ModelError(message) from error


def _link(objective: str) -> tuple[Link, float]:
    name, *options = objective.split() or ["custom"]
    if name not in _LINKS:
        message = (
            f"objective {name!r} of LightGBM is not supported; supported: {nearest(name, _LINKS)}"
        )
        raise UnsupportedModelError(message)
    if "sqrt" in options:
        return "signed_square", 1.0
    scale = 1.0
    for option in options:
        key, _, value = option.partition(":")
        if key == "sigmoid":
            try:
                scale = float(value)
            except ValueError as error:
                message = f"objective {objective!r:.60}"
                raise ModelError(message) from error
    return _LINKS[name], scale if _LINKS[name] == "sigmoid" else 1.0


def _names(names: Sequence[str], num_features: int) -> tuple[str, ...] | None:
    if not names:
        return None
    if len(names) != num_features:
        message = f"{len(names)} feature_names for {num_features} features"
        raise ModelError(message)
    return tuple(names)


def _kinds(head: dict[str, str], num_features: int) -> tuple[str, ...] | None:
    """ "categorical", "numerical" or "unused" for each feature, from ``feature_infos``."""
    infos = head.get("feature_infos", "").split()
    if len(infos) != num_features:
        return None
    words = {"[": "numerical", "n": "unused"}
    return tuple(words.get(info[0], "categorical") for info in infos)


def _category_names(
    tail: str, kinds: tuple[str, ...] | None
) -> tuple[tuple[str | int | float, ...] | None, ...] | None:
    """The categories of pandas columns, which LightGBM keeps in order of the columns."""
    _, found, line = tail.rpartition("\npandas_categorical:")
    if not found or kinds is None:
        return None
    try:
        lists = json.loads(line.split("\n", 1)[0])
    except (ValueError, RecursionError) as error:
        message = "pandas_categorical is not valid JSON"
        raise ModelError(message) from error
    columns = [i for i, kind in enumerate(kinds) if kind == "categorical"]
    if not isinstance(lists, list) or not lists or len(lists) != len(columns):
        return None  # a column that training found constant: which one is not written
    names: list[tuple[str | int | float, ...] | None] = [None] * len(kinds)
    for column, categories in zip(columns, lists, strict=True):
        names[column] = tuple(categories)
    return tuple(names)


# --- trees ---------------------------------------------------------------------------------------


@dataclass
class _Nodes:
    """Arrays of one tree (or of all): inner nodes first, then leaves; children are within."""

    sizes: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    decision: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float64]
    gain: NDArray[np.float64]
    cover: NDArray[np.float64]
    sets: list[NDArray[np.int64]]


def _tree(table: dict[str, str], num_features: int) -> _Nodes:
    if table.get("is_linear", "0").strip() not in {"0", ""}:
        message = (
            "linear trees of LightGBM (linear_tree=true) are not supported: their leaves are "
            "not constants"
        )
        raise UnsupportedModelError(message)
    leaves = _whole(table, "num_leaves", 1)
    inner = leaves - 1
    sets_count = _whole(table, "num_cat", 0)
    values = _list(table, "leaf_value", leaves, float)
    split = inner > 0
    left, right = (
        _list(table, name, inner) if split else np.zeros(0, np.int64)
        for name in ("left_child", "right_child")
    )
    for child in (left, right):
        if np.any(child >= inner) or np.any(child < -leaves):
            message = f"a child index is outside of {inner} inner nodes and {leaves} leaves"
            raise ModelError(message)
    feature = _list(table, "split_feature", inner) if split else np.zeros(0, np.int64)
    if np.any((feature < 0) | (feature >= num_features)):
        message = f"split_feature has values from {feature.min()} to {feature.max()}"
        raise ModelError(message)
    decision = _list(table, "decision_type", inner) if split else np.zeros(0, np.int64)
    if np.any((decision < 0) | (decision > 15)):
        message = (
            f"decision_type has values from {decision.min()} to {decision.max()}, expected 0 to 15"
        )
        raise ModelError(message)
    none = np.full(leaves, -1, dtype=np.int64)
    zeros = np.zeros(leaves)
    return _Nodes(
        sizes=np.array([inner + leaves]),
        feature=np.r_[feature, none],
        threshold=np.r_[_list(table, "threshold", inner, float) if split else zeros[:0], zeros],
        decision=np.r_[decision, none * 0],
        left=np.r_[np.where(left < 0, inner + ~left, left), none],
        right=np.r_[np.where(right < 0, inner + ~right, right), none],
        value=np.r_[np.zeros(inner), values],
        gain=np.r_[_list(table, "split_gain", inner, float) if split else zeros[:0], zeros],
        cover=_cover(table, inner, leaves),
        sets=_sets(table, sets_count) if sets_count else [],
    )


def _cover(table: dict[str, str], inner: int, leaves: int) -> NDArray[np.float64]:
    """Numbers of events, as LightGBM's own contributions use them, else sums of hessians."""
    for kind in ("count", "weight"):
        if table.get(f"leaf_{kind}", "").split() and (
            not inner or table.get(f"internal_{kind}", "").split()
        ):
            above = _list(table, f"internal_{kind}", inner, float) if inner else np.zeros(0)
            return np.concatenate([above, _list(table, f"leaf_{kind}", leaves, float)])
    return np.zeros(inner + leaves)


def _sets(table: dict[str, str], count: int) -> list[NDArray[np.int64]]:
    """The members of each category set, from words of 32 bits."""
    limits = _list(table, "cat_boundaries", count + 1)
    total = int(limits[-1])
    if limits[0] != 0 or np.any(np.diff(limits) < 0) or np.diff(limits).max() > _MAX_WORDS:
        message = "cat_boundaries do not rise from 0, or a set has more than 2^24 members"
        raise ModelError(message)
    words = _list(table, "cat_threshold", total)
    if np.any((words < 0) | (words >= 2**32)):
        message = "cat_threshold must hold 32-bit words"
        raise ModelError(message)
    octets = words.astype("<u4").view(np.uint8)
    return [
        np.flatnonzero(np.unpackbits(octets[4 * a : 4 * b], bitorder="little")).astype(np.int64)
        for a, b in zip(limits[:-1].tolist(), limits[1:].tolist(), strict=True)
    ]


def _join(trees: Sequence[_Nodes]) -> _Nodes:
    if not trees:
        message = "a LightGBM model without trees"
        raise ModelError(message)
    joined = {
        name: np.concatenate([getattr(tree, name) for tree in trees])
        for name in _Nodes.__dataclass_fields__
        if name not in {"sets", "threshold"}
    }
    before = np.cumsum([0, *(len(tree.sets) for tree in trees)])
    thresholds = []
    for tree, start in zip(trees, before.tolist(), strict=False):
        is_set = (tree.decision & _CATEGORICAL == 1) & (tree.feature >= 0)
        index = tree.threshold[is_set]
        if np.any(index != np.floor(index)) or np.any((index < 0) | (index >= len(tree.sets))):
            message = f"a node tests a category set beyond the {len(tree.sets)} of its tree"
            raise ModelError(message)
        thresholds.append(np.where(is_set, tree.threshold + start, tree.threshold))
    sets = [one for tree in trees for one in tree.sets]
    return _Nodes(**joined, threshold=np.concatenate(thresholds), sets=sets)


def _missing_types(nodes: _Nodes, num_features: int) -> NDArray[np.int64]:
    """The missing type of each feature, the same in all its numeric nodes."""
    numeric = (nodes.feature >= 0) & (nodes.decision & _CATEGORICAL == 0)
    kind = (nodes.decision >> 2) & 3
    types = np.zeros(num_features, dtype=np.int64)
    types[nodes.feature[numeric]] = kind[numeric]
    if np.any(types[nodes.feature[numeric]] != kind[numeric]) or np.any(kind[numeric] > _NAN):
        message = "a feature whose nodes treat missing values differently is not supported"
        raise UnsupportedModelError(message)
    categorical = np.zeros(num_features, dtype=bool)
    categorical[nodes.feature[(nodes.feature >= 0) & ~numeric]] = True
    if np.any(categorical & (types == _ZERO)):
        message = (
            "a feature that is categorical, and numeric with zero as missing, is not supported"
        )
        raise UnsupportedModelError(message)
    return types


def _tests(nodes: _Nodes, missing: NDArray[np.int64]) -> dict[str, Any]:
    """The fields of a `Forest` that have an element per node."""
    offset = np.concatenate([[0], np.cumsum(nodes.sizes)]).astype(np.int64)
    first = np.repeat(offset[:-1], nodes.sizes)
    inner = nodes.feature >= 0
    leaves_before: NDArray[np.int64] = np.repeat(
        np.cumsum(~inner)[offset[:-1]] - ~inner[offset[:-1]], nodes.sizes
    )
    is_set = inner & (nodes.decision & _CATEGORICAL == 1)
    default = nodes.decision & _DEFAULT_LEFT != 0
    zero_left = nodes.threshold >= 0
    is_none = missing[np.where(inner, nodes.feature, 0)] == _NONE
    threshold = np.where(inner & ~is_set, nodes.threshold, 0.0)
    near_zero = inner & ~is_set & (np.abs(threshold) <= ZERO)
    below = np.nextafter(-ZERO, -np.inf)
    return {
        "tree_offset": offset,
        "feature": nodes.feature,
        "threshold": np.where(near_zero, np.where(zero_left, ZERO, below), threshold),
        "left": np.where(inner, nodes.left + first, -1),
        "right": np.where(inner, nodes.right + first, -1),
        "default_left": inner & ~is_set & np.where(is_none, zero_left, default),
        "value": nodes.value[:, None],
        "category": np.where(is_set, nodes.threshold, -1.0).astype(np.int64),
        "category_offset": np.cumsum([0, *(len(one) for one in nodes.sets)]),
        "category_values": np.concatenate([np.zeros(0, np.int64), *nodes.sets]),
        "gain": nodes.gain,
        "cover": nodes.cover,
        "leaf_id": np.where(inner, 0, np.cumsum(~inner) - 1 - leaves_before),
    }
