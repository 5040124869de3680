"""Work on a Dask cluster: one future per partition, a bounded number of them, results in order.

There is no task graph over columns: its building takes longer than the work it describes. What is
the same for all partitions (files, cuts, columns, or a function of the user's) is packed once and
is one future that all others depend on, so that every worker unpacks it once, keeps files open,
and a worker that comes later gets it too. A partition is described by a small object.

::

    job  = Small(token, bytes)                     goes along with each item, if it is short
    job  = replicate(submit(Packed, bytes))        else once; made again if its worker dies
    next = submit(work, job, partition)            about two per thread of the cluster at a time
    yield next.result(), in order                  then it is forgotten, here and there

A short job is no future of its own: Dask prefers the workers that have what a task depends on, and
as long as a task takes less than the scheduler's reaction, that one worker gets all of them.

What can help is tried again: a worker that dies (Dask's own setting, ``allowed-failures``), an
error that is not known to be final (`_RETRIES` times). Everything else comes back as one error.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import os
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, TypeVar

import zstandard

from rootml._heap import keep_heap, warm_heap
from rootml._optional import optional_import
from rootml.errors import (
    ClusterError,
    CorruptFileError,
    MissingFileError,
    RootmlError,
    UsageError,
)

T = TypeVar("T")
R = TypeVar("R")

_RETRIES = 2
_AHEAD = 2
_SMALL = 32 << 10
_KEPT = 8
_PIECE = 4 << 20  # Dask warns of tasks above 10 MB
_LOOK_AGAIN = 5.0
_HEALING = (CorruptFileError, MissingFileError)
"""Errors of ours that another try may cure: shared file systems have bad moments."""
_CLOSED = {"CommClosedError", "ClosedClientError"}
_LOST = (asyncio.CancelledError, concurrent.futures.CancelledError)


class Packed:
    """A function as bytes, unpacked once in each process that works with it."""

    def __init__(self, *pieces: bytes) -> None:
        self._raw = b"".join(pieces)
        self._lock = threading.Lock()
        self._function: Callable[[Any], Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Packed, (self._raw,)

    def __sizeof__(self) -> int:
        return len(self._raw)

    @property
    def function(self) -> Callable[[Any], Any]:
        """What was packed."""
        with self._lock:
            if self._function is None:
                self._function = _unpack(self._raw)
            return self._function


class Small:
    """A short function as bytes that travels with each item, unpacked once in each process."""

    _kept: ClassVar[OrderedDict[str, Packed]] = OrderedDict()
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._token = secrets.token_hex(8)

    @property
    def function(self) -> Callable[[Any], Any]:
        """What was packed; a process remembers the last few, with the files they keep open."""
        with self._lock:
            packed = self._kept.setdefault(self._token, Packed(self._raw))
            self._kept.move_to_end(self._token)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
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


def _work(job: Packed | Small, item: Any) -> Any:
    """One item, on a worker."""
    keep_heap()
    warm_heap()
    try:
        return job.function(item)
    except RootmlError as error:
        if isinstance(error, _HEALING):
            raise
        return _Final(error)


class Job(Generic[T, R]):
    """A function on the cluster, to be called with many items; `rootml._threads.Held`."""

    def __init__(self, client: Any, function: Callable[[T], R], what: str) -> None:
        self._client = client
        self._name = f"rootml-{what.replace(' ', '-')}"
        if client.status == "closed":
            message = f"{what}: on the Dask cluster: the client is closed"
            raise ClusterError(message)
        raw = _pack(function)
        with _cluster(what):
            self._job = Small(raw) if len(raw) <= _SMALL else self._sent(raw)

    def _sent(self, raw: bytes) -> Any:
        """A future of the function, which all workers of now have."""
        pieces: list[Any] = [raw]
        if len(raw) > _PIECE:
            starts = range(0, len(raw), _PIECE)
            pieces = [self._submit(bytes, raw[start : start + _PIECE]) for start in starts]
        job = self._submit(Packed, *pieces)
        self._client.replicate([job])
        return job

    def _submit(self, function: Any, *args: Any) -> Any:
        key = f"{self._name}-{secrets.token_hex(8)}"
        return self._client.submit(function, *args, key=key, pure=False, retries=_RETRIES)

    def submit(self, item: T) -> Any:
        """Begin to work on an item; a future."""
        with _cluster(_where(item)):
            return self._submit(_work, self._job, item)

    def result(self, future: Any, item: T) -> R:
        """Wait for a future, and forget it.

        Raises:
            RootmlError: The worker's own, with the item's place in front if it does not name it.
            ClusterError: Any other error, a worker that died, or a scheduler that is gone.
        """
        where = _where(item)
        try:
            with _cluster(where):
                result = future.result()
        except ClusterError as error:
            cause = error.__cause__
            if isinstance(cause, Exception) and future.status == "error" and not _killed(cause):
                message = f"{error} (tried {1 + _RETRIES} times)"
                raise ClusterError(message) from cause
            raise
        except RootmlError as error:
            raise _placed(error, where) from error.__cause__
        finally:
            future.release()
        if isinstance(result, _Final):
            raise _placed(result.error, where)
        return result  # type: ignore[no-any-return]

    def __call__(self, item: T) -> R:
        return self.result(self.submit(item), item)


class DaskPlace:
    """The cluster behind a client; a `rootml._threads.Place`."""

    def __init__(self, client: Any) -> None:
        distributed = optional_import("distributed", feature="Dataset.on()", extra="dask")
        if not isinstance(client, distributed.Client) or client.asynchronous:
            message = (
                f"on() takes a distributed.Client that is not asynchronous, not {client!r}; "
                "for a cluster that is cluster.get_client()"
            )
            raise UsageError(message)
        self.client = client
        self._process = os.getpid()
        self._width = (0.0, 1)

    @property
    def here(self) -> bool:
        return os.getpid() == self._process

    @property
    def width(self) -> int:
        """Threads of all workers; clusters grow and shrink, so it is looked up now and then."""
        when, width = self._width
        if time.monotonic() - when > _LOOK_AGAIN or when == 0:
            with _cluster("counting the workers"):
                width = max(1, sum(self.client.nthreads().values()))
            self._width = (time.monotonic(), width)
        return width

    def hold(self, function: Callable[[T], R], *, what: str) -> Job[T, R]:
        return Job(self.client, function, what)

    def map(self, function: Callable[[T], R], items: Iterable[T], *, what: str) -> Iterator[R]:
        job = self.hold(function, what=what)
        pending: deque[tuple[Any, T]] = deque()
        try:
            for item in items:
                while len(pending) >= _AHEAD * self.width:
                    yield job.result(*pending.popleft())
                pending.append((job.submit(item), item))
            while pending:
                yield job.result(*pending.popleft())
        finally:
            for future, _ in pending:
                future.release()

    def __repr__(self) -> str:
        return f"<DaskPlace {self.client!r}>"


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
    except _LOST as error:
        raise _gone(where, error) from error
    except Exception as error:
        if type(error).__name__ in _CLOSED:
            raise _gone(where, error) from error
        if _killed(error):
            message = (
                f"{where}: several workers died one after the other while they had this to do, or "
                "more beside it (out of memory? killed by the batch system? their logs say more): "
                f"{error}"
            )
            raise ClusterError(message) from error
        message = f"{where}: on the Dask cluster: {type(error).__name__}: {error}"
        raise ClusterError(message) from error


def _gone(where: str, error: BaseException) -> ClusterError:
    message = f"{where}: the Dask scheduler is gone, or has forgotten the work: {error}"
    return ClusterError(message)


def _killed(error: Exception) -> bool:
    from distributed.scheduler import KilledWorker

    return isinstance(error, KilledWorker)


def _where(item: Any) -> str:
    return str(getattr(item, "where", item))


def _placed(error: RootmlError, where: str) -> RootmlError:
    """The worker's error; with the place in front where it does not name file and entries."""
    text = str(error)
    file = where.partition(", entries")[0].rpartition(":")[0] or where
    if where in text or (file in text and "entries" in text):
        return error
    return type(error)(f"{where}: {text}")
