"""Reads that several threads share: the same values as uproot's, and the same errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from rootml._internal.buffers import Buffers
from rootml._internal.helping import HelpingPool
from rootml.errors import CorruptFileError
from rootml.storage import open_table

ENTRIES, STEP = 20_000, 6_000
SCALARS = {"a": "f4", "b": "f4", "c": "i4", "d": "f8", "flag": "?"}
LISTS = {"Jet": ("pt", "eta", "hits"), "Muon": ("pt", "charge")}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("shared") / "events.root"
    rng = np.random.default_rng(8)
    with uproot.recreate(found) as file:
        lists = {
            f"{name}_{part}": "var * int32" if part in {"hits", "charge"} else "var * float32"
            for name, parts in LISTS.items()
            for part in parts
        }
        file.mktree("t", {**SCALARS, **lists})
        for first in range(0, ENTRIES, STEP):
            file["t"].extend(content(rng, min(STEP, ENTRIES - first)))
    return found


def content(rng: np.random.Generator, rows: int) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: (100 * rng.standard_normal(rows)).astype(dtype) for name, dtype in SCALARS.items()
    }
    for name, parts in LISTS.items():
        counts = rng.integers(0, 5, rows)
        for part in parts:
            dtype = np.int32 if part in {"hits", "charge"} else np.float32
            elements = (100 * rng.standard_normal(counts.sum())).astype(dtype)
            values[f"{name}_{part}"] = ak.unflatten(elements, counts)
    return values


@pytest.mark.parametrize(("start", "stop"), [(0, ENTRIES), (100, ENTRIES - 77)])
def test_values_are_those_of_uproot(path: Path, start: int, stop: int) -> None:
    with uproot.open(path) as file:
        tree = file["t"]
        names = [name for name in tree.keys() if not name.startswith("n")]  # noqa: SIM118
        theirs = tree.arrays(names, entry_start=start, entry_stop=stop)
    buffers = Buffers(64 << 20)
    with open_table(str(path), "t") as table, HelpingPool(3) as pool:
        reads = [
            pool.submit(table.read, names, start, stop, allocate=buffers, raw={"a", "b"})
            for _ in range(6)
        ]
        for read in reads:
            mine = read.result()
            assert list(mine) == names
            for name in names:
                values = mine[name]
                if isinstance(values, np.ndarray):  # those in `raw` as they are in the file
                    values = values.astype(values.dtype.newbyteorder("="))
                assert ak.array_equal(values, theirs[name])


def test_the_first_damaged_column_is_named(path: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.root"
    data = bytearray(path.read_bytes())
    with uproot.open(path) as file:
        for name in ("b", "d"):
            branch = file["t"][name]
            seek = int(branch.member("fBasketSeek")[0])
            data[seek : seek + 4] = b"\0\0\0\0"  # the length of the basket
    damaged.write_bytes(data)
    with open_table(str(damaged), "t") as table, HelpingPool(3) as pool:
        for _ in range(5):
            with pytest.raises(CorruptFileError, match=r"\bb\b"):
                pool.submit(table.read, [*SCALARS, "Jet_pt"], 0, ENTRIES).result()
