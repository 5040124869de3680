"""Columns to rows: the numbers of every event side by side, checked on the way.

Columns whose places in a row are neighbours in memory, such as features, target and weight of one
record, are written by one call of the compiled loop; NumPy writes what it does not fit, in tiles
that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rootml._internal.machine_code import address
from rootml._internal.types import Array
from rootml.batching.inputs._cast import all_finite
from rootml.batching.kernels._transpose import Columns, takes, transpose

Strips = tuple[Array, ...]
"""Columns of a matrix, as arrays `(columns, events)` of neighbours in memory."""

_TILE_ROWS, _MIN_TILE_ROWS, _TILE_BYTES = 8192, 1024, 1 << 20
"""Rows written at a time by NumPy, and their bytes: they stay in the second-level cache."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some columns of all rows.

    Attributes:
        strips: The columns, over the events of a unit.
        rows: `(rows, columns)`, to write to.
        mend: Is called if some of `rows` may be NaN or infinite; None: nobody minds.
    """

    strips: Strips
    rows: Array
    mend: Callable[[Array], None] | None


def write(parts: Sequence[Part], first: int, *, spare: bool = False) -> None:
    """Write the rows of each part, from event `first` of its columns on.

    Args:
        spare: Whether nothing but these parts is in the records that they lie in.
    """
    for run in (runs := _runs(parts)):
        finite = _compiled(run, first, spare=spare and len(runs) == 1)
        for part in run:
            looked = _by_numpy(part, first) if finite is None else finite
            if not looked and part.mend is not None:
                part.mend(part.rows)


def _runs(parts: Sequence[Part]) -> list[list[Part]]:
    """Parts that are neighbours in memory, together."""
    runs: list[list[Part]] = []
    for part in parts:
        if runs and _is_behind(runs[-1][-1], part):
            runs[-1].append(part)
        else:
            runs.append([part])
    return runs


def _is_behind(one: Part, other: Part) -> bool:
    """Whether one call may write both: the same records, in which `other` follows `one`."""
    fits = all(takes(strip.dtype) for part in (one, other) for strip in part.strips)
    mine, theirs = one.rows, other.rows
    return (
        fits
        and mine.dtype == theirs.dtype == np.float32
        and mine.strides[0] == theirs.strides[0]
        and mine.strides[0] >= 4 * (mine.shape[1] + theirs.shape[1])
        and address(theirs) == address(mine) + 4 * mine.shape[1]
    )


def _compiled(run: Sequence[Part], first: int, *, spare: bool) -> bool | None:
    """Whether all rows of the run are finite; None: nothing was written."""
    columns = Columns.of([strip for part in run for strip in part.strips])
    if columns is None:
        return None
    rows, width = run[0].rows, sum(part.rows.shape[1] for part in run)
    if len(run) > 1:
        shape, strides = (len(rows), width), (rows.strides[0], 4)
        rows = np.lib.stride_tricks.as_strided(rows, shape, strides)
    return transpose(columns, first, rows, spare=spare)


def _by_numpy(part: Part, first: int) -> bool:
    """Write tile by tile: whether all of it is finite, if anybody minds."""
    rows, finite = part.rows, True
    step = tile_rows(rows.shape[1] * rows.itemsize)
    minds = part.mend is not None and any(strip.dtype.kind == "f" for strip in part.strips)
    for low in range(0, len(rows), step):
        tile, at = rows[low : low + step], 0
        for strip in part.strips:
            tile[:, at : at + len(strip)] = strip[:, first + low : first + low + len(tile)].T
            at += len(strip)
        finite = finite and (not minds or all_finite(tile))
    return finite


def tile_rows(size: int) -> int:
    """Rows of `size` bytes that NumPy writes at a time."""
    return max(_MIN_TILE_ROWS, min(_TILE_ROWS, _TILE_BYTES // max(1, size)))


__all__ = ["Part", "Strips", "tile_rows", "write"]
