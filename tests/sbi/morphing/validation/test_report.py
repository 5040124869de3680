"""Reports: known answers, all kinds of input, JSON, text, pictures, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import pytest
import uproot
from morphing_known import Known
from morphing_toy import CONDITIONS, FEATURES, toy
from scipy import stats

import rootml
from rootml.errors import (
    CastError,
    EmptySelectionError,
    MissingColumnError,
    MissingFileError,
    NonFiniteError,
    SchemaError,
    StateError,
    UnsupportedTypeError,
    UsageError,
)
from rootml.sbi.morphing.inference._rows import Names
from rootml.sbi.morphing.validation._metrics_sample import Sample
from rootml.sbi.morphing.validation._plots import file_names
from rootml.sbi.morphing.validation._report import ClosureReport
from rootml.sbi.morphing.validation._validate import make_report, validate_correction
from rootml.sbi.morphing.validation._validate_compare import Options

Float = npt.NDArray[np.float64]
QUICK = Options(classifier="trees", slices=3)


@pytest.fixture(scope="module")
def report() -> ClosureReport:
    """The paper's toy: simulation before, and independent data as the perfect correction."""
    data = Sample.of(toy("data", 4000), what="data")
    samples = {
        "before": Sample.of(toy("sim", 4000), what="simulation"),
        "after": Sample.of(toy("data", 4000, seed=7), what="corrected simulation"),
    }
    return make_report(
        data,
        samples,
        features=FEATURES,
        conditions=CONDITIONS,
        options=QUICK,
        notes=["made for a test"],
    )


def test_a_perfect_correction_is_at_the_floor(report: ClosureReport) -> None:
    assert report.before.classifier.auc > 0.75
    assert report.after.classifier.auc == pytest.approx(0.5, abs=4 * report.after.classifier.error)
    assert report.before.worst_chi_square > 10
    assert report.after.worst_chi_square < 1 + 5 * np.sqrt(2 / 25)
    assert report.before.fpd.value > 10 * report.before.fpd.error
    for distance in (report.after.fpd, report.after.kpd, report.after.mmd):
        assert abs(distance.value) < 5 * distance.error
    assert report.before.features[2].leakage > 0.02  # v1B, in the gap of the data
    assert report.after.features[2].leakage == 0
    assert report.before.slice_distances.max() > 4 * report.after.slice_distances.max()


def test_numbers_are_those_of_scipy_and_numpy(report: ClosureReport) -> None:
    data, sim = toy("data", 4000), toy("sim", 4000)
    for name, found in zip(FEATURES, report.before.features, strict=True):
        a, b = data[name].astype(float), sim[name].astype(float)
        assert found.ks.value == pytest.approx(stats.ks_2samp(a, b).statistic)
        expected = stats.wasserstein_distance(a, b) / a.std(ddof=1)
        assert found.wasserstein == pytest.approx(expected)
    columns = (*FEATURES, *CONDITIONS)
    matrices = [
        np.corrcoef(np.array([kind[name] for name in columns], float)) for kind in (sim, data)
    ]
    np.testing.assert_allclose(report.before.correlations, matrices[0] - matrices[1], atol=1e-9)
    np.testing.assert_allclose(report.correlations, matrices[1], atol=1e-9)


def test_json_there_and_back(report: ClosureReport, tmp_path: Path) -> None:
    report.save(tmp_path / "report.json")
    again = ClosureReport.load(tmp_path / "report.json")
    assert again.to_json() == report.to_json()
    assert str(again) == str(report)
    json.loads(report.to_json(), parse_constant=pytest.fail)  # no NaN or Infinity
    numbers = report.numbers()["before"]
    assert numbers["auc"] == report.before.classifier.auc


