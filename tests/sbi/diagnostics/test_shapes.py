"""Shapes that were kept or dropped, and the advice that names the cause."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_learned import write

import rootml
from rootml import sbi
from rootml.sbi.diagnostics._causes import cause, finite_training, untested_cause
from rootml.sbi.diagnostics._pairs import Events, Pair
from rootml.sbi.diagnostics._report import Check
from rootml.sbi.estimator.inputs._samples import Sums
from rootml.sbi.estimator.ratios._record import TrainingRecord
from rootml.sbi.estimator.training._training import History

ROWS = 8000


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder, rng = tmp_path_factory.mktemp("samples"), np.random.default_rng(11)

    def made(name: str, mean: float) -> rootml.Dataset:
        return write(folder / f"{name}.parquet", {"x": rng.normal(mean, 1.0, ROWS)})

    return {"S": made("s", 1.0), "B": {"nominal": made("b", 0.0), "jes": (
        made("up", 0.2), made("down", -0.2))}}  # fmt: skip


def ratios(
    samples: dict[str, Any], *, kept: bool, share: float = 1.0, missed: float = 0.05
) -> Any:
    """Exact ratios but for the shape: `share` of what was "learned" is real."""
    learned = 0.2 / share
    functions = {
        "S": lambda x: x[:, 0] - 0.5,
        "B.jes.up": lambda x: learned * x[:, 0] - learned**2 / 2,
        "B.jes.down": lambda x: -learned * x[:, 0] - learned**2 / 2,
    }
    made = sbi.RatioEstimator.from_classifier(
        functions, samples, reference="B", inputs=["x"], kind="logit", calibration="never",
        normalisation="none",
    )  # fmt: skip
    decision = sbi.ShapeDecision("B", "jes", kept, 3.0, 1.0, 1.0, 0.2 if kept else 0.0, missed)
    return replace(made, record=replace(made.record, shapes=(decision,)))


def fit(given: Any, samples: dict[str, Any], observed: int) -> sbi.FitResult:
    rng = np.random.default_rng(12)
    model = sbi.Model(
        {"S": f"mu * {0.3 * observed}", "B": f"{0.7 * observed}"}, {"mu": sbi.Parameter(1.0)},
        {"jes": sbi.Nuisance()},
    )  # fmt: skip
    signal = int(0.3 * observed)
    x = np.concatenate([rng.normal(1.0, 1.0, signal), rng.normal(0.0, 1.0, observed - signal)])
    reference = given.columns(samples["B"]["nominal"])
    return sbi.fit(model.likelihood(given.columns({"x": x}), reference=reference))


def shapes(given: Any, samples: dict[str, Any], **options: Any) -> dict[str, sbi.Check]:
    report = sbi.diagnose(given, samples, classifier=False, **options)
    return {check.what: check for check in report.topic("shapes")}


def test_what_a_dropped_shape_may_hide_is_scaled_to_the_fit(samples: dict[str, Any]) -> None:
    """missed x sqrt(N): 0.05 x sqrt(70) passes, 0.05 x sqrt(700) is more than 0.5 sigma."""
    given = ratios(samples, kept=False)
    assert shapes(given, samples)["dropped, could miss (RMS)"].value == 0.05
    small = shapes(given, samples, fit=fit(given, samples, 100))["dropped, could miss x sqrt(N)"]
    assert small.value == pytest.approx(0.05 * np.sqrt(70.0))
    assert small.ok is True
    large = shapes(given, samples, fit=fit(given, samples, 1000))["dropped, could miss x sqrt(N)"]
    assert large.value == pytest.approx(0.05 * np.sqrt(700.0))
    assert not large.tested
    assert "may have been missed" in large.remark


def test_a_real_shape_passes_and_noise_is_found(samples: dict[str, Any]) -> None:
    what = "share of the shape that is real"
    real = shapes(ratios(samples, kept=True), samples)[what]
    assert real.ok is True
    assert abs(real.value - 1.0) < 3.0 * (real.error or 0.0)
    noisy = shapes(ratios(samples, kept=True, share=0.5), samples)[what]
    assert noisy.ok is False
    assert noisy.value == pytest.approx(0.5, abs=0.1)
    assert "a part of the shape is noise" in noisy.remark


def test_the_share_of_noise_that_is_seen_is_said(samples: dict[str, Any]) -> None:
    given = ratios(samples, kept=True)
    check = shapes(given, samples, fit=fit(given, samples, 500))["share of the shape that is real"]
    assert check.ok is True
    assert check.sees is not None
    information = 350 * 0.04  # N Var(0.2 x)
    expected = (check.error or 0.0) * information / (1.0 + information)
    assert 3.0 * expected < check.sees < 6.0 * expected


# --- causes --------------------------------------------------------------------------------------


def pair(mean: float = 1.0, rows: int = 2000) -> Pair:
    rng = np.random.default_rng(3)
    x, mass = rng.normal(size=(2, rows, 1)), np.full(rows, 1.0 / rows)
    x[0] += mean
    logs = [mean * (each[:, 0] - mean / 2) for each in x]
    return Pair("S", ("x",), Events(x[0], mass), Events(x[1], mass), *logs)


def record(*, steps: int = 3000, best: int = 5, events: int = 50_000, gap: float = 0.0) -> Any:
    history = History((0.6, 0.5 - gap), (0.6, 0.55, 0.52, 0.51, 0.5, 0.5, 0.5), best, steps, 128)
    return TrainingRecord({"S": Sums(events, events, events, 0)}, (history,))


def test_the_cause_is_named() -> None:
    assert "only 90 steps" in cause(pair(), record(steps=90))
    assert "still fell" in cause(pair(), record(best=6))
    assert "hardly overlap" in cause(pair(mean=7.0), record())
    assert "400 effective events are too few" in cause(pair(), record(events=400))
    assert "50,000 effective events are too few" in cause(pair(), record(gap=0.05))
    assert "another density" in cause(pair(), record())
    assert "hardly overlap" in untested_cause(pair(mean=7.0))
    assert "held-out samples are too small" in untested_cause(pair(rows=20))


@pytest.mark.parametrize(
    ("held_out", "training", "explained"), [(2000, 2000, True), (2000, 50_000, False)]
)
def test_the_noise_of_few_training_events_is_a_cause(
    held_out: int, training: int, explained: bool
) -> None:
    """A chi2 of 52 for 20 bins: likely with twice the variance, not with 1.04 times it."""
    check = Check("calibration", "S", "chi2 of 20 bins", 52.0, None, 20.0, 1e-4, threshold=1e-3)
    found = finite_training(check, pair(rows=held_out), record(events=training))
    assert ("training events" in found) == explained
    norm = Check("normalisation", "S", "E_ref[s]", 0.96, 0.01, 1.0, 6e-5, threshold=1e-3)
    found = finite_training(norm, pair(rows=held_out), record(events=training))
    assert ("training events" in found) == explained


def test_a_dropped_shape_of_the_reference_itself(samples: dict[str, Any]) -> None:
    """Its ratios are 1 everywhere: there is no slope, and nothing to divide by."""
    none = {"S": lambda x: x[:, 0] - 0.5} | dict.fromkeys(
        ("B.jes.up", "B.jes.down"), lambda x: np.zeros(len(x))
    )
    made = sbi.RatioEstimator.from_classifier(
        none, samples, reference="B", inputs=["x"], kind="logit", calibration="never",
        normalisation="none",
    )  # fmt: skip
    decision = sbi.ShapeDecision("B", "jes", False, 0.3, 0.0, 0.0, 0.0, 0.05)
    given = replace(made, record=replace(made.record, shapes=(decision,)))
    report = sbi.diagnose(given, samples, fit=fit(given, samples, 500), classifier=False)
    (flat,) = (c for c in report.checks if c.subject == "B.jes.up" and "all events" in c.what)
    assert flat.value == 0.0
    assert flat.ok is None
    norms = [c for c in report.checks if c.subject == "B.jes.up" and c.what.startswith("E_ref[s]")]
    assert [c.probability for c in norms] == [1.0]


def test_a_constant_ratio_that_is_not_one_is_wrong(samples: dict[str, Any]) -> None:
    """Nothing fluctuates: the norm is certainly 1.1."""
    given = {"S": samples["S"], "B": samples["B"]["nominal"]}
    made = sbi.RatioEstimator.from_classifier(
        lambda x: np.full(len(x), np.log(1.1)), given, reference="B", inputs=["x"], kind="logit",
        calibration="never", normalisation="none",
    )  # fmt: skip
    report = sbi.diagnose(made, given, classifier=False)
    assert any(c.what.startswith("E_ref[s]") for c in report.failed)


def test_a_failed_report_names_the_cause(samples: dict[str, Any], tmp_path: Path) -> None:
    other = write(tmp_path / "o.parquet", {"x": np.random.default_rng(1).normal(1.5, 1.0, 4000)})
    given = ratios(samples, kept=True)
    few = replace(given.record, histories=(History((0.5,), (0.5,), 0, 40, 128),))
    report = sbi.diagnose(replace(given, record=few), {**samples, "S": other}, classifier=False)
    assert report.failed
    assert "a network made only 40 steps" in str(report)
