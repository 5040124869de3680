"""Columns of 32-bit numbers to rows: byte order, transposition and a look for NaN in one pass.

Sixteen rows of eight columns at a time, in registers::

    for r in 0, 16, ... rows, the last one moved back to end at the last row:
        for c in 0, 8, ... columns, the last one moved back to end at the last column:
            v[j] = columns[c + j][r : r + 16], bytes reversed if `swap`           j = 0 ... 7
            largest = max(largest, v[j] without its sign, as an integer)
            three rounds of shuffles, each of which joins two registers: v[j] -> rows
            rows[r + i][c : c + 8] = ...                                          i = 0 ... 15

Float32 numbers without their sign are ordered as integers are; those from 0x7F800000 on are
infinite or NaN. NumPy takes one pass for byte order and transposition and two for the look.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence

from rootml._internal.machine_code import Kernel, address
from rootml._internal.types import Array

_ROWS, _COLUMNS = 16, 8
_INFINITE = 0x7F800000
_AFTER = 1 << 24
"""Elements after which compiling pays: NumPy takes some 0.02 s for them."""


def transpose(strip: Array, rows: Array) -> bool | None:
    """Write ``strip.T`` to `rows`: whether all of it is finite.

    None: nothing was done, because the kernel does not fit (other types, few columns or rows) or
    is not there (yet).

    Args:
        strip: `(columns, rows)`, float32 in either byte order, each column in one piece.
        rows: `(rows, columns)`, float32, each row in one piece.
    """
    columns, count = strip.shape
    fits = (
        columns >= _COLUMNS
        and count >= _ROWS
        and strip.dtype.kind == "f"
        and strip.itemsize == rows.itemsize == strip.strides[1] == rows.strides[1] == 4
        and rows.dtype.isnative
        and rows.dtype.kind == "f"
    )
    kernel = _KERNELS[strip.dtype.isnative].function(strip.size) if fits else None
    if kernel is None:
        return None
    assert rows.shape == (count, columns)
    largest = kernel(
        address(strip), strip.strides[0], columns, count, address(rows), rows.strides[0]
    )
    return bool(largest < _INFINITE)


def transpose_ir(*, swap: bool) -> str:
    """The function ``transpose(columns, step, n_columns, n_rows, rows, stride)``, see above.

    `step` and `stride` are the bytes from one column, and from one row, to the next.
    """
    body = "\n".join(f"  {line}" for line in _block(swap=swap))
    return f"""
declare <16 x i32> @llvm.bswap.v16i32(<16 x i32>)
declare <16 x i32> @llvm.umax.v16i32(<16 x i32>, <16 x i32>)
declare i32 @llvm.vector.reduce.umax.v16i32(<16 x i32>)
declare i64 @llvm.smin.i64(i64, i64)

