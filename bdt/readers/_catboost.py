"""CatBoost models: JSON, ``.cbm``, and trained objects of the package.

Tests are those of ``catboost/libs/model/cpu`` (https://github.com/catboost/catboost): inputs are
float32, ``x > border`` is true, NaN makes a test true or false as ``nan_mode`` chose (false where
training saw no NaN), leaves are added in float64 in the order of the trees, then come scale and
bias. A one-hot test compares the hash of a category's text. Categories that are whole numbers are
given as these numbers; others by their position in `Forest.feature_categories`, or as texts of a
pandas DataFrame.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import MAX_FEATURES, Forest, Link
from rootml.bdt._structure import level_depths
from rootml.bdt.readers._catboost_cbm import parts_of_cbm
from rootml.bdt.readers._catboost_json import parts_of_json
from rootml.bdt.readers._catboost_parts import Parts, whole_number_hashes
from rootml.errors import ModelError, UnsupportedModelError, UsageError, nearest

_LINKS: dict[str, Link] = {
    "Cox": "identity",
    "CrossEntropy": "sigmoid",
    "Expectile": "identity",
    "Focal": "sigmoid",
    "Huber": "identity",
    "LambdaMart": "identity",
    "LogCosh": "identity",
    "LogLinQuantile": "identity",
    "Logloss": "sigmoid",
    "Lq": "identity",
    "MAE": "identity",
    "MAPE": "identity",
    "MultiClass": "softmax",
    "MultiClassOneVsAll": "sigmoid",
    "MultiCrossEntropy": "sigmoid",
    "MultiLogloss": "sigmoid",
    "MultiQuantile": "identity",
    "MultiRMSE": "identity",
    "MultiRMSEWithMissingValues": "identity",
    "PairLogit": "identity",
    "PairLogitPairwise": "identity",
    "Poisson": "exp",
    "Quantile": "identity",
    "QueryRMSE": "identity",
    "QuerySoftMax": "identity",
    "RMSE": "identity",
    "StochasticRank": "identity",
    "SurvivalAft": "identity",
    "Tweedie": "exp",
    "YetiRank": "identity",
    "YetiRankPairwise": "identity",
}
"""Losses with the link of a regressor's ``predict`` or a classifier's ``predict_proba``."""

_MAX_CATEGORY = 2**24


def read_catboost_json(document: Any) -> Forest:
    """A forest from a parsed JSON model.

    Raises:
        ModelError: Damaged.
        UnsupportedModelError: Statistics of categories (CTR), texts, embeddings, an unknown loss,
            categories that cannot be told from their hash.
    """
    return _forest(parts_of_json(document))


def read_catboost_cbm(data: bytes) -> Forest:
    """A forest from the bytes of a ``.cbm`` file; raises as `read_catboost_json`."""
    return _forest(parts_of_cbm(data))


def read_catboost_model(model: Any) -> Forest:
    """A forest from a trained object of the package.

    Raises:
        UsageError: It is not trained.
    """
    if not model.is_fitted():
        message = f"this {type(model).__name__} is not trained"
        raise UsageError(message)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        model.save_model(str(path), format="cbm")
        return read_catboost_cbm(path.read_bytes())


def _forest(parts: Parts) -> Forest:
    if parts.loss and parts.loss not in _LINKS:
        message = (
            f"the loss {parts.loss!r:.60} of CatBoost is not supported; supported: "
            f"{nearest(parts.loss, _LINKS)}"
        )
        raise UnsupportedModelError(message)
    if not 1 <= len(parts.names) <= MAX_FEATURES or not np.isfinite(parts.scale):
        message = f"{len(parts.names)} features, scale {parts.scale}"
        raise ModelError(message)
    nodes = _nodes(parts)
    tests = _tests(parts, nodes["split"])
    plain = [str(i) for i in range(len(parts.names))]
    version = re.search(r"v(\d+(?:\.\d+)+)", parts.version)
    return Forest(
        **{name: array for name, array in nodes.items() if name != "split"},
        **tests,
        tree_output=np.zeros(len(parts.trees), dtype=np.int32),
        base=parts.bias,
        base_first=False,
        num_features=len(parts.names),
        comparison="<=",
        category_rule="exact",
        link=_LINKS.get(parts.loss, "identity"),
        library="catboost",
        library_version=version[1] if version else "",
        objective=parts.loss,
        feature_names=None if parts.names == plain or not all(parts.names) else tuple(parts.names),
        feature_types=tuple(
            "categorical" if i in parts.categorical else "numerical"
            for i in range(len(parts.names))
        ),
    )


def _nodes(parts: Parts) -> dict[str, Any]:
    """Arrays of all nodes, with the index of the test in `split`.

    The child on the left is where the test does not hold, and where a one-hot test holds.
    """
    trees, outputs = parts.trees, len(parts.bias)
    offset = np.cumsum([0, *(len(tree.split) for tree in trees)])

    def joined(name: str, dtype: type = np.int64) -> NDArray[Any]:
        empty: NDArray[Any] = np.zeros((0, outputs) if name == "value" else 0, dtype)
        return np.concatenate([empty, *(getattr(tree, name) for tree in trees)])

    first = np.repeat(offset[:-1], np.diff(offset))
    split = joined("split")
    inner = split >= 0
    one_hot = np.array([one.category is not None for one in parts.splits] + [False])[split]
    no, yes = (np.where(inner, joined(name) + first, -1) for name in ("no", "yes"))
    left, right = np.where(one_hot, yes, no), np.where(one_hot, no, yes)
    return {
        "tree_offset": offset,
        "split": split,
        "left": left,
        "right": right,
        "value": joined("value", np.float64) * parts.scale,
        "leaf_id": joined("leaf"),
        "cover": _cover(offset, left, right, joined("weight", np.float64)),
    }


def _cover(
    offset: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Weights of leaves, summed up to the roots."""
    cover = weight.copy()
    depth = level_depths(offset, left.astype(np.int32), right.astype(np.int32))
    for level in range(int(depth.max(initial=0)) - 1, -1, -1):
        at = np.flatnonzero((depth == level) & (left >= 0))
        cover[at] = cover[left[at]] + cover[right[at]]
    return cover


