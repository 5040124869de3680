"""`EventSample`: some of many events, drawn while they stream by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float

SIZE = 10_000
_SEED = 20_190_506


class EventSample:
    """At most `size` random events of a stream; the same ones however it is cut into chunks.

    Each event gets a random key; those with the smallest keys are kept.

    >>> sample = EventSample(size=3)
    >>> sample.add(np.arange(8.0)[:, None])
    >>> sample.add(np.arange(8.0, 10.0)[:, None])
    >>> events, rows = sample.result()
    >>> len(events), bool((rows[:, 0] == events).all())
    (3, True)
    """

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self._rng = np.random.default_rng(_SEED)
        self._seen = 0
        self._keys = np.empty(0)
        self._events = np.empty(0, np.int64)
        self._rows: Float | None = None

    def add(self, rows: Float) -> None:
        """Show the next events, `(events, inputs)`."""
        keys = self._rng.random(len(rows))
        full = len(self._keys) == self.size
        chosen = np.flatnonzero(keys < self._keys.max()) if full else np.arange(len(rows))
        self._keys = np.concatenate([self._keys, keys[chosen]])
        self._events = np.concatenate([self._events, self._seen + chosen])
        some = rows[chosen]
        self._rows = some if self._rows is None else np.concatenate([self._rows, some])
        self._seen += len(rows)
        if len(self._keys) > self.size:
            kept = np.argpartition(self._keys, self.size)[: self.size]
            self._keys, self._events = self._keys[kept], self._events[kept]
            self._rows = self._rows[kept]

    def result(self) -> tuple[npt.NDArray[np.int64], Float]:
        """Numbers of the events that were kept, rising, and their rows."""
        assert self._rows is not None
        order = np.argsort(self._events)
        return self._events[order], self._rows[order]
