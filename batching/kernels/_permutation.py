"""Random permutations, the very ones of ``numpy.random.Generator(SFC64(...)).permutation``.

NumPy takes some 10 ns for each number: half of its draws are above `i`, which no processor
foresees, and are repeated. Here such a draw swaps an element with itself::

    a = 0 ... n - 1
    i = n - 1
    while i > 0:
        j = the next 32 bits of SFC64, as many of the lowest as `i` has
        good = j <= i
        swap a[i], a[j if good else i]
        i = i - good

Should a version of NumPy draw others, the compiled loop is not used (see `_agrees`).

References:
    SFC64, https://pracrand.sourceforge.net/RNG_engines.txt
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.machine_code import Kernel, address

_MIN_ROWS = 1 << 10
_MAX_ROWS = 1 << 31
_AFTER = 1 << 21
"""Numbers after which compiling pays: NumPy takes some 0.02 s for them."""


def permutation(
    rng: np.random.Generator, rows: int, dtype: npt.DTypeLike = np.int64
) -> npt.NDArray[Any]:
    """``rng.permutation(rows)``, and `rng` is afterwards as after that call.

    >>> one, other = (np.random.Generator(np.random.SFC64(5)) for _ in range(2))
    >>> bool((permutation(one, 2000) == other.permutation(2000)).all())
    True
    >>> one.random() == other.random()
    True
    """
    fits = _MIN_ROWS <= rows < _MAX_ROWS and isinstance(rng.bit_generator, np.random.SFC64)
    kernel = _KERNEL.function(rows) if fits else None
    if kernel is None or not _agrees():
        return rng.permutation(rows).astype(dtype, copy=False)
    return _permuted(kernel, rng, rows).astype(dtype)


def _permuted(kernel: Any, rng: np.random.Generator, rows: int) -> npt.NDArray[np.uint32]:
    state: dict[str, Any] = dict(rng.bit_generator.state)
    words = np.array(state["state"]["state"], np.uint64)
    kept = np.array([state["has_uint32"], state["uinteger"]], np.uint32)
    order = np.arange(rows, dtype=np.uint32)
    kernel(address(words), address(kept), address(order), rows)
    state["state"] = {"state": words}
    state["has_uint32"], state["uinteger"] = kept.tolist()
    rng.bit_generator.state = state
    return order


@cache
def _agrees() -> bool:
    """Whether this version of NumPy draws the same permutations."""
    one, other = (np.random.Generator(np.random.SFC64(7)) for _ in range(2))
    for rows in (2, 3, 1001, 5000):
        if not np.array_equal(_permuted(_KERNEL.function(0), one, rows), other.permutation(rows)):
            return False
        if one.integers(2**32, dtype=np.uint32) != other.integers(2**32, dtype=np.uint32):
            return False
    return True


def permutation_ir() -> str:
    """The function ``permute(state, kept, a, n)``, see above; `n` is at least 2.

    `state` has the four words of SFC64. `kept` says whether half of the last 64 bits is left over,
    and which.
    """
    loads = "\n".join(
        f"  %at{k} = getelementptr i64, ptr %state, i64 {k}\n  %w{k} = load i64, ptr %at{k}"
        for k in range(4)
    )
    stores = "\n".join(f"  store i64 %g{k}, ptr %at{k}" for k in range(4))
    before = _phis("b", {"entry": "w", "got": "g"})
    after = _phis("g", {"fresh": "f", "next": "b"})
    return f"""
declare i32 @llvm.ctlz.i32(i32, i1)

define void @permute(ptr noalias %state, ptr noalias %kept, ptr noalias %a, i64 %n) nounwind {{
entry:
{loads}
  %kept_value = getelementptr i32, ptr %kept, i64 1
  %has = load i32, ptr %kept
  %w_has = icmp ne i32 %has, 0
  %w_half = load i32, ptr %kept_value
  %count = trunc i64 %n to i32
  %last = sub i32 %count, 1
  br label %next

next:
  %i = phi i32 [%last, %entry], [%i_next, %got]
{before}
  br i1 %b_has, label %got, label %fresh

fresh:
  %sum = add i64 %b0, %b1
  %bits = add i64 %sum, %b3
  %f3 = add i64 %b3, 1
  %b1_right = lshr i64 %b1, 11
  %f0 = xor i64 %b1, %b1_right
  %b2_left = shl i64 %b2, 3
  %f1 = add i64 %b2, %b2_left
  %b2_high = shl i64 %b2, 24
  %b2_low = lshr i64 %b2, 40
  %b2_turned = or i64 %b2_high, %b2_low
  %f2 = add i64 %b2_turned, %bits
  %low = trunc i64 %bits to i32
  %high_bits = lshr i64 %bits, 32
  %f_half = trunc i64 %high_bits to i32
  %f_has = or i1 1, 1
  br label %got

got:
{after.replace("[%b_has, %next]", "[0, %next]")}
  %x = phi i32 [%low, %fresh], [%b_half, %next]
  %zeros = call i32 @llvm.ctlz.i32(i32 %i, i1 true)
  %mask = lshr i32 -1, %zeros
  %value = and i32 %x, %mask
  %good = icmp ule i32 %value, %i
  %j = select i1 %good, i32 %value, i32 %i
  %wide_i = zext i32 %i to i64
  %wide_j = zext i32 %j to i64
  %at_i = getelementptr i32, ptr %a, i64 %wide_i
  %at_j = getelementptr i32, ptr %a, i64 %wide_j
  %a_i = load i32, ptr %at_i
  %a_j = load i32, ptr %at_j
  store i32 %a_j, ptr %at_i
  store i32 %a_i, ptr %at_j
  %step = zext i1 %good to i32
  %i_next = sub i32 %i, %step
  %more = icmp ne i32 %i_next, 0
  br i1 %more, label %next, label %end

end:
{stores}
  %has_after = zext i1 %g_has to i32
  store i32 %has_after, ptr %kept
  store i32 %g_half, ptr %kept_value
  ret void
}}
"""


def _phis(to: str, sources: dict[str, str]) -> str:
    """The state `to` as it comes from each block: the words, and the half that is left over."""
    lines = []
    for name, kind in [*((str(k), "i64") for k in range(4)), ("_has", "i1"), ("_half", "i32")]:
        values = ", ".join(f"[%{source}{name}, %{block}]" for block, source in sources.items())
        lines.append(f"  %{to}{name} = phi {kind} {values}")
    return "\n".join(lines)


_KERNEL = Kernel(
    permutation_ir,
    "permute",
    [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64],
    None,
    after=_AFTER,
)
