"""Members of leaf lists and of objects, methods of Lorentz vectors, strings: ROOT's answers."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest

import rootml
from rootml.errors import RootmlError
from rootml.expressions import column_values, parse

pytestmark = pytest.mark.needs_root

MAKE = """
{ TFile f("%s", "recreate"); TTree t("Events", "Events");
  TLorentzVector *lv = new TLorentzVector; t.Branch("lv", &lv, 32000, 0);
  TLorentzVector *split = new TLorentzVector; t.Branch("split", &split, 32000, 99);
  ROOT::Math::PtEtaPhiMVector p4; t.Branch("p4", &p4, 32000, 99);
  ROOT::Math::XYZVectorF place; t.Branch("place", &place, 32000, 0);
  float size; t.Branch("größe", &size);
  struct { float x; int n; } ev; t.Branch("ev", &ev, "x/F:n/I");
  std::vector<std::string> names; t.Branch("names", &names);
  for (int i = 0; i < 40; ++i) {
    lv->SetPxPyPzE(i - 20, 3 - i %% 5, i %% 7 - 2, 30 + i);
    split->SetPxPyPzE(i, 1, 2, 10); ev.x = i * .5; size = 3 - i;
    p4.SetCoordinates(10 + i, 2 - i * .1, 3 - i * .1, 5); place.SetXYZ(i, -i, .5); ev.n = 2 * i;
    names.clear();
    for (int k = 0; k < i %% 3; ++k) names.push_back(k ? "mu" : "e");
    t.Fill();
  }
  t.Write(); f.Close(); }
"""
METHODS = ("Px", "Py", "Pz", "E", "Pt", "Eta", "Phi", "M", "P", "Theta", "Rapidity", "Et", "M2",
           "Mag", "Perp", "Beta", "CosTheta")  # fmt: skip


@pytest.fixture(scope="module")
def path(root: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("members") / "m.root")
    root.gInterpreter.ProcessLine(MAKE % path)
    return path


def test_d05_members_of_leaf_lists_and_objects(root: Any, path: str) -> None:
    frame = root.RDataFrame("Events", path).Define("e", "lv.E()").Define("px", "split.Px()")
    theirs = frame.AsNumpy(["ev.x", "ev.n", "e", "px"])
    columns = ["a = ev.x", "b = 2 * ev.n", "c = lv.fE", "d = split.fP.fX"]
    ours = rootml.open(path).select(columns).to_awkward()
    for name, other in (("a", "ev.x"), ("c", "e"), ("d", "px")):
        np.testing.assert_array_equal(ours[name], theirs[other])
    np.testing.assert_array_equal(ours["b"], 2 * theirs["ev.n"])
    expected = int(((theirs["ev.x"] > 3) & (theirs["e"] < 60)).sum())
    assert rootml.open(path).filter("ev.x > 3 && lv.fE < 60").scan().num_rows == expected


def test_methods_of_lorentz_vectors(root: Any, path: str) -> None:
    frame = root.RDataFrame("Events", path)
    for name in METHODS:
        frame = frame.Define(f"m_{name}", f"double(lv.{name}())")
    theirs = frame.AsNumpy([f"m_{name}" for name in METHODS])
    data = rootml.open(path).select([f"m_{name} = lv.{name}()" for name in METHODS])
    ours = data.to_awkward()
    for name in METHODS:
        np.testing.assert_allclose(
            ours[f"m_{name}"], theirs[f"m_{name}"], rtol=1e-12, atol=1e-12, err_msg=name
        )


def test_lists_of_strings_in_cuts(root: Any, path: str) -> None:
    text = 'std::find(names.begin(), names.end(), "mu") != names.end()'
    expected = root.RDataFrame("Events", path).Filter(text).Count().GetValue()
    data = rootml.open(path)
    assert data.filter("any(names == 'mu')").scan().num_rows == expected > 0
    assert data.filter("names.size() == 2 && names[1] == 'mu'").scan().num_rows == expected
    labels = data.select(["k = len(names)", "e = any(names == 'e')"]).to_awkward()
    assert labels["k"].tolist()[:4] == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ev.y > 1", "no member 'y'; nearest: 'x', 'n'"),
        ("lv.Ptt() > 1", r"no method Ptt\(\); nearest: 'Pt'"),
        ("ev.Pt() > 1", r"not a vector, but a record of .* in \(ev.Pt\(\) > 1\)"),
    ],
)
def test_mistakes(path: str, text: str, problem: str) -> None:
    with pytest.raises(RootmlError, match=problem):
        rootml.open(path).filter(text).scan()


def test_vectors_as_a_snapshot_writes_them(root: Any, path: str) -> None:
    frame = root.RDataFrame("Events", path)
    names = ("Pt", "Eta", "Phi", "M", "E", "Px", "Pz", "Rapidity")
    for name in names:
        frame = frame.Define(f"m_{name}", f"double(p4.{name}())")
    theirs = frame.AsNumpy([f"m_{name}" for name in names])
    columns = [*(f"m_{name} = p4.{name}()" for name in names), "short = p4.fCoordinates.fPt"]
    ours = rootml.open(path).select(columns).to_awkward()
    for name in names:
        np.testing.assert_allclose(ours[f"m_{name}"], theirs[f"m_{name}"], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(ours["short"], 10.0 + np.arange(40))


def test_an_object_with_a_header_keeps_its_byte_order(root: Any, path: str) -> None:
    frame = root.RDataFrame("Events", path).Define("x", "place.X()").Define("y", "place.Y()")
    theirs = frame.AsNumpy(["x", "y"])
    columns = ["x = place.fCoordinates.fX", "y = place.fCoordinates.fY"]
    ours = rootml.open(path).filter("place.fCoordinates.fZ == 0.5").select(columns).to_awkward()
    for name in ("x", "y"):
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_letters_beyond_ascii_in_names(path: str) -> None:
    data = rootml.open(path).filter("größe > 0").select(["twice = 2 * größe"])
    assert data.to_awkward()["twice"].tolist() == [6.0, 4.0, 2.0]


def test_one_lorentz_vector_of_a_list() -> None:
    coordinates = ak.zip(
        {"fPt": [3.0, 4, 5], "fEta": [0.0] * 3, "fPhi": [0.0] * 3, "fM": [1.0] * 3}
    )
    vectors = ak.unflatten(ak.zip({"fCoordinates": coordinates}, depth_limit=1), [1, 0, 2])
    found = parse("jets.size() > 0 && jets[0].Pt() > 3.5 ? jets[0].Pt() : -1")
    assert column_values(found, {"jets": vectors}, 3).tolist() == [-1.0, -1.0, 4.0]
