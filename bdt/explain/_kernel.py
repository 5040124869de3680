"""The kernel of contributions, as LLVM's IR; see `_tables` for the formulas.

Events go in vectors, `Shape.lanes` of them at a time, and in blocks of `BLOCK`. In pseudo-code::

    explain(tables, x, sums, work, rows):
        for block in rows:
            total[:] = 0
            for tree in trees:
                for vector in block:
                    P[0] = 1
                    for n in the inner nodes, from the root down:
                        here  = x[column[n]] < threshold[n]  or  NaN and default[n]
                        on    = state[before[n]]                  # on the path so far
                        state[2n], state[2n + 1] = here & on, ~here & on
                        r     = here & on ? yes : on ? no : share
                        P[left[n]], P[right[n]] = r P[n], P[n] - r P[n]
                    for n in the inner nodes, from the leaves up:
                        d     = S[left[n]] - S[right[n]]          # or the values of leaves
                        S[n]  = S[right[n]] + r d
                        total[feature[n]] += sum over points  a P[n] d
                every FLUSH trees: sums += total; total[:] = 0    # in double precision
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rootml.bdt.engine._target import Target
from rootml.bdt.engine.codegen._code import (
    F32,
    F64,
    I1,
    I32,
    I64,
    PTR,
    Code,
    Function,
    Value,
    splat,
    vector,
)
from rootml.bdt.engine.codegen._ir import ir
from rootml.bdt.explain._tables import CATEGORY, DEFAULT, INTS, LEFT_LEAF, RIGHT_LEAF

BLOCK = 128
FLUSH = 32
TABLES = ("trees", "start", "ints", "reals", "thresholds", "words", "features", "most_nodes")


@dataclass(frozen=True)
class Shape:
    """What a kernel is a function of."""

    dtype: np.dtype[Any]
    input_dtype: np.dtype[Any]
    strict: bool
    points: int
    sets: bool

    @property
    def lanes(self) -> int:
        """Events in a vector."""
        return 64 // self.dtype.itemsize

    @property
    def key(self) -> str:
        """The shape and this source as text, for the cache."""
        source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
        return f"explain {self} {source}"

    def work(self, features: int, most_nodes: int) -> int:
        """Bytes of work space."""
        products = (most_nodes + 1) * self.points * 64
        return 2 * products + 2 * (2 * most_nodes + 64) + features * BLOCK * self.dtype.itemsize


def emit_explain(module: Any, target: Target, shape: Shape) -> Function:
    """The function of the module's docstring."""
    return _Kernel(Code(module, target, "explain", [PTR, PTR, PTR, PTR, I64]), shape).emit()


