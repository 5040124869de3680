"""Every branch of files that people use, against uproot and ROOT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from rootml.errors import UnsupportedTypeError
from rootml.storage import Table, list_trees, open_table
from rootml.storage.rntuple._storage import RNTupleTable

RealFile = Callable[[str], str]
FILES = {
    "uproot-HZZ.root": "events",
    "uproot-Zmumu-zstd.root": "events",
    "nanoAOD_2015_CMS_Open_Data_ttbar.root": "Events",
    "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root": "Events",
    "uproot-issue187.root": "fTreeV0",
    "uproot-stl_containers.root": "tree",
    "uproot-small-flat-tree.root": "tree",
}


def reference(tree: Any, table: Table) -> dict[str, Any]:
    """uproot's branch for each of our columns."""
    if not hasattr(tree, "branches"):
        return {name: tree[name] for name in table.columns}
    paths = {path: tree[path] for path in tree.keys(recursive=True)}
    spelt: dict[str, Any] = {}
    for path, branch in paths.items():
        own = path.rpartition("/")[2].partition("[")[0]
        for spelling in (path, own):
            spelt.setdefault(spelling, branch)
    return {name: spelt[name] for name in table.columns}


def same(mine: Any, theirs: Any) -> bool:
    """Equal values, NaN included, and equal dtypes of numbers."""
    if isinstance(mine, np.ndarray):
        other = ak.to_numpy(theirs)
        equal_nan = mine.dtype.kind == "f"
        return mine.dtype == other.dtype.newbyteorder("=") and bool(
            np.array_equal(mine, other, equal_nan=equal_nan)
        )
    if ak.to_list(mine) == ak.to_list(theirs):
        return True
    return bool(ak.array_equal(mine, theirs, equal_nan=True, check_parameters=False))


@pytest.mark.parametrize("name", FILES)
def test_trees_are_those_that_uproot_finds(name: str, real_file: RealFile) -> None:
    path = real_file(name)
    with uproot.open(path) as file:
        kinds = {
            key: kind
            for key, kind in file.classnames(recursive=True, cycle=False).items()
            if kind in {"TTree", "TNtuple", "TChain", "ROOT::RNTuple"}
        }
        expected = {key: file[key].num_entries for key in kinds}
    assert list_trees(path) == expected


@pytest.mark.parametrize("name", FILES)
def test_every_branch_is_as_uproot_reads_it(name: str, real_file: RealFile) -> None:
    path = real_file(name)
    with uproot.open(path) as file, open_table(path, FILES[name]) as table:
        branches = reference(file[FILES[name]], table)
        total = table.num_entries
        assert total == file[FILES[name]].num_entries
        readable = [c for c, kind in table.columns.items() if kind.kind != "unsupported"]
        assert len(readable) > len(table.columns) / 2
        for start, stop in ((0, total), (total // 3, 2 * total // 3)):
            mine = table.read(readable, start, stop)
            assert list(mine) == readable
            for column in readable:
                theirs = branches[column].array(entry_start=start, entry_stop=stop)
                assert same(mine[column], theirs), (column, start, stop)
        # what cannot be read are base classes without data and what uproot cannot interpret either
        for column in branches.keys() - set(readable):
            with pytest.raises(UnsupportedTypeError, match="cannot be read"):
                table.read([column], 0, 1)
            with pytest.raises(Exception):  # noqa: B017, PT011 - whatever uproot raises
                assert len(branches[column].array()) == total


@pytest.mark.parametrize("name", FILES)
def test_declared_types_are_those_of_the_values(name: str, real_file: RealFile) -> None:
    with open_table(real_file(name), FILES[name]) as table:
        readable = [c for c, kind in table.columns.items() if kind.kind != "unsupported"]
        stop = min(table.num_entries, 50)
        for column, values in table.read(readable, 0, stop).items():
            kind = table.columns[column]
            assert len(values) == stop
            if kind.kind in {"scalar", "fixed"}:
                assert isinstance(values, np.ndarray)
                assert (values.dtype, values.shape[1:]) == (kind.dtype, kind.shape)
                assert values.flags.c_contiguous
                assert values.flags.writeable
                assert values.dtype.isnative
            elif kind.kind == "jagged":
                flat = np.asarray(ak.flatten(values, axis=None))
                assert flat.dtype == kind.dtype or not len(flat)
                assert values.ndim == kind.depth + 1
            else:
                assert isinstance(values, ak.Array)


def test_thousand_branches_at_once(real_file: RealFile) -> None:
    path = real_file("nanoAOD_2015_CMS_Open_Data_ttbar.root")
    with uproot.open(path) as file, open_table(path, "Events") as table:
        names = [c for c, kind in table.columns.items() if kind.kind in {"scalar", "jagged"}]
        assert len(names) > 900
        mine = table.read(names, 17, 163)
        theirs = file["Events"].arrays(names, entry_start=17, entry_stop=163, how=dict)
        assert list(mine) == names
        assert all(same(mine[name], theirs[name]) for name in names)


def test_numbers_of_an_rntuple_are_read_from_its_pages(real_file: RealFile) -> None:
    """Not through uproot: fields that are views of others (projected) too."""
    path = real_file("Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root")
    with open_table(path) as table:
        assert isinstance(table, RNTupleTable)
        names = ["Muon_pt", "Muon_eta", "Muon_phi", "Muon_mass", "Muon_charge"]
        assert list(table._known(names)) == names


@pytest.mark.needs_root
@pytest.mark.parametrize("name", ["uproot-HZZ.root", "uproot-Zmumu-zstd.root"])
def test_scalars_are_as_root_reads_them(name: str, real_file: RealFile, root: Any) -> None:
    path = real_file(name)
    with open_table(path, FILES[name]) as table:
        kinds = table.columns.items()
        names = [c for c, kind in kinds if kind.kind == "scalar" and kind.dtype != np.bool_]
        theirs = root.RDataFrame(FILES[name], path).AsNumpy(names)
        mine = table.read(names, 0, table.num_entries)
        for column in names:
            np.testing.assert_array_equal(mine[column], theirs[column], err_msg=column)
