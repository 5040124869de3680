"""Float32 functions of the C library, which are those that XGBoost calls.

``logf`` is not correctly rounded in glibc (0.8 ulp), so that NumPy's or a rounded float64
logarithm differs from it for about one argument in a hundred, and with it every margin of a model.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np


@functools.cache
def _function(name: str) -> Callable[[float], float] | None:
    for library in ("ucrtbase",) if sys.platform == "win32" else (None, "libm.so.6"):
        try:
            function = getattr(ctypes.CDLL(library), name)
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_float
        function.argtypes = [ctypes.c_float]
        typed: Callable[[float], float] = function
        return typed
    return None


def _call(name: str, fallback: Callable[[Any], Any], value: np.float32) -> np.float32:
    """The C library's function; of a system without one, the float64 function, rounded."""
    function = _function(name)
    if function is None:
        with np.errstate(all="ignore"):
            return np.float32(fallback(np.float64(value)))
    return np.float32(function(float(value)))


def logf(value: np.float32) -> np.float32:
    """The logarithm.

    >>> logf(np.float32(1))
    np.float32(0.0)
    """
    return _call("logf", np.log, value)


def expm1f(value: np.float32) -> np.float32:
    """``exp(value) - 1``.

    >>> expm1f(np.float32(0))
    np.float32(0.0)
    """
    return _call("expm1f", np.expm1, value)
