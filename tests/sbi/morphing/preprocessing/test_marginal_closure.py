"""Marginals close where the flow is off, and keep still where it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from rootml.sbi.morphing.preprocessing._marginal_closure import close_marginals
from rootml.sbi.morphing.preprocessing._normal import normal_probability
from rootml.sbi.morphing.preprocessing._preprocess_fit import gaussianiser

Float = npt.NDArray[np.float64]
ROWS = 50_000
LEVELS = np.linspace(-3, 3, 61)


def float_z(values: Any) -> npt.NDArray[np.float32]:
    return np.asarray(values, np.float32).reshape(-1, 1)


def normal_tables() -> Any:
    """Of a standard normal variable, without the fluctuations of a sample."""
    data = stats.norm.ppf((np.arange(ROWS) + 0.5) / ROWS)
    return gaussianiser(data[:, None], np.ones(ROWS), ["x"], domain="data")


def test_the_normal_probability_is_scipys() -> None:
    z = np.linspace(-6, 6, 4001)
    np.testing.assert_allclose(normal_probability(z), stats.norm.cdf(z), rtol=1e-5, atol=1e-7)
    assert (np.diff(normal_probability(z)) > 0).all()


def test_what_is_right_is_left_alone() -> None:
    """Fluctuations are not handed on: a fifth of those of empirical quantiles, or less."""
    tables, rng = normal_tables(), np.random.default_rng(0)
    expected = stats.norm.cdf(LEVELS) * stats.norm.sf(LEVELS) / stats.norm.pdf(LEVELS) ** 2 / ROWS
    found = []
    for _ in range(20):
        closed = close_marginals(tables, float_z(rng.normal(size=ROWS)), np.ones(ROWS))
        found.append((closed.inverse(LEVELS[:, None])[:, 0] - LEVELS) ** 2)
    assert (np.mean(found, axis=0) / expected).mean() < 0.2


@pytest.mark.parametrize(
    ("shift", "width", "power"),
    [(0.0, 1.0, 1.1), (0.1, 1.1, 1.0), (0.8, 0.6, 1.0), (-1.0, 2.0, 1.0)],
)
def test_what_is_off_is_taken_back(shift: float, width: float, power: float) -> None:
    """However far: fresh rows have the distribution that the data have."""
    rng = np.random.default_rng(1)

    def left() -> npt.NDArray[np.float32]:
        z = rng.normal(size=ROWS)
        return float_z(shift + width * np.sign(z) * np.abs(z) ** power)

    closed = close_marginals(normal_tables(), left(), np.ones(ROWS))
    fresh = left()
    before, after = (
        stats.kstest(x, "norm").statistic
        for x in (fresh[:, 0], closed.inverse(fresh)[:, 0])
    )  # fmt: skip
    assert before > 0.01
    assert after < 1.95 * np.sqrt(2 / ROWS)  # 99.9 % for two samples


def test_atoms_get_their_share() -> None:
    """Corners at the edges of large atoms; nothing of them within."""
    rng = np.random.default_rng(2)
    data = np.select([(u := rng.uniform(size=ROWS)) < 0.3, u > 0.9], [0.0, 5.0], 1 + 3 * u)
    tables = gaussianiser(data[:, None], np.ones(ROWS), ["x"], domain="data")

    def left() -> npt.NDArray[np.float32]:
        """Too few below and above the edges, and within slightly too flat."""
        u = rng.uniform(size=ROWS) ** 1.1
        above = 0.9 + 0.1 * np.sqrt(np.maximum(10 * u - 9, 0))
        return float_z(stats.norm.ppf(np.where(u > 0.9, above, u)))

    closed = close_marginals(tables, left(), np.ones(ROWS))
    after = closed.inverse(left())[:, 0]
    for atom in (0.0, 5.0):
        counts = [int((x == atom).sum()) for x in (after, data)]
        assert abs(counts[0] - counts[1]) < 4 * np.sqrt(2 * counts[1])
    between = [x[(x > 0) & (x < 5)] for x in (after, data)]
    assert stats.ks_2samp(*between).pvalue > 1e-3
    assert ((after == 0) | ((after >= data[data > 0].min()) & (after <= 5))).all()


def test_signed_weights_count_with_their_sign() -> None:
    """A bump that is taken away again by negative weights moves nothing much."""
    rng = np.random.default_rng(3)
    z = np.concatenate([rng.normal(size=ROWS), rng.uniform(0.5, 1, 8_000)])
    z = np.append(z, rng.uniform(0.5, 1, 8_000))
    weights = np.repeat([1.0, 1.0, -1.0], [ROWS, 8_000, 8_000])
    signed = close_marginals(normal_tables(), float_z(z), weights).inverse(LEVELS[:, None])[:, 0]
    plain = close_marginals(normal_tables(), float_z(z), np.abs(weights)).inverse(LEVELS[:, None])[
        :, 0
    ]
    assert np.abs(signed - LEVELS).max() < 0.05
    assert np.abs(plain - LEVELS).max() > 0.15


@pytest.mark.parametrize("values", ["all the same", "two", "far away"])
def test_odd_rows_leave_tables_that_ascend(values: str) -> None:
    rng = np.random.default_rng(4)
    z = {
        "all the same": np.zeros(1000),
        "two": rng.choice([-1.0, 1.0], 1000),
        "far away": rng.normal(9, 1, 1000),
    }[values]
    table = close_marginals(normal_tables(), float_z(z), np.ones(1000)).tables[0]
    assert np.isfinite(table.z).all()
    assert (np.diff(table.z) >= 0).all()
    assert np.isfinite(table.inverse(LEVELS)).all()


def test_few_rows_settle_nothing() -> None:
    tables = normal_tables()
    assert close_marginals(tables, np.ones((100, 1), np.float32), np.ones(100)) is tables
