"""Rows of events in blocks: what the compiled sums read.

``blocks[b, row, i]`` is event ``256 b + i``: a block stays in the cache while value and gradient
are summed, and each row is read at one go. Behind the last event there are zeros. Large stores are
float32 (ratios of networks are no better), and very large ones are in a file that only this
process sees, mapped into memory; sums are float64 always.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float
from rootml.errors import UsageError
from rootml.sbi.likelihood._columns import RatioColumns, are_weights
from rootml.sbi.likelihood._origin import Origin

BLOCK = 256
SINGLE = 2**21  # more numbers than this are kept as float32
MAPPED = 2**30  # more bytes than this are kept in a file
_PIECE = 64  # blocks that are filled at one go
_LEAST = 16  # blocks of a part of the events at least

Blocks: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Fill: TypeAlias = Callable[[slice], Float]


class Store:
    """Events in blocks.

    Args:
        blocks: ``(block, row, 256)``, zeros behind the last event.
        num_events: How many of them are events.
    """

    def __init__(self, blocks: Blocks, num_events: int) -> None:
        self.blocks = blocks
        self.num_events = num_events

    @classmethod
    def filled(cls, fill: Fill, *, rows: int, events: int, double: bool) -> Store:
        """A store whose rows are given piece by piece.

        Args:
            fill: The rows of a slice of the events, ``(row, event)``.
            double: float64 for any size.

        Raises:
            UsageError: There is no room for its file.
        """
        single = not double and rows * events > SINGLE
        shape = (-(-events // BLOCK), rows, BLOCK)
        blocks = _space(shape, np.dtype(np.float32 if single else np.float64))
        store = cls(blocks, events)
        for first in range(0, len(blocks), _PIECE):
            start, stop = first * BLOCK, min((first + _PIECE) * BLOCK, events)
            store._put(first, fill(slice(start, stop)))
        return store

    def _put(self, first: int, matrix: Float) -> None:
        """Fill blocks from number `first` on with ``(row, event)``."""
        whole, rest = divmod(matrix.shape[1], BLOCK)
        rows = len(matrix)
        if whole:
            given = matrix[:, : whole * BLOCK].reshape(rows, whole, BLOCK)
            self.blocks[first : first + whole] = given.transpose(1, 0, 2)
        if rest:
            self.blocks[first + whole, :, :rest] = matrix[:, whole * BLOCK :]

    def __reduce__(self) -> tuple[Any, ...]:
        # a process that gets it maps large ones, too; they travel in pieces that fit in memory
        step = max(1, MAPPED // max(self.blocks[:1].nbytes, 1))
        pieces = [np.asarray(self.blocks[i : i + step]) for i in range(0, len(self.blocks), step)]
        return _from_pieces, (pieces, self.blocks.shape, self.blocks.dtype.str, self.num_events)

    @property
    def shape(self) -> tuple[int, int]:
        """``(row, event)``, as of the matrix that this stands for."""
        return int(self.blocks.shape[1]), self.num_events

    @property
    def single(self) -> bool:
        """Whether numbers are rounded to float32."""
        return bool(self.blocks.dtype == np.float32)

    def matrix(self, events: slice | npt.NDArray[np.int64]) -> Float:
        """Some events as float64, ``(row, event)``."""
        if isinstance(events, slice):
            events = np.arange(*events.indices(self.num_events))
        found = self.blocks[events // BLOCK, :, events % BLOCK]
        return np.ascontiguousarray(found.T, np.float64)

    def pieces(self, size: int) -> Iterator[Float]:
        """All events as float64, `size` at a time."""
        for start in range(0, self.num_events, size):
            yield self.matrix(slice(start, start + size))

    def take(self, events: npt.NDArray[np.int64]) -> Store:
        """A store of these events, of the same type."""
        blocks = np.zeros((-(-len(events) // BLOCK), self.blocks.shape[1], BLOCK),
                          self.blocks.dtype)  # fmt: skip
        for b in range(len(blocks)):
            ours = events[b * BLOCK : (b + 1) * BLOCK]
            blocks[b, :, : len(ours)] = self.blocks[ours // BLOCK, :, ours % BLOCK].T
        return Store(blocks, len(events))

    def every(self, step: int) -> Store:
        """Every `step`-th block, in the same memory; those between are rows that nobody reads."""
        number, rows = len(self.blocks) // step, self.blocks.shape[1]
        whole = number - (number * step * BLOCK > self.num_events)
        blocks = self.blocks[: whole * step].reshape(whole, step * rows, BLOCK)
        return Store(blocks, whole * BLOCK)

    def first_rows(self, rows: int) -> Float:
        """The first rows of all events as float64, ``(row, event)``."""
        found = self.blocks[:, :rows].transpose(1, 0, 2).reshape(rows, -1)
        return np.asarray(found[:, : self.num_events], np.float64)


@dataclass(frozen=True, slots=True)
class Events:
    """Events with their weights: rows for the sums, and the columns they were made of.

    Attributes:
        rows: A `Store` for the compiled sums, ``(row, event)`` for NumPy's.
        weights: One per event; None: all 1.
        columns: None: the rows are float32 and all that is kept.
        asimov: Whether the weights are expected counts.
        origin: How the columns were made.
    """

    rows: Store | Float
    weights: Float | None
    columns: RatioColumns | None
    asimov: bool = False
    origin: Origin = field(default_factory=Origin)

    @property
    def num_events(self) -> int:
        """How many there are."""
        return int(self.rows.shape[1])

    @property
    def sum_of_weights(self) -> float:
        """How many there are, weighted."""
        return float(self.num_events) if self.weights is None else float(self.weights.sum())

    def every(self, step: int) -> Events | None:
        """Every `step`-th block of them, with the weights of all; None: that leaves too few."""
        if not isinstance(self.rows, Store) or len(self.rows.blocks) <= step * _LEAST:
            return None
        rows = self.rows.every(step)
        weights = np.ones(rows.num_events)
        if self.weights is not None:
            whole = rows.num_events * step
            weights = self.weights[:whole].reshape(-1, step, BLOCK)[:, 0].ravel()
        share = float(weights.sum()) * step / self.sum_of_weights
        if not 0.5 < share < 2.0:  # weights of both signs: these do not stand for all
            return None
        return Events(rows, weights * (step / share), None)

    @property
    def weighted(self) -> bool:
        """Whether the events have weights that are not counts."""
        return are_weights(self.weights, asimov=self.asimov)

    def reweighted(self, weights: Float | None, *, asimov: bool = False) -> Events:
        """The same rows with other weights."""
        columns = self.columns
        if columns is not None:
            columns = columns.with_weights(weights, asimov=asimov)
        return Events(self.rows, weights, columns, asimov, self.origin)

    def drawn(self, events: npt.NDArray[np.int64]) -> Events:
        """Some of the events, without weights."""
        columns = None if self.columns is None else self.columns.with_weights(None).take(events)
        origin = Origin(self.origin.dropped)
        if isinstance(self.rows, Store):
            return Events(self.rows.take(events), None, columns, origin=origin)
        rows = np.ascontiguousarray(self.rows[:, events])
        return Events(rows, None, columns, origin=origin)


def _from_pieces(
    pieces: list[Blocks], shape: tuple[int, int, int], dtype: str, num_events: int
) -> Store:
    """A store that another process sent."""
    if len(pieces) == 1:
        return Store(pieces[0], num_events)
    blocks, first = _space(shape, np.dtype(dtype)), 0
    while pieces:
        piece = pieces.pop(0)
        blocks[first : first + len(piece)] = piece
        first += len(piece)
    return Store(blocks, num_events)


def _space(shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Blocks:
    """Zeros, in memory or in a file without a name."""
    size = int(np.prod(shape)) * dtype.itemsize
    if size <= MAPPED:
        return np.zeros(shape, dtype)
    folder = tempfile.gettempdir()
    with tempfile.TemporaryFile(prefix="rootml-events-", dir=folder) as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            message = (
                f"{folder} has no room for {size / 1e9:.1f} GB of density ratios of "
                f"{shape[0] * BLOCK:,} events ({error.strerror}): set TMPDIR to a folder that has"
            )
            raise UsageError(message) from error
        mapped: Blocks = np.memmap(file, dtype, "r+", shape=shape)
        return mapped
