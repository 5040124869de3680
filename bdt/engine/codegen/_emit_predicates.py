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
    PTR,
    Code,
    Function,
    Value,
    splat,
    vector,
)
from rootml.bdt.engine.codegen._emit_gather import gather, gather_by_memory
from rootml.bdt.engine.codegen._emit_lookup import ByteTable
from rootml.bdt.engine.tables._predicates import DENSE, MAX_FUNCTION_BYTES

PLANES = 9
"""Masks: bit planes of a group's ranks, the lowest first, and one of NaN."""
TABLE = 64
"""Masks that `emit_table` makes."""


def lanes(kind: Any) -> int:
    """Values that are compared at once."""
    return 16 if kind is F32 else 8


def ranked_at_once(target: Target, kind: Any) -> int:
    """Values in a step of `emit_rank`."""
    return 8 if target.name == "avx2" else lanes(kind)


# --- ranks ---------------------------------------------------------------------------------------


def emit_rank(module: Any, target: Target, kind: Any, levels: int) -> Function:
    """A kernel: 512 values are ranked among the thresholds of a group.

    ::

        rank(x, tree, planes, masks, times, ahead, share):
            for 16 values v of x at once:              # 8 in double precision
                fetch some lines of the masks, which are written next    # `times` 2**levels masks
                fetch `share` lines of what lies `ahead`                 # see `emit_predict`
                h = 1
                for level in 0 .. levels - 1:          # a search tree, see `search_tree`
                    bit = not (v < tree[h])            # true for NaN
                    planes[levels - 1 - level] <- bit  # so the rank is h - 2**levels, bit by bit
                    h = 2 h + bit
                planes[8] <- isnan(v)

    With AVX-512 the tree stays in registers: level 4 is one permutation of 16 values, level 5
    one of 32, level 7 four of 32 and three selections. With AVX2 the first six levels of floats
    are: level 3 is one permutation of 8 values, level 5 four and three selections. The rest is
    gathered.
    """
    code = Code(module, target, f"rank{levels}", [PTR, PTR, PTR, PTR, I64, PTR, I64])
    b, (x, tree, planes, masks, times, ahead, share) = code.private().b, code.args
    width = ranked_at_once(target, kind)
    size = 4 if kind is F32 else 8
    wide = vector(kind, width)
    index = vector(I32 if kind is F32 else I64, width)
    look = _Descent(code, wide, index, tree, levels)
    with code.loop(code.block, width) as at:
        v = code.load(wide, code.at(x, b.mul(at, I64(size))), align=4)
        out = code.at(planes, b.udiv(at, I64(8)))
        step = b.udiv(at, I64(width))
        _fetch_masks(code, masks, times, step, width, levels)
        with code.loop(share) as line:
            place = b.shl(b.add(b.mul(step, share), line), I64(6))
            code.fetch(code.at(ahead, place), level=2)
        h = splat(index, 1)
        bits: list[Value] = []
        for level in range(levels):
            bit = b.fcmp_unordered(">=", v, look(level, h, bits))
            code.store(code.bits(bit), out, code.row * (levels - 1 - level), width // 8)
            twice = b.add(h, h)
            if target.avx512:  # one instruction with a mask
                h = b.select(bit, b.add(twice, splat(index, 1)), twice)
            else:
                h = b.sub(twice, b.sext(bit, index))
            bits.append(bit)
        code.store(code.bits(b.fcmp_unordered("uno", v, v)), out, 8 * code.row, width // 8)
    return code.end()


def _fetch_masks(
    code: Code, masks: Value, times: Value, step: Value, width: int, levels: int
) -> None:  # fmt: skip
    """Bring a share of the lines that are written next into the first-level cache, for writing.

    Ranks are bound by shuffles, and masks by what the second-level cache takes: 1.35 ns a line
    where this was measured, 0.36 from the first. So the one hides behind the other.
    """
    steps = code.block // width
    share = (code.row << levels) // 64 // steps
    if not code.target.avx512 or share == 0:
        return
    with code.loop(times) as i:
        first = code.b.mul(code.b.add(code.b.mul(i, I64(steps)), step), I64(64 * share))
        for line in range(share):
            code.fetch(code.at(code.at(masks, first), 64 * line), write=True)


class _Descent:
    """``tree[h]`` for all values at once, h being at one level."""

    def __init__(self, code: Code, wide: Any, index: Any, tree: Value, levels: int) -> None:
        self._code, self._wide, self._index, self._tree = code, wide, index, tree
        self._in_registers = 0
        if code.target.avx512:
            self._in_registers = min(levels, 8 if wide.element is F32 else 6)
        elif code.target.name == "avx2" and wide.element is F32:
            self._in_registers = min(levels, 6)
        size = 4 if wide.element is F32 else 8
        count = max(1, (1 << self._in_registers) // wide.count)
        if self._in_registers:
            self._parts = [code.load(wide, tree, size * wide.count * i) for i in range(count)]

    def __call__(self, level: int, h: Value, bits: list[Value]) -> Value:
        if level >= self._in_registers:
            return self._gathered(h)
        code, wide = self._code, self._wide
        first = (1 << level) // wide.count  # the register in which the level begins
        if first <= 1:  # the upper levels share one register, the next one has its own
            return self._permute(self._parts[first], h)
        if not code.target.avx512:
            found = [self._permute(part, h) for part in self._parts[first : 2 * first]]
            return self._select_by_sign(found, h)
        found = [
            self._permute2(self._parts[i], self._parts[i + 1], h)
            for i in range(first, 2 * first, 2)
        ]
        used = first.bit_length() - 1  # results of the first comparisons: the high bits of h
        for bit in reversed(bits[: used - 1]):
            found = [code.b.select(bit, found[i + 1], found[i]) for i in range(0, len(found), 2)]
        return found[0]

    def _select_by_sign(self, found: list[Value], h: Value) -> Value:
        """Of what permutations of 8 gave the one that bits 3 and up of `h` name; the instruction
        for it looks at signs.
        """
        b, distance = self._code.b, 28
        while len(found) > 1:
            sign = b.shl(h, splat(h.type, distance))
            high = b.icmp_signed("<", sign, splat(h.type, 0))
            found = [b.select(high, found[i + 1], found[i]) for i in range(0, len(found), 2)]
            distance -= 1
        return found[0]

    def _gathered(self, h: Value) -> Value:
        if self._in_registers and not self._code.target.avx512:
            return gather_by_memory(self._code, self._wide, self._tree, h)
        return gather(self._code, self._wide, self._tree, h)

    def _permute(self, table: Value, h: Value) -> Value:
        if not self._code.target.avx512:
            return self._code.call("llvm.x86.avx2.permps", self._wide, table, h)
        name = "sf" if self._wide.element is F32 else "df"
        return self._code.call(f"llvm.x86.avx512.permvar.{name}.512", self._wide, table, h)

    def _permute2(self, low: Value, high: Value, h: Value) -> Value:
        name = "ps" if self._wide.element is F32 else "pd"
        return self._code.call(f"llvm.x86.avx512.vpermi2var.{name}.512", self._wide, low, h, high)


# --- masks from ranks ----------------------------------------------------------------------------


def emit_table(module: Any, target: Target, levels: int) -> Function:
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
    zero, ones = splat(code.mask, 0), splat(code.mask, -1)
    rank = [
        code.load(code.mask, planes, code.row * i, align=code.row) if i < levels else zero
        for i in range(8)
    ]
    missing = code.load(code.mask, planes, 8 * code.row, align=code.row)

    def put(value: Value, index: int) -> None:
        code.store(value, table, code.row * index, code.row)

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
    found = [splat(code.mask, 0)]
    for plane in planes:  # from the lowest bit on: double the numbers that are told apart
        flipped = b.not_(plane)
        found = [b.and_(flipped, x) for x in found] + [b.or_(flipped, x) for x in found]
    return found


def _mask(code: Code, masks: Value, offset: Value | int) -> Value:
    return code.load(code.mask, masks, offset, align=code.row)


def emit_runs(module: Any, target: Target) -> Function:
    """A kernel: the masks of one group.

    ::

        runs(run, count, lows, table, masks):
            for each run:                              # tests with the same high bits of c
                less, equal = table[16 + run.part], table[48 + run.part % 16]
                for each test of the run:              # unrolled where it has all 16 low bits
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
        dense = b.icmp_signed(">=", part, I64(DENSE))
        part = b.and_(part, I64(DENSE - 1))
        less = code.load(
            code.mask, table, b.mul(b.add(part, I64(16)), I64(code.row)), align=code.row
        )
        equal_at = b.add(b.and_(part, I64(15)), I64(48))
        equal = _mask(code, table, b.mul(equal_at, I64(code.row)))
        low, out = code.load(PTR, places, 0, align=8), code.load(PTR, places, 8, align=8)
        with b.if_then(dense):
            for j in range(16):
                mask = b.or_(less, b.and_(equal, _mask(code, table, code.row * j)))
                code.store(mask, out, code.row * j, code.row)
        rest = b.select(dense, I64(0), length)
        with code.loop(rest) as j:
            at = b.zext(code.load(I16, low, b.mul(j, I64(2)), align=2), I64)
            at = b.mul(at, I64(code.row))
            mask = b.or_(less, b.and_(equal, _mask(code, table, at)))
            code.store(mask, out, b.mul(j, I64(code.row)), code.row)
        code.store(code.at(low, b.mul(length, I64(2))), places, 0, 8)
        code.store(code.at(out, b.mul(length, I64(code.row))), places, 8, 8)
    return code.end()


# --- masks by comparison, masks of categories ----------------------------------------------------


def emit_direct(module: Any, target: Target, kind: Any, left: bool) -> Function:
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
        out = code.at(masks, b.mul(i, I64(code.row)))
        for at in range(0, code.block, width):
            v = code.load(wide, x, at * size, align=4)
            code.store(code.bits(compare("<", v, t)), out, at // 8, width // 8)
    return code.end()


def emit_category_bytes(module: Any, target: Target, kind: Any, rule: str) -> Function:
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
    with code.loop(code.block, width) as at:
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
        code.store(b.trunc(bit, narrow), code.at(out, code.block), at, 1)
        missing = code.bits(b.fcmp_unordered("uno", v, v))
        code.store(missing, code.at(out, 2 * code.block), b.udiv(at, I64(8)), width // 8)
    return code.end()


def emit_functions(module: Any, target: Target) -> Function:
    """A kernel: for all 256 bytes the events whose category has its bit in the byte.

    ::

        functions(bytes, functions):
            for j in 0 .. 7:
                functions[2**j] = events with c & 7 == j        # none where c is no category
                for b in 0 .. 2**j - 1: functions[2**j + b] = functions[2**j] | functions[b]
    """
    code = Code(module, target, "functions", [PTR, PTR]).private()
    b, (places, functions) = code.b, code.args
    code.store(splat(code.mask, 0), functions, 0, code.row)
    for j in range(8):
        one = code.row << j
        for part in range(code.block // 64):
            bit = code.load(BYTES, places, code.block + 64 * part, align=64)
            chosen = b.and_(bit, splat(BYTES, (1 << j) - (256 if j == 7 else 0)))
            code.store(
                code.bits(b.icmp_unsigned("!=", chosen, splat(BYTES, 0))), functions,
                one + 8 * part, 8,
            )  # fmt: skip
        with code.loop(1 << j) as i:
            known = _mask(code, functions, b.mul(i, I64(code.row)))
            joined = b.or_(known, _mask(code, functions, one))
            code.store(joined, code.at(functions, one), b.mul(i, I64(code.row)), code.row)
    return code.end()


def emit_sets(module: Any, target: Target, used: int, then: str) -> Function:
    """A kernel: the masks of category sets whose bitmaps use few bytes.

    ::

        sets(offsets, rows, count, bytes, functions, masks):
            for each bitmap, as 16 offsets into `functions`, and its row:
                mask = OR over k < used: functions[offset[k]] & (byte == k)
                masks[row] = mask                      # right, left, more: as in `emit_categories`
    """
    name = f"sets{used}_{then}"
    code = Code(module, target, name, [PTR, PTR, I64, PTR, PTR, PTR]).private()
    b, (offsets, rows, count, places, functions, masks) = code.b, code.args
    equal = code.stack(code.row * used)
    for k in range(used):
        for part in range(code.block // 64):
            byte = code.load(BYTES, places, 64 * part, align=64)
            same = code.bits(b.icmp_unsigned("==", byte, splat(BYTES, k)))
            code.store(same, equal, code.row * k + 8 * part, 8)
    here = [_mask(code, equal, code.row * k) for k in range(used)]
    missing = _mask(code, places, 2 * code.block)
    with code.loop(count) as i:
        offset = code.at(offsets, b.mul(i, I64(2 * MAX_FUNCTION_BYTES)))
        row = b.zext(code.load(I32, rows, b.mul(i, I64(4)), align=4), I64)
        out = code.at(masks, b.mul(row, I64(code.row)))
        found = splat(code.mask, 0)
        if then == "left":
            found = missing
        elif then == "more":
            found = _mask(code, out, 0)
        for k in range(used):
            function = _mask(code, functions, code.load(I16, offset, 2 * k, align=2))
            found = b.or_(found, b.and_(function, here[k]))
        code.store(found, out, 0, code.row)
    return code.end()


def emit_categories(module: Any, target: Target, then: str) -> Function:
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
        out = code.at(masks, b.mul(row, I64(code.row)))
        look = ByteTable(code, bitmap, 64)
        for part in range(code.block // 64):
            byte = code.load(BYTES, places, 64 * part, align=64)
            bit = code.load(BYTES, places, code.block + 64 * part, align=64)
            inside = code.bits(b.icmp_unsigned("!=", b.and_(look(byte), bit), splat(BYTES, 0)))
            if then == "left":
                missing = code.load(I64, places, 2 * code.block + 8 * part, align=8)
                inside = b.or_(inside, missing)
            if then == "more":
                inside = b.or_(inside, code.load(I64, out, 8 * part, align=8))
            code.store(inside, out, 8 * part, 8)
    return code.end()
