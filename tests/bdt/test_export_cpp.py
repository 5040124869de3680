"""`Forest.to_cpp`, compiled by g++ and by ROOT's cling: the bits of the training library."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from forest_walk import margins, nasty_rows
from make_xgboost_models import KINDS
from numpy.typing import NDArray
from xgboost_references import model_bytes, names, stored

from rootml.bdt import Forest, load
from rootml.errors import UnsupportedModelError, UsageError

LIGHTGBM = ("binary", "sqrt", "multiclass", "multiclassova", "cross_entropy_lambda")
SKLEARN = ("ada_three", "gb_exponential", "gb_three", "hist_categories", "hist_gamma",
           "random_forest", "random_forest_targets")  # fmt: skip
TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
FLAGS = ("-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic")


def compile_cpp(source: str, folder: Path, *flags: str, compiler: str = "g++") -> ctypes.CDLL:
    """A shared library from C++ text."""
    path = shutil.which(compiler)
    if path is None:
        pytest.skip(f"{compiler} is not installed")
    (folder / "source.cpp").write_text(source)
    target = folder / "library.so"
    command = [path, *FLAGS, *flags, "-shared", "-fPIC", "-o", str(target), "source.cpp"]
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


def test_expectiles_rise_and_quantiles_are_sorted_as_by_xgboost_3_4(tmp_path: Path) -> None:
    kept = stored("3.4.1")
    chosen = [name for name in names(kept) if name.startswith(("expectile", "quantile"))]
    models = {name: SimpleNamespace(forest=load(model_bytes(kept, name))) for name in chosen}
    assert {one.forest.link for one in models.values()} >= {"increments", "sorted"}
    library = compiled(models, tmp_path)
    for name, one in models.items():
        prediction = call(library, "predict", name, one.forest, kept[f"{name}.x"])
        wanted = kept[f"{name}.prediction"].reshape(prediction.shape)
        np.testing.assert_array_max_ulp(prediction, wanted.astype(np.float32), maxulp=1)


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


# --- many events at once -------------------------------------------------------------------------

BLOCKS: dict[str, dict[str, Any]] = {
    "depth 1": {"depth": 1, "trees": 9},
    "depths 2 and 3": {"depth": 3, "full": 0.9, "trees": 17},
    "depth 4": {"depth": 4, "full": 1.0, "thresholds": 17},
    "depth 5": {"depth": 5, "full": 0.97, "comparison": "<="},
    "depth 6": {"depth": 6, "full": 1.0, "thresholds": 255},
    "depth 7": {"depth": 7, "full": 1.0, "trees": 3, "thresholds": 100},
    "depth 8": {"depth": 8, "full": 1.0, "trees": 3, "thresholds": 700, "features": 3},
    "few thresholds": {"depth": 4, "full": 1.0, "thresholds": 3},
    "doubles": {"depth": 5, "full": 1.0, "input_dtype": np.float64, "dtype": np.float64},
    "double sums": {"depth": 4, "full": 1.0, "dtype": np.float64, "comparison": "<="},
    "sets": {"depth": 5, "full": 1.0, "sets": 20},
    "many categories": {"depth": 5, "full": 1.0, "sets": 30, "most_category": 900},
    "classes": {"depth": 3, "full": 1.0, "outputs": 3, "trees": 24},
    "leaf arrays": {"depth": 4, "full": 1.0, "outputs": 2, "width": 2},
    "missing": {"depth": 4, "full": 1.0, "missing": -999.0},
    "late base": {"depth": 4, "full": 1.0, "base_first": False, "divisor": 12.0},
}  # fmt: skip
WAYS = {
    "best": ("g++", "-O2", "-march=native"),
    "fast contraction": ("g++", "-O3", "-march=native", "-ffp-contract=fast"),
    "avx2": ("g++", "-O2", "-DROOTML_FOREST_NO_AVX512"),
    "scalar": ("g++", "-O2", "-DROOTML_FOREST_SCALAR"),
    "unoptimised": ("g++", "-O0"),
    "clang": ("clang++", "-O2", "-ffp-contract=off"),
    "clang avx2": ("clang++", "-O3", "-DROOTML_FOREST_NO_AVX512"),
}
"""Compilers and flags, each with what it chooses for blocks of events."""
ROWS = (1, 15, 16, 31, 33, 255, 257, 511, 513, 1100)
"""Around the sizes of blocks (128, 256, 512) and the smallest part of one that is worth it."""


def block_forests(folder: Path, names: Iterable[str]) -> tuple[str, dict[str, Forest]]:
    """Text with the wrappers of all, and the forests."""
    from bdt_forests import random_forest

    forests, text = {}, ""
    for seed, name in enumerate(names):
        fields = BLOCKS[name]
        key = name.replace(" ", "_")
        forests[key] = random_forest(np.random.default_rng(seed), **fields)
        forests[key].to_cpp(folder / f"{key}.hpp")
        assert "run_with" in (folder / f"{key}.hpp").read_text(), "no blocks"
        text += f'#include "{key}.hpp"\n{wrapper(key, forests[key])}'
    return text, forests


def check_blocks(
    score: Callable[[str, Forest, Any], NDArray[Any]], forest: Forest, key: str
) -> None:
    from bdt_forests import rows_on_thresholds

    x = rows_on_thresholds(np.random.default_rng(1), forest, 80)
    expected = margins(forest, x)
    many = np.tile(x, (max(ROWS) // len(x) + 1, 1))
    for rows in ROWS:
        found = score(key, forest, many[:rows])
        wanted = np.tile(expected, (rows // len(x) + 1, 1))[:rows]
        assert np.array_equal(found, wanted, equal_nan=True), (key, rows)


SOME = ("depths 2 and 3", "depth 6", "depth 8", "doubles", "sets", "classes")
"""What the quick tests take."""
QUICK = ("avx2", "best")


@pytest.mark.parametrize(
    ("way", "names"),
    [*((way, SOME) for way in QUICK),
     *(pytest.param(way, tuple(BLOCKS), marks=pytest.mark.slow) for way in WAYS)],
)  # fmt: skip
def test_blocks_of_events(way: str, names: tuple[str, ...], tmp_path: Path) -> None:
    """Every shape, compiler and set of instructions: the definition of a forest, bit by bit."""
    compiler, *flags = WAYS[way]
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    text, forests = block_forests(tmp_path, names)
    library = compile_cpp(text, tmp_path, *flags, compiler=compiler)
    for key, forest in forests.items():
        check_blocks(lambda k, f, x: call(library, "margin", k, f, x), forest, key)


def test_blocks_have_the_bits_of_xgboost(tmp_path: Path) -> None:
    """A trained model, in batches, beside the library itself."""
    xgboost = pytest.importorskip("xgboost")
    from rootml.bdt import load

    rng = np.random.default_rng(4)
    x = rng.normal(size=(3000, 9)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    y = np.nan_to_num(x[:, 0]) * np.nan_to_num(x[:, 1]) + np.nan_to_num(x[:, 2]) > 0
    for depth in (3, 6, 8):
        booster = xgboost.train(
            {"objective": "binary:logistic", "max_depth": depth, "nthread": 1},
            xgboost.DMatrix(x, y), 40,
        )  # fmt: skip
        forest = load(booster)
        forest.to_cpp(tmp_path / f"trained{depth}.hpp")
        folder = tmp_path / str(depth)
        folder.mkdir()
        library = compile_cpp(
            f'#include "../trained{depth}.hpp"\n{wrapper(f"trained{depth}", forest)}', folder
        )
        wanted = booster.predict(xgboost.DMatrix(x), output_margin=True)
        found = call(library, "margin", f"trained{depth}", forest, x)
        assert found[:, 0].tobytes() == wanted.tobytes()


def test_fast_math_is_refused(tmp_path: Path, xgboost_model: Callable[..., Any]) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    xgboost_model("logistic").forest.to_cpp(tmp_path / "m.hpp")
    command = [compiler, "-std=c++17", "-ffast-math", "-fsyntax-only", "m.hpp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "compile without -ffast-math" in done.stderr


AARCH64 = ("aarch64-linux-gnu-g++", "qemu-aarch64")


@pytest.mark.parametrize(
    ("flags", "names"),
    [(("-O2",), SOME),
     pytest.param(("-O3", "-march=armv8.2-a+fp16"), tuple(BLOCKS), marks=pytest.mark.slow)],
)  # fmt: skip
def test_blocks_on_aarch64(flags: tuple[str, ...], names: tuple[str, ...], tmp_path: Path) -> None:
    """The same by NEON, compiled for aarch64 and run by an emulator of it."""
    absent = [tool for tool in AARCH64 if shutil.which(tool) is None]
    if absent:
        require_in_ci(absent)
    text, forests = block_forests(tmp_path, names)
    (tmp_path / "source.cpp").write_text(text + _program(forests))
    command = [AARCH64[0], *FLAGS, *flags, "-static", "-o", "program", "source.cpp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]

    def score(key: str, forest: Forest, x: Any) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(x, dtype=forest.input_dtype)
        rows.tofile(tmp_path / "x")
        subprocess.run([AARCH64[1], "./program", key, str(len(x))], cwd=tmp_path, check=True)
        found = np.fromfile(tmp_path / "out", forest.dtype)
        return found.reshape(len(x), forest.num_outputs)

    for key, forest in forests.items():
        check_blocks(score, forest, key)


def _program(forests: dict[str, Forest]) -> str:
    """A program that scores the rows in file `x` with the forest named by its first argument."""
    cases = "".join(
        f'  if (!std::strcmp(v[1], "{key}")) run<{TYPES[f.input_dtype]}, {TYPES[f.dtype]}>('
        f"rows, {f.num_features}, {f.num_outputs}, margin_{key});\n"
        for key, f in forests.items()
    )
    return (
        """
