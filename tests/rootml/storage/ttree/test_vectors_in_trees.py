"""Vectors in every way in which trees hold them: split or not, in lists, as members, as a base.

ROOT writes the trees, and ``TTree::Draw`` says what the methods give.
"""

from __future__ import annotations

# ruff: noqa: E501
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

import rootml
from rootml.errors import (
    ExpressionError,
    MissingColumnError,
    UnsupportedTypeError,
)

pytestmark = pytest.mark.needs_root

EVENTS = 40
CLASSES = r"""
#include <Math/Vector2D.h>
#include <Math/Vector3D.h>
#include <Math/Vector4D.h>
#include <TClonesArray.h>
#include <TFile.h>
#include <TLorentzVector.h>
#include <TTree.h>
#include <TVector2.h>
#include <TVector3.h>
#include <TVirtualStreamerInfo.h>
#include <string>
#include <vector>

class RootmlLepton : public TObject {
public:
  Int_t id = 0;
  TLorentzVector p4;
  ROOT::Math::PtEtaPhiMVector q4;
  ROOT::Math::XYZVector d3;
  TVector3 vertex;
  DEFINE(RootmlLepton, 1)
};
class RootmlFourJet : public TLorentzVector {
public:
  Float_t btag = 0;
  DEFINE(RootmlFourJet, 1)
};
class RootmlHit : public TVector3 {
public:
  Float_t charge = 0;
  DEFINE(RootmlHit, 1)
};
"""
WRITE = r"""
namespace rootml_trees {
template <class T> void branches(TTree &tree, const std::string &name, T *&object) {
  tree.Branch(("u_" + name).c_str(), &object, 32000, 0);
  tree.Branch(("s_" + name).c_str(), &object, 32000, 99);
  tree.Branch(("d_" + name + ".").c_str(), &object, 32000, 99);
}
template <class T> void four(TTree &tree, const char *name, std::vector<T *> &all) {
  all.push_back(new T); branches(tree, name, all.back());
}
void fill(RootmlLepton &l, int i, int k) {
  l.id = k; l.p4.SetPxPyPzE(i - 20, k + 1, 1 - k, 30); l.q4.SetCoordinates(10 + k, 1 - k, .1 * i - 2, 5);
  l.d3.SetXYZ(i, k, 2); l.vertex.SetXYZ(k, i - 5, 3);
}
void write(const char *path, int events) {
  using namespace ROOT::Math;
  TFile file(path, "recreate", "", 0);
  TTree tree("Events", "Events");
  auto *lv = new TLorentzVector; branches(tree, "lv", lv);
  auto *v3 = new TVector3; branches(tree, "v3", v3);
  auto *v2 = new TVector2; branches(tree, "v2", v2);
  auto *ptm = new PtEtaPhiMVector; branches(tree, "ptm", ptm);
  auto *pte = new PtEtaPhiEVector; branches(tree, "pte", pte);
  auto *xym = new PxPyPzMVector; branches(tree, "xym", xym);
  auto *xye = new PxPyPzEVector; branches(tree, "xye", xye);
  auto *ptf = new LorentzVector<PtEtaPhiM4D<float>>; branches(tree, "ptf", ptf);
  auto *xyf = new LorentzVector<PxPyPzE4D<float>>; branches(tree, "xyf", xyf);
  auto *c3 = new XYZVector; branches(tree, "c3", c3);
  auto *c3f = new XYZVectorF; branches(tree, "c3f", c3f);
  auto *point = new XYZPoint; branches(tree, "point", point);
  auto *p3 = new Polar3DVector; branches(tree, "p3", p3);
  auto *r3 = new RhoEtaPhiVector; branches(tree, "r3", r3);
  auto *z3 = new RhoZPhiVector; branches(tree, "z3", z3);
  auto *x2 = new XYVector; branches(tree, "x2", x2);
  auto *q2 = new Polar2DVector; branches(tree, "q2", q2);
  auto *vxye = new std::vector<PxPyPzEVector>; branches(tree, "vxye", vxye);
  auto *vxyf = new std::vector<LorentzVector<PxPyPzE4D<float>>>; branches(tree, "vxyf", vxyf);
  auto *vc3 = new std::vector<XYZVector>; branches(tree, "vc3", vc3);
  auto *vv3 = new std::vector<TVector3>; branches(tree, "vv3", vv3);
  auto *ca = new TClonesArray("TLorentzVector"); branches(tree, "ca", ca);
  auto *leptons = new TClonesArray("RootmlLepton"); branches(tree, "leptons", leptons);
  auto *fourjets = new TClonesArray("RootmlFourJet"); branches(tree, "fourjets", fourjets);
  auto *hits = new TClonesArray("RootmlHit"); branches(tree, "hits", hits);
  auto *lepton = new RootmlLepton; branches(tree, "lepton", lepton);
  auto *jet = new RootmlFourJet; branches(tree, "jet", jet);
  tree.Branch("once.", &lepton, 32000, 1);  // its members are not split
  for (int i = 0; i < events; ++i) {
    double x = i - 20, y = 3 - i % 5, z = i % 7 - 2, e = 30 + i;
    lv->SetPxPyPzE(x, y, z, e); v3->SetXYZ(x, y, z); v2->Set(x, y);
    ptm->SetCoordinates(10 + i, 2 - i * .1, 3 - i * .1, 5); *pte = *ptm; *xym = *ptm; *xye = *ptm; *ptf = *ptm;
    xyf->SetCoordinates(x, y, z, e); c3->SetXYZ(x, y, z); *c3f = *c3; *point = *c3; *p3 = *c3; *r3 = *c3; *z3 = *c3;
    x2->SetXY(x, y); *q2 = *x2; fill(*lepton, i, 2); jet->SetPxPyPzE(x, y, z, e);
    vxye->clear(); vxyf->clear(); vc3->clear(); vv3->clear();
    for (auto *array : {ca, leptons, fourjets, hits}) array->Clear();
    for (int k = 0; k < i % 4; ++k) {
      vxye->emplace_back(x + k, y, z, e); vxyf->emplace_back(x + k, y, z, e);
      vc3->emplace_back(x, y, k); vv3->emplace_back(x, y, k);
      new ((*ca)[k]) TLorentzVector(x + k, y, z, e);
      fill(*static_cast<RootmlLepton *>(leptons->ConstructedAt(k)), i, k);
      static_cast<RootmlFourJet *>(fourjets->ConstructedAt(k))->SetPxPyPzE(x, k, z, e);
      static_cast<RootmlHit *>(hits->ConstructedAt(k))->SetXYZ(x, k, z);
    }
    tree.Fill();
  }
  tree.Write();
  TTree few("Few", "Few");
  branches(few, "lv", lv); branches(few, "v3", v3); branches(few, "c3", c3); branches(few, "ca", ca);
  few.Branch("s_leptons", &leptons); few.Branch("u_lepton", &lepton, 32000, 0);
  for (int i = 0; i < 3; ++i) few.Fill();
  few.Write();
}
void by_objects(const char *path, bool members) {
  using namespace ROOT::Math;
  TVirtualStreamerInfo::SetStreamMemberWise(members);
  TFile file(path, "recreate");
  TTree tree("Events", "Events");
  auto *v = new std::vector<PxPyPzEVector>; tree.Branch("v", &v, 32000, 0);
  auto *c = new std::vector<XYZVector>; tree.Branch("c", &c, 32000, 0);
  for (int i = 0; i < 20; ++i) {
    v->clear(); c->clear();
    for (int k = 0; k < i % 3; ++k) { v->emplace_back(i, k, 2, 90); c->emplace_back(i, 2, k); }
    tree.Fill();
  }
  tree.Write();
  TVirtualStreamerInfo::SetStreamMemberWise(true);
}
}
"""


