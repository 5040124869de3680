"""Requests in threads, each made again while that may help."""

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

from rootml.execution._threads import ProcessLock
from rootml.storage.remote._options import Remote
from rootml.storage.remote._transport_errors import Exhausted, Transient

T = TypeVar("T")
logger = logging.getLogger(__name__)

_LONGEST = 30.0
_SLICE = 0.1

_lock = ProcessLock()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _pool(connections: int) -> ThreadPoolExecutor:
    """The threads of this process for so many connections; none of those of a forking parent."""
    key = (os.getpid(), connections)
    with _lock:
        if key not in _pools:
            _pools[key] = ThreadPoolExecutor(connections, thread_name_prefix="rootml-remote")
        return _pools[key]


class _Thread(threading.local):
    """What each thread knows of who it works for."""

    closing: threading.Event | None = None
    turn: threading.Semaphore | None = None


_thread = _Thread()


def work_until(closing: threading.Event) -> None:
    """Make no further tries in this thread when `closing` is set: nobody waits any more."""
    _thread.closing = closing


@contextmanager
def in_turn(turns: threading.Semaphore) -> Iterator[None]:
    """Compute while holding one of `turns`, which is given to others while this thread waits.

    Many threads wait for servers; when all of them decode at once, those suffer that everything
    waits for.
    """
    with turns:
        _thread.turn = turns
        try:
            yield
        finally:
            _thread.turn = None


@contextmanager
def _waiting() -> Iterator[None]:
    """Let others compute meanwhile."""
    turn = _thread.turn
    if turn is None:
        yield
        return
    turn.release()
    try:
        yield
    finally:
        turn.acquire()


def pause(options: Remote, failed: int, asked: float) -> float:
    """Seconds to wait after try number `failed`; the jitter keeps many readers apart."""
    due = min(_LONGEST, options.backoff * 2.0 ** min(failed - 1, 32))
    return max(due * random.uniform(0.5, 1.5), min(asked, _LONGEST))


def retry(ask: Callable[[], T], options: Remote, *stops: threading.Event) -> T:
    """What `ask` returns, after as many tries as allowed.

    Args:
        stops: One is set when there is no use in going on.

    Raises:
        Exhausted: The last error, with the number of tries.
        Trouble: What no other try would cure.
    """
    if _thread.closing is not None:
        stops = (*stops, _thread.closing)
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
            wait_for = pause(options, failed, error.wait)
            logger.info("%s; try %d follows in %.1f s", error, failed + 1, wait_for)
        _sleep(wait_for, stops)


def _sleep(seconds: float, stops: Sequence[threading.Event]) -> None:
    """Wait, but not on when one of `stops` is set."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not any(stop.is_set() for stop in stops):
        time.sleep(min(left, _SLICE))


def run_all(tasks: Sequence[Callable[[], T]], options: Remote) -> list[T]:
    """The results of all tasks, at most `Remote.connections` of the process at a time.

    Raises:
        Trouble: The first one; the other tasks make no further tries.
    """
    with _waiting():
        return [retry(tasks[0], options)] if len(tasks) == 1 else _run(tasks, options)


def _run(tasks: Sequence[Callable[[], T]], options: Remote) -> list[T]:
    stop = threading.Event()
    stops = (stop,) if _thread.closing is None else (stop, _thread.closing)
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
