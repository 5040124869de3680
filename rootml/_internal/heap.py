"""What the C library does with freed memory: keep it for the next array, or give it back at once.

A pass over partitions makes and drops the same large arrays again and again. glibc maps each
array above a threshold anew, and the system zeroes it page by page, which makes a scan take two to
three times as long. The threshold starts at 128 kB and grows, up to 32 MB, with what is freed;
whether that happens in time is chance, so a pass sees to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from functools import cache

import numpy as np

_EAGER = 1 << 20
_TRIM, _MMAP = -1, -3  # malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
_KEEP, _LARGEST = 128 << 20, 32 << 20
_JUST_BELOW = _LARGEST - (1 << 16)


@cache
def warm_heap() -> None:
    """Let glibc keep up to 64 MB of freed memory per arena from now on.

    An array of almost 32 MB is made and freed, not touched: glibc takes that as a reason to serve
    arrays of that size from its heap, and to trim the heap at twice the size (mallopt(3),
    M_MMAP_THRESHOLD: "dynamic"). Where somebody has set ``MALLOC_...`` variables, and with other C
    libraries, nothing happens.
    """
    np.empty(_JUST_BELOW, np.uint8)


@cache
def keep_heap() -> bool:
    """Let glibc keep freed memory in a process where Dask's nanny switched that off.

    The nanny sets ``MALLOC_TRIM_THRESHOLD_=65536``, which also stops the threshold from growing.
    Where the variable has another value, somebody chose it, and it stays. Returns whether
    something was done.
    """
    eager = os.environ.get("MALLOC_TRIM_THRESHOLD_", "")
    if not eager.isdecimal() or int(eager) >= _EAGER:
        return False
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        return bool(libc.mallopt(_MMAP, _LARGEST) and libc.mallopt(_TRIM, _KEEP))
    return False
