"""Every tree of every ROOT file at hand, against uproot: equal, or refused where uproot refuses.

The files are those of the tutorials in ROOT's own package, and of scikit-hep-testdata as far as
they are on this machine: in its package, where it keeps what was fetched, or in the folder that
ROOTML_SKHEP_DATA names. (Nothing is fetched here, and its wheel holds none.) The test prints what
it counted (``pytest -rP``): files, trees, and branches that are equal, wrong, refused by both,
refused by us only, or read by us only.
See also `test_real_files`.
"""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from rootml.errors import RootmlError, UnsupportedTypeError
from rootml.storage import Table, open_table

TREES = {"TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple"}
SMALL = 3_000_000


def package(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    return Path(found.origin).parent if found is not None and found.origin else None


def collections() -> dict[str, Path]:
    root, testdata = package("ROOT"), package("skhep_testdata")
    known = {
        "tutorials": root and root / "tutorials",
        "testdata": testdata and testdata / "data",
        "fetched": Path(os.environ.get("ROOTML_SKHEP_DATA", Path.home() / ".local" / "skhepdata")),
    }
    return {name: path for name, path in known.items() if path is not None and path.is_dir()}


def trees_of(path: Path) -> Iterator[tuple[str, Any]]:
    """Trees by name; none of a file that uproot does not open (compression of ROOT 1)."""
    try:
        with uproot.open(path) as file:
            kinds = file.classnames(recursive=True, cycle=False)
            for name in [name for name, kind in kinds.items() if kind in TREES]:
                yield name, file[name]
    except ValueError as error:
        if "unsupported compression" not in str(error):
            raise
        with pytest.raises(RootmlError, match=path.name):
            open_table(str(path))


def branches_of(tree: Any) -> dict[str, Any]:
    """Branches or fields by path; of several of one name the first."""
    found: dict[str, Any] = {}
    items = (
        tree.iteritems(recursive=True)
        if hasattr(tree, "branches")
        else ((name, tree[name]) for name in tree.keys())  # noqa: SIM118 - not a dict
    )
    for name, branch in items:
        found.setdefault(name, branch)
    return found


def same(mine: Any, theirs: Any) -> bool:
    """Equal values, NaN included, and equal dtypes of numbers."""
    if isinstance(mine, np.ndarray):
        other = ak.to_numpy(theirs)
        equal_nan = mine.dtype.kind == "f"
        kinds = mine.dtype == other.dtype.newbyteorder("=")
        return kinds and bool(np.array_equal(mine, other, equal_nan=equal_nan))
    if ak.to_list(mine) == ak.to_list(theirs):
        return True
    return bool(ak.array_equal(mine, theirs, equal_nan=True, check_parameters=False))


def compare(table: Table, branches: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What becomes of each branch: "equal", "wrong", "both refuse", "only we refuse", "more"."""
    kinds = {name: table.columns[name].kind for name in branches}
    readable = [name for name, kind in kinds.items() if kind != "unsupported"]
    try:
        arrays = table.read(readable, 0, table.num_entries)
    except RootmlError:  # one of them; which one is found out below
        arrays = {}
    for name, branch in branches.items():
        try:
            theirs = branch.array()
        except Exception:  # noqa: BLE001 - whatever uproot raises
            theirs = None
        try:
            mine = (
                arrays[name] if name in arrays else table.read([name], 0, table.num_entries)[name]
            )
        except UnsupportedTypeError:  # whose message says why
            yield name, "both refuse" if theirs is None else "only we refuse"
            continue
        if theirs is None:
            yield name, "more"
        else:
            yield name, "equal" if same(mine, theirs) else "wrong"


@pytest.mark.parametrize(
    "large", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["small", "large"]
)
def test_every_branch_is_equal_or_refused_with_a_reason(large: bool) -> None:
    counts: dict[str, Counter[str]] = {}
    odd = []
    for collection, folder in collections().items():
        count = counts.setdefault(collection, Counter())
        for path in sorted(folder.rglob("*.root")):
            if (path.stat().st_size > SMALL) != large:
                continue
            count["files"] += 1
            for name, tree in trees_of(path):
                count["trees"] += 1
                with open_table(str(path), name) as table:
                    assert table.num_entries == tree.num_entries
                    for column, result in compare(table, branches_of(tree)):
                        count[result] += 1
                        if result in {"wrong", "only we refuse"}:
                            odd.append((str(path), name, column, result))
    for collection, count in counts.items():
        print(f"{collection}: {dict(count)}")  # noqa: T201 - the count is the result
    assert not odd, counts
    if not large and package("ROOT") is not None:
        assert counts["tutorials"]["equal"] >= 100
