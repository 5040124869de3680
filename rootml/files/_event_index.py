"""Where each event of some files is, by its identity; sorted on disk if there are many events.

::

    for each file, some clusters at a time: hash of the ids of its events
    up to 4 million events: sort hashes (with the number of each event) in memory
    more: scatter them by their first bits into files, sort one file after another,
          and map the sorted hashes into memory

Memory is that of one such file, 64 MB, whatever the number of events. Equal hashes are looked at:
equal ids are an error, and a chance coincidence leads to another seed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml._internal.event_hash import hash_ids
from rootml.errors import SchemaError
from rootml.partitions import join_clusters
from rootml.storage import Column, Table

Int64s = npt.NDArray[np.int64]

IN_MEMORY = 1 << 22
"""Events that are sorted at one go: 16 bytes each."""
_PART = 1 << 20
_PAIR = np.dtype([("hash", "<u8"), ("row", "<i8")])
_SEEDS = 8


class _Coincidence(Exception):
    """Two different events have the same hash."""


class EventIndex:
    """Finds events of several tables, which count as one after the other, by their ids.

    Raises:
        SchemaError: Two events have the same ids.
    """

    def __init__(self, tables: Sequence[Table], by: Sequence[str]) -> None:
        self.tables, self.by = tuple(tables), tuple(by)
        entries = [table.num_entries for table in tables]
        self.edges: Int64s = np.cumsum([0, *entries], dtype=np.int64)
        for self.seed in range(_SEEDS):
            try:
                self._hashes, self._rows = self._sorted()
            except _Coincidence:
                continue
            return
        message = f"{tables[0].where}: hashes of {', '.join(by)} coincide for {_SEEDS} seeds"
        raise SchemaError(message)

    def find(self, ids: Sequence[Column], count: int) -> Int64s:
        """The row of each event, -1 where none has its hash; the ids are to be compared then."""
        hashes = hash_ids(ids, count, seed=self.seed)
        order = np.argsort(hashes)  # neighbours in the index are looked up one after the other
        places = np.empty(count, np.int64)
        places[order] = np.searchsorted(self._hashes, hashes[order])
        rows = np.full(count, -1, np.int64)
        inside = np.flatnonzero(places < len(self._hashes))
        hits = inside[self._hashes[places[inside]] == hashes[inside]]
        rows[hits] = self._rows[places[hits]]
        return rows

    def place(self, row: int) -> tuple[Table, int]:
        """The table and the entry of a row."""
        number = int(np.searchsorted(self.edges, row, "right")) - 1
        return self.tables[number], row - int(self.edges[number])

    # --- building ---------------------------------------------------------------------------

    def _sorted(self) -> tuple[Any, Any]:
        total = int(self.edges[-1])
        if total <= IN_MEMORY:
            pairs = self._sort(np.concatenate([np.empty(0, _PAIR), *self._pairs()]))
            return pairs["hash"].copy(), pairs["row"].copy()
        bits = (2 * total // IN_MEMORY).bit_length()
        buckets = [tempfile.TemporaryFile() for _ in range(1 << bits)]  # noqa: SIM115 - closed below
        try:
            self._scatter(buckets, bits)
            return self._merge(buckets)
        finally:
            for bucket in buckets:
                bucket.close()

    def _pairs(self) -> Iterator[npt.NDArray[Any]]:
        """Hash and row of all events, some clusters at a time."""
        for table, first in zip(self.tables, self.edges.tolist(), strict=False):
            for start, stop in join_clusters(table.clusters(), 0, table.num_entries, _PART):
                columns = table.read(self.by, start, stop)
                pairs = np.empty(stop - start, _PAIR)
                ids = [columns[name] for name in self.by]
                pairs["hash"] = hash_ids(ids, stop - start, seed=self.seed)
                pairs["row"] = np.arange(first + start, first + stop)
                yield pairs

    def _scatter(self, buckets: Sequence[IO[bytes]], bits: int) -> None:
        for pairs in self._pairs():
            numbers = (pairs["hash"] >> np.uint64(64 - bits)).astype(np.int64)
            order = np.argsort(numbers, kind="stable")
            ends = np.cumsum(np.bincount(numbers, minlength=len(buckets)))
            for bucket, part in zip(buckets, np.split(pairs[order], ends[:-1]), strict=True):
                bucket.write(part.tobytes())

    def _merge(self, buckets: Sequence[IO[bytes]]) -> tuple[Any, Any]:
        """The buckets, each sorted, one after the other; in files that have no name."""
        with tempfile.TemporaryFile() as hashes, tempfile.TemporaryFile() as rows:
            for bucket in buckets:
                bucket.seek(0)
                pairs = self._sort(np.frombuffer(bucket.read(), _PAIR))
                hashes.write(pairs["hash"].tobytes())
                rows.write(pairs["row"].tobytes())
            hashes.flush()
            rows.flush()
            total = int(self.edges[-1])
            return (
                np.memmap(hashes, "<u8", "r", shape=(total,)),
                np.memmap(rows, "<i8", "r", shape=(total,)),
            )

    def _sort(self, pairs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        pairs = pairs[np.argsort(pairs["hash"], kind="stable")]
        equal = np.flatnonzero(pairs["hash"][1:] == pairs["hash"][:-1])
        for number in equal.tolist():
            self._compare(int(pairs["row"][number]), int(pairs["row"][number + 1]))
        return pairs

    def _compare(self, one: int, other: int) -> None:
        """Two events of the same hash: are they the same?"""
        places = [self.place(row) for row in (one, other)]
        ids = [self._ids(table, entry) for table, entry in places]
        if ids[0] != ids[1]:
            raise _Coincidence
        named = ", ".join(f"{name} = {each!r}" for name, each in zip(self.by, ids[0], strict=True))
        (first, entry), (second, again) = places
        message = (
            f"the event {named} is there twice: entry {entry:,} of {first.where} and entry "
            f"{again:,} of {second.where}; by={list(self.by)} must tell events of friends apart"
        )
        raise SchemaError(message)

    def _ids(self, table: Table, entry: int) -> list[Any]:
        columns = table.read(self.by, entry, entry + 1)
        return [columns[name].tolist()[0] for name in self.by]


def same_ids(one: Sequence[Column], other: Sequence[Column]) -> npt.NDArray[np.bool_]:
    """Which events of two lists have the same ids."""
    equal = np.ones(len(one[0]), bool)
    for mine, theirs in zip(one, other, strict=True):
        if isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray):
            equal &= mine == theirs
        elif isinstance(mine, np.ndarray) or isinstance(theirs, np.ndarray):
            equal[:] = False
        else:
            equal &= ak.to_numpy(mine == theirs)
    return equal
