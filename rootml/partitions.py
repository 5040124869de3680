"""Ranges of entries to read at one go: aligned to clusters, of about equal decoded size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rootml.execution import Cost

__all__ = ["DEFAULT_BYTES", "Partition"]

DEFAULT_BYTES = 16_000_000
"""Decoded size to which clusters are joined: large enough that the overhead of a read does not
count, small enough that one per thread fits into a cache or two and many into memory."""
OPEN_SECONDS, ENTRY_SECONDS = 2e-3, 1e-7
"""What a file and an entry of it are expected to take; measured times correct it."""


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """Entries ``[start, stop)`` of one tree of one file.

    Attributes:
        sample: Number of the sample in ``Dataset.samples``.
        file: Number of the file in the sample.
        path: The file.
        tree: The tree in it, "" for formats of one table per file.
        start, stop: Entry numbers in that file.

    >>> Partition(0, 0, "f.root", "Events", 100, 300).num_entries
    200
    """

    sample: int
    file: int
    path: str
    tree: str
    start: int
    stop: int

    @property
    def num_entries(self) -> int:
        """Entries, selected or not."""
        return self.stop - self.start

    @property
    def cost(self) -> Cost:
        """What a scan is expected to take; its result is one bit per entry."""
        return Cost(OPEN_SECONDS + ENTRY_SECONDS * self.num_entries, self.num_entries / 8, 64)

    @property
    def where(self) -> str:
        """``"f.root:Events, entries 100 to 300"``, for messages."""
        name = f"{self.path}:{self.tree}" if self.tree else self.path
        return f"{name}, entries {self.start:,} to {self.stop:,}"


def join_clusters(
    bounds: npt.NDArray[np.int64], start: int, stop: int, most: int
) -> list[tuple[int, int]]:
    """Cut ``[start, stop)`` at cluster boundaries into ranges of at most `most` entries.

    A single cluster that is larger stays whole: half of it costs as much to decode. The result
    depends on the arguments only.

    >>> join_clusters(np.array([0, 10, 20, 30, 90, 100]), 0, 100, 25)
    [(0, 20), (20, 30), (30, 90), (90, 100)]
    >>> join_clusters(np.array([0, 10, 20, 30]), 5, 12, 100)
    [(5, 12)]
    """
    ranges = []
    at = start
    while at < stop:
        end = at + max(1, most)
        if end < stop:
            inner = int(np.searchsorted(bounds, end, side="right")) - 1
            end = int(bounds[inner] if bounds[inner] > at else bounds[inner + 1])
        end = min(end, stop)
        ranges.append((at, end))
        at = end
    return ranges
