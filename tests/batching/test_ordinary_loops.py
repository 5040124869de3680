"""Loops as people write them, on files that do not quite agree; contents are compared by id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

import rootml
from rootml._internal.types import Array

ROWS, PARTS = 24_000, 1_500
MODES: dict[str, dict[str, Any]] = {
    "in order": {},
    "in memory": {"shuffle": True},
    "pool": {"shuffle": True, "buffer_bytes": "400 kB", "unit_bytes": "30 kB"},
}


def write(path: Path, columns: dict[str, Array]) -> None:
    rows = len(columns["id"])
    with uproot.recreate(path) as file:
        tree = file.mktree("t", {name: values.dtype for name, values in columns.items()})
        for start in range(0, rows, PARTS):
            tree.extend({n: values[start : start + PARTS] for n, values in columns.items()})


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, Array]]:
    """Four files: the branches in three orders, one file without an entry."""
    folder = tmp_path_factory.mktemp("loops")
    rng = np.random.default_rng(5)
    columns: dict[str, Array] = {
        "id": np.arange(ROWS),
        "x": rng.standard_normal(ROWS).astype(np.float32),
        "k": rng.integers(-(2**15), 2**15, ROWS).astype(np.int16),
        "b": rng.random(ROWS) < 0.5,
        "u": rng.integers(0, 2**64, ROWS, dtype=np.uint64),
    }
    edges = [0, 7_000, 7_000, 16_000, ROWS]
    orders = ["id x k b u", "id x k b u", "u b k x id", "k id u x b"]
    for number, order in enumerate(orders):
        part = slice(edges[number], edges[number + 1])
        write(folder / f"{number}.root", {name: columns[name][part] for name in order.split()})
    return [f"{folder / f'{number}.root'}:t" for number in range(4)], columns


@pytest.mark.parametrize("mode", MODES)
def test_batches_that_are_kept_stay_as_they_were(
    events: tuple[list[str], dict[str, Array]], mode: str
) -> None:
    """All memory is used again; but not that of a batch that somebody still has."""
    files, columns = events
    loader = rootml.open(files).batches(
        512, inputs=["x", "k", "b"], observers=["id", "u"], progress=False, **MODES[mode]
    )
    kept = [list(loader.numpy()) for _ in range(3)]
    orders = set()
    for epoch in kept:
        ids = np.concatenate([observed["id"] for _, observed in epoch])
        assert np.array_equal(np.sort(ids), columns["id"])
        rows = np.concatenate([x for x, _ in epoch])
        for number, name in enumerate("xkb"):
            assert np.array_equal(rows[:, number], columns[name][ids].astype(np.float32))
        assert np.array_equal(
            np.concatenate([observed["u"] for _, observed in epoch]), columns["u"][ids]
        )
        orders.add(ids.tobytes())
    assert len(orders) == (1 if mode == "in order" else 3)


@pytest.mark.parametrize("mode", MODES)
def test_what_the_loop_does_to_a_batch_concerns_nobody_else(
    events: tuple[list[str], dict[str, Array]], mode: str
) -> None:
    files, columns = events
    loader = rootml.open(files).batches(
        512, inputs=["x"], observers=["id"], progress=False, **MODES[mode]
    )
    for _ in range(2):
        for x, observed in loader.numpy():
            assert np.array_equal(x[:, 0], columns["x"][observed["id"]])
            x[:] = np.nan
            observed["id"][:] = -1
