"""From the nodes of a forest to the table of traversals: 16 bytes per node, siblings adjacent.

==========  ==================================================================================
0 .. 7      threshold (strict), float32 or float64; of a category set: where its words begin,
            and how many bits it has, both int32
8 .. 11     column, with `LEFT` added where NaN goes left, `SET` where a category is tested
12 .. 15    first child, where the test holds; the other follows it
==========  ==================================================================================

A leaf is its own child: its threshold is NaN and its child index its own. All roots come first,
then level after level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest
from rootml.bdt.engine.tables._predicates import Nodes

LEFT = 1 << 30
SET = 1 << 29
COLUMN = (1 << 29) - 1
_MAX_SET_BITS = 1 << 28
"""Limit on the bits of all category sets; larger forests cannot be traversed."""


@dataclass(frozen=True)
class Traversal:
    """Tables of the traversal kernels.

    Attributes:
        nodes: uint8, shape (nodes, 16).
        values: KernelShape (nodes, leaf width).
        words: uint32: members of the category sets as bits.
        depths: For each tree.
        together: For each tree the depth of the deepest of it and the seven after it.
        outputs: The first output that each tree adds to.
    """

    nodes: NDArray[np.uint8]
    values: NDArray[Any]
    words: NDArray[np.uint32]
    depths: NDArray[np.int64]
    together: NDArray[np.int64]
    outputs: NDArray[np.int64]


def make_traversal(forest: Forest, nodes: Nodes) -> Traversal:
    """See the module."""
    order, child = _order(forest, nodes)
    threshold = np.full(forest.num_nodes, np.nan, forest.input_dtype)
    threshold[nodes.index] = nodes.threshold
    flags = np.full(forest.num_nodes, LEFT, np.int32)
    flags[nodes.index] = forest.feature[nodes.index] + np.where(nodes.default, LEFT, 0)
    raw = np.zeros((forest.num_nodes, 16), np.uint8)
    size = forest.input_dtype.itemsize
    raw[:, :size] = threshold[order].view(np.uint8).reshape(-1, size)
    raw[:, 8:12] = flags[order].view(np.uint8).reshape(-1, 4)
    raw[:, 12:] = child.astype(np.int32).view(np.uint8).reshape(-1, 4)
    words = _sets(forest, order, raw)
    depths = forest.tree_depth.astype(np.int64)
    padded = np.concatenate([depths, np.zeros(7, np.int64)])
    together = np.lib.stride_tricks.sliding_window_view(padded, 8).max(axis=1)
    outputs = forest.tree_output.astype(np.int64)
    if forest.leaf_width > 1:
        outputs = np.zeros_like(outputs)
    values = np.ascontiguousarray(forest.value[order])
    return Traversal(raw, values, words, depths, np.ascontiguousarray(together), outputs)


def _order(forest: Forest, nodes: Nodes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Old numbers in the new order, and for each new number that of the first child."""
    level = forest.tree_offset[:-1]
    order, children = [level], []
    count = start = 0
    while len(level):
        inner = nodes.left[level] >= 0
        count = start + len(level)
        mine = start + np.arange(len(level))
        mine[inner] = count + 2 * np.arange(int(inner.sum()))
        children.append(mine)
        pairs = np.stack([nodes.left[level[inner]], nodes.right[level[inner]]], axis=1)
        level, start = pairs.reshape(-1).astype(np.int64), count
        order.append(level)
    nothing = np.zeros(0, np.int64)
    return np.concatenate(order), np.concatenate([nothing, *children])


def set_words(forest: Forest) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the words of each category set begin, and its bits; one element more for the end."""
    last = np.zeros(forest.num_category_sets, np.int64)
    sizes = np.diff(forest.category_offset)
    full = sizes > 0
    last[full] = forest.category_values[forest.category_offset[1:][full] - 1].astype(np.int64) + 1
    return np.concatenate([[0], np.cumsum(-(-last // 32))]), last


def can_traverse(forest: Forest) -> bool:
    """Whether the category sets fit into bits of reasonable number."""
    return bool(set_words(forest)[0][-1] * 32 <= _MAX_SET_BITS)


def _sets(forest: Forest, order: NDArray[np.int64], raw: NDArray[np.uint8]) -> NDArray[np.uint32]:
    starts, bits = set_words(forest)
    words = np.zeros(int(starts[-1]) + 1, np.uint32)
    sizes = np.diff(forest.category_offset)
    place = np.repeat(starts[:-1], sizes) + forest.category_values // 32
    np.bitwise_or.at(words, place, np.uint32(1) << (forest.category_values % 32).astype(np.uint32))
    which = forest.category[order]
    at = np.flatnonzero(which >= 0)
    ints = raw.view(np.int32).reshape(-1, 4)
    ints[at, 0], ints[at, 1] = starts[which[at]], bits[which[at]]
    ints[at, 2] += SET
    return words
