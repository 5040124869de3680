"""Methods and arithmetic of vectors: ROOT writes vectors, and what its classes say of them.

Each tree has the vectors of one class, at the edges too: no length, along the beam, space-like,
below zero energy, far forward, NaN, infinite. A column for each method has ROOT's own answers.
"""

from __future__ import annotations

# ruff: noqa: E501
from typing import Any

import numpy as np
import pytest

import rootml

CODE = r"""
#include <Math/Vector2D.h>
#include <Math/Vector3D.h>
#include <Math/Vector4D.h>
#include <Math/VectorUtil.h>
#include <TFile.h>
#include <TLorentzVector.h>
#include <TMemFile.h>
#include <TTree.h>
#include <TVector2.h>
#include <limits>

namespace rootml_vectors {
template <class V> struct First { const char *text; double (*value)(const V &); };
template <class V> struct Second { const char *text; double (*value)(const V &, const V &); };
template <class V> using One = std::vector<First<V>>;
template <class V> using Two = std::vector<Second<V>>;

template <class V>
void write(TFile &file, const char *name, const std::vector<V> &all, const One<V> &one, const Two<V> &two) {
  V *v = new V, *w = new V;
  TMemFile memory("memory.root", "recreate");
  TTree stored("stored", "");  // as float32, where the class has Double32_t
  stored.Branch("v", &v); stored.Branch("w", &w);
  for (size_t k = 0; k < all.size(); ++k) {
    *v = all[k]; *w = all[(k * 7 + 3) % all.size()];
    stored.Fill();
  }
  file.cd();
  TTree tree(name, name);
  tree.Branch("v", &v); tree.Branch("w", &w);
  std::vector<double> values(one.size() + two.size());
  for (size_t i = 0; i < values.size(); ++i) {
    auto text = i < one.size() ? one[i].text : two[i - one.size()].text;
    tree.Branch(("m_" + std::to_string(i)).c_str(), &values[i])->SetTitle(text);
  }
  for (size_t k = 0; k < all.size(); ++k) {
    stored.GetEntry(k);
    for (size_t i = 0; i < one.size(); ++i) values[i] = one[i].value(*v);
    for (size_t i = 0; i < two.size(); ++i) values[one.size() + i] = two[i].value(*v, *w);
    tree.Fill();
  }
  tree.Write();
}

std::vector<std::array<double, 4>> edges() {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  return {
    {3, 4, 12, 15}, {-3, 4, -12, 15}, {1, -2, .5, 9}, {-2, -1, 30, 40}, {.3, .4, 0, 1}, {-5, 0, 2, 8},
    {0, 0, 0, 0}, {-0., -0., -0., 0}, {0, 0, 0, 4}, {0, 0, 7, 9}, {0, 0, -7, 9}, {0, 0, 7, 7}, {-0., 0, 3, 5},
    {0, 3, 0, 5}, {0, -3, 1, 5}, {-3, 0, 1, 5}, {-3, -0., 1, 5}, {3, 4, 12, 13}, {3, 4, 12, 2}, {3, 4, 0, 0},
    {3, 4, 12, -15}, {3, 4, 12, -2}, {0, 0, 5, -3}, {1, 0, 1e4, 1e5}, {1, 1, -1e8, 1e9}, {1, 0, 1e12, 2e12},
    {1e-5, 0, -1e12, 2e12}, {1e-160, 0, 1, 2}, {1e200, 1, 1, 1e201}, {1e-300, 1e-300, 1e-300, 1},
    {nan, 1, 2, 3}, {1, nan, 2, 3}, {0, nan, 2, 3}, {1, 2, nan, 3}, {1, 2, 3, nan}, {0, 0, nan, 3},
    {inf, 1, 2, inf}, {1, 2, inf, inf}, {1, 2, -inf, inf}, {1, 2, 3, inf}, {2, 2, 2, 5}, {-1, 7, -3, 20}};
}

template <class V> std::vector<V> made(bool raw) {
  std::vector<V> all;
  for (auto &e : edges()) { V v; v.SetXYZT(e[0], e[1], e[2], e[3]); all.push_back(v); }
  for (auto &e : edges()) if (raw) all.push_back(V(e[0], e[2], e[1], e[3]));
  return all;
}
template <class V> std::vector<V> made3(bool raw) {
  std::vector<V> all;
  for (auto &e : edges()) { V v; v.SetXYZ(e[0], e[1], e[2]); all.push_back(v); }
  for (auto &e : edges()) if (raw) all.push_back(V(e[0], e[2], e[1]));
  return all;
}
template <class V> std::vector<V> made2() {
  std::vector<V> all;
  for (auto &e : edges()) all.push_back(V(e[0], e[1]));
  return all;
}

#define ONE(name) {"v." #name "()", [](const V &v) { return double(v.name()); }}
#define TWO(name) {"v." #name "(w)", [](const V &v, const V &w) { return double(v.name(w)); }}
#define TEXT(text) {#text, [](const V &v, const V &w) { return double(text); }}

template <class V> void math4(TFile &file, const char *name, bool raw) {
  using namespace ROOT::Math;
  write<V>(file, name, made<V>(raw),
    {ONE(Px), ONE(X), ONE(y), ONE(Py), ONE(Pz), ONE(z), ONE(E), ONE(T), ONE(energy), ONE(Pt), ONE(pt), ONE(Rho), ONE(Perp2), ONE(P), ONE(R), ONE(P2),
     ONE(Eta), ONE(eta), ONE(Phi), ONE(Theta), ONE(M), ONE(mass), ONE(M2), ONE(mag2), ONE(Mt), ONE(Mt2), ONE(Et), ONE(Et2), ONE(Rapidity),
     ONE(Beta), ONE(Gamma)},
    {TWO(DeltaR), TEXT(v.DeltaR(w, true)), TWO(Dot), TEXT((v + w).M()), TEXT((v - w).Pt()), TEXT((v + w).Eta()), TEXT((v * 2).Pt()),
     TEXT((-2. * v).Phi()), TEXT((-2. * v).Eta()), TEXT((-v).E()), TEXT((v / 2).M()), TEXT(v.Vect().Mag2()), TEXT(v.Vect().Eta()),
     TEXT((v + w + w).E()), TEXT(VectorUtil::DeltaR(v, w)), TEXT(VectorUtil::DeltaPhi(v, w)), TEXT(VectorUtil::DeltaR2(v, w)),
     TEXT(VectorUtil::Angle(v, w)), TEXT(VectorUtil::CosTheta(v, w)), TEXT(VectorUtil::InvariantMass(v, w)),
     TEXT(VectorUtil::InvariantMass2(v, w)), TEXT(v.Vect().Cross(w.Vect()).X()), TEXT(v.Vect().Unit().Z())});
}
template <class V> void math3(TFile &file, const char *name, bool raw) {
  using namespace ROOT::Math;
  write<V>(file, name, made3<V>(raw),
    {ONE(X), ONE(Y), ONE(Z), ONE(x), ONE(R), ONE(r), ONE(Rho), ONE(Mag2), ONE(Perp2), ONE(Eta), ONE(Phi), ONE(phi), ONE(Theta)},
    {TWO(Dot), TEXT((v + w).R()), TEXT((v - w).Eta()), TEXT((v * 3).Rho()), TEXT((-2. * v).Phi()), TEXT((-2. * v).Z()), TEXT((v / 4).R()),
     TEXT(v.Cross(w).Z()), TEXT(v.Unit().R()), TEXT(VectorUtil::DeltaR(v, w)), TEXT(VectorUtil::Angle(v, w))});
}
template <class V> void math2(TFile &file, const char *name) {
  write<V>(file, name, made2<V>(), {ONE(X), ONE(Y), ONE(R), ONE(Phi), ONE(Mag2)},
           {TWO(Dot), TEXT((v + w).R()), TEXT((v - w).X()), TEXT((v * 3).R()), TEXT((v * -3).Phi()), TEXT(v.Unit().X())});
}

void all(const char *path) {
  using namespace ROOT::Math;
  TFile file(path, "recreate");
  math4<PxPyPzEVector>(file, "PxPyPzE", false);
  math4<PxPyPzMVector>(file, "PxPyPzM", true);
  math4<PtEtaPhiMVector>(file, "PtEtaPhiM", true);
  math4<PtEtaPhiEVector>(file, "PtEtaPhiE", true);
  math3<XYZVector>(file, "XYZ", false);
  math3<Polar3DVector>(file, "Polar3D", true);
  math3<RhoEtaPhiVector>(file, "RhoEtaPhi", true);
  math3<RhoZPhiVector>(file, "RhoZPhi", true);
  math2<XYVector>(file, "XY");
  math2<Polar2DVector>(file, "Polar2D");
  {
    using V = TLorentzVector;
    std::vector<V> all;
    for (auto &e : edges()) all.emplace_back(e[0], e[1], e[2], e[3]);
    write<V>(file, "TLorentzVector", all,
      {ONE(Px), ONE(X), ONE(Py), ONE(Pz), ONE(E), ONE(T), ONE(Energy), ONE(Pt), ONE(Perp), ONE(Perp2), ONE(P), ONE(Rho), ONE(Eta),
       ONE(PseudoRapidity), ONE(Phi), ONE(Theta), ONE(CosTheta), ONE(M), ONE(Mag), ONE(M2), ONE(Mag2), ONE(Mt), ONE(Mt2), ONE(Et), ONE(Et2),
       ONE(Rapidity), ONE(Beta), ONE(Gamma), ONE(Plus), ONE(Minus)},
      {TWO(DeltaR), TEXT(v.DeltaR(w, true)), TWO(DeltaPhi), TWO(DrEtaPhi), TWO(DrRapidityPhi), TWO(Dot), TEXT(v * w), TEXT((v + w).M()),
       TEXT((v - w).M()), TEXT((v + w).Eta()), TEXT((v * 2).Pt()), TEXT((2 * v).E()), TEXT((-v).Phi()), TEXT(v.Vect().Mag()),
       TEXT(v.Vect().Eta()), TEXT(v.Angle(w.Vect())), TEXT(v.Vect().Cross(w.Vect()).Mag()), TEXT(v.Vect().Unit().X())});
  }
  {
    using V = TVector3;
    std::vector<V> all;
    for (auto &e : edges()) all.emplace_back(e[0], e[1], e[2]);
    write<V>(file, "TVector3", all,
      {ONE(X), ONE(Px), ONE(Y), ONE(Z), ONE(Pz), ONE(Mag), ONE(Mag2), ONE(Pt), ONE(Perp), ONE(Perp2), ONE(Eta), ONE(PseudoRapidity), ONE(Phi),
       ONE(Theta), ONE(CosTheta)},
      {TWO(Dot), TWO(Angle), TWO(DeltaPhi), TWO(DeltaR), TWO(DrEtaPhi), TEXT(v * w), TEXT((v + w).Mag()), TEXT((v - w).Eta()),
       TEXT((v * 3).Mag()), TEXT((-v).Phi()), TEXT(v.Cross(w).Z()), TEXT(v.Unit().Y())});
  }
  write<TVector2>(file, "TVector2", made2<TVector2>(),
    []{ using V = TVector2; return One<V>{ONE(X), ONE(Px), ONE(Y), ONE(Mod), ONE(Mod2), ONE(Phi)}; }(),
    []{ using V = TVector2; return Two<V>{TWO(DeltaPhi), TEXT(v * w), TEXT((v + w).Mod()), TEXT((v - w).Phi()), TEXT((v * 3).Mod()),
                                          TEXT((v / 2).X()), TEXT(v.Unit().X())}; }());
}
}
"""
TREES = (
    "TLorentzVector", "TVector3", "TVector2", "PxPyPzE", "PxPyPzM", "PtEtaPhiM", "PtEtaPhiE",
    "XYZ", "Polar3D", "RhoEtaPhi", "RhoZPhi", "XY", "Polar2D",
)  # fmt: skip


