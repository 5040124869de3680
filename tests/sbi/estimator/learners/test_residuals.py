"""What was not learned is said; exact ratios raise no alarm."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_learned import Float, write_matrix

from rootml import sbi
from rootml.sbi.estimator.learners._residuals import Cells, Comparison, Residuals, _Sides, _size

COMPARISONS = [Comparison("S", 1, 0, 0, None), Comparison("B.jes.up", 2, 0, 1, None)]
SHIFTS = np.array([[0.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.1, 0.0, 0.0]])


def exact(x: Float) -> Float:
    """Log ratios of normal distributions of unit width to the first, `(events, 2)`."""
    return np.asarray(x @ SHIFTS[1:].T - 0.5 * (SHIFTS[1:] ** 2).sum(axis=1))


def notes(seed: int, events: int, *, signed: bool = False, defect: Any = None) -> tuple[str, ...]:
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1, 2], events)
    x = (rng.normal(size=(3 * events, 3)) + SHIFTS[label]).astype(np.float32)
    weights = np.where(rng.random(len(x)) < 0.2, -1.0, 1.0) if signed else None
    residuals = Residuals(Cells(x[::3].astype(np.float64), [1, 0, 2]), COMPARISONS)
    for part in np.array_split(np.arange(len(x)), 7):
        log_ratio = exact(x[part].astype(np.float64))
        if defect is not None:
            log_ratio += defect(x[part])
        some = None if weights is None else weights[part]
        residuals.add(x[part], label[part], some, log_ratio)
    return residuals.notes(["x", "y", "z"])


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("events", [300, 20_000])
def test_exact_ratios_raise_no_alarm(events: int, *, signed: bool) -> None:
    """One alarm is due in 1,000 trainings; 74 are looked at."""
    seeds = range(25 if events < 1000 else 12)
    assert not any(notes(seed, events, signed=signed) for seed in seeds)


@pytest.mark.parametrize(
    ("defect", "where"),
    [
        (lambda x: 0.5 * (x[:, [2]] > 1.0), "z"),
        (lambda x: 0.3 * np.sin(3.0 * x[:, [2]]), "z"),
        (lambda x: 0.3 * np.sin(20.0 * x[:, [2]]), "z"),
        (lambda x: 0.15 * x[:, [1]] * x[:, [2]], "yz"),
    ],
    ids=["step", "wave", "fast wave", "product"],
)
def test_what_is_missing_is_named(defect: Any, where: str) -> None:
    told = notes(1, 20_000, defect=defect)
    assert len(told) == 2
    assert "ratio S" in told[0]
    assert "ratio B.jes.up" in told[1]
    for each in told:
        named = each.split(":")[0].split("learned well in ")[1]
        assert set(where) <= set(named)


def test_period_and_size_of_a_fast_wave() -> None:
    (note, _) = notes(2, 40_000, defect=lambda x: 0.3 * np.sin(20.0 * x[:, [2]]))
    (found,) = re.findall(r"wave of (\S+) % .* period of about ([0-9.]+),", note)
    size, period = (float(number) for number in found)
    assert size == pytest.approx(100.0 * 0.3 / 2.0**0.5, rel=0.1)
    assert period == pytest.approx(2.0 * np.pi / 20.0, rel=0.04)


def test_size_of_a_deviation_beside_a_bin_of_few_events() -> None:
    """3 % in precise bins; a bin known to a third only is no reason to call it 0 %."""
    expected = np.array([0.3, 0.3, 0.3, 0.1])
    apart = expected * [0.03, -0.03, 0.03, 0.0]
    noise = [0.005, 0.005, 0.005, 0.3]
    sides = _Sides(np.arange(4), apart, (expected * noise) ** 2, expected)
    assert _size(sides) == pytest.approx(0.03, rel=0.05)
    sure = _Sides(np.arange(3), apart[:3], np.zeros(3), expected[:3])
    assert _size(sure) == pytest.approx(0.03)


def test_a_training_says_what_it_does_not_learn(tmp_path: Path) -> None:
    """A chequered signal is beyond one small network, which is all there is."""
    pytest.importorskip("torch").set_num_threads(1)
    rng = np.random.default_rng(2)
    flat = rng.uniform(-1.0, 1.0, (2, 20_000, 2))
    chequered = np.prod(np.sin(12.0 * flat[0]), axis=1) > 0.0
    signal = flat[0][chequered | (rng.random(20_000) < 0.5)]
    samples = {
        name: write_matrix(tmp_path / f"{name}.parquet", x)
        for name, x in (("S", signal), ("B", flat[1]))
    }
    estimator = sbi.RatioEstimator(
        ["x0", "x1"], ensemble=1, hidden=(8,), epochs=6, threads=1, progress=False
    )
    ratios = estimator.fit(samples, reference="B")
    (note,) = (note for note in ratios.record.notes if "not learned well" in note)
    assert "x0" in note
    assert "x1" in note
