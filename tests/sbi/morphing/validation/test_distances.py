"""FPD, KPD and MMD: against analytic distances of Gaussians and a plain implementation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import linalg

from rootml.errors import UsageError
from rootml.sbi.morphing.validation._metrics_frechet import fpd, frechet
from rootml.sbi.morphing.validation._metrics_kernel import (
    _discrepancy_by_map,
    discrepancy,
    gaussian,
    kpd,
    mmd,
    polynomial,
)

Float = npt.NDArray[np.float64]


def random_covariance(rng: np.random.Generator, columns: int) -> Float:
    root = rng.normal(size=(columns, columns))
    return root @ root.T + 0.1 * np.eye(columns)


def test_frechet_of_gaussians_is_the_textbooks() -> None:
    rng = np.random.default_rng(1)
    for columns in (1, 2, 5):
        a, b = random_covariance(rng, columns), random_covariance(rng, columns)
        shift = rng.normal(size=columns)
        root = linalg.sqrtm(a @ b)
        expected = shift @ shift + np.trace(a + b - 2 * root.real)
        assert frechet(shift, a, np.zeros(columns), b) == pytest.approx(expected, rel=1e-9)


def plain_fpd(a: Float, b: Float, sizes: Float, batches: int, rng: np.random.Generator) -> float:
    """The authors' recipe in a few lines: draws with replacement, a line in 1/n."""
    means = []
    for size in sizes.astype(int):
        found = []
        for _ in range(batches):
            x, y = a[rng.integers(0, len(a), size)], b[rng.integers(0, len(b), size)]
            ca, cb = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
            root = linalg.sqrtm(ca @ cb).real
            shift = x.mean(axis=0) - y.mean(axis=0)
            found.append(shift @ shift + np.trace(ca + cb - 2 * root))
        means.append(np.mean(found))
    return float(np.polyfit(1 / sizes, means, 1)[1])


def test_fpd_agrees_with_the_authors_recipe_and_the_truth() -> None:
    rng = np.random.default_rng(2)
    ca, cb = random_covariance(rng, 3), random_covariance(rng, 3)
    a = rng.multivariate_normal(np.zeros(3), ca, 30_000)
    b = rng.multivariate_normal(np.full(3, 0.3), cb, 30_000)
    found = fpd(a, b, scale=np.ones(3))
    truth = frechet(np.zeros(3), ca, np.full(3, 0.3), cb)
    assert found.value == pytest.approx(truth, abs=4 * found.error)
    assert found.error < 0.05 * truth
    plain = plain_fpd(a, b, 1 / np.linspace(1 / 12_000, 1 / 30_000, 5), 5, rng)
    assert found.value == pytest.approx(plain, rel=0.02)


def test_fpd_of_equal_samples_is_unbiased_and_its_error_covers() -> None:
    """Twenty pairs of small samples: the plain distance is far above 0, the intercept is not."""
    rng = np.random.default_rng(3)
    values, errors, plain = [], [], []
    for seed in range(20):
        a, b = rng.normal(size=(2000, 4)), rng.normal(size=(2000, 4))
        found = fpd(a, b, scale=np.ones(4), seed=seed, batches=10)
        values.append(found.value)
        errors.append(found.error)
        plain.append(frechet(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T)))
    scatter = np.std(values)
    assert abs(np.mean(values)) < 4 * scatter / np.sqrt(20)
    assert np.mean(plain) > 10 * scatter / np.sqrt(20)
    assert 0.7 * scatter < np.mean(errors) < 4 * scatter


def test_fpd_error_is_the_scatter_of_different_samples() -> None:
    rng = np.random.default_rng(4)
    found = [
        fpd(
            rng.normal(size=(2000, 3)),
            rng.normal(0.3, 1, size=(2000, 3)),
            scale=np.ones(3),
            batches=10,
            points=5,
        )
        for _ in range(20)
    ]
    scatter = np.std([each.value for each in found])
    assert np.mean([each.error for each in found]) == pytest.approx(scatter, rel=0.4)
    # the error of the straight line alone is far too small: why there is another one
    assert np.mean([each.method_error or 0 for each in found]) < 0.6 * scatter


def test_weights_of_fpd_make_another_distribution() -> None:
    """Reweighting a wide Gaussian to a narrow one: the distance to the narrow one vanishes."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(20_000, 2)), rng.normal(0, 1.5, size=(40_000, 2))
    w = np.exp(-0.5 * np.square(b).sum(axis=1) * (1 - 1 / 1.5**2))
    with_weights = fpd(a, b, None, w, scale=np.ones(2))
    assert abs(with_weights.value) < 4 * with_weights.error
    assert fpd(a, b, scale=np.ones(2)).value == pytest.approx(2 * 0.5**2, rel=0.1)


def plain_kpd(a: Float, b: Float) -> float:
    """The authors' estimate for one batch."""

    def kernel(x: Float, y: Float) -> Float:
        found: Float = (x @ y.T / x.shape[1] + 1) ** 4
        return found

    m, n = len(a), len(b)
    xx, yy, xy = kernel(a, a), kernel(b, b), kernel(a, b)
    within = (xx.sum() - np.trace(xx)) / (m * (m - 1)) + (yy.sum() - np.trace(yy)) / (n * (n - 1))
    return float(within - 2 * xy.mean())


