"""From the nodes of a forest to its distinct predicates: each becomes one mask of a block.

Nodes of different trees share predicates: the 30,410 nodes of model B hold 6,531 distinct ones.
Every comparison becomes ``x < t``:

    x <= t        is x < next float above t
    x <= +inf     is never false, and goes right only for NaN: ``x < -inf`` with children swapped

The thresholds of one feature, sorted, are cut into groups of at most 255, so that a rank in a
group is a byte. Predicate c of a group (from 1) holds where ``rank < c``; NaN has the top rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest

MAX_THRESHOLDS = 255
"""Of a group: ranks are bytes, and NaN needs one."""
MAX_DIRECT = 6
"""Groups with at most this many thresholds are compared one by one."""
CATEGORIES_PER_LOOKUP = 512
"""Bits of a table of 64 bytes."""
DENSE = 32
"""Added to the part of a run that has all 16 low bits."""
MAX_FUNCTION_BYTES = 16
"""Bitmaps with at most this many bytes in use are looked up byte by byte, see `emit_sets`."""


@dataclass(frozen=True)
class Nodes:
    """The inner nodes of a forest with comparisons made strict.

    Attributes:
        index: Which nodes of the forest these are.
        threshold: Strict thresholds; 0 where a category is tested.
        default: Whether NaN goes to `left`.
        left, right: Children of all nodes of the forest.
    """

    index: NDArray[np.int64]
    threshold: NDArray[Any]
    default: NDArray[np.bool_]
    left: NDArray[np.int32]
    right: NDArray[np.int32]


def strict_nodes(forest: Forest) -> Nodes:
    """See `Nodes`."""
    index = np.flatnonzero(forest.feature >= 0)
    threshold = forest.threshold[index].copy()
    default = forest.default_left[index].copy()
    left, right = forest.left, forest.right
    numeric = forest.category[index] < 0
    if forest.comparison == "<=":
        always = numeric & (threshold == np.inf)
        with np.errstate(all="ignore"):  # above the largest is infinity
            threshold = np.nextafter(threshold, threshold.dtype.type(np.inf))
        threshold[always] = -np.inf
        default[always] ^= True
        left, right = left.copy(), right.copy()
        swap = index[always]
        left[swap], right[swap] = forest.right[swap], forest.left[swap]
    threshold[~numeric] = 0
    return Nodes(index, threshold, default, left, right)


@dataclass(frozen=True)
class Predicates:
    """The distinct predicates of some nodes, in the order of the rows of masks.

    Attributes:
        row: For each node: the row of the mask of its predicate.
        num_rows: Number of distinct predicates.
        groups: int64, shape (groups, 8), see `GROUP`.
        heaps: Thresholds of the groups as search trees, in the dtype of the input.
        runs: int64, shape (runs, 2): number of predicates, and their common part: the high four
            bits of c, + 16 where NaN goes left, + `DENSE`.
        lows: uint16 for each row: the low four bits of c.
        direct: Thresholds compared one by one, in the order of rows.
        bitmaps: uint8, shape (lookups, 64): members of category sets.
        category_rows: uint32: rows of those lookups.
    """

    row: NDArray[np.int64]
    num_rows: int
    groups: NDArray[np.int64]
    heaps: NDArray[Any]
    runs: NDArray[np.int64]
    lows: NDArray[np.uint16]
    direct: NDArray[Any]
    bitmaps: NDArray[np.uint8]
    category_rows: NDArray[np.uint32]

    @property
    def levels(self) -> frozenset[int]:
        """Depths of the search trees, one kernel each. 0: comparisons; negative: categories."""
        return frozenset(self.groups[:, 1].tolist())


GROUP = ("feature", "levels", "start", "row", "first", "count", "last", "extra")
"""Columns of `Predicates.groups`.

==========  ===================  =========================  ==================================
            ranks (levels > 0)   compared (levels = 0)      categories (levels < 0)
