"""Remembers what a scan has found, for all datasets that select the same events."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rootml._identity import selection_key
from rootml._reader import Reader
from rootml._selection import Selection, SelectionIndex, load_selection
from rootml._threads import ProcessLock
from rootml.partitions import DEFAULT_BYTES, Partition


class Scans:
    """The scan of a selection, done once for all datasets that differ in their columns only."""

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._selection: Selection | None = None
        self._indices: dict[tuple[Partition, ...], SelectionIndex] = {}

    def index(
        self,
        reader: Reader,
        partitions: Sequence[Partition],
        *,
        saved: str | os.PathLike[str] | None,
        progress: bool | None,
        threads: int | None,
    ) -> SelectionIndex:
        """The selection over `partitions`; see `Dataset.scan`."""
        known = tuple(partitions)
        with self._lock:
            if self._selection is None:
                self._selection = _find(reader, saved, progress, threads)
            if known not in self._indices:
                self._indices[known] = SelectionIndex(self._selection, known)
            index = self._indices[known]
            if saved is not None and not os.path.exists(saved):  # noqa: PTH110 - takes both
                index.save(saved)
        return index

    def owns(self, index: SelectionIndex) -> bool:
        """Whether an index is known to be one of this selection."""
        return self._selection is not None and index._selection is self._selection


def _find(
    reader: Reader,
    saved: str | os.PathLike[str] | None,
    progress: bool | None,
    threads: int | None,
) -> Selection:
    key = selection_key(reader)
    if saved is not None and os.path.exists(saved):  # noqa: PTH110 - takes both
        reader.partitions(DEFAULT_BYTES, threads=threads)
        return load_selection(saved, reader, key)
    prints = {
        path: mark
        for sample in reader.samples
        for info in sample.files.infos(threads=threads)
        for path, mark in info.prints
    }
    return Selection.scan(reader, key, prints, progress=progress, threads=threads)
