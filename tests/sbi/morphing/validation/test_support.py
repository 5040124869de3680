"""Supports that are found, those that are not there, and what leaks; slices against SciPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from rootml.sbi.morphing.validation._metrics_support import Support
from rootml.sbi.morphing.validation._slices import compare_slices, slice_edges, slice_number

Float = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Float]


def isolation(rng: np.random.Generator, n: int) -> Float:
    return np.where(rng.random(n) < 0.3, 0.0, 0.8 + rng.exponential(size=n))


SHAPES: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "uniform": lambda rng, n: rng.uniform(size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n),
    "arcsine": lambda rng, n: rng.beta(0.5, 0.5, n),
    "rising edges": lambda rng, n: rng.beta(2, 2, n),
    "squeezed": lambda rng, n: np.tanh(0.8 + 0.8 * rng.normal(size=n)),
    "counts": lambda rng, n: rng.poisson(8, n).astype(float),
    "isolation": isolation,
    "float32": lambda rng, n: rng.gamma(2, size=n).astype(np.float32).astype(float),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("events", [300, 5000, 50_000])
def test_independent_samples_of_the_same_shape_do_not_leak(name: str, events: int) -> None:
    rng = np.random.default_rng(1)
    support = Support.of(SHAPES[name](rng, events))
    for _ in range(10):
        assert support.leakage(SHAPES[name](rng, events)) == 0


def test_the_gap_below_a_threshold_is_found_and_its_leakage_measured() -> None:
    rng = np.random.default_rng(2)
    support = Support.of(isolation(rng, 50_000))
    assert support.low == 0
    assert support.high == np.inf
    ((start, stop),) = support.gaps
    assert start == 0
    assert 0.79 < stop < 0.8
    sample = isolation(rng, 10_000)
    sample[:37] = rng.uniform(0.1, 0.7, 37)
    sample[37:40] = -0.5
    assert support.leakage(sample) == pytest.approx(0.004)
    weights = np.ones(10_000)
    weights[:37] = -2.0  # leakage of negative weight is leakage all the same
    assert support.leakage(sample, weights) == pytest.approx((2 * 37 + 3) / (10_000 + 37))


def test_edges_and_whole_numbers() -> None:
    rng = np.random.default_rng(3)
    uniform = Support.of(rng.uniform(-1, 1, 20_000))
    assert uniform.leakage(np.array([-1.01, 0.0, 1.01, 0.5])) == 0.5
    counts = Support.of(rng.geometric(0.3, 5000).astype(float))
    assert counts.low == 1
    assert counts.high == np.inf
    assert counts.leakage(np.array([1.0, 2.5, 0.0, 40.0])) == 0.5
    normal = Support.of(rng.normal(size=5000))
    assert normal == Support(-np.inf, np.inf)


def test_slices_are_scipys_distances_of_the_events_inside() -> None:
    rng = np.random.default_rng(4)
    ca, xa = rng.exponential(size=(2, 4000))
    cb, xb = rng.exponential(size=(2, 3000))
    xb += 0.2 * (cb > 1)
    edges = slice_edges(ca, slices=4)
    found = compare_slices("c", "x", edges, (ca, xa, None), (cb, xb, None))
    assert len(found) == 4
    for number, part in enumerate(found):
        a, b = xa[slice_number(ca, edges) == number], xb[slice_number(cb, edges) == number]
        assert len(a) == pytest.approx(1000, abs=1)
        assert part.ks == pytest.approx(stats.ks_2samp(a, b).statistic)
        assert part.reference[1] == pytest.approx(np.median(a), abs=0.01)
    assert found[-1].ks > 3 * found[0].ks


def test_slices_of_whole_numbers_hold_each_event_once() -> None:
    values = np.repeat([0.0, 1.0, 2.0], [70, 20, 10])
    edges = slice_edges(values, slices=5)
    numbers = slice_number(values, edges)
    assert np.all(numbers >= 0)
    assert slice_number(np.array([-1.0, 3.0]), edges).tolist() == [-1, -1]
    constant = slice_edges(np.full(9, 2.0))
    assert slice_number(np.full(9, 2.0), constant).tolist() == [0] * 9


def test_an_empty_slice_is_no_number() -> None:
    rng = np.random.default_rng(5)
    c, x = rng.uniform(size=(2, 500))
    found = compare_slices("c", "x", np.array([0.0, 0.5, 1.0]), (c, x, None), (c / 2, x, None))
    assert np.isfinite(found[0].ks)
    assert np.isnan(found[1].ks)
