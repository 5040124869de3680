"""Emitter: one event in 512 trees at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from rootml.bdt.engine._target import Target
from rootml.bdt.engine.codegen._code import BYTES, I8, I64, PTR, Code, Function, Value
from rootml.bdt.engine.codegen._emit_inputs import size_of
from rootml.bdt.engine.codegen._emit_lookup import ByteTable
from rootml.bdt.engine.codegen._emit_trees import choose_leaf, index_bytes, index_events
from rootml.bdt.engine.tables._lanes import LEVELS, TOGETHER, TREES
from rootml.bdt.engine.tables._sizes import MASK_BYTES

LANES = ("columns", "default", "heaps", "entry", "below", "values", "num_entries")
"""Elements of the array of tables: addresses, and a number."""


def lane_bytes(depth: int) -> int:
    """Work space: the table of the event, masks of the nodes, numbers of the leaves."""
    return 256 + (MASK_BYTES << depth) + TREES


def emit_lanes(
    module: Any, target: Target, kind: Any, sums: Any, depth: int, entries: int
) -> Function:  # fmt: skip
    """A function: few rows, each contiguous, in the dtype of the thresholds.

    ::

        lanes(x, rows, features, tables, trees, outputs, base, num_outputs, work, out):
            for each row:
                for each entry: event[entry] = rank of its column    # NaN: 255 or 0
                out = base
                for each 512 trees:
                    for each place in a tree, for 64 trees at a time:
                        mask[place] = event[entry] < below           # one lookup, one comparison
                    index = number of the leaf in each tree          # `choose_leaf`
                    for each tree: out[its output] += values[tree, index]
    """
    arguments = [PTR, I64, I64, PTR, I64, PTR, PTR, I64, PTR, PTR]
    target = dataclasses.replace(target, block=TREES)
    code = Code(module, target, "lanes", arguments).private()
    b = code.b
    rows_at, rows, features, tables, trees, outputs, base, num_outputs, work, out = code.args
    columns, default, heaps, entry, below, values = (code.slot(tables, i, PTR) for i in range(6))
    number = code.slot(tables, 6)
    size, nodes = size_of(sums), (1 << depth) - 1
    event, masks, leaves = work, code.at(work, 256), code.at(work, 256 + (MASK_BYTES << depth))
    with code.loop(rows) as row:
        x = code.at(rows_at, b.mul(b.mul(row, features), I64(size_of(kind))))
        with code.loop(number) as i:
            rank = _rank(code, kind, x, columns, default, heaps, i)
            code.store(b.trunc(rank, I8), code.at(event, i))
        result = code.at(out, b.mul(b.mul(row, num_outputs), I64(size)))
        with code.loop(num_outputs) as output:
            place = b.mul(output, I64(size))
            code.store(code.load(sums, base, place, align=size), result, place, size)
        look = ByteTable(code, event, entries)
        with code.loop(trees, TREES) as first:
            block = b.mul(first, I64(nodes))
            left = b.sub(trees, first)
            count = b.select(b.icmp_signed("<", left, I64(TREES)), left, I64(TREES))
            words = b.lshr(b.add(count, I64(63)), I64(6))
            with code.loop(nodes) as node, code.loop(words) as word:
                place = b.add(b.mul(node, I64(TREES)), b.shl(word, I64(6)))
                place = b.add(block, place)
                found = look(code.load(BYTES, code.at(entry, place), align=64))
                mask = b.icmp_unsigned("<", found, code.load(BYTES, below, place, align=64))
                at = b.add(b.mul(node, I64(MASK_BYTES)), b.shl(word, I64(3)))
                code.store(code.bits(mask), code.at(masks, at), 0, 8)
            bits = choose_leaf(
                code, lambda i: code.load(code.mask, masks, MASK_BYTES * i, align=64), depth
            )
            for part, index in enumerate(index_bytes(code, bits)):
                code.store(index, leaves, 64 * part)
            at = code.at(values, b.mul(first, I64(size << depth)))
            into = code.at(outputs, b.mul(first, I64(8)))
            _add(code, sums, at, depth, leaves, count, into, num_outputs, result)
    return code.end()


def _rank(
    code: Code, kind: Any, x: Value, columns: Value, default: Value, heaps: Value, entry: Value
) -> Value:
    """The rank of one value by its search tree."""
    b = code.b
    column = code.load(I64, columns, b.mul(entry, I64(8)), align=8)
    v = code.load(kind, code.at(x, b.mul(column, I64(size_of(kind)))), align=1)
    heap = code.at(heaps, b.mul(entry, I64(size_of(kind) << LEVELS)))
    h = I64(1)
    for _ in range(LEVELS):
        t = code.load(kind, code.at(heap, b.mul(h, I64(size_of(kind)))), align=4)
        bit = b.zext(b.fcmp_ordered(">=", v, t), I64)
        h = b.add(b.shl(h, I64(1)), bit)
    missing = code.load(I64, default, b.mul(entry, I64(8)), align=8)
    return b.select(b.fcmp_unordered("uno", v, v), missing, h)


def _add(
    code: Code, sums: Any, values: Value, depth: int, leaves: Value, count: Value,
    outputs: Value, num_outputs: Value, result: Value,
) -> None:  # fmt: skip
    """Add the leaves of up to 512 trees in their order; a single sum stays in a register, and 16
    trees are added at once, the last ones padded with leaves of -0.0.
    """
    b, size = code.b, size_of(sums)

    def value(tree: Value) -> Value:
        place = _place(code, tree)
        leaf = b.zext(code.load(I8, code.at(leaves, place)), I64)
        at = b.add(b.shl(tree, I64(depth)), leaf)
        return code.load(sums, code.at(values, b.mul(at, I64(size))), align=size)

    one = b.icmp_signed("==", num_outputs, I64(1))
    with b.if_else(one) as (then, otherwise):
        with then:
            before = b.block
            start = code.load(sums, result, align=size)
            head, body, after = (b.append_basic_block(n) for n in ("add", "leaf", "sum"))
            b.branch(head)
            b.position_at_end(head)
            tree, total = b.phi(I64), b.phi(sums)
            tree.add_incoming(I64(0), before)
            total.add_incoming(start, before)
            b.cbranch(b.icmp_signed("<", tree, count), body, after)
            b.position_at_end(body)
            added = _added_together(code, total, values, depth, leaves, tree)
            total.add_incoming(added, body)
            tree.add_incoming(b.add(tree, I64(TOGETHER)), body)
            b.branch(head)
            b.position_at_end(after)
            code.store(total, result, 0, size)
        with otherwise, code.loop(count) as tree:
            output = code.load(I64, outputs, b.mul(tree, I64(8)), align=8)
            place = b.mul(output, I64(size))
            added = b.fadd(code.load(sums, result, place, align=size), value(tree))
            code.store(added, result, place, size)


def _added_together(
    code: Code, total: Value, values: Value, depth: int, leaves: Value, tree: Value
) -> Value:
    """The sum after `TOGETHER` more trees from number `tree` on."""
    b, size = code.b, size_of(total.type)
    start = code.at(leaves, _place(code, tree))
    own = code.at(values, b.mul(tree, I64(size << depth)))
    for i in range(TOGETHER):
        at = i if code.target.gfni else (i >> 3) + 64 * (i & 7)
        leaf = b.zext(code.load(I8, start, at), I64)
        value = code.at(code.at(own, i * (size << depth)), b.mul(leaf, I64(size)))
        total = b.fadd(total, code.load(total.type, value, align=size))
    return total


def _place(code: Code, tree: Value) -> Value:
    """Where the index byte of a tree is, see `index_events`."""
    b = code.b
    if code.target.gfni:  # 128 L + 16 j + i is byte 16 L + i of vector j
        vector_of = b.and_(b.lshr(tree, I64(4)), I64(7))
        byte = b.add(b.shl(b.lshr(tree, I64(7)), I64(4)), b.and_(tree, I64(15)))
    else:  # 8 p + j is byte p of vector j
        vector_of, byte = b.and_(tree, I64(7)), b.lshr(tree, I64(3))
    return b.add(b.shl(vector_of, I64(6)), byte)


_TREE = np.arange(TREES)
if not np.array_equal(
    index_events(TREES, gfni=True).reshape(-1)[
        (_TREE >> 4 & 7) * 64 + (_TREE >> 7) * 16 + (_TREE & 15)
    ],
    _TREE,
) or not np.array_equal(index_events(TREES).reshape(-1)[(_TREE & 7) * 64 + (_TREE >> 3)], _TREE):
    message = "the order of index bytes is not the one that `_place` assumes"
    raise AssertionError(message)
