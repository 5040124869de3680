"""Emitters: descents from root to leaf, eight at a time, for deep forests and for few rows.

A descent spends most of its time waiting for memory; eight independent ones overlap their waits.
In batches these are eight events in one tree; for few rows, eight trees for one event.
"""

from __future__ import annotations

from typing import Any

from rootml.bdt.engine._target import Target
from rootml.bdt.engine.codegen._code import I1, I32, I64, PTR, Code, Function, Value
from rootml.bdt.engine.codegen._emit_inputs import size_of
from rootml.bdt.engine.tables._traversal import COLUMN, LEFT, SET

TOGETHER = 8


def emit_set_test(module: Any, target: Target, kind: Any, rule: str) -> Function:
    """A kernel: whether a category is in the set of a node.

    ::

        set_test(x, node, words):
            c = x as integer by the forest's rule; none: false
            return c < node.bits and bit c of the words from node.start on
    """
    code = Code(module, target, "set_test", [kind, PTR, PTR], I1).private()
    b, (x, node, words) = code.b, code.args
    there = b.fcmp_ordered("<=", x, kind(2147483520.0))
    low = (">", -1.0) if rule == "truncate" else (">=", 0.0)
    there = b.and_(there, b.fcmp_ordered(low[0], x, kind(low[1])))
    c = b.fptosi(b.select(there, x, kind(0.0)), I32)
    if rule == "exact":
        there = b.and_(there, b.fcmp_ordered("==", b.sitofp(c, kind), x))
    there = b.and_(there, b.icmp_signed("<", c, code.load(I32, node, 4, align=4)))
    c = b.select(there, c, I32(0))
    start = b.zext(code.load(I32, node, 0, align=4), I64)
    word = b.add(start, b.zext(b.lshr(c, I32(5)), I64))
    found = code.load(I32, code.at(words, b.mul(word, I64(4))), align=4)
    bit = b.and_(b.lshr(found, b.and_(c, I32(31))), I32(1))
    return code.end(b.and_(there, b.icmp_unsigned("!=", bit, I32(0))))


class Descents:
    """Emits several descents side by side.

    ::

        for level in 0 .. depth - 1:                   # stops when all are at leaves
            for each descent:
                v = x[node.column]
                left = v < node.threshold, or (v in node.set), or (isnan(v) and node.left)
                node = node.child + (0 if left else 1)
    """

    def __init__(self, code: Code, kind: Any, nodes: Value, step: int, set_test: Any,
                 words: Value) -> None:  # fmt: skip
        self._code, self._kind, self._nodes, self._step = code, kind, nodes, step
        self._set_test, self._words = set_test, words

    def __call__(self, start: list[Value], x: list[Value], depth: Value) -> list[Value]:
        """Indices of the leaves that descents reach from the nodes `start` with the inputs `x`."""
        b = self._code.b
        before = b.block
        head, body, after = (b.append_basic_block(name) for name in ("level", "step", "leaf"))
        b.branch(head)
        b.position_at_end(head)
        level = b.phi(I64)
        level.add_incoming(I64(0), before)
        moved = b.phi(I1)
        moved.add_incoming(I1(1), before)
        at = []
        for first in start:
            node = b.phi(I64)
            node.add_incoming(first, before)
            at.append(node)
        more = b.and_(moved, b.icmp_signed("<", level, depth))
        b.cbranch(more, body, after)
        b.position_at_end(body)
        following = [self._next(node, each) for node, each in zip(at, x, strict=True)]
        change = I64(0)
        for old, new in zip(at, following, strict=True):
            change = b.or_(change, b.xor(old, new))
        last = b.block
        moved.add_incoming(b.icmp_unsigned("!=", change, I64(0)), last)
        level.add_incoming(b.add(level, I64(1)), last)
        for node, new in zip(at, following, strict=True):
            node.add_incoming(new, last)
        b.branch(head)
        b.position_at_end(after)
        return at

    def _next(self, number: Value, x: Value) -> Value:
        code, b, kind = self._code, self._code.b, self._kind
        node = code.at(self._nodes, b.shl(number, I64(4)))
        flags = code.load(I32, node, 8, align=4)
        column = b.zext(b.and_(flags, I32(COLUMN)), I64)
        v = code.load(kind, code.at(x, b.mul(column, I64(self._step))), align=1)
        left = b.fcmp_ordered("<", v, code.load(kind, node, 0, align=4))
        if self._set_test is not None:
            is_set = b.icmp_unsigned("!=", b.and_(flags, I32(SET)), I32(0))
            plain = b.block
            with b.if_then(is_set):
                inside = b.call(self._set_test, [v, node, self._words])
                looked = b.block
            found = b.phi(I1)
            found.add_incoming(left, plain)
            found.add_incoming(inside, looked)
            left = found
        missing = b.fcmp_unordered("uno", v, code.load(kind, node, 0, align=4))
        if self._set_test is not None:  # the first bytes of a set are no threshold
            missing = b.select(is_set, b.fcmp_unordered("uno", v, v), missing)
            left = b.and_(left, b.not_(missing))
        default = b.icmp_unsigned("!=", b.and_(flags, I32(LEFT)), I32(0))
        left = b.or_(left, b.and_(missing, default))
        child = b.zext(code.load(I32, node, 12, align=4), I64)
        return b.add(child, b.zext(b.not_(left), I64))


