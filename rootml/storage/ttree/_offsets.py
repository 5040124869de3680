"""The byte offsets of lists in a basket: counts from them, and whether two baskets have the same.

Compiled where llvmlite is installed, sixteen offsets at a time; else NumPy does the same in
several passes::

    same:    difference = 0
             for i in 0 ... n - 1:
                 difference |= (one[i] - other[i] - shift)        # both big-endian
             return difference == 0

    counts:  sum = wrong = 0
             for i in 0 ... n - 1:
                 length = edges[i + 1] - edges[i] - header        # big-endian, in 64 bits
                 wrong |= (length & (size - 1)) | sign of length  # `size` is 1, 2, 4 or 8
                 counts[i] = length >> log2(size)
                 sum += counts[i]
             return -1 if wrong else sum
"""

from __future__ import annotations

import ctypes
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml._internal.machine_code import Kernel, address

Offsets: TypeAlias = npt.NDArray[np.signedinteger[Any]]
"""As they are in the file: big-endian, 32 bits."""

BIG_ENDIAN = np.dtype(">i4")
_WIDTH = 16
_AFTER = 1 << 23
"""Offsets after which compiling pays: NumPy takes some 0.02 s for them."""


def same(one: Offsets, other: Offsets, shift: int) -> bool:
    """Whether ``one == other + shift``, of as many offsets each.

    >>> offsets = np.array([70, 74, 90], ">i4")
    >>> same(offsets, offsets - 5, 5), same(offsets, offsets - 5, 6)
    (True, False)
    """
    if len(one) != len(other):
        return False
    kernel = _SAME.function(len(one)) if len(one) >= _WIDTH else None
    if kernel is None:
        return bool((one.astype(np.int64) - other == shift).all())
    assert one.dtype == other.dtype == BIG_ENDIAN
    return bool(kernel(address(one), address(other), len(one), shift) == 0)


def counts_of(edges: Offsets, header: int, size: int) -> tuple[npt.NDArray[np.int64], int]:
    """Elements of each list, and of all of them; -1: lengths that no lists have.

    Args:
        edges: Where each list begins, and where the last one ends.
        header: Bytes before the elements of each list.
        size: Bytes of an element: 1, 2, 4 or 8.

    >>> counts_of(np.array([70, 74, 90], ">i4"), 0, 4)
    (array([1, 4]), 5)
    """
    entries = len(edges) - 1
    kernel = _COUNTS.function(entries) if entries >= _WIDTH else None
    if kernel is None:
        return _counts_by_numpy(edges, header, size)
    assert edges.dtype == BIG_ENDIAN
    counts = np.empty(entries, np.int64)
    bits = size.bit_length() - 1
    return counts, int(kernel(address(edges), entries, header, bits, address(counts)))


def _counts_by_numpy(edges: Offsets, header: int, size: int) -> tuple[npt.NDArray[np.int64], int]:
    ends = edges.astype(np.int64)
    lengths = ends[1:] - ends[:-1] - header
    counts, rest = lengths >> (size.bit_length() - 1), lengths & (size - 1)
    wrong = np.any(lengths < 0) or np.any(rest)
    return counts, -1 if wrong else int(counts.sum())


_DECLARED = f"""
declare <{_WIDTH} x i32> @llvm.bswap.v{_WIDTH}i32(<{_WIDTH} x i32>)
declare i64 @llvm.smin.i64(i64, i64)
"""


def _vector(name: str, number: str) -> str:
    """`name`: `number`, which is an i64, sixteen times."""
    return f"""\
  %{name}_one = insertelement <{_WIDTH} x i64> poison, i64 {number}, i32 0
  %{name} = shufflevector <{_WIDTH} x i64> %{name}_one, <{_WIDTH} x i64> poison,
            <{_WIDTH} x i32> zeroinitializer"""


def _load(name: str, pointer: str) -> str:
    """Sixteen offsets in 64 bits."""
    return f"""\
  %{name}_raw = load <{_WIDTH} x i32>, ptr {pointer}, align 1
  %{name}_swapped = call <{_WIDTH} x i32> @llvm.bswap.v{_WIDTH}i32(<{_WIDTH} x i32> %{name}_raw)
  %{name} = sext <{_WIDTH} x i32> %{name}_swapped to <{_WIDTH} x i64>"""


