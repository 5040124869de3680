"""Gaussianisation: normal by SciPy's tests, atoms and edges exact, signed weights, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from rootml.errors import StateError, UsageError
from rootml.sbi.morphing.preprocessing._preprocess import Gaussianiser, Table
from rootml.sbi.morphing.preprocessing._preprocess_fit import conditions, gaussianiser

N = 20_000


def fitted(values: Any, weights: Any = None) -> Table:
    """The table of one column."""
    mass = np.ones(len(values)) if weights is None else weights
    return gaussianiser(values[:, None], mass, ["x"], domain="data").tables[0]


def draws(seed: int = 0, count: int = N) -> Any:
    return np.random.default_rng(seed).uniform(size=count)


def zero_inflated(seed: int, count: int = N) -> Any:
    """A third zeros, else exponential from 0.8 on."""
    rng = np.random.default_rng(seed)
    return np.where(rng.uniform(size=count) < 0.3, 0.0, 0.8 + rng.exponential(size=count))


SHAPES = {
    "normal": lambda rng: rng.normal(3, 2, N),
    "exponential": lambda rng: rng.exponential(5, N),
    "uniform": lambda rng: rng.uniform(-1, 1, N),
    "heavy": lambda rng: rng.standard_t(2, N),
    "zeros": lambda rng: zero_inflated(5),
    "integers": lambda rng: rng.poisson(3, N).astype(float),
    "bool": lambda rng: (rng.uniform(size=N) < 0.2).astype(float),
    "float16": lambda rng: rng.normal(size=N).astype(np.float16).astype(float),
    "two islands": lambda rng: rng.normal(0, 0.1, N) + 10 * rng.integers(0, 2, N),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_comes_out_normal_and_goes_back(shape: str) -> None:
    x = SHAPES[shape](np.random.default_rng(1))
    table = fitted(x)
    z = table.forward(x, draws())
    # exact for continuous features; the draws of atoms are random: the 1e-3 quantile of it
    assert stats.kstest(z, "norm").statistic < 1.95 / np.sqrt(N)
    back = table.inverse(z)
    width = np.subtract(*np.quantile(x, [0.95, 0.05]))
    np.testing.assert_allclose(back, x, atol=1e-6 * width, rtol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_new_events_come_out_normal_too(shape: str) -> None:
    table = fitted(SHAPES[shape](np.random.default_rng(1)))
    z = table.forward(SHAPES[shape](np.random.default_rng(2)), draws(3))
    assert stats.kstest(z, "norm").statistic < 2.0 * np.sqrt(2 / N)


@pytest.mark.parametrize("shape", ["zeros", "integers", "bool", "two islands", "float16"])
def test_nothing_comes_out_that_cannot_be(shape: str) -> None:
    x = SHAPES[shape](np.random.default_rng(1))
    back = fitted(x).inverse(np.random.default_rng(7).normal(size=200_000) * 1.2)
    if shape == "two islands":
        assert not ((back > 1) & (back < 9)).any()
    elif shape == "zeros":
        assert ((back == 0) | (back >= x[x > 0].min())).all()
        assert (
            abs((back == 0).mean() - stats.norm.cdf(stats.norm.ppf((x == 0).mean()) / 1.2)) < 0.005
        )
    elif shape == "float16":
        assert back.min() >= x.min() - 3
    else:
        assert set(np.unique(back)) <= set(np.unique(x))


def test_an_atom_owns_its_interval() -> None:
    x = zero_inflated(0)
    share = (x == 0).mean()
    z = fitted(x).forward(x, draws(9))
    assert z[x == 0].max() < stats.norm.ppf(share) < z[x > 0].min() + 1e-9
    u = stats.norm.cdf(z[x == 0]) / share
    assert stats.kstest(u, "uniform").pvalue > 1e-3


def test_edges_are_found_and_tails_continued() -> None:
    rng = np.random.default_rng(3)
    uniform, normal, exponential = (
        rng.uniform(0, 1, N),
        rng.normal(size=N),
        rng.exponential(size=N),
    )
    far = np.array([-9.0, 9.0])
    found = fitted(uniform).inverse(far)
    assert found.tolist() == [uniform.min(), uniform.max()]
    assert fitted(exponential).inverse(far)[0] == exponential.min()
    assert fitted(exponential).inverse(far)[1] > exponential.max() + 1
    table = fitted(normal)
    np.testing.assert_allclose(table.inverse(np.array([-6.0, 6.0])), [-6, 6], atol=1.1)
    np.testing.assert_allclose(
        table.forward(np.array([-8.0, 8.0]), draws(0, 2)), [-8, 8], atol=2.2
    )


def test_far_values_stay_finite_and_in_order() -> None:
    table = fitted(np.random.default_rng(0).normal(size=N))
    x = np.array([-1e30, -1e3, -10, 0, 10, 1e3, 1e30])
    z = table.forward(x, draws(0, 7))
    assert np.isfinite(z).all()
    assert (np.diff(z) > 0).all()
    np.testing.assert_allclose(table.inverse(z), x, rtol=1e-9, atol=1e-9)


def test_integers_with_many_values_are_rounded() -> None:
    x = np.rint(np.random.default_rng(0).normal(0, 1e4, N))
    table = fitted(x)
    found = table.inverse(np.random.default_rng(1).normal(size=1000))
    assert np.array_equal(found, np.rint(found))


def test_weights_count() -> None:
    """Exponential events weighted to another exponential: SciPy knows the distribution."""
    x = np.random.default_rng(0).exponential(2.0, 4 * N)
    z = fitted(x, np.exp(-0.5 * x)).forward(np.random.default_rng(1).exponential(1.0, N), draws())
    assert stats.kstest(z, "norm").statistic < 0.015


def test_negative_weights_take_away() -> None:
    """A uniform background is added and taken away again."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=4 * N), *rng.uniform(-3, 3, (2, N))])
    w = np.concatenate([np.ones(5 * N), -np.ones(N)])
    z = fitted(x, w).forward(np.random.default_rng(1).normal(size=N), draws())
    assert stats.kstest(z, "norm").statistic < 0.015
    assert (np.diff(fitted(x, w).z) >= 0).all()


