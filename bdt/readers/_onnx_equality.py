"""Tests of equality with numbers that are not categories: fractions, and what is below zero.

A `Forest` tests membership of whole numbers from 0 on. Equality with another number v becomes two
numeric tests, with copies of the branches::

    x == v ? yes : no        =        x < v ? no : (x <= v ? yes : no)

of a set one pair after the other. NaN keeps its way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._structure import order_by_tree
from rootml.errors import ModelError, UnsupportedModelError

MODES = (
    "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ",
    "BRANCH_MEMBER",
)  # fmt: skip
LEQ, LT, GTE, GT, EQ, NEQ, MEMBER = range(7)
MAX_CATEGORY = 2**24
_MAX_NODES = 2**22
"""More nodes than that are not made by copies."""


@dataclass
class Trees:
    """Nodes of all trees, unordered; children are indices among them, -1 in leaves."""

    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    mode: NDArray[np.int64]
    split: NDArray[Any]
    true: NDArray[np.int64]
    false: NDArray[np.int64]
    nan_true: NDArray[np.bool_]
    value: NDArray[Any]
    members: dict[int, NDArray[Any]]

    def equal_to(self, node: int) -> NDArray[Any]:
        """The numbers that a test of equality compares with."""
        return self.members.get(node, self.split[node : node + 1])


def is_category(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether numbers are whole ones from 0 to `MAX_CATEGORY`."""
    found: NDArray[np.bool_] = (values >= 0) & (values < MAX_CATEGORY)
    found &= values == np.floor(values)
    return found


def with_numeric_tests(trees: Trees) -> Trees:
    """The same trees, in which tests of equality compare with categories alone.

    Raises:
        ModelError: A node that is reached twice, or equality with NaN.
        UnsupportedModelError: Copies of millions of nodes.
    """
    nodes = np.flatnonzero((trees.true >= 0) & (trees.mode >= EQ)).tolist()
    odd = [node for node in nodes if not np.all(is_category(trees.equal_to(node)))]
    if not odd:
        return trees
    if any(np.any(np.isnan(trees.equal_to(node))) for node in odd):
        message = "a test of equality with NaN, which nothing equals"
        raise ModelError(message)
    order_by_tree(trees.roots, trees.true, trees.false)  # checks that these are trees
    level = _levels(trees)
    grown = _Grown(trees)
    for node in sorted(odd, key=lambda n: -level[n]):  # below first: copies hold no odd tests
        grown.split(node)
    return grown.trees()


def _levels(trees: Trees) -> NDArray[np.int64]:
    level = np.full(len(trees.true), -1)
    nodes, depth = trees.roots, 0
    while len(nodes):
        level[nodes] = depth
        inner = nodes[trees.true[nodes] >= 0]
        nodes, depth = np.concatenate([trees.true[inner], trees.false[inner]]), depth + 1
    return level


class _Grown:
    """Trees that get more nodes; each knows the node whose feature and value it has."""

    def __init__(self, trees: Trees) -> None:
        self._given = trees
        self._origin = list(range(len(trees.true)))
        self._mode, self._split = trees.mode.tolist(), list(trees.split)
        self._true, self._false = trees.true.tolist(), trees.false.tolist()
        self._nan_true = trees.nan_true.tolist()
        self._members = dict(trees.members)

    def _add(self, origin: int, mode: int, split: Any, true: int, false: int, nan: bool) -> int:
        if len(self._origin) >= _MAX_NODES:
            message = f"tests of equality with fractions that need more than {_MAX_NODES} nodes"
            raise UnsupportedModelError(message)
        self._origin.append(origin)
        self._mode.append(mode)
        self._split.append(split)
        self._true.append(true)
        self._false.append(false)
        self._nan_true.append(nan)
        return len(self._origin) - 1

    def _copy(self, root: int) -> int:
        """A copy of a branch."""
        first = len(self._origin)
        waiting = [(root, -1, False)]
        while waiting:
            node, parent, is_true = waiting.pop()
            leaf = self._true[node] < 0
            made = self._add(
                self._origin[node], self._mode[node], self._split[node], -1, -1,
                self._nan_true[node],
            )  # fmt: skip
            if node in self._members:
                self._members[made] = self._members[node]
            if parent >= 0:
                (self._true if is_true else self._false)[parent] = made
            if not leaf:
                waiting += [(self._false[node], made, False), (self._true[node], made, True)]
        return first

    def split(self, node: int) -> None:
        """Replace a test of equality by numeric ones."""
        values = np.unique(self._given.equal_to(node))
        if np.any(np.isneginf(values)):
            message = "a test of equality with -infinity is not supported"
            raise UnsupportedModelError(message)
        whole, odd = values[is_category(values)], values[~is_category(values)]
        negated = self._mode[node] == NEQ
        yes, no = self._true[node], self._false[node]
        yes, no = (no, yes) if negated else (yes, no)
        nan_yes = not negated and self._nan_true[node]
        tail = no
        for i, value in enumerate(odd[::-1].tolist()):
            last = i == len(odd) - 1 and not len(whole)
            equal = self._add(node, LEQ, value, yes if last else self._copy(yes), tail, nan_yes)
            tail = self._add(node, LT, value, self._copy(no), equal, not nan_yes)
        if len(whole):
            self._mode[node], self._members[node] = MEMBER, whole
            self._true[node], self._false[node], self._nan_true[node] = yes, tail, nan_yes
            return
        self._members.pop(node, None)  # the first of the tests takes the place of the node
        for field in (self._mode, self._split, self._true, self._false, self._nan_true):
            field[node] = field[tail]
        self._true[tail] = self._false[tail] = -1

    def trees(self) -> Trees:
        origin = np.array(self._origin)
        given = self._given
        return replace(
            given,
            feature=given.feature[origin],
            mode=np.array(self._mode),
            split=np.array(self._split, dtype=given.split.dtype),
            true=np.array(self._true),
            false=np.array(self._false),
            nan_true=np.array(self._nan_true, dtype=bool),
            value=given.value[origin],
            members=self._members,
        )
