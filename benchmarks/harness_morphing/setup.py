"""What the command line asks for, files of events, and what several figures need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import rootml
from harness_morphing.toy import CONDITIONS, FEATURES


@dataclass(frozen=True)
class Setup:
    """What the command line asks for.

    Attributes:
        events: Of each domain; seven tenths to train on.
        steps: Of each training; None: they follow the events.
        seeds: Of the trainings.
        members, replicas: Bootstraps, and independent toys, for the coverage.
    """

    events: int
    steps: int | None
    seeds: tuple[int, ...]
    members: int
    replicas: int
    turns: int
    folder: Path


def written(path: Path, columns: dict[str, Any], *, weight: str | None = None) -> rootml.Dataset:
    """Columns as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table(columns), path)
    return rootml.open(str(path)) if weight is None else rootml.open(str(path), weight=weight)


def matrix(columns: dict[str, Any], *, conditions: bool = True) -> Any:
    names = (*FEATURES, *CONDITIONS) if conditions else FEATURES
    return np.column_stack([columns[name] for name in names]).astype(np.float64)


def listed(values: Sequence[float], digits: int) -> str:
    """One for each seed."""
    return ", ".join(f"{value:.{digits}f}" for value in values)


def weighted_quantiles(values: Any, weights: Any, levels: Any) -> Any:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    at = np.searchsorted(total, levels * total[-1])
    return values[order][np.minimum(at, len(values) - 1)]
