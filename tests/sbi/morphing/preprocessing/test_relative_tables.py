"""Tables of the data that follow those of the simulation: against maps that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rootml.sbi.morphing.preprocessing._preprocess import Gaussianiser
from rootml.sbi.morphing.preprocessing._preprocess_fit import gaussianiser
from rootml.sbi.morphing.preprocessing._relative_tables import relative_tables

ROWS = 3000


def tables(sim: Any, data: Any) -> tuple[Gaussianiser, Gaussianiser, Gaussianiser]:
    """Of the simulation, of the data alone, and relative ones, of one feature."""
    s, own = (
        gaussianiser(x[:, None], np.ones(len(x)), ["x"], domain=domain)
        for x, domain in ((sim, "simulation"), (data, "data"))
    )
    draws = np.random.default_rng(0).uniform(size=(len(data), 1))
    relative = relative_tables(
        s, own, data[:, None], np.ones(len(data)), draws, sim_events=float(len(sim))
    )
    return s, own, relative


@pytest.mark.parametrize(
    ("shift", "width", "share"), [(0.0, 1.0, 0.3), (0.3, 1.1, 0.8), (-1.0, 0.7, 1.3)]
)
def test_a_smooth_change_is_found_with_fewer_fluctuations(
    shift: float, width: float, share: float
) -> None:
    """A shift and a width of a skew distribution; the map that makes them is known.

    Fluctuations of the simulation cancel as far as the change is small.
    """
    rng = np.random.default_rng(1)
    sim, data = np.exp(rng.normal(size=4 * ROWS)), np.exp(shift + width * rng.normal(size=ROWS))
    s, own, relative = tables(sim, data)
    p = np.linspace(0.02, 0.98, 2000)
    x = np.exp(stats.norm.ppf(p))
    z = s.forward(x[:, None], np.zeros((len(x), 1)))
    moved = [np.log(each.inverse(z)[:, 0]) for each in (own, relative)]
    wrong = [each - (shift + width * np.log(x)) for each in moved]
    rough = [np.std(np.diff(each[::20])) for each in wrong]
    assert rough[1] < share * rough[0]
    error = width * np.sqrt(p * (1 - p) * 1.25 / ROWS) / stats.norm.pdf(stats.norm.ppf(p))
    assert (np.abs(wrong[1]) < 4 * error).all()


def test_atoms_have_the_share_of_the_data() -> None:
    """One large atom at 0, one small at 3, and whole numbers."""
    rng = np.random.default_rng(2)

    def sample(rows: int, large: float, small: float) -> Any:
        which = rng.uniform(size=rows)
        values = 0.5 + rng.exponential(size=rows)
        return np.where(which < large, 0.0, np.where(which > 1 - small, 3.0, values))

    sim, data = sample(4 * ROWS, 0.3, 0.01), sample(ROWS, 0.4, 0.01)
    s, own, relative = tables(sim, data)
    assert relative.tables[0] is not own.tables[0]
    fresh = sample(100_000, 0.3, 0.01)[:, None]
    after = relative.inverse(s.forward(fresh, rng.uniform(size=fresh.shape)))[:, 0]
    assert (after == 0).mean() == pytest.approx((data == 0).mean(), abs=0.01)
    assert (after == 3).mean() == pytest.approx(0.01, abs=0.004)
    assert not ((after > 0) & (after < 0.5)).any()
    counts = rng.poisson(2.0, 4 * ROWS).astype(float), rng.poisson(2.4, ROWS).astype(float)
    s, own, relative = tables(*counts)
    assert relative.tables[0] is not own.tables[0]
    fresh = rng.poisson(2.0, 100_000).astype(float)[:, None]
    after = relative.inverse(s.forward(fresh, rng.uniform(size=fresh.shape)))[:, 0]
    expected = stats.poisson(2.4).pmf(np.arange(6))
    found = [(after == k).mean() for k in range(6)]
    np.testing.assert_allclose(found, expected, atol=4 * 0.5 / np.sqrt(ROWS))


def peaks(rng: np.random.Generator, rows: int, sigma: float) -> Any:
    """Eight narrow peaks."""
    return rng.integers(0, 8, rows) + sigma * rng.normal(size=rows)


DIFFERENT: dict[str, Callable[[Any, Any], Any]] = {
    "an atom of the data": lambda rng, x: np.where(rng.uniform(size=len(x)) < 0.01, 0.1, x),
    "a gap of the data": lambda _, x: np.where((x > 0.2) & (x < 0.5), x + 0.3, x),
    "an edge of the data": lambda _, x: np.abs(x),
    "whole numbers": lambda _, x: np.rint(4 * x),
    "peaks": lambda rng, x: peaks(rng, len(x), 0.1),
}


def test_many_events_keep_their_own_table() -> None:
    rng = np.random.default_rng(4)
    _, own, relative = tables(rng.normal(size=40_000), rng.normal(size=40_000))
    assert relative.tables[0] is own.tables[0]


@pytest.mark.parametrize("what", DIFFERENT)
def test_other_kinds_of_values_keep_their_own_table(what: str) -> None:
    rng = np.random.default_rng(3)
    sim, data = rng.normal(size=4 * ROWS), rng.normal(size=4 * ROWS)
    if what == "peaks":
        sim = peaks(rng, len(sim), 0.2)
    _, own, relative = tables(sim, DIFFERENT[what](rng, data))
    assert relative.tables[0] is own.tables[0]