def test_a_constant_feature_is_refused() -> None:
    x = np.zeros(N)
    x[:10] = np.arange(10)
    with pytest.raises(UsageError, match=r"'x' is constant in the data: the value 0 has 99\.9"):
        fitted(x)
    fitted(np.where(np.arange(N) % 100 == 0, 1.0, 0.0))  # 99 %: an atom like any other


def test_few_rows() -> None:
    table = fitted(np.array([3.0, 1.0, 2.0]))
    assert np.isfinite(table.forward(np.array([0.0, 1.5, 9.0]), draws(0, 3))).all()


def test_tables_are_kept_and_checked() -> None:
    made = gaussianiser(zero_inflated(1)[:, None], np.ones(N), ["x"], domain="data")
    again = Gaussianiser.from_arrays(made.arrays(), 1, "here")
    z = np.random.default_rng(0).normal(size=(100, 1))
    assert np.array_equal(made.inverse(z), again.inverse(z))
    damaged = {**made.arrays(), "0.x": made.tables[0].x[::-1]}
    with pytest.raises(StateError, match="here.*do not ascend"):
        Gaussianiser.from_arrays(damaged, 1, "here")
    with pytest.raises(StateError, match="incomplete"):
        Gaussianiser.from_arrays({}, 1, "here")


def test_conditions_are_scaled() -> None:
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.exponential(30, N), rng.poisson(2, N), np.full(N, 7.0)])
    ends = values.min(axis=0), values.max(axis=0)
    found = conditions(values, np.ones(N), ["pt", "n", "same"], ends)
    context = found.context(values)
    assert context.shape == (N, 7)
    assert np.isfinite(context).all()
    assert np.abs(context).max() < 8
    assert stats.kstest(context[:, 0], "norm").statistic < 0.006
    np.testing.assert_allclose(
        context[:, 1], np.arcsinh(stats.zscore(values[:, 0])), rtol=1e-4, atol=1e-5
    )
    assert found.inside(np.array([[1e9, 2, 7], [np.nan, 2, 7]])).tolist() == [
        [False, True, True],
        [False, True, True],
    ]
