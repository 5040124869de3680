"""Leaf lists with arrays among their leaves, as ROOT's `TTree::Draw` has them."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest

import rootml
from rootml.errors import UnsupportedTypeError
from rootml.storage import open_table

pytestmark = pytest.mark.needs_root

WRITE = """
void write_leaf_lists(const char *path) {
  TFile file(path, "recreate");
  TTree tree("t", "t");
  struct { float x[2]; float y; int k[3]; } mixed;
  struct { float x[3][2]; float y[3][2]; } alike;
  struct { float r[2]; float q[2]; } pair;
  struct { double d; float u[2]; unsigned char c; bool o; short s; } kinds;
  struct { int n; float v[4]; } counted;
  tree.Branch("mixed", &mixed, "x[2]/F:y/F:k[3]/I");
  tree.Branch("alike", &alike, "x[3][2]/F:y[3][2]/F");
  tree.Branch("pair", &pair, "r[2]/F:q[2]/F");
  tree.Branch("kinds", &kinds, "d/D:u[2]/F:c/b:o/O:s/S");
  tree.Branch("counted", &counted, "n/I:v[n]/F");
  for (int i = 0; i < 8; ++i) {
    mixed.x[0] = i; mixed.x[1] = i + .5; mixed.y = -i;
    for (int j = 0; j < 3; ++j) mixed.k[j] = 10 * i + j;
    for (int j = 0; j < 6; ++j) { alike.x[j / 2][j % 2] = i * 10 + j; alike.y[j / 2][j % 2] = -i; }
    pair.r[0] = pair.q[1] = i; pair.r[1] = pair.q[0] = -i - 1;
    kinds.d = i; kinds.u[0] = i; kinds.u[1] = 2 * i; kinds.c = 200 + i; kinds.o = i % 2;
    kinds.s = -i; counted.n = i % 4;
    tree.Fill();
  }
  tree.Write();
}
"""
LEAVES = {
    "mixed": "xyk", "alike": "xy", "pair": "rq", "kinds": "ducos",
}  # fmt: skip


@pytest.fixture(scope="module")
def path(root: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("leaves") / "leaves.root")
    assert root.gInterpreter.Declare(WRITE)
    root.write_leaf_lists(path)
    return path


@pytest.mark.parametrize("branch", LEAVES)
def test_every_leaf(root: Any, path: str, branch: str) -> None:
    """uproot takes ``r[2]/F:q[2]/F`` for two pairs: wrong, or an error."""
    file = root.TFile(path)
    tree = file.Get("t")
    data = rootml.open(path)
    record = data.select([branch]).to_awkward()[branch]
    for leaf in LEAVES[branch]:
        count = tree.Draw(f"{branch}.{leaf}", "", "goff")
        expected = [tree.GetV1()[i] for i in range(count)]
        assert np.ravel(ak.to_numpy(record[leaf])).tolist() == expected
        found = data.select([f"value = {branch}.{leaf}"]).to_awkward()["value"]
        assert np.ravel(ak.to_numpy(found)).tolist() == expected
    file.Close()


def test_elements_in_cuts(root: Any, path: str) -> None:
    text = "pair.q[1] > 2 && alike.x[2][1] < 60 && mixed.k[0] != 40"
    file = root.TFile(path)
    expected = file.Get("t").Draw("mixed.y", text, "goff")
    file.Close()
    assert rootml.open(path).filter(text).scan().num_rows == expected > 0


def test_a_leaf_that_counts_another_is_refused(path: str) -> None:
    with pytest.raises(UnsupportedTypeError, match=r"'counted'.*different jaggedness"):
        rootml.open(path).select(["counted"]).to_awkward()


def test_entries_in_the_middle(path: str) -> None:
    with open_table(path, "t") as table:
        found = table.read(["pair"], 3, 5)["pair"]
    assert ak.to_list(found) == [{"r": [i, -i - 1], "q": [-i - 1, i]} for i in (3, 4)]
