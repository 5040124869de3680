"""Python functions as C function pointers, and what they are called for.

One C function per kind serves all objects; an object is known by a number. It is thus harmless if
RooFit calls for an object that Python has let go: the answer is an exception that says so, not a
jump into freed memory.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from rootml._internal.types import Float

MESSAGE_SIZE = 2000  # kMessageSize of bridge.h
_Doubles = ctypes.POINTER(ctypes.c_double)
_NLL = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_long, _Doubles, _Doubles, _Doubles, _Doubles,
    ctypes.POINTER(ctypes.c_char),
)  # fmt: skip
_BATCH = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.POINTER(_Doubles),
    ctypes.POINTER(ctypes.c_long), _Doubles, ctypes.POINTER(ctypes.c_char),
)  # fmt: skip

ValueAndGradient: TypeAlias = Callable[[Float], tuple[float, Float]]
Hessian: TypeAlias = Callable[[Float], Float]
Batch: TypeAlias = Callable[[int, Sequence[Float]], Float]

_numbers = itertools.count(1)
_nlls: dict[int, Nll] = {}
_batches: dict[int, Batch] = {}


class Nll:
    """An NLL of `size` parameters, which MINUIT asks again and again at the same point.

    Value and gradient come of one pass over the events, and MINUIT wants the gradient where it has
    asked for the value: both are found at once and kept, as is the Hessian.
    """

    def __init__(self, size: int, gradient: ValueAndGradient, hessian: Hessian) -> None:
        self.size = size
        self._find, self._find_hessian = gradient, hessian
        self._last: tuple[bytes, tuple[float, Float]] | None = None
        self._last_hessian: tuple[bytes, Float] | None = None

    def gradient(self, point: Float) -> tuple[float, Float]:
        """Value and gradient."""
        key, last = point.tobytes(), self._last
        if last is None or last[0] != key:
            self._last = last = key, self._find(point)
        return last[1]

    def hessian(self, point: Float) -> Float:
        """Second derivatives."""
        key, last = point.tobytes(), self._last_hessian
        if last is None or last[0] != key:
            self._last_hessian = last = key, self._find_hessian(point)
        return last[1]


def register_nll(nll: Nll) -> int:
    """Remember an NLL; its number."""
    number = next(_numbers)
    _nlls[number] = nll
    return number


def register_batch(function: Batch) -> int:
    """Remember a function of columns; its number.

    It is given the number of events and one array per variable, read-only and valid during the
    call, of shape ``(event,)`` or ``(1,)``, and returns ``(event,)``.
    """
    number = next(_numbers)
    _batches[number] = function
    return number


def forget(number: int) -> None:
    """Let go of what is behind a number."""
    _nlls.pop(number, None)
    _batches.pop(number, None)


@cache
def nll_pointer() -> int:
    """The C function behind every `Nll`, as an address."""
    return _address(_call_nll)


@cache
def batch_pointer() -> int:
    """The C function behind every `Batch`, as an address."""
    return _address(_call_batch)


def _address(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


def _array(pointer: Any, size: int) -> Float:
    if not size:  # the pointer may be null
        return np.empty(0)
    memory: Any = (ctypes.c_double * size).from_address(ctypes.addressof(pointer.contents))
    array: Float = np.frombuffer(memory, np.float64)
    return array


def _readable(pointer: Any, size: int) -> Float:
    array = _array(pointer, size)
    array.flags.writeable = False
    return array


def _tell(message: Any, error: BaseException) -> int:
    """Write an exception's text where C++ reads it."""
    text = f"{type(error).__name__}: {error}".encode("ascii", "backslashreplace")
    text = text[: MESSAGE_SIZE - 1]
    ctypes.memmove(message, text + b"\0", len(text) + 1)
    return 1


_GONE = (
    "the likelihood behind this RooFit object is gone; keep the object that to_roofit() returned, "
    "or its .nll, .pdf or .function, for as long as you use it"
)


@_NLL  # type: ignore[untyped-decorator]
def _call_nll(
    number: int, theta: Any, value: Any, gradient: Any, hessian: Any, message: Any
) -> int:
    try:
        if number not in _nlls:
            raise ReferenceError(_GONE)
        nll = _nlls[number]
        point = _array(theta, nll.size).copy()
        if hessian:
            _array(hessian, nll.size**2)[:] = nll.hessian(point).ravel()
            return 0
        value[0], found = nll.gradient(point)
        if gradient:
            _array(gradient, nll.size)[:] = found
    except BaseException as error:  # noqa: BLE001 - it must not leave through C: it is raised again in C++
        return _tell(message, error)
    return 0


@_BATCH  # type: ignore[untyped-decorator]
def _call_batch(
    number: int, rows: int, count: int, columns: Any, sizes: Any, output: Any, message: Any
) -> int:
    try:
        if number not in _batches:
            raise ReferenceError(_GONE)
        arrays = [_readable(columns[i], sizes[i]) for i in range(count)]
        result = np.asarray(_batches[number](rows, arrays))
        if result.shape != (rows,):
            text = f"the function gave an array of shape {result.shape} for {rows} events"
            raise ValueError(text)
        _array(output, rows)[:] = result
    except BaseException as error:  # noqa: BLE001 - as above
        return _tell(message, error)
    return 0
