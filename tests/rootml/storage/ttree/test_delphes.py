"""A tree as Delphes writes it: TClonesArrays, references, arrays in objects, a name twice.

ROOT writes it; ROOT and uproot say what is in it.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

import rootml
from rootml.cli import main
from rootml.storage import open_table

pytestmark = pytest.mark.needs_root

EVENTS = 60
CODE = r"""
#include <TClonesArray.h>
#include <TFile.h>
#include <TLorentzVector.h>
#include <TRef.h>
#include <TRefArray.h>
#include <TTree.h>

class RootmlGen : public TObject {
public:
  Int_t PID = 0, Status = 0;
  Float_t PT = 0, Eta = 0;
  ClassDefInline(RootmlGen, 1)
};

class RootmlJet : public TObject {
public:
  Float_t PT = 0, Eta = 0, Phi = 0, Mass = 0;
  UInt_t Flavor = 0;
  Float_t Tau[5] = {};
  TLorentzVector SoftDroppedJet, TrimmedP4[5];
  TRef Particle;
  TRefArray Constituents;
  ClassDefInline(RootmlJet, 1)
};

void rootml_delphes(const char *path, int events) {
  TFile file(path, "RECREATE");
  TTree tree("Delphes", "Analysis tree");
  TClonesArray gen("RootmlGen", 10), jet("RootmlJet", 10), met("RootmlGen", 1);
  tree.Branch("Particle", &gen, 64000, 99);
  tree.Branch("Jet", &jet, 64000, 99);
  tree.Branch("Jet", &met, 64000, 99);  // a card may use a name twice
  tree.Branch("MissingET", &met, 64000, 99);
  Int_t gens, jets;
  tree.Branch("Particle_size", &gens, "Particle_size/I");
  tree.Branch("Jet_size", &jets, "Jet_size/I");
  for (int i = 0; i < events; ++i) {
    gen.Clear(); jet.Clear("C"); met.Clear();
    gens = i % 4; jets = i % 3;
    for (int k = 0; k < gens; ++k) {
      auto *p = static_cast<RootmlGen *>(gen.ConstructedAt(k));
      p->PID = 10 * i + k; p->Status = k; p->PT = i + .5 * k; p->Eta = -k;
    }
    for (int k = 0; k < jets; ++k) {
      auto *p = static_cast<RootmlJet *>(jet.ConstructedAt(k));
      p->PT = i + .25 * k; p->Eta = k; p->Phi = .1 * i; p->Mass = k; p->Flavor = 5;
      for (int m = 0; m < 5; ++m) { p->Tau[m] = i + m; p->TrimmedP4[m].SetPxPyPzE(i, k, m, 99); }
      p->SoftDroppedJet.SetPxPyPzE(1, 2, 3, 10 + i);
      if (gens) { p->Particle = gen.At(k % gens); p->Constituents.Add(gen.At(0)); }
    }
    static_cast<RootmlGen *>(met.ConstructedAt(0))->PT = i;
    tree.Fill();
  }
  tree.Write();
}
"""


@pytest.fixture(scope="module")
def path(root: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    name = str(tmp_path_factory.mktemp("delphes") / "delphes.root")
    root.gSystem.Load("libPhysics")
    assert root.gInterpreter.Declare(CODE)
    root.rootml_delphes(name, EVENTS)
    return name


def drawn(root: Any, path: str, text: str, cut: str = "") -> np.ndarray[Any, Any]:
    """The values that ``TTree::Draw`` computes."""
    file = root.TFile(path)
    tree = file.Get("Delphes")
    count = tree.Draw(text, cut, "goff")
    values = tree.GetV1()
    found = np.array([values[i] for i in range(count)])
    file.Close()
    return found


def test_every_column_that_uproot_reads_is_equal(path: str) -> None:
    with uproot.open(path) as file, open_table(path, "Delphes") as table:
        equal, more = [], []
        branches: dict[str, Any] = {}
        for name, branch in file["Delphes"].iteritems(recursive=True):
            branches.setdefault(name, branch)
        for name, branch in branches.items():
            mine = table.read([name], 0, EVENTS)[name]
            try:
                theirs = branch.array()
            except ValueError:
                more.append(name)
                continue
            assert ak.to_list(mine) == ak.to_list(theirs), name
            equal.append(name)
    assert len(equal) == len(branches) - 1
    assert more == ["Particle/Particle.fBits"]  # bits of objects that a TRef points to


@pytest.mark.parametrize("name", ["Particle.fBits", "MissingET.fBits"])
def test_bits_of_referenced_objects(path: str, root: Any, name: str) -> None:
    mine = rootml.open(path).select([name]).to_awkward()[name]
    alive = 3 << 24  # kIsOnHeap and kNotDeleted, which ROOT sets when it reads
    theirs = drawn(root, path, name).astype(np.int64)
    assert ak.to_numpy(ak.flatten(mine)).tolist() == (theirs & ~alive).tolist()
    assert ak.num(mine).tolist()[:4] == ([0, 1, 2, 3] if name[0] == "P" else [1, 1, 1, 1])
    part = open_table(path, "Delphes").read([name], 7, 31)[name]
    assert part.tolist() == mine[7:31].tolist()


def test_types_inspection_and_all_columns(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = rootml.open(path)
    types = data.types()
    assert str(types["Jet.PT"]) == "var * float32"
    assert str(types["Jet.Tau"]) == "var * var * float32"
    assert len(data.to_awkward()) == EVENTS
    assert main(["inspect", path]) == 0
    assert "Jet.Tau" in capsys.readouterr().out


def test_cuts_and_batches(path: str, root: Any) -> None:
    cut = "Jet_size > 1 && Jet.PT[0] > 20"
    data = rootml.open(path).filter(cut)
    data = data.select(["lead = Jet.PT[0]", "tau = Jet.Tau[0][2]", "n = Length$(Particle.PT)"])
    rows = np.concatenate(list(data.batches(7).numpy()))
    assert len(rows) == 13
    for number, text in enumerate(["Jet.PT[0]", "Jet.Tau[0][2]", "Particle_size"]):
        assert rows[:, number].tolist() == drawn(root, path, text, cut).tolist()
