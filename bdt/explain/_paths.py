"""Features on the way from the root to each node: where one was tested before, and with what.

All trees are walked together, level by level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rootml._internal.types import Float, Int
from rootml.bdt._forest import Forest
from rootml.errors import UsageError


@dataclass(frozen=True)
class Paths:
    """Per inner node of a forest, by the node's index.

    Attributes:
        share: Shape (nodes,): the part of the weight in a node that goes left.
        before: Shape (nodes,): what is known of the node's feature there: ``2 * n`` if the node
            `n` was the last one to test it and the path goes left from there, ``2 * n + 1`` if
            right; -1 if no node above tests it.
        weight: Shape (nodes,): product of the shares of the path's side of the nodes above with
            the same feature; 1 if there is none.
        features: The largest number of distinct features on a path.
    """

    share: Float
    before: Int
    weight: Float
    features: int


def shares(forest: Forest) -> Float:
    """The part of the weight in each inner node that goes left; 0 elsewhere.

    Raises:
        UsageError: The model does not hold the weights of its nodes.
    """
    if forest.cover is None:
        message = (
            f"contributions need the weights of the nodes, and a model of {forest.library} does "
            "not hold them; take them from events: forest.with_cover(x)"
        )
        raise UsageError(message)
    inner = forest.feature >= 0
    left = np.where(inner, forest.cover[forest.left], 0.0)
    both = left + np.where(inner, forest.cover[forest.right], 0.0)
    made: Float = np.divide(left, both, out=np.zeros(len(left)), where=both > 0)
    return made


def make_paths(forest: Forest) -> Paths:
    """See `Paths`."""
    share = shares(forest)
    before = np.full(forest.num_nodes, -1, np.int64)
    weight = np.ones(forest.num_nodes)
    distinct = np.zeros(forest.num_nodes, np.int64)
    nodes = forest.tree_offset[:-1]
    nodes = nodes[forest.feature[nodes] >= 0]
    # per node of the level, from its path: features, states, and the weights of these states
    features = np.zeros((len(nodes), 0), np.int32)
    states = np.zeros((len(nodes), 0), np.int64)
    weights = np.zeros((len(nodes), 0))
    largest = 0
    while len(nodes):
        feature = forest.feature[nodes]
        same = features == feature[:, None]
        found = same.any(axis=1)
        if features.shape[1]:
            last = features.shape[1] - 1 - np.argmax(same[:, ::-1], axis=1)
            rows = np.arange(len(nodes))
            before[nodes] = np.where(found, states[rows, last], -1)
            weight[nodes] = np.where(found, weights[rows, last], 1.0)
        count = distinct[nodes] + ~found
        largest = max(largest, int(count.max()))
        parts = []
        for side, child in ((0, forest.left[nodes]), (1, forest.right[nodes])):
            go = np.flatnonzero(forest.feature[child] >= 0)
            part = share[nodes] if side == 0 else 1.0 - share[nodes]
            distinct[child[go]] = count[go]
            parts.append(
                (
                    child[go].astype(np.int64),
                    np.c_[features[go], feature[go]],
                    np.c_[states[go], 2 * nodes[go] + side],
                    np.c_[weights[go], (weight[nodes] * part)[go]],
                )
            )
        nodes, features, states, weights = (
            np.concatenate(pair) for pair in zip(*parts, strict=True)
        )
    return Paths(share, before, weight, largest)


def node_means(forest: Forest, share: Float) -> Float:
    """Shape (nodes, leaf width): the mean of the leaves below each node, by their weights."""
    means = forest.value.astype(np.float64)
    inner = np.flatnonzero(forest.feature >= 0)
    for depth in range(forest.depth - 1, -1, -1):
        level = inner[forest.node_depth[inner] == depth]
        part = share[level][:, None]
        left, right = means[forest.left[level]], means[forest.right[level]]
        means[level] = part * left + (1.0 - part) * right
    return means


def expected(forest: Forest, means: Float) -> Float:
    """Shape (outputs,): the margin that the forest expects before it sees an event."""
    roots = means[forest.tree_offset[:-1]]
    total = np.zeros(forest.num_outputs)
    if forest.leaf_width == 1:
        np.add.at(total, forest.tree_output, roots[:, 0])
    else:
        total += roots.sum(axis=0)
    base = forest.base / forest.divisor if forest.base_first else forest.base
    return total / forest.divisor + base
