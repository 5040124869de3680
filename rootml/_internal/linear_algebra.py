"""One thread for libraries: where results must not depend on how many there are, or for speed.

BLAS libraries split sums among their threads, and sums that are split otherwise round otherwise.
Work that must be the same on a laptop, in its worker processes and on a cluster runs with one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from rootml._internal.optional import optional_import


class _Limit:
    """Limits the BLAS of this process from the first entry to the last exit, of all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered = 0
        self._limiter: Any = None

    def enter(self, feature: str) -> None:
        with self._lock:
            if not self._entered:
                threadpoolctl = optional_import("threadpoolctl", feature=feature, extra="sbi")
                self._limiter = threadpoolctl.threadpool_limits(1, user_api="blas")
            self._entered += 1

    def leave(self) -> None:
        with self._lock:
            self._entered -= 1
            if not self._entered:
                self._limiter.restore_original_limits()
                self._limiter = None


_limit = _Limit()


@contextmanager
def single_threaded(feature: str) -> Iterator[None]:
    """One BLAS thread in this process until the block ends; blocks may overlap.

    Args:
        feature: What needs it, for the error.

    Raises:
        MissingPackageError: threadpoolctl is not installed.

    >>> import numpy as np
    >>> with single_threaded("an example"):
    ...     np.eye(2) @ np.ones(2)
    array([1., 1.])
    """
    _limit.enter(feature)
    try:
        yield
    finally:
        _limit.leave()


_FEW_ROWS = 50_000
"""Rows below which a second thread gains hardly anything (20,000: nothing; 100,000: a fifth)."""


def openmp_for(rows: int, *, feature: str) -> AbstractContextManager[Any]:
    """One OpenMP thread for few rows until the block ends; for many as many as there are.

    OpenMP's threads wait for one another in busy loops, at each of thousands of splits of trees:
    with few rows they gain nothing, and where another process has a core they cost eightfold.

    Args:
        rows: Events that are worked on.
        feature: What needs it, for the error.

    Raises:
        MissingPackageError: threadpoolctl is not installed.
    """
    if rows >= _FEW_ROWS:
        return nullcontext()
    threadpoolctl = optional_import("threadpoolctl", feature=feature, extra="sbi")
    limits: AbstractContextManager[Any] = threadpoolctl.threadpool_limits(1, user_api="openmp")
    return limits
