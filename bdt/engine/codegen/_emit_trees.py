"""Emitters: the kernels of trees, full ones of one depth and single ones of any shape.

Masks become numbers of leaves (`_emit_leaf_numbers`), and those values in the sums
(`_emit_leaves`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import Any

from rootml.bdt.engine._target import Target
from rootml.bdt.engine.codegen._code import (
    BYTES,
    I16,
    I32,
    I64,
    PTR,
    Code,
    Function,
    Value,
    splat,
    vector,
)
from rootml.bdt.engine.codegen._emit_leaf_numbers import index_bytes, leaf_choice
from rootml.bdt.engine.codegen._emit_leaves import (
    Index,
    Lookup,
    StoredIndex,
    SumOrder,
    add_by_planes,
    add_leaves,
)
from rootml.bdt.engine.codegen._interleave import finished, side_by_side
from rootml.bdt.engine.tables._trees import LeafLayout

MAX_IN_REGISTERS = 7
"""Depth of trees whose leaves fit registers beside the masks of the next tree."""
MAX_SHARED = 4
"""Depth of trees that share index bytes."""


def _outputs(
    code: Code, order: SumOrder, width: Value | None, sums: Value
) -> Iterator[tuple[Value, Value]]:
    """Sums of each output in turn with its number: of one, or of all where leaves are vectors."""
    if width is None:
        yield I64(0), sums
        return
    with code.loop(width) as output:
        yield output, code.at(sums, code.b.mul(output, I64(code.block * order.dtype.itemsize)))


def emit_full(
    module: Any, target: Target, order: SumOrder, leaves: LeafLayout, depth: int,
    *, vectors: bool, numbered: bool,
) -> Function:  # fmt: skip
    """A kernel: a segment of full trees of one depth.

    Nodes name their masks by 16-bit numbers where `numbered`, by 32-bit offsets where not.

    ::

        full(count, nodes, tables, width, masks, sums):
            next = numbers of the leaves of the first tree     # `leaf_choice`, `index_bytes`
            for each tree but the last:
                index = next
                sums += leaves[index]                          # and in between:
                next = numbers of the leaves of the tree behind it
            sums += leaves of the last tree

        with leaves looked up by words (small trees):
            for each 2 trees (4 of depth 1 or 2), then each of the rest:
                index = numbers of their leaves     # up to depth 4 made a pass before, by sharing
                sums += first tree's leaves; sums += second's; ...

        with vectors as leaves, and for the deepest trees without VBMI:
            for each tree:
                index = numbers of the leaves
                for each output: sums += leaves[index]
    """
    code = Code(module, target, f"full{depth}", [I64, PTR, PTR, I64, PTR, PTR]).private()
    full = _Full(code, order, leaves, depth, numbered)
    if vectors or (depth > MAX_IN_REGISTERS and not target.vbmi):
        full.emit_one_by_one()
    elif order.by_words and depth <= MAX_SHARED:
        full.emit_together()
    elif order.by_words:
        full.emit_pairs()
    else:
        full.emit_overlapped()
    return code.end()


class _Full:
    """See `emit_full`."""

    def __init__(
        self, code: Code, order: SumOrder, leaves: LeafLayout, depth: int, numbered: bool
    ) -> None:
        self._code, self._order, self._leaves, self._depth = code, order, leaves, depth
        self._numbered, self._number_size = numbered, 2 if numbered else 4
        self._count, self._nodes, self._tables, self._width, self._masks, self._sums = code.args

    def emit_overlapped(self) -> None:
        code, b = self._code, self._code.b
        index = StoredIndex(code, code.stack(StoredIndex.size(code)))
        work = code.stack(code.block * self._order.dtype.itemsize)
        index.store(self._index(I64(0)))
        last = b.sub(self._count, I64(1))
        with code.loop(last) as i:
            adding, steps = self._adding(i, index, work)
            bits = side_by_side(adding, steps, self._choice(b.add(i, I64(1))), self._inner)
            index.store(index_bytes(code, bits))
        finished(self._adding(last, index, work)[0])

    def _adding(
        self, tree: Value, index: Index, work: Value
    ) -> tuple[Generator[None, None, None], int]:
        """The addition of one tree's leaves, and its number of steps."""
        code, size = self._code, self._order.dtype.itemsize
        parts = code.block // 64
        if self._depth <= MAX_IN_REGISTERS:
            kept = Index(code, [index.part(part) for part in range(parts)])
            return self._add([tree], [kept], self._sums), parts * size
        look = self._lookup(tree)
        return add_by_planes(code, self._order, index, look, self._sums, work), parts * (size + 1)

    def emit_pairs(self) -> None:
        b = self._code.b
        whole = b.and_(self._count, I64(-2))
        for begin, end, step in ((I64(0), whole, 2), (whole, self._count, 1)):
            with self._code.loop(b.sub(end, begin), step) as i:
                trees = [b.add(b.add(begin, i), I64(k)) for k in range(step)]
                self._add_each(trees)

    def _add_each(self, trees: list[Value]) -> None:
        indices = [Index(self._code, self._index(tree)) for tree in trees]
        finished(self._add(trees, indices, self._sums))

    def emit_together(self) -> None:
        """Several trees for each pass over the sums; their index bytes are made a pass before."""
        code, b = self._code, self._code.b
        size, number = StoredIndex.size(code), min(4, 8 // self._depth)
        places = code.stack(2 * number * size)
        rest = b.urem(self._count, I64(number))
        whole = b.sub(self._count, rest)
        last = b.sub(whole, I64(number))

        def indices(first: Value) -> list[StoredIndex]:
            odd = b.and_(b.udiv(first, I64(number)), I64(1))
            start = code.at(places, b.mul(odd, I64(number * size)))
            return [StoredIndex(code, code.at(start, k * size)) for k in range(number)]

        with b.if_then(b.icmp_signed(">=", last, I64(0))):
            self._store_together(I64(0), indices(I64(0)))
        with code.loop(whole, number) as i:
            following = b.add(i, I64(number))
            with b.if_then(b.icmp_signed("<=", following, last)):
                self._store_together(following, indices(following))
            trees = [b.add(i, I64(k)) for k in range(number)]
            finished(self._add(trees, indices(i), self._sums))
        with code.loop(rest) as i:
            self._add_each([b.add(whole, i)])

    def _store_together(self, first: Value, indices: list[StoredIndex]) -> None:
        """Leaf numbers of some trees from `first` on, side by side in the index bytes that are
        made: four bits are read of a byte, and tables of fewer bits repeat.
        """
        trees = [self._code.b.add(first, I64(k)) for k in range(len(indices))]
        bits = [bit for tree in trees[::-1] for bit in finished(self._choice(tree))]
        parts = index_bytes(self._code, bits)
        for k, index in enumerate(indices):
            index.store([self._moved(part, self._depth * k) for part in parts])

    def _moved(self, index: Value, bits: int) -> Value:
        """Bytes moved down by some bits; what comes from the byte above is not read."""
        b, wide = self._code.b, vector(I16, 32)
        if not bits:
            return index
        return b.bitcast(b.lshr(b.bitcast(index, wide), splat(wide, bits)), BYTES)

    def emit_one_by_one(self) -> None:
        code, b = self._code, self._code.b
        with code.loop(self._count) as i:
            index = Index(code, self._index(i))
            with code.loop(self._width) as output:
                size = code.block * self._order.dtype.itemsize
                into = code.at(self._sums, b.mul(output, I64(size)))
                table = b.add(b.mul(i, self._width), output)
                finished(self._add([table], [index], into))

    @property
    def _inner(self) -> int:
        """Inner nodes of a tree."""
        return (1 << self._depth) - 1

    def _choice(self, tree: Value) -> Generator[None, None, list[Value]]:
        size = self._number_size * self._inner
        nodes = self._code.at(self._nodes, self._code.b.mul(tree, I64(size)))
        return leaf_choice(self._code, partial(self._mask, nodes), self._depth)

    def _mask(self, nodes: Value, node: int) -> Value:
        """The events that pass the test of a node."""
        code, size = self._code, self._number_size
        at = code.load(I16 if self._numbered else I32, nodes, size * node, align=size)
        if self._numbered:
            at = code.b.mul(code.b.zext(at, I64), I64(code.row))
        return code.load(code.mask, self._masks, at, align=code.row)

    def _index(self, tree: Value) -> list[Value]:
        return index_bytes(self._code, finished(self._choice(tree)))

    def _add(
        self, tables: list[Value], indices: Sequence[Index], sums: Value
    ) -> Generator[None, None, None]:
        looks = [self._lookup(table) for table in tables]
        return add_leaves(self._code, self._order, indices, looks, sums)

    def _lookup(self, table: Value) -> Lookup:
        code, size = self._code, self._leaves.size(self._depth)
        place = code.at(self._tables, code.b.mul(table, I64(size)))
        return Lookup(code, self._order, self._leaves, place, self._depth)


def emit_irregular(
    module: Any, target: Target, order: SumOrder, leaves: LeafLayout, bits: int, *, vectors: bool
) -> Function:
    """A kernel: one tree of any shape.

    ::

        irregular(steps, count, table, width, groups, zero, zeros, masks, slots, sums):
            slots[zero .. zero + zeros] = no event
            for each step:                             # a node; parents before children
                slots[left]  = slots[at] & masks[mask]
                slots[right] = slots[at] & ~masks[mask]
            for each group of leaves:
                bit j of the index = events in any leaf whose number has bit j
                for each output of vectors: sums += leaves
    """
    arguments = [PTR, I64, PTR, I64, I64, I64, I64, PTR, PTR, PTR]
    code = Code(module, target, f"irregular{bits}", arguments).private()
    b = code.b
    steps, count, table, width, groups, zero, zeros, masks, slots, sums = code.args
    with code.loop(zeros) as i:
        place = b.mul(b.add(zero, i), I64(code.row))
        code.store(splat(code.mask, 0), code.at(slots, place), 0, code.row)
    with code.loop(count) as i:
        step = code.at(steps, b.mul(i, I64(16)))
        mask, at, left, right = (code.load(I32, step, 4 * j, align=4) for j in range(4))
        here, test = (
            code.load(code.mask, slots, at, align=code.row),
            code.load(code.mask, masks, mask, align=code.row),
        )
        code.store(b.and_(here, test), code.at(slots, left), 0, code.row)
        code.store(b.and_(here, b.not_(test)), code.at(slots, right), 0, code.row)
    with code.loop(groups) as i:
        leaf = code.at(slots, b.mul(i, I64(code.row << bits)))
        planes = _number_bits(code, leaf, bits, 0)[1]
        index = Index(code, index_bytes(code, planes[::-1]))
        for output, into in _outputs(code, order, width if vectors else None, sums):
            which = b.add(b.mul(i, width), output)
            place = code.at(table, b.mul(which, I64(leaves.size(bits))))
            look = Lookup(code, order, leaves, place, bits)
            finished(add_leaves(code, order, [index], [look], into))
    return code.end()


def _number_bits(code: Code, slots: Value, bits: int, first: int) -> tuple[Value, list[Value]]:
    """Events in any of 2**bits leaves, and for each bit of a leaf's number, the lowest first,
    those in a leaf that has it. Leaf 0 is nowhere.
    """
    if bits == 0:
        empty = first == 0
        mask = (
            splat(code.mask, 0)
            if empty
            else code.load(code.mask, slots, code.row * first, align=code.row)
        )
        return mask, []
    low, below = _number_bits(code, slots, bits - 1, first)
    high, above = _number_bits(code, slots, bits - 1, first + (1 << (bits - 1)))
    both = [code.b.or_(x, y) for x, y in zip(below, above, strict=True)]
    return code.b.or_(low, high), [*both, high]