#include <cstdio>
#include <vector>
template <class R, class V>
void run(std::size_t rows, std::size_t features, std::size_t outputs,
         void (*margin)(const R*, std::size_t, V*)) {
  std::vector<R> x(rows * features);
  std::vector<V> out(rows * outputs);
  std::FILE* file = std::fopen("x", "rb");
  if (std::fread(x.data(), sizeof(R), x.size(), file) != x.size()) std::abort();
  std::fclose(file);
  margin(x.data(), rows, out.data());
  file = std::fopen("out", "wb");
  std::fwrite(out.data(), sizeof(V), out.size(), file);
  std::fclose(file);
}
int main(int, char** v) {
  const std::size_t rows = std::strtoul(v[2], nullptr, 10);
"""
        + cases
        + "}\n"
    )


def require_in_ci(absent: list[str]) -> None:
    """Skip where tools are absent; in CI, which installs them, that is a failure."""
    message = f"{', '.join(absent)} not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


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


def test_one_allocation_no_threads_no_state(
    tmp_path: Path, xgboost_model: Callable[..., Any]
) -> None:
    xgboost_model("category_set").forest.to_cpp(tmp_path / "m.hpp")
    text = (tmp_path / "m.hpp").read_text()
    assert not re.search(r"\b(new|thread|mutex|string|vector|mutable|throw)\b", text)
    assert len(re.findall(r"\bmalloc\b", text)) == 1  # work space of a call with many events
    assert text.index("malloc") > text.index("run_with")
    headers = set(re.findall(r"#include <([\w.]+)>", text))
    assert headers == {
        "cmath", "cstddef", "cstdint", "cstdlib", "cstring", "limits", "type_traits",
        "arm_neon.h", "cpuid.h", "immintrin.h",  # the compiler's own
    }  # fmt: skip


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


@pytest.mark.needs_root
def test_blocks_in_cling(root: Any, tmp_path: Path, xgboost_model: Callable[..., Any]) -> None:
    """Rows gathered by RDataFrame, scored together, as the guide shows."""
    one = xgboost_model("squarederror")
    one.forest.to_cpp(tmp_path / "cling_blocks.hpp")
    assert root.gInterpreter.Declare(f'''
#include "{tmp_path / "cling_blocks.hpp"}"
struct Gather {{
  std::vector<float> x, scores;
  void operator()(float a, float b, float c, float d) {{
    for (float value : {{a, b, c, d}}) x.push_back(value);
  }}
  void score() {{
    scores.resize(x.size() / 4);
    rootml::cling_blocks{{}}.margin(x.data(), scores.size(), scores.data());
  }}
}};
void gather_blocks(ROOT::RDF::RNode frame, Gather& into) {{
  frame.Foreach([&into](float a, float b, float c, float d) {{ into(a, b, c, d); }},
                {{"f0", "f1", "f2", "f3"}});
  into.score();
}}
''')
    x = np.tile(one.x, (9, 1))
    columns = {f"f{i}": np.ascontiguousarray(x[:, i]) for i in range(4)}
    gathered = root.Gather()
    root.gather_blocks(root.RDF.AsRNode(root.RDF.FromNumpy(columns)), gathered)
    found = np.asarray(gathered.scores)
    assert found.tobytes() == np.tile(one.margin[:, 0], 9).tobytes()
