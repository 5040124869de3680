"""`Forest` itself: what it checks, its sizes, slices and reprs, our own JSON, and `load`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forest_walk import margins

from rootml.bdt import Forest, load
from rootml.errors import (
    MissingFileError,
    ModelError,
    RootmlError,
    UnsupportedModelError,
    UsageError,
)


def f32(values: Any) -> Any:
    """A float32 array."""
    return np.asarray(values, dtype=np.float32)


def fields() -> dict[str, Any]:
    """Two trees: ``f0 < 1`` over a leaf and a category test of f1; a lone leaf."""
    return {
        "tree_offset": np.array([0, 5, 6]),
        "feature": np.array([0, -1, 1, -1, -1, -1]),
        "threshold": f32([1, 0, 0, 0, 0, 0]),
        "left": np.array([1, -1, 3, -1, -1, -1]),
        "right": np.array([2, -1, 4, -1, -1, -1]),
        "default_left": np.array([True, False, False, False, False, False]),
        "value": f32([[0], [1], [0], [2], [3], [10]]),
        "tree_output": np.array([0, 0]),
        "base": f32([0.5]),
        "num_features": 2,
        "category": np.array([-1, -1, 0, -1, -1, -1]),
        "category_offset": np.array([0, 2]),
        "category_values": np.array([3, 7]),
    }


def test_sizes_and_walk() -> None:
    forest = Forest(**fields())
    assert (forest.num_trees, forest.num_nodes, forest.depth) == (2, 6, 2)
    assert forest.tree_depth.tolist() == [2, 0]
    assert forest.node_depth.tolist() == [0, 1, 1, 2, 2, 0]
    assert forest.category_set(0).tolist() == [3, 7]
    x = np.array([[0, 0], [1, 3], [1, 4], [np.nan, 3], [2, np.nan], [2, 7.9], [2, -7]])
    assert margins(forest, x)[:, 0].tolist() == [11.5, 12.5, 13.5, 11.5, 13.5, 12.5, 13.5]


def test_arrays_are_read_only() -> None:
    forest = Forest(**fields())
    for name in fields():
        if name != "num_features":
            with pytest.raises(ValueError, match="read-only"):
                getattr(forest, name)[...] = 0
    with pytest.raises(ValueError, match="read-only"):
        forest.node_depth[0] = 3


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("tree_offset", [0, 5], "rise to the number of nodes, 6"),
        ("tree_offset", [0, 6, 6], "smallest step is 0"),
        ("tree_offset", [1, 5, 6], "begin with 0"),
        ("feature", [0, -1, 2, -1, -1, -1], "tests feature 2"),
        ("feature", [0, -1, -2, -1, -1, -1], "feature -2"),
        ("feature", [0, 0, 1, -1, -1, -1], "two children"),
        ("feature", [0, -1, 2**40, -1, -1, -1], "does not fit int32"),
        ("threshold", f32([np.nan, 0, 0, 0, 0, 0]), "NaN"),
        ("threshold", np.array([1, 0, 0, 0, 0, 0]), "float32 or float64"),
        ("threshold", np.zeros(5, np.float32), r"shape \(6,\)"),
        ("left", [1, -1, 5, -1, -1, -1], "outside of its tree"),
        ("left", [1, -1, 0, -1, -1, -1], "reached twice"),
        ("left", [1, -1, 1, -1, -1, -1], "reached twice"),
        ("left", [1, -1, 60, -1, -1, -1], "outside of its tree"),
        ("left", [1, -5, 3, -1, -1, -1], "two children"),
        ("right", [2, -1, -1, -1, -1, -1], "two children|one child"),
        ("value", np.zeros((6, 2), np.float32), "1 outputs and leaves of width 2"),
        ("value", np.zeros(6, np.float32), "shape"),
        ("tree_output", [0, 1], "one of 1 outputs"),
        ("tree_output", [0], "one of 1 outputs"),
        ("base", np.zeros(0, np.float32), "0 outputs"),
        ("num_features", 0, "0 features"),
        ("num_features", 2**40, "features"),
        ("category", [-1, -1, 1, -1, -1, -1], "does not exist"),
        ("category", [-1, 0, 0, -1, -1, -1], "a leaf has a category set"),
        ("category_offset", [0, 3], "category_offset"),
        ("category_values", [7, 3], "must rise"),
        ("category_values", [-1, 3], "must rise"),
        ("comparison", ">", "comparison='>'"),
        ("link", "logit", "link='logit'"),
        ("divisor", 0.0, "divisor"),
        ("divisor", math.nan, "divisor"),
        ("trees_per_iteration", 0, "trees_per_iteration"),
        ("feature_names", ("a",), "1 feature_names for 2 features"),
        ("zero_missing", [True], "zero_missing"),
        ("gain", [1.0], "gain"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, value: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Forest(**(fields() | {name: value}))


def test_nodes_that_no_root_reaches_are_refused() -> None:
    changed = fields() | {"left": [1, -1, -1, -1, -1, -1], "right": [2, -1, -1, -1, -1, -1],
                          "feature": [0, -1, -1, -1, -1, -1], "category": [-1] * 6}  # fmt: skip
    with pytest.raises(ModelError, match="2 nodes cannot be reached from any root"):
        Forest(**changed)


def test_importance_that_is_not_there() -> None:
    forest = Forest(**fields(), feature_names=("pt", "kind"))
    assert forest.importance("weight") == {"pt": 1.0, "kind": 1.0}
    with pytest.raises(UsageError, match="does not hold it"):
        forest.importance("gain")
    with pytest.raises(UsageError, match="'wieght'.*'weight'"):
        forest.importance("wieght")  # type: ignore[arg-type]


def test_slices_of_an_average() -> None:
    forest = Forest(**fields(), divisor=2.0)
    x = np.zeros((1, 2))
    assert margins(forest, x)[0, 0] == (0.5 + 1 + 10) / 2
    assert margins(forest.iterations(1, 2), x)[0, 0] == 10.5
    with pytest.raises(UsageError, match="weighted average"):
        Forest(**fields(), divisor=2.5).iterations(0, 1)


def test_reprs_name_what_matters_and_escape_it() -> None:
    forest = Forest(
        **fields(), feature_names=("pt", "<b>"), objective="reg:squarederror", missing=-999.0,
        library="xgboost", library_version="3.2.0", best_iteration=1,
    )  # fmt: skip
    text = repr(forest)
    for words in ("trees", "2 (depth 2, 6 nodes)", "2: pt, <b>", "reg:squarederror", "-999.0",
                  "xgboost 3.2.0", "x < threshold, float32", "1 of 2", "1 sets"):  # fmt: skip
        assert words in text
    assert "&lt;b&gt;" in forest._repr_html_()
    assert "<b>" not in forest._repr_html_()


# --- our own JSON --------------------------------------------------------------------------------


def assert_equal(a: Forest, b: Forest) -> None:
    """The same fields, NaN being equal to NaN, and the same dtypes."""
    for name in Forest.__dataclass_fields__:
        x, y = getattr(a, name), getattr(b, name)
        np.testing.assert_equal(x, y, err_msg=name)
        assert getattr(x, "dtype", None) == getattr(y, "dtype", None), name


def test_saved_forests_come_back_whole(
    tmp_path: Path,
    xgboost_model: Callable[..., Any],
    lightgbm_model: Callable[..., Any],
    sklearn_model: Callable[..., Any],
) -> None:
    forests = [
        xgboost_model(name).forest
        for name in ("category_set", "dart", "softmax", "multi_output_tree", "best_iteration")
    ]
    forests += [lightgbm_model("sqrt", "zero", categorical=True).forest]
    forests += [sklearn_model(name).forest for name in ("hist_categories", "random_forest")]
    odd = {"threshold": f32([np.inf, 0, 0, 0, 0, 0]), "base": f32([-0.0]),
           "value": f32([[0], [np.nan], [0], [-np.inf], [1e-45], [3.4e38]])}  # fmt: skip
    forests += [Forest(**(fields() | odd), feature_names=("é", "\n\"'"), missing=-999.0,
                       feature_categories=(None, ("a", 2, 0.5)))]  # fmt: skip
    for number, forest in enumerate(forests):
        path = tmp_path / f"{number}.anything"
        forest.save(path)
        again = load(path)
        assert_equal(again, forest)
        assert again.value.tobytes() == forest.value.tobytes()


def test_saved_forests_are_checked(tmp_path: Path) -> None:
    Forest(**fields()).save(tmp_path / "f.json")
    document = json.loads((tmp_path / "f.json").read_text())
    for change, error, words in (
        ({"version": 2}, UnsupportedModelError, "version 2"),
        ({"oblique": 1}, UnsupportedModelError, "'oblique'"),
        ({"left": [1, -1, 0, -1, -1, -1]}, ModelError, "reached twice"),
        ({"left": [1.0, -1, 3, -1, -1, -1]}, ModelError, "list of whole numbers"),
        ({"left": [2**70, -1, 3, -1, -1, -1]}, ModelError, "64 bits"),
        ({"threshold": [0.1, 0, 0, 0, 0, 0]}, ModelError, "float32 cannot hold"),
        ({"threshold": ["x", 0, 0, 0, 0, 0]}, ModelError, "list of numbers"),
        ({"threshold": [True, 0, 0, 0, 0, 0]}, ModelError, "list of numbers"),
        ({"dtype": "int8"}, ModelError, "neither float32"),
        ({"base_first": 1}, ModelError, "must be bool"),
        ({"link": None}, ModelError, "must be str"),
        ({"feature_names": [1, 2]}, ModelError, "must be strings"),
        ({"feature_categories": [[None], None]}, ModelError, "lists of names"),
        ({"num_features": 1e400}, ModelError, "num_features"),
    ):
        with pytest.raises(error, match=words):
            load(json.dumps(document | change).encode())
    del document["right"]
    with pytest.raises(ModelError, match="right is missing"):
        load(json.dumps(document).encode())


# --- load ----------------------------------------------------------------------------------------


def test_files_are_told_apart_by_content(
    tmp_path: Path, xgboost_model: Callable[..., Any]
) -> None:
    booster = xgboost_model("logistic").model
    for kind, name in (("json", "a.ubj"), ("ubj", "b.json"), ("json", "c")):
        path = tmp_path / name
        path.write_bytes(bytes(booster.save_raw(kind)))
        assert load(path).library == load(str(path)).library == "xgboost"
    forest = load(path)
    assert load(forest) is forest
    assert load(forest, missing=-1).missing == -1
    assert load(bytearray(path.read_bytes())).num_trees == forest.num_trees


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"\x80\x04\x95", UnsupportedModelError, "pickle.*hand over the model"),
        (b"root\x00\x00", UnsupportedModelError, "ROOT file"),
        (b"binf\x00", UnsupportedModelError, "old binary format"),
        (b"PK\x03\x04", UnsupportedModelError, "zip"),
        (b"booster[0]:\n0:[f0<1]", UnsupportedModelError, "text dump"),
        (b'{"tree_info": []}', UnsupportedModelError, "JSON dump of LightGBM"),
        (b'{"a": 1}', ModelError, "not XGBoost's"),
        (b"hello world", ModelError, "unknown kind of file, it begins with b'hello"),
        (b"tree\n\xff\xfe", ModelError, "UTF-8"),
    ],
)
def test_other_files_are_named(
    tmp_path: Path, data: bytes, error: type[RootmlError], words: str
) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(error, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_what_is_no_model(tmp_path: Path) -> None:
    for missing in (tmp_path / "none.json", tmp_path):
        with pytest.raises(MissingFileError, match="no model file"):
            load(missing)
    with pytest.raises(UsageError, match="cannot load a model from list"):
        load([1, 2])
