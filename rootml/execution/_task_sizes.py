"""How many items make a task of a cluster: few enough to be shared, enough to be worth the trip.

A task costs the scheduler some milliseconds, whatever is in it, and thousands of small files are
thousands of items of one or two. So neighbours go together, in order: as many as take a quarter of
a second, as long as there is enough left for all workers, and as long as their results are no
larger than that of one whole partition::

    seconds = min(0.25, seconds left / workers), but at least 0.05
    bytes   = 16 MB
    items   = a few at first, twice as many with each task that is done

An item says what it is expected to take (`Cost`); measured times and sizes correct that.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_ITEMS = 256
_MAX_SECONDS, _MIN_SECONDS = 0.25, 0.05
_MAX_BYTES = 16_000_000
_TOLERANCE = 1.01
_DECAY = 0.5


@dataclass(frozen=True, slots=True)
class Cost:
    """What an item of work is expected to take; an item has it as its attribute `cost`.

    Attributes:
        seconds: Time on one core.
        nbytes: Size of the result.
        group: How many such items may share a task before one of them was measured.
    """

    seconds: float
    nbytes: float = 0.0
    group: int = 1

    @classmethod
    def total(cls, costs: Iterable[Cost]) -> Cost:
        """The cost of several items that are done together; nothing costs as much as unknown.

        >>> Cost.total([Cost(1.0, 10.0, 4), Cost(2.0, 20.0, 64)])
        Cost(seconds=3.0, nbytes=30.0, group=4)
        """
        found = list(costs)
        if not found:
            return _UNKNOWN
        return cls(
            sum(cost.seconds for cost in found),
            sum(cost.nbytes for cost in found),
            min(cost.group for cost in found),
        )


_UNKNOWN = Cost(_MAX_SECONDS)


def cost_of(item: Any) -> Cost:
    """What an item says of itself; one that says nothing gets a task of its own."""
    cost = getattr(item, "cost", None)
    return cost if isinstance(cost, Cost) else _UNKNOWN


class TaskSizer:
    """Decides how many items make a task, from the tasks that are done; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expected = self._measured = 0.0
        self._largest = 0.0
        self._max_items = 0

    def learn(self, costs: Sequence[Cost], seconds: float, nbytes: int) -> None:
        """Record what items of these costs took together."""
        with self._lock:
            self._expected = _DECAY * self._expected + sum(cost.seconds for cost in costs)
            self._measured = _DECAY * self._measured + seconds
            self._largest = max(self._largest, nbytes / len(costs))
            self._max_items = min(MAX_ITEMS, max(self._max_items, 2 * len(costs)))

    def take(self, costs: Sequence[Cost], left: float, workers: int) -> int:
        """How many of the next items, of these costs, make the next task.

        Args:
            left: The sum of the expected seconds of all items that are left.
        """
        with self._lock:
            speed = self._measured / self._expected if self._expected else 1.0
            largest, max_items = self._largest, self._max_items or costs[0].group
        seconds_left = speed * left / max(1, workers)
        longest = _TOLERANCE * max(_MIN_SECONDS, min(_MAX_SECONDS, seconds_left))
        seconds = nbytes = 0.0
        for number, cost in enumerate(costs):
            seconds += speed * cost.seconds
            nbytes += max(largest, cost.nbytes)
            if number and (number == max_items or seconds > longest or nbytes > _MAX_BYTES):
                return number
        return len(costs)


def size_of(result: Any) -> int:
    """Bytes of the arrays in a result, about."""
    nbytes = getattr(result, "nbytes", None)
    if isinstance(nbytes, (int, np.integer)):
        return int(nbytes)
    if isinstance(result, Mapping):
        return sum(map(size_of, result.values()))
    if isinstance(result, (list, tuple)):
        return sum(map(size_of, result))
    if dataclasses.is_dataclass(result):
        return sum(size_of(getattr(result, each.name)) for each in dataclasses.fields(result))
    return 0