# --- tests ---------------------------------------------------------------------------------------


def _tests(parts: Parts, split: NDArray[np.int64]) -> dict[str, Any]:
    """Features, thresholds, category sets and directions of NaN."""
    used = np.unique(split[split >= 0]).tolist()
    known = [(i, parts.splits[i]) for i in used if parts.splits[i].category is not None]
    texts = _category_texts(parts, {(one.feature, one.category or 0) for _, one in known})
    names = _category_names(parts, texts)
    size = len(parts.splits) + 1  # the last element serves -1, of leaves
    feature, category = np.full(size, -1), np.full(size, -1)
    threshold, nan_left = np.zeros(size, np.float32), np.zeros(size, dtype=bool)
    members: list[list[int]] = []
    for i, one in enumerate(parts.splits):
        feature[i] = one.feature
        threshold[i] = one.border
        nan_left[i] = one.category is None and one.feature not in parts.nan_yes
    for i, one in known:
        text = texts[one.feature, one.category or 0]
        nan_left[i] = text == "nan"
        category[i] = len(members)
        words = names.get(one.feature)
        members.append([] if text == "nan" else [words.index(text) if words else int(text)])
    return {
        "feature": feature[split],
        "threshold": np.where(category[split] >= 0, np.float32(0), threshold[split]),
        "default_left": nan_left[split],
        "category": category[split],
        "category_offset": np.cumsum([0, *map(len, members)]),
        "category_values": np.array([one for each in members for one in each], dtype=np.int64),
        "feature_categories": (
            tuple(names.get(i) for i in range(len(parts.names))) if names else None
        ),
    }


def _category_texts(parts: Parts, wanted: set[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """From columns and hashes to texts; hashes of whole numbers are known without the file."""
    numbers = whole_number_hashes() if wanted else {}
    made = {}
    for column, hashed in sorted(wanted):
        text = parts.texts.get(hashed, numbers.get(hashed))
        if text is None:
            message = (
                f"a category of feature {parts.names[column]!r} is stored as a hash alone, and is "
                "not a whole number below 10000; save the model with "
                "save_model(path, format='json', pool=training_pool), which stores the texts too"
            )
            raise UnsupportedModelError(message)
        made[column, hashed] = text
    return made


def _category_names(
    parts: Parts, texts: Mapping[tuple[int, int], str]
) -> dict[int, tuple[str, ...]]:
    """Names of the categories of columns whose categories are not whole numbers."""
    made = {}
    for column in {column for column, _ in texts}:
        words = sorted({text for (at, _), text in texts.items() if at == column} - {"nan"})
        if all(_is_category_number(word) for word in words):
            continue
        if odd := [word for word in words if _is_number(word)]:
            message = (
                f"categories of feature {parts.names[column]!r}: {words[:5]}; supported are whole "
                f"numbers from 0 to {_MAX_CATEGORY - 1} alone, or words alone, not {odd[0]!r}"
            )
            raise UnsupportedModelError(message)
        made[column] = tuple(words)
    return made


def _is_category_number(word: str) -> bool:
    return (
        word.isascii() and word.isdigit() and str(int(word)) == word and int(word) < _MAX_CATEGORY
    )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