class _Kernel:
    """Emits the function, one stage in each method."""

    def __init__(self, code: Code, shape: Shape) -> None:
        self.code, self.b, self.shape = code, code.b, shape
        self.real = F32 if shape.dtype.itemsize == 4 else F64
        self.size, self.input_size = shape.dtype.itemsize, shape.input_dtype.itemsize
        self.values = vector(self.real, shape.lanes)
        self.inputs = vector(F32 if self.input_size == 4 else F64, shape.lanes)
        self.flags = vector(I1, shape.lanes)
        self.word = ir.IntType(shape.lanes)
        self.row = (3 + 4 * shape.points) * self.size

    def emit(self) -> Function:
        code, b = self.code, self.b
        tables, x, sums, work, self.rows = code.args
        self.table = {name: code.slot(tables, i, self._kind(i)) for i, name in enumerate(TABLES)}
        products = b.mul(b.add(self.table["most_nodes"], I64(1)), I64(64 * self.shape.points))
        self.products = work
        self.below = code.at(work, products)
        self.states = code.at(self.below, products)
        states = b.add(b.mul(self.table["most_nodes"], I64(4)), I64(128))
        self.totals = code.at(self.states, states)
        everyone = b.mul(self.table["most_nodes"], I64(4))
        code.store(self.word(-1), self.states, everyone, 2)
        with code.loop(self.rows, BLOCK) as first:
            self.clear()
            with code.loop(self.table["trees"]) as tree:
                start = code.load(I64, self._element("start", tree, 8), align=8)
                count = b.sub(code.load(I64, self._element("start", tree, 8), 8, align=8), start)
                with code.loop(BLOCK, self.shape.lanes) as lane:
                    self.tree(start, count, x, b.add(first, lane), lane)
                last = b.icmp_signed("==", b.and_(tree, I64(FLUSH - 1)), I64(FLUSH - 1))
                with b.if_then(last):
                    self.flush(sums, first)
            self.flush(sums, first)
        return code.end()

    def _kind(self, index: int) -> Any:
        return PTR if 0 < index < 6 else I64

    def _element(self, name: str, index: Value, size: int) -> Value:
        return self.code.at(self.table[name], self.b.mul(index, I64(size)))

    # --- totals ----------------------------------------------------------------------------------

    def clear(self) -> None:
        with self.code.loop(self.b.mul(self.table["features"], I64(BLOCK)), self.shape.lanes) as i:
            place = self.code.at(self.totals, self.b.mul(i, I64(self.size)))
            self.code.store(splat(self.values, 0.0), place, 0, 4)

    def flush(self, sums: Value, first: Value) -> None:
        """Totals are added to the sums in double precision, and become zero."""
        code, b, wide = self.code, self.b, vector(F64, self.shape.lanes)
        with code.loop(self.table["features"]) as feature, code.loop(BLOCK, self.shape.lanes) as i:
            place = b.mul(b.add(b.mul(feature, I64(BLOCK)), i), I64(self.size))
            total = code.load(self.values, code.at(self.totals, place), align=4)
            code.store(splat(self.values, 0.0), code.at(self.totals, place), 0, 4)
            where = b.add(b.mul(feature, self.rows), b.add(first, i))
            target = code.at(sums, b.mul(where, I64(8)))
            total = total if self.real is F64 else b.fpext(total, wide)
            code.store(b.fadd(code.load(wide, target, align=8), total), target, 0, 8)

    # --- one tree for one vector of events -------------------------------------------------------

    def tree(self, start: Value, count: Value, x: Value, event: Value, lane: Value) -> None:
        code, b = self.code, self.b
        for q in range(self.shape.points):
            code.store(splat(self.values, 1.0), self.products, 64 * q, 64)
        with code.loop(count) as n:
            self.down(n, b.add(start, n), x, event)
        with code.loop(count) as i:
            n = b.sub(b.sub(count, I64(1)), i)
            self.up(n, b.add(start, n), lane)

    def field(self, node: Value, index: int) -> Value:
        """An integer of a node."""
        place = self._element("ints", node, 4 * INTS)
        return self.code.load(I32, place, 4 * index, align=4)

    def constant(self, node: Value, index: int) -> Value:
        """A number of a node, in every lane."""
        place = self._element("reals", node, self.row)
        loaded = self.code.load(self.real, place, self.size * index, align=self.size)
        return self.code.spread(self.values, loaded)

    def slots(self, base: Value, slot: Value, q: int) -> Value:
        """Where `products` or `below` of a node lie, at one point."""
        place = self.b.mul(self.b.sext(slot, I64), I64(64 * self.shape.points))
        return self.code.at(self.code.at(base, place), 64 * q)

    def state(self, index: Value) -> Value:
        """The address of a state."""
        return self.code.at(self.states, self.b.mul(index, I64(2)))

    def truths(self, place: Value) -> Value:
        return self.b.bitcast(self.code.load(self.word, place, align=1), self.flags)

    def down(self, n: Value, node: Value, x: Value, event: Value) -> None:
        """The test of a node, and the products of its children."""
        code, b = self.code, self.b
        here = self.test(node, x, event)
        on = self.truths(self.state(b.sext(self.field(node, 5), I64)))
        yes = b.and_(here, on)
        no = b.and_(b.xor(here, splat(self.flags, 1)), on)
        double = b.mul(n, I64(2))
        code.store(b.bitcast(yes, self.word), self.state(double), 0, 1)
        code.store(b.bitcast(no, self.word), self.state(b.add(double, I64(1))), 0, 1)
        left, right = self.field(node, 3), self.field(node, 4)
        slot = b.trunc(n, I32)
        for q in range(self.shape.points):
            product = code.load(self.values, self.slots(self.products, slot, q), align=64)
            to_left = b.fmul(product, self.ratio(node, q, yes, on))
            code.store(to_left, self.slots(self.products, left, q), 0, 64)
            to_right = b.fsub(product, to_left)
            code.store(to_right, self.slots(self.products, right, q), 0, 64)

    def ratio(self, node: Value, q: int, yes: Value, on: Value) -> Value:
        points = self.shape.points
        otherwise = self.b.select(on, self.constant(node, 3 + points + q),
                             self.constant(node, 0))  # fmt: skip
        return self.b.select(yes, self.constant(node, 3 + q), otherwise)

    def up(self, n: Value, node: Value, lane: Value) -> None:
        """The sums of a node from those of its children, and what it contributes."""
        code, b, points = self.code, self.b, self.shape.points
        yes = self.truths(self.state(b.mul(n, I64(2))))
        on = self.truths(self.state(b.sext(self.field(node, 5), I64)))
        flags = self.field(node, 2)
        zero, slot = splat(self.values, 0.0), b.trunc(n, I32)
        total = zero
        for q in range(points):
            left, right = (
                self.child(node, flags, bit, field, number, q)
                for bit, field, number in ((LEFT_LEAF, 3, 1), (RIGHT_LEAF, 4, 2))
            )
            difference = b.fsub(left, right)
            sums = self.add_product(self.ratio(node, q, yes, on), difference, right)
            code.store(sums, self.slots(self.below, slot, q), 0, 64)
            slope = b.select(on, self.constant(node, 3 + 3 * points + q), zero)
            slope = b.select(yes, self.constant(node, 3 + 2 * points + q), slope)
            product = code.load(self.values, self.slots(self.products, slot, q), align=64)
            total = self.add_product(b.fmul(product, slope), difference, total)
        feature = b.sext(self.field(node, 1), I64)
        index = b.add(b.mul(feature, I64(BLOCK)), lane)
        place = code.at(self.totals, b.mul(index, I64(self.size)))
        code.store(b.fadd(code.load(self.values, place, align=4), total), place, 0, 4)

    def child(self, node: Value, flags: Value, bit: int, field: int, number: int, q: int) -> Value:
        """The sums of a child: of a leaf its value."""
        leaf = self.b.icmp_signed("!=", self.b.and_(flags, I32(bit)), I32(0))
        place = self.slots(self.below, self.field(node, field), q)
        inner = self.code.load(self.values, place, align=64)
        return self.b.select(leaf, self.constant(node, number), inner)

    def add_product(self, x: Value, y: Value, z: Value) -> Value:
        """``x * y + z``, fused where that is fast."""
        name = f"llvm.fmuladd.v{self.shape.lanes}f{8 * self.size}"
        return self.code.call(name, self.values, x, y, z)

    # --- tests -----------------------------------------------------------------------------------

    def test(self, node: Value, x: Value, event: Value) -> Value:
        """Which events go left."""
        code, b = self.code, self.b
        column = b.sext(self.field(node, 0), I64)
        where = b.add(b.mul(column, self.rows), event)
        v = code.load(self.inputs, code.at(x, b.mul(where, I64(self.input_size))), align=4)
        flags = self.field(node, 2)
        default = b.icmp_signed("!=", b.and_(flags, I32(DEFAULT)), I32(0))
        missing = b.and_(b.fcmp_unordered("uno", v, v), code.spread(self.flags, default))
        size = self.input_size
        element = code.load(self.inputs.element, self._element("thresholds", node, size), align=4)
        threshold = code.spread(self.inputs, element)
        less = b.fcmp_ordered("<" if self.shape.strict else "<=", v, threshold)
        if not self.shape.sets:
            return b.or_(less, missing)
        is_set = b.icmp_signed("!=", b.and_(flags, I32(CATEGORY)), I32(0))
        before = b.block
        with b.if_then(is_set):
            found = self.members(node, v)
            inside = b.block
        holds = b.phi(self.flags)
        holds.add_incoming(less, before)
        holds.add_incoming(found, inside)
        return b.or_(holds, missing)

    def members(self, node: Value, v: Value) -> Value:
        """Which codes are in the set of a node; -1 and NaN are in none."""
        code, b = self.code, self.b
        begin, bits = self.field(node, 6), self.field(node, 7)
        found = ir.Constant(self.flags, [0] * self.shape.lanes)
        v = b.select(b.fcmp_ordered("ord", v, v), v, splat(self.inputs, -1.0))
        codes = b.fptosi(v, vector(I32, self.shape.lanes))
        inside = b.and_(
            b.icmp_signed(">=", codes, splat(codes.type, 0)),
            b.icmp_signed("<", codes, code.spread(codes.type, bits)),
        )
        codes = b.select(inside, codes, splat(codes.type, 0))
        for i in range(self.shape.lanes):
            number = b.extract_element(codes, I32(i))
            index = b.zext(b.add(begin, b.lshr(number, I32(5))), I64)
            word = code.load(I32, self._element("words", index, 4), align=4)
            bit = b.trunc(b.lshr(word, b.and_(number, I32(31))), I1)
            found = b.insert_element(found, bit, I32(i))
        return b.and_(found, inside)


def kernel_ir(shape: Shape, target: Target) -> str:
    """The module, as LLVM's assembly."""
    module = ir.Module("rootml.bdt.explain")
    module.triple = target.triple
    emit_explain(module, target, shape)
    return str(module)
