"""Threads that help: every item once, errors that do not depend on timing, no waiting for help."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from rootml._internal.helping import HelpingPool, for_each


def names_of(items: int, *, seconds: float = 0.0) -> list[str]:
    """The threads in which the items of one `for_each` were worked on."""
    found: list[str] = []

    def work(_: int) -> None:
        time.sleep(seconds)
        found.append(threading.current_thread().name)

    for_each(work, range(items))
    return found


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_item_is_worked_on_once(threads: int) -> None:
    counted: Counter[tuple[int, int]] = Counter()
    lock = threading.Lock()

    def task(number: int) -> None:
        def work(item: int) -> None:
            with lock:
                counted[number, item] += 1

        for_each(work, range(50))
        assert all(counted[number, item] == 1 for item in range(50))  # when it returns

    with HelpingPool(threads) as pool:
        list(pool.map(task, range(40)))
    assert len(counted) == 2000
    assert set(counted.values()) == {1}


def test_idle_threads_help() -> None:
    with HelpingPool(3) as pool:
        assert len(set(pool.submit(names_of, 60, seconds=0.005).result())) == 3


def test_nobody_helps_where_it_is_not_wanted() -> None:
    with HelpingPool(3, helping=False) as pool:
        assert len(set(pool.submit(names_of, 20, seconds=0.001).result())) == 1
    with ThreadPoolExecutor(3) as plain:
        assert len(set(plain.submit(names_of, 20, seconds=0.001).result())) == 1
    assert set(names_of(3)) == {threading.current_thread().name}


def test_a_busy_pool_makes_nobody_wait() -> None:
    """Both threads ask, so neither is idle; and parts may have parts of their own."""

    def outer(number: int) -> int:
        total: list[int] = []

        def middle(item: int) -> None:
            for_each(lambda inner: total.append(number * item * inner), range(7))

        for_each(middle, range(5))
        return sum(total)

    with HelpingPool(2) as pool:
        assert list(pool.map(outer, range(30))) == [number * 10 * 21 for number in range(30)]


@pytest.mark.parametrize("first_sleeps", [False, True])
def test_the_error_of_the_first_item_is_raised(first_sleeps: bool) -> None:
    begun: list[int] = []

    def fail(item: int) -> None:
        begun.append(item)
        time.sleep(0.02 * (item == 0) * first_sleeps)
        if item in {0, 1}:
            message = f"item {item}"
            raise ValueError(message)
        time.sleep(0.001)

    with HelpingPool(2) as pool:
        for _ in range(5):
            with pytest.raises(ValueError, match="item 0"):
                pool.submit(for_each, fail, range(1000)).result()
    assert len(begun) < 100


def test_a_pool_that_is_shut_down_finishes_what_has_begun() -> None:
    begun = threading.Event()
    done: list[int] = []

    def work(item: int) -> None:
        begun.set()
        time.sleep(0.002)
        done.append(item)

    pool = HelpingPool(2)
    future = pool.submit(for_each, work, range(30))
    begun.wait()
    pool.shutdown(wait=True, cancel_futures=True)
    assert future.done()
    assert sorted(done) == list(range(30))
