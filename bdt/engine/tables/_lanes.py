"""From a forest to tables for few rows: vector lanes are trees, and one event is evaluated.

An event is a table of at most 256 bytes: for each group of thresholds its rank, once with NaN on
top (NaN goes right) and once with NaN at the bottom (it goes left), where nodes need it. A node of
a full tree is two bytes: an index into that table, and the number that the rank must be below.
Nodes at the same position of 64 trees are adjacent, and the two bytes of 64 nodes each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest
from rootml.bdt.engine.tables._predicates import MAX_THRESHOLDS, Nodes
from rootml.bdt.engine.tables._trees import MAX_DEPTH

TREES = 128
"""Trees that are evaluated at once."""
STEP = 16
"""Thresholds that are compared at once, and numbers of those that are compared next."""
TOGETHER = 16
"""Trees that are added without asking whether there are as many: a divisor of `TREES`."""
MAX_ENTRIES = 256
_MAX_TABLE_BYTES = 1 << 26


@dataclass(frozen=True)
class Lanes:
    """Tables of `emit_lanes`.

    Attributes:
        depth: Of all trees, padded.
        entries: Bytes of the table of an event: 64, 128 or 256.
        columns: int64: column of each entry.
        default: int64: 0 where NaN goes to the bottom, else 255.
        thresholds: Shape (entries, 16 + 256): every 16th, then all of them, rising, NaN behind
            the last.
        nodes: uint8, shape (groups of 128 trees, 2**depth, 2, 2, 64): for each place in a tree
            and twice 64 trees the first bytes of their nodes, then the second.
        values: Leaves, shape (trees, 2**depth); trees of -0.0 make their number a multiple of
            `TOGETHER`.
    """

    depth: int
    entries: int
    columns: NDArray[np.int64]
    default: NDArray[np.int64]
    thresholds: NDArray[Any]
    nodes: NDArray[np.uint8]
    values: NDArray[Any]


def make_lanes(
    forest: Forest, nodes: Nodes, lane: NDArray[np.int64], most: int | None = None
) -> Lanes | None:
    """The tables of a forest; None for deep forests, category sets, vector leaves, or too many
    features and thresholds.

    Args:
        lane: Where among 128 each tree is.
        most: Limit on the nodes of a tree times the entries of an event.
    """
    depth = max(forest.depth, 1)
    if depth > MAX_DEPTH or forest.has_categories or forest.leaf_width > 1:
        return None
    size = forest.num_trees * ((forest.dtype.itemsize + 2) << depth)
    if size > _MAX_TABLE_BYTES:
        return None
    feature, threshold = forest.feature[nodes.index], nodes.threshold + 0.0
    order = np.lexsort((threshold, feature))
    new = np.ones((2, len(order)), np.bool_)
    new[0, 1:] = feature[order][1:] != feature[order][:-1]
    new[1, 1:] = new[0, 1:] | (threshold[order][1:] != threshold[order][:-1])
    number = np.cumsum(new[1]) - 1
    within = number - number[new[0]][np.cumsum(new[0]) - 1]
    chunk, slot = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    chunk[order], slot[order] = within // MAX_THRESHOLDS, within % MAX_THRESHOLDS + 1
    known, entry = _distinct(feature, chunk, ~nodes.default)
    if len(known) > MAX_ENTRIES:
        return None
    entries = next(count for count in (64, 128, 256) if len(known) <= count)
    if most is not None and entries << depth > most:
        return None
    distinct = order[new[1]]
    values = np.full((max(len(known), 1), STEP, STEP), np.nan, forest.input_dtype)
    for i, (column, part, _) in enumerate(known.tolist()):
        own = distinct[(feature[distinct] == column) & (chunk[distinct] == part)]
        values[i].reshape(-1)[: len(own)] = threshold[own]
    bytes_of = np.zeros((forest.num_nodes, 2), np.uint8)
    bytes_of[nodes.index, 0], bytes_of[nodes.index, 1] = entry, slot
    thresholds = np.concatenate([values[:, :, -1], values.reshape(len(values), -1)], axis=1)
    return Lanes(
        depth, entries, known[:, 0].copy(), 255 * known[:, 2], thresholds,
        *_full_trees(forest, nodes, bytes_of, depth, lane),
    )  # fmt: skip


def _distinct(
    feature: NDArray[np.int32], chunk: NDArray[np.int64], right: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct triples in rising order, shape (triples, 3), and for each node its own."""
    chunks = int(chunk.max(initial=0)) + 1
    key = (feature.astype(np.int64) * chunks + chunk) * 2 + right
    there = np.zeros(int(key.max(initial=0)) + 1, np.bool_)
    there[key] = True
    known = np.flatnonzero(there)
    columns, rest = np.divmod(known, 2 * chunks)
    triples = np.stack([columns, rest // 2, rest % 2], axis=1)
    return triples, (np.cumsum(there) - 1)[key]


def _full_trees(
    forest: Forest, nodes: Nodes, bytes_of: NDArray[np.uint8], depth: int, lane: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Nodes and leaves at their positions in full trees, level by level."""
    made = np.zeros((-(-forest.num_trees // TREES), 1 << depth, TREES // 64, 2, 64), np.uint8)
    half, lane = np.divmod(lane, 64)
    trees = -(-forest.num_trees // TOGETHER) * TOGETHER
    values = np.full((trees, 1 << depth), -0.0, forest.dtype)
    node, tree = forest.tree_offset[:-1], np.arange(forest.num_trees)
    slot = np.zeros(len(node), np.int64)
    for level in range(depth + 1):
        leaf = nodes.left[node] < 0
        width = 1 << (depth - level)
        at = slot[leaf, None] * width + np.arange(width)
        values[tree[leaf, None], at] = forest.value[node[leaf], 0][:, None]
        node, tree, slot = node[~leaf], tree[~leaf], slot[~leaf]
        group, within = np.divmod(tree, TREES)
        at = (1 << level) - 1 + slot
        made[group, at, half[within], :, lane[within]] = bytes_of[node]
        tree = np.concatenate([tree, tree])
        slot = np.concatenate([2 * slot + 1, 2 * slot])
        node = np.concatenate([nodes.left[node], nodes.right[node]]).astype(np.int64)
    return made, values
