"""How a forest is evaluated: by masks, in one part or several, or by walkers.

Masks cost by node, walkers by level. Both are estimated in cycles for 512 events, with constants
measured on a Zen 5 core: masks won for XGBoost forests up to depth 14 (4 times faster) and still
for random forests grown to the end, of 9,000 nodes a tree (2.5 times); walkers are for those whose
masks would fill memory. Parts helped where trees share few tests (random forests, 20 %), not where
they share most (XGBoost with 256 bins).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest
from rootml.bdt.engine.codegen._code import ROW
from rootml.bdt.engine.tables._predicates import Nodes, Tests, distinct_tests
from rootml.bdt.engine.tables._traversal import can_walk
from rootml.bdt.engine.tables._trees import IRREGULAR, irregular_slots, tree_costs, tree_kinds

CACHE = 1 << 20
"""Bytes of masks that stay close to the core."""
MOST_BYTES = 1 << 28
"""Memory for masks, or for the slots of irregular trees, that a thread may need."""
_MASK, _FAR, _NEAR, _STEP = 6.0, 6.0, 0.8, 4.5
"""Cycles: to make a mask; more for a mask that does not stay in the cache, per node that reads it;
what parts are worth then; for a step of a walker."""


@dataclass(frozen=True)
class Plan:
    """What was chosen.

    Attributes:
        kinds: For each tree, from `tree_kinds`.
        parts: Trees of each part and their tests; none: walkers.
    """

    kinds: NDArray[np.int64]
    parts: tuple[tuple[NDArray[np.int64], Tests], ...]

    @property
    def most_bits(self) -> int:
        """Of the number of a leaf in its table."""
        bits = np.where(self.kinds > IRREGULAR, self.kinds - IRREGULAR, self.kinds)
        return int(bits.max(initial=1))


def make_plan(forest: Forest, nodes: Nodes, method: str | None = None, parts: int = 0) -> Plan:
    """Choose.

    Args:
        method: "masks" or "walk" to have it so; for tests and measurements.
        parts: So many parts instead of what is best; the same.
    """
    kinds = tree_kinds(forest)
    trees = np.arange(forest.num_trees)
    slots = int(irregular_slots(forest, kinds).max(initial=0))
    walkable = can_walk(forest)
    if method == "walk" or (walkable and method is None and slots * ROW > MOST_BYTES):
        return Plan(kinds, ())
    tests = distinct_tests(forest, nodes, np.ones(len(nodes.index), np.bool_))
    far = tests.num_rows * ROW > CACHE
    masks = tree_costs(forest, kinds).sum() + _MASK * tests.num_rows
    masks += _FAR * len(nodes.index) if far else 0.0
    walk = 512 * (_STEP * _mean_depth(forest) + 12.0 * forest.num_trees * forest.leaf_width)
    if method is None and walkable and (walk < masks or tests.num_rows * ROW > MOST_BYTES):
        return Plan(kinds, ())
    whole = (trees, tests)
    number = parts or -(-tests.num_rows * ROW // (CACHE * 3 // 4))
    if number <= 1 or forest.num_trees < 2:
        return Plan(kinds, (whole,))
    made = _parts(forest, nodes, number)
    again = sum(part.num_rows for _, part in made) - tests.num_rows
    if not parts and _MASK * again > _NEAR * len(nodes.index):
        return Plan(kinds, (whole,))
    return Plan(kinds, made)


def _parts(
    forest: Forest, nodes: Nodes, number: int
) -> tuple[tuple[NDArray[np.int64], Tests], ...]:
    """Consecutive trees of about as many nodes in each part, with their own masks."""
    middle = forest.tree_offset[:-1] + np.diff(forest.tree_offset) // 2
    part = middle * number // forest.num_nodes
    tree_of = np.searchsorted(forest.tree_offset, nodes.index, side="right") - 1
    return tuple(
        (np.flatnonzero(part == i), distinct_tests(forest, nodes, part[tree_of] == i))
        for i in np.unique(part).tolist()
    )


def _mean_depth(forest: Forest) -> float:
    """Levels that eight events go down together, over all trees."""
    leaves = forest.feature < 0
    weight = np.exp2(-np.minimum(forest.node_depth[leaves], 60).astype(float))
    mean = float(np.sum(weight * forest.node_depth[leaves]))
    return 0.5 * (mean + float(forest.tree_depth.sum()))