def test_other_files_are_no_reports(report: ClosureReport, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no report at .*absent\.json"):
        ClosureReport.load(tmp_path / "absent.json")
    content = json.loads(report.to_json())
    for text, words in (
        ("{", "not a closure report"),
        ("[]", "not a closure report"),
        (json.dumps({**content, "version": 9}), "version 9"),
        (json.dumps({**content, "report": {"features": 3}}), "report.features"),
        (json.dumps({**content, "report": None}), "cannot be read"),
    ):
        with pytest.raises(StateError, match=words):
            ClosureReport.from_json(text)
    with pytest.raises(StateError, match="no comparison 'later': there are before, after, floor"):
        report["later"]


def test_texts(report: ClosureReport) -> None:
    text = str(report)
    for word in (*FEATURES, *CONDITIONS, "before", "after", "floor", "made for a test", "AUC"):
        assert word in text
    assert repr(report).startswith("<ClosureReport of 4 features: AUC before 0.")
    assert report._repr_html_().count("<table>") == 3


def test_html_escapes_names() -> None:
    rng = np.random.default_rng(1)
    name = "<script>x</script>"
    sample = Sample.of({name: rng.normal(size=1000)}, what="data")
    found = make_report(sample, {"before": sample}, features=[name], options=QUICK)
    assert "<script>" not in found._repr_html_()
    assert found.conditions_only is None


def test_pictures(report: ClosureReport, tmp_path: Path) -> None:
    paths = [Path(path) for path in report.plot(tmp_path / "pictures")]
    assert len(paths) == len(set(paths)) == len(FEATURES) + 2 + len(CONDITIONS)
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 10_000


# --- from a correction and events -------------------------------------------------------------


def events(kind: str, count: int, seed: int) -> dict[str, Any]:
    """Jagged x of unit width (data: moved and twice as wide), an event's c, signed weights."""
    rng = np.random.default_rng(seed)
    data = kind == "data"
    c = rng.exponential(2.0 if data else 1.0, count).clip(max=4.9)
    sizes = rng.integers(0, 4, count)
    x = rng.normal(size=sizes.sum())
    if data:
        x = 2 * x + np.repeat(c, sizes)
    weight = np.ones(count) if data else np.where(rng.random(count) < 0.1, -1.0, 1.5)
    return {"c": c, "x": ak.unflatten(x, sizes), "w": weight}


def write(path: Path, columns: dict[str, Any]) -> str:
    with uproot.recreate(path) as file:
        file.mktree("Events", {name: ak.type(ak.Array(v)).content for name, v in columns.items()})
        file["Events"].extend(columns)
    return f"{path}:Events"


EMPTY = ak.unflatten(np.zeros(0), [0, 0])  # two events without an element
NAMES = Names(("x",), ("c",), ())


def test_jagged_datasets_with_signed_weights(tmp_path: Path) -> None:
    sim, data = events("sim", 3000, 1), events("data", 3000, 2)
    inputs = (
        rootml.open(write(tmp_path / "sim.root", sim), weight="w"),
        rootml.open(write(tmp_path / "data.root", data)),
    )
    report = validate_correction(
        Known(NAMES), *inputs, max_rows=100_000, options=QUICK, progress=True
    )
    rows = int(ak.sum(ak.num(sim["x"])))
    assert report.after.rows == rows
    assert report.after.negative == pytest.approx(0.1, abs=0.02)
    sizes = ak.num(sim["x"])
    factors = np.repeat(sim["w"] * Known(NAMES).weights(sim["c"][:, None]), sizes)
    expected = factors.sum() ** 2 / np.square(factors).sum()
    assert report.after.effective_rows == pytest.approx(expected)
    assert report.before.classifier.auc > 0.7
    assert report.after.classifier.auc < 0.55
    assert report.notes == ()


def test_memory_and_files_give_the_same(tmp_path: Path) -> None:
    sim, data = events("sim", 800, 3), events("data", 800, 4)
    sim["w"][:] = 1
    known = Known(NAMES)
    in_files = validate_correction(
        known,
        rootml.open(write(tmp_path / "sim.root", sim)),
        rootml.open(write(tmp_path / "data.root", data)),
        max_rows=100_000,
        options=QUICK,
    )
    in_memory = validate_correction(known, sim, ak.Array(data), max_rows=100_000, options=QUICK)
    assert in_files.to_json() == in_memory.to_json()


def test_what_is_left_out_drawn_or_unchanged_is_said() -> None:
    sim, data = events("sim", 3000, 5), events("data", 3000, 6)
    sim["c"][:7] = 6.0
    broken = np.array(ak.flatten(data["x"]))
    broken[[1, 5, 9]] = [np.nan, np.inf, np.nan]
    data["x"] = ak.unflatten(broken, ak.num(data["x"]))
    report = validate_correction(Known(NAMES), sim, data, max_rows=2000, options=QUICK)
    total = int(ak.sum(ak.num(sim["x"])))
    assert report.rows == report.after.rows == 2000
    notes = "; ".join(report.notes)
    assert f"2,000 of {total:,} rows of the simulation drawn, seed 0" in notes
    assert "3 of " in notes
    assert "rows of the data are not finite and left out" in notes
    everything = validate_correction(Known(NAMES), sim, data, max_rows=10**6, options=QUICK)
    beyond = int(ak.sum(ak.num(sim["x"])[:7]))
    said = f"{beyond} of {total:,} rows of the simulation have a condition outside"
    assert any(note.startswith(said) for note in everything.notes)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": EMPTY, "c": np.ones(2)}, EmptySelectionError, "no row has finite"),
        ({"c": np.ones(2)}, MissingColumnError, "no column 'x'"),
        ({"x": np.full(900, 3.0), "c": np.arange(900.0)}, UsageError, "'x' is 3 for 100.000 %"),
    ],
)
def test_bad_events_are_named(change: dict[str, Any], error: type[Exception], words: str) -> None:
    good = {"x": np.arange(900.0), "c": np.arange(900.0)}
    with pytest.raises(error, match=f"data: .*{words}"):
        validate_correction(Known(NAMES), good, change, max_rows=10_000, options=QUICK)
    with pytest.raises(UnsupportedTypeError, match="data: give a Dataset, .* not list"):
        validate_correction(Known(NAMES), good, [1, 2], max_rows=10_000, options=QUICK)