define i32 @transpose(ptr noalias %columns, i64 %step, i64 %n_columns, i64 %n_rows,
                      ptr noalias %rows, i64 %stride) nounwind {{
entry:
  %last_row = sub i64 %n_rows, {_ROWS}
  %last_column = sub i64 %n_columns, {_COLUMNS}
  br label %next_rows

next_rows:
  %r0 = phi i64 [0, %entry], [%r_next, %rows_done]
  %rows_largest = phi <16 x i32> [zeroinitializer, %entry], [%largest, %rows_done]
  %r = call i64 @llvm.smin.i64(i64 %r0, i64 %last_row)
  %r_bytes = shl i64 %r, 2
  %of_rows = getelementptr i8, ptr %columns, i64 %r_bytes
  %row_offset = mul i64 %r, %stride
  %row = getelementptr i8, ptr %rows, i64 %row_offset
  br label %next_columns

next_columns:
  %c0 = phi i64 [0, %next_rows], [%c_next, %next_columns]
  %before = phi <16 x i32> [%rows_largest, %next_rows], [%largest, %next_columns]
  %c = call i64 @llvm.smin.i64(i64 %c0, i64 %last_column)
  %from_offset = mul i64 %c, %step
  %from0 = getelementptr i8, ptr %of_rows, i64 %from_offset
  %c_bytes = shl i64 %c, 2
  %to0 = getelementptr i8, ptr %row, i64 %c_bytes
{body}
  %c_next = add i64 %c0, {_COLUMNS}
  %more_columns = icmp slt i64 %c_next, %n_columns
  br i1 %more_columns, label %next_columns, label %rows_done

rows_done:
  %r_next = add i64 %r0, {_ROWS}
  %more_rows = icmp slt i64 %r_next, %n_rows
  br i1 %more_rows, label %next_rows, label %end

end:
  %result = call i32 @llvm.vector.reduce.umax.v16i32(<16 x i32> %largest)
  ret i32 %result
}}
"""


def _block(*, swap: bool) -> Iterator[str]:
    """One block: load, compare, three rounds of shuffles, store."""
    yield from _load(swap=swap)
    # within each quarter of a register: columns 2j and 2j+1, then four columns, side by side
    for j in range(0, _COLUMNS, 2):
        for high in (0, 1):
            yield _shuffle(f"p{j + high}", f"v{j}", f"v{j + 1}", _pairs(1, high))
    for j in range(0, _COLUMNS, 4):
        for low in (0, 1):
            for high in (0, 1):
                to = f"q{j + 2 * low + high}"
                yield _shuffle(to, f"p{j + low}", f"p{j + low + 2}", _pairs(2, high))
    # quarter k of q0 ... q3 are four columns of rows 4k ... 4k + 3, of q4 ... q7 the other four
    quarters = [list(range(4 * k, 4 * k + 4)) for k in range(4)]
    others = [[_ROWS + i for i in quarter] for quarter in quarters]
    for j in range(4):
        for half in (0, 1):
            mask = [k for q in (2 * half, 2 * half + 1) for k in quarters[q] + others[q]]
            yield _shuffle(f"s{j}.{half}", f"q{j}", f"q{4 + j}", mask)
    yield from _store()


def _load(*, swap: bool) -> Iterator[str]:
    largest = "before"
    for j in range(_COLUMNS):
        if j:
            yield f"%from{j} = getelementptr i8, ptr %from{j - 1}, i64 %step"
        yield f"%l{j} = load <16 x i32>, ptr %from{j}, align 1"
        if swap:
            yield f"%v{j} = call <16 x i32> @llvm.bswap.v16i32(<16 x i32> %l{j})"
        else:
            yield f"%v{j} = or <16 x i32> %l{j}, zeroinitializer"
        yield f"%a{j} = and <16 x i32> %v{j}, splat (i32 {0x7FFFFFFF})"
        to = "largest" if j == _COLUMNS - 1 else f"m{j}"
        yield (
            f"%{to} = call <16 x i32> @llvm.umax.v16i32(<16 x i32> %{largest}, <16 x i32> %a{j})"
        )
        largest = to


def _store() -> Iterator[str]:
    """Row ``4k + j`` is one half of ``s[j][k // 2]``."""
    for row in range(_ROWS):
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
    for quarter in range(0, _ROWS, 4):
        for at in range(quarter + 2 * high, quarter + 2 * high + 2, size):
            mask += [*range(at, at + size), *range(_ROWS + at, _ROWS + at + size)]
    return mask


def _shuffle(to: str, one: str, other: str, mask: Sequence[int]) -> str:
    indices = ", ".join(f"i32 {index}" for index in mask)
    return (
        f"%{to} = shufflevector <16 x i32> %{one}, <16 x i32> %{other}, "
        f"<{len(mask)} x i32> <{indices}>"
    )


_ADDRESS, _COUNT = ctypes.c_void_p, ctypes.c_int64
_KERNELS = {
    native: Kernel(
        lambda native=native: transpose_ir(swap=not native),  # type: ignore[misc]
        "transpose",
        [_ADDRESS, _COUNT, _COUNT, _COUNT, _ADDRESS, _COUNT],
        ctypes.c_uint32,
        after=_AFTER,
    )
    for native in (False, True)
}
"""By whether the columns are in the byte order of this machine."""
