"""Work in processes of this machine: an `Executor` that needs no cluster.

::

    here:         a thread per process: take the next item, send it, wait for its result
    each process: unpack the function once; for each item that comes: send function(item) back

The processes are started as ``python -m rootml.execution._process_worker``, not forked: libraries
have threads. What they get comes through a pipe, from this process alone; the main program is not
run again in them. A process that dies is started again, and gets its item again.
"""

from __future__ import annotations

import importlib
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from typing import Any, Generic, TypeVar

from rootml.errors import ClusterError, RootmlError, UsageError, located
from rootml.execution._threads import map_ordered

T = TypeVar("T")
R = TypeVar("R")

_DEATHS = 3  # processes that may die with an item before it is given up
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class _DiedError(Exception):
    """A process has ended; says how."""


class _Process:
    """A process that has received a function.

    Raises:
        UsageError: The function cannot be sent, or not be unpacked there.
        _DiedError: The process ended before it could.
    """

    def __init__(self, function: Callable[[Any], Any], what: str) -> None:
        self._pickle: Any = importlib.import_module("pickle")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rootml.execution._process_worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONPATH": _search_path()},
        )  # fmt: skip
        try:
            kind, found = self._exchange(function)
        except (self._pickle.PicklingError, AttributeError, TypeError) as error:
            self.close()
            message = f"{what}: this cannot be sent to another process: {error}"
            raise UsageError(message) from error
        except _DiedError:
            self.close()
            raise
        if kind != "ready":
            self.close()
            message = (
                f"{what}: another process cannot use what it was sent: {found}; functions must be "
                "those of a module that it can import"
            )
            raise UsageError(message)

    def call(self, item: Any) -> tuple[str, Any]:
        """How it went, and the result or error, of one item."""
        return self._exchange(item)

    def _exchange(self, what: Any) -> tuple[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._pickle.dump(what, self._process.stdin, protocol=5)
            self._process.stdin.flush()
            return self._pickle.load(self._process.stdout)  # type: ignore[no-any-return]
        except (EOFError, OSError, self._pickle.UnpicklingError) as error:
            raise _DiedError(_ending(self._process.wait())) from error

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


class _Pool(Generic[T, R]):
    """A function in some processes, called from threads; a `RemoteFunction`."""

    def __init__(self, function: Callable[[T], R], workers: int, what: str) -> None:
        self._function, self._what = function, what
        self._free: queue.SimpleQueue[_Process | None] = queue.SimpleQueue()
        self._number = workers
        for _ in range(workers):
            self._free.put(None)  # started when it is wanted

    def __call__(self, item: T) -> R:
        process, ending = self._free.get(), ""
        try:
            for _ in range(_DEATHS):
                try:
                    process = process or _Process(self._function, self._what)
                    return _checked(process.call(item), item)  # type: ignore[no-any-return]
                except _DiedError as error:
                    ending = str(error)
                    if process is not None:
                        process.close()
                    process = None
        finally:
            self._free.put(process)
        message = (
            f"{_where(item)}: {_DEATHS} processes died one after the other while they had this to "
            f"do, the last by {ending} (out of memory? killed by the batch system?)"
        )
        raise ClusterError(message)

    def close(self) -> None:
        """End all processes."""
        for _ in range(self._number):
            process = self._free.get()
            if process is not None:
                process.close()


class ProcessExecutor:
    """Processes of this machine; an `Executor`.

    Args:
        workers: How many.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    @property
    def usable(self) -> bool:
        """Always."""
        return True

    @property
    def parallelism(self) -> int:
        """The number of processes."""
        return self._workers

    def broadcast(self, function: Callable[[T], R], *, what: str) -> _Pool[T, R]:
        """The function in these processes, which end when it is closed."""
        return _Pool(function, self._workers, what)

    def map(self, function: Callable[[T], R], items: Iterable[T], *, what: str) -> Iterator[R]:
        """As `map_ordered`."""
        todo = list(items)
        with closing(self.broadcast(function, what=what)) as pool:
            yield from map_ordered(pool, todo, threads=self._workers)


def _search_path() -> str:
    """Where modules are found here, for another process; "" is this folder."""
    return os.pathsep.join(path or str(os.getcwd()) for path in sys.path)  # noqa: PTH109


def _checked(answer: tuple[str, Any], item: Any) -> Any:
    kind, found = answer
    if kind == "result":
        return found
    if kind == "ours":
        assert isinstance(found, RootmlError)
        raise located(found, _where(item))
    message = f"{_where(item)}: in another process: {found}"
    raise ClusterError(message)


def _where(item: Any) -> str:
    return str(getattr(item, "where", item))


def _ending(code: int) -> str:
    """An exit code, or the name of the signal that ended a process."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
