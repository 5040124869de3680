"""Columns of lists to rows of one length, in one call: `_transpose` and `_pad` in turns.

An element of all columns is put together where it stays in the first cache::

    for r in 0, 128, ... rows:
        elements = transpose(columns from offsets[r] to offsets[r + 128])
        pad(elements, offsets[r : r + 129], values[r : r + 128], mask[r : r + 128])

Python would take these steps on a cold cache and with threads that wait for it, which took as long
as the steps themselves.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from rootml._internal.machine_code import Kernel, address
from rootml._internal.types import Array
from rootml.batching.kernels._pad import pad_ir
from rootml.batching.kernels._transpose import INFINITE, MIN_ROWS, Columns, transpose_ir

_TILE = 128
"""Rows whose elements are put together at a time."""
_MAX_KERNELS = 64
_AFTER = 1 << 21
"""Places in rows after which compiling pays."""


def pad_columns(
    columns: Columns, offsets: npt.NDArray[np.int64], value: float, values: Array, mask: Array
) -> bool | None:
    """Fill `values` and `mask`: whether all elements of these rows are finite, as far as known.

    None: nothing was done, because the kernel does not fit or is not there (yet).

    Args:
        offsets: `(rows + 1,)`, of elements of the columns, in one piece.
        value: Is put where there is no element.
        values: `(rows, length, columns)`, float32, each row in one piece.
        mask: `(rows, length)`, bool, each row in one piece.
    """
    rows, length, width = values.shape
    total = min(strip.shape[1] for strip in columns.strips)
    if not rows or total < MIN_ROWS or values.dtype != np.float32:
        return None
    if not (values[0].flags.c_contiguous and mask[0].flags.c_contiguous):
        return None
    kernel = _kernel(4 * width, length).function(rows * length)
    if kernel is None:
        return None
    ends = offsets[[*range(0, rows, _TILE), rows]]
    assert columns.count == width
    assert ends[0] >= 0
    assert ends[-1] <= total
    room = max(MIN_ROWS, int(np.diff(ends).max()))
    elements = np.empty((room + 1, width), np.float32)
    elements[room] = value
    largest = kernel(
        address(columns.addresses),
        address(columns.kinds),
        width,
        total,
        address(offsets),
        rows,
        address(elements),
        room,
        address(values),
        values.strides[0],
        address(mask),
        mask.strides[0],
    )
    return bool(largest < INFINITE)


@lru_cache(maxsize=_MAX_KERNELS)
def _kernel(size: int, length: int) -> Kernel:
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    lists = [pointer, number, pointer, number]
    arguments = [pointer, pointer, number, number, *lists, *lists]
    return Kernel(
        lambda: pad_columns_ir(size, length),
        "pad_columns",
        arguments,
        ctypes.c_uint32,
        after=_AFTER,
    )


def pad_columns_ir(size: int, length: int) -> str:
    """The function ``pad_columns(columns, kinds, n_columns, total, offsets, n, elements, ...)``.

    It goes on with ``last, values, stride, mask, mask_stride``, and is made for elements of `size`
    bytes and rows of `length` of them. `total` is the length of the columns, `last` the place of
    the element that is put where there is none. `_transpose` takes 16 elements or more: where a
    tile has fewer, neighbours are taken with them.
    """
    return f"""
{transpose_ir(in_lines=False)}
{pad_ir(size, length)}
declare i64 @llvm.smax.i64(i64, i64)
declare i32 @llvm.umax.i32(i32, i32)

define i32 @pad_columns(ptr noalias %columns, ptr noalias %kinds, i64 %n_columns, i64 %total,
                        ptr noalias %offsets, i64 %n, ptr noalias %elements, i64 %last,
                        ptr noalias %values, i64 %stride, ptr noalias %mask, i64 %mask_stride)
                        nounwind {{
entry:
  br label %next

next:
  %r = phi i64 [0, %entry], [%r_end, %next]
  %before = phi i32 [0, %entry], [%largest, %next]
  %r_later = add i64 %r, {_TILE}
  %r_end = call i64 @llvm.smin.i64(i64 %r_later, i64 %n)
  %rows = sub i64 %r_end, %r
  %first_at = getelementptr i64, ptr %offsets, i64 %r
  %first = load i64, ptr %first_at, align 8
  %end_at = getelementptr i64, ptr %offsets, i64 %r_end
  %end = load i64, ptr %end_at, align 8
  %used = sub i64 %end, %first
  %count = call i64 @llvm.smax.i64(i64 %used, i64 {MIN_ROWS})
  %latest = sub i64 %total, %count
  %begin = call i64 @llvm.smin.i64(i64 %first, i64 %latest)
  %skip = shl i64 %begin, 2
  %found = call i32 @transpose(ptr %columns, ptr %kinds, i64 %skip, i64 %n_columns, i64 %count,
                               ptr %elements, i64 {size})
  %largest = call i32 @llvm.umax.i32(i32 %found, i32 %before)
  %values_offset = mul i64 %r, %stride
  %values_at = getelementptr i8, ptr %values, i64 %values_offset
  %mask_offset = mul i64 %r, %mask_stride
  %mask_at = getelementptr i8, ptr %mask, i64 %mask_offset
  call void @pad(ptr %elements, i64 %last, ptr %first_at, i64 %begin, i64 %rows,
                 ptr %values_at, i64 %stride, ptr %mask_at, i64 %mask_stride)
  %more = icmp slt i64 %r_end, %n
  br i1 %more, label %next, label %done

done:
  ret i32 %largest
}}
"""
