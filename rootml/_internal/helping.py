"""Threads that help one another: what one thread works on is shared out to those that are idle.

A file is decoded unit by unit, and a unit may be large: with one thread for each unit some
threads wait at the end of an epoch, and whenever memory has room for one more unit only. So a
thread of a `HelpingPool` offers the parts of its unit (columns, tiles of rows) to the others.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Generic, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class _Local(threading.local):
    pool: HelpingPool | None = None


_local = _Local()


def for_each(
    function: Callable[[T], object], items: Sequence[T], *, pool: Executor | None = None
) -> None:
    """Call `function` for each item: here, and in threads of a `HelpingPool` that are idle.

    Returns when all calls have ended. If some fail, no further ones begin, and the error of the
    first of these items is raised: it does not depend on timing which one that is.

    Args:
        pool: Whose threads help; None: of the pool that this thread belongs to.

    >>> found = []
    >>> for_each(found.append, [1, 2, 3])
    >>> found
    [1, 2, 3]
    """
    helping = pool if isinstance(pool, HelpingPool) else _local.pool
    if helping is None or len(items) <= 1:
        for item in items:
            function(item)
    else:
        helping.share(function, items)


class HelpingPool(ThreadPoolExecutor):
    """A thread pool for tasks that call `for_each`.

    A thread helps with tasks that have begun before it begins another one. It never waits for
    help: what no other thread has taken, the thread that asked does itself.

    Args:
        helping: False: a plain pool.

    >>> with HelpingPool(2) as pool:
    ...     pool.submit(for_each, print, ["once"]).result()
    once
    """

    def __init__(
        self,
        threads: int,
        *,
        helping: bool = True,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        self._threads_wanted = threads
        self._offers: deque[_Shared[Any]] = deque()

        def begin() -> None:
            _local.pool = self if helping and threads > 1 else None
            if initializer is not None:
                initializer(*initargs)

        super().__init__(threads, thread_name_prefix=thread_name_prefix, initializer=begin)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """As of any pool."""

        def task() -> R:
            self._help()
            return fn(*args, **kwargs)

        return super().submit(task)

    def share(self, function: Callable[[T], object], items: Sequence[T]) -> None:
        """See `for_each`."""
        shared = _Shared(function, items)
        self._offers.append(shared)
        with contextlib.suppress(RuntimeError):  # shut down: nobody helps any more
            for _ in range(min(self._threads_wanted, len(items)) - 1):
                super().submit(self._help)
        shared.work()
        with contextlib.suppress(ValueError):  # a helper saw that it was done
            self._offers.remove(shared)
        shared.finish()

    def _help(self) -> None:
        while self._offers:
            try:
                oldest = self._offers[0]
            except IndexError:  # taken away in between
                return
            oldest.work()
            with contextlib.suppress(ValueError):
                self._offers.remove(oldest)


class _Shared(Generic[T]):
    """Items that several threads take from."""

    def __init__(self, function: Callable[[T], object], items: Sequence[T]) -> None:
        self._function = function
        self._left = deque(enumerate(items))
        self._running = 0
        self._errors: dict[int, BaseException] = {}
        self._state = threading.Condition()

    def work(self) -> None:
        """Work on items until none is left to begin."""
        while (taken := self._take()) is not None:
            number, item = taken
            error: BaseException | None = None
            try:
                self._function(item)
            except BaseException as raised:  # noqa: BLE001 - raised by `finish`
                error = raised
            self._done(number, error)

    def _take(self) -> tuple[int, T] | None:
        with self._state:
            if not self._left:
                return None
            self._running += 1
            return self._left.popleft()

    def _done(self, number: int, error: BaseException | None) -> None:
        with self._state:
            self._running -= 1
            if error is not None:
                self._errors[number] = error
                self._left.clear()
            if not self._running:
                self._state.notify_all()

    def finish(self) -> None:
        """Wait for the items that others have begun; raise the first item's error."""
        with self._state:
            while self._running:
                self._state.wait()
            if not self._errors:
                return
            error = self._errors[min(self._errors)]
            self._errors.clear()
        try:
            raise error
        finally:
            del error  # else it would keep its own frames alive


__all__ = ["HelpingPool", "for_each"]
