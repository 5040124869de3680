"""Inputs that a network cannot resolve, events beyond the training, yields of variations."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_learned import write
from scipy import stats

import rootml
from rootml import sbi
from rootml.sbi.estimator.graph._assemble import Scale
from rootml.sbi.estimator.inputs._samples import Sums
from rootml.sbi.estimator.learners._inputs import input_notes
from rootml.sbi.estimator.ratios._range_watch import RangeWatch
from rootml.sbi.estimator.ratios._record import TrainingRecord

RNG = np.random.default_rng(5)
NORMAL = RNG.normal(size=20_000)
FIFTH = RNG.random(20_000) < 0.2


def notes(values: Any) -> str:
    rows = np.asarray(values, np.float32).astype(np.float64)[:, None]
    scale = Scale(rows.mean(axis=0), rows.std(axis=0))
    return " ".join(input_notes(["x"], rows, scale, [(rows.min(), rows.max())]))


# --- what a network sees -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        NORMAL, 1e-6 * NORMAL, 1e6 * NORMAL + 1e6, np.exp(NORMAL),
        np.where(FIFTH, 0.0, np.abs(NORMAL)),  # many at 0
        np.where(FIFTH, np.abs(NORMAL), 0.0),  # most at 0
        RNG.poisson(2.0, 20_000), FIFTH, RNG.exponential(size=20_000),
        stats.t(3).rvs(20_000, random_state=1),
        np.where(FIFTH, 91 + 15 * NORMAL, RNG.exponential(90, 20_000)),
    ],
)  # fmt: skip
def test_usual_inputs_are_not_mentioned(values: Any) -> None:
    assert notes(values) == ""


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.where(FIFTH, -999.0, NORMAL), "use asinh((x - "),
        (np.where(np.arange(20_000) == 3, 1e20, NORMAL), "hardly resolves"),
        (stats.t(1.2).rvs(20_000, random_state=1), "hardly resolves"),
        (np.where(FIFTH, 300 + 500 * np.abs(NORMAL), 300 + 5 * NORMAL), "(x - 30"),
        (NORMAL + 1e8, "8 apart in float32"),
        (np.full(20_000, 3.75), "x is 3.75 in all events"),
        (NORMAL + 1e12, "in all events"),
    ],
)
def test_inputs_that_a_network_cannot_resolve(values: Any, text: str) -> None:
    assert text in notes(values)


# --- beyond the training -------------------------------------------------------------------------


def watch(training: int) -> RangeWatch:
    record = TrainingRecord(
        {"S": Sums(training, training, training, 0)}, ranges={"x": (-1.0, 1.0), "y": (0.0, 0.0)}
    )
    return RangeWatch(record, ["x", "y"])


def test_events_beyond_the_training_are_counted() -> None:
    found = watch(10_000)
    rows = np.zeros((1000, 2))
    rows[:6, 0] = 5.0
    found.add(rows)
    (beyond,) = found.found()
    assert (beyond.name, beyond.events, beyond.low, beyond.high) == ("x", 6, -1.0, 1.0)


def test_an_input_that_was_constant_must_stay_so() -> None:
    found = watch(10_000)
    found.add(np.array([[0.0, 0.5]]))
    assert [each.name for each in found.found()] == ["y"]


@pytest.mark.parametrize("training", [500, 20_000])
def test_events_of_the_same_density_raise_no_alarm(training: int) -> None:
    """400 experiments of 5,000 events: the alarm is due in fewer than one in a thousand."""
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(400):
        known = rng.exponential(size=training)
        sums = {"S": Sums(training, training, training, 0)}
        found = RangeWatch(TrainingRecord(sums, ranges={"x": (known.min(), known.max())}), ["x"])
        found.add(rng.exponential(size=(5000, 1)))
        alarms += bool(found.found())
    assert alarms <= 3


# --- in a training -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """x, a marker in y; the variation of B changes its weights by 10 %."""
    folder, rng = tmp_path_factory.mktemp("inputs"), np.random.default_rng(3)

    def made(name: str, mean: float, weight: float) -> rootml.Dataset:
        columns = {
            "x": rng.normal(mean, 1.0, 4000),
            "y": np.where(rng.random(4000) < 0.1, -999.0, rng.normal(size=4000)),
            "w": np.full(4000, weight),
        }
        return write(folder / f"{name}.parquet", columns, weight="w")

    background = {"nominal": made("b", 0.0, 2.0), "norm": (made("u", 0, 2.2), made("d", 0, 1.8))}
    return {"S": made("s", 1.0, 1.0), "B": background}


def test_a_training_and_a_fit_say_so(
    samples: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("torch").set_num_threads(1)
    estimator = sbi.RatioEstimator(
        ["x", "y"], ensemble=2, hidden=(8,), epochs=1, threads=1, progress=False
    )
    with caplog.at_level(logging.WARNING):
        ratios = estimator.fit(samples, reference="B")
    told = " ".join(ratios.record.notes)
    assert "y: its width is" in told
    assert "y: its width" in caplog.text
    assert "weights of B.norm add up to (1.1, 0.9)" in told
    ratios.save(tmp_path / "r.onnx")
    loaded: Any = sbi.RatioEstimator.load(tmp_path / "r.onnx")
    assert loaded.record.ranges == ratios.record.ranges
    model = sbi.Model(
        {"S": "mu * 100", "B": "200"}, {"mu": sbi.Parameter(1.0, -5.0)},
        {"norm": sbi.Nuisance(yields={"B": (1.1, 0.9)})},
    )  # fmt: skip
    x = np.random.default_rng(1).normal(size=300)
    x[:10] = 30.0
    columns = loaded.columns({"x": x, "y": np.zeros(300)})
    known = loaded.columns(samples["B"]["nominal"])
    notes_of_fit = " ".join(sbi.fit(model.likelihood(columns, reference=known)).notes)
    assert "events beyond the range of the training" in notes_of_fit
    assert "x (10, beyond" in notes_of_fit
