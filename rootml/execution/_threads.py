"""Work on many items: in threads of this process, or at another `Executor`."""

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

_MAX_THREADS = 16
REMOTE_THREADS = 16
"""Threads for files on a server: they mostly wait for it."""
_RESULTS_PER_THREAD = 2


class RemoteFunction(Protocol[T_contra, R_co]):
    """A function that an executor has received and calls there; thread-safe."""

    def __call__(self, item: T_contra, /) -> R_co: ...


class Executor(Protocol):
    """Where items are worked on instead of in threads of this process: a cluster.

    Functions, items and results are picklable. An item has a text `where` for messages and may
    have a `Cost` as its `cost`.
    """

    @property
    def usable(self) -> bool:
        """Whether this process may use it; one that was forked may not."""

    @property
    def parallelism(self) -> int:
        """How many items are worked on at the same time."""

    def broadcast(self, function: Callable[[T], R], *, what: str) -> RemoteFunction[T, R]:
        """Send a function there once; the result calls it for one item after another."""

    def map(self, function: Callable[[T], R], items: Iterable[T], *, what: str) -> Iterator[R]:
        """As `map_ordered`, on the executor."""


class ProcessLock:
    """A reentrant lock that is new and open after a fork and in a pickled copy.

    If a thread holds a lock when the process forks, the child has the lock but not the thread, so
    nothing would ever release it.
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
        return min(_MAX_THREADS, available_cores())
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        message = f"threads must be a positive integer or None, not {threads!r}"
        raise UsageError(message)
    return threads


def map_ordered(
    function: Callable[[T], R], items: Sequence[T], *, threads: int | None = None
) -> Iterator[R]:
    """Call `function` on each of `items` in threads and yield the results in order.

    At most two results per thread wait to be taken, so memory stays bounded. The first error is
    raised in the caller's thread. When the iterator ends, is closed or raises, calls that have not
    begun are dropped and all threads end.

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
            if len(pending) >= _RESULTS_PER_THREAD * count:
                yield pending.popleft().result()
            pending.append(pool.submit(function, item))
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def map_tasks(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    threads: int | None = None,
    progress: bool | None = None,
    what: str = "reading",
    executor: Executor | None = None,
) -> Iterator[R]:
    """Call `function` on each item, in threads or on a cluster, and yield the results in order.

    Every pass over data goes through here. Memory and errors are as in `map_ordered`.

    Args:
        threads: Threads of this process; None: one per core, 16 for files on a server.
        progress: Show a bar; None: on a terminal.
        what: Name of the bar.
        executor: Where to work; None, or one that this process cannot use: in threads here.

    >>> list(map_tasks(len, ["a", "bb"], threads=1, progress=False))
    [1, 2]
    """
    if executor is not None and executor.usable:
        results = executor.map(function, items, what=what)
    else:
        if threads is None and any("://" in str(getattr(i, "where", "")) for i in items[:1]):
            threads = REMOTE_THREADS
        results = map_ordered(function, items, threads=threads)
    try:
        yield from track(results, total=len(items), what=what, enabled=progress)
    finally:
        results.close()  # type: ignore[attr-defined]  # a generator
