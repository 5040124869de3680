"""Work on a Dask cluster: futures of neighbouring partitions, a few at a time, results in order.

There is no task graph over columns: its building takes longer than the work it describes. What is
the same for all partitions (files, cuts, columns, or a function of the user's) is packed once and
is one future that all others depend on, so that every worker unpacks it once, keeps files open,
and a worker that comes later gets it too. A partition is described by a small object.

::

    job  = InlineFunction(bytes)                if it is short: goes along with each task
    job  = replicate(submit(PickledFunction))   else: sent once; made again if its worker dies
    next = submit(work, job, partitions)        as many as are worth a task (`_task_sizes`),
                                                about two tasks per thread at a time
    yield from next.result(), in order          then it is forgotten, here and there

Short jobs share a future: Dask prefers the workers that have what a task depends on, and as long
as a task takes less than the scheduler's reaction, that one worker gets all of them.

What can help is tried again: a worker that dies (Dask's own setting, ``allowed-failures``), an
error that is not known to be final (`_RETRIES` times). Everything else comes back as one error. Of
several items in a task, each has an outcome of its own; those that failed in a way that another
try may cure, and all of a task whose workers died, are sent again one by one, so that what is said
of an item is true of that item.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import math
import os
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import zstandard

from rootml._internal.heap import keep_heap, warm_heap
from rootml._internal.optional import optional_import
from rootml.errors import (
    ClusterError,
    CorruptFileError,
    MissingFileError,
    RemoteError,
    RootmlError,
    UsageError,
    located,
)
from rootml.execution._task_sizes import MAX_ITEMS, TaskSizer, cost_of, size_of

if TYPE_CHECKING:
    from distributed import Future

T = TypeVar("T")
R = TypeVar("R")

_RETRIES = 2
_TASKS_PER_THREAD = 2
_INLINE_BYTES = 32 << 10
_MAX_CACHED = 8
_CHUNK_BYTES = 4 << 20  # Dask warns of tasks above 10 MB
_RECOUNT_SECONDS = 5.0
_LOOK_SECONDS = 5.0  # between looks at the workers while a result is waited for
_ALONE_SECONDS = 120.0  # without any workers, until that is an error
_RETRYABLE = (CorruptFileError, MissingFileError)
"""Errors of ours that another try may cure: shared file systems have bad moments."""
_CLOSED = {"CommClosedError", "ClosedClientError"}
_LOST = (asyncio.CancelledError, concurrent.futures.CancelledError)


class PickledFunction:
    """A function as bytes, unpacked once in each process that works with it.

    Of a function with a true attribute `stateless`, which calls leave as it is, the bytes are then
    forgotten: it may hold gigabytes of events.
    """

    def __init__(self, *pieces: bytes) -> None:
        self._raw = b"".join(pieces)
        self._size = len(self._raw)
        self._lock = threading.Lock()
        self._function: Callable[[Any], Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            return PickledFunction, (self._raw or _pack(self._function),)

    def __sizeof__(self) -> int:
        return self._size

    @property
    def function(self) -> Callable[[Any], Any]:
        """What was packed."""
        with self._lock:
            if self._function is None:
                self._function = _unpack(self._raw)
                if getattr(self._function, "stateless", False):
                    self._raw = b""
            return self._function


class InlineFunction:
    """A short function as bytes that travels with each item, unpacked once in each process."""

    _cached: ClassVar[OrderedDict[str, PickledFunction]] = OrderedDict()
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._token = secrets.token_hex(8)

    @property
    def function(self) -> Callable[[Any], Any]:
        """What was packed; a process remembers the last few, with the files they keep open."""
        with self._lock:
            packed = self._cached.setdefault(self._token, PickledFunction(self._raw))
            self._cached.move_to_end(self._token)
            while len(self._cached) > _MAX_CACHED:
                self._cached.popitem(last=False)
        return packed.function


class _Final:
    """An error that no other try would cure, as a result."""

    def __init__(self, error: RootmlError) -> None:
        self.error = error


def _pack(function: Any) -> bytes:
    # what Dask itself sends functions with: code that the user gives to the user's own workers
    pickle: Any = importlib.import_module("distributed.protocol.pickle")
    try:
        raw = pickle.dumps(function)
    except Exception as error:
        message = (
            f"this cannot be sent to the workers of a cluster: {type(error).__name__}: {error}; "
            "functions for write_friend() must be picklable (no open files, locks, or compiled "
            "handles): make such things inside of the function"
        )
        raise UsageError(message) from error
    return zstandard.ZstdCompressor(3).compress(raw)


def _unpack(raw: bytes) -> Any:
    pickle: Any = importlib.import_module("distributed.protocol.pickle")
    return pickle.loads(zstandard.ZstdDecompressor().decompress(raw))


def _work(job: PickledFunction | InlineFunction, item: Any) -> Any:
    """One item, on a worker."""
    keep_heap()
    warm_heap()
    try:
        return job.function(item)
    except RootmlError as error:
        if isinstance(error, _RETRYABLE) or (isinstance(error, RemoteError) and error.transient):
            raise
        return _Final(error)


class _Retry:
    """Stands for the result of an item that is worth another try."""


@dataclass(frozen=True, slots=True)
class _TaskResult:
    """The outcomes of a task, and what they took."""

    outcomes: list[Any]
    seconds: float
    nbytes: int


def _work_alone(job: PickledFunction | InlineFunction, item: Any) -> _TaskResult:
    """An item that is a task of its own, on a worker; Dask tries again what it raises."""
    start = time.perf_counter()
    outcome = _work(job, item)
    return _TaskResult([outcome], time.perf_counter() - start, size_of(outcome))


def _work_all(job: PickledFunction | InlineFunction, items: Sequence[Any]) -> _TaskResult:
    """A group of items, on a worker."""
    start = time.perf_counter()
    outcomes: list[Any] = []
    for item in items:
        try:
            outcomes.append(_work(job, item))
        except Exception:  # noqa: BLE001 - whatever it is, it will be raised when it is alone
            outcomes.append(_Retry())
    return _TaskResult(outcomes, time.perf_counter() - start, size_of(outcomes))


@dataclass(eq=False, slots=True)
class _Call(Generic[T, R]):
    """An item that a thread waits for."""

    item: T
    taken: bool = False
    outcome: tuple[R | None, BaseException | None] | None = None


class Job(Generic[T, R]):
    """A function on the cluster, to be called with many items; a `RemoteFunction`.

    Several threads may call it. Two tasks per thread of the cluster are under way at a time; calls
    that have to wait for that go together.
    """

    def __init__(self, executor: DaskExecutor, function: Callable[[T], R], what: str) -> None:
        self.sizer = TaskSizer()
        self._executor = executor
        self._client = executor.client
        self._name = f"rootml-{what.replace(' ', '-')}"
        self._turn = threading.Condition()
        self._waiting: deque[_Call[T, R]] = deque()
        self._running = 0
        if self._client.status == "closed":
            message = f"{what}: on the Dask cluster: the client is closed"
            raise ClusterError(message)
        raw = _pack(function)
        with _cluster(what):
            self._job = InlineFunction(raw) if len(raw) <= _INLINE_BYTES else self._sent(raw, what)

    def _sent(self, raw: bytes, what: str) -> Any:
        """A future of the function, which all workers of now have."""
        pieces: list[Any] = [raw]
        if len(raw) > _CHUNK_BYTES:
            starts = range(0, len(raw), _CHUNK_BYTES)
            pieces = [self._submit(bytes, raw[start : start + _CHUNK_BYTES]) for start in starts]
        job = self._submit(PickledFunction, *pieces)
        self._wait_for(job, what)
        self._client.replicate([job])
        return job

    def _submit(self, function: Any, *args: Any, retries: int = _RETRIES) -> Future:
        key = f"{self._name}-{secrets.token_hex(8)}"
        future: Future = self._client.submit(function, *args, key=key, pure=False, retries=retries)
        return future

    # --- one item -----------------------------------------------------------------------------

    def _in_own_task(self, item: T, *, tried: int = 0) -> R:
        """The result of an item in a task of its own."""
        with _cluster(_where(item)):
            future = self._submit(_work_alone, self._job, item, retries=_RETRIES - tried)
        return self._checked(self._own_result(future, item).outcomes[0], item)

    def _own_result(self, future: Any, item: T) -> _TaskResult:
        """Wait for a future, and forget it.

        Raises:
            RootmlError: The worker's own, with the item's file in front if it does not name it.
            ClusterError: Any other error, a worker that died, or a scheduler that is gone.
        """
        where = _where(item)
        try:
            with _cluster(where):
                return self._waited(future, where)  # type: ignore[no-any-return]
        except ClusterError as error:
            cause = error.__cause__
            if isinstance(cause, Exception) and future.status == "error" and not _killed(cause):
                message = f"{error} (tried {1 + _RETRIES} times)"
                raise ClusterError(message) from cause
            raise
        except RootmlError as error:
            raise located(error, where) from error.__cause__
        finally:
            future.release()

    def _waited(self, future: Any, where: str) -> Any:
        """What a future gives.

        Raises:
            ClusterError: All workers went away, and none came for a while.
        """
        self._wait_for(future, where)
        return future.result()

    def _wait_for(self, future: Any, where: str) -> None:
        distributed = optional_import("distributed", feature=where, extra="dask")
        since = math.inf  # when it was first seen that there are no workers
        while True:
            try:
                with self._client.as_current():
                    distributed.wait([future], timeout=_LOOK_SECONDS)
            except TimeoutError:
                now = time.monotonic()
                since = math.inf if self._client.nthreads() else min(since, now)
                if now - since <= _ALONE_SECONDS:
                    continue
                message = (
                    f"{where}: the Dask cluster has had no workers for {_ALONE_SECONDS:.0f} s"
                )
                raise ClusterError(message) from None
            return

    @staticmethod
    def _checked(outcome: Any, item: T) -> R:
        if isinstance(outcome, _Final):
            raise located(outcome.error, _where(item))
        return outcome  # type: ignore[no-any-return]

    # --- neighbours ---------------------------------------------------------------------------

    def submit(self, items: Sequence[T]) -> Future:
        """Begin to work on items in one task; a future."""
        with _cluster(_where(items[0])):
            if len(items) == 1:
                return self._submit(_work_alone, self._job, items[0])
            return self._submit(_work_all, self._job, items, retries=0)

    def results(self, future: Any, items: Sequence[T]) -> Iterator[Callable[[], R]]:
        """Wait for what `submit` gave, and forget it: for each item what gives or raises it."""
        result = self._done(future, items)
        if result is not None:
            self.sizer.learn([cost_of(item) for item in items], result.seconds, result.nbytes)
        for number, item in enumerate(items):
            outcome = None
            if result is not None:
                outcome, result.outcomes[number] = result.outcomes[number], None
            if result is None:  # one of them did it: which?
                yield partial(self._in_own_task, item)
            elif isinstance(outcome, _Retry):
                yield partial(self._in_own_task, item, tried=1)
            else:
                yield partial(self._checked, outcome, item)

    def _done(self, future: Any, items: Sequence[T]) -> _TaskResult | None:
        """The outcomes of a task; None: its workers died, or its results could not be sent."""
        if len(items) == 1:
            return self._own_result(future, items[0])
        try:
            with _cluster(_where(items[0])):
                return self._waited(future, _where(items[0]))  # type: ignore[no-any-return]
        except ClusterError as error:
            if _lost(error.__cause__):
                raise
            return None
        finally:
            future.release()

    # --- from threads -------------------------------------------------------------------------

    def __call__(self, item: T) -> R:
        call: _Call[T, R] = _Call(item)
        with self._turn:
            self._waiting.append(call)
        while call.outcome is None:
            group = self._next(call)
            if group:
                self._work_on(group)
        result, error = call.outcome
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def _next(self, call: _Call[T, R]) -> list[_Call[T, R]]:
        """Wait for `call`, or for its turn: then the calls that are made with the next task."""
        most = _TASKS_PER_THREAD * self._executor.parallelism
        with self._turn:
            while call.outcome is None and (call.taken or self._running >= most):
                self._turn.wait()
            if call.outcome is not None:
                return []
            costs = [cost_of(each.item) for each in self._waiting]
            count = self.sizer.take(
                costs, sum(cost.seconds for cost in costs), most - self._running
            )
            group = [self._waiting.popleft() for _ in range(count)]
            for each in group:
                each.taken = True
            self._running += 1
        return group

    def _work_on(self, group: list[_Call[T, R]]) -> None:
        """Make some calls, and say so."""
        items = [call.item for call in group]
        failed: BaseException | None = None
        try:
            results = self.results(self.submit(items), items)
            for call, result in zip(group, results, strict=True):
                try:
                    call.outcome = (result(), None)
                except Exception as error:  # noqa: BLE001 - raised in the thread that called
                    call.outcome = (None, error)
        except BaseException as error:
            failed = error
            if not isinstance(error, Exception):
                raise
        finally:
            with self._turn:
                for call in group:
                    if call.outcome is None:
                        call.outcome = (None, failed)
                self._running -= 1
                self._turn.notify_all()


class DaskExecutor:
    """The cluster behind a client; a `rootml.execution.Executor`.

    Args:
        client: A `distributed.Client`.
        what: Who takes it, for errors.
    """

    def __init__(self, client: Any, *, what: str = "on()") -> None:
        distributed = optional_import("distributed", feature=what, extra="dask")
        if not isinstance(client, distributed.Client) or client.asynchronous:
            message = (
                f"{what} takes a distributed.Client that is not asynchronous, not {client!r}; "
                "for a cluster that is cluster.get_client()"
            )
            raise UsageError(message)
        self.client = client
        self._process = os.getpid()
        self._workers = (0.0, 1)

    @property
    def usable(self) -> bool:
        return os.getpid() == self._process

    @property
    def parallelism(self) -> int:
        """Threads of all workers; clusters grow and shrink, so it is looked up now and then."""
        when, workers = self._workers
        if time.monotonic() - when > _RECOUNT_SECONDS or when == 0:
            with _cluster("counting the workers"):
                workers = max(1, sum(self.client.nthreads().values()))
            self._workers = (time.monotonic(), workers)
        return workers

    def broadcast(self, function: Callable[[T], R], *, what: str) -> Job[T, R]:
        return Job(self, function, what)

    def map(self, function: Callable[[T], R], items: Iterable[T], *, what: str) -> Iterator[R]:
        job = self.broadcast(function, what=what)
        waiting = list(items)
        costs = [cost_of(item) for item in waiting]
        left, begun = sum(cost.seconds for cost in costs), 0
        pending: deque[tuple[Any, list[T]]] = deque()

        def fill() -> None:
            nonlocal left, begun
            while begun < len(waiting) and len(pending) < _TASKS_PER_THREAD * self.parallelism:
                near = costs[begun : begun + MAX_ITEMS]
                count = job.sizer.take(near, left, self.parallelism)
                group = waiting[begun : begun + count]
                pending.append((job.submit(group), group))
                left -= sum(cost.seconds for cost in near[:count])
                begun += count

        try:
            fill()
            while pending:
                for number, result in enumerate(job.results(*pending.popleft())):
                    if number == 0:
                        fill()  # before somebody takes a long look at the results
                    yield result()
        finally:
            for future, _ in pending:
                future.release()

    def completed(
        self, function: Callable[[T], R], items: Iterable[T], *, what: str
    ) -> Iterator[tuple[T, R]]:
        """Items with their results as soon as they are there, each in a task of its own."""
        distributed = optional_import("distributed", feature=what, extra="dask")
        job = self.broadcast(function, what=what)
        places: dict[str, T] = {}
        futures: list[Any] = []
        try:
            for item in items:
                futures.append(job.submit([item]))
                places[futures[-1].key] = item
            for future in distributed.as_completed(futures, loop=self.client.loop):
                (result,) = job.results(future, [places[future.key]])
                yield places[future.key], result()
        finally:
            if self.client.status == "running":
                self.client.cancel(futures)

    def __repr__(self) -> str:
        return f"<DaskExecutor {self.client!r}>"


@contextmanager
def _cluster(where: str) -> Iterator[None]:
    """Turn what Dask raises into errors of ours.

    Raises:
        ClusterError: A worker died, an error that is not ours, no scheduler.
    """
    try:
        yield
    except RootmlError:
        raise
    except (Exception, asyncio.CancelledError) as error:
        if _lost(error):
            raise _lost_scheduler(where, error) from error
        if _killed(error):
            message = (
                f"{where}: several workers died one after the other while they had this to do, or "
                "more beside it (out of memory? killed by the batch system? their logs say more): "
                f"{error}"
            )
            raise ClusterError(message) from error
        message = f"{where}: on the Dask cluster: {type(error).__name__}: {error}"
        raise ClusterError(message) from error


def _lost_scheduler(where: str, error: BaseException) -> ClusterError:
    message = f"{where}: the Dask scheduler is gone, or has forgotten the work: {error}"
    return ClusterError(message)


def _lost(error: BaseException | None) -> bool:
    """Whether the scheduler is gone, or has forgotten the work."""
    return isinstance(error, _LOST) or type(error).__name__ in _CLOSED


def _killed(error: BaseException) -> bool:
    from distributed.scheduler import KilledWorker

    return isinstance(error, KilledWorker)


def _where(item: Any) -> str:
    return str(getattr(item, "where", item))
