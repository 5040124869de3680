"""How a forest is evaluated: by masks, in one part or several, or by traversal.

Masks cost per node, traversals per level. Both are estimated in cycles for 512 events, with
constants measured on a Zen 5 core: masks won for XGBoost forests up to depth 14 (4 times faster)
and still for random forests grown to the end, of 9,000 nodes a tree (2.5 times); traversals are
for those whose masks would fill memory. Parts helped where trees share few predicates (random
forests, 20 %), not where they share most (XGBoost with 256 bins).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest
from rootml.bdt.engine.tables._predicates import Nodes, Predicates, distinct_predicates
from rootml.bdt.engine.tables._sizes import MASK_BYTES
from rootml.bdt.engine.tables._traversal import can_traverse
from rootml.bdt.engine.tables._trees import IRREGULAR, irregular_slots, tree_costs, tree_kinds

CACHE = 1 << 21
"""Bytes that stay in the second-level cache."""
MAX_MASK_BYTES = 1 << 28
"""Limit on the memory for masks, or for the slots of irregular trees, of a thread."""
_MASK_COST, _CACHE_MISS_COST, _PART_GAIN, _STEP_COST = 6.0, 6.0, 0.8, 4.5
"""Cycles: to make a mask; extra for each node whose mask is not in the cache; what parts save per
node in that case; for one step of a traversal."""


@dataclass(frozen=True)
class Plan:
    """How one forest is evaluated.

    Attributes:
        kinds: For each tree, from `tree_kinds`.
        parts: Trees of each part and their predicates; empty: by traversal.
    """

    kinds: NDArray[np.int64]
    parts: tuple[tuple[NDArray[np.int64], Predicates], ...]

    @property
    def max_bits(self) -> int:
        """Of the largest leaf index."""
        bits = np.where(self.kinds > IRREGULAR, self.kinds - IRREGULAR, self.kinds)
        return int(bits.max(initial=1))


def make_plan(forest: Forest, nodes: Nodes, method: str | None = None, parts: int = 0) -> Plan:
    """Choose the cheapest plan.

    Args:
        method: "masks" or "traversal" forces that method; for tests and measurements.
        parts: Forces this number of parts; for tests and measurements.
    """
    kinds = tree_kinds(forest)
    trees = np.arange(forest.num_trees)
    slots = int(irregular_slots(forest, kinds).max(initial=0))
    traversable = can_traverse(forest)
    if method == "traversal" or (
        traversable and method is None and slots * MASK_BYTES > MAX_MASK_BYTES
    ):
        return Plan(kinds, ())
    tests = distinct_predicates(forest, nodes, np.ones(len(nodes.index), np.bool_))
    exceeds_cache = tests.num_rows * MASK_BYTES > CACHE
    masks = tree_costs(forest, kinds).sum() + _MASK_COST * tests.num_rows
    masks += _CACHE_MISS_COST * len(nodes.index) if exceeds_cache else 0.0
    traversal = 512 * (
        _STEP_COST * _mean_depth(forest) + 12.0 * forest.num_trees * forest.leaf_width
    )
    if (
        method is None
        and traversable
        and (traversal < masks or tests.num_rows * MASK_BYTES > MAX_MASK_BYTES)
    ):
        return Plan(kinds, ())
    whole = (trees, tests)
    number = parts or -(-tests.num_rows * MASK_BYTES // CACHE)
    if number <= 1 or forest.num_trees < 2:
        return Plan(kinds, (whole,))
    made = _parts(forest, nodes, number)
    again = sum(part.num_rows for _, part in made) - tests.num_rows
    if not parts and _MASK_COST * again > _PART_GAIN * len(nodes.index):
        return Plan(kinds, (whole,))
    return Plan(kinds, made)


def _parts(
    forest: Forest, nodes: Nodes, number: int
) -> tuple[tuple[NDArray[np.int64], Predicates], ...]:
    """Consecutive trees of about as many nodes in each part, with their own masks."""
    middle = forest.tree_offset[:-1] + np.diff(forest.tree_offset) // 2
    part = middle * number // forest.num_nodes
    tree_of = np.searchsorted(forest.tree_offset, nodes.index, side="right") - 1
    return tuple(
        (np.flatnonzero(part == i), distinct_predicates(forest, nodes, part[tree_of] == i))
        for i in np.unique(part).tolist()
    )


def _mean_depth(forest: Forest) -> float:
    """Levels that eight events go down together, over all trees."""
    leaves = forest.feature < 0
    weight = np.exp2(-np.minimum(forest.node_depth[leaves], 60).astype(float))
    mean = float(np.sum(weight * forest.node_depth[leaves]))
    return 0.5 * (mean + float(forest.tree_depth.sum()))
