"""A `Forest` lowered to the tables of the C++ header.

Equal tests of all trees are one test: feature, threshold and direction of NaN. The distinct
thresholds of a feature, rising, form *groups* of at most 255, so that the results of all tests of
a group follow from one rank, which is a byte. The trees hold numbers of tests. Trees are laid out
as perfect binary trees where that costs little, else node by node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest
from rootml.errors import UnsupportedModelError

TOGETHER = 8  # trees that are walked side by side
MAX_THRESHOLDS = 255  # of a group
MAX_TESTS = 2**20  # one byte each on the stack
MAX_ENTRIES = 2**22  # numbers in the header
_PERFECT_DEPTH = 10
_PERFECT_COST = 3  # times the entries of the other layout


@dataclass(frozen=True)
class Group:
    """Tests of one feature on consecutive thresholds.

    Attributes:
        feature: The column.
        thresholds: Distinct and rising, at most `MAX_THRESHOLDS`.
        right: Number of the test with the first threshold and NaN to the right, the others
            following; -1 if no node needs them.
        left: The same with NaN to the left.
    """

    feature: int
    thresholds: NDArray[Any]
    right: int
    left: int

    @property
    def levels(self) -> int:
        """Depth of the search tree."""
        return len(self.thresholds).bit_length()


@dataclass(frozen=True)
class SetGroup:
    """Tests of the categories of one feature with one direction of NaN.

    Attributes:
        feature: The column.
        begin: Number of the first test.
        nan_right: Whether NaN goes right.
        values: All members of any set, rising.
        bits: Shape (values + 1, tests): whether the test is false (the event goes right) for each
            value, and last for all others.
    """

    feature: int
    begin: int
    nan_right: bool
    values: NDArray[np.int32]
    bits: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """How many tests."""
        return int(self.bits.shape[1])

    @property
    def packed(self) -> NDArray[np.uint8]:
        """Shape (bytes, tests): bit i of byte k is 1 if value 8 k + i goes right."""
        return np.packbits(self.bits, axis=0, bitorder="little")


@dataclass(frozen=True)
class Tables:
    """What the header holds.

    Attributes:
        groups: Numeric tests.
        sets: Tests of categories.
        num_tests: In all groups; the test of this number is always true.
        depth: Steps of each pack of `TOGETHER` trees, or of fewer in the last.
        is_perfect: Whether node i of a tree has the children 2 i and 2 i + 1; the root is 1.
        node: Tests; perfect: ``2**depth`` for each tree of a pack, the first of no use.
        next: Not perfect: for each node the first of two neighbouring children, from the tree's
            begin on; a leaf is its own child.
        tree: Begin of each tree in `node`.
        leaf: Begin of each tree in `value`.
        value: Rows of leaves, shape (rows, leaf width).
    """

    groups: list[Group]
    sets: list[SetGroup]
    num_tests: int
    depth: NDArray[np.int64]
    is_perfect: bool
    node: NDArray[np.int64]
    next: NDArray[np.int64]
    tree: NDArray[np.int64]
    leaf: NDArray[np.int64]
    value: NDArray[Any]


def lower(forest: Forest) -> Tables:
    """The tables of a forest.

    Raises:
        UnsupportedModelError: Too large for a header.
    """
    if forest.num_nodes > MAX_ENTRIES:
        message = f"to_cpp() of {forest.num_nodes:,} nodes; a header holds {MAX_ENTRIES:,}"
        raise UnsupportedModelError(message)
    test = np.full(forest.num_nodes, -1, dtype=np.int64)  # the number of the test of each node
    groups, begin = _numeric_tests(forest, test)
    sets, num_tests = _category_tests(forest, test, begin)
    if num_tests > MAX_TESTS:
        message = f"to_cpp() of {num_tests:,} different tests; a header holds {MAX_TESTS:,}"
        raise UnsupportedModelError(message)
    packs = -(-forest.num_trees // TOGETHER)
    depth = np.zeros(packs, dtype=np.int64)
    np.maximum.at(depth, np.arange(forest.num_trees) // TOGETHER, forest.tree_depth)
    each = np.repeat(depth, TOGETHER)[: forest.num_trees]
    perfect = depth.max(initial=0) <= _PERFECT_DEPTH and (
        np.sum(2 ** (each + 1)) <= _PERFECT_COST * max(1, forest.num_nodes) + 1000
    )
    layout = _perfect if perfect else _linked
    return Tables(
        groups, sets, num_tests, depth, bool(perfect),
        *layout(forest, test, each, num_tests),
    )  # fmt: skip


# --- tests ---------------------------------------------------------------------------------------


def _numeric_tests(forest: Forest, test: NDArray[np.int64]) -> tuple[list[Group], int]:
    """All groups, and how many tests they hold; numbers the nodes in `test`."""
    nodes = np.flatnonzero((forest.feature >= 0) & (forest.category < 0))
    feature, left = forest.feature[nodes], forest.default_left[nodes]
    threshold = forest.threshold[nodes] + forest.threshold.dtype.type(0)  # -0 is 0
    groups: list[Group] = []
    begin = 0
    for column in np.unique(feature).tolist():
        own = feature == column
        values, slot = np.unique(threshold[own], return_inverse=True)
        part, slot = np.divmod(slot.reshape(-1), MAX_THRESHOLDS)
        for number in range(-(-len(values) // MAX_THRESHOLDS)):
            here = part == number
            at, goes_left = nodes[own][here], left[own][here]
            some = values[number * MAX_THRESHOLDS :][:MAX_THRESHOLDS]
            first = {False: -1, True: -1}
            for side in np.unique(goes_left).tolist():
                first[side] = begin
                test[at[goes_left == side]] = begin + slot[here][goes_left == side]
                begin += len(some)
            groups.append(Group(column, some, first[False], first[True]))
    return groups, begin


def _category_tests(
    forest: Forest, test: NDArray[np.int64], begin: int
) -> tuple[list[SetGroup], int]:
    """The same for category sets, whose tests are numbered from `begin` on."""
    groups = []
    nodes = np.flatnonzero(forest.category >= 0)
    pairs = np.stack([forest.feature[nodes], forest.default_left[nodes]], axis=1)
    for feature, goes_left in np.unique(pairs, axis=0).tolist():
        own = nodes[np.all(pairs == (feature, goes_left), axis=1)]
        numbers: dict[bytes, int] = {}
        sets: list[NDArray[np.int32]] = []
        for node in own.tolist():
            members = forest.category_set(int(forest.category[node]))
            number = numbers.setdefault(members.tobytes(), len(numbers))
            if number == len(sets):
                sets.append(members)
            test[node] = begin + number
        values = np.unique(np.concatenate(sets)).astype(np.int32)
        if (len(values) + 1) * len(sets) > 8 * MAX_ENTRIES:
            message = f"to_cpp() of {len(sets):,} sets of {len(values):,} categories"
            raise UnsupportedModelError(message)
        bits = np.ones((len(values) + 1, len(sets)), dtype=bool)
        for number, members in enumerate(sets):
            bits[np.searchsorted(values, members), number] = False
        groups.append(SetGroup(feature, begin, not goes_left, values, bits))
        begin += len(sets)
    return groups, begin


# --- layouts -------------------------------------------------------------------------------------


def _perfect(
    forest: Forest, test: NDArray[np.int64], depth: NDArray[np.int64], num_tests: int
) -> tuple[NDArray[Any], ...]:
    """Trees filled up to the depth of their pack: below a leaf all is this leaf.

    Level by level for all trees: the node of the forest at each position.
    """
    count = 2**depth
    tree = np.cumsum(count) - count
    node = np.full(int(count.sum()), num_tests, dtype=np.int64)
    value = np.zeros((int(count.sum()), forest.leaf_width), dtype=forest.dtype)
    owner = np.arange(forest.num_trees)
    at = forest.tree_offset[:-1].astype(np.int64)
    slot = np.ones(forest.num_trees, dtype=np.int64)
    for level in range(int(depth.max(initial=0)) + 1):
        done = depth[owner] == level
        rows = tree[owner[done]] + slot[done] - count[owner[done]]
        value[rows] = forest.value[at[done]]
        owner, at, slot = owner[~done], at[~done], slot[~done]
        inner = forest.feature[at] >= 0
        node[tree[owner] + slot] = np.where(inner, test[at], num_tests)
        left, right = (np.where(inner, side[at], at) for side in (forest.left, forest.right))
        owner = np.concatenate([owner, owner])
        at = np.concatenate([left, right]).astype(np.int64)
        slot = np.concatenate([2 * slot, 2 * slot + 1])
    return node, np.zeros(0, dtype=np.int64), tree, tree, value


def _linked(
    forest: Forest, test: NDArray[np.int64], depth: NDArray[np.int64], num_tests: int
) -> tuple[NDArray[Any], ...]:
    """Trees node by node, children side by side, in order of depth within a tree."""
    del depth
    tree_of = np.repeat(np.arange(forest.num_trees), np.diff(forest.tree_offset))
    first = forest.tree_offset[:-1].astype(np.int64)
    inner = np.flatnonzero(forest.feature >= 0)
    inner = inner[np.lexsort((forest.node_depth[inner], tree_of[inner]))]
    rank = np.arange(len(inner)) - np.searchsorted(tree_of[inner], tree_of[inner])
    slot = np.zeros(forest.num_nodes, dtype=np.int64)  # within the tree; the root is 0
    child = 1 + 2 * rank
    slot[forest.left[inner]], slot[forest.right[inner]] = child, child + 1
    where = first[tree_of] + slot
    node = np.full(forest.num_nodes, num_tests, dtype=np.int64)
    following = np.zeros(forest.num_nodes, dtype=np.int64)
    following[where] = slot
    following[where[inner]] = child
    node[where[inner]] = test[inner]
    value = np.zeros_like(forest.value)
    value[where] = forest.value
    return node, following, first, first, value
