"""How many items make a task of a cluster: few enough to be shared, enough to be worth the trip.

A task costs the scheduler some milliseconds, whatever is in it, and thousands of small files are
thousands of items of one or two. So neighbours go together, in order: as many as take a quarter of
a second, as long as there is enough left for all workers, and as long as their results are no
larger than that of one whole partition::

    seconds = min(0.25, seconds left / workers), but at least 0.05
    bytes   = 16 MB
    items   = a few at first, twice as many with each task that is done

What an item takes is guessed from its entries, and the guess is corrected by what was measured.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootml.dataset._tasks import SelectedPartition
from rootml.partitions import DEFAULT_BYTES, Partition

_LONG, _SHORT = 0.25, 0.05
_MARGIN = 1.01
MOST_ITEMS = 256
_OPENING, _ENTRY = 2e-3, 1e-7
_ROW_BYTES = 100
_FORGET = 0.5


@dataclass(frozen=True, slots=True)
class Cost:
    """What an item is expected to take.

    Attributes:
        seconds: On one core.
        nbytes: Of the result.
        first: How many of its kind may go together before one was measured.
    """

    seconds: float
    nbytes: float = 0.0
    first: int = 1


_UNKNOWN = Cost(_LONG)


def cost_of(item: Any) -> Cost:
    """A guess; an item of which nothing is known is worth a task of its own."""
    if isinstance(item, Partition):  # a scan: bits come back
        return Cost(_OPENING + _ENTRY * item.num_entries, item.num_entries / 8, MOST_ITEMS // 4)
    if isinstance(item, SelectedPartition):  # rows come back
        entries = item.partition.num_entries
        rows = entries if item.bits is None else int(np.unpackbits(item.bits).sum())
        return Cost(_OPENING + _ENTRY * entries, _ROW_BYTES * rows, 4)
    inner = getattr(item, "chosen", None)
    parts = inner if isinstance(inner, list) else [inner]
    if parts and all(isinstance(part, SelectedPartition) for part in parts):
        costs = [cost_of(part) for part in parts]
        return Cost(sum(cost.seconds for cost in costs), sum(cost.nbytes for cost in costs), 4)
    return _UNKNOWN


class TaskSizer:
    """The sizes of groups; learns from what is done. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._guessed = self._measured = 0.0
        self._largest = 0.0
        self._most = 0

    def learn(self, costs: Sequence[Cost], seconds: float, nbytes: int) -> None:
        """Take note of what items of these costs took together."""
        with self._lock:
            self._guessed = _FORGET * self._guessed + sum(cost.seconds for cost in costs)
            self._measured = _FORGET * self._measured + seconds
            self._largest = max(self._largest, nbytes / len(costs))
            self._most = min(MOST_ITEMS, max(self._most, 2 * len(costs)))

    def take(self, costs: Sequence[Cost], left: float, width: int) -> int:
        """How many of the next items, of these costs, go together.

        Args:
            left: The sum of the costs of all that are left, in seconds as guessed.
            width: Workers.
        """
        with self._lock:
            speed = self._measured / self._guessed if self._guessed else 1.0
            largest, most = self._largest, self._most or costs[0].first
        longest = _MARGIN * max(_SHORT, min(_LONG, speed * left / max(1, width)))
        seconds = nbytes = 0.0
        for number, cost in enumerate(costs):
            seconds += speed * cost.seconds
            nbytes += max(largest, cost.nbytes)
            if number and (number == most or seconds > longest or nbytes > DEFAULT_BYTES):
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
