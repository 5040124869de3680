"""Requests in threads, each of them retried while that may help."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from rootml.execution import ProcessLock
from rootml.storage.remote._options import Remote
from rootml.storage.remote._transport_errors import Exhausted, Transient

T = TypeVar("T")
logger = logging.getLogger(__name__)

_MAX_DELAY = 30.0
_SLICE = 0.1

_lock = ProcessLock()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _pool(connections: int) -> ThreadPoolExecutor:
    """The threads of this process for so many connections; a forked child has its own."""
    key = (os.getpid(), connections)
    with _lock:
        if key not in _pools:
            _pools[key] = ThreadPoolExecutor(connections, thread_name_prefix="rootml-remote")
        return _pools[key]


class _Thread(threading.local):
    """The settings of each thread: when to stop retrying, and which slots it computes in."""

    stop: threading.Event | None = None
    slots: threading.Semaphore | None = None


_thread = _Thread()


def stop_retries_when(stop: threading.Event) -> None:
    """Make no further retries in this thread once `stop` is set: nobody needs the result."""
    _thread.stop = stop


@contextmanager
def compute_slot(slots: threading.Semaphore) -> Iterator[None]:
    """Hold one of `slots` while computing; it is released while this thread waits for a server.

    There are many more threads than cores, because most of them wait. If all decoded at once, the
    thread that the training loop waits for would be slowed down by the others.
    """
    with slots:
        _thread.slots = slots
        try:
            yield
        finally:
            _thread.slots = None


@contextmanager
def _waiting() -> Iterator[None]:
    """Release the slot of this thread meanwhile."""
    slots = _thread.slots
    if slots is None:
        yield
        return
    slots.release()
    try:
        yield
    finally:
        slots.acquire()


def retry_delay(options: Remote, failed: int, asked: float) -> float:
    """Seconds to wait after try number `failed`; jitter spreads the retries of many readers."""
    due = min(_MAX_DELAY, options.backoff * 2.0 ** min(failed - 1, 32))
    return max(due * random.uniform(0.5, 1.5), min(asked, _MAX_DELAY))


def retry(ask: Callable[[], T], options: Remote, *stops: threading.Event) -> T:
    """What `ask` returns, after as many retries as allowed.

    Args:
        stops: When one of them is set, no further retry is made.

    Raises:
        Exhausted: The last error, with the number of tries.
        TransportError: An error that a retry would not cure.
    """
    if _thread.stop is not None:
        stops = (*stops, _thread.stop)
    began, failed = time.monotonic(), 0
    while True:
        try:
            return ask()
        except Transient as error:
            failed += 1
            if failed > options.retries or any(stop.is_set() for stop in stops):
                spent = time.monotonic() - began
                times = "once" if failed == 1 else f"{failed} times in {spent:.1f} s"
                message = f"{error} (tried {times})"
                raise Exhausted(message) from None
            wait_for = retry_delay(options, failed, error.wait)
            logger.info("%s; try %d follows in %.1f s", error, failed + 1, wait_for)
        _sleep(wait_for, stops)


def _sleep(seconds: float, stops: Sequence[threading.Event]) -> None:
    """Wait; return early when one of `stops` is set."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not any(stop.is_set() for stop in stops):
        time.sleep(min(left, _SLICE))


def run_all(tasks: Sequence[Callable[[], T]], options: Remote) -> list[T]:
    """The results of all tasks, at most `Remote.connections` of the process at a time.

    Raises:
        TransportError: The first error; the other tasks are not retried.
    """
    with _waiting():
        return [retry(tasks[0], options)] if len(tasks) == 1 else _run(tasks, options)


def _run(tasks: Sequence[Callable[[], T]], options: Remote) -> list[T]:
    stop = threading.Event()
    stops = (stop,) if _thread.stop is None else (stop, _thread.stop)
    errors: list[BaseException] = []

    def guarded(task: Callable[[], T]) -> T:
        try:
            return retry(task, options, *stops)
        except BaseException as error:
            errors.append(error)
            stop.set()
            raise

    pool = _pool(options.connections)
    futures: list[Future[T]] = [pool.submit(guarded, task) for task in tasks]
    try:
        return [future.result() for future in futures]
    except BaseException as error:  # noqa: BLE001 - it, or what caused it, is raised again
        stop.set()
        for future in futures:
            future.cancel()
        wait(futures)
        raise (errors or [error])[0] from None