@pytest.mark.parametrize(
    ("columns", "weights", "error", "words"),
    [
        ({"x": []}, None, EmptySelectionError, "no events"),
        ({"x": [1.0], "y": [1.0, 2.0]}, None, SchemaError, "'x': 1, 'y': 2"),
        ({"x": [1.0]}, [1.0, 1.0], SchemaError, "'weight': 2"),
        ({"x": [1.0, np.nan, np.inf]}, None, NonFiniteError, "'x' is not finite in 2 of 3"),
        ({"x": [1.0, 2.0]}, [1.0, -3.0], UsageError, "add up to -2"),
        ({"x": [2**53 + 1]}, None, CastError, "9007199254740993"),
        ({"x": ["a"]}, None, UnsupportedTypeError, "'x' has shape"),
    ],
)
def test_bad_samples_are_named(
    columns: dict[str, Any], weights: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=f"data: .*{words}"):
        Sample.of(columns, weights, what="data")


def test_a_report_needs_features_and_samples() -> None:
    sample = Sample.of({"x": np.arange(600.0)}, what="data")
    with pytest.raises(UsageError, match=r"features \[\]"):
        make_report(sample, {"before": sample}, features=[])
    with pytest.raises(UsageError, match="no sample called 'floor'"):
        make_report(sample, {"floor": sample}, features=["x"])
    with pytest.raises(MissingColumnError, match="data: no column 'y'; nearest: 'x'"):
        make_report(sample, {"before": sample}, features=["y"])


def test_names_of_pictures_are_safe_and_differ() -> None:
    found = file_names(["../a", "x y", "x/y", "pt"])
    assert len(set(found)) == 4
    assert not any("/" in name or " " in name for name in found)
