"""Every branch of ROOT files that others made, against uproot: equal, or refused with a reason.

The files are those of scikit-hep-testdata, of ROOT 3 to 6 and of two dozen experiments, as far as
they are on this machine: in its wheel (0.3.12 is the last version that holds any, 140), where it
keeps what it fetched, or in the folder that ROOTML_SKHEP_DATA names; and those of the tutorials in
ROOT's own package. Nothing is fetched here. What was counted of the 140 files is in `corpus.json`
beside this file; ``ROOTML_COUNT=1 pytest ...`` counts anew. See also `test_real_files`.
"""

from __future__ import annotations

import importlib.util
import json
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
COUNTS = Path(__file__).with_name("corpus.json")
MEASURED = Path(__file__).parents[3] / "docs" / "measured.md"
ROWS = {
    "equal": "equal to uproot",
    "order of bytes": "read, where uproot has the bytes of numbers in the wrong order",
    "bits": "read, where uproot takes a `TRef`'s process number for bits",
    "more": "read, where uproot raises an error",
    "both refuse": "refused with a reason, as by uproot",
    "fewer entries": "refused, as the branch has fewer entries than its tree",
}
ENDLESS = {"Event/SegmentDetectors"}  # of issue510b: uproot 5.7 fills 22 GB with what it misreads


def package(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    return Path(found.origin).parent if found is not None and found.origin else None


def files_of(folder: Path | None) -> list[Path]:
    return sorted(folder.rglob("*.root")) if folder is not None and folder.is_dir() else []


def corpus() -> list[Any]:
    """The files that are here, one parameter each."""
    root, testdata = package("ROOT"), package("skhep_testdata")
    wheel = files_of(testdata and testdata / "data")
    fetched = files_of(
        Path(os.environ.get("ROOTML_SKHEP_DATA", Path.home() / ".local" / "skhepdata"))
    )
    known = {path.name: path for path in fetched} | {path.name: path for path in wheel}
    shown = files_of(root and root / "tutorials")
    return [
        *(pytest.param(path, id=path.name, marks=pytest.mark.long) for path in known.values()),
        *(pytest.param(path, id=path.name) for path in shown),
    ]


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
    if ak.array_equal(mine, theirs, equal_nan=True, check_parameters=False):
        return True
    return bool(ak.to_list(mine) == ak.to_list(theirs))  # which lists are regular may differ


def swapped(array: Any) -> Any:
    """The same array with the bytes of every number in the other order."""

    def swap(layout: Any, **_: Any) -> Any:
        return ak.contents.NumpyArray(layout.data.byteswap()) if layout.is_numpy else None

    return ak.transform(swap, array)


def compare(mine: Any, theirs: Any) -> str:
    if same(mine, theirs):
        return "equal"
    fields = ak.fields(mine)
    if not fields:
        return "order of bytes" if same(swapped(mine), theirs) else "wrong"
    if fields != ak.fields(theirs):
        return "wrong"
    parts = {compare(mine[name], theirs[name]) for name in fields}
    return "wrong" if "wrong" in parts else "order of bytes"


def judge(table: Table, name: str, branch: Any) -> str:
    """What becomes of a branch.

    ``"equal"``; ``"both refuse"``; ``"more"``: we read what uproot does not; ``"order of bytes"``:
    equal but for that, which uproot 5.7 has wrong for objects of classes without a version;
    ``"bits"``: ``fBits`` of objects that a ``TRef`` points to, uproot takes the two bytes behind
    them for numbers; ``"fewer entries"``: refused, as the branch has fewer than its tree;
    ``"wrong"``; ``"only we refuse"``.
    """
    try:
        theirs = branch.array()
    except Exception:  # noqa: BLE001 - whatever uproot raises
        theirs = None
    try:
        mine = table.read([name], 0, table.num_entries)[name]
    except UnsupportedTypeError:  # whose message says why
        if theirs is None:
            return "both refuse"
        return "only we refuse" if len(theirs) == table.num_entries else "fewer entries"
    if theirs is None:
        return "more"
    found = compare(mine, theirs)
    if found == "wrong" and name.endswith(".fBits"):
        beside = branch.parent[branch.name.replace("fBits", "fUniqueID")].array()
        return "bits" if ak.all(ak.num(mine) == ak.num(beside)) else "wrong"
    return found


@pytest.mark.filterwarnings("ignore")  # uproot's, of old files
@pytest.mark.parametrize("path", corpus())
def test_every_branch_is_equal_or_refused_with_a_reason(path: Path) -> None:
    found: Counter[str] = Counter()
    odd = []
    for name, tree in trees_of(path):
        found["trees"] += 1
        with open_table(str(path), name) as table:
            assert table.num_entries == tree.num_entries
            for column, branch in branches_of(tree).items():
                if column in ENDLESS:
                    continue
                result = judge(table, column, branch)
                found[result] += 1
                if result in {"wrong", "only we refuse"}:
                    odd.append((name, column, result))
    assert not odd
    counts = json.loads(COUNTS.read_text())
    if "ROOTML_COUNT" in os.environ:
        COUNTS.write_text(json.dumps(counts | {path.name: found}, indent=1, sort_keys=True) + "\n")
    elif path.name in counts:
        assert found == counts[path.name]


def test_the_documentation_says_what_was_counted() -> None:
    counts = json.loads(COUNTS.read_text())
    total: Counter[str] = Counter()
    for found in counts.values():
        total.update(found)
    trees, branches = total.pop("trees"), total.total()
    text = MEASURED.read_text()
    assert f"{len(counts)} files, {trees} trees, {branches:,} branches" in text
    for result, row in ROWS.items():
        assert f"| {row} | {total.pop(result):,} |" in text
    assert not total
