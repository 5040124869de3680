"""Bad input: each is an error that names sample, column or option, before anything is trained."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_learned import write

import rootml
from rootml import sbi
from rootml.errors import (
    EmptySelectionError,
    MissingColumnError,
    MissingPackageError,
    MissingParameterError,
    NonFiniteError,
    SchemaError,
    UnsupportedTypeError,
    UsageError,
)

pytest.importorskip("torch")
QUICK: dict[str, Any] = {"hidden": (4,), "epochs": 1, "ensemble": 2, "progress": False}


def sample(path: Path, rows: int = 400, **columns: Any) -> rootml.Dataset:
    rng = np.random.default_rng(rows)
    return write(path, {"x": rng.normal(size=rows), **columns})


@pytest.fixture
def good(tmp_path: Path) -> dict[str, rootml.Dataset]:
    return {"S": sample(tmp_path / "s.parquet"), "B": sample(tmp_path / "b.parquet", 500)}


def fit(samples: Any, reference: Any = "B", inputs: Any = ("x",), **options: Any) -> Any:
    return sbi.RatioEstimator(list(inputs), **{**QUICK, **options}).fit(
        samples, reference=reference
    )


def test_good_samples_are_learned(good: dict[str, rootml.Dataset]) -> None:
    assert fit(good).outputs == ("S",)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_an_input(good: dict[str, rootml.Dataset], value: float, tmp_path: Path) -> None:
    x = np.zeros(300)
    x[17] = value
    good["S"] = sample(tmp_path / "bad.parquet", 300, x=x)
    with pytest.raises(NonFiniteError, match=r"'x'"):
        fit(good)


def test_nan_in_events_to_evaluate(good: dict[str, rootml.Dataset]) -> None:
    ratios = fit(good)
    with pytest.raises(NonFiniteError, match="x = nan in event 1"):
        ratios.columns({"x": [0.0, np.nan]})
    with pytest.raises(MissingColumnError, match="no column 'x'"):
        ratios.columns({"X": [0.0]})
    with pytest.raises(SchemaError, match=r"\(rows, 1\)"):
        ratios.columns(np.zeros((3, 2)))
    with pytest.raises(EmptySelectionError, match="no events"):
        ratios.columns({"x": []})
    with pytest.raises(EmptySelectionError, match="no event is selected"):
        ratios.columns(good["S"].filter("x > 100"))
    with pytest.raises(UsageError, match="member=2"):
        ratios.columns({"x": [0.0]}, member=2)


def test_missing_reference(good: dict[str, rootml.Dataset]) -> None:
    with pytest.raises(MissingColumnError, match=r"reference='b'.*'B'"):
        fit(good, reference="b")
    with pytest.raises(MissingColumnError, match="reference=None"):
        fit(good, reference=None)
    with pytest.raises(UsageError, match="nothing to learn"):
        fit({"B": good["B"]})


def test_input_that_does_not_exist(good: dict[str, rootml.Dataset]) -> None:
    with pytest.raises(MissingColumnError, match=r"sample 'S': .*no column 'xx'.*'x'"):
        fit(good, inputs=("xx",))


def test_input_that_is_no_number_per_event(tmp_path: Path) -> None:
    jets = [[1.0]] * 400
    made = {k: sample(tmp_path / f"{k}.parquet", jets=jets) for k in ("S", "B")}
    with pytest.raises(UnsupportedTypeError, match=r"sample 'S': 'jets'"):
        fit(made, inputs=("x", "jets"))


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_weights_that_add_up_to_nothing(
    good: dict[str, rootml.Dataset], shift: float, tmp_path: Path
) -> None:
    w = np.tile([1.0, -1.0], 200) - shift
    good["S"] = sample(tmp_path / "w.parquet", w=w).with_weight("w")
    with pytest.raises(UsageError, match=r"sample 'S': .* 400 events \(200 .* add up to"):
        fit(good)


def test_empty_sample(good: dict[str, rootml.Dataset]) -> None:
    good["S"] = good["S"].filter("x > 100")
    with pytest.raises(EmptySelectionError, match="sample 'S': no event is selected"):
        fit(good)


def test_too_few_events_to_hold_some_out(good: dict[str, rootml.Dataset], tmp_path: Path) -> None:
    good["S"] = sample(tmp_path / "few.parquet", 2)
    with pytest.raises((EmptySelectionError, UsageError), match="sample 'S'"):
        fit(good)


def test_samples_that_are_none(good: dict[str, rootml.Dataset]) -> None:
    nonsense: tuple[Any, ...] = (None, [], {}, good["S"])
    for bad in nonsense:
        with pytest.raises(UsageError, match="samples"):
            fit(bad)
    with pytest.raises(UsageError, match="sample 'S': give a Dataset"):
        fit({**good, "S": "s.parquet"})
    with pytest.raises(UsageError, match=r"variation 'jes' needs two Datasets"):
        fit({**good, "S": {"nominal": good["S"], "jes": good["S"]}})
    with pytest.raises(UsageError, match="without dots"):
        fit({**good, "S.up": good["S"]})
    with pytest.raises(UsageError, match="'reference'"):
        fit({**good, "reference": good["S"]}, reference=good["B"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"inputs": "x"}, "inputs='x'"),
        ({"inputs": []}, "inputs="),
        ({"inputs": ["x", "x"]}, "occurs twice"),
        ({"ensemble": 0}, "ensemble=0"),
        ({"epochs": 1.5}, "epochs=1.5"),
        ({"hidden": (8, 0)}, r"hidden\[1\]=0"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"activation": "gelu"}, "'silu', 'tanh', 'relu'"),
        ({"calibration": "no"}, "calibration='no'"),
        ({"normalisation": "no"}, "normalisation='no'"),
        ({"parameters": ["x"]}, "inputs and parameters"),
        ({"parameters": ["mu"], "activation": "relu"}, "piecewise linear"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        sbi.RatioEstimator(**{"inputs": ["x"], **options})


def test_parametric_input(good: dict[str, rootml.Dataset], tmp_path: Path) -> None:
    mu = np.linspace(-1, 1, 400)
    data = sample(tmp_path / "all.parquet", mu=mu)
    options = {**QUICK, "parameters": ["mu"]}
    ratios = sbi.RatioEstimator(["x"], **options).fit(data)
    assert ratios.parameters == {"mu": pytest.approx((-1.0, 1.0))}
    with pytest.raises(MissingParameterError, match="no parameter 'nu'; available: 'mu'"):
        ratios.log_ratio({"x": [0.0]}, nu=1.0)
    with pytest.raises(MissingParameterError, match="no value for the parameter 'mu'"):
        ratios.log_ratio({"x": [0.0]})
    with pytest.raises(UsageError, match=r"mu=2.0: outside of the training range"):
        ratios.log_ratio({"x": [0.0]}, mu=2.0)
    with pytest.raises(UsageError, match="one Dataset of all samples"):
        sbi.RatioEstimator(["x"], **options).fit(good, reference="B")
    with pytest.raises(UsageError, match="give a Dataset, or None"):
        sbi.RatioEstimator(["x"], **options).fit(data, reference="B")  # type: ignore[call-overload]
    with pytest.raises(MissingColumnError, match="'mu'"):
        sbi.RatioEstimator(["x"], **options).fit(good["S"])
    with pytest.raises(UsageError, match="calibration='always' with parameters"):
        sbi.RatioEstimator(["x"], calibration="always", **options).fit(data)
    with pytest.raises(UsageError, match="in all events"):
        sbi.RatioEstimator(["x"], **options).fit(sample(tmp_path / "c.parquet", mu=np.ones(400)))


def test_missing_package(
    good: dict[str, rootml.Dataset], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ratios = fit(good)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPackageError, match=r"rootml\[torch\]"):
        fit(good)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackageError, match=r"rootml\[onnx\]"):
        ratios.save(tmp_path / "r.onnx")
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(MissingPackageError, match=r"rootml\[sbi\]"):
        sbi.RatioEstimator.from_classifier(
            lambda x: 0.5 + 0.1 * np.tanh(x[:, 0]), good, reference="B", inputs=["x"]
        )


def test_progress_is_shown_on_request(
    good: dict[str, rootml.Dataset],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("loss_display", "progress"):  # as on a terminal
        monkeypatch.setattr(f"rootml._internal.{module}.has_bars", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    fit(good, progress=True)
    shown = capfd.readouterr()
    assert "network" in shown.err
    assert "loss" in shown.err
    assert not shown.out
