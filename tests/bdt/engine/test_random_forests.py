"""Forests of any shape on rows of any values: every engine on every instruction set against a walk
in plain Python, bit by bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bdt_forests import random_forest, rows_on_thresholds, walk
from numpy.typing import NDArray

from rootml.bdt import Forest
from rootml.bdt._inputs import Table
from rootml.bdt.engine._target import CPUS
from rootml.bdt.engine.binding import _llvm
from rootml.bdt.engine.binding._host import host_target
from rootml.bdt.engine.binding._llvm import LlvmEngine
from rootml.bdt.engine.binding._numpy import NumpyEngine
from rootml.errors import UnsupportedModelError, UsageError

DOUBLE = {"input_dtype": np.float64, "dtype": np.float64}
FORESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stumps": {"depth": 1, "trees": 40},
    "leaves only": {"depth": 0, "trees": 3},
    "full depth 6": {"depth": 6, "full": 1.0, "thresholds": 200},
    "full depth 8": {"depth": 8, "full": 1.0, "trees": 3, "thresholds": 255},
    "mixed depths": {"depth": 7, "full": 0.75, "trees": 20, "thresholds": 60},
    "long and thin": {"depth": 30, "full": 0.52, "trees": 15, "thresholds": 100},
    "many leaves": {"depth": 12, "full": 0.93, "trees": 3, "thresholds": 500},
    "256 thresholds": {"features": 2, "depth": 8, "full": 1.0, "trees": 8, "thresholds": 256},
    "exact thresholds": {"features": 1, "depth": 10, "full": 0.97, "trees": 4, "thresholds": 3000},
    "or equal": {"comparison": "<=", "thresholds": 60},
    "double": {**DOUBLE, "depth": 6, "thresholds": 100},
    "double or equal": {**DOUBLE, "depth": 6, "full": 0.7, "comparison": "<=", "thresholds": 300},
    "double sums": {"dtype": np.float64, "depth": 8, "full": 0.95, "trees": 6},
    "float sums of doubles": {"input_dtype": np.float64, "thresholds": 300},
    "sets": {"sets": 12},
    "sets by truncation": {"sets": 12, "category_rule": "truncate", **DOUBLE},
    "exact sets": {"sets": 12, "category_rule": "exact", "most_category": 200},
    "large sets": {"sets": 20, "most_category": 1100, "depth": 7},
    "classes": {"outputs": 3, "trees": 21},
    "vectors": {"outputs": 3, "width": 3, "depth": 6},
    "vectors, deep": {"outputs": 2, "width": 2, "depth": 11, "full": 0.8, **DOUBLE},
    "average": {"base_first": False, "divisor": 12.0, **DOUBLE},
    "late base": {"base_first": False, "outputs": 2},
    "missing value": {"missing": -999.0},
    "zero missing": {"zero_missing": [True, False, True, False], **DOUBLE},
    "many features": {"features": 70, "trees": 60},
    "one feature": {"features": 1},
    "600 trees": {"trees": 600, "depth": 3},
}


def here(isa: str) -> bool:
    try:
        host_target(isa)
    except UsageError:
        return False
    return True


ISAS = [isa for isa in CPUS if here(isa)]


def same(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Bit by bit, but for the sign of zero, which comparisons of floats do not see."""
    return found.dtype == expected.dtype and bool(np.array_equal(found, expected, equal_nan=True))


SLOW = (
    "double sums", "float sums of doubles", "sets by truncation", "large sets", "late base",
    "many leaves", "full depth 8", "stumps", "vectors, deep", "many features", "one feature",
    "exact thresholds",
)  # fmt: skip


@pytest.fixture(
    params=[pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in FORESTS]
)
def forest(request: pytest.FixtureRequest) -> Forest:
    seed = list(FORESTS).index(request.param)
    return random_forest(np.random.default_rng(seed), **FORESTS[request.param])


def score(engine: Any, forest: Forest, x: NDArray[Any]) -> NDArray[Any]:
    out = np.full((len(x), forest.num_outputs), np.nan, forest.dtype)
    engine.margins(Table(x), out)
    return out


