"""The NumPy engine: `Forest`'s own pseudo-code, one level of one tree for many events at a time.

The reference that kernels are tested with, and what runs where llvmlite is not installed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import ZERO, Forest
from rootml.bdt._inputs import Table
from rootml.bdt._links import predictions

_ROWS = 8192
_MAX_CATEGORY = 2147483520.0
"""The largest float32 below 2**31; no category set has members above."""


class NumpyEngine:
    """Scores with NumPy; bit-equal with the compiled engine."""

    name = "numpy"

    def __init__(self, forest: Forest) -> None:
        self._forest = forest
        numeric = forest.category < 0
        self._numeric = numeric
        sizes = np.diff(forest.category_offset)
        keys = np.repeat(np.arange(len(sizes)), sizes) * (1 << 31) + forest.category_values
        self._members = np.sort(keys.astype(np.int64))

    def __str__(self) -> str:
        return "numpy"

    def margins(self, table: Table, out: NDArray[Any]) -> None:
        """Margins of all rows into `out`, shape (rows, outputs)."""
        for start in range(0, table.num_rows, _ROWS):
            stop = min(start + _ROWS, table.num_rows)
            x = table.block(start, stop, self._forest.input_dtype)
            with np.errstate(all="ignore"):
                out[start:stop] = self._sums(self._blanked(x))

    def predictions(self, margins: NDArray[Any]) -> NDArray[Any]:
        """From margins, shape (rows, outputs), which may be overwritten."""
        return predictions(margins, self._forest)

    def _blanked(self, x: NDArray[Any]) -> NDArray[Any]:
        """Values that count as missing become NaN."""
        forest = self._forest
        if not math.isnan(forest.missing):
            x[x == x.dtype.type(forest.missing)] = np.nan
        if forest.zero_missing.any():
            x[(np.abs(x) <= ZERO) & forest.zero_missing] = np.nan
        return x

    def _sums(self, x: NDArray[Any]) -> NDArray[Any]:
        forest = self._forest
        sums = np.zeros((len(x), forest.num_outputs), forest.dtype)
        if forest.base_first:
            sums += forest.base
        rows = np.arange(len(x))
        for tree in range(forest.num_trees):
            node = self._leaves(x, rows, tree)
            if forest.leaf_width == 1:
                sums[:, forest.tree_output[tree]] += forest.value[node, 0]
            else:
                sums += forest.value[node]
        if forest.divisor != 1.0:
            sums /= forest.dtype.type(forest.divisor)
        if not forest.base_first:
            sums += forest.base
        return sums

    def _leaves(self, x: NDArray[Any], rows: NDArray[np.int64], tree: int) -> NDArray[np.int64]:
        """The leaf of one tree that each event reaches."""
        forest = self._forest
        node = np.full(len(x), forest.tree_offset[tree])
        for _ in range(int(forest.tree_depth[tree])):
            at = np.flatnonzero(forest.feature[node] >= 0)
            here = node[at]
            v = x[rows[at], forest.feature[here]]
            goes_left = self._numeric_test(v, here)
            sets = np.flatnonzero(~self._numeric[here])
            if len(sets):
                goes_left[sets] = self._category_test(v[sets], forest.category[here[sets]])
            goes_left = np.where(np.isnan(v), forest.default_left[here], goes_left)
            node[at] = np.where(goes_left, forest.left[here], forest.right[here])
        return node

    def _numeric_test(self, v: NDArray[Any], node: NDArray[np.int64]) -> NDArray[np.bool_]:
        threshold = self._forest.threshold[node]
        test = np.less if self._forest.comparison == "<" else np.less_equal
        return np.asarray(test(v, threshold))

    def _category_test(self, v: NDArray[Any], sets: NDArray[np.int32]) -> NDArray[np.bool_]:
        rule = self._forest.category_rule
        there = v <= _MAX_CATEGORY
        there &= v > -1 if rule == "truncate" else v >= 0
        category = np.where(there, v, 0).astype(np.int64)
        if rule == "exact":
            there &= category == v
        if not len(self._members):
            return np.zeros(len(v), np.bool_)
        keys = sets.astype(np.int64) * (1 << 31) + category
        place = np.minimum(np.searchsorted(self._members, keys), len(self._members) - 1)
        return np.asarray(there & (self._members[place] == keys))
