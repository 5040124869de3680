"""Memory that is used again instead of being given back to the system and zeroed anew.

Decoding allocates the same large arrays over and over. Above a few hundred kB the C library maps
each one freshly, and the kernel zeroes it page by page: at 4 GB/s that is a sizeable part of the
cost of decoding.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

_SMALL = 1 << 16
_LINE = 64
_MAX_WASTE = 4


class Allocate(Protocol):
    """Makes an uninitialised array, as `numpy.empty` does."""

    def __call__(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]: ...


class _Lease:
    """Owns a buffer for as long as an array, or a view of it, is alive."""

    def __init__(
        self,
        raw: npt.NDArray[np.uint8],
        give_back: Callable[[npt.NDArray[np.uint8]], None],
    ) -> None:
        self.__array_interface__ = raw.__array_interface__
        self._raw, self._give_back = raw, give_back

    def __del__(self) -> None:
        self._give_back(self._raw)


class Buffers:
    """Makes arrays like `numpy.empty`; their memory is reused once nobody refers to them.

    At most `limit` bytes wait for reuse; sizes that were not used for long go back to the system.
    A buffer serves arrays from a quarter of its size on: units of many sizes share a few buffers.

    >>> buffers = Buffers(limit=1 << 20)
    >>> array = buffers((100, 200), "float32")
    >>> view = array[10:]
    >>> del array, view
    >>> buffers.idle
    131072
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free: dict[int, list[npt.NDArray[np.uint8]]] = {}
        self._used: dict[int, int] = {}  # when each size was used last, in leases
        self._leases = 0
        self._idle = 0
        self._lock = threading.RLock()  # the garbage collector may give back while we take

    @property
    def idle(self) -> int:
        """Bytes that wait for reuse."""
        return self._idle

    def __call__(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An uninitialised array."""
        dtype = np.dtype(dtype)
        size = (shape if isinstance(shape, int) else math.prod(shape)) * dtype.itemsize
        if size < _SMALL:
            return np.empty(shape, dtype)
        return np.ndarray(shape, dtype, buffer=np.asarray(self._lease(size)))

    def _lease(self, size: int) -> _Lease:
        room = _rounded(size)
        with self._lock:
            raw = self._pop(room)
        if raw is None:
            raw = _aligned(room)
        return _Lease(raw, self._give_back)

    def _pop(self, room: int) -> npt.NDArray[np.uint8] | None:
        """A waiting buffer of this size, or else of the next larger one."""
        self._leases += 1
        if not self._free.get(room):
            larger = [
                size
                for size, waiting in tuple(self._free.items())
                if waiting and room < size <= _MAX_WASTE * room
            ]
            room = min(larger, default=room)
        self._used[room] = self._leases
        waiting = self._free.get(room)
        if not waiting:
            return None
        self._idle -= room
        return waiting.pop()

    def _give_back(self, raw: npt.NDArray[np.uint8]) -> None:
        with self._lock:
            self._free.setdefault(len(raw), []).append(raw)
            self._idle += len(raw)
            while self._idle > self._limit:
                waiting = [size for size, buffers in tuple(self._free.items()) if buffers]
                oldest = min(waiting, key=lambda size: self._used.get(size, 0))
                self._free[oldest].pop()
                self._idle -= oldest

    def clear(self) -> None:
        """Give idle memory back to the system."""
        with self._lock:
            self._free.clear()
            self._idle = 0


def trim_heap() -> None:
    """Let the C library give freed memory back; glibc keeps arrays below 32 MB for itself."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _aligned(size: int) -> npt.NDArray[np.uint8]:
    """Memory that begins at a cache line: XLA shares no other with NumPy."""
    raw = np.empty(size + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size]


def _rounded(size: int) -> int:
    """Up to a multiple of an eighth of its power of two: sizes meet, little is wasted."""
    step = max(_SMALL, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step
