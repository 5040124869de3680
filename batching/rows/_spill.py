"""Mode (b), the two-pass shuffle: rows scattered over shards on disk, shards then read whole.

Pass 1 reads the dataset once, in order, and sends every row to a shard chosen by a uniform random
permutation of all rows (so the shards have equal sizes, known beforehand). Later passes open a few
shards at a time and draw from them. Each epoch by itself is a uniform permutation of all rows;
rows of one shard stay in one shard from epoch to epoch.

The two-pass idea: P. Sanders, "Random permutations on distributed, external and hierarchical
memory", Inf. Proc. Lett. 67 (1998) 305. All I/O is sequential within a shard.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Allocate
from rootml._internal.sizes import format_bytes
from rootml.batching.inputs._batch import RaggedArray
from rootml.batching.inputs._layout import Dense, Layout, Ragged, join_ragged
from rootml.batching.order._rng import Purpose, draw_counts, generator
from rootml.batching.rows._units import RowsUnit, Unit, UnitSource
from rootml.errors import ChangedFileError, UsageError

MapUnits = Callable[[Callable[[int], None], Iterable[int]], None]
"""Calls a function for each unit, in threads, with progress."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The rows that one unit sent to one shard: where its bytes are."""

    offset: int
    rows: int
    list_sizes: tuple[int, ...]


class Spill:
    """Rows of a selection on disk, in random shards; a `UnitSource` of shards.

    The folder is a private new subfolder of `cache` (mode 0700), removed by `close`, when the
    object goes, and at the end of the process that made it; never by a process that was forked.
    """

    def __init__(
        self, layout: Layout, counts: npt.NDArray[np.int64], cache: Path, *, shards: int, seed: int
    ) -> None:
        self._layout = layout
        total = int(counts.sum())
        self.counts = np.full(shards, total // shards, dtype=np.int64)
        self.counts[: total % shards] += 1
        self._plan = _scatter_plan(counts, self.counts, seed)
        self._seed = seed
        self._chunks: list[dict[int, _Chunk]] = [{} for _ in range(shards)]
        self._ends = [0] * shards
        self._lock = threading.Lock()
        needed = total * layout.row_bytes
        self.folder = _private_folder(cache, needed)
        self._finalizer = weakref.finalize(self, _remove, self.folder, os.getpid())

    def __getstate__(self) -> dict[str, Any]:
        hidden = {"_lock", "_finalizer"}
        return {key: value for key, value in self.__dict__.items() if key not in hidden}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Remove the files."""
        if "_finalizer" in self.__dict__:
            self._finalizer()

    def write(self, source: UnitSource, map_units: MapUnits) -> None:
        """Pass 1: read all units and scatter their rows."""
        try:
            map_units(functools.partial(self._scatter, source), range(len(self._plan)))
        except BaseException:
            self.close()
            raise

    def _scatter(self, source: UnitSource, number: int) -> None:
        counts = self._plan[number]
        if not counts.any():
            return
        rows = _as_rows(self._layout, source.load(number))  # the columns are let go here
        labels = np.repeat(np.arange(len(counts), dtype=np.uint32), counts)
        generator(self._seed, 0, Purpose.SPILL, number + 1).shuffle(labels)
        order = np.argsort(labels, kind="stable")
        ends = np.cumsum(counts)
        for shard in np.flatnonzero(counts):
            mine = order[ends[shard] - counts[shard] : ends[shard]]
            self._append(int(shard), number, rows.take(mine))

    def _append(self, shard: int, number: int, rows: RowsUnit) -> None:
        lists = rows.ragged(0, rows.num_rows)
        parts: list[npt.NDArray[Any]] = list(rows.dense.values())
        for array in lists.values():
            parts += [array.offsets, array.values]
        data = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        sizes = tuple(len(array.values) for array in lists.values())
        with self._lock:
            offset = self._ends[shard]
            self._ends[shard] += len(data)
            self._chunks[shard][number] = _Chunk(offset, rows.num_rows, sizes)
        file = os.open(self._path(shard), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            written = os.pwrite(file, data, offset)
        finally:
            os.close(file)
        if written != len(data):
            message = f"cache folder {str(self.folder)!r}: the disk is full"
            raise UsageError(message)

    def _path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:05d}"

    def load(self, unit: int, allocate: Allocate = np.empty) -> Unit:
        """Pass 2: one shard; its rows do not depend on the order in which threads wrote them."""
        try:
            data = self._path(unit).read_bytes()
        except FileNotFoundError as error:
            message = f"the shuffle cache {str(self.folder)!r} was removed while in use"
            raise ChangedFileError(message) from error
        rows = int(self.counts[unit])
        dense = self._layout.allocate(rows, allocate)
        parts: list[Ragged] = []
        at = 0
        for _, chunk in sorted(self._chunks[unit].items()):
            parts.append(self._read(chunk, data, dense, at))
            at += chunk.rows
        return RowsUnit(rows, dense, join_ragged(parts))

    def describe(self, unit: int) -> str:
        """Where the shard is, for messages."""
        return str(self._path(unit))

    def _read(self, chunk: _Chunk, data: bytes, dense: Dense, at: int) -> Ragged:
        offset = chunk.offset

        def following(dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
            nonlocal offset
            size = int(np.prod(shape, dtype=np.int64))
            values = np.frombuffer(data, dtype, size, offset).reshape(shape)
            offset += size * dtype.itemsize
            return values

        for key, (dtype, shape) in self._layout.dense_row().items():
            dense[key][at : at + chunk.rows] = following(dtype, (chunk.rows, *shape))
        lists: Ragged = {}
        for field, size in zip(self._layout.ragged, chunk.list_sizes, strict=True):
            offsets = following(np.dtype(np.int64), (chunk.rows + 1,))
            lists[field.key] = RaggedArray(
                following(field.dtype, (size, len(field.columns))), offsets
            )
        return lists


def _scatter_plan(
    counts: npt.NDArray[np.int64], shards: npt.NDArray[np.int64], seed: int
) -> list[npt.NDArray[np.int64]]:
    """How many rows each unit sends to each shard."""
    rng = generator(seed, 0, Purpose.SPILL)
    room = shards.copy()
    plan = []
    for rows in counts.tolist():
        plan.append(draw_counts(rng, room, rows))
        room = room - plan[-1]
    return plan


def _as_rows(layout: Layout, unit: Unit) -> RowsUnit:
    dense = layout.allocate(unit.num_rows)
    unit.fill(0, unit.num_rows, dense, 0)
    return RowsUnit(unit.num_rows, dense, unit.ragged(0, unit.num_rows))


def _private_folder(cache: Path, needed: int) -> Path:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free
        if free < needed:
            message = (
                f"cache={str(cache)!r}: the shuffled rows need {format_bytes(needed)} on disk, "
                f"{format_bytes(free)} are free"
            )
            raise UsageError(message)
        return Path(tempfile.mkdtemp(prefix="rootml-shuffle-", dir=cache))
    except OSError as error:
        message = f"cache={str(cache)!r}: cannot make a folder there: {error}"
        raise UsageError(message) from error


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