==========  ===================  =========================  ==================================
start       offset in `heaps`    index in `direct`          index in `bitmaps`
row         first row            first row                  -
first       first run            -                          first category of the lookup
count       number of runs       tests, NaN goes right      lookups that write, NaN goes right
last        number of rows       tests, NaN goes left       lookups that write, NaN goes left
extra       -                    -                          lookups that add to a row
==========  ===================  =========================  ==================================
"""


def distinct_predicates(forest: Forest, nodes: Nodes, chosen: NDArray[np.bool_]) -> Predicates:
    """The distinct predicates of the nodes that `chosen` marks.

    Source: the masks of RapidScorer (KDD 2018), made from ranks instead of floats.
    """
    numeric = chosen & (forest.category[nodes.index] < 0)
    row = np.full(len(nodes.index), -1, np.int64)
    ranked = _Ranked(forest, nodes, np.flatnonzero(numeric))
    row[numeric] = ranked.row
    categories = _Categories(
        forest, nodes, np.flatnonzero(chosen & ~numeric), ranked.num_rows
    )  # fmt: skip
    row[categories.nodes] = categories.row
    return Predicates(
        row=row,
        num_rows=max(categories.num_rows, 1),
        groups=np.array([*ranked.groups, *categories.groups], np.int64).reshape(-1, len(GROUP)),
        heaps=_joined(ranked.heaps, forest.input_dtype),
        runs=np.array(ranked.runs, np.int64).reshape(-1, 2),
        lows=ranked.lows,
        direct=_joined(ranked.direct, forest.input_dtype),
        bitmaps=categories.bitmaps,
        category_rows=categories.rows,
    )


def _joined(parts: list[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.concatenate([*parts, np.zeros(16, dtype)]).astype(dtype)


class _Ranked:
    """Numeric predicates: groups, search trees, rows."""

    def __init__(self, forest: Forest, nodes: Nodes, chosen: NDArray[np.int64]) -> None:
        feature = forest.feature[nodes.index[chosen]]
        threshold = nodes.threshold[chosen] + 0.0  # -0.0 and 0.0 are one
        default = nodes.default[chosen]
        order = np.lexsort((default, threshold, feature))
        new_feature = _changes(feature[order])
        new_threshold = new_feature | _changes(threshold[order])
        new_test = new_threshold | _changes(default[order])
        # number of each threshold within its feature, then group and place in it
        number = np.cumsum(new_threshold) - 1
        first = number[new_feature][np.cumsum(new_feature) - 1]
        within = number - first
        tests = np.flatnonzero(new_test)
        self._feature = feature[order][tests]
        self._threshold = threshold[order][tests]
        self._default = default[order][tests]
        self._chunk, self._place = np.divmod(within[tests], MAX_THRESHOLDS)
        self._place += 1
        new_group = _changes(self._feature) | _changes(self._chunk)
        self._group = np.cumsum(new_group) - 1
        # rows: NaN to the right first, then NaN to the left, each by high bits
        by_row = np.lexsort((self._place, self._default, self._group))
        place_of = np.empty(len(tests), np.int64)
        place_of[by_row] = np.arange(len(tests))
        self.row = np.empty(len(chosen), np.int64)
        self.row[order] = place_of[np.cumsum(new_test) - 1]
        self.num_rows = len(tests)
        self.lows = np.concatenate([self._place[by_row] & 15, np.zeros(32)]).astype(np.uint16)
        self.groups: list[list[int]] = []
        self.heaps: list[NDArray[Any]] = []
        self.direct: list[NDArray[Any]] = []
        self.runs: list[tuple[int, int]] = []
        self._sizes = {"heaps": 0, "direct": 0}
        bounds = np.append(np.flatnonzero(new_group), len(tests))
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            self._add_group(start, by_row[start:stop])

    def _add_group(self, row: int, tests: NDArray[np.int64]) -> None:
        """One group, its predicates in the order of rows."""
        feature = int(self._feature[tests[0]])
        thresholds = np.unique(self._threshold[tests])
        default = self._default[tests]
        left = int(default.sum())
        if len(thresholds) <= MAX_DIRECT:
            start = self._sizes["direct"]
            self.groups.append([feature, 0, start, row, 0, len(tests) - left, left, 0])
            self._put("direct", self._threshold[tests])
            return
        levels = len(thresholds).bit_length()
        high = (self._place[tests] >> 4) + 16 * default
        run_start = np.flatnonzero(_changes(high))
        counts = np.diff(np.append(run_start, len(tests)))
        self.groups.append(
            [
                feature, levels, self._sizes["heaps"], row, len(self.runs), len(counts),
                len(tests), 0,
            ]
        )  # fmt: skip
        dense = DENSE * (counts == 16)  # distinct, so these are all
        self.runs += zip(counts.tolist(), (high[run_start] + dense).tolist(), strict=True)
        self._put("heaps", search_tree(thresholds, levels))

    def _put(self, name: str, values: NDArray[Any]) -> None:
        getattr(self, name).append(values)
        self._sizes[name] += len(values)


def search_tree(sorted_values: NDArray[Any], levels: int) -> NDArray[Any]:
    """Sorted values as a search tree in an array: the children of h are 2h and 2h + 1.

    Descending from h = 1 by ``h = 2h + (x >= tree[h])``, after `levels` steps ``h - 2**levels``
    is the number of values <= x. Padded with infinity; element 0 is not used.

    >>> search_tree(np.array([10.0, 20.0, 30.0]), 2)[:4]
    array([inf, 20., 10., 30.])
    """
    full = np.full((1 << levels) - 1, np.inf, sorted_values.dtype)
    full[: len(sorted_values)] = sorted_values
    tree = np.full(max(1 << levels, 16), np.inf, sorted_values.dtype)
    for level in range(levels):
        step = 1 << (levels - 1 - level)
        tree[1 << level : 2 << level] = full[step - 1 :: 2 * step]
    return tree


def _changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """True where an element differs from the one before it, and for the first."""
    changed = np.ones(len(values), np.bool_)
    changed[1:] = values[1:] != values[:-1]
    return changed


class _Categories:
    """Predicates of categories: each a bitmap of 64 bytes per 512 categories."""

    def __init__(
        self, forest: Forest, nodes: Nodes, chosen: NDArray[np.int64], first_row: int
    ) -> None:
        self.nodes = chosen
        index = nodes.index[chosen]
        keys = np.stack(
            [forest.feature[index], nodes.default[chosen], forest.category[index]], axis=1
        ).astype(np.int64)
        tests, which = np.unique(keys, axis=0, return_inverse=True)
        self.row = first_row + which.reshape(-1)
        self.num_rows = first_row + len(tests)
        self.groups: list[list[int]] = []
        self._bitmaps: list[NDArray[np.uint8]] = []
        self._rows: list[int] = []
        for feature in np.unique(tests[:, 0]).tolist():
            mine = np.flatnonzero(tests[:, 0] == feature)
            self._add_feature(forest, feature, tests[mine], first_row + mine)
        self.bitmaps = np.array(self._bitmaps, np.uint8).reshape(-1, 64)
        self.rows = np.array(self._rows, np.uint32)

    def _add_feature(
        self, forest: Forest, feature: int, tests: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> None:
        parts: dict[int, tuple[list[Any], list[Any], list[Any]]] = {}
        for (_, default, which), row in zip(tests.tolist(), rows.tolist(), strict=True):
            members = forest.category_set(which)
            for number, chunk in enumerate(
                np.unique(members // CATEGORIES_PER_LOOKUP).tolist() or [0]
            ):
                inside = (
                    members[members // CATEGORIES_PER_LOOKUP == chunk]
                    - chunk * CATEGORIES_PER_LOOKUP
                )
                kind = 2 if number else int(default)
                parts.setdefault(chunk, ([], [], []))[kind].append((row, inside))
        for chunk, lists in sorted(parts.items()):
            start, first = len(self._bitmaps), chunk * CATEGORIES_PER_LOOKUP
            counts = [len(part) for part in lists]
            self.groups.append([feature, _category_level(lists), start, 0, first, *counts])
            for part in lists:
                for row, inside in part:
                    self._bitmaps.append(_bitmap(inside))
                    self._rows.append(row)


def _category_level(lists: tuple[list[Any], ...]) -> int:
    """-1, or -1 minus the bytes of the bitmaps that are used, where these are few."""
    most = max((int(inside.max(initial=0)) for part in lists for _, inside in part), default=0)
    used = most // 8 + 1
    return -1 - used if used <= MAX_FUNCTION_BYTES else -1


def _bitmap(members: NDArray[np.int32]) -> NDArray[np.uint8]:
    bits = np.zeros(CATEGORIES_PER_LOOKUP, np.uint8)
    bits[members] = 1
    return np.packbits(bits, bitorder="little")
