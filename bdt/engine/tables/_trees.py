"""From the trees of a forest to programs for the kernels: which masks, which leaves, what order.

Trees are sorted by the output they add to (keeping their order, so every sum is the library's)
and cut into *segments* of one kind behind one another:

- full: the tree is padded to 2**d leaves, d <= 8. Node number ``2**l - 1 + p`` is at level l; p
  has one bit for each predicate above it, 1 where it held. The index of a leaf is made alike.
- irregular: any shape, without padding. Each node has a mask of the events that reach it; the
  leaves, in groups of at most 2**k - 1, are numbered from 1, and 0 means "in no leaf of this
  group", which adds -0.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest
from rootml.bdt.engine.tables._predicates import Nodes

MAX_DEPTH = 8
"""Levels of full trees, bits of the number of a leaf."""
SEGMENT = ("kind", "count", "nodes", "leaves", "output", "groups", "zero", "zeros")
"""Columns of segments: kind is d, or 8 + k; nodes and leaves are offsets in bytes; `zeros` slots
from number `zero` on belong to no leaf of an irregular tree."""
IRREGULAR = 8
MAX_NUMBERED = 1 << 16
"""Masks that 16-bit numbers tell apart."""
STEP = ("mask", "at", "left", "right")
"""A step of an irregular tree, four uint32: offsets of its mask, of the events that reach the
node, and of where those go that pass and fail the test."""


@dataclass(frozen=True)
class LeafLayout:
    """The memory layout of the leaf values of one tree.

    Attributes:
        dtype: float32 or float64.
        plane_bits: Tables with at most this many index bits are stored byte by byte (all lowest
            bytes, then all second bytes, ...), others value by value.
        min_entries: Smallest number of entries of a table.
    """

    dtype: np.dtype[Any]
    plane_bits: int
    min_entries: int

    def entries(self, bits: int) -> int:
        """Entries of a table whose index has `bits` bits."""
        return max(1 << bits, self.min_entries)

    def size(self, bits: int) -> int:
        """Bytes of it."""
        return -(-self.entries(bits) * self.dtype.itemsize // 64) * 64

    def pack(self, values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
        """Tables, shape (trees, 2**bits), as bytes, shape (trees, size)."""
        repeat = self.entries(bits) >> bits
        full = np.tile(values, (1, repeat)) if repeat > 1 else values
        raw = np.ascontiguousarray(full).view(np.uint8).reshape(*full.shape, self.dtype.itemsize)
        if bits <= self.plane_bits:
            raw = np.ascontiguousarray(raw.transpose(0, 2, 1))
        raw = raw.reshape(len(values), -1)
        made = np.zeros((len(values), self.size(bits)), np.uint8)
        made[:, : raw.shape[1]] = raw
        return made


@dataclass(frozen=True)
class Program:
    """All segments of one part of a forest.

    Attributes:
        segments: int64, shape (segments, 8), see `SEGMENT`.
        nodes: As bytes: numbers of masks, uint16 (full trees), their offsets, uint32 (full trees
            whose program has more than `MAX_NUMBERED` masks), or steps (irregular trees).
        leaves: Tables of leaves as bytes.
        slots: Masks that irregular trees need as work space.
    """

    segments: NDArray[np.int64]
    nodes: NDArray[np.uint8]
    leaves: NDArray[np.uint8]
    slots: int

    @property
    def kinds(self) -> frozenset[int]:
        """The kinds that occur, one kernel each."""
        return frozenset(self.segments[:, 0].tolist())


def _shapes(forest: Forest) -> tuple[NDArray[np.int64], ...]:
    """For each tree: inner nodes, bits of the number of a leaf, groups of leaves."""
    sizes = np.diff(forest.tree_offset)
    inner = sizes // 2
    leaves = sizes - inner
    bits = np.array([int(count).bit_length() for count in leaves.tolist()], np.int64)
    bits = np.minimum(bits, MAX_DEPTH)
    return inner, bits, -(-leaves // ((1 << bits) - 1))


def _costs(forest: Forest) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cycles for 512 events of each tree, full and irregular: a padded node 0.8, a step 3, a leaf
    of the numbering 0.7, lookups of a group 60 (measured on a Zen 5 core).
    """
    inner, bits, groups = _shapes(forest)
    depth = np.maximum(forest.tree_depth, 1)
    full = 0.8 * np.exp2(np.minimum(depth, 40)) + 60
    full = np.where(depth <= MAX_DEPTH, full, np.inf)
    return full, 3.0 * inner + groups * (0.7 * np.exp2(bits) + 60)


