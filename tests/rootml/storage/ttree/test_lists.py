"""Lists of one counter share what was found in their baskets; others do not. Raw byte orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from rootml._internal.buffers import Buffers
from rootml.storage import open_table

ROWS = 3000


def jagged(counts: Any, rng: np.random.Generator, dtype: str) -> ak.Array:
    values = rng.normal(scale=1000, size=int(counts.sum())).astype(dtype)
    return ak.unflatten(values, counts)


@pytest.fixture
def columns() -> dict[str, Any]:
    """`b` has the counts of `g_...` with each pair the other way round: the sums agree."""
    rng = np.random.default_rng(3)
    counts = rng.poisson(2, ROWS)
    swapped = counts.reshape(-1, 2)[:, ::-1].reshape(-1)
    assert (counts != swapped).any()
    return {
        "g_a": jagged(counts, rng, "f4"),
        "g_a2": jagged(counts, rng, "f4"),
        "g_a4": jagged(counts, rng, "i4"),
        "g_a8": jagged(counts, rng, "f8"),
        "b": jagged(swapped, rng, "f4"),
        "x": rng.normal(size=ROWS).astype("f4"),
        "k": rng.integers(-9, 9, ROWS).astype("i2"),
        "t": rng.integers(-9, 9, ROWS).astype("i1"),
        "f": rng.random(ROWS) > 0.5,
        "d": rng.normal(size=ROWS),
    }


@pytest.fixture(params=["zstd", "none"])
def path(columns: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Four baskets of each branch."""
    found = str(tmp_path / "lists.root")
    compression = uproot.ZSTD(3) if request.param == "zstd" else None
    group = {name[2:]: values for name, values in columns.items() if name[:2] == "g_"}
    written = {name: values for name, values in columns.items() if name[:2] != "g_"}
    written["g"] = ak.zip(group)  # branches of one counter
    with uproot.recreate(found, compression=compression) as file:
        file.mktree("Events", {name: ak.type(ak.Array(v)).content for name, v in written.items()})
        for start in range(0, ROWS, ROWS // 4):
            part = slice(start, start + ROWS // 4)
            file["Events"].extend({name: values[part] for name, values in written.items()})
    return found


@pytest.mark.parametrize(("start", "stop"), [(0, ROWS), (100, 101), (700, 2250), (5, 5)])
def test_counts_are_those_of_each_branch(
    path: str, columns: dict[str, Any], start: int, stop: int
) -> None:
    names = ["g_a", "b", "g_a2", "g_a8", "g_a4"]
    with open_table(path, "Events") as table:
        found = table.read(names, start, stop, allocate=Buffers(1 << 20))
    for name in names:
        assert found[name].tolist() == columns[name][start:stop].tolist(), name
    lists: dict[str, Any] = {name: found[name] for name in names}
    offsets = {name: lists[name].layout.offsets.data for name in names}
    assert np.shares_memory(offsets["g_a"], offsets["g_a2"])
    assert np.shares_memory(offsets["g_a"], offsets["b"]) == (start == stop)


@pytest.mark.parametrize(("start", "stop"), [(0, ROWS), (1, 2), (700, 2250), (5, 5)])
def test_raw_columns_have_the_same_values(
    path: str, columns: dict[str, Any], start: int, stop: int
) -> None:
    names = ["x", "k", "t", "f", "d"]
    with open_table(path, "Events") as table:
        plain = table.read(names, start, stop)
        raw = table.read(names, start, stop, raw=["x", "k", "t", "f"])
    for name in names:
        np.testing.assert_array_equal(plain[name], columns[name][start:stop])
        np.testing.assert_array_equal(raw[name], columns[name][start:stop])
        assert plain[name].dtype.isnative
    assert raw["d"].dtype.isnative
    assert not raw["x"].dtype.isnative
