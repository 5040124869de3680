"""Threads that help with a call, and then wait a while for the next one.

A call of a millisecond gains nothing from threads that are started for it: that takes a third of
a millisecond. So they stay for `IDLE_SECONDS` after their last work. They end before a fork, and
with the interpreter.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

IDLE_SECONDS = 2.0
"""How long a thread waits for work before it ends."""


class _Task:
    """Work for one thread, done at most once."""

    def __init__(self, work: Callable[[int], None], number: int) -> None:
        self._work: Callable[[int], None] | None = work
        self._number = number
        self._begun, self._ended = threading.Lock(), threading.Lock()
        self._ended.acquire()
        self._error: BaseException | None = None

    def __call__(self) -> None:
        work, self._work = self._work, None  # a thread holds its first task as long as it lives
        if work is None or not self._begun.acquire(blocking=False):
            return
        try:
            work(self._number)
        except BaseException as error:  # noqa: BLE001 - raised where the result is waited for
            self._error = error
        self._ended.release()

    def finish(self) -> None:
        """Wait for its end if it has begun; otherwise it never will."""
        if self._begun.acquire(blocking=False):
            return
        self._ended.acquire()
        if self._error is not None:
            raise self._error


class _Helpers:
    """Threads that take tasks from one queue."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._free = 0  # threads that wait, less those for which a task is in the queue
        self._threads: set[threading.Thread] = set()

    def give(self, tasks: list[_Task]) -> None:
        """Hand each task to a thread that waits, or to a new one."""
        with self._lock:
            known = min(self._free, len(tasks))
            self._free -= known
        for task in tasks[:known]:
            self._tasks.put(task)
        for task in tasks[known:]:
            thread = threading.Thread(
                target=self._serve, args=(task,), name="rootml-bdt", daemon=True
            )
            with self._lock:
                self._threads.add(thread)
            thread.start()

    def _serve(self, task: _Task | None) -> None:
        while task is not None:
            task()
            with self._lock:
                self._free += 1
            task = self._next()
        with self._lock:
            self._threads.discard(threading.current_thread())

    def _next(self) -> _Task | None:
        try:
            return self._tasks.get(timeout=IDLE_SECONDS)
        except Empty:
            with self._lock:
                alone = self._free > 0
                self._free -= alone
            return None if alone else self._tasks.get()  # one is on its way

    def stop(self) -> None:
        """End the threads that wait."""
        with self._lock:
            free, self._free = self._free, 0
            ending = [] if not free else list(self._threads)
        for _ in range(free):
            self._tasks.put(None)
        for thread in ending[: 0 if free < len(ending) else None]:
            thread.join()


_helpers = _Helpers()


def _forget() -> None:
    global _helpers  # noqa: PLW0603 - a child process has none of its parent's threads
    _helpers = _Helpers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: _helpers.stop(), after_in_child=_forget)
atexit.register(lambda: _helpers.stop())


def call_helpers(work: Callable[[int], None], number: int) -> Callable[[], None]:
    """`number` other threads call `work` with 1, 2, ... as soon as they can.

    Returns:
        A function that waits for those that have begun, and raises what they raised; the others
        will not begin any more.

    >>> left = [1, 2, 3]
    >>> def work(number: int) -> None:
    ...     while left:
    ...         left.pop()
    >>> finish = call_helpers(work, 2)
    >>> work(0)
    >>> finish()
    >>> left
    []
    """
    tasks = [_Task(work, i + 1) for i in range(number)]
    _helpers.give(tasks)

    def finish() -> None:
        for task in tasks:
            task.finish()

    return finish
