"""`Forest.to_cpp`, compiled by g++ and by ROOT's cling: the bits of the training library."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forest_walk import margins, nasty_rows
from make_xgboost_models import KINDS
from numpy.typing import NDArray

from rootml.bdt import Forest
from rootml.errors import UnsupportedModelError, UsageError

LIGHTGBM = ("binary", "sqrt", "multiclass", "multiclassova", "cross_entropy_lambda")
SKLEARN = ("gb_exponential", "gb_three", "hist_categories", "hist_gamma", "random_forest",
           "random_forest_targets")  # fmt: skip
TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
FLAGS = ("-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic")


def compile_cpp(source: str, folder: Path, *flags: str) -> ctypes.CDLL:
    """A shared library from C++ text."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    (folder / "source.cpp").write_text(source)
    target = folder / "library.so"
    command = [compiler, *FLAGS, *flags, "-shared", "-fPIC", "-o", str(target), "source.cpp"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    return ctypes.CDLL(str(target))


def wrapper(name: str, forest: Forest) -> str:
    real, value = TYPES[forest.input_dtype], TYPES[forest.dtype]
    return "".join(
        f'extern "C" void {what}_{name}(const {real}* x, std::size_t n, {value}* out) '
        f"{{ rootml::{name}{{}}.{what}(x, n, out); }}\n"
        for what in ("margin", "predict")
    )


def call(library: ctypes.CDLL, what: str, name: str, forest: Forest, x: Any) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(x, dtype=forest.input_dtype)
    width = 1 if what == "predict" and forest.link == "argmax" else forest.num_outputs
    out = np.empty((len(rows), width), forest.dtype)
    pointers = (ctypes.c_void_p(rows.ctypes.data), ctypes.c_void_p(out.ctypes.data))
    getattr(library, f"{what}_{name}")(pointers[0], ctypes.c_size_t(len(rows)), pointers[1])
    return out


def compiled(models: dict[str, Any], folder: Path, *flags: str) -> ctypes.CDLL:
    text = ""
    for name, one in models.items():
        one.forest.to_cpp(folder / f"{name}.hpp", name=name)
        text += f'#include "{name}.hpp"\n{wrapper(name, one.forest)}'
    return compile_cpp(text, folder, *flags)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Compile all models of a library together, once."""
    made: dict[str, ctypes.CDLL] = {}

    def get(key: str, models: dict[str, Any]) -> ctypes.CDLL:
        if key not in made:
            made[key] = compiled(models, tmp_path_factory.mktemp(key))
        return made[key]

    return get


@pytest.mark.parametrize("name", KINDS)
def test_xgboost(
    name: str, libraries: Callable[..., Any], xgboost_model: Callable[..., Any]
) -> None:
    """Margins bit by bit, predictions too: the header calls the same exp as XGBoost."""
    library = libraries("xgboost", {kind: xgboost_model(kind) for kind in KINDS})
    one = xgboost_model(name)
    assert call(library, "margin", name, one.forest, one.x).tobytes() == one.margin.tobytes()
    prediction = call(library, "predict", name, one.forest, one.x)
    np.testing.assert_array_max_ulp(prediction, one.prediction.astype(np.float32), maxulp=1)


@pytest.mark.parametrize("name", LIGHTGBM)
@pytest.mark.parametrize("missing", ["nan", "zero", "none"])
def test_lightgbm(
    name: str, missing: str, libraries: Callable[..., Any], lightgbm_model: Callable[..., Any]
) -> None:
    def get(kind: str, missing: str) -> Any:
        return lightgbm_model(kind, missing, categorical=kind != "sqrt")

    models = {f"{k}_{m}": get(k, m) for k in LIGHTGBM for m in ("nan", "zero", "none")}
    library = libraries("lightgbm", models)
    one = get(name, missing)
    key = f"{name}_{missing}"
    assert np.array_equal(call(library, "margin", key, one.forest, one.x), one.margin)
    prediction = call(library, "predict", key, one.forest, one.x)
    np.testing.assert_allclose(prediction, one.prediction, rtol=1e-15)


@pytest.mark.parametrize("name", SKLEARN)
def test_sklearn(
    name: str, libraries: Callable[..., Any], sklearn_model: Callable[..., Any]
) -> None:
    library = libraries("sklearn", {kind: sklearn_model(kind) for kind in SKLEARN})
    one = sklearn_model(name)
    assert np.array_equal(call(library, "margin", name, one.forest, one.x), one.margin)
    prediction = call(library, "predict", name, one.forest, one.x)
    np.testing.assert_allclose(prediction, one.prediction, rtol=1e-14)
    if not one.forest.allow_nan:
        x = one.x[:4].copy()
        x[2, 1] = np.nan
        assert np.isnan(call(library, "margin", name, one.forest, x))[:, 0].tolist() == [
            False, False, True, False,
        ]  # fmt: skip


def test_random_forests_of_every_kind(tmp_path: Path) -> None:
    """Both dtypes, comparisons and leaf widths, the three category rules, outputs, depths."""
    from bdt_forests import random_forest

    rng = np.random.default_rng(5)
    forests: dict[str, Forest] = {}
    text = ""
    for i in range(14):
        outputs = int(rng.integers(1, 4))
        real = (np.float32, np.float64)[i % 2]
        forest = random_forest(
            rng, trees=int(rng.integers(1, 20)), depth=int(rng.integers(1, 9)),
            sets=int(rng.integers(0, 5)), outputs=outputs, width=outputs if i % 5 == 0 else 1,
            input_dtype=real, dtype=real if i % 3 else np.float64,
            comparison="<" if i % 4 < 2 else "<=",
            category_rule=("floor", "truncate", "exact")[i % 3],
        )  # fmt: skip
        forests[f"r{i}"] = forest
        forest.to_cpp(tmp_path / f"r{i}.hpp")
        text += f'#include "r{i}.hpp"\n{wrapper(f"r{i}", forest)}'
    library = compile_cpp(text, tmp_path)
    for name, forest in forests.items():
        x = nasty_rows(forest, rng)
        ours = call(library, "margin", name, forest, x)
        assert np.array_equal(ours, margins(forest, x), equal_nan=True), name


def test_custom_missing_infinities_and_deep_trees(
    tmp_path: Path, xgboost_model: Callable[..., Any]
) -> None:
    """A sentinel for missing; x of +-inf; a tree too deep to be laid out perfectly."""
    xgboost = pytest.importorskip("xgboost")
    rng = np.random.default_rng(3)
    x = rng.normal(size=(800, 3)).astype(np.float32)
    y = np.sin(9 * x[:, 0]) + x[:, 1]
    x[rng.random(x.shape) < 0.1] = -999
    parameters = {"max_depth": 16, "min_child_weight": 0, "nthread": 1}
    data = xgboost.DMatrix(x, y, missing=-999)
    booster = xgboost.train(parameters, data, 11)
    from rootml.bdt import load

    deep = load(booster).replace(missing=-999.0)
    assert deep.depth > 10
    rows = np.concatenate([x, x[:60]])
    rows[-60::2, 0], rows[-59::2, 1] = np.inf, -np.inf
    wanted = booster.inplace_predict(rows, predict_type="margin", missing=-999)
    deep.to_cpp(tmp_path / "deep.hpp")
    library = compile_cpp(f'#include "deep.hpp"\n{wrapper("deep", deep)}', tmp_path, "-O2")
    ours = call(library, "margin", "deep", deep, rows)
    assert np.array_equal(ours[:, 0].view(np.int32), wanted.view(np.int32))


@pytest.mark.parametrize("trees", [0, 1, 9])
def test_forests_without_splits_or_trees(trees: int, tmp_path: Path) -> None:
    forest = Forest(
        tree_offset=np.arange(trees + 1), feature=np.full(trees, -1, np.int32),
        threshold=np.zeros(trees, np.float32), left=np.full(trees, -1, np.int32),
        right=np.full(trees, -1, np.int32), default_left=np.zeros(trees, dtype=bool),
        value=np.full((trees, 1), 0.25, np.float32), tree_output=np.zeros(trees, np.int32),
        base=np.full(1, 2, np.float32), num_features=2,
    )  # fmt: skip
    forest.to_cpp(tmp_path / "bare.hpp")
    library = compile_cpp(f'#include "bare.hpp"\n{wrapper("bare", forest)}', tmp_path)
    found = call(library, "margin", "bare", forest, np.zeros((3, 2)))
    assert found.ravel().tolist() == [2 + 0.25 * trees] * 3


def test_one_event_and_the_call_with_numbers(
    tmp_path: Path, xgboost_model: Callable[..., Any]
) -> None:
    one = xgboost_model("logistic")
    one.forest.replace(feature_names=("pt", 'a"b\\', "µ??/", "*/")).to_cpp(tmp_path / "one.hpp")
    source = """
#include "one.hpp"
static_assert(rootml::one::num_features == 4 && rootml::one::num_outputs == 1, "");
static_assert(std::is_empty<rootml::one>::value, "no state");
extern "C" float pointer(const float* x) { const rootml::one bdt; return bdt(x); }
extern "C" float numbers(const float* x) { return rootml::one{}(x[0], double(x[1]), x[2], x[3]); }
extern "C" const char* feature(std::size_t i) { return rootml::one::feature_name(i); }
"""
    library = compile_cpp(source, tmp_path)
    library.feature.restype = ctypes.c_char_p
    names = [library.feature(ctypes.c_size_t(i)).decode() for i in range(5)]
    assert names == ["pt", 'a"b\\', "µ??/", "*/", ""]
    for row, wanted in zip(one.x[:50], one.prediction[:50, 0], strict=True):
        for function in (library.pointer, library.numbers):
            function.restype = ctypes.c_float
            found = function(ctypes.c_void_p(np.ascontiguousarray(row).ctypes.data))
            np.testing.assert_array_max_ulp(np.float32(found), wanted, maxulp=1)


def test_two_models_of_one_name_do_not_mix(
    tmp_path: Path, xgboost_model: Callable[..., Any]
) -> None:
    """In one program, from two headers and two libraries."""
    results = []
    for kind in ("squarederror", "absoluteerror"):
        one = xgboost_model(kind)
        folder = tmp_path / kind
        folder.mkdir()
        one.forest.to_cpp(folder / "model.hpp")
        results.append((compile_cpp(
            f'#include "model.hpp"\n{wrapper("model", one.forest)}', folder), one))  # fmt: skip
    for library, one in results:
        ours = call(library, "margin", "model", one.forest, one.x)
        assert ours.tobytes() == one.margin.tobytes()


def test_no_allocation_no_threads_no_state(
    tmp_path: Path, xgboost_model: Callable[..., Any]
) -> None:
    xgboost_model("category_set").forest.to_cpp(tmp_path / "m.hpp")
    text = (tmp_path / "m.hpp").read_text()
    assert not re.search(r"\b(new|malloc|thread|mutex|string|vector|mutable|throw)\b", text)
    headers = set(re.findall(r"#include <(\w+)>", text))
    assert headers == {"cmath", "cstddef", "cstdint", "cstring", "limits", "type_traits"}


@pytest.mark.parametrize("name", ["", "1st", "a b", "for", "x;system", "a__b", "_A", "x}", "é"])
def test_names_that_cpp_does_not_take(
    name: str, tmp_path: Path, xgboost_model: Callable[..., Any]
) -> None:
    with pytest.raises(UsageError, match="cannot name a C"):
        xgboost_model("logistic").forest.to_cpp(tmp_path / "m.hpp", name=name)


@pytest.mark.parametrize(
    ("file", "name"),
    [("my-model.v2.hpp", "my_model"), ("2024.hpp", "forest_2024"), ("class.h", "forest_class"),
     ("é.hpp", "forest_model"), ("__init__.hpp", "init")],
)  # fmt: skip
def test_the_name_comes_from_the_file(
    file: str, name: str, tmp_path: Path, xgboost_model: Callable[..., Any]
) -> None:
    xgboost_model("logistic").forest.to_cpp(tmp_path / file)
    assert f"struct {name} {{" in (tmp_path / file).read_text()


def test_what_a_header_cannot_hold(tmp_path: Path, xgboost_model: Callable[..., Any]) -> None:
    forest = xgboost_model("logistic").forest
    with pytest.raises(UnsupportedModelError, match="probit"):
        forest.replace(link="probit").to_cpp(tmp_path / "p.hpp")
    count = 2**22 + 1
    large = Forest(
        tree_offset=np.arange(count + 1), feature=np.full(count, -1, np.int32),
        threshold=np.zeros(count, np.float32), left=np.full(count, -1, np.int32),
        right=np.full(count, -1, np.int32), default_left=np.zeros(count, dtype=bool),
        value=np.zeros((count, 1), np.float32), tree_output=np.zeros(count, np.int32),
        base=np.zeros(1, np.float32), num_features=1,
    )  # fmt: skip
    with pytest.raises(UnsupportedModelError, match="4,194,305 nodes"):
        large.to_cpp(tmp_path / "l.hpp")


@pytest.mark.needs_root
def test_rdataframe(root: Any, tmp_path: Path, xgboost_model: Callable[..., Any]) -> None:
    """Declared to cling, used in a Define, the bits of XGBoost."""
    one = xgboost_model("logistic")
    one.forest.to_cpp(tmp_path / "in_root.hpp")
    assert root.gInterpreter.Declare(f'#include "{tmp_path / "in_root.hpp"}"')
    columns = {f"f{i}": np.ascontiguousarray(one.x[:, i]) for i in range(4)}
    frame = root.RDF.FromNumpy(columns)
    scored = frame.Define("score", "rootml::in_root{}(f0, f1, f2, f3)")
    found = scored.AsNumpy(["score"])["score"]
    np.testing.assert_array_max_ulp(found, one.prediction[:, 0], maxulp=1)
