"""Forests of any shape, rows that sit on their thresholds, and a walk written as it is defined."""

from __future__ import annotations

import importlib.metadata
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rootml.bdt import Forest
from rootml.bdt.engine.binding import _jit


def random_forest(
    rng: np.random.Generator,
    *,
    trees: int = 12,
    depth: int = 5,
    full: float = 0.8,
    features: int = 4,
    thresholds: int = 20,
    input_dtype: Any = np.float32,
    dtype: Any = np.float32,
    sets: int = 0,
    most_category: int = 40,
    outputs: int = 1,
    width: int = 1,
    **fields: Any,
) -> Forest:
    """Trees grown by throwing dice.

    Args:
        full: Probability that a node above `depth` is split.
        thresholds: How many distinct ones a feature has at most, infinities and zeros among them.
        sets: Category sets, used by half of the nodes of the last features.
    """
    pools = [_thresholds(rng, thresholds, input_dtype) for _ in range(features)]
    members = [np.unique(rng.integers(0, most_category, rng.integers(0, 12))) for _ in range(sets)]
    nodes: list[list[Any]] = []
    offset = [0]
    for _ in range(trees):
        grow = [(len(nodes), 0)]
        nodes.append([])
        while grow:
            place, level = grow.pop()
            if level == depth or rng.random() > full:
                nodes[place] = [-1, 0, -1, -1, False, -1]
                continue
            feature = int(rng.integers(features))
            is_set = sets > 0 and feature >= features // 2 and rng.random() < 0.7
            children = len(nodes), len(nodes) + 1
            nodes += [[], []]
            grow += [(child, level + 1) for child in children]
            nodes[place] = [
                feature,
                0 if is_set else rng.choice(pools[feature]),
                *children,
                bool(rng.integers(2)),
                int(rng.integers(sets)) if is_set else -1,
            ]
        offset.append(len(nodes))
    columns, threshold, left, right, default, category = zip(*nodes, strict=True)
    leaf = np.array(columns) < 0
    value = np.where(leaf[:, None], rng.normal(size=(len(nodes), width)), 0).astype(dtype)
    value[rng.random(len(nodes)) < 0.05] = -0.0
    return Forest(
        tree_offset=np.array(offset), feature=np.array(columns),
        threshold=np.array(threshold, input_dtype), left=np.array(left), right=np.array(right),
        default_left=np.array(default), value=value,
        tree_output=rng.integers(0, outputs if width == 1 else 1, trees, np.int32),
        base=rng.normal(size=outputs).astype(dtype), num_features=features,
        category=np.array(category), category_offset=np.cumsum([0, *map(len, members)]),
        category_values=np.concatenate([np.zeros(0, int), *members]), **fields,
    )  # fmt: skip


def _thresholds(rng: np.random.Generator, count: int, dtype: Any) -> NDArray[Any]:
    special = [0.0, -0.0, np.inf, -np.inf, np.finfo(dtype).max, np.finfo(dtype).tiny, 1e-35]
    tiny = np.nextafter(np.array(0, dtype), np.array(1, dtype))
    drawn = rng.normal(size=max(count - 8, 1)) * 10
    pool = np.concatenate([drawn, special, [tiny]]).astype(dtype)
    return rng.permutation(pool)[:count]


