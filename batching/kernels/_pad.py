"""Lists of different lengths to rows of one length, with a mask.

An element is some numbers that lie side by side, one of each column::

    for r in 0 ... rows:
        count = offsets[r + 1] - offsets[r]
        for k in 0 ... length:
            values[r][k] = elements[offsets[r] - offsets[0] + k] if k < count else elements[last]
            mask[r][k] = k < count

Without a branch on `count`, which no processor foresees.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from rootml._internal.machine_code import Kernel, address
from rootml._internal.types import Array

_MAX_KERNELS = 64
_AFTER = 1 << 21
"""Places in rows after which compiling pays: NumPy takes some 0.03 s for them."""


def pad(elements: Array, offsets: npt.NDArray[np.int64], values: Array, mask: Array) -> bool:
    """Fill `values` and `mask`; False: nothing was done.

    Args:
        elements: `(elements + 1, columns)`, in one piece; the last one is put where there is none.
        offsets: `(rows + 1,)`, in one piece.
        values: `(rows, length, columns)`, each row in one piece.
        mask: `(rows, length)`, bool, each row in one piece.
    """
    rows, length, width = values.shape
    size = width * values.itemsize
    if not rows:
        return True
    if not (values[0].flags.c_contiguous and mask[0].flags.c_contiguous):
        return False
    kernel = _kernel(size, length).function(rows * length)
    if kernel is None:
        return False
    kernel(
        address(elements),
        len(elements) - 1,
        address(offsets),
        int(offsets[0]),
        rows,
        address(values),
        values.strides[0],
        address(mask),
        mask.strides[0],
    )
    return True


@lru_cache(maxsize=_MAX_KERNELS)
def _kernel(size: int, length: int) -> Kernel:
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    arguments = [pointer, number, pointer, number, number, pointer, number, pointer, number]
    return Kernel(lambda: pad_ir(size, length), "pad", arguments, None, after=_AFTER)


def pad_ir(size: int, length: int) -> str:
    """The function ``pad(elements, last, offsets, begin, n, values, stride, mask, mask_stride)``.

    It is made for elements of `size` bytes and rows of `length` of them; the first element is
    number `begin` of those that the offsets count.
    """
    return f"""
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define void @pad(ptr noalias %elements, i64 %last, ptr noalias %offsets, i64 %begin, i64 %n,
                 ptr noalias %values, i64 %stride, ptr noalias %mask, i64 %mask_stride) nounwind {{
entry:
  %last_offset = mul i64 %last, {size}
  %nothing = getelementptr i8, ptr %elements, i64 %last_offset
  %zeroth = load i64, ptr %offsets, align 8
  br label %next_row

next_row:
  %r = phi i64 [0, %entry], [%r_next, %row_done]
  %start = phi i64 [%zeroth, %entry], [%end, %row_done]
  %r_next = add i64 %r, 1
  %end_at = getelementptr i64, ptr %offsets, i64 %r_next
  %end = load i64, ptr %end_at, align 8
  %count = sub i64 %end, %start
  %first = sub i64 %start, %begin
  %from_offset = mul i64 %first, {size}
  %from_row = getelementptr i8, ptr %elements, i64 %from_offset
  %row_offset = mul i64 %r, %stride
  %row = getelementptr i8, ptr %values, i64 %row_offset
  %mask_offset = mul i64 %r, %mask_stride
  %mask_row = getelementptr i8, ptr %mask, i64 %mask_offset
  br label %next_place

next_place:
  %k = phi i64 [0, %next_row], [%k_next, %next_place]
  %filled = icmp slt i64 %k, %count
  %k_offset = mul i64 %k, {size}
  %element = getelementptr i8, ptr %from_row, i64 %k_offset
  %from = select i1 %filled, ptr %element, ptr %nothing
  %to = getelementptr i8, ptr %row, i64 %k_offset
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 {size}, i1 false)
  %bit = zext i1 %filled to i8
  %bit_at = getelementptr i8, ptr %mask_row, i64 %k
  store i8 %bit, ptr %bit_at, align 1
  %k_next = add i64 %k, 1
  %more_places = icmp slt i64 %k_next, {length}
  br i1 %more_places, label %next_place, label %row_done

row_done:
  %more_rows = icmp slt i64 %r_next, %n
  br i1 %more_rows, label %next_row, label %end_of_rows

end_of_rows:
  ret void
}}
"""