def tree_kinds(forest: Forest) -> NDArray[np.int64]:
    """For each tree its depth d where it is cheaper padded, else `IRREGULAR` + k."""
    full, irregular = _costs(forest)
    depth = np.maximum(forest.tree_depth, 1).astype(np.int64)
    padded = (full <= irregular) | (forest.tree_depth == 0)  # a root that is a leaf has no mask
    return np.where(padded, depth, IRREGULAR + _shapes(forest)[1])


def tree_costs(forest: Forest, kinds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cycles for 512 events of each tree."""
    full, irregular = _costs(forest)
    cost: NDArray[np.float64] = np.where(kinds > IRREGULAR, irregular, full)
    groups = np.where(kinds > IRREGULAR, _shapes(forest)[2], 1)
    return cost + 60.0 * groups * (forest.leaf_width - 1)


def irregular_slots(forest: Forest, kinds: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each tree the masks of memory that it needs, besides those of tests."""
    inner, bits, groups = _shapes(forest)
    return np.where(kinds > IRREGULAR, groups * (1 << bits) + inner, 0)


def make_program(
    forest: Forest,
    nodes: Nodes,
    row: NDArray[np.int64],
    kinds: NDArray[np.int64],
    trees: NDArray[np.int64],
    leaves: LeafLayout,
    mask_bytes: int,
    *,
    numbered: bool,
) -> Program:
    """The program for some trees, in the order in which their leaves are added.

    Args:
        row: For each of `nodes`: its mask.
        kinds: For each tree of the forest, from `tree_kinds`.
        mask_bytes: Size of a mask.
        numbered: Whether full trees name masks by 16-bit numbers, half as much to read.
    """
    rows = np.zeros(forest.num_nodes, np.int64)
    rows[nodes.index] = row
    maker = _Maker(forest, nodes, rows, leaves, mask_bytes, numbered)
    vectors = forest.leaf_width > 1
    for output in range(1 if vectors else forest.num_outputs):
        own = trees if vectors else trees[forest.tree_output[trees] == output]
        changes = np.flatnonzero(np.diff(kinds[own], prepend=-1))
        for run in np.split(own, changes[1:]):
            if len(run):
                maker.add(int(kinds[run[0]]), run, output)
    return maker.program()


class _Maker:
    def __init__(
        self, forest: Forest, nodes: Nodes, rows: NDArray[np.int64], leaves: LeafLayout,
        mask_bytes: int, numbered: bool,
    ) -> None:  # fmt: skip
        self._mask_bytes, self._numbered = mask_bytes, numbered
        self._forest, self._leaves = forest, leaves
        self._left, self._right, self._rows = nodes.left, nodes.right, rows
        self._segments: list[list[int]] = []
        self._nodes: list[NDArray[np.uint8]] = []
        self._tables: list[NDArray[np.uint8]] = []
        self._nodes_size = self._tables_size = 0
        self._slots = 1

    def program(self) -> Program:
        padding = np.zeros(64, np.uint8)
        return Program(
            np.array(self._segments, np.int64).reshape(-1, len(SEGMENT)),
            np.concatenate([*self._nodes, padding]),
            np.concatenate([*(table.reshape(-1) for table in self._tables), padding]),
            self._slots,
        )

    def add(self, kind: int, trees: NDArray[np.int64], output: int) -> None:
        if kind <= MAX_DEPTH:
            self._add(kind, len(trees), output, (1, 0, 0), *self._full(kind, trees))
            return
        for tree in trees.tolist():
            steps, tables, extra = self._irregular(kind - IRREGULAR, tree)
            self._add(kind, len(steps), output, extra, steps, tables)

    def _add(
        self, kind: int, count: int, output: int, extra: tuple[int, int, int],
        nodes: NDArray[Any], tables: NDArray[np.uint8],
    ) -> None:  # fmt: skip
        raw = nodes.reshape(-1).view(np.uint8)
        raw = np.concatenate([raw, np.zeros(-len(raw) % 64, np.uint8)])
        self._segments.append(
            [kind, count, self._nodes_size, self._tables_size, output, *extra]
        )  # fmt: skip
        self._nodes.append(raw)
        self._tables.append(tables)
        self._nodes_size += raw.nbytes
        self._tables_size += tables.nbytes

    def _full(
        self, depth: int, trees: NDArray[np.int64]
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """All trees of a segment at once, level by level."""
        forest = self._forest
        masks = np.zeros((len(trees), (1 << depth) - 1), np.int64)
        values = np.zeros((len(trees), 1 << depth, forest.leaf_width), forest.dtype)
        node = forest.tree_offset[trees]
        tree = np.arange(len(trees))
        place = np.zeros(len(trees), np.int64)
        for level in range(depth + 1):
            leaf = self._left[node] < 0
            width = 1 << (depth - level)
            at = place[leaf, None] * width + np.arange(width)
            values[tree[leaf, None], at] = forest.value[node[leaf]][:, None]
            node, tree, place = node[~leaf], tree[~leaf], place[~leaf]
            if not len(node):
                break
            masks[tree, (1 << level) - 1 + place] = self._rows[node]
            tree = np.concatenate([tree, tree])
            place = np.concatenate([2 * place + 1, 2 * place])
            node = np.concatenate([self._left[node], self._right[node]]).astype(np.int64)
        named = masks.astype(np.uint16) if self._numbered else self._offsets(masks)
        return named, self._leaves.pack(_by_output(values), depth)

    def _offsets(self, masks: NDArray[np.int64]) -> NDArray[np.uint32]:
        return (masks * self._mask_bytes).astype(np.uint32)

    def _irregular(
        self, bits: int, tree: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint8], tuple[int, int, int]]:
        forest = self._forest
        start, stop = int(forest.tree_offset[tree]), int(forest.tree_offset[tree + 1])
        inner = self._left[start:stop] >= 0
        leaf = np.flatnonzero(~inner)
        most = (1 << bits) - 1
        groups = -(-len(leaf) // most)
        slot = np.zeros(stop - start, np.int64)
        number = np.arange(len(leaf))
        slot[leaf] = number // most * (most + 1) + number % most + 1
        order = np.flatnonzero(inner)
        order = order[np.argsort(forest.node_depth[start:stop][order], kind="stable")]
        slot[order] = groups * (most + 1) + np.arange(len(order)) - 1
        slot[0] = 0  # all events reach the root: slot 0 is all ones, and no leaf has it
        self._slots = max(self._slots, groups * (most + 1) + len(order))
        left, right = (side[start:stop][order] - start for side in (self._left, self._right))
        steps = np.stack([self._rows[start:stop][order], slot[order], slot[left], slot[right]], 1)
        values = np.full((groups * (most + 1), forest.leaf_width), -0.0, forest.dtype)
        values[slot[leaf]] = forest.value[start:stop][leaf]
        values = values.reshape(groups, most + 1, -1)
        extra = groups, int(slot[leaf[-1]]) + 1, groups * most - len(leaf)
        return (
            self._offsets(steps),
            self._leaves.pack(_by_output(values), bits),
            extra,
        )


def _by_output(values: NDArray[Any]) -> NDArray[Any]:
    """Tables, shape (trees, entries, width), as one after the other for each tree and output."""
    return np.ascontiguousarray(values.transpose(0, 2, 1)).reshape(-1, values.shape[1])