def rows_on_thresholds(
    rng: np.random.Generator, forest: Forest, count: int, *, nan: bool = True
) -> NDArray[Any]:
    """Rows of thresholds, their neighbours one ulp away, NaN, infinities, zeros, categories."""
    dtype = forest.input_dtype
    x = np.empty((count, forest.num_features), dtype)
    for column in range(forest.num_features):
        mine = forest.threshold[(forest.feature == column) & (forest.category < 0)]
        at = rng.choice(mine, count) if len(mine) else np.zeros(count, dtype)
        kind = rng.integers(0, 9, count)
        if forest.has_categories and column >= forest.num_features // 2:
            kind = rng.integers(0, 14, count)
        v = at.copy()
        with np.errstate(all="ignore"):
            v[kind == 1] = np.nextafter(at[kind == 1], dtype.type(-np.inf))
            v[kind == 2] = np.nextafter(at[kind == 2], dtype.type(np.inf))
        if nan:
            v[kind == 3] = np.nan
        v[kind == 4] = rng.choice([0.0, -0.0, 1e-42, -1e-42, 1e-35, -1e-35, 2e-35], count)[
            kind == 4
        ]
        v[kind == 5] = rng.choice(np.array([np.inf, -np.inf]), count)[kind == 5]
        v[kind == 6] = (rng.normal(size=count) * 10)[kind == 6]
        v[kind == 7] = rng.choice([-999.0, -1.0, 3e38, -3e38], count)[kind == 7]
        v[kind == 9] = rng.choice([-0.5, 0.5, 2.5, 2147483520.0, 2147483648.0], count)[kind == 9]
        v[kind > 9] = (
            rng.integers(-2, 1100, count)[kind > 9] % rng.choice([8, 50, 1100], count)[kind > 9]
        )
        x[:, column] = v
    return x


def walk(forest: Forest, x: NDArray[Any]) -> NDArray[Any]:
    """Margins as the docstring of `Forest` defines them, row by row and node by node."""
    out = np.empty((len(x), forest.num_outputs), forest.dtype)
    tables = {
        name: getattr(forest, name).tolist()
        for name in ("feature", "left", "right", "default_left", "category")
    }
    sets = [set(forest.category_set(i).tolist()) for i in range(forest.num_category_sets)]
    with np.errstate(all="ignore"):
        for number, row in enumerate(x.astype(forest.input_dtype)):
            out[number] = _sums(forest, tables, sets, row)
    return out


def _sums(forest: Forest, tables: Any, sets: list[set[int]], row: NDArray[Any]) -> NDArray[Any]:
    kind = forest.dtype.type
    sums = list(forest.base) if forest.base_first else [kind(0)] * forest.num_outputs
    for tree in range(forest.num_trees):
        n = int(forest.tree_offset[tree])
        while (column := tables["feature"][n]) >= 0:
            n = tables["left" if _left(forest, tables, sets, row, column, n) else "right"][n]
        if forest.leaf_width == 1:
            output = forest.tree_output[tree]
            sums[output] = sums[output] + forest.value[n, 0]
        else:
            sums = [total + value for total, value in zip(sums, forest.value[n], strict=True)]
    if forest.divisor != 1:
        sums = [total / kind(forest.divisor) for total in sums]
    if not forest.base_first:
        sums = [total + base for total, base in zip(sums, forest.base, strict=True)]
    return np.array(sums, forest.dtype)


def _left(
    forest: Forest, tables: Any, sets: list[set[int]], row: NDArray[Any], column: int, n: int
) -> bool:
    v = row[column]
    if v == v.dtype.type(forest.missing) or (forest.zero_missing[column] and abs(v) <= _ZERO):
        v = v.dtype.type(math.nan)
    if math.isnan(v):
        return bool(tables["default_left"][n])
    if tables["category"][n] >= 0:
        return _category(float(v), forest.category_rule) in sets[tables["category"][n]]
    threshold = forest.threshold[n]
    return bool(v < threshold if forest.comparison == "<" else v <= threshold)


_ZERO = float(np.float32(1e-35))


def _category(v: float, rule: str) -> int | None:
    if math.isinf(v):
        return None
    if rule == "exact":
        return int(v) if v >= 0 and v == int(v) else None
    if rule == "floor":
        return int(v) if v >= 0 else None
    return int(v) if v > -1 else None


def require_llvm_for_aarch64() -> None:
    """Skip where LLVM would abort; the error is tested by test_an_llvmlite_that_aborts."""
    version = importlib.metadata.version("llvmlite")
    if _jit.release(version) < _jit.MIN_AARCH64:
        pytest.skip(f"llvmlite {version} makes no code for aarch64")