@pytest.mark.parametrize("columns", [1, 2, 6])
def test_kpd_of_one_batch_is_the_authors(columns: int) -> None:
    """By the kernel matrix, and by the explicit map of its kernel."""
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(300, columns)), rng.normal(0.2, 1.3, size=(200, columns))
    expected = plain_kpd(a, b)
    assert discrepancy(a, b, kernel=polynomial) == pytest.approx(expected)
    wa, wb = rng.normal(1, 0.5, 300), np.ones(200)
    by_map = _discrepancy_by_map(a, b, wa, wb)
    assert by_map == pytest.approx(discrepancy(a, b, wa, wb, kernel=polynomial))
    assert _discrepancy_by_map(a, b, np.ones(300), wb) == pytest.approx(expected)


@pytest.mark.parametrize("columns", [3, 12])
def test_kpd_sees_a_shift_and_scales_by_the_largest_value(columns: int) -> None:
    rng = np.random.default_rng(16)
    a, b = rng.normal(size=(2000, columns)), rng.normal(0.3, 1, size=(2000, columns))
    scale = np.abs(a).max(axis=0)
    found = kpd(a, b, batches=10, size=200)
    expected = plain_kpd(a / scale, b / scale)
    assert found.value == pytest.approx(expected, abs=4 * found.error)
    assert found.value > 5 * found.error


def test_kpd_is_the_median_of_batches_with_half_the_quantile_range() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=(5000, 3)), rng.normal(0.3, 1, size=(5000, 3))
    found = kpd(a, b, batches=25, size=200)
    scatter = [
        kpd(a[i : i + 200], b[i : i + 200], scale=np.abs(a).max(axis=0), batches=2, size=200).value
        for i in range(0, 5000, 200)
    ]
    assert found.value == pytest.approx(np.median(scatter), abs=4 * found.error)
    assert found.method_error == pytest.approx(np.std(scatter), rel=0.5)


def truth_of_mmd(shift: Float, sa: float, sb: float, bandwidth: float) -> float:
    """Closed form for isotropic Gaussians: the kernel is a Gaussian, so are all integrals."""
    d, h = len(shift), bandwidth**2

    def mean_kernel(variance: float, distance: float) -> float:
        return float((h / (h + variance)) ** (d / 2) * np.exp(-0.5 * distance / (h + variance)))

    cross = mean_kernel(sa**2 + sb**2, float(shift @ shift))
    return mean_kernel(2 * sa**2, 0) + mean_kernel(2 * sb**2, 0) - 2 * cross


def test_mmd_of_gaussians_is_the_closed_form() -> None:
    rng = np.random.default_rng(8)
    shift = np.array([0.5, -0.2, 0.0])
    a, b = rng.normal(size=(10_000, 3)), shift + 1.4 * rng.normal(size=(10_000, 3))
    width = a.std(axis=0, ddof=1)
    found = mmd(a * width, b * width, bandwidth=1.3, batches=20, size=500)
    truth = truth_of_mmd(shift, 1.0, 1.4, 1.3)
    assert found.value == pytest.approx(truth, abs=4 * found.error)
    assert found.error < 0.05 * truth


def test_mmd_of_equal_samples_scatters_around_zero_as_it_says() -> None:
    rng = np.random.default_rng(9)
    pulls = []
    for seed in range(20):
        a, b = rng.normal(size=(2000, 2)), rng.normal(size=(2000, 2))
        found = mmd(a, b, batches=10, size=200, seed=seed)
        pulls.append(found.value / found.error)
    assert abs(np.mean(pulls)) < 0.8
    assert 0.6 < np.std(pulls) < 1.7


def test_signed_weights_of_mmd_cancel() -> None:
    """The closed form again, for a density made of positive and negative weights."""
    rng = np.random.default_rng(10)
    a, b = rng.normal(size=(1500, 2)), rng.normal(size=(1500, 2))
    ghosts = rng.normal(3, 1, size=(1000, 2))
    w = np.concatenate([np.ones(1500), np.where(np.arange(1000) % 2, 1.0, -1.0)])
    kernel = gaussian(1.0)
    with_ghosts = discrepancy(a, np.concatenate([b, ghosts]), None, w, kernel=kernel)
    wrong = discrepancy(a, np.concatenate([b, ghosts]), None, np.abs(w), kernel=kernel)
    assert abs(with_ghosts) < 0.005
    assert wrong > 0.05


def test_too_few_events_are_named() -> None:
    few, many = np.ones((1, 2)), np.ones((500, 2))
    with pytest.raises(UsageError, match="400 events or more, there are 1"):
        fpd(many, few)
    with pytest.raises(UsageError, match="there are 500 and 1"):
        discrepancy(many, few, kernel=polynomial)
    with pytest.raises(UsageError, match="10 batches of 1 events"):
        kpd(many, few)
