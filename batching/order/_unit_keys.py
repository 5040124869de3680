"""`UnitKey`: which rows a unit has. A unit is what is decoded in one go."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnitKey:
    """One unit: a partition or its rows of one label, used once or (oversampled) several times.

    Attributes:
        partition: Number of the partition.
        rows: How many rows the unit has.
        source: Units of one source are mixed with each other; see `PoolSchedule`.
        label: Only the rows of this label; None: all rows.
        copy: Number of the repetition; each repetition has its own permutation.
    """

    partition: int
    rows: int
    source: int
    label: float | None = None
    copy: int = 0
