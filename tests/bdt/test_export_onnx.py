"""`Forest.to_onnx`, run by ONNX Runtime on one thread: the margins of the training library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forest_walk import margins, nasty_rows
from make_xgboost_models import KINDS
from numpy.typing import NDArray

from rootml.bdt import Forest, load
from rootml.errors import MissingPackageError, UnsupportedModelError

LIGHTGBM = ("binary", "sqrt", "multiclass", "multiclassova", "poisson", "cross_entropy_lambda")
SKLEARN = (
    "ada_three", "decision_tree", "extra_trees", "extra_trees_reg", "gb_exponential", "gb_reg",
    "gb_three", "gb_two", "gb_zero", "hist_categories", "hist_gamma", "hist_poisson", "hist_three",
    "random_forest", "random_forest_reg", "random_forest_targets",
)  # fmt: skip


def run(forest: Forest, folder: Path, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Margins and predictions of ONNX Runtime."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    forest.to_onnx(folder / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options)
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(x, dtype=forest.input_dtype)
    margin, prediction = session.run(["margin", "prediction"], {"features": rows})
    return margin, prediction


@pytest.mark.parametrize("name", KINDS)
def test_xgboost(name: str, tmp_path: Path, xgboost_model: Callable[..., Any]) -> None:
    one = xgboost_model(name)
    margin, prediction = run(one.forest, tmp_path, one.x)
    assert margin.dtype == np.float32
    assert np.array_equal(margin, one.margin)
    np.testing.assert_allclose(prediction, one.prediction, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", LIGHTGBM)
@pytest.mark.parametrize("missing", ["nan", "zero", "none"])
@pytest.mark.parametrize("categorical", [False, True], ids=["numeric", "categorical"])
def test_lightgbm(
    name: str, missing: str, categorical: bool, tmp_path: Path,
    lightgbm_model: Callable[..., Any],
) -> None:  # fmt: skip
    one = lightgbm_model(name, missing, categorical=categorical)
    margin, prediction = run(one.forest, tmp_path, one.x)
    assert np.array_equal(margin, one.margin)
    np.testing.assert_allclose(prediction, one.prediction, rtol=1e-13)


@pytest.mark.parametrize("name", SKLEARN)
def test_sklearn(name: str, tmp_path: Path, sklearn_model: Callable[..., Any]) -> None:
    one = sklearn_model(name)
    margin, prediction = run(one.forest, tmp_path, one.x)
    assert np.array_equal(margin, one.margin)
    np.testing.assert_allclose(prediction, one.prediction, rtol=1e-12)


def test_a_custom_missing_value(tmp_path: Path, xgboost_model: Callable[..., Any]) -> None:
    one = xgboost_model("logistic")
    x = np.where(np.isnan(one.x), np.float32(-999), one.x)
    margin, _ = run(one.forest.replace(missing=-999.0), tmp_path, x)
    assert np.array_equal(margin, one.margin)


def test_a_tmva_forest(tmp_path: Path) -> None:
    from tmva_files import evaluate, weight_file

    text = weight_file("Grad")
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    x[:5, 0] = np.nan
    _, prediction = run(load(text.encode()), tmp_path, x)
    np.testing.assert_allclose(
        prediction[:, 0], [evaluate(text, row) for row in x], rtol=1e-13, atol=1e-15
    )


@pytest.mark.parametrize("name", ["logistic", "softprob", "squarederror"])
def test_what_was_written_can_be_read(
    name: str, tmp_path: Path, xgboost_model: Callable[..., Any]
) -> None:
    one = xgboost_model(name)
    margin, _ = run(one.forest, tmp_path, one.x)
    again = load(tmp_path / "model.onnx")
    assert again.link == one.forest.link
    assert np.array_equal(margins(again, one.x), margin)


def test_random_forests_of_every_kind(tmp_path: Path) -> None:
    from bdt_forests import random_forest

    rng = np.random.default_rng(5)
    for i in range(14):
        outputs = int(rng.integers(1, 4))
        real = (np.float32, np.float64)[i % 2]
        forest = random_forest(
            rng, trees=int(rng.integers(1, 20)), depth=int(rng.integers(1, 8)),
            sets=int(rng.integers(0, 5)), outputs=outputs, width=outputs if i % 5 == 0 else 1,
            input_dtype=real, dtype=real if i % 3 else np.float64,
            comparison="<" if i % 4 < 2 else "<=", base_first=i % 7 != 0,
            category_rule=("floor", "truncate", "exact")[i % 3],
        )  # fmt: skip
        x = nasty_rows(forest, rng)
        margin, _ = run(forest, tmp_path, x)
        assert np.array_equal(margin, margins(forest, x), equal_nan=True), i


def test_forests_without_splits_or_trees(tmp_path: Path) -> None:
    kinds: tuple[Any, ...] = (np.float32, np.float64)
    for dtype in kinds:
        for trees in (0, 1, 3):
            forest = Forest(
                tree_offset=np.arange(trees + 1),
                feature=np.full(trees, -1, np.int32),
                threshold=np.zeros(trees, dtype),
                left=np.full(trees, -1, np.int32),
                right=np.full(trees, -1, np.int32),
                default_left=np.zeros(trees, dtype=bool),
                value=np.full((trees, 1), 0.25, dtype),
                tree_output=np.zeros(trees, np.int32),
                base=np.array([2], dtype),
                num_features=2,
            )
            margin, _ = run(forest, tmp_path, np.zeros((3, 2)))
            assert margin.ravel().tolist() == [2 + 0.25 * trees] * 3


def test_what_onnx_has_no_operator_for(
    tmp_path: Path, xgboost_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    forest = xgboost_model("logistic").forest
    with pytest.raises(UnsupportedModelError, match="probit"):
        forest.replace(link="probit").to_onnx(tmp_path / "p.onnx")
    mixed = forest.replace(threshold=forest.threshold.astype(np.float64))
    with pytest.raises(UnsupportedModelError, match="float32 leaves"):
        mixed.to_onnx(tmp_path / "m.onnx")
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackageError, match=r"rootml\[onnx\]"):
        forest.to_onnx(tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def leaf_of(margin: Any, dtype: Any = np.float32, **fields: Any) -> Forest:
    """A tree whose only leaf has a value; margins are that value."""
    values = np.atleast_2d(np.array(margin, dtype))
    return Forest(
        tree_offset=np.array([0, 1]), feature=np.array([-1]), threshold=np.zeros(1, dtype),
        left=np.array([-1]), right=np.array([-1]), default_left=np.array([False]), value=values,
        tree_output=np.zeros(1, np.int32), base=np.zeros(values.shape[1], dtype), num_features=1,
        **fields,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoids_are_right_far_out(tmp_path: Path, dtype: Any) -> None:
    for m in (-20.0, -15.3, -9.0, -1.0, 0.0, 7.7, 20.0):
        forest = leaf_of(m, dtype, link="sigmoid")
        _, prediction = run(forest, tmp_path, np.zeros((40, 1)))
        np.testing.assert_allclose(prediction, 1 / (1 + np.exp(-m)), rtol=1e-6)
        assert load(tmp_path / "model.onnx").link == "sigmoid"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_that_do_not_cross(tmp_path: Path, dtype: Any) -> None:
    m = np.array([0.5, -1.25, 2, -30])
    steps = 1e-6 + np.log1p(np.exp(m[1:]))
    for link, wanted in (("sorted", np.sort(m)), ("increments", np.cumsum(np.r_[m[:1], steps]))):
        forest = leaf_of(m, dtype, link=link, library="xgboost")
        _, prediction = run(forest, tmp_path, np.zeros((2, 1)))
        np.testing.assert_allclose(prediction, [wanted] * 2, rtol=1e-6)
        np.testing.assert_allclose(
            forest.compile("numpy").predict(np.zeros((2, 1))), [wanted] * 2, rtol=1e-6
        )
