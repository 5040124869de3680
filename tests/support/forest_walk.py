"""A forest evaluated as the pseudo-code in `rootml.bdt._forest` says, in plain NumPy.

Slow and short: it shares nothing with the engines, so that readers can be compared with the
libraries through it, and the engines with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt import Forest

ZERO = np.float32(1e-35)


def inputs(forest: Forest, x: NDArray[Any]) -> NDArray[Any]:
    """What the comparisons see."""
    with np.errstate(over="ignore"):
        x = np.array(x, dtype=forest.input_dtype)
    if not np.isnan(forest.missing):
        x[x == np.asarray(forest.missing, dtype=x.dtype)] = np.nan
    x[forest.zero_missing & (np.abs(x) <= ZERO)] = np.nan
    assert forest.allow_nan or not np.isnan(x).any()
    return x


def in_set(forest: Forest, v: NDArray[Any], index: int) -> NDArray[np.bool_]:
    """Whether values are categories of a set."""
    with np.errstate(invalid="ignore"):
        if forest.category_rule == "floor":
            code = np.where(v >= 0, np.floor(v), -1)
        elif forest.category_rule == "truncate":
            code = np.trunc(v)
        else:
            code = v
    result: NDArray[np.bool_] = np.isin(code, forest.category_set(index))
    return result


def leaves(forest: Forest, x: NDArray[Any], tree: int) -> NDArray[np.int64]:
    """The leaf of each row, as index of a node."""
    node = np.full(len(x), forest.tree_offset[tree], dtype=np.int64)
    for n in range(forest.tree_offset[tree], forest.tree_offset[tree + 1]):
        assert forest.feature[n] >= 0 or forest.left[n] == forest.right[n] == -1
    while True:
        inner = np.unique(node[forest.feature[node] >= 0])
        if not len(inner):
            return node
        for n in inner:
            rows = np.flatnonzero(node == n)
            v = x[rows, forest.feature[n]]
            if forest.category[n] >= 0:
                goes_left = in_set(forest, v, int(forest.category[n]))
            elif forest.comparison == "<":
                goes_left = v < forest.threshold[n]
            else:
                goes_left = v <= forest.threshold[n]
            goes_left = np.where(np.isnan(v), forest.default_left[n], goes_left)
            node[rows] = np.where(goes_left, forest.left[n], forest.right[n])


def nasty_rows(forest: Forest, rng: np.random.Generator, rows: int = 300) -> NDArray[Any]:
    """Random rows; most values are thresholds, infinities, NaN, zeros or odd categories."""
    x = rng.normal(size=(rows, forest.num_features))
    odd = [np.nan, np.inf, -np.inf, 0, -0.0, -0.5, -1, 3.7, 5, 40]
    chosen = rng.random(x.shape) < 0.6
    x[chosen] = rng.choice(np.r_[forest.threshold.astype(np.float64), odd], chosen.sum())
    return x


def margins(forest: Forest, x: NDArray[Any]) -> NDArray[Any]:
    """Shape (rows, outputs), in the dtype of the leaves."""
    x = inputs(forest, x)
    total = np.zeros((len(x), forest.num_outputs), dtype=forest.dtype)
    if forest.base_first:
        total += forest.base
    for tree in range(forest.num_trees):
        value = forest.value[leaves(forest, x, tree)]
        if forest.leaf_width == 1:
            total[:, forest.tree_output[tree]] += value[:, 0]
        else:
            total += value
    if forest.divisor != 1:
        total /= total.dtype.type(forest.divisor)
    return total if forest.base_first else total + forest.base
