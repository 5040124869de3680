"""The same expressions in ROOT and here, on the same files; and where the answers differ, both.

RDataFrame compiles C++, ``TTree::Draw`` has its own formula language with ``Sum$`` and friends.
Both read the file by themselves; we read it with uproot.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from rootml.errors import ExpressionError, MissingElementError
from rootml.expressions import column_values, cut_mask, parse

pytestmark = pytest.mark.needs_root

MAKE = """
auto make_rootml_expression_file(const char *path) {
  TFile file(path, "RECREATE");
  TTree tree("T", "T");
  int n, i; unsigned int u; float x, pt[8], eta[8]; double d; bool f; Long64_t big;
  tree.Branch("n", &n, "n/I"); tree.Branch("i", &i, "i/I"); tree.Branch("u", &u, "u/i");
  tree.Branch("x", &x, "x/F"); tree.Branch("d", &d, "d/D"); tree.Branch("f", &f, "f/O");
  tree.Branch("big", &big, "big/L");
  tree.Branch("pt", pt, "pt[n]/F"); tree.Branch("eta", eta, "eta[n]/F");
  TRandom3 random(7);
  for (int event = 0; event < 500; ++event) {
    n = event % 5; i = event - 250; u = event % 9; f = event % 3 == 0;
    x = event % 50 == 7 ? std::nanf("") : event % 10 == 3 ? 30.1f : (float)random.Uniform(-50, 50);
    d = random.Gaus(0, 10); big = 1234567890123LL * event;
    for (int k = 0; k < n; ++k) { pt[k] = random.Exp(30); eta[k] = random.Gaus(0, 2); }
    tree.Fill();
  }
  tree.Write();
}
"""


@pytest.fixture(scope="module")
def path(root: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    root.gInterpreter.ProcessLine(".O 0")  # most of the time is compiling
    root.gInterpreter.Declare(MAKE)
    path = str(tmp_path_factory.mktemp("expressions") / "t.root")
    root.make_rootml_expression_file(path)
    return path


@pytest.fixture(scope="module")
def columns(path: str) -> dict[str, Any]:
    with uproot.open(path) as file:
        arrays = file["T"].arrays(library="ak")
    names = arrays.fields
    return {n: arrays[n] if arrays[n].ndim > 1 else ak.to_numpy(arrays[n]) for n in names}


NUM = 500

# (our text, RDataFrame's C++ where it differs)
SAME_AS_RDATAFRAME = [
    "x > 30.1",  # a float column against a double literal: 30.1f is above it
    "x == 30.1f",
    "x >= 30.1 && d < 5",
    "!(x > 0)",  # NaN passes
    "x != x",
    "f || n > 3",
    "f && !(i < 0)",
    "i / 4.0 > 12.25",
    "i % 7 == -3",  # the sign of the dividend
    "i % 2 == 0 ? x > 0 : x < 0",
    "(i & 6) != 0",
    "((i | 8) & 12) == 12",
    "(i << 2) > 100",
    "abs(d) < 3",
    "std::abs(d) + TMath::Abs(x) < 20",
    "sqrt(d * d + x * x) < 25",
    "std::hypot(d, x) < 25",
    "pow(d, 2) > 50",
    "TMath::Power(d, 2) > 50 && TMath::Sqrt(abs(d)) < 4",
    "atan2(d, x) > 1",
    "std::exp(-abs(d)) < 0.01",
    "log(abs(d) + 1) > 2 || log10(abs(d) + 1) < 0.1",
    "TMath::Max(i, n) > 20 && TMath::Min(d, 0.0) < -1",
    "floor(d) == -2 || ceil(d) == 3",
    "big > 500000000000000",
    "big % 1000 == 0",
    "std::isnan(x)",
    "std::isfinite(x) && x > 40",
    "u > 3 && i > -100",
    "d > 1e1 || d < -.5e+1",
    "d > 0 | x > 0 && n > 2",
    "n > 2 && d > 0 | x > 0",
    "n > 2 || d > 0 & x > 0",
    "d > 0 & x > 0 || f",
]

AGAINST_VECOPS = [
    ("Sum$(pt)", "double(ROOT::VecOps::Sum(pt))"),
    ("sum(pt[abs(eta) < 2])", "double(ROOT::VecOps::Sum(pt[abs(eta) < 2]))"),
    ("len(pt[pt > 20])", "double(pt[pt > 20].size())"),
    ("any(pt > 50)", "double(ROOT::VecOps::Any(pt > 50))"),
    ("all(pt > 5)", "double(ROOT::VecOps::All(pt > 5))"),
    ("n > 0 ? max(pt) : -1", "n > 0 ? double(ROOT::VecOps::Max(pt)) : -1."),
    ("n > 0 ? pt[argmax(eta)] : -1", "n > 0 ? double(pt[ROOT::VecOps::ArgMax(eta)]) : -1."),
    ("n > 1 ? pt[1] - pt[n - 1] : 0", "n > 1 ? double(pt[1]) - pt[n - 1] : 0."),
    ("n > 1 ? mean(pt) : 0", "n > 1 ? ROOT::VecOps::Mean(pt) : 0."),
    ("n > 1 ? DeltaPhi(eta[0], eta[1]) : 0",
     "n > 1 ? ROOT::VecOps::DeltaPhi(double(eta[0]), double(eta[1])) : 0."),
]  # fmt: skip


def test_cuts_as_in_rdataframe(root: Any, path: str, columns: dict[str, Any]) -> None:
    frame = root.RDataFrame("T", path)
    for number, text in enumerate(SAME_AS_RDATAFRAME):
        frame = frame.Define(f"cut{number}", f"bool({text})")
    names = [f"cut{number}" for number in range(len(SAME_AS_RDATAFRAME))]
    expected = frame.AsNumpy(names)
    for name, text in zip(names, SAME_AS_RDATAFRAME, strict=True):
        ours = cut_mask(parse(text), columns, NUM)
        np.testing.assert_array_equal(ours, expected[name].astype(bool), err_msg=text)
        assert 0 < ours.sum() < NUM, f"{text} does not tell events apart"


def test_lists_as_in_vecops(root: Any, path: str, columns: dict[str, Any]) -> None:
    frame = root.RDataFrame("T", path)
    for number, (_, theirs) in enumerate(AGAINST_VECOPS):
        frame = frame.Define(f"v{number}", theirs)
    expected = frame.AsNumpy([f"v{number}" for number in range(len(AGAINST_VECOPS))])
    for number, (text, _) in enumerate(AGAINST_VECOPS):
        ours = column_values(parse(text), columns, NUM, missing=0)
        np.testing.assert_allclose(
            ours, expected[f"v{number}"], rtol=1e-6, atol=1e-6, err_msg=text
        )


FORMULAS = [
    "Sum$(pt)",
    "Sum$(pt > 20)",
    "Sum$(pt * (abs(eta) < 2))",
    "Length$(pt)",
    "Sum$(pt * eta) / (1 + Length$(pt))",
    "Alt$(pt[1], -3)",
    "n + i * 2",
    "TMath::Abs(d) + x * 0.5",
    "(i > 0) * 3 + (f || n > 2)",
    "MaxIf$(pt, eta > 0) * (Sum$(eta > 0) > 0)",
]


def drawn(tree: Any, text: str, cut: str = "") -> Any:
    count = tree.Draw(text, cut, "goff")
    return np.array([tree.GetV1()[k] for k in range(count)])


@pytest.mark.parametrize("text", FORMULAS)
def test_values_as_in_tree_draw(root: Any, path: str, columns: dict[str, Any], text: str) -> None:
    file = root.TFile.Open(path)
    expected = drawn(file.Get("T"), text, "x == x")
    known = columns["x"] == columns["x"]
    ours = np.asarray(column_values(parse(text), columns, NUM, missing=0), float)
    np.testing.assert_allclose(ours[known], expected, rtol=1e-6, atol=1e-6)


def test_max_of_lists_as_in_tree_draw(root: Any, path: str, columns: dict[str, Any]) -> None:
    """Where there is a list: of an empty one ROOT says 0, we say missing."""
    file = root.TFile.Open(path)
    expected = drawn(file.Get("T"), "Max$(pt) - Min$(pt)", "n > 0")
    ours = column_values(parse("Max$(pt) - Min$(pt)"), columns, NUM, missing=0)
    np.testing.assert_allclose(ours[columns["n"] > 0], expected, rtol=1e-6)


@pytest.mark.parametrize("cut", ["Sum$(pt > 20) >= 2 && Max$(abs(eta)) < 2.4", "pt[0] > 30"])
def test_entries_as_in_tree_draw(root: Any, path: str, columns: dict[str, Any], cut: str) -> None:
    file = root.TFile.Open(path)
    expected = file.Get("T").Draw("i", f"({cut}) && n > 0", "goff")
    assert cut_mask(parse(f"({cut}) && n > 0"), columns, NUM).sum() == expected > 0


def test_real_file(root: Any, real_file: Callable[[str], str]) -> None:
    path = real_file("uproot-HZZ.root")
    with uproot.open(path) as file:
        names = ["NJet", "Jet_Px", "Jet_Py", "MET_px", "MET_py", "Muon_Px", "NMuon"]
        arrays = {name: file["events"][name].array() for name in names}
    columns = {n: a if a.ndim > 1 else ak.to_numpy(a) for n, a in arrays.items()}
    number = len(columns["NJet"])
    texts = [
        "NJet >= 2 && sqrt(MET_px*MET_px + MET_py*MET_py) > 20",
        "Sum$(sqrt(Jet_Px*Jet_Px + Jet_Py*Jet_Py) > 30) >= 1",
        "NMuon == 2 && Muon_Px[0] * Muon_Px[1] < 0",
    ]
    tree = root.TFile.Open(path)
    for text in texts:
        expected = tree.Get("events").Draw("NJet", text, "goff")
        assert cut_mask(parse(text), columns, number).sum() == expected > 0


DEVIATIONS = [
    "i / 4", "i > 1 & n > 2", "-1 < n < 3", "n ^ 2", "std::max(d, double(x))",
    "std::max(double(x), d)", "u - 5", "u > -1", "x * x", "x == 30.1",
]  # fmt: skip
"""What RDataFrame is asked in `TestDeviations`, in one pass."""


@pytest.fixture(scope="module")
def rdf(root: Any, path: str) -> Callable[[str], Any]:
    """What RDataFrame answers to one of `DEVIATIONS`."""
    frame = root.RDataFrame("T", path)
    for number, text in enumerate(DEVIATIONS):
        frame = frame.Define(f"answer{number}", text)
    found = frame.AsNumpy([f"answer{number}" for number in range(len(DEVIATIONS))])
    return lambda text: found[f"answer{DEVIATIONS.index(text)}"]


class TestDeviations:
    """Each deviation of ours, with ROOT's answer beside it."""

    def test_division_is_true_division(self, rdf: Any, columns: dict[str, Any]) -> None:
        np.testing.assert_array_equal(rdf("i / 4"), np.trunc(columns["i"] / 4))
        ours = column_values(parse("i / 4"), columns, NUM)
        np.testing.assert_array_equal(ours, columns["i"] / 4.0)

    def test_and_binds_looser_than_comparisons(self, rdf: Any, columns: dict[str, Any]) -> None:
        """C++ agrees for numbers; Python would compare ``1 & x``."""
        ours = cut_mask(parse("i > 1 & n > 2"), columns, NUM)
        np.testing.assert_array_equal(ours, rdf("i > 1 & n > 2").astype(bool))
        i, n = columns["i"], columns["n"]
        assert not np.array_equal(ours, (i > (1 & n)) & ((1 & n) > 2))

    def test_chained_comparisons(self, rdf: Any, columns: dict[str, Any]) -> None:
        """C++ compares 0 or 1 with the last number: always true here."""
        assert rdf("-1 < n < 3").astype(bool).all()
        ours = cut_mask(parse("-1 < n < 3"), columns, NUM)
        np.testing.assert_array_equal(ours, columns["n"] < 3)

    def test_caret_is_refused(self, root: Any, path: str, rdf: Any) -> None:
        file = root.TFile.Open(path)
        n = np.arange(NUM) % 5
        np.testing.assert_array_equal(drawn(file.Get("T"), "n^2"), n**2)
        np.testing.assert_array_equal(rdf("n ^ 2"), n ^ 2)
        with pytest.raises(ExpressionError, match="write \\*\\* or pow"):
            parse("n^2")

    def test_jagged_cut_needs_a_reducer(
        self, root: Any, path: str, columns: dict[str, Any]
    ) -> None:
        """TTree::Draw selects elements: more than events."""
        file = root.TFile.Open(path)
        elements = file.Get("T").Draw("pt", "pt > 10", "goff")
        assert elements == ak.sum(columns["pt"] > 10)
        with pytest.raises(ExpressionError, match="reduce it"):
            cut_mask(parse("pt > 10"), columns, NUM)

    def test_a_missing_element_is_unknown(
        self, root: Any, path: str, columns: dict[str, Any]
    ) -> None:
        """TTree::Draw drops events without the element, even where it does not matter."""
        file = root.TFile.Open(path)
        cut = "n < 1 || pt[0] > 30"
        theirs = file.Get("T").Draw("i", cut, "goff")
        ours = cut_mask(parse(cut), columns, NUM).sum()
        empty = int((columns["n"] == 0).sum())
        assert ours == theirs + empty
        assert not cut_mask(parse("!(pt[0] > 30)"), columns, NUM)[columns["n"] == 0].any()

    def test_a_missing_element_in_a_define(
        self, root: Any, path: str, columns: dict[str, Any]
    ) -> None:
        """TTree::Draw gives fewer values than events: they shift against other columns."""
        file = root.TFile.Open(path)
        assert len(drawn(file.Get("T"), "pt[0]")) == int((columns["n"] > 0).sum()) < NUM
        with pytest.raises(MissingElementError, match="100 of 500 events"):
            column_values(parse("pt[0]"), columns, NUM)

    def test_max_of_an_empty_list_is_missing(
        self, root: Any, path: str, columns: dict[str, Any]
    ) -> None:
        """ROOT says 0."""
        file = root.TFile.Open(path)
        assert set(drawn(file.Get("T"), "Max$(pt)", "n == 0")) == {0.0}
        value = parse("Max$(pt)").evaluate(columns, NUM)
        np.testing.assert_array_equal(value.valid, columns["n"] > 0)

    def test_a_negative_computed_index_is_missing(self, columns: dict[str, Any]) -> None:
        """TTree::Draw prints an error, RDataFrame reads before the list, Python wraps around."""
        ours = cut_mask(parse("pt[n - 2] > -1"), columns, NUM)  # n = 1: pt[-1]
        np.testing.assert_array_equal(ours, columns["n"] > 1)
        ours = cut_mask(parse("n == 1 || pt[n - 2] > -1"), columns, NUM)
        np.testing.assert_array_equal(ours, columns["n"] > 0)
        last = column_values(parse("pt[-1]"), columns, NUM, missing=-9)
        expected = ak.to_numpy(ak.fill_none(ak.firsts(columns["pt"][:, ::-1]), -9))
        np.testing.assert_array_equal(last, expected)

    def test_maximum_with_nan(self, rdf: Any, columns: dict[str, Any]) -> None:
        """std::max(NaN, 1) is NaN and std::max(1, NaN) is 1; ours are both NaN, as NumPy's."""
        for text in ("std::max(d, double(x))", "std::max(double(x), d)"):
            theirs = rdf(text)
            ours = column_values(parse(text.replace("double(x)", "x")), columns, NUM)
            known = ~np.isnan(columns["x"])
            np.testing.assert_array_equal(ours[known], theirs[known])
            assert np.isnan(ours[~known]).all()
        assert not np.isnan(rdf("std::max(d, double(x))")).any()

    def test_unsigned_arithmetic_is_signed(self, rdf: Any, columns: dict[str, Any]) -> None:
        """C++ wraps around."""
        assert rdf("u - 5").max() > 4e9
        assert column_values(parse("u - 5"), columns, NUM).min() == -5
        assert not rdf("u > -1").any()
        assert cut_mask(parse("u > -1"), columns, NUM).all()

    def test_tilde_of_a_condition(self, root: Any, columns: dict[str, Any]) -> None:
        """C++: -1 or -2, which is always true (RDataFrame reads no ``~``); here as in NumPy."""
        assert root.gInterpreter.ProcessLine("(~int(true)) != 0 && (~int(false)) != 0;") == 1
        np.testing.assert_array_equal(cut_mask(parse("~f"), columns, NUM), ~columns["f"])

    def test_floats_are_compared_as_doubles(self, rdf: Any, columns: dict[str, Any]) -> None:
        """As in C++; NumPy rounds 30.1 to float, which ``30.1f`` says."""
        assert not rdf("x == 30.1").any()
        assert not cut_mask(parse("x == 30.1"), columns, NUM).any()
        expected = columns["x"] == np.float32(30.1)
        np.testing.assert_array_equal(cut_mask(parse("x == 30.1f"), columns, NUM), expected)

    def test_float_arithmetic_is_double(self, rdf: Any, columns: dict[str, Any]) -> None:
        """C++ stays in float when both are."""
        assert rdf("x * x").dtype == np.float32
        ours = column_values(parse("x * x"), columns, NUM)
        np.testing.assert_array_equal(ours, columns["x"].astype(np.float64) ** 2)

    def test_a_power_is_written_with_stars(self, columns: dict[str, Any]) -> None:
        """Python's spelling, which neither RDataFrame nor TTree::Draw knows as such."""
        np.testing.assert_array_equal(
            column_values(parse("n ** 2"), columns, NUM), columns["n"] ** 2
        )


def test_file_is_what_the_tests_think(path: str) -> None:
    assert Path(path).stat().st_size > 0
