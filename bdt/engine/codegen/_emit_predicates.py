"""Emitters: 512 values of each feature become ranks, and ranks the masks of all tests."""

from __future__ import annotations

from typing import Any

from rootml.bdt.engine._target import Target
from rootml.bdt.engine.codegen._code import (
    BYTES,
    F32,
    I8,
    I16,
    I32,
    I64,
    MASK,
    PTR,
    Code,
    Value,
    splat,
    vector,
)
from rootml.bdt.engine.codegen._emit_gather import gather
from rootml.bdt.engine.codegen._emit_lookup import ByteTable, select_by_bits
from rootml.bdt.engine.tables._sizes import BLOCK, MASK_BYTES

PLANES_BYTES = 9 * MASK_BYTES
"""Bit planes of a group's ranks: 8, the lowest first, and one of NaN."""
TABLE_BYTES = 64 * MASK_BYTES
"""What `emit_table` makes."""


def lanes(kind: Any) -> int:
    """Values that are ranked at once."""
    return 16 if kind is F32 else 8


# --- ranks ---------------------------------------------------------------------------------------


def emit_rank(module: Any, target: Target, kind: Any, levels: int) -> Any:
    """A kernel: 512 values are ranked among the thresholds of a group.

    ::

        rank(x, tree, planes):
            for 16 values v of x at once:              # 8 in double precision
                h = 1
                for level in 0 .. levels - 1:          # a search tree, see `search_tree`
                    bit = not (v < tree[h])            # true for NaN
                    planes[levels - 1 - level] <- bit  # so the rank is h - 2**levels, bit by bit
                    h = 2 h + bit
                planes[8] <- isnan(v)

    With AVX-512 the tree stays in registers: level 4 is one permutation of 16 values, level 5
    one of 32, level 7 four of 32 and three selections. Elsewhere it is gathered.
    """
    code = Code(module, target, f"rank{levels}", [PTR, PTR, PTR]).private()
    b, (x, tree, planes) = code.b, code.args
    width = lanes(kind)
    size = 4 if kind is F32 else 8
    wide = vector(kind, width)
    index = vector(I32 if kind is F32 else I64, width)
    look = _Descent(code, wide, index, tree, levels)
    with code.loop(BLOCK, width) as at:
        v = code.load(wide, code.at(x, b.mul(at, I64(size))), align=4)
        out = code.at(planes, b.udiv(at, I64(8)))
        h = splat(index, 1)
        for level in range(levels):
            below = b.fcmp_ordered("<", v, look(level, h))
            bit = b.not_(below)
            code.store(code.bits(bit), out, MASK_BYTES * (levels - 1 - level), width // 8)
            h = b.sub(b.add(h, h), b.sext(bit, index))
        code.store(code.bits(b.fcmp_unordered("uno", v, v)), out, 8 * MASK_BYTES, width // 8)
    return code.end()


class _Descent:
    """``tree[h]`` for all values at once, h being at one level."""

    def __init__(self, code: Code, wide: Any, index: Any, tree: Value, levels: int) -> None:
        self._code, self._wide, self._index, self._tree = code, wide, index, tree
        self._in_registers = 0
        if code.target.avx512:
            self._in_registers = min(levels, 8 if wide.element is F32 else 6)
        size = 4 if wide.element is F32 else 8
        count = max(1, (1 << self._in_registers) // wide.count)
        if self._in_registers:
            self._parts = [code.load(wide, tree, size * wide.count * i) for i in range(count)]

    def __call__(self, level: int, h: Value) -> Value:
        if level >= self._in_registers:
            return self._gathered(h)
        code, wide = self._code, self._wide
        first = (1 << level) // wide.count  # the register in which the level begins
        if first <= 1:  # the upper levels share one register, the next one has its own
            return self._permute(self._parts[first], h)
        found = [
            self._permute2(self._parts[i], self._parts[i + 1], h)
            for i in range(first, 2 * first, 2)
        ]
        return select_by_bits(code, found, h, 2 * wide.count)

    def _gathered(self, h: Value) -> Value:
        return gather(self._code, self._wide, self._tree, h)

    def _permute(self, table: Value, h: Value) -> Value:
        name = "sf" if self._wide.element is F32 else "df"
        return self._code.call(f"llvm.x86.avx512.permvar.{name}.512", self._wide, table, h)

    def _permute2(self, low: Value, high: Value, h: Value) -> Value:
        name = "ps" if self._wide.element is F32 else "pd"
        return self._code.call(f"llvm.x86.avx512.vpermi2var.{name}.512", self._wide, low, h, high)


# --- masks from ranks ----------------------------------------------------------------------------


def emit_table(module: Any, target: Target, levels: int) -> Any:
    """A kernel: from the bit planes of a rank to the parts of which ``rank < c`` is made.

    ::

        table(planes, table):
            low, high = rank & 15, rank >> 4
            table[ 0 + c] = low < c                    # c = 0 .. 15, 512 events at once
            table[16 + c] = high < c                   # NaN goes right
            table[32 + c] = (high < c) | nan           # NaN goes left
            table[48 + c] = high == c
    """
    code = Code(module, target, f"table{levels}", [PTR, PTR]).private()
    b, (planes, table) = code.b, code.args
    zero, ones = splat(MASK, 0), splat(MASK, -1)
    rank = [
        code.load(MASK, planes, MASK_BYTES * i, align=64) if i < levels else zero for i in range(8)
    ]
    missing = code.load(MASK, planes, 8 * MASK_BYTES, align=64)

    def put(value: Value, index: int) -> None:
        code.store(value, table, MASK_BYTES * index, 64)

    for c, value in enumerate(_less(code, rank[:4])):
        put(value, c)
    high = range(max(1, 1 << (levels - 4)) if levels > 4 else 1)
    less = _less(code, rank[4:])
    for c in high:
        put(less[c] if levels > 4 else zero, 16 + c)
        put(b.or_(less[c], missing) if levels > 4 else missing, 32 + c)
        equal = ones
        for bit, plane in enumerate(rank[4:levels]):
            equal = b.and_(equal, plane if c >> bit & 1 else b.not_(plane))
        put(equal, 48 + c)
    return code.end()


def _less(code: Code, planes: list[Value]) -> list[Value]:
    """Masks of ``number < c`` for c = 0 .. 15, the number given by four bit planes."""
    b = code.b
    found = [splat(MASK, 0)]
    for plane in planes:  # from the lowest bit on: double the numbers that are told apart
        flipped = b.not_(plane)
        found = [b.and_(flipped, x) for x in found] + [b.or_(flipped, x) for x in found]
    return found


def emit_runs(module: Any, target: Target) -> Any:
    """A kernel: the masks of one group.

    ::

        runs(run, count, lows, table, masks):
            for each run:                              # tests with the same high bits of c
                less, equal = table[16 + run.part], table[48 + run.part % 16]
                for each test of the run:
                    *masks++ = less | (equal & table[*lows++])
    """
    code = Code(module, target, "runs", [PTR, I64, PTR, PTR, PTR]).private()
    b, (run, count, lows, table, masks) = code.b, code.args
    places = code.stack(16)
    code.store(lows, places, 0, 8)
    code.store(masks, places, 8, 8)
    with code.loop(count) as i:
        this = code.at(run, b.mul(i, I64(16)))
        length, part = (code.load(I64, this, 8 * j, align=8) for j in (0, 1))
        less = code.load(MASK, table, b.mul(b.add(part, I64(16)), I64(MASK_BYTES)), align=64)
        equal_at = b.add(b.and_(part, I64(15)), I64(48))
        equal = code.load(MASK, table, b.mul(equal_at, I64(MASK_BYTES)), align=64)
        low, out = code.load(PTR, places, 0, align=8), code.load(PTR, places, 8, align=8)
        with code.loop(length) as j:
            at = code.load(I16, low, b.mul(j, I64(2)), align=2)
            mask = b.or_(less, b.and_(equal, code.load(MASK, table, at, align=64)))
            code.store(mask, out, b.mul(j, I64(MASK_BYTES)), 64)
        code.store(code.at(low, b.mul(length, I64(2))), places, 0, 8)
        code.store(code.at(out, b.mul(length, I64(MASK_BYTES))), places, 8, 8)
    return code.end()


# --- masks by comparison, masks of categories ----------------------------------------------------


def emit_direct(module: Any, target: Target, kind: Any, left: bool) -> Any:
    """A kernel: few thresholds are compared one by one.

    ::

        direct(x, thresholds, count, masks):
            for each threshold t:
                *masks++ = x < t                       # or (x < t) | isnan(x)
    """
    code = Code(module, target, f"direct_{'left' if left else 'right'}", [PTR, PTR, I64, PTR])
    b, (x, thresholds, count, masks) = code.private().b, code.args
    width = lanes(kind)
    size = 4 if kind is F32 else 8
    wide = vector(kind, width)
    compare = b.fcmp_unordered if left else b.fcmp_ordered
    with code.loop(count) as i:
        t = code.spread(wide, code.load(kind, thresholds, b.mul(i, I64(size)), align=4))
        out = code.at(masks, b.mul(i, I64(MASK_BYTES)))
        for at in range(0, BLOCK, width):
            v = code.load(wide, x, at * size, align=4)
            code.store(code.bits(compare("<", v, t)), out, at // 8, width // 8)
    return code.end()


def emit_category_bytes(module: Any, target: Target, kind: Any, rule: str) -> Any:
    """A kernel: where in the bitmaps of a lookup the category of each event stands.

    ::

        category_bytes(x, first, bytes):
            for each value v of x:
                c = v as integer by the forest's rule, minus `first`
                byte[0 .. 511]   = c >> 3
                bit[512 .. 1023] = 1 << (c & 7), or 0 if there is no category 0 <= c < 512
                nan[1024 ..]     = isnan(v), as a mask
    """
    code = Code(module, target, "category_bytes", [PTR, I64, PTR]).private()
    b, (x, first, out) = code.b, code.args
    width = lanes(kind)
    size = 4 if kind is F32 else 8
    wide, whole, narrow = vector(kind, width), vector(I32, width), vector(I8, width)
    start = code.spread(whole, b.trunc(first, I32))
    with code.loop(BLOCK, width) as at:
        v = code.load(wide, x, b.mul(at, I64(size)), align=4)
        # below 2**31 and a float32: the largest such number
        there = b.fcmp_ordered("<=", v, splat(wide, 2147483520.0))
        if rule == "truncate":
            there = b.and_(there, b.fcmp_ordered(">", v, splat(wide, -1.0)))
        else:
            there = b.and_(there, b.fcmp_ordered(">=", v, splat(wide, 0.0)))
        c = b.fptosi(b.select(there, v, splat(wide, 0.0)), whole)
        if rule == "exact":
            there = b.and_(there, b.fcmp_ordered("==", b.sitofp(c, wide), v))
        c = b.sub(c, start)
        there = b.and_(there, b.icmp_unsigned("<", c, splat(whole, 512)))
        bit = b.shl(splat(whole, 1), b.and_(c, splat(whole, 7)))
        bit = b.select(there, bit, splat(whole, 0))
        byte = b.and_(b.lshr(c, splat(whole, 3)), splat(whole, 63))
        code.store(b.trunc(byte, narrow), out, at, 1)
        code.store(b.trunc(bit, narrow), code.at(out, BLOCK), at, 1)
        missing = code.bits(b.fcmp_unordered("uno", v, v))
        code.store(missing, code.at(out, 2 * BLOCK), b.udiv(at, I64(8)), width // 8)
    return code.end()


def emit_categories(module: Any, target: Target, then: str) -> Any:
    """A kernel: the masks of category sets, 64 events at a time.

    ::

        categories(bitmaps, rows, count, bytes, masks):
            for each bitmap and its row:
                mask = (bitmap[byte] & bit) != 0
                masks[row] = mask                      # right: a set, NaN goes right
                masks[row] = mask | nan                # left: a set, NaN goes left
                masks[row] |= mask                     # more: further categories of a set
    """
    code = Code(module, target, f"categories_{then}", [PTR, PTR, I64, PTR, PTR]).private()
    b, (bitmaps, rows, count, places, masks) = code.b, code.args
    with code.loop(count) as i:
        bitmap = code.at(bitmaps, b.mul(i, I64(64)))
        row = b.zext(code.load(I32, rows, b.mul(i, I64(4)), align=4), I64)
        out = code.at(masks, b.mul(row, I64(MASK_BYTES)))
        look = ByteTable(code, bitmap, 64)
        for part in range(8):
            byte = code.load(BYTES, places, 64 * part, align=64)
            bit = code.load(BYTES, places, BLOCK + 64 * part, align=64)
            inside = code.bits(b.icmp_unsigned("!=", b.and_(look(byte), bit), splat(BYTES, 0)))
            if then == "left":
                missing = code.load(I64, places, 2 * BLOCK + 8 * part, align=8)
                inside = b.or_(inside, missing)
            if then == "more":
                inside = b.or_(inside, code.load(I64, out, 8 * part, align=8))
            code.store(inside, out, 8 * part, 8)
    return code.end()
