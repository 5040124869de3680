"""Emitters: a block of 512 events in the user's layout becomes columns, as the tests want them."""

from __future__ import annotations

import math
from typing import Any

from rootml.bdt.engine._target import Target
from rootml.bdt.engine.codegen._code import (
    F32,
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

ZERO = 1.0000000180025095e-35
"""`rootml.bdt._forest.ZERO`."""


def size_of(kind: Any) -> int:
    """Bytes of a float or double."""
    return 4 if kind is F32 else 8


def cast(code: Code, value: Value, kind: Any) -> Value:
    """Float or double, a scalar or a vector of them, to `kind`; too large gives infinity."""
    here = value.type.element if isinstance(value.type, ir.VectorType) else value.type
    if here is kind:
        return value
    wanted = vector(kind, value.type.count) if here is not value.type else kind
    return code.b.fptrunc(value, wanted) if kind is F32 else code.b.fpext(value, wanted)


def emit_rows(module: Any, target: Target, given: Any, kind: Any) -> Function:
    """A kernel: 512 rows, each contiguous, become columns.

    ::

        rows(x, stride, features, columns):
            for tiles of n x n:                        # n = 16 floats, 8 doubles; AVX2: half
                n rows of n values are loaded, cast, transposed in registers and stored
    """
    code = Code(module, target, f"rows_{size_of(given)}", [PTR, I64, I64, PTR]).private()
    b, (x, stride, features, columns) = code.b, code.args
    n = 64 // size_of(kind) // (1 if target.avx512 else 2)
    last = b.sub(features, I64(n))
    few = b.icmp_signed("<", last, I64(0))
    with b.if_else(few) as (then, otherwise):
        with then:  # fewer features than a tile is wide
            _tiles(code, x, stride, columns, I64(0), features, n, given, kind)
        with otherwise:  # the last tile may overlap the one before it
            rounds = b.udiv(b.add(features, I64(n - 1)), I64(n))
            with code.loop(rounds) as i:
                first = b.mul(i, I64(n))
                first = b.select(b.icmp_signed("<", last, first), last, first)
                _tiles(code, x, stride, columns, first, None, n, given, kind)
    return code.end()


def _tiles(
    code: Code, x: Value, stride: Value, columns: Value, first: Value, width: Value | None,
    n: int, given: Any, kind: Any,
) -> None:  # fmt: skip
    """The columns from `first` on, `width` or n of them, for all events."""
    b = code.b
    wide = vector(given, n)
    start = code.at(x, b.mul(first, I64(size_of(given))))
    into = code.at(columns, b.mul(first, I64(code.block * size_of(kind))))
    with code.loop(code.block, n) as event:
        rows = []
        for i in range(n):
            row = code.at(start, b.mul(b.add(event, I64(i)), stride))
            if width is None:
                rows.append(cast(code, code.load(wide, row, align=1), kind))
            else:
                rows.append(cast(code, _masked(code, wide, row, width), kind))
        out = code.at(into, b.mul(event, I64(size_of(kind))))
        for i, column in enumerate(_transposed(code, rows)):
            place = code.at(out, code.block * size_of(kind) * i)
            if width is None:
                code.store(column, place, 0, 4)
            else:
                with b.if_then(b.icmp_signed("<", I64(i), width)):
                    code.store(column, place, 0, 4)


def _masked(code: Code, wide: Any, pointer: Value, width: Value) -> Value:
    """The first `width` elements, not reading beyond."""
    b = code.b
    lane = ir.Constant(vector(I64, wide.count), list(range(wide.count)))
    mask = b.icmp_signed("<", lane, code.spread(lane.type, width))
    name = f"llvm.masked.load.v{wide.count}f{8 * size_of(wide.element)}.p0"
    return code.call(name, wide, pointer, I32(1), mask, splat(wide, 0.0))


def _transposed(code: Code, rows: list[Value]) -> list[Value]:
    n = len(rows)
    low = [i // 2 + n * (i & 1) for i in range(n)]
    high = [n // 2 + i for i in low]
    step = 1
    while step < n:
        rows = [
            code.shuffle(rows[i // 2], rows[i // 2 + n // 2], high if i & 1 else low)
            for i in range(n)
        ]
        step *= 2
    return rows


def emit_column(module: Any, target: Target, given: Any, kind: Any) -> Function:
    """A kernel: up to 512 values, any distance apart, become the start of a column.

    ::

        column(x, stride, count, out):
            out[0 .. count - 1] = cast(x[..]);  the rest is 0
    """
    code = Code(module, target, f"column_{size_of(given)}", [PTR, I64, I64, PTR]).private()
    b, (x, stride, count, out) = code.b, code.args
    size, n = size_of(given), 64 // size_of(kind)
    dense = b.and_(
        b.icmp_signed("==", stride, I64(size)), b.icmp_signed("==", count, I64(code.block))
    )
    with b.if_else(dense) as (then, otherwise):
        with then, code.loop(code.block, n) as i:
            value = code.load(vector(given, n), code.at(x, b.mul(i, I64(size))), align=1)
            code.store(cast(code, value, kind), code.at(out, b.mul(i, I64(size_of(kind)))))
        with otherwise:
            with code.loop(count) as i:
                value = code.load(given, code.at(x, b.mul(i, stride)), align=1)
                place = code.at(out, b.mul(i, I64(size_of(kind))))
                code.store(cast(code, value, kind), place, 0, size_of(kind))
            with code.loop(b.sub(I64(code.block), count)) as i:
                place = code.at(out, b.mul(b.add(count, i), I64(size_of(kind))))
                code.store(ir.Constant(kind, 0.0), place, 0, size_of(kind))
    return code.end()


def emit_mark_missing(module: Any, target: Target, kind: Any) -> Function:
    """A kernel: what counts as missing becomes NaN.

    ::

        blank(x, missing, zero):
            x = NaN  where x == missing or (zero and |x| <= 1e-35)
    """
    code = Code(module, target, "mark_missing", [PTR, kind, I64]).private()
    b, (x, missing, zero) = code.b, code.args
    n = 64 // size_of(kind)
    wide = vector(kind, n)
    # no number is within a negative distance of 0
    reach = b.select(b.icmp_signed("!=", zero, I64(0)), kind(ZERO), kind(-1.0))
    sign = "f32" if kind is F32 else "f64"
    with code.loop(code.block, n) as i:
        place = code.at(x, b.mul(i, I64(size_of(kind))))
        value = code.load(wide, place, align=4)
        size = code.call(f"llvm.fabs.v{n}{sign}", wide, value)
        gone = b.or_(
            b.fcmp_ordered("==", value, code.spread(wide, missing)),
            b.fcmp_ordered("<=", size, code.spread(wide, reach)),
        )
        code.store(b.select(gone, splat(wide, math.nan), value), place, 0, 4)
    return code.end()
