"""Densities that have few events in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sbi_learned import write
from scipy.integrate import quad
from scipy.stats import norm

from rootml import sbi
from rootml.sbi.estimator.learners._held_out import HeldOut, shared_events

EVENTS = 20_000


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_shared_events_are_those_of_the_integral(tmp_path: Path, weight: float) -> None:
    """Gaussians one and two apart, of which the logarithm of the ratio is a straight line."""
    x = np.random.default_rng(1).normal(size=EVENTS)
    log_ratio = np.stack([d * x - 0.5 * d**2 for d in (1.0, 2.0)], axis=1)
    labels, weights = np.zeros(EVENTS, np.int64), np.full(EVENTS, weight)
    held = HeldOut.of([(log_ratio + 0.3, labels, weights)], tmp_path)
    found = shared_events(held, np.full(2, 0.3), reference=0)
    for d, number in zip((1.0, 2.0), found, strict=True):
        expected = quad(lambda x, d=d: 1 / (1 / norm.pdf(x) + 1 / norm.pdf(x, d)), -8, 10)[0]
        assert number == pytest.approx(EVENTS * expected, rel=0.02)


@pytest.mark.parametrize(("start", "said"), [(5.0, True), (0.5, False)])
def test_a_training_says_where_nothing_overlaps(tmp_path: Path, start: float, said: bool) -> None:
    random = np.random.default_rng(5)
    values = {"S": random.uniform(start, start + 1.0, 4000), "B": random.uniform(size=4000)}
    samples = {name: write(tmp_path / f"{name}.parquet", {"a": a}) for name, a in values.items()}
    learned = sbi.RatioEstimator(["a"], ensemble=2, hidden=(16,), epochs=8, seed=1)
    ratios = learned.fit(samples, reference="B")
    assert any("S and B hardly overlap" in note for note in ratios.record.notes) == said