def same_ir() -> str:
    """The function ``same(one, other, n, shift)``; the last sixteen end at the last offset."""
    return f"""{_DECLARED}
declare i64 @llvm.vector.reduce.or.v{_WIDTH}i64(<{_WIDTH} x i64>)

define i64 @same(ptr noalias %one, ptr noalias %other, i64 %n, i64 %shift_) nounwind {{
entry:
  %last = sub i64 %n, {_WIDTH}
{_vector("shift", "%shift_")}
  br label %next

next:
  %i0 = phi i64 [0, %entry], [%i_next, %next]
  %before = phi <{_WIDTH} x i64> [zeroinitializer, %entry], [%found, %next]
  %i = call i64 @llvm.smin.i64(i64 %i0, i64 %last)
  %one_at = getelementptr i32, ptr %one, i64 %i
  %other_at = getelementptr i32, ptr %other, i64 %i
{_load("a", "%one_at")}
{_load("b", "%other_at")}
  %apart = sub <{_WIDTH} x i64> %a, %b
  %wrong = sub <{_WIDTH} x i64> %apart, %shift
  %found = or <{_WIDTH} x i64> %before, %wrong
  %i_next = add i64 %i0, {_WIDTH}
  %more = icmp slt i64 %i_next, %n
  br i1 %more, label %next, label %end

end:
  %result = call i64 @llvm.vector.reduce.or.v{_WIDTH}i64(<{_WIDTH} x i64> %found)
  ret i64 %result
}}
"""


def counts_ir() -> str:
    """The function ``counts(edges, n, header, bits, counts)``.

    The last sixteen lists end at the last one: the sum is the bytes from the first edge to the
    last one, without headers.
    """
    return f"""{_DECLARED}
declare i64 @llvm.vector.reduce.or.v{_WIDTH}i64(<{_WIDTH} x i64>)
declare i32 @llvm.bswap.i32(i32)

define i64 @counts(ptr noalias %edges, i64 %n, i64 %header_, i64 %bits_, ptr noalias %counts)
    nounwind {{
entry:
  %last = sub i64 %n, {_WIDTH}
{_vector("header", "%header_")}
{_vector("bits", "%bits_")}
  %size = shl i64 1, %bits_
  %within = sub i64 %size, 1
  %rest_and_sign = or i64 %within, -9223372036854775808
{_vector("refused", "%rest_and_sign")}
  br label %next

next:
  %i0 = phi i64 [0, %entry], [%i_next, %next]
  %before = phi <{_WIDTH} x i64> [zeroinitializer, %entry], [%found, %next]
  %i = call i64 @llvm.smin.i64(i64 %i0, i64 %last)
  %start_at = getelementptr i32, ptr %edges, i64 %i
  %end_at = getelementptr i32, ptr %start_at, i64 1
  %to = getelementptr i64, ptr %counts, i64 %i
{_load("start", "%start_at")}
{_load("end", "%end_at")}
  %bytes = sub <{_WIDTH} x i64> %end, %start
  %length = sub <{_WIDTH} x i64> %bytes, %header
  %wrong = and <{_WIDTH} x i64> %length, %refused
  %found = or <{_WIDTH} x i64> %before, %wrong
  %count = ashr <{_WIDTH} x i64> %length, %bits
  store <{_WIDTH} x i64> %count, ptr %to, align 8
  %i_next = add i64 %i0, {_WIDTH}
  %more = icmp slt i64 %i_next, %n
  br i1 %more, label %next, label %done

done:
  %any = call i64 @llvm.vector.reduce.or.v{_WIDTH}i64(<{_WIDTH} x i64> %found)
  %good = icmp eq i64 %any, 0
  %first_raw = load i32, ptr %edges, align 1
  %first_swapped = call i32 @llvm.bswap.i32(i32 %first_raw)
  %first = sext i32 %first_swapped to i64
  %final_at = getelementptr i32, ptr %edges, i64 %n
  %final_raw = load i32, ptr %final_at, align 1
  %final_swapped = call i32 @llvm.bswap.i32(i32 %final_raw)
  %final = sext i32 %final_swapped to i64
  %all = sub i64 %final, %first
  %headers = mul i64 %n, %header_
  %rest = sub i64 %all, %headers
  %sum = ashr i64 %rest, %bits_
  %result = select i1 %good, i64 %sum, i64 -1
  ret i64 %result
}}
"""


_POINTER, _NUMBER = ctypes.c_void_p, ctypes.c_int64
_SAME = Kernel(same_ir, "same", [_POINTER, _POINTER, _NUMBER, _NUMBER], _NUMBER, after=_AFTER)
_COUNTS = Kernel(
    counts_ir, "counts", [_POINTER, _NUMBER, _NUMBER, _NUMBER, _POINTER], _NUMBER, after=_AFTER
)


__all__ = ["BIG_ENDIAN", "Offsets", "counts_of", "same"]
