"""The C library's float32 logarithm, which is the one XGBoost calls.

``logf`` is not correctly rounded in glibc (0.8 ulp), so that NumPy's or a rounded float64
logarithm differs from it for about one argument in a hundred, and with it every margin of a model.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable

import numpy as np


@functools.cache
def _logf() -> Callable[[float], float] | None:
    for name in ("ucrtbase",) if sys.platform == "win32" else (None, "libm.so.6"):
        try:
            function = ctypes.CDLL(name).logf
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_float
        function.argtypes = [ctypes.c_float]
        typed: Callable[[float], float] = function
        return typed
    return None


def logf(value: np.float32) -> np.float32:
    """``logf`` of the C library; of a system without one, the float64 logarithm, rounded.

    >>> logf(np.float32(1))
    np.float32(0.0)
    """
    function = _logf()
    if function is None:
        with np.errstate(all="ignore"):
            return np.float32(np.log(np.float64(value)))
    return np.float32(function(float(value)))
