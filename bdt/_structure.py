"""The shape of trees in flat arrays: checked before anything follows a child index, and measured.

All walks are level by level over all trees at once, so that a forest of a million nodes takes
milliseconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootml.errors import ModelError

MAX_DEPTH = 4096
"""Deeper trees are refused: none was ever trained, and a chain of nodes costs a walk per node."""


def check_offsets(tree_offset: NDArray[np.int64], num_nodes: int) -> None:
    """Refuse offsets that do not cut `num_nodes` nodes into trees of at least one node each.

    Raises:
        ModelError: They do not begin with 0, end with `num_nodes`, and rise in between.
    """
    if tree_offset.ndim != 1 or len(tree_offset) < 1 or tree_offset[0] != 0:
        message = "tree_offset must be one-dimensional and begin with 0"
        raise ModelError(message)
    if tree_offset[-1] != num_nodes or np.any(np.diff(tree_offset) < 1):
        message = (
            f"tree_offset must rise to the number of nodes, {num_nodes}; it ends with "
            f"{tree_offset[-1]}, its smallest step is {np.diff(tree_offset).min(initial=1)}"
        )
        raise ModelError(message)


def level_depths(
    tree_offset: NDArray[np.int64], left: NDArray[np.int32], right: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Depth of each node; -1 for nodes that their tree's root does not reach.

    Args:
        tree_offset: Shape (trees + 1,); a tree's first node is its root.
        left: Shape (nodes,), index among all nodes; negative in a leaf.
        right: The same.

    Raises:
        ModelError: A child outside its tree, a node with two parents (so also a cycle), a node
            with one child, or more than `MAX_DEPTH` levels.
    """
    tree_of = np.repeat(np.arange(len(tree_offset) - 1), np.diff(tree_offset))
    depth = np.full(len(left), -1, dtype=np.int32)
    nodes = tree_offset[:-1]
    depth[nodes] = 0
    for level in range(1, MAX_DEPTH + 2):
        inner = nodes[left[nodes] >= 0]
        if np.any((left[nodes] < 0) != (right[nodes] < 0)):
            message = "a node has one child; each node needs two or none"
            raise ModelError(message)
        if not len(inner):
            return depth
        parents = np.concatenate([inner, inner])
        nodes = np.concatenate([left[inner], right[inner]]).astype(np.int64)
        if nodes.max() >= len(left) or np.any(tree_of[nodes] != tree_of[parents]):
            message = "a child index points outside of its tree"
            raise ModelError(message)
        if np.any(depth[nodes] >= 0) or len(np.unique(nodes)) != len(nodes):
            message = "a node is reached twice: the tree has a cycle, or a node with two parents"
            raise ModelError(message)
        depth[nodes] = level
    message = f"a tree is deeper than {MAX_DEPTH} levels"
    raise ModelError(message)


def keep_reached(
    tree_offset: NDArray[np.int64], left: NDArray[np.int32], right: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Leave out the nodes that no root reaches, as pruning leaves them behind.

    Returns:
        Indices of the nodes reached, the new offsets, and the new `left` and `right`.

    Raises:
        ModelError: As `level_depths`.
    """
    reached = np.flatnonzero(level_depths(tree_offset, left, right) >= 0)
    offset = np.searchsorted(reached, tree_offset).astype(np.int64)
    if len(reached) == len(left):
        return reached, offset, left, right
    number = np.full(len(left) + 1, -1, dtype=np.int32)  # the last element serves child -1
    number[reached] = np.arange(len(reached), dtype=np.int32)
    left, right = (number[np.maximum(child[reached], -1)] for child in (left, right))
    return reached, offset, left, right


def order_by_tree(
    roots: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Nodes of scattered trees in the order of a `Forest`: tree by tree, the root first.

    Args:
        roots: Index of the root of each tree.
        left: Shape (nodes,), index of a child; negative in a leaf. Checked here.
        right: The same.

    Returns:
        The nodes reached, in their new order, and the offsets of the trees.

    Raises:
        ModelError: A child that does not exist, a node reached twice, too many levels.
    """
    count = len(left)
    if any(np.any(index >= count) for index in (roots, left, right)) or np.any(roots < 0):
        message = f"a root or a child is not one of the {count} nodes"
        raise ModelError(message)
    tree = np.full(count, -1, dtype=np.int64)
    nodes, names, found = roots, np.arange(len(roots)), []
    for _ in range(MAX_DEPTH + 1):
        if np.any(tree[nodes] >= 0) or len(np.unique(nodes)) != len(nodes):
            message = "a node is reached twice: a cycle, or a node with two parents"
            raise ModelError(message)
        tree[nodes] = names
        found.append(nodes)
        inner = left[nodes] >= 0
        if not np.any(inner):
            order = np.concatenate(found)
            order = order[np.argsort(tree[order], kind="stable")]
            sizes = np.bincount(tree[order], minlength=len(roots))
            return order, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        names = np.concatenate([names[inner], names[inner]])
        nodes = np.concatenate([left[nodes[inner]], right[nodes[inner]]])
        if np.any(nodes < 0):
            message = "a node has one child; each node needs two or none"
            raise ModelError(message)
    message = f"a tree is deeper than {MAX_DEPTH} levels"
    raise ModelError(message)
