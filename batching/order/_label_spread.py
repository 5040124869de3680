"""How evenly the classes are spread over batches, given how many rows of each a unit has."""

from __future__ import annotations

import numpy as np

from rootml._internal.types import Float, Int
from rootml.batching.order._schedule import Schedule

MAX_BLOCKS = 4000
"""Longer schedules are judged by their first blocks."""


def label_spread(schedule: Schedule, label_counts: Int) -> float:
    """Standard deviation of the fraction of a class per batch, over that of independent draws.

    The rows that a unit gives to a block are a random subset of it, and so are those that a block
    gives to a batch. So a batch of size b from a block in which class k has the expected fraction
    f has the variance (b f (1 - f) + (b (f - p))^2) / b^2, where p is the fraction in all data.

    Args:
        label_counts: `(units, classes)`: rows of each class in each unit.

    Returns:
        The largest of all classes; 1 is perfect.
    """
    total = label_counts.sum(axis=0)
    overall = total / total.sum()
    fractions = label_counts / np.maximum(label_counts.sum(axis=1, keepdims=True), 1)
    units = np.array([piece.unit for piece in schedule.pieces])
    variance: Float = np.zeros(len(overall))
    expected: Float = np.zeros(len(overall))
    for number, block in enumerate(schedule.blocks()):
        if number == MAX_BLOCKS:
            break
        rows = np.array([take.stop - take.start for take in block.takes])
        pieces = np.array([take.piece for take in block.takes])
        found = (rows[:, None] * fractions[units[pieces]]).sum(axis=0) / rows.sum()
        for size in block.sizes:
            variance += found * (1 - found) / size + (found - overall) ** 2
            expected += overall * (1 - overall) / size
    used = expected > 0
    return float(np.sqrt((variance[used] / expected[used]).max())) if used.any() else 1.0
