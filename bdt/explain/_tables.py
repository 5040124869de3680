"""Numbers of the kernel of contributions, laid out as it reads them.

The value of a tree for a set of known features is a product along each path: 0 or 1 for a known
feature, the share of the weight for an unknown one. Shapley values average over the sets; that
average is an integral over t, the probability that a feature is known (Owen 1972), of polynomials
in t, which a Gauss-Legendre rule of half as many points as a path has features sums exactly::

    f(feature; t)  = t * (the event goes this way: 0 or 1) + (1 - t) * (share of the weight)
    contribution_i = integral dt  sum over leaves  value * d f(i)/dt * product of f(j), j != i

One node after the other, with S(node; t) the sum over the leaves below it, P(node; t) the product
above it, and r the factor by which P changes to the left (P - r P to the right)::

    S = S_right + r (S_left - S_right)
    contribution_i += sum over t  weight(t) P a (S_left - S_right)

Where a feature was not tested above, r = f(i; t) and a = df/dt. Where it was, both depend on where
the event stands there (`Paths.before`): r is the new f over the old one, and a what remains of the
derivative. Both are constants for each of the three cases: the event goes left, it goes right, it
has left the path before (r = share, a = 0).

References:
    - Lundberg et al., Consistent individualized feature attribution for tree ensembles (2018),
      https://arxiv.org/abs/1802.03888
    - Owen, Multilinear extensions of games (1972), https://doi.org/10.1287/mnsc.18.5.64
    - Yu et al., Linear TreeShap (2022), https://arxiv.org/abs/2209.08192
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml._internal.types import Bool, Float, Int
from rootml.bdt._forest import Forest
from rootml.bdt.explain._paths import Paths

MAX_POINTS = 32
"""Points of the rule: exact up to 64 features on a path, to 1e-12 beyond."""
INTS = 8
DEFAULT, CATEGORY, LEFT_LEAF, RIGHT_LEAF = 1, 2, 4, 8


@dataclass(frozen=True)
class Layout:
    """Inner nodes in the order of the kernel: tree by tree, level by level.

    Attributes:
        node: Index in the forest.
        start: Shape (trees + 1,): where each tree begins; of trees that have an inner node.
        tree: Number of each of these trees.
        ints: int32, shape (nodes, INTS): column, feature, flags, slots of the children, slot of
            the state before, where the words of the category set begin, and its bits.
    """

    node: Int
    start: Int
    tree: Int
    ints: NDArray[np.int32]

    @property
    def most_nodes(self) -> int:
        """Of the largest tree."""
        return int(np.diff(self.start).max(initial=0))


def categorical_columns(forest: Forest) -> Int:
    """Features that any node takes for a category: they get a second column, of codes."""
    return np.unique(forest.feature[forest.category >= 0]).astype(np.int64)


def make_layout(forest: Forest, paths: Paths, set_starts: Int, set_bits: Int) -> Layout:
    """See `Layout`."""
    tree_of = np.repeat(np.arange(forest.num_trees), np.diff(forest.tree_offset))
    inner = np.flatnonzero(forest.feature >= 0)
    order = inner[np.lexsort((inner, forest.node_depth[inner], tree_of[inner]))]
    tree, start = np.unique(tree_of[order], return_index=True)
    start = np.r_[start, len(order)].astype(np.int64)
    slot = np.zeros(forest.num_nodes, np.int64)
    slot[order] = np.arange(len(order)) - np.repeat(start[:-1], np.diff(start))
    most = int(np.diff(start).max(initial=0))
    feature, sets = forest.feature[order], forest.category[order]
    left, right = forest.left[order], forest.right[order]
    left_leaf, right_leaf = forest.feature[left] < 0, forest.feature[right] < 0
    before = paths.before[order]
    copies = forest.num_features + np.searchsorted(categorical_columns(forest), feature)
    ints = np.zeros((len(order), INTS), np.int32)
    ints[:, 0] = np.where(sets >= 0, copies, feature)
    ints[:, 1] = feature
    ints[:, 2] = (
        DEFAULT * forest.default_left[order]
        + CATEGORY * (sets >= 0)
        + LEFT_LEAF * left_leaf
        + RIGHT_LEAF * right_leaf
    )
    ints[:, 3] = np.where(left_leaf, most, slot[left])
    ints[:, 4] = np.where(right_leaf, most, slot[right])
    ints[:, 5] = np.where(before < 0, 2 * most, 2 * slot[before // 2] + before % 2)
    ints[:, 6] = np.r_[set_starts[:-1], 0][sets]  # the last one serves -1
    ints[:, 7] = np.r_[set_bits, 0][sets]
    return Layout(order, start, tree.astype(np.int64), ints)


def rule(features: int) -> tuple[Float, Float]:
    """Points in (0, 1) and weights that integrate paths of so many distinct features."""
    points = min(MAX_POINTS, max(1, (features + 1) // 2))
    x, weight = np.polynomial.legendre.leggauss(points)
    return (x + 1) / 2, weight / 2


def factors(paths: Paths, node: Int, t: Float, weight: Float, fixed: Bool) -> list[Float]:
    """The constants of nodes: ``r`` to the left and not, ``a`` to the left and not.

    Args:
        node: Indices of nodes.
        t: Shape (nodes, points).
        weight: Shape (points,).
        fixed: Nodes whose feature is taken as known or unknown: they contribute nothing.

    Returns:
        Four arrays of shape (nodes, points).
    """
    above, share = paths.weight[node][:, None], paths.share[node][:, None]
    below = above * share
    old = t + (1 - t) * above
    scale = np.divide(1.0, old, out=np.zeros_like(old), where=old > 0)
    yes, no = (t + (1 - t) * below) * scale, (1 - t) * below * scale
    a_yes = ((1 - below) - (1 - above) * yes) * scale * weight
    a_no = (-below - (1 - above) * no) * scale * weight
    return [yes, no, np.where(fixed[:, None], 0, a_yes), np.where(fixed[:, None], 0, a_no)]


def reals(
    forest: Forest, paths: Paths, layout: Layout, column: int, feature: int, known: float
) -> NDArray[Any]:
    """Shape (nodes, 3 + 4 points): share, leaves to the left and right, and `factors`.

    Args:
        column: Of the leaf values.
        feature: One that is taken as known or as unknown; -1: none.
        known: 1 or 0.
    """
    points, weight = rule(paths.features)
    node = layout.node
    fixed = forest.feature[node] == feature
    t = np.where(fixed[:, None], known, points[None, :])
    made = np.empty((len(node), 3 + 4 * len(points)), forest.dtype)
    made[:, 0] = paths.share[node]
    made[:, 1] = forest.value[forest.left[node], column]
    made[:, 2] = forest.value[forest.right[node], column]
    made[:, 3:] = np.concatenate(factors(paths, node, t, weight, fixed), axis=1)
    return made


def along_means(forest: Forest, paths: Paths, layout: Layout, means: Float) -> NDArray[Any]:
    """As `reals`, of one point: a path is followed or not, and leaves are the children's means."""
    node = layout.node
    share = paths.share[node]
    columns = [share, means[forest.left[node]], means[forest.right[node]]]
    columns += [np.ones(len(node)), np.zeros(len(node)), 1 - share, -share]
    return np.stack(columns, axis=1).astype(forest.dtype)
