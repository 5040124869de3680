"""One column at a time: against SciPy, analytic results, and what two equal samples do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rootml._internal import statistics
from rootml.errors import UsageError
from rootml.sbi.morphing.validation import _metrics as metrics

SIZES = [(1, 1), (1, 500), (400, 300)]


def columns(seed: int, sizes: tuple[int, int], *, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=sizes[0]), rng.normal(0.3, 1.2, size=sizes[1])
    return (np.round(a, 1), np.round(b, 1)) if ties else (a, b)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("ties", [False, True])
def test_kolmogorov_is_scipys(sizes: tuple[int, int], ties: bool) -> None:
    a, b = columns(1, sizes, ties=ties)
    found = metrics.kolmogorov(a, b)
    expected = stats.ks_2samp(a, b, method="exact")
    assert found.value == pytest.approx(expected.statistic, abs=1e-12)
    if min(sizes) > 100 and not ties:  # ours is asymptotic
        assert found.p_value == pytest.approx(expected.pvalue, rel=0.3, abs=1e-4)


def test_kolmogorov_of_equal_samples_has_the_mean_it_says() -> None:
    rng = np.random.default_rng(20)
    found = []
    for _ in range(400):
        weights = rng.uniform(0.5, 1.5, 900)
        found.append(metrics.kolmogorov(rng.normal(size=800), rng.normal(size=900), None, weights))
    mean = np.mean([each.value for each in found])
    assert mean == pytest.approx(np.mean([each.expected for each in found]), rel=0.06)
    assert stats.kstest([each.p_value for each in found], "uniform").statistic < 0.12


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("ties", [False, True])
def test_weighted_wasserstein_is_scipys(sizes: tuple[int, int], ties: bool) -> None:
    a, b = columns(2, sizes, ties=ties)
    rng = np.random.default_rng(3)
    wa, wb = rng.uniform(0.1, 2, len(a)), rng.uniform(0.1, 2, len(b))
    found = metrics.wasserstein(a, b, wa, wb)
    assert found == pytest.approx(stats.wasserstein_distance(a, b, wa, wb), rel=1e-10)


def test_integer_weights_are_repetitions() -> None:
    a, b = columns(4, (200, 150), ties=True)
    rng = np.random.default_rng(5)
    ka, kb = rng.integers(1, 4, 200), rng.integers(1, 4, 150)
    wa, wb = ka.astype(float), kb.astype(float)
    long_a, long_b = np.repeat(a, ka), np.repeat(b, kb)
    expected = stats.ks_2samp(long_a, long_b).statistic
    assert metrics.kolmogorov(a, b, wa, wb).value == pytest.approx(expected)
    expected = stats.wasserstein_distance(long_a, long_b)
    assert metrics.wasserstein(a, b, wa, wb) == pytest.approx(expected)
    p = np.array([0.1, 0.5, 0.77])
    expected = np.quantile(long_a, p, method="inverted_cdf")
    np.testing.assert_array_equal(statistics.weighted_quantiles(a, p, wa), expected)


def test_negative_weights_cancel_events_exactly() -> None:
    """An event and its double of opposite weight are as if they were not there."""
    a, b = columns(6, (300, 400), ties=False)
    ghosts = np.random.default_rng(7).normal(2, 1, 50)
    with_ghosts = np.concatenate([b, ghosts, ghosts])
    w = np.concatenate([np.ones(400), np.full(50, 0.7), np.full(50, -0.7)])
    edges = metrics.binning(a, bins=10)
    for measure in (
        metrics.wasserstein,
        lambda *x: metrics.kolmogorov(*x).value,
        lambda *x: metrics.separation(*x, edges=edges),
    ):
        assert measure(a, with_ghosts, None, w) == pytest.approx(measure(a, b))
    mean, _ = metrics.moments(with_ghosts[:, None], w)
    assert mean[0] == pytest.approx(b.mean())


def test_covariance_is_numpys_with_reliability_weights() -> None:
    rng = np.random.default_rng(8)
    x, w = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)), rng.uniform(size=500)
    mean, covariance = metrics.moments(x, w)
    np.testing.assert_allclose(mean, np.average(x, axis=0, weights=w))
    np.testing.assert_allclose(covariance, np.cov(x, rowvar=False, aweights=w))
    np.testing.assert_allclose(metrics.correlation(x), np.corrcoef(x, rowvar=False))


def test_effective_events() -> None:
    assert statistics.effective_events(np.full(7, 0.3)) == pytest.approx(7)
    assert statistics.effective_events(np.array([1.0, 0.0, 0.0])) == 1
    assert statistics.effective_events(np.array([1.0, 1.0, -1.0])) == pytest.approx(1 / 3)


@pytest.mark.parametrize("signed", [False, True])
def test_chi_square_of_equal_samples_follows_its_distribution(signed: bool) -> None:
    """Weights that vary within bins, signs too: 300 pairs, p-values uniform, mean 1."""
    rng = np.random.default_rng(9)
    p_values, values, spreads = [], [], []
    for _ in range(300):
        a, b = rng.normal(size=1500), rng.normal(size=2500)
        wb = rng.uniform(0.5, 1.5, 2500)
        if signed:
            wb *= np.where(rng.random(2500) < 0.15, -1, 1)
        found = metrics.chi_square(a, b, None, wb, edges=metrics.binning(a, bins=20))
        p_values.append(found.p_value)
        values.append(found.per_ndf)
        spreads.append(found.spread)
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    error = np.mean(spreads) / np.sqrt(300)
    assert np.mean(values) == pytest.approx(1, abs=4 * error)
    assert np.std(values) == pytest.approx(np.mean(spreads), rel=0.2)


def test_chi_square_of_unweighted_histograms_is_near_that_of_a_contingency_table() -> None:
    """SciPy pools the variance of both samples, so they agree to first order."""
    rng = np.random.default_rng(10)
    a, b = rng.normal(size=4000), rng.normal(0.03, 1, 6000)
    edges = np.linspace(-2, 2, 9)
    found = metrics.chi_square(a, b, edges=edges)
    table = [np.bincount(np.clip(np.digitize(x, edges), 1, 8) - 1, minlength=8) for x in (a, b)]
    expected = stats.chi2_contingency(np.array(table))
    assert found.ndf == expected.dof == 7
    assert found.value == pytest.approx(expected.statistic, rel=0.05)


def test_chi_square_drops_nothing() -> None:
    """Weight where the reference has none is merged into a neighbour, and seen."""
    rng = np.random.default_rng(11)
    a = rng.uniform(0, 1, 5000)
    b = np.concatenate([rng.uniform(0, 1, 4000), rng.uniform(5, 6, 1000)])
    edges = np.linspace(0, 10, 41)
    assert metrics.chi_square(a, b, edges=edges).p_value < 1e-50
    assert metrics.chi_square(b, a, edges=edges).p_value < 1e-50


def test_binning_of_whole_numbers_and_of_a_spike() -> None:
    rng = np.random.default_rng(12)
    whole = rng.poisson(3, 5000).astype(float)
    edges = metrics.binning(whole)
    assert np.all(edges % 1 == 0.5)
    many = rng.integers(0, 1000, 5000).astype(float)
    assert len(metrics.binning(many)) <= 32
    spike = np.where(rng.random(5000) < 0.3, 0.0, 1 + rng.exponential(size=5000))
    sums, _ = metrics.histogram(spike, metrics.binning(spike))
    assert sums[0] == pytest.approx(np.mean(spike == 0))
    assert sums.sum() == pytest.approx(1)


def test_separation_of_known_densities() -> None:
    """Two uniform densities that overlap by half: 1/2."""
    a, b = np.linspace(0, 2, 20_000, endpoint=False), np.linspace(1, 3, 20_000, endpoint=False)
    edges = np.linspace(0, 3, 31)
    assert metrics.separation(a, b, edges=edges) == pytest.approx(0.5, abs=1e-3)


def test_a_constant_column_correlates_with_nothing() -> None:
    x = np.column_stack([np.ones(10), np.arange(10.0)])
    np.testing.assert_allclose(metrics.correlation(x), np.eye(2), atol=1e-15)


@pytest.mark.parametrize(
    ("values", "weights", "words"),
    [
        (np.empty(0), None, "without events"),
        (np.ones(3), np.ones(2), r"3 values and weights of shape \(2,\)"),
        (np.ones(3), np.array([1.0, -2.0, 0.5]), "3 events add up to -0.5"),
    ],
)
def test_bad_weights_are_named(values: np.ndarray, weights: np.ndarray | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        metrics.kolmogorov(np.ones(2), values, None, weights)


def test_a_constant_cannot_be_binned() -> None:
    with pytest.raises(UsageError, match="all 5 values are 2"):
        metrics.binning(np.full(5, 2.0))
