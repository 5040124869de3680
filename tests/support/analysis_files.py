"""A small analysis: Parquet files with two features, and the text of an analysis file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

EVENTS = 3_000
HEAD = """
seed = 3
cuts = "x > -3"
[define]
z = "x - y"
[split]
test = 0.4
by = "event"
[sample.S]
files = "S.parquet"
weight = "0.1 * w"
[sample.B]
files = "B.parquet"
weight = 0.5
[sample.D]
files = "D.parquet"
"""
PICTURE = """
[step.picture]
kind = "histogram"
column = "z"
samples = ["B", "S"]
data = "D"
bins = [-4, -2, 0, 2, 4]
"""
FOREST = """
[step.forest]
kind = "xgboost"
signal = "S"
background = "B"
inputs = ["x", "z"]
rounds = 12
max_depth = 3
threads = 1
[step.scores]
kind = "scores"
models = { bdt = "forest" }
samples = ["S", "B", "D"]
[step.performance]
kind = "evaluate"
score = "bdt"
friends = "scores"
signal = "S"
background = "B"
by = "y"
"""


def columns(rng: np.random.Generator, number: int, mean: float, first: int) -> dict[str, Any]:
    """Events around `mean` with weights."""
    return {
        "x": rng.normal(mean, 1.0, number),
        "y": rng.normal(-mean, 1.0, number),
        "w": rng.uniform(0.5, 1.5, number),
        "event": np.arange(first, first + number),
    }


def write_samples(folder: Path) -> None:
    """Files of signal, background and data."""
    rng = np.random.default_rng(1)
    made = {
        "S": columns(rng, EVENTS, 0.5, 0),
        "B": columns(rng, EVENTS, -0.5, EVENTS),
    }
    parts = [columns(rng, 300, 0.5, 2 * EVENTS), columns(rng, 1500, -0.5, 3 * EVENTS)]
    made["D"] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name, each in made.items():
        pq.write_table(pa.table(each), folder / f"{name}.parquet")


def write_analysis(folder: Path, *steps: str, head: str = HEAD) -> Path:
    """The analysis file, and its samples if they are not there."""
    if not (folder / "S.parquet").exists():
        write_samples(folder)
    path = folder / "analysis.toml"
    path.write_text(head + "".join(steps), encoding="utf-8")
    return path