def emit_traverse_block(
    module: Any, target: Target, kind: Any, sums: Any, set_test: Any
) -> Function:
    """A kernel: all trees for a block of 512 events, in columns.

    ::

        traverse_block(columns, nodes, words, values, depths, trees, outputs, width, sums):
            for each tree:
                for eight events at a time:
                    leaves = descend from the tree's root     # `Descents`
                    sums[output] += values[leaf]              # or all outputs, of vectors
    """
    arguments = [PTR, PTR, PTR, PTR, PTR, I64, PTR, I64, PTR]
    code = Code(module, target, "traversal_block", arguments).private()
    b = code.b
    columns, nodes, words, values, depths, trees, outputs, width, total = code.args
    size, wide = size_of(sums), size_of(kind)
    descents = Descents(code, kind, nodes, code.block * wide, set_test, words)
    with code.loop(trees) as tree:
        depth = code.load(I64, depths, b.mul(tree, I64(8)), align=8)
        first_output = code.load(I64, outputs, b.mul(tree, I64(8)), align=8)
        into = code.at(total, b.mul(first_output, I64(code.block * size)))
        with code.loop(code.block, TOGETHER) as event:
            x = [code.at(columns, b.mul(b.add(event, I64(i)), I64(wide))) for i in range(TOGETHER)]
            leaves = descents([tree] * TOGETHER, x, depth)
            with code.loop(width) as output:
                place = code.at(into, b.mul(output, I64(code.block * size)))
                place = code.at(place, b.mul(event, I64(size)))
                for i, leaf in enumerate(leaves):
                    value = _value(code, sums, values, leaf, width, output)
                    added = b.fadd(code.load(sums, place, size * i, align=size), value)
                    code.store(added, place, size * i, size)
    return code.end()


def _value(
    code: Code, sums: Any, values: Value, leaf: Value, width: Value, output: Value
) -> Value:
    index = code.b.add(code.b.mul(leaf, width), output)
    return code.load(sums, code.at(values, code.b.mul(index, I64(size_of(sums)))), align=4)


def emit_traverse_rows(
    module: Any, target: Target, kind: Any, sums: Any, set_test: Any
) -> Function:
    """A function: few rows, each contiguous, in the dtype of the thresholds.

    ::

        traverse_rows(x, rows, features, nodes, words, values, depths, trees, outputs, width,
                  base, num_outputs, leaf, out):
            for each row:
                for eight trees at a time: leaf[tree] = descend     # `Descents`
                out = base
                for each tree: out[its output] += values[leaf[tree]]
    """
    arguments = [PTR, I64, I64, PTR, PTR, PTR, PTR, I64, PTR, I64, PTR, I64, PTR, PTR]
    code = Code(module, target, "traversal_rows", arguments)
    b = code.b
    (rows_at, rows, features, nodes, words, values, depths, trees, outputs, width, base,
     num_outputs, leaf_at, out) = code.args  # fmt: skip
    size, wide = size_of(sums), size_of(kind)
    descents = Descents(code, kind, nodes, wide, set_test, words)
    last = b.sub(trees, I64(1))
    with code.loop(rows) as row:
        x = code.at(rows_at, b.mul(b.mul(row, features), I64(wide)))
        with code.loop(trees, TOGETHER) as first:
            start = []
            for i in range(TOGETHER):
                tree = b.add(first, I64(i))
                start.append(b.select(b.icmp_signed("<", last, tree), last, tree))
            depth = code.load(I64, depths, b.mul(first, I64(8)), align=8)
            for i, leaf in enumerate(descents(start, [x] * TOGETHER, depth)):
                code.store(leaf, leaf_at, b.mul(b.add(first, I64(i)), I64(8)), 8)
        result = code.at(out, b.mul(b.mul(row, num_outputs), I64(size)))
        with code.loop(num_outputs) as output:
            place = b.mul(output, I64(size))
            code.store(code.load(sums, base, place, align=size), result, place, size)
        _sum_leaves(code, sums, values, outputs, trees, width, num_outputs, leaf_at, result)
    return code.end()


def _sum_leaves(
    code: Code, sums: Any, values: Value, outputs: Value, trees: Value, width: Value,
    num_outputs: Value, leaf_at: Value, result: Value,
) -> None:  # fmt: skip
    """Add the leaves in the order of the trees; a single sum stays in a register."""
    b, size = code.b, size_of(sums)
    one = b.icmp_signed("==", num_outputs, I64(1))
    with b.if_else(one) as (then, otherwise):
        with then:
            before = b.block
            head, body, after = (b.append_basic_block(n) for n in ("add", "leaf", "sum"))
            start = code.load(sums, result, align=size)
            b.branch(head)
            b.position_at_end(head)
            tree, total = b.phi(I64), b.phi(sums)
            tree.add_incoming(I64(0), before)
            total.add_incoming(start, before)
            b.cbranch(b.icmp_signed("<", tree, trees), body, after)
            b.position_at_end(body)
            leaf = code.load(I64, leaf_at, b.mul(tree, I64(8)), align=8)
            value = code.load(sums, code.at(values, b.mul(leaf, I64(size))), align=size)
            total.add_incoming(b.fadd(total, value), body)
            tree.add_incoming(b.add(tree, I64(1)), body)
            b.branch(head)
            b.position_at_end(after)
            code.store(total, result, 0, size)
        with otherwise, code.loop(trees) as tree:
            leaf = code.load(I64, leaf_at, b.mul(tree, I64(8)), align=8)
            first = code.load(I64, outputs, b.mul(tree, I64(8)), align=8)
            with code.loop(width) as output:
                value = _value(code, sums, values, leaf, width, output)
                place = b.mul(b.add(first, output), I64(size))
                added = b.fadd(code.load(sums, result, place, align=size), value)
                code.store(added, result, place, size)