def check(forest: Forest, isa: str | None) -> None:
    x = rows_on_thresholds(np.random.default_rng(1), forest, 60)
    expected = walk(forest, x)
    assert same(score(NumpyEngine(forest), forest, x), expected)
    engine = LlvmEngine(forest, isa=isa)
    more = np.tile(x, (20, 1))  # blocks and a part
    assert same(score(engine, forest, more), np.tile(expected, (20, 1))), engine.shape
    for rows in (100, 256):  # small blocks
        assert same(score(engine, forest, more[:rows]), np.tile(expected, (20, 1))[:rows])
    plain = forest.base_first and forest.divisor == 1 and np.isnan(forest.missing)
    if plain and not forest.zero_missing.any():
        for rows in (7, 40):
            few = engine.score_few(x[:rows], False)
            if rows > 16 and not engine._parts:
                assert few is None
                continue
            assert few is not None
            assert same(few.reshape(rows, -1), expected[:rows]), engine.shape


def test_all_engines_walk_alike(forest: Forest) -> None:
    check(forest, None)


SOME = ("double or equal", "sets")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", [*SOME, *(pytest.param(name, marks=pytest.mark.slow)
                                           for name in FORESTS if name not in SOME)])  # fmt: skip
def test_instruction_sets_walk_alike(name: str, isa: str) -> None:
    seed = 100 + list(FORESTS).index(name)
    check(random_forest(np.random.default_rng(seed), **FORESTS[name]), isa)


def test_masks_and_traversals_agree_with_the_reference(forest: Forest) -> None:
    x = rows_on_thresholds(np.random.default_rng(2), forest, 40)
    expected = walk(forest, x)
    chosen = LlvmEngine(forest).shape.traversal
    engine = LlvmEngine(forest, method="masks" if chosen else "traversal")
    assert engine.shape.traversal != chosen
    assert same(score(engine, forest, x), expected)


def test_rows_that_are_no_numbers_stay_inside_the_tables(forest: Forest) -> None:
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 1 << 32, (700, forest.num_features * forest.input_dtype.itemsize // 4))
    x = bits.astype(np.uint32).view(forest.input_dtype)
    expected = score(NumpyEngine(forest), forest, x)
    assert same(score(LlvmEngine(forest), forest, x), expected)
    assert same(expected[:10], walk(forest, x[:10]))


@pytest.mark.parametrize("name", ["plain", "classes", "sets"])
def test_parts_add_up_alike(name: str) -> None:
    forest = random_forest(np.random.default_rng(7), **FORESTS[name])
    x = rows_on_thresholds(np.random.default_rng(2), forest, 40)
    engine = LlvmEngine(forest, method="masks", parts=3)
    assert len(engine._parts) == 3
    assert same(score(engine, forest, x), walk(forest, x))


@pytest.mark.skipif(not here("avx512"), reason="for AVX-512 only")
@pytest.mark.parametrize("name", ["full depth 6", "mixed depths"])
def test_nodes_name_masks_by_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they would not fit the cache, unless there are too many masks."""
    forest = random_forest(np.random.default_rng(8), **FORESTS[name])
    x = rows_on_thresholds(np.random.default_rng(2), forest, 40)
    expected = np.tile(walk(forest, x), (20, 1))
    many = np.tile(x, (20, 1))
    monkeypatch.setattr(_llvm, "CACHE", 1000)
    for most, numbered in ((1 << 16, True), (10, False)):
        monkeypatch.setattr(_llvm, "MAX_NUMBERED", most)
        engine = LlvmEngine(forest)
        assert engine.shape.numbered == numbered
        assert same(score(engine, forest, many), expected)
        assert same(score(engine, forest, many[:100]), expected[:100])


def test_a_forest_too_wide_for_the_kernels_is_refused() -> None:
    forest = random_forest(np.random.default_rng(7)).replace(
        num_features=2_000_000, zero_missing=np.zeros(2_000_000, np.bool_)
    )
    with pytest.raises(UnsupportedModelError, match=r"2,000,000 features.*numpy"):
        LlvmEngine(forest)
