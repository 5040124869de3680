"""Emitter: one event in 128 trees at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt.engine._target import Target
from rootml.bdt.engine.codegen._code import BYTES, I8, I16, I64, PTR, Code, Function, Value, vector
from rootml.bdt.engine.codegen._emit_inputs import size_of
from rootml.bdt.engine.codegen._emit_leaf_numbers import choose_leaf, index_bytes, index_events
from rootml.bdt.engine.codegen._emit_lookup import ByteTable
from rootml.bdt.engine.tables._lanes import STEP, TOGETHER, TREES

LANES = ("columns", "default", "thresholds", "nodes", "values", "num_entries")
"""Elements of the array of tables: addresses, and a number."""
_EVENT_BYTES = 256
_ROW = TREES // 8
_ROUNDS = 32
"""Loops over the places in a tree have so many rounds at most."""


def lane_bytes(depth: int) -> int:
    """Work space: the table of the event, masks of the nodes, numbers of the leaves."""
    return _EVENT_BYTES + (_ROW << depth) + TREES + 64


def tree_lanes(target: Target) -> NDArray[np.int64]:
    """In which lane each of 128 trees must be, so that their index bytes are in order."""
    return index_events(TREES, gfni=target.gfni).reshape(-1)


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """What the pieces of `emit_lanes` share.

    Attributes:
        sums: LLVM's type of sums.
        depth: Of all trees.
        entries: Bytes of the table of an event.
    """

    module: Any
    target: Target
    sums: Any
    depth: int
    entries: int

    @property
    def rounds(self) -> int:
        """Of the loop over the places in a tree."""
        return min(1 << self.depth, _ROUNDS)

    def code(self, name: str, arguments: list[Any], result: Any = None) -> Code:
        """A new function."""
        target = dataclasses.replace(self.target, block=TREES)
        return Code(self.module, target, name, arguments, result).private()


def emit_lanes(
    module: Any, target: Target, kind: Any, sums: Any, depth: int, entries: int
) -> Function:  # fmt: skip
    """A function: few rows, each contiguous, in the dtype of the thresholds.

    ::

        lanes(x, rows, features, tables, trees, outputs, base, num_outputs, work, out):
            for each row:
                for each entry: event[entry] = rank of its column    # NaN: 255 or 0
                out = base
                index = numbers of the leaves of the first 128 trees # `_emit_numbers`
                for each 128 trees but the first:
                    out += their leaves of the 128 trees before, one after the other; in between:
                    index = numbers of the leaves of these
                out += leaves of the last trees

    A sum waits three cycles for the one before it; meanwhile, numbers are found. With several
    outputs, the leaves of 128 trees are added behind their numbers.
    """
    kernel = _Kernel(module, target, sums, depth, entries)
    numbers = _emit_numbers(kernel, adding=False)
    overlapped = _emit_numbers(kernel, adding=True)
    code = kernel.code("lanes", [PTR, I64, I64, PTR, I64, PTR, PTR, I64, PTR, PTR])
    b, size = code.b, size_of(sums)
    rows_at, rows, features, tables, trees, outputs, base, num_outputs, work, out = code.args
    columns, default, thresholds, nodes, values = (code.slot(tables, i, PTR) for i in range(5))
    number = code.slot(tables, 5)
    one = b.icmp_signed("==", num_outputs, I64(1))
    with code.loop(rows) as row:
        x = code.at(rows_at, b.mul(b.mul(row, features), I64(size_of(kind))))
        with code.loop(number) as i:
            rank = _rank(code, kind, x, columns, default, thresholds, i)
            code.store(b.trunc(rank, I8), code.at(work, i))
        result = code.at(out, b.mul(b.mul(row, num_outputs), I64(size)))
        with b.if_else(one) as (then, otherwise):
            with then:
                b.call(numbers, [nodes, work])
                whole = b.udiv(b.sub(trees, I64(1)), I64(TREES))
                start = code.load(sums, base, align=size)
                with code.carrying(whole, start) as (group, total):
                    following = b.add(group, I64(1))
                    arguments = [_group_nodes(code, nodes, following, depth), work]
                    arguments.append(_group_values(code, values, group, kernel))
                    total.value = b.call(overlapped, [*arguments, total.value])
                rest = b.sub(trees, b.mul(whole, I64(TREES)))
                last = _group_values(code, values, whole, kernel)
                with code.carrying(rest, total.value, TOGETHER) as (first, total):
                    for i in range(TOGETHER):
                        value = _leaf(code, kernel, work, last, b.add(first, I64(i)))
                        total.value = b.fadd(total.value, value)
                code.store(total.value, result, 0, size)
            with otherwise:
                with code.loop(num_outputs) as output:
                    place = b.mul(output, I64(size))
                    code.store(code.load(sums, base, place, align=size), result, place, size)
                with code.loop(b.udiv(b.add(trees, I64(TREES - 1)), I64(TREES))) as group:
                    b.call(numbers, [_group_nodes(code, nodes, group, depth), work])
                    first = b.mul(group, I64(TREES))
                    left = b.sub(trees, first)
                    count = b.select(b.icmp_signed("<", left, I64(TREES)), left, I64(TREES))
                    own = _group_values(code, values, group, kernel)
                    into = code.at(outputs, b.mul(first, I64(8)))
                    _add_to_outputs(code, kernel, work, own, count, into, result)
    return code.end()


def _emit_numbers(kernel: _Kernel, *, adding: bool) -> Function:
    """A kernel: the numbers of the leaves of 128 trees.

    ::

        numbers(nodes, work):
            for each place in a tree, for 64 trees at a time:
                mask[place] = event[entry] < below           # one lookup, one comparison
            leaves = number of the leaf in each tree         # `choose_leaf`, `index_bytes`

        numbers_adding(nodes, work, values, total):          # in the first loop, a few in a round:
            for each tree before: total += values[tree, leaves[tree]]
    """
    arguments = [PTR, PTR, PTR, kernel.sums] if adding else [PTR, PTR]
    name = "numbers_adding" if adding else "numbers"
    code = kernel.code(name, arguments, kernel.sums if adding else None)
    b, (nodes, work) = code.b, code.args[:2]
    look = ByteTable(code, work, kernel.entries)
    masks = code.at(work, _EVENT_BYTES)
    places, trees = (1 << kernel.depth) // kernel.rounds, TREES // kernel.rounds
    total = code.args[3] if adding else I64(0)
    with code.carrying(kernel.rounds, total) as (i, carried):
        for k in range(places):
            place = b.add(b.mul(i, I64(places)), I64(k))
            for half in range(2):
                at = code.at(nodes, b.add(b.mul(place, I64(256)), I64(128 * half)))
                found = look(code.load(BYTES, at, align=64))
                mask = b.icmp_unsigned("<", found, code.load(BYTES, at, 64, align=64))
                code.store(code.bits(mask), code.at(masks, b.mul(place, I64(_ROW))), 8 * half, 8)
        for k in range(trees if adding else 0):
            tree = b.add(b.mul(i, I64(trees)), I64(k))
            value = _leaf(code, kernel, work, code.args[2], tree)
            carried.value = b.fadd(carried.value, value)
    bits = choose_leaf(
        code, lambda i: code.load(code.mask, masks, _ROW * i, align=_ROW), kernel.depth
    )
    for part, index in enumerate(index_bytes(code, bits)):
        code.store(index, _leaves(code, kernel, work), 64 * part)
    return code.end(carried.value if adding else None)


def _leaves(code: Code, kernel: _Kernel, work: Value) -> Value:
    """Where the numbers of the leaves are."""
    return code.at(work, _EVENT_BYTES + (_ROW << kernel.depth))


def _group_nodes(code: Code, nodes: Value, group: Value, depth: int) -> Value:
    return code.at(nodes, code.b.mul(group, I64(2 * TREES << depth)))


def _group_values(code: Code, values: Value, group: Value, kernel: _Kernel) -> Value:
    return code.at(values, code.b.mul(group, I64(TREES * size_of(kernel.sums) << kernel.depth)))


def _leaf(code: Code, kernel: _Kernel, work: Value, values: Value, tree: Value) -> Value:
    """The value of the leaf of one of 128 trees."""
    b, size = code.b, size_of(kernel.sums)
    number = b.zext(code.load(I8, code.at(_leaves(code, kernel, work), tree)), I64)
    tree_at = code.at(values, b.mul(tree, I64(size << kernel.depth)))
    return code.load(kernel.sums, code.at(tree_at, b.mul(number, I64(size))), align=size)


def _add_to_outputs(
    code: Code, kernel: _Kernel, work: Value, values: Value, count: Value, outputs: Value,
    result: Value,
) -> None:  # fmt: skip
    """The leaves of up to 128 trees, each to its output."""
    b, size = code.b, size_of(kernel.sums)
    with code.loop(count) as tree:
        output = code.load(I64, outputs, b.mul(tree, I64(8)), align=8)
        place = b.mul(output, I64(size))
        before = code.load(kernel.sums, result, place, align=size)
        added = b.fadd(before, _leaf(code, kernel, work, values, tree))
        code.store(added, result, place, size)


def _rank(
    code: Code, kind: Any, x: Value, columns: Value, default: Value, thresholds: Value,
    entry: Value,
) -> Value:  # fmt: skip
    """The rank of one value: how many of every 16th threshold are not above it, then of the 16
    that follow. What is NaN is not counted.
    """
    b, size = code.b, size_of(kind)
    column = code.load(I64, columns, b.mul(entry, I64(8)), align=8)
    v = code.load(kind, code.at(x, b.mul(column, I64(size))), align=1)
    wide = vector(kind, STEP)
    every = code.spread(wide, v)
    start = code.at(thresholds, b.mul(entry, I64(size * STEP * (STEP + 1))))

    def passed(at: Value) -> Value:
        truth = b.fcmp_ordered(">=", every, code.load(wide, at, align=64))
        return b.zext(code.call("llvm.ctpop.i16", I16, code.bits(truth)), I64)

    sixteenths = passed(start)
    following = b.mul(b.add(sixteenths, I64(1)), I64(size * STEP))
    rank = b.add(b.mul(sixteenths, I64(STEP)), passed(code.at(start, following)))
    missing = code.load(I64, default, b.mul(entry, I64(8)), align=8)
    return b.select(b.fcmp_unordered("uno", v, v), missing, rank)
