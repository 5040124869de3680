"""Lists of one counter share what was found in their baskets; others do not. Raw byte orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from rootml._internal.buffers import Buffers
from rootml.errors import CorruptFileError
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


BASKETS = 60


@pytest.fixture(params=["zstd", "lz4", "zlib", "none"])
def small_baskets(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Baskets of a hundred entries, of which many are decompressed by one call."""
    found = tmp_path / "small.root"
    rng = np.random.default_rng(5)
    makers = {"zstd": uproot.ZSTD(5), "lz4": uproot.LZ4(4), "zlib": uproot.ZLIB(1)}
    with uproot.recreate(found, compression=makers.get(request.param)) as file:
        types = {"x": "f4", "i": "i8", "pt": "var * float32", "eta": "var * float32"}
        file.mktree("t", types)
        for _ in range(BASKETS):
            counts = rng.poisson(2, 100)
            file["t"].extend(
                {
                    "x": rng.integers(0, 9, 100).astype("f4"),
                    "i": rng.integers(0, 9, 100),
                    "pt": jagged(counts, rng, "f4"),
                    "eta": ak.values_astype(jagged(counts, rng, "i2"), "f4"),
                }
            )
    return found


@pytest.mark.parametrize(("start", "stop"), [(0, 6000), (50, 5950), (110, 190), (150, 250)])
def test_small_baskets_have_the_values_of_uproot(
    small_baskets: Path, start: int, stop: int
) -> None:
    names = ["x", "i", "pt", "eta"]
    with uproot.open(small_baskets) as file:
        assert file["t"]["pt"].num_baskets == BASKETS
        theirs = file["t"].arrays(names, entry_start=start, entry_stop=stop)
    with open_table(str(small_baskets), "t") as table:
        for raw in ((), ("x", "i")):
            found = table.read(names, start, stop, raw=raw)
            for name in names:
                assert ak.to_list(found[name]) == ak.to_list(theirs[name])


@pytest.mark.parametrize("small_baskets", ["zstd"], indirect=True)
@pytest.mark.parametrize("name", ["x", "pt"])
@pytest.mark.parametrize("damage", ["key", "frame", "length"])
def test_a_damaged_basket_among_small_ones_is_an_error(
    small_baskets: Path, name: str, damage: str
) -> None:
    with uproot.open(small_baskets) as file:
        branch = file["t"][name]
        seek, size = (int(branch.member(f"fBasket{what}")[7]) for what in ("Seek", "Bytes"))
    data = bytearray(small_baskets.read_bytes())
    key = int.from_bytes(data[seek + 14 : seek + 16], "big")
    assert data[seek + key : seek + key + 2] == b"ZS"
    where = {"key": seek + 2, "frame": seek + key + 9, "length": seek + key + 6}[damage]
    data[where] ^= 0x55
    small_baskets.write_bytes(data)
    assert size < len(data)
    with open_table(str(small_baskets), "t") as table:
        with pytest.raises(CorruptFileError, match=name):
            table.read([name], 0, 6000)
        assert len(table.read([name], 0, 700)[name]) == 700