def declare(root: Any) -> None:
    for library in ("libPhysics", "libGenVector"):
        root.gSystem.Load(library)
    root.gInterpreter.ProcessLine(".O 0")  # most of the time is compiling
    if not hasattr(root, "rootml_trees"):
        assert root.gInterpreter.Declare(CLASSES.replace("DEFINE", "ClassDefInline") + WRITE)


@pytest.fixture(scope="module")
def path(root: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    declare(root)
    name = str(tmp_path_factory.mktemp("trees") / "v.root")
    root.rootml_trees.write(name, EVENTS)
    return name


@pytest.fixture(scope="module")
def data(path: str) -> rootml.Dataset:
    return rootml.open(f"{path}:Events")


@pytest.fixture(scope="module")
def tree(root: Any, path: str) -> Any:
    file = root.TFile(path)
    yield file.Get("Events")
    file.Close()


def drawn(tree: Any, text: str, cut: str = "") -> np.ndarray[Any, Any]:
    count = tree.Draw(text, cut, "goff")
    assert count >= 0, text
    return np.array([tree.GetV1()[i] for i in range(count)])


def assert_as_drawn(tree: Any, data: rootml.Dataset, texts: list[str]) -> None:
    """The same numbers behind one another; TTree::Draw leaves out elements that are not there."""
    chosen = {f"z{number}": text for number, text in enumerate(texts)}
    found = data.define(chosen, missing=-999).select(list(chosen)).to_awkward()
    for name, text in chosen.items():
        mine = np.ravel(ak.to_numpy(ak.flatten(found[name], axis=None)))
        theirs = drawn(tree, text)
        np.testing.assert_allclose(mine[mine != -999], theirs, rtol=3e-6, atol=1e-6, err_msg=text)
        assert len(theirs), text


FOUR = ("Pt", "Eta", "Phi", "M", "E", "Px", "Pz", "Rapidity")
THREE = ("X", "Z", "Phi", "Theta", "Eta")


@pytest.mark.parametrize("split", ["u", "s", "d"])
@pytest.mark.parametrize(
    ("names", "methods"),
    [
        ("lv ptm pte xym xye ptf xyf vxye vxyf jet", FOUR),
        ("v3 c3 c3f point p3 r3 z3 vc3 vv3", THREE),
        ("v2 x2 q2", ("X", "Y", "Phi")),
    ],
)
def test_split_or_not(
    data: rootml.Dataset, tree: Any, split: str, names: str, methods: Any
) -> None:
    texts = [f"{split}_{name}.{method}()" for name in names.split() for method in methods]
    assert_as_drawn(tree, data, texts)


@pytest.mark.parametrize("split", ["s", "d"])
def test_arrays_of_clones(data: rootml.Dataset, tree: Any, split: str) -> None:
    """A split TClonesArray is, in the file, the number of its objects and a list per member."""
    texts = [f"{split}_{name}.{method}()" for name in ("ca", "fourjets") for method in FOUR]
    texts += [f"{split}_hits.{method}()" for method in THREE]
    texts += [f"{split}_leptons.{member}.Phi()" for member in ("p4", "q4", "d3", "vertex")]
    texts += [f"{split}_leptons.p4.M()", f"{split}_leptons.q4.E()", f"{split}_lepton.q4.E()"]
    texts += [f"{split}_ca[1].Pt()", f"{split}_fourjets[0].Eta()", f"{split}_leptons[0].p4.Pt()"]
    texts += [f"{split}_leptons[0].id", f"{split}_leptons[1].q4.Px()", f"{split}_hits[2].Mag()"]
    texts += [f"{split}_vxye[0].Pt()", f"{split}_lepton.p4.Eta()", f"{split}_lepton.d3.Theta()"]
    texts += [f"Sum$({split}_ca.Pt() > 15 && {split}_ca.Eta() < .1)"]
    assert_as_drawn(tree, data, texts)


def test_members_that_are_not_split(data: rootml.Dataset, tree: Any) -> None:
    texts = [f"once.{member}.Phi()" for member in ("p4", "q4", "d3", "vertex")]
    assert_as_drawn(tree, data, [*texts, "once.q4.M()", "once.d3.X()"])


def test_a_file_that_uproot_does_not_read(root: Any, real_file: Any) -> None:
    path, name = real_file("uproot-issue475.root"), "Event/Elec/ElecEvent"
    declare(root)
    level, root.gErrorIgnoreLevel = root.gErrorIgnoreLevel, root.kFatal  # it lacks classes
    file = root.TFile(path)
    assert_as_drawn(file.Get(name), rootml.open(f"{path}:{name}"), ["fmc_tepos.X()"])
    file.Close()
    root.gErrorIgnoreLevel = level


def test_cuts_definitions_and_batches(data: rootml.Dataset, tree: Any) -> None:
    for cut in (
        "s_ca[0].Pt() > 15",
        "Max$(s_ca.Pt()) > 15",
        "s_lepton.q4.Eta() > -2 && s_lv.M() > 40",
    ):
        assert data.filter(cut).scan().num_rows == len(drawn(tree, "1", cut)) > 0
    drawn_cut = data.filter("s_ca.Pt() > 15", dialect="draw").scan().num_rows
    assert drawn_cut == len(np.unique(drawn(tree, "Entry$", "s_ca.Pt() > 15")))
    chosen = data.filter("s_ca.size() > 1").define(pair="s_ca[0] + s_ca[1]", mass="pair.M()")
    rows = np.concatenate(list(chosen.select(["mass", "s_vxye[0].Pt()"]).batches(7).numpy()))
    x, y, z, e = (drawn(tree, f"s_ca[0].{p}() + s_ca[1].{p}()") for p in ("Px", "Py", "Pz", "E"))
    np.testing.assert_allclose(rows[:, 0], np.sqrt(e**2 - x**2 - y**2 - z**2), rtol=1e-6)
    np.testing.assert_allclose(rows[:, 1], drawn(tree, "s_vxye[0].Pt()", "s_ca@.GetEntries() > 1"))
    near = data.select(["dr = s_ca.DeltaR(s_lv)", "pt = s_ca.Pt()[s_ca.Eta() < 0.1]"]).to_awkward()
    angle = drawn(tree, "TVector2::Phi_mpi_pi(s_ca.Phi() - s_lv.Phi())")
    eta = drawn(tree, "s_ca.Eta() - s_lv.Eta()")
    np.testing.assert_allclose(ak.flatten(near["dr"]), np.hypot(angle, eta), atol=1e-12)
    np.testing.assert_allclose(ak.flatten(near["pt"]), drawn(tree, "s_ca.Pt()", "s_ca.Eta() < .1"))


def test_only_the_members_that_are_needed_are_read(data: rootml.Dataset) -> None:
    """The bits of objects may be unreadable, and nobody asked for them."""
    for cut, names in (
        ("s_ca[0].Pt() > 3", {"s_ca.fP", "s_ca.fE"}),
        ("s_leptons[0].id > 3", {"s_leptons.id"}),
        ("s_fourjets[0].Pt() > 3", {"s_fourjets.TLorentzVector"}),
        ("any(d_lepton.d3.R() > 3)", {f"d_lepton.d3.fCoordinates.f{x}" for x in "XYZ"}),
    ):
        assert set(data.filter(cut).dependencies()[0].cuts) == names
    counts = data.select(["n = s_ca", "m = s_ca.size()"]).to_awkward()  # the column is the number
    assert counts["n"].tolist() == counts["m"].tolist() == [i % 4 for i in range(EVENTS)]


@pytest.mark.parametrize(
    ("text", "kind", "problem"),
    [
        ("s_cc.Pt()", MissingColumnError, r"no column 's_cc', needed by s_cc.Pt\(\); near"),
        ("s_ca.Ptt()", ExpressionError, r"TLorentzVector has no method Ptt\(\); nearest: 'Pt'"),
        ("s_c3.M()", ExpressionError, r"ROOT::Math::XYZVector has no method M\(\)"),
        ("s_ca.Pt(3)", ExpressionError, r"Pt\(\) takes no argument, in .*Pt\(3\)"),
        ("s_ca.DeltaR(3)", ExpressionError, "not a vector, but values without members"),
        ("s_ca.DeltaR()", ExpressionError, r"DeltaR\(\) takes another vector"),
        ("(s_lv + 1).M()", ExpressionError, r"'\+' between TLorentzVector and a number"),
        ("(s_lv + s_v3).M()", ExpressionError, r"'\+' between TLorentzVector and TVector3"),
        ("s_lv > 3", ExpressionError, "numbers are needed here"),
        ("s_leptons.Pt()", ExpressionError, "not a vector, but values without members"),
        (
            "u_ca.Pt()",
            UnsupportedTypeError,
            r"'u_ca' cannot be read: TClonesArray.*write what you",
        ),
        ("u_lepton.p4.Pt()", UnsupportedTypeError, "bytes between their members.*write what you"),
    ],
)
def test_refused(path: str, text: str, kind: type[Exception], problem: str) -> None:
    with pytest.raises(kind, match=problem):
        rootml.open(f"{path}:Few").select([f"z = {text}"]).to_awkward()


@pytest.mark.parametrize("members", [True, False])
def test_vectors_member_by_member_or_not(root: Any, tmp_path: Path, *, members: bool) -> None:
    declare(root)
    name = str(tmp_path / "v.root")
    root.rootml_trees.by_objects(name, members)
    file = root.TFile(name)
    assert_as_drawn(file.Get("Events"), rootml.open(name), ["v.Pt()", "v.M()", "c.X()", "c.Z()"])
    file.Close()


def test_damaged_objects_are_an_error(root: Any, path: str, tmp_path: Path) -> None:
    """A bit of a header that is turned round."""
    declare(root)
    data = Path(path).read_bytes()
    at = data.find(bytes.fromhex("400000160000455541af"))  # of a PtEtaPhiM4D<Double32_t>
    assert at > 0
    broken = tmp_path / "broken.root"
    broken.write_bytes(data[:at] + b"\x41" + data[at + 1 :])
    with pytest.raises(UnsupportedTypeError, match="does not say that it has 22 bytes"):
        rootml.open(f"{broken}:Events").select(["z = u_ptm.Pt()"]).to_awkward()


@pytest.mark.long
def test_vectors_that_need_a_dictionary(root: Any, tmp_path: Path) -> None:
    """``std::vector<TLorentzVector>`` and the like: ROOT compiles how to write them."""
    code = r"""
#include <Math/Vector4D.h>
#include <TFile.h>
#include <TLorentzVector.h>
#include <TTree.h>
#include <vector>
class RootmlDijet { public: std::vector<TLorentzVector> jets; std::vector<ROOT::Math::PtEtaPhiMVector> four; ClassDef(RootmlDijet, 1) };
class RootmlBJet : public TLorentzVector { public: Float_t btag = 0; ClassDef(RootmlBJet, 1) };
#ifdef __CLING__
#pragma link C++ class RootmlDijet+;
#pragma link C++ class RootmlBJet+;
#pragma link C++ class std::vector<RootmlBJet>+;
#pragma link C++ class std::vector<TLorentzVector>+;
#pragma link C++ class std::vector<ROOT::Math::PtEtaPhiMVector>+;
#pragma link C++ class std::vector<ROOT::Math::LorentzVector<ROOT::Math::PtEtaPhiM4D<float>>>+;
#endif
template <class T> void branches(TTree &tree, const std::string &name, T *&object) {
  tree.Branch(("u_" + name).c_str(), &object, 32000, 0);
  tree.Branch(("s_" + name).c_str(), &object, 32000, 99);
}
void rootml_compiled(const char *path) {
  TFile file(path, "recreate"); TTree tree("Events", "Events");
  auto *lv = new std::vector<TLorentzVector>; branches(tree, "lv", lv);
  auto *ptm = new std::vector<ROOT::Math::PtEtaPhiMVector>; branches(tree, "ptm", ptm);
  auto *ptf = new std::vector<ROOT::Math::LorentzVector<ROOT::Math::PtEtaPhiM4D<float>>>; branches(tree, "ptf", ptf);
  auto *bjets = new std::vector<RootmlBJet>; branches(tree, "bjets", bjets);
  auto *dijet = new RootmlDijet; branches(tree, "dijet", dijet);
  for (int i = 0; i < 40; ++i) {
    lv->clear(); ptm->clear(); ptf->clear(); bjets->clear(); dijet->jets.clear(); dijet->four.clear();
    for (int k = 0; k < i % 4; ++k) {
      lv->emplace_back(i, k, 1, 90); ptm->emplace_back(i, 1 - k, 2, 5); ptf->emplace_back(i, 1 - k, 2, 5);
      bjets->emplace_back(); bjets->back().SetPxPyPzE(k, i, 3, 60);
      dijet->jets.emplace_back(k, 2, i, 99); dijet->four.emplace_back(i + 1, k, 1, 2);
    }
    tree.Fill();
  }
  tree.Write();
}
"""
    source = tmp_path / "rootml_compiled.C"
    source.write_text(code)
    root.gInterpreter.ProcessLine(f".L {source}+")
    name = str(tmp_path / "v.root")
    root.rootml_compiled(name)
    file = root.TFile(name)
    makes = ("u_lv", "s_lv", "u_ptm", "s_ptm", "u_ptf", "s_ptf", "s_bjets", "s_dijet.jets",
             "s_dijet.four")  # fmt: skip
    texts = [f"{make}.{method}()" for make in makes for method in FOUR]
    texts += [f"{make}[1].Pt()" for make in makes]
    assert_as_drawn(file.Get("Events"), rootml.open(name), texts)
    file.Close()
    with pytest.raises(UnsupportedTypeError, match="bytes between their members"):
        rootml.open(name).select(["z = u_bjets.Pt()"]).to_awkward()