@pytest.fixture(scope="module")
def path(root: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    name = str(tmp_path_factory.mktemp("vectors") / "v.root")
    root.gSystem.Load("libGenVector")
    root.gInterpreter.ProcessLine(".O 0")  # most of the time is compiling
    assert root.gInterpreter.Declare(CODE)
    level, root.gErrorIgnoreLevel = root.gErrorIgnoreLevel, root.kFatal  # it complains of NaN
    root.rootml_vectors.all(name)
    root.gErrorIgnoreLevel = level
    return name


@pytest.mark.needs_root
@pytest.mark.parametrize("tree", TREES)
def test_methods_and_arithmetic(root: Any, path: str, tree: str) -> None:
    file = root.TFile(path)
    titles = {b.GetName(): b.GetTitle() for b in file.Get(tree).GetListOfBranches()}
    file.Close()
    texts = {name: text for name, text in titles.items() if name.startswith("m_")}
    data = rootml.open(f"{path}:{tree}")
    theirs = data.select(list(texts)).to_awkward()
    ours = data.select([f"our_{name} = {text}" for name, text in texts.items()]).to_awkward()
    rtol = 2e-6 if tree.startswith("PtEta") else 1e-9  # where p and energy nearly cancel
    for name, text in texts.items():
        np.testing.assert_allclose(
            ours[f"our_{name}"], theirs[name], rtol=rtol, atol=1e-12, err_msg=text
        )
