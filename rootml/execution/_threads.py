"""Work over partitions: in threads here, or at another `Executor`."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol, TypeVar

from rootml._internal.progress import track
from rootml.errors import UsageError

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

_MOST = 16
WAITING = 16
"""Threads that mostly wait for a server."""
_AHEAD = 2


class RemoteFunction(Protocol[T_contra, R_co]):
    """A function that a place has got, to be called there; safe to use from several threads."""

    def __call__(self, item: T_contra, /) -> R_co: ...


class Executor(Protocol):
    """Where partitions are worked on instead of in threads here: a cluster.

    Functions, items and results are picklable, and an item has a text `where` for messages.
    """

    @property
    def usable(self) -> bool:
        """Whether this process may use it: not one that was forked off."""

    @property
    def parallelism(self) -> int:
        """How many items are worked on at the same time."""

    def broadcast(self, function: Callable[[T], R], *, what: str) -> RemoteFunction[T, R]:
        """Send a function there once, to call it for many items, one by one."""

    def map(self, function: Callable[[T], R], items: Iterable[T], *, what: str) -> Iterator[R]:
        """As `map_ordered`, over there."""


class ProcessLock:
    """A reentrant lock that is a new, open one after a fork and in a pickled copy.

    A thread that holds a lock when the process forks does not exist in the child, where the lock
    would never be released.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return ProcessLock, ()

    def __enter__(self) -> None:
        if self._process != os.getpid():
            self.__init__()  # type: ignore[misc]
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()


def available_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def check_threads(threads: Any) -> int:
    """The number of threads to use: as given, or one per core, at most 16.

    Raises:
        UsageError: Not a positive integer.
    """
    if threads is None:
        return min(_MOST, available_cores())
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        message = f"threads must be a positive integer or None, not {threads!r}"
        raise UsageError(message)
    return threads


def map_ordered(
    function: Callable[[T], R], items: Sequence[T], *, threads: int | None = None
) -> Iterator[R]:
    """Call `function` on each of `items` in threads and yield the results in order.

    At most twice as many results as threads wait to be taken, so memory stays bounded. The first
    error is raised in the caller's thread. When the iterator ends, is closed or raises, calls not
    yet begun are dropped and no thread is left.

    >>> list(map_ordered(str, [1, 2, 3], threads=2))
    ['1', '2', '3']
    """
    count = min(check_threads(threads), len(items))
    if count <= 1:
        yield from map(function, items)
        return
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(count, thread_name_prefix="rootml")
    try:
        for item in items:
            if len(pending) >= _AHEAD * count:
                yield pending.popleft().result()
            pending.append(pool.submit(function, item))
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def map_partitions(
    function: Callable[[T], R],
    partitions: Sequence[T],
    *,
    threads: int | None = None,
    progress: bool | None = None,
    what: str = "reading",
    executor: Executor | None = None,
) -> Iterator[R]:
    """`map_ordered` with a progress bar named `what`: every pass over the data goes through here.

    Args:
        place: Where to work, if not in threads here.
    """
    if executor is not None and executor.usable:
        results = executor.map(function, partitions, what=what)
    else:
        if threads is None and any("://" in str(getattr(p, "where", "")) for p in partitions[:1]):
            threads = WAITING  # for a server: more of them than there are cores
        results = map_ordered(function, partitions, threads=threads)
    try:
        yield from track(results, total=len(partitions), what=what, enabled=progress)
    finally:
        results.close()  # type: ignore[attr-defined]  # a generator
