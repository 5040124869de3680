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


class _Helper(threading.Thread):
    """A thread that takes tasks from a queue of its own."""

    def __init__(self, helpers: _Helpers, task: _Task) -> None:
        super().__init__(name="rootml-bdt", daemon=True)
        self.tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self.tasks.put(task)
        self._helpers = helpers

    def run(self) -> None:
        while (task := self._next()) is not None:
            task()
            del task
            self._helpers.wait(self)

    def _next(self) -> _Task | None:
        try:
            return self.tasks.get(timeout=IDLE_SECONDS)
        except Empty:
            return None if self._helpers.leave(self) else self.tasks.get()  # one is on its way


class _Helpers:
    """Threads that wait for tasks; the last that came is the first to go, its core is warm."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Helper] = []

    def wait(self, helper: _Helper) -> None:
        """`helper` has nothing to do."""
        with self._lock:
            self._waiting.append(helper)

    def leave(self, helper: _Helper) -> bool:
        """Whether nobody has given `helper` a task, nor will."""
        with self._lock:
            found = helper in self._waiting
            if found:
                self._waiting.remove(helper)
            return found

    def give(self, tasks: list[_Task]) -> None:
        """Hand each task to a thread that waits, or to a new one."""
        with self._lock:
            known = [self._waiting.pop() for _ in tasks[: len(self._waiting)]]
        for helper, task in zip(known, tasks, strict=False):
            helper.tasks.put(task)
        for task in tasks[len(known) :]:
            _Helper(self, task).start()

    def stop(self) -> None:
        """End the threads that wait."""
        with self._lock:
            ending, self._waiting = self._waiting, []
        for helper in ending:
            helper.tasks.put(None)
        for helper in ending:
            helper.join()


_helpers = _Helpers()


def _stop() -> None:
    _helpers.stop()


def _forget() -> None:
    global _helpers  # noqa: PLW0603 - a child process has none of its parent's threads
    _helpers = _Helpers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_stop, after_in_child=_forget)
atexit.register(_stop)


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
