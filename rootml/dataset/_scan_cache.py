"""Remembers what a scan has found, for all datasets that select the same events."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from rootml.dataset._identity import selection_key
from rootml.dataset._reader import Reader
from rootml.dataset._selection import Selection, SelectionIndex, load_selection
from rootml.execution import ProcessLock
from rootml.partitions import DEFAULT_BYTES


class ScanCache:
    """The scan of a selection, done once for all datasets that differ in their columns only."""

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._selection: Selection | None = None
        self._indices: dict[Any, SelectionIndex] = {}

    def index(
        self,
        reader: Reader,
        target_bytes: int | None,
        *,
        saved: str | os.PathLike[str] | None,
        progress: bool | None,
        threads: int | None,
    ) -> SelectionIndex:
        """The selection over partitions of `target_bytes`; see `Dataset.scan`."""
        size = DEFAULT_BYTES if target_bytes is None else target_bytes
        columns = tuple((sample.outputs, sample.definitions) for sample in reader.samples)
        with self._lock:
            index = self._indices.get((columns, size))
            if index is None:
                divide = partial(reader.partitions, size, threads=threads)
                chosen = all(names is not None for names, _ in columns)
                known = divide() if chosen else None  # else there may be a thousand columns
                if self._selection is None:
                    self._selection = _find(reader, saved, progress, threads)
                index = SelectionIndex(self._selection, divide, known)
                self._indices[columns, size] = index
            if saved is not None and not os.path.exists(saved):  # noqa: PTH110 - takes both
                index.save(saved)
        return index

    @property
    def num_rows(self) -> int | None:
        """Selected events; None before the first scan."""
        return None if self._selection is None else self._selection.num_rows

    def owns(self, index: SelectionIndex) -> bool:
        """Whether an index is known to be one of this selection."""
        return self._selection is not None and index._selection is self._selection


def _find(
    reader: Reader,
    saved: str | os.PathLike[str] | None,
    progress: bool | None,
    threads: int | None,
) -> Selection:
    reader.ranges(threads=threads)  # opens all files
    key = selection_key(reader)
    if saved is not None and os.path.exists(saved):  # noqa: PTH110 - takes both
        return load_selection(saved, reader, key)
    fingerprints = {
        path: fingerprint
        for sample in reader.samples
        for info in sample.files.infos(threads=threads)
        for path, fingerprint in info.fingerprints
    }
    return Selection.scan(reader, key, fingerprints, progress=progress, threads=threads)
