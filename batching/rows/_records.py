"""The buffer that rows wait in for their block: written one after the other, read in any order.

What a random read costs are the cache lines that it touches: two for a record of 128 bytes, five
for the same row in an array per field. But only compiled code takes records apart at no cost, so
without llvmlite there is an array per field. A buffer has the same rows in both cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rootml._internal.machine_code import is_there
from rootml._internal.types import Array
from rootml.batching.inputs._layout import Dense, Layout
from rootml.batching.kernels._gather import gather

_LINE = 64
_MAX_PADDING = 1 / 8
_TILE_BYTES = 1 << 18

Slots = npt.NDArray[np.int64]


class RowBuffer(Protocol):
    """Memory for rows.

    Attributes:
        dense: The fields, `(rows, ...)`, to write rows to.
    """

    dense: Dense

    def __len__(self) -> int:
        """Number of rows."""

    def gather(self, slots: Slots, into: Dense, at: int) -> None:
        """Copy the rows at `slots` to `into`, from row `at` on."""


@dataclass(frozen=True, slots=True)
class RecordLayout:
    """Where each field lies in a record of `size` bytes.

    Records begin at cache lines where at most an eighth of their memory is lost by that.

    Attributes:
        fields: Offset, dtype and shape of one row by key.
    """

    size: int
    fields: dict[str, tuple[int, np.dtype[Any], tuple[int, ...]]]

    @classmethod
    def of(cls, layout: Layout) -> RecordLayout:
        """The records of the dense fields: the numbers with most bytes first."""
        row = sorted(layout.dense_row().items(), key=lambda item: -item[1][0].itemsize)
        fields, at, widest = {}, 0, 1
        for key, (dtype, shape) in row:
            at = _up(at, dtype.itemsize)
            fields[key] = (at, dtype, shape)
            at += dtype.itemsize * math.prod(shape)
            widest = max(widest, dtype.itemsize)
        lines = _up(at, _LINE)
        return cls(lines if lines * (1 - _MAX_PADDING) <= at else _up(at, widest), fields)

    def allocate(self, rows: int) -> RowBuffer:
        """Uninitialised memory for rows."""
        return Records.allocate(self, rows) if is_there() and self.fields else Fields(self, rows)


class Records:
    """A `RowBuffer` in which all fields of a row lie side by side."""

    def __init__(self, layout: RecordLayout, memory: npt.NDArray[np.uint8]) -> None:
        self._layout = layout
        self._memory = memory
        self.dense: Dense = {
            key: _view(memory, offset, dtype, shape)
            for key, (offset, dtype, shape) in layout.fields.items()
        }

    @classmethod
    def allocate(cls, layout: RecordLayout, rows: int) -> Records:
        """From a cache line on."""
        memory = np.empty(rows * layout.size + _LINE, np.uint8)
        start = -memory.ctypes.data % _LINE
        return cls(layout, memory[start : start + rows * layout.size].reshape(rows, layout.size))

    def __len__(self) -> int:
        return len(self._memory)

    def gather(self, slots: Slots, into: Dense, at: int) -> None:
        out = {key: into[key][at : at + len(slots)] for key in self._layout.fields}
        fields = [
            (offset, dtype.itemsize * math.prod(shape))
            for offset, dtype, shape in self._layout.fields.values()
        ]
        if not gather(self._memory, fields, slots, list(out.values())):
            self._gather_by_numpy(slots, out)

    def _gather_by_numpy(self, slots: Slots, out: Dense) -> None:
        """Whole records to a tile that stays in the cache, then field by field."""
        step = max(1, _TILE_BYTES // self._layout.size)
        tile = np.empty((min(step, len(slots)), self._layout.size), np.uint8)
        records = Records(self._layout, tile).dense
        whole = np.dtype((np.void, self._layout.size))
        rows, taken = self._memory.view(whole).reshape(-1), tile.view(whole).reshape(-1)
        for first in range(0, len(slots), step):
            part = slots[first : first + step]
            _take(rows, part, taken[: len(part)])
            for key, array in out.items():
                array[first : first + len(part)] = records[key][: len(part)]


class Fields:
    """A `RowBuffer` with an array for each field."""

    def __init__(self, layout: RecordLayout, rows: int) -> None:
        self._rows = rows
        self.dense: Dense = {
            key: np.empty((rows, *shape), dtype)
            for key, (_, dtype, shape) in layout.fields.items()
        }

    def __len__(self) -> int:
        return self._rows

    def gather(self, slots: Slots, into: Dense, at: int) -> None:
        take_rows(self.dense, slots, into, at)


def take_rows(source: Dense, slots: Slots, into: Dense, at: int) -> None:
    """Copy rows of an array per field to `into`, from row `at` on."""
    for key, values in source.items():
        _take(values, slots, into[key][at : at + len(slots)])


def _take(values: Array, slots: Slots, out: Array) -> None:
    # mode "clip" because "raise" would go through a second buffer; the rows are all there
    np.take(values, slots, axis=0, out=out, mode="clip")


def _view(
    memory: npt.NDArray[np.uint8], offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Array:
    """One field of all records, `(records, *shape)`."""
    inner = np.empty(shape, dtype).strides
    whole = (len(memory), *shape)
    if not memory.size:
        return np.empty(whole, dtype)
    view: Array = np.ndarray(
        whole, dtype, buffer=memory.data, offset=offset, strides=(memory.shape[1], *inner)
    )
    return view


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit


__all__ = ["Fields", "RecordLayout", "Records", "RowBuffer", "take_rows"]
