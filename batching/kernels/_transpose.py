"""Columns of 32-bit numbers to rows: byte order, transposition and a look for NaN in one pass.

Sixteen rows of eight columns at a time, in registers::

    for r in 0, 16, ... rows, the last one moved back to end at the last row:
        for c in 0, 8, ... columns, the last one moved back to end at the last column:
            v[j] = columns[c + j][r : r + 16]                                     j = 0 ... 7
            v[j] = bytes of v[j] reversed, if kinds[c + j] has the bit SWAP
            v[j] = float32 of the integers v[j], if kinds[c + j] has the bit INTEGER
            largest = max(largest, v[j] without its sign, as an integer)
            three rounds of shuffles, each of which joins two registers: v[j] -> rows
            rows[r + i][c : c + 8] = ...                                          i = 0 ... 15

Float32 numbers without their sign are ordered as integers are; those from 0x7F800000 on are
infinite or NaN. NumPy takes one pass for byte order and transposition and two for the look.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.machine_code import Kernel, address, has
from rootml._internal.types import Array

MIN_ROWS, _COLUMNS = 16, 8
LINE = 16
"""Numbers in a cache line."""
_SWAP, _INTEGER = 1, 2
INFINITE = 0x7F800000
_AFTER = 1 << 24
"""Elements after which compiling pays: NumPy takes some 0.02 s for them."""


def takes(dtype: np.dtype[Any]) -> bool:
    """Whether columns of this dtype can be read: float32 or int32 in either byte order."""
    return dtype.kind in "fi" and dtype.itemsize == 4


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns that lie anywhere in memory, each in one piece.

    Attributes:
        strips: `(columns, rows)` each.
        addresses: Where each column begins; the last one again until there are whole lines.
        kinds: What is to be done to its numbers, likewise.
        count: Number of columns.
    """

    strips: tuple[Array, ...]
    addresses: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.uint8]
    count: int

    @classmethod
    def of(cls, strips: Sequence[Array]) -> Columns | None:
        """None: the kernel cannot read one of them, or there are too few."""
        count = sum(map(len, strips))
        if count < _COLUMNS or not all(map(_fits, strips)):
            return None
        addresses = np.empty(-(-count // LINE) * LINE, np.int64)
        kinds, at = np.empty(len(addresses), np.uint8), 0
        for strip in strips:
            end = at + len(strip)
            addresses[at:end] = np.arange(len(strip)) * strip.strides[0] + address(strip)
            kinds[at:end] = _kind(strip.dtype)
            at = end
        addresses[count:], kinds[count:] = addresses[count - 1], kinds[count - 1]
        return cls(tuple(strips), addresses, kinds, count)


def _fits(strip: Array) -> bool:
    return takes(strip.dtype) and strip.strides[1] == strip.itemsize


def _kind(dtype: np.dtype[Any]) -> int:
    return (0 if dtype.isnative else _SWAP) | (_INTEGER if dtype.kind == "i" else 0)


def transpose(columns: Columns, first: int, rows: Array, *, spare: bool = False) -> bool | None:
    """Write the rows of all columns from row `first` on to `rows`: whether all of it is finite.

    None: nothing was done, because the kernel does not fit (another type, few rows) or is not
    there (yet).

    Args:
        rows: `(rows, columns)`, float32, each row in one piece.
        spare: Whether what follows a row, up to the next one, may be overwritten.
    """
    count, width = rows.shape
    is_float = rows.dtype.isnative and rows.dtype.kind == "f" and rows.itemsize == 4
    if not is_float or count < MIN_ROWS or rows.strides[1] != 4:
        return None
    whole_lines = 4 * len(columns.addresses) == rows.strides[0] and address(rows) % 64 == 0
    in_lines = whole_lines and (spare or width % LINE == 0) and has("avx512f")
    kernel = _KERNELS[in_lines].function(rows.size)
    if kernel is None:
        return None
    assert columns.count == width
    assert all(0 <= first <= strip.shape[1] - count for strip in columns.strips)
    largest = kernel(
        address(columns.addresses),
        address(columns.kinds),
        4 * first,
        width,
        count,
        address(rows),
        rows.strides[0],
    )
    return bool(largest < INFINITE)


def transpose_ir(*, in_lines: bool) -> str:
    """The function ``transpose(columns, kinds, skip, n_columns, n_rows, rows, stride)``.

    `skip` is the bytes of each column that are left out first, `stride` those from one row to the
    next. With `in_lines` each row is whole cache lines, which are written past the caches: nobody
    reads them soon, and a line that is written as a whole need not be read before.
    """
    step = LINE if in_lines else _COLUMNS
    body = "\n".join(f"  {line}" for line in (_line_block() if in_lines else _block()))
    return f"""
declare <16 x i32> @llvm.bswap.v16i32(<16 x i32>)
declare <16 x i32> @llvm.umax.v16i32(<16 x i32>, <16 x i32>)
declare i32 @llvm.vector.reduce.umax.v16i32(<16 x i32>)
declare i64 @llvm.smin.i64(i64, i64)

define i32 @transpose(ptr noalias %columns, ptr noalias %kinds, i64 %skip, i64 %n_columns,
                      i64 %n_rows, ptr noalias %rows, i64 %stride) nounwind {{
entry:
  %last_row = sub i64 %n_rows, {MIN_ROWS}
  %last_column = sub i64 %n_columns, {1 if in_lines else _COLUMNS}
  br label %next_rows

next_rows:
  %r0 = phi i64 [0, %entry], [%r_next, %rows_done]
  %rows_largest = phi <16 x i32> [zeroinitializer, %entry], [%largest, %rows_done]
  %r = call i64 @llvm.smin.i64(i64 %r0, i64 %last_row)
  %r_bytes = shl i64 %r, 2
  %from = add i64 %r_bytes, %skip
  %row_offset = mul i64 %r, %stride
  %row = getelementptr i8, ptr %rows, i64 %row_offset
  br label %next_columns

next_columns:
  %c0 = phi i64 [0, %next_rows], [%c_next, %next_columns]
  %before = phi <16 x i32> [%rows_largest, %next_rows], [%largest, %next_columns]
  %c = call i64 @llvm.smin.i64(i64 %c0, i64 %last_column)
  %table = getelementptr ptr, ptr %columns, i64 %c
  %kind = getelementptr i8, ptr %kinds, i64 %c
  %c_bytes = shl i64 %c, 2
  %to0 = getelementptr i8, ptr %row, i64 %c_bytes
{body}
  %c_next = add i64 %c0, {step}
  %more_columns = icmp slt i64 %c_next, %n_columns
  br i1 %more_columns, label %next_columns, label %rows_done

rows_done:
  %r_next = add i64 %r0, {MIN_ROWS}
  %more_rows = icmp slt i64 %r_next, %n_rows
  br i1 %more_rows, label %next_rows, label %end

end:
  fence seq_cst
  %result = call i32 @llvm.vector.reduce.umax.v16i32(<16 x i32> %largest)
  ret i32 %result
}}

!0 = !{{i32 1}}
"""


def _block() -> Iterator[str]:
    """Eight columns: load, compare, three rounds of shuffles, store."""
    yield from _load(_COLUMNS)
    yield from _join_four(_COLUMNS)
    # quarter k of q0 ... q3 are four columns of rows 4k ... 4k + 3, of q4 ... q7 the other four
    quarters = [list(range(4 * k, 4 * k + 4)) for k in range(4)]
    others = [[MIN_ROWS + i for i in quarter] for quarter in quarters]
    for j in range(4):
        for half in (0, 1):
            mask = [k for q in (2 * half, 2 * half + 1) for k in quarters[q] + others[q]]
            yield _shuffle(f"s{j}.{half}", f"q{j}", f"q{4 + j}", mask)
    yield from _store()


def _line_block() -> Iterator[str]:
    """Sixteen columns, a cache line of each row: one more round of shuffles."""
    yield from _load(LINE)
    yield from _join_four(LINE)
    for j in range(4):  # rows j, 4 + j, 8 + j, 12 + j: quarters of four registers
        for half in (0, 1):
            for odd in (0, 1):
                one, other = f"q{8 * half + j}", f"q{8 * half + 4 + j}"
                yield _shuffle(f"s{j}.{half}.{odd}", one, other, _two_quarters(odd))
        for quarter in range(4):
            high, odd = divmod(quarter, 2)
            one, other = f"s{j}.0.{odd}", f"s{j}.1.{odd}"
            yield _shuffle(f"row{4 * quarter + j}", one, other, _two_quarters(high))
    for row in range(MIN_ROWS):
        if row:
            yield f"%to{row} = getelementptr i8, ptr %to{row - 1}, i64 %stride"
        yield f"store <16 x i32> %row{row}, ptr %to{row}, align 64, !nontemporal !0"


def _two_quarters(odd: int) -> list[int]:
    """Quarters 0 and 2, or 1 and 3, of one register and then of the other."""
    firsts = [start + 4 * quarter for start in (0, MIN_ROWS) for quarter in (odd, odd + 2)]
    return [first + i for first in firsts for i in range(4)]


def _join_four(columns: int) -> Iterator[str]:
    """Within each quarter of a register: two columns, then four columns, side by side."""
    for j in range(0, columns, 2):
        for high in (0, 1):
            yield _shuffle(f"p{j + high}", f"v{j}", f"v{j + 1}", _pairs(1, high))
    for j in range(0, columns, 4):
        for low in (0, 1):
            for high in (0, 1):
                to = f"q{j + 2 * low + high}"
                yield _shuffle(to, f"p{j + low}", f"p{j + low + 2}", _pairs(2, high))


def _load(columns: int) -> Iterator[str]:
    largest = "before"
    for j in range(columns):
        yield f"%entry{j} = getelementptr ptr, ptr %table, i64 {j}"
        yield f"%column{j} = load ptr, ptr %entry{j}, align 8"
        yield f"%from{j} = getelementptr i8, ptr %column{j}, i64 %from"
        yield f"%l{j} = load <16 x i32>, ptr %from{j}, align 1"
        yield from _native(j)
        yield f"%a{j} = and <16 x i32> %v{j}, splat (i32 {0x7FFFFFFF})"
        to = "largest" if j == columns - 1 else f"m{j}"
        yield (
            f"%{to} = call <16 x i32> @llvm.umax.v16i32(<16 x i32> %{largest}, <16 x i32> %a{j})"
        )
        largest = to


def _native(j: int) -> Iterator[str]:
    """`v`: what was loaded as float32 numbers of this machine, by the kind of the column."""
    yield f"%kind_at{j} = getelementptr i8, ptr %kind, i64 {j}"
    yield f"%kind{j} = load i8, ptr %kind_at{j}"
    for name, bit in (("swap", _SWAP), ("integer", _INTEGER)):
        yield f"%{name}_bit{j} = and i8 %kind{j}, {bit}"
        yield f"%{name}{j} = icmp ne i8 %{name}_bit{j}, 0"
    yield f"%b{j} = call <16 x i32> @llvm.bswap.v16i32(<16 x i32> %l{j})"
    yield f"%n{j} = select i1 %swap{j}, <16 x i32> %b{j}, <16 x i32> %l{j}"
    yield f"%f{j} = sitofp <16 x i32> %n{j} to <16 x float>"
    yield f"%i{j} = bitcast <16 x float> %f{j} to <16 x i32>"
    yield f"%v{j} = select i1 %integer{j}, <16 x i32> %i{j}, <16 x i32> %n{j}"


def _store() -> Iterator[str]:
    """Row ``4k + j`` is one half of ``s[j][k // 2]``."""
    for row in range(MIN_ROWS):
        quarter, j = divmod(row, 4)
        first = 8 * (quarter % 2)
        name = f"s{j}.{quarter // 2}"
        yield _shuffle(f"row{row}", name, name, range(first, first + 8))
        if row:
            yield f"%to{row} = getelementptr i8, ptr %to{row - 1}, i64 %stride"
        yield f"store <8 x i32> %row{row}, ptr %to{row}, align 1"


def _pairs(size: int, high: int) -> list[int]:
    """In each quarter: `size` elements of one register, `size` of the other, in turns.

    They are taken from the lower or the higher half of the quarter.
    """
    mask = []
    for quarter in range(0, MIN_ROWS, 4):
        for at in range(quarter + 2 * high, quarter + 2 * high + 2, size):
            mask += [*range(at, at + size), *range(MIN_ROWS + at, MIN_ROWS + at + size)]
    return mask


def _shuffle(to: str, one: str, other: str, mask: Sequence[int]) -> str:
    indices = ", ".join(f"i32 {index}" for index in mask)
    return (
        f"%{to} = shufflevector <16 x i32> %{one}, <16 x i32> %{other}, "
        f"<{len(mask)} x i32> <{indices}>"
    )


_ADDRESS, _COUNT = ctypes.c_void_p, ctypes.c_int64
_KERNELS = {
    in_lines: Kernel(
        lambda in_lines=in_lines: transpose_ir(in_lines=in_lines),  # type: ignore[misc]
        "transpose",
        [_ADDRESS, _ADDRESS, _COUNT, _COUNT, _COUNT, _ADDRESS, _COUNT],
        ctypes.c_uint32,
        after=_AFTER,
    )
    for in_lines in (False, True)
}
"""By whether rows are whole cache lines."""
