"""Our own JSON of a `Forest`: every field by its name, every float exactly.

::

    {"format": "rootml.forest", "version": 1, "input_dtype": "float32", "dtype": "float32",
     "tree_offset": [0, 3], "feature": [0, -1, -1], "threshold": [0.5, 0, 0], ...}

Numbers are decimals that give the same float again; what JSON has no number for is "nan", "inf"
or "-inf". `value` lists the nodes behind one another.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest
from rootml.bdt.readers._fields import entry, items, only_known, whole
from rootml.errors import ModelError, UnsupportedModelError

FORMAT = "rootml.forest"
VERSION = 1

_SPECIAL = ("nan", "inf", "-inf")
_INTEGERS = ("tree_offset", "feature", "left", "right", "tree_output", "category",
             "category_offset", "category_values")  # fmt: skip
_FLAGS = ("default_left", "zero_missing")
_FLOATS = {"threshold": "input_dtype", "value": "dtype", "base": "dtype"}
_OPTIONAL = ("gain", "cover")
_NUMBERS = ("divisor", "missing", "link_scale")
_TEXTS = ("comparison", "category_rule", "link", "library", "library_version", "objective")
_WORDS = ("feature_names", "feature_types")


def read_forest_json(document: Any) -> Forest:
    """A forest from the parsed text.

    Raises:
        ModelError: Damaged.
        UnsupportedModelError: A version or a field that is not known here.
    """
    version = whole(document, "version")
    if version > VERSION:
        message = (
            f"a forest file of version {version}; supported: up to {VERSION}; was it written "
            "by a newer rootml?"
        )
        raise UnsupportedModelError(message)
    names = {field.name for field in dataclasses.fields(Forest)}
    only_known(document, names | {"format", "version", "input_dtype", "dtype"}, "the forest file")
    made: dict[str, Any] = {}
    for name in _INTEGERS:
        made[name] = _integers(document, name)
    for name in _FLAGS:
        made[name] = _integers(document, name) != 0
    for name, kind in _FLOATS.items():
        dtype = entry(document, kind)
        if dtype not in {"float32", "float64"}:
            message = f"{kind} is {dtype!r:.20}, neither float32 nor float64"
            raise ModelError(message)
        made[name] = _floats(document, name, np.dtype(dtype))
    nodes = len(made["feature"])
    if nodes and len(made["value"]) % nodes == 0:
        made["value"] = made["value"].reshape(nodes, -1)
    for name in _OPTIONAL:
        missing = entry(document, name) is None
        made[name] = None if missing else _floats(document, name, np.dtype(np.float64))
    for name in _NUMBERS:
        made[name] = float(_float_list([entry(document, name)], name)[0])
    for name in _TEXTS:
        made[name] = _typed(document, name, str)
    for name in ("base_first", "allow_nan"):
        made[name] = _typed(document, name, bool)
    for name in _WORDS:
        made[name] = _words(document, name)
    made["feature_categories"] = _categories(document)
    if document.get("leaf_id") is not None:  # younger than the format
        made["leaf_id"] = _integers(document, "leaf_id")
    best = entry(document, "best_iteration")
    return Forest(
        **made,
        num_features=whole(document, "num_features", minimum=1),
        trees_per_iteration=whole(document, "trees_per_iteration", minimum=1),
        best_iteration=None if best is None else whole(document, "best_iteration"),
    )


def is_forest_json(document: Any) -> bool:
    """Whether a parsed JSON file is one of ours."""
    return isinstance(document, dict) and document.get("format") == FORMAT


def _typed(document: Any, name: str, kind: type) -> Any:
    value = entry(document, name)
    if not isinstance(value, kind):
        message = f"{name} must be {kind.__name__}, not {type(value).__name__}"
        raise ModelError(message)
    return value


def _integers(document: Any, name: str) -> NDArray[np.int64]:
    values = items(document, name)
    if not all(type(value) is int for value in values):
        message = f"{name} must be a list of whole numbers"
        raise ModelError(message)
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError as error:
        message = f"{name} has numbers beyond 64 bits"
        raise ModelError(message) from error


def _floats(document: Any, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    values = _float_list(items(document, name), name)
    with np.errstate(all="ignore"):
        made = values.astype(dtype)
    if not np.array_equal(made.astype(np.float64), values, equal_nan=True):
        message = f"{name} has numbers that {dtype} cannot hold"
        raise ModelError(message)
    return made


def _float_list(values: list[Any], name: str) -> NDArray[np.float64]:
    if not all(type(value) in {int, float} or value in _SPECIAL for value in values):
        message = f"{name} must be a list of numbers"
        raise ModelError(message)
    try:
        with np.errstate(over="ignore"):
            return np.array([float(value) for value in values], dtype=np.float64)
    except OverflowError as error:
        message = f"{name} has a number beyond float64"
        raise ModelError(message) from error


def _words(document: Any, name: str) -> tuple[str, ...] | None:
    if entry(document, name) is None:
        return None
    words = items(document, name)
    if not all(isinstance(word, str) for word in words):
        message = f"{name} must be strings"
        raise ModelError(message)
    return tuple(words)


def _categories(document: Any) -> tuple[tuple[str | int | float, ...] | None, ...] | None:
    if entry(document, "feature_categories") is None:
        return None
    made: list[tuple[str | int | float, ...] | None] = []
    for names in items(document, "feature_categories"):
        if names is not None and not (
            isinstance(names, list) and all(type(n) in {str, int, float} for n in names)
        ):
            message = "feature_categories are neither lists of names nor null"
            raise ModelError(message)
        made.append(None if names is None else tuple(names))
    return tuple(made)
