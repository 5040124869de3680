"""The band of the ensemble: it covers true quantiles as often as it says."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from scipy import stats

import rootml
from rootml.errors import StateError
from rootml.sbi.morphing import Morpher
from rootml.sbi.morphing._uncertainty_band import Band, find_band, quantiles, student
from rootml.sbi.morphing.preprocessing._marginal_closure import close_marginals
from rootml.sbi.morphing.preprocessing._preprocess_fit import gaussianiser


@pytest.mark.parametrize("degrees", [2, 3, 5, 10, 30])
def test_the_factor_is_that_of_students_t(degrees: int) -> None:
    assert student(degrees) == pytest.approx(stats.t.ppf(stats.norm.cdf(1), degrees), rel=2e-3)


def test_quantiles_of_signed_weights_are_those_of_the_difference() -> None:
    """A normal sample plus a bump, and the bump taken away."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=100_000), rng.uniform(-1, 1, (20_000))])
    x = np.append(x, rng.uniform(-1, 1, 20_000))
    w = np.repeat([1.0, 1.0, -1.0], [100_000, 20_000, 20_000])
    levels = np.linspace(-2, 2, 9)
    np.testing.assert_allclose(quantiles(x, w, levels), levels, atol=0.03)


def test_settling_closes_a_distribution() -> None:
    """The flow leaves a normal variable of other mean and width: the tables take that back."""
    rng = np.random.default_rng(1)
    data = np.where(rng.uniform(size=50_000) < 0.3, 0.0, 1 + rng.exponential(size=50_000))
    tables = gaussianiser(data[:, None], np.ones(50_000), ["x"], domain="data")
    left = (0.1 + 1.1 * rng.normal(size=(50_000, 1))).astype(np.float32)
    closed = close_marginals(tables, left, np.ones(50_000))
    fresh = (0.1 + 1.1 * rng.normal(size=(50_000, 1))).astype(np.float32)
    before, after = (each.inverse(fresh)[:, 0] for each in (tables, closed))
    distances = [stats.ks_2samp(x, data).statistic for x in (before, after)]
    assert distances[0] > 0.04
    assert distances[1] < 1.95 * np.sqrt(2 / 50_000)
    assert not ((after > 0) & (after < 1)).any()


def test_the_width_is_the_scatter_of_members() -> None:
    """Members shift a normal sample by known amounts."""
    x = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    shifts = np.array([0.1, -0.2, 0.05, 0.15])
    members = [partial(np.add, x, shift) for shift in shifts]
    band = find_band(x, members, lambda values: values.astype(np.float32), np.ones(20_000))
    expected = np.sqrt(np.mean(shifts**2)) * stats.t.ppf(stats.norm.cdf(1), 4)
    np.testing.assert_allclose(band.widths, expected, rtol=5e-3)
    np.testing.assert_allclose(band.move(x[:5], -1), x[:5] - expected, rtol=5e-3)
    with pytest.raises(StateError, match="damaged"):
        Band.from_arrays({**band.arrays(), "levels": band.levels[::-1]}, 1, "here")
    with pytest.raises(StateError, match="incomplete"):
        Band.from_arrays({}, 1, "here")


# --- coverage ------------------------------------------------------------------------------------

LEVELS = np.linspace(0.1, 0.9, 9)
REPLICAS, ROWS = 24, 4000


def domain(rng: np.random.Generator, kind: str, rows: int) -> dict[str, Any]:
    """One feature, whose place and width depend on one condition."""
    c = rng.uniform(size=rows)
    shift, width = (0.0, 1.0) if kind == "sim" else (0.5 + 0.5 * c, 1.3 - 0.3 * c)
    return {"c": c, "x": shift + width * rng.normal(size=rows)}


@pytest.mark.slow
def test_up_and_down_cover_as_often_as_they_say(tmp_path: Path) -> None:
    """68 % of true quantiles lie between those of the columns down and up.

    The error is that of the scatter between independent replicas.
    """
    pytest.importorskip("torch")
    truth = np.quantile(domain(np.random.default_rng(7), "data", 4_000_000)["x"], LEVELS)
    fresh = domain(np.random.default_rng(8), "sim", 200_000)
    found = []
    for replica in range(REPLICAS):
        rng = np.random.default_rng([9, replica])
        datasets = []
        for kind in ("sim", "data"):
            pa.parquet.write_table(pa.table(domain(rng, kind, ROWS)), tmp_path / f"{kind}.parquet")
            datasets.append(rootml.open(f"{tmp_path}/{kind}.parquet"))
        chosen: dict[str, Any] = {"layers": 2, "hidden": (16, 16), "steps": 200, "seed": replica}
        morpher = Morpher("x", "c", ensemble=4, reweight="binned", batch_size=256, **chosen)
        morpher.fit(*datasets, progress=False)
        weights = morpher.kinematics.weights(fresh["c"][:, None])
        ends = [
            quantiles_by_numpy(morpher.transform(fresh, which=which)["x"], weights)
            for which in ("down", "up")
        ]
        found.append(((ends[0] <= truth) & (truth <= ends[1])).mean())
    error = np.std(found, ddof=1) / np.sqrt(REPLICAS)
    assert error < 0.1
    assert abs(np.mean(found) - 0.6827) < 3 * error


def quantiles_by_numpy(values: Any, weights: Any) -> Any:
    """Weighted."""
    return np.quantile(values, LEVELS, weights=weights, method="inverted_cdf")
