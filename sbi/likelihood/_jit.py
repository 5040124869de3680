"""Compiled kernels by numba: one door, and a cache that only its owner can write.

numba compiles with LLVM: no compiler on the user's machine, code for the CPU at hand. Loops over
events are written so that LLVM turns them into vector instructions: element by element over
blocks, `exp` and `log` as polynomials (see `vector_exp`), sums reordered (`reassoc`).
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rootml._internal import caches
from rootml._internal.optional import optional_import

F = TypeVar("F", bound=Callable[..., Any])

numba = optional_import("numba", feature="the compiled kernels (engine='compiled')", extra="sbi")
_extending = optional_import("numba.extending", feature="the compiled kernels", extra="sbi")
_FLAGS = {"reassoc", "contract", "nsz"}  # sums may be reordered


def cache_folder() -> Path | None:
    """Where compiled kernels are kept; None if nowhere. Nothing is made by asking."""
    return caches.cache_folder("kernels")


def _made_folder() -> Path | None:
    """The cache, made if need be: the user's own, closed to others; None: there cannot be one."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return None
    closed = stat.S_ISDIR(facts.st_mode) and not facts.st_mode & 0o077
    ours = not hasattr(os, "getuid") or facts.st_uid == os.getuid()
    return folder if closed and ours and os.access(folder, os.W_OK) else None


@contextmanager
def _cache_at(folder: Path) -> Iterator[None]:
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def jit(function: F) -> F:
    """Compile `function` at its first call; kept for the next process where a cache can be.

    Sums may be reordered and products contracted; NaN, infinities and division keep their
    meaning, and there are no checks of bounds.
    """
    folder = _made_folder()  # numba makes its own folders when it is asked to keep a function
    if folder is None:
        return numba.njit(**_options())(function)  # type: ignore[no-any-return]
    with _cache_at(folder / _version_of(function)):
        return numba.njit(cache=True, **_options())(function)  # type: ignore[no-any-return]


def _version_of(function: Callable[..., Any]) -> str:
    """Names the sources of a kernel: numba itself looks at the file of its outer function only.

    They are this file, the kernel's own, and those of what its module imports from this project.
    """
    values = function.__globals__.values()
    modules = {str(getattr(value, "__module__", "")) for value in values}
    ours = sorted(name for name in modules if name.startswith("rootml.") and name in sys.modules)
    files = [__file__, function.__code__.co_filename]
    files += [str(sys.modules[name].__file__) for name in ours]
    digest = hashlib.sha256(b"".join(Path(file).read_bytes() for file in files))
    return digest.hexdigest()[:16]


def inline(function: F) -> F:
    """Compile `function` into its callers, sums reordered; it is never called from Python.

    Always into them: what LLVM leaves as a call would lead to this function's own code in the
    process that compiles, but to the caller's copy of it where that is loaded from the cache, and
    they round differently.
    """
    return numba.njit(forceinline=True, **_options())(function)  # type: ignore[no-any-return]


def exact(function: F) -> F:
    """Like `inline`, in the order written: for code that relies on how sums round."""
    return numba.njit(forceinline=True, **_options(flags={"contract"}))(function)  # type: ignore[no-any-return]


def _options(flags: set[str] = _FLAGS) -> dict[str, Any]:
    return {"nogil": True, "fastmath": flags, "error_model": "numpy"}


def _reinterpret(source: Any, target: Any) -> Any:
    """The same 64 bits as another type."""

    def typer(_typing: Any, value: Any) -> Any:  # numba
        if value != source:
            return None

        def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:  # numba
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), emit

    return _extending.intrinsic(typer)


as_bits = _reinterpret(numba.float64, numba.int64)
as_float = _reinterpret(numba.int64, numba.float64)

_ROUND = 6755399441055744.0  # 1.5 * 2**52: adding it leaves the nearest integer in the low bits
_LOG2E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
_LN2 = math.log(2.0)
_E = [1.0 / math.factorial(n) for n in range(14)]
_E2, _E3, _E4, _E5, _E6, _E7 = _E[2:8]
_E8, _E9, _E10, _E11, _E12, _E13 = _E[8:14]
_SQRT2 = math.sqrt(2.0)
_MANTISSA, _ONE_BITS = 0x000FFFFFFFFFFFFF, 0x3FF0000000000000
_WHOLE, _WHOLE_BITS = 4503599627370496.0, 0x4330000000000000  # 2**52
_ODD = [1.0 / (2 * n + 1) for n in range(12)]
_L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8, _L9, _L10, _L11 = _ODD[1:12]


@exact
def vector_exp(x: float) -> float:
    """``exp(x)`` to 1e-15, without branches; 0 below -708, infinite above 709.4.

    n = round(x / ln 2), r = x - n ln 2 in two parts, Taylor to the 13th order, times 2^n by
    adding n to the exponent's bits.
    """
    limited = min(max(x, -708.0), 709.4)
    shifted = limited * _LOG2E + _ROUND
    n = shifted - _ROUND
    r = (limited - n * _LN2_HIGH) - n * _LN2_LOW
    high = _E9 + r * (_E10 + r * (_E11 + r * (_E12 + r * _E13)))
    middle = _E4 + r * (_E5 + r * (_E6 + r * (_E7 + r * (_E8 + r * high))))
    value = 1.0 + r * (1.0 + r * (_E2 + r * (_E3 + r * middle)))
    scaled = value * as_float((as_bits(shifted) + 1023) << 52)
    large = math.inf if x > 709.4 else scaled
    return 0.0 if x < -708.0 else large


@exact
def exponent_of(x: float) -> float:
    """e of ``x = m 2^e`` with m in [1, 2); x positive and not subnormal."""
    return as_float((as_bits(x) >> 52) | _WHOLE_BITS) - (_WHOLE + 1023.0)  # type: ignore[no-any-return]


@exact
def mantissa_of(x: float) -> float:
    """m of ``x = m 2^e`` with m in [1, 2)."""
    return as_float((as_bits(x) & _MANTISSA) | _ONE_BITS)  # type: ignore[no-any-return]


@exact
def vector_log(x: float) -> float:
    """``log(x)`` to 1e-15, without branches; x positive and not subnormal.

    m is brought to [1/sqrt 2, sqrt 2], then log m = 2 artanh((m - 1) / (m + 1)) by its series.
    """
    m, e = mantissa_of(x), exponent_of(x)
    above = m > _SQRT2
    m = 0.5 * m if above else m
    e = e + 1.0 if above else e
    f = (m - 1.0) / (m + 1.0)
    s = f * f
    high = _L6 + s * (_L7 + s * (_L8 + s * (_L9 + s * (_L10 + s * _L11))))
    series = s * (_L1 + s * (_L2 + s * (_L3 + s * (_L4 + s * (_L5 + s * high)))))
    return e * _LN2_HIGH + (2.0 * f + (2.0 * f * series + e * _LN2_LOW))
