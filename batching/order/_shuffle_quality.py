"""How well an epoch mixes the rows, measured on its order alone (nothing is read)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rootml.batching.order._schedule import Schedule

MAX_BLOCKS = 4000
"""Epochs of more blocks than this (65 million rows) are not measured: it would take seconds."""


@dataclass(frozen=True, slots=True)
class ShuffleQuality:
    """How well an epoch mixes the rows.

    Attributes:
        correlation: Between the position of a row in the dataset and its position in the epoch; 0
            for a perfect shuffle, 1 for reading in order.
        spread: Standard deviation of the fraction of a source per block, divided by that of
            independent draws; the largest of all sources. 1 is perfect, NaN with one source only.
        units: Mean number of units that a block of rows is drawn from.
    """

    correlation: float
    spread: float
    units: float

    def __str__(self) -> str:
        text = f"correlation with reading order {self.correlation:+.3f}"
        if np.isfinite(self.spread):
            text += f"; spread of the sources {self.spread:.2f} of independent draws"
        return text + f"; {self.units:.1f} units per block"


def measure_quality(schedule: Schedule, counts: npt.NDArray[np.int64]) -> ShuffleQuality | None:
    """Follow a schedule over units of `counts` rows; None if it is too long."""
    ends = np.cumsum(counts)
    middles = ends - counts / 2
    sources = np.array([piece.source for piece in schedule.pieces])
    names = np.unique(sources)
    shares: list[npt.NDArray[np.float64]] = []
    rows: list[int] = []
    position_sum, units = 0.0, 0
    total, at = float(ends[-1]), 0
    for number, block in enumerate(schedule.blocks()):
        if number == MAX_BLOCKS:
            return None
        taken = np.array([take.stop - take.start for take in block.takes])
        pieces = np.array([take.piece for take in block.takes])
        positions = middles[[schedule.pieces[piece].unit for piece in pieces]]
        time = at + block.rows / 2
        position_sum += float((taken * (positions - total / 2)).sum()) * (time - total / 2)
        shares.append(np.array([taken[sources[pieces] == name].sum() for name in names]))
        rows.append(block.rows)
        units += len(pieces)
        at += block.rows
    # Rows lie evenly within a unit and a block, so the variances are those of uniform numbers.
    correlation = position_sum / at / (total**2 / 12)
    return ShuffleQuality(
        correlation, _spread(np.array(shares), np.array(rows)), units / len(rows)
    )


def _spread(shares: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]) -> float:
    if shares.shape[1] < 2 or len(rows) < 2:
        return float("nan")
    expected = shares.sum(axis=0) / rows.sum()
    deviation = shares - rows[:, None] * expected
    variance = rows[:, None] * expected * (1 - expected)
    return float(np.sqrt((deviation**2 / variance).mean(axis=0)).max())
