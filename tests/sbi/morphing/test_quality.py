"""The benchmark's own measures, with which its bars are set, against SciPy."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("xgboost")

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("harness_morphing.quality")


@pytest.mark.parametrize("weighted", [False, True])
def test_chi2_of_one_distribution_is_distributed_as_it_should(
    quality: ModuleType, weighted: bool
) -> None:
    """With an atom, of samples of different sizes: 30 bins, of which one only has the atom."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        data, sim = (np.maximum(rng.uniform(-0.3, 1, n), 0) for n in (30_000, 20_000))
        weights = rng.exponential(size=len(sim)) if weighted else np.ones(len(sim))
        found.append(30 * quality.chi2(data, sim, weights))
    assert stats.kstest(found, stats.chi2(29).cdf).pvalue > 1e-3


def test_chi2_is_that_of_a_table(quality: ModuleType) -> None:
    """Samples of one size, no weights, everything within the bins."""
    rng = np.random.default_rng(1)
    low, high = 0.05, 0.95
    data, sim = (rng.uniform(size=20_000).clip(low, high) ** power for power in (1, 1.02))
    sim = sim.clip(low, high)
    table = [np.histogram(x, np.linspace(low, high, 31))[0] for x in (data, sim)]
    expected = stats.chi2_contingency(np.array(table), correction=False).statistic / 30
    assert quality.chi2(data, sim, np.ones(len(sim))) == pytest.approx(expected)


def test_residuals_are_the_relative_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of data; of data with shifted and widened features that of normal variables."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    wide = importlib.import_module("harness_morphing.wide")
    residuals = importlib.import_module("harness_morphing.residuals")
    data = wide.wide("data", 100_000, 5)
    found = residuals.residuals(data)
    for part in found.values():
        assert abs(part.nats) < 5 * np.sqrt(part.parameters / 2) / 100_000
    assert found["correlations, linear in the conditions"].parameters == 5 * 45
    e = residuals.whitened(data)
    monkeypatch.setattr(residuals, "whitened", lambda _: 1.05 * e + 0.1)
    moved = residuals.residuals(data)
    assert moved["means"].nats == pytest.approx(10 * 0.1**2 / 2, rel=0.05)
    assert moved["widths"].nats == pytest.approx(10 * (1.05**2 + 0.01 - 1) ** 2 / 4, rel=0.05)
    assert abs(moved["means, linear in the conditions"].nats) < 1e-3
