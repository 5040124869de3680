"""Random datasets, cuts and options, compared with a plain in-memory oracle."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rootml
from rootml.batching import Padded

Columns = dict[str, Any]
CUTS: dict[str | None, Callable[[Columns], Any]] = {
    None: lambda c: np.ones(len(c["id"]), bool),
    "a > 0": lambda c: c["a"] > 0,
    "Length$(v) >= 2 || n % 3 == 1": lambda c: (
        (ak.to_numpy(ak.num(c["v"])) >= 2) | (np.fmod(c["n"], 3) == 1)
    ),
    "Sum$(v > 0) == 0 && a < 1": lambda c: ~ak.to_numpy(ak.any(c["v"] > 0, axis=1)) & (c["a"] < 1),
}
TYPES = {"id": "int64", "a": "float32", "n": "int16", "v": "var * float32", "w": "float64"}


@st.composite
def files(draw: st.DrawFn) -> list[list[int]]:
    """For each file the sizes of its clusters; files and clusters may be empty or of one event."""
    sizes = st.lists(st.integers(1, 40), max_size=4)
    return draw(
        st.lists(sizes, min_size=1, max_size=4).filter(lambda all_: sum(map(sum, all_)) > 0)
    )


def write(folder: Path, sizes: list[list[int]], rng: np.random.Generator) -> dict[str, Any]:
    """Write the files; all columns of all events."""
    parts = []
    for number, clusters in enumerate(sizes):
        with uproot.recreate(folder / f"f{number}.root") as file:
            tree = file.mktree("t", TYPES)
            for rows in clusters:
                counts = rng.integers(0, 4, rows)
                part = {
                    "id": rng.integers(-(2**60), 2**60, rows),
                    "a": rng.normal(size=rows).astype(np.float32),
                    "n": rng.integers(-99, 99, rows).astype(np.int16),
                    "v": ak.unflatten(rng.normal(size=counts.sum()).astype(np.float32), counts),
                    "w": rng.normal(size=rows),
                }
                tree.extend(part)
                parts.append(part)
    return {name: ak.concatenate([part[name] for part in parts]) for name in parts[0]}


@given(
    sizes=files(),
    cut=st.sampled_from(list(CUTS)),
    seed=st.integers(0, 3),
    batch=st.integers(2, 30),  # of one row each, several ranks cannot always share equally
    world=st.integers(1, 3),
    mode=st.sampled_from(["unshuffled", "resident", "spilled", "pool"]),
    drop_last=st.booleans(),
    label=st.booleans(),
    content=st.integers(0, 2**32 - 1),
)
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
def test_epochs_of_random_datasets(
    sizes: list[list[int]],
    cut: str | None,
    seed: int,
    batch: int,
    world: int,
    mode: str,
    drop_last: bool,
    label: bool,
    content: int,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        columns = write(folder, sizes, np.random.default_rng(content))
        flat = {n: ak.to_numpy(c) if n != "v" else c for n, c in columns.items()}
        mask = np.asarray(CUTS[cut](flat))
        chosen = {n: c[mask] for n, c in flat.items()}
        rows = int(mask.sum())
        if rows < batch * world or rows == 0:
            return
        paths = [f"{folder}/f{number}.root" for number in range(len(sizes))]
        data = rootml.open(paths, weight="w", label="n > 0" if label else None)
        data = data if cut is None else data.filter(cut)
        data = data.define(s="a * n").select(["a", "n", "s", "v", "id"])
        options: dict[str, Any] = {"shuffle": mode != "unshuffled", "seed": seed}
        if mode == "spilled":
            options |= {"cache": folder / "cache", "buffer_bytes": 60_000}
        if mode == "pool":
            options |= {"buffer_bytes": 400_000, "unit_bytes": 2_000}
        loader = data.batches(
            batch,
            weights=True,
            inputs={"flat": ["a", "n", "s"], "v": Padded(["v"], length=2)},
            observers=["id"],
            drop_last=drop_last,
            **options,
        )
        loaders = [loader.shard(n, world) for n in range(world)] if world > 1 else [loader]
        for epoch in range(2):
            found = [part for each in loaders for part in each.iterate(epoch=epoch)]
            check(found, chosen, label, rows, (batch * world) if drop_last else 1)
            if mode == "unshuffled" and world == 1:
                ids = ids_of(found)
                np.testing.assert_array_equal(ids, chosen["id"][: len(ids)])


def ids_of(batches: list[Any]) -> Any:
    return np.concatenate([batch.observers["id"] for batch in batches])


def check(batches: list[Any], chosen: Columns, label: bool, rows: int, unit: int) -> None:
    """Each row once, with the contents that its id has in the oracle."""
    ids = ids_of(batches)
    assert len(ids) == rows // unit * unit
    assert len(np.unique(ids)) == len(ids)
    order = np.argsort(chosen["id"])
    where = order[np.searchsorted(chosen["id"], ids, sorter=order)]
    np.testing.assert_array_equal(chosen["id"][where], ids)
    flat = np.concatenate([batch.x["flat"] for batch in batches])
    a, n = chosen["a"][where], chosen["n"][where]
    np.testing.assert_array_equal(flat[:, 0], a)
    np.testing.assert_array_equal(flat[:, 1], n)
    np.testing.assert_allclose(flat[:, 2], a.astype(np.float64) * n, rtol=1e-6)
    padded = ak.to_numpy(ak.fill_none(ak.pad_none(chosen["v"][where], 2, clip=True), 0))
    values = np.concatenate([batch.x["v"].values for batch in batches])
    np.testing.assert_array_equal(values[:, :, 0], padded)
    masks = np.concatenate([batch.x["v"].mask for batch in batches])
    np.testing.assert_array_equal(masks.sum(1), np.minimum(ak.num(chosen["v"][where]), 2))
    np.testing.assert_array_equal(
        np.concatenate([batch.w for batch in batches]), chosen["w"][where].astype(np.float32)
    )
    if label:
        np.testing.assert_array_equal(np.concatenate([batch.y for batch in batches]), n > 0)
