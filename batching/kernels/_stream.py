"""Bytes written past the caches: what nobody reads soon need not push out what is needed next.

A cache line that is written as a whole need not be read from memory before, either::

    for i in 0 ... lines - 1:
        to[64 i : 64 (i + 1)] = from[64 i : 64 (i + 1)]         # a non-temporal store
    fence
"""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from rootml._internal.machine_code import Kernel, address

Bytes = npt.NDArray[np.uint8]

_LINE = 64
_AFTER = 1 << 27
"""Bytes after which compiling pays: copying them takes some 0.03 s."""


def stream(source: Bytes, out: Bytes) -> None:
    """``out[:] = source``, two arrays of bytes in one piece each."""
    assert source.shape == out.shape
    kernel = _KERNEL.function(len(out)) if len(out) >= 2 * _LINE else None
    if kernel is None:
        out[:] = source
        return
    head = -address(out) % _LINE
    lines = (len(out) - head) // _LINE
    tail = head + lines * _LINE
    kernel(address(source) + head, address(out) + head, lines)
    out[:head], out[tail:] = source[:head], source[tail:]


def stream_ir() -> str:
    """The function ``stream(source, out, lines)``; `out` begins at a cache line."""
    return """
define void @stream(ptr noalias %source, ptr noalias %out, i64 %lines) nounwind {
entry:
  %any = icmp sgt i64 %lines, 0
  br i1 %any, label %next, label %end

next:
  %i = phi i64 [0, %entry], [%i_next, %next]
  %at = shl i64 %i, 6
  %from = getelementptr i8, ptr %source, i64 %at
  %to = getelementptr i8, ptr %out, i64 %at
  %line = load <16 x i32>, ptr %from, align 1
  store <16 x i32> %line, ptr %to, align 64, !nontemporal !0
  %i_next = add i64 %i, 1
  %more = icmp slt i64 %i_next, %lines
  br i1 %more, label %next, label %end

end:
  fence seq_cst
  ret void
}

!0 = !{i32 1}
"""


_KERNEL = Kernel(
    stream_ir,
    "stream",
    [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64],
    None,
    after=_AFTER,
)
