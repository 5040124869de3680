"""Goodness of fit by toys: against simulations in NumPy, and uniform where the model is right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sbi_problems import SignalBackground, draw_toy
from scipy import stats

from rootml import sbi
from rootml.errors import UsageError


def deviance(n: np.ndarray, e: np.ndarray) -> np.ndarray:
    """The saturated deviance of counts."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(n > 0, n * np.log(n / e), 0.0)
    return np.asarray(2.0 * (e - n + logs).sum(axis=-1))


def steps() -> sbi.RatioColumns:
    """A density of four steps, each as likely as it is high."""
    return sbi.RatioColumns({"B": np.repeat([0.4, 0.8, 1.2, 1.6], 250)})


def test_few_events_in_bins() -> None:
    """4 bins of 0.6 to 2.4 events: chi^2 is wrong, the toys are as NumPy draws them."""
    model = sbi.Model({"B": "n"}, {"n": sbi.Parameter(5.0, lower=1e-3)})
    seen = np.repeat([0.4, 0.8, 1.2, 1.6], [2, 0, 2, 2])
    result = sbi.fit(model.likelihood({"B": seen}, reference=steps()))
    found = sbi.goodness_of_fit(result, bins=4, toys=400, seed=3)
    n, e = np.array([2.0, 0, 2, 2]), 6.0 * np.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(found.expected, e, rtol=1e-6)
    np.testing.assert_array_equal(found.observed, n)
    assert found.deviance == pytest.approx(deviance(n, e), rel=1e-6)
    counts = np.random.default_rng(1).poisson(e, (200_000, 4)).astype(float)
    counts = counts[counts.sum(axis=1) > 0]
    expected = counts.sum(axis=1, keepdims=True) * np.array([0.1, 0.2, 0.3, 0.4])
    p = (deviance(counts, expected) >= found.deviance - 1e-9).mean()
    assert found.p_toys == pytest.approx(p, abs=3.0 * math.sqrt(p * (1 - p) / 400))
    assert abs(found.p_value - p) > 0.2 * p  # what one would be misled by
    assert found.p_value == pytest.approx(stats.chi2.sf(found.deviance, 3), rel=1e-6)
    assert "(400 toys)" in repr(found)
    again = sbi.goodness_of_fit(result, bins=4, toys=400, seed=3)
    np.testing.assert_array_equal(again.toys, found.toys)


def test_p_values_are_uniform(problem: SignalBackground) -> None:
    """With a nuisance parameter on the shape and its auxiliary measurement."""
    rng = np.random.default_rng(2)
    model, reference = problem.model(), problem.reference()
    found = []
    for _ in range(30):
        x = problem.draw(rng, 1.0, 0.5)
        like = model.likelihood(problem.columns(x), reference=reference)
        result = sbi.fit(like.with_observed(jes=rng.normal(0.5, 1.0)))
        fit = sbi.goodness_of_fit(result, bins=8, toys=40, seed=4, generator=draw_toy)
        assert fit.p_toys == pytest.approx(fit.p_value, abs=0.3)
        found.append(fit.p_toys + rng.uniform(0.0, 0.02))
    assert stats.kstest(found, "uniform").pvalue > 1e-3


def test_what_is_refused(problem: SignalBackground) -> None:
    x = problem.draw(np.random.default_rng(5))
    result = sbi.fit(problem.likelihood(x))
    with pytest.raises(UsageError, match="no toys were drawn"):
        _ = sbi.goodness_of_fit(result).p_toys
    weighted = sbi.RatioColumns(problem.columns(x), np.full(len(x), 0.5))
    other = problem.model().likelihood(weighted, reference=problem.reference())
    with pytest.raises(UsageError, match="toys of weighted events"):
        sbi.goodness_of_fit(sbi.fit(other), toys=3)
