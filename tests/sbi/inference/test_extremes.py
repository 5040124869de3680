"""Inference where little is left to fit: no events, no parameters, no background, two minima.

Against what can be written down: -log L of counts is ``nu - n log(nu)``.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

from rootml import sbi
from rootml.errors import ConvergenceError, DensityError, UsageError


def counted(
    processes: dict[str, Any], number: int, parameters: Any, nuisances: Any = None
) -> sbi.Likelihood:
    """A count: all processes have the density of the reference."""
    ones = {name: np.ones(number) for name in processes}
    model = sbi.Model(processes, parameters, nuisances or {})
    observed = sbi.RatioColumns(ones, may_be_empty=True)
    return model.likelihood(observed, reference={name: np.ones(50) for name in processes})


# --- no events ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [3.0, 3e6, 3e-6])
def test_intervals_without_events(scale: float) -> None:
    """-log L rises in a straight line: t = 2 mu scale, whatever the unit of mu is."""
    like = counted({"S": f"mu * {scale}", "B": "5"}, 0, {"mu": sbi.Parameter(1.0, lower=0.0)},
                   {"n": sbi.Nuisance(yields={"B": 1.1})})  # fmt: skip
    fit = sbi.fit(like)
    assert fit.at_limit == ["mu"]
    assert fit.minos("mu") == pytest.approx((0.0, 0.5 / scale))
    edge = stats.chi2.ppf(0.95, 1)
    assert fit.minos("mu", level=0.95)[1] == pytest.approx(0.5 * edge / scale)
    scan = fit.profile("mu", points=5)
    assert scan.values[-1] == pytest.approx(0.5 * 3.2**2 / scale)
    np.testing.assert_allclose(scan.t, 2.0 * scan.values * scale, atol=1e-9)
    curve = fit.contour("mu", "n", levels=(0.95,), points=40).curves[0.95]
    end = 0.5 * stats.chi2.ppf(0.95, 2)
    assert curve[:, 0].max() == pytest.approx(end / scale, rel=2e-3)
    assert curve[:, 0].min() == 0.0

    def t(n: float) -> float:  # at mu = 0
        return float(2.0 * 5.0 * 1.1**n + n**2)

    lowest = optimize.minimize_scalar(t).fun
    for side, found in ((-5.0, curve[:, 1].min()), (5.0, curve[:, 1].max())):
        best = optimize.minimize_scalar(t).x
        exact = optimize.brentq(lambda n: t(n) - lowest - 2.0 * end, best, side)
        assert found == pytest.approx(exact, abs=0.02)


def test_neither_events_nor_background() -> None:
    """Asimov data of nothing are no events: both statistics are 2 s, and CLs falls as given."""
    like = counted({"S": "s", "B": "0"}, 0, {"s": sbi.Parameter(1.0, lower=0.0)})
    found = sbi.limit(like, "s", points=2)
    assert found.observed == pytest.approx(0.5 * stats.norm.ppf(0.975) ** 2, rel=1e-4)
    assert found.expected[2] == pytest.approx(found.observed, rel=1e-4)


def test_toys_of_nothing_are_no_events() -> None:
    model = sbi.Model({"S": "mu * 3"}, {"mu": sbi.Parameter(0.0, lower=0.0)})
    toys = sbi.toys(model, {"S": np.ones(9)}, number=3, seed=1, progress=False)
    assert toys.valid.all()
    assert toys.values.tolist() == [[0.0]] * 3


def test_columns_without_events_must_be_said_to_be() -> None:
    with pytest.raises(UsageError, match=r"RatioColumns\(.*may_be_empty=True\)"):
        sbi.Model({"S": "1"}).likelihood({"S": []})


def test_a_fit_without_an_end_says_so() -> None:
    """No event and no limit: -log L = 3 mu + 5 has no minimum."""
    fit = sbi.fit(counted({"S": "mu * 3", "B": "5"}, 0, {"mu": 1.0}))
    assert not fit.valid
    assert "rises in a straight line, without an end, along mu: -1" in fit.problems[0]


# --- no parameters -------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [None, 1])
def test_a_model_without_parameters(strategy: int | None) -> None:
    like = counted({"B": "50"}, 62, {})
    fit = sbi.fit(like, strategy=strategy)
    assert fit.valid
    assert fit.nll == pytest.approx(50.0 - 62.0 * math.log(50.0))
    assert fit.values == {}
    test = sbi.goodness_of_fit(fit)
    assert test.deviance == pytest.approx(2.0 * (50.0 - 62.0 + 62.0 * math.log(62.0 / 50.0)))
    assert test.degrees == 1
    with pytest.raises(DensityError, match="'B', is not positive at any point"):
        sbi.fit(counted({"B": "-1"}, 3, {}), strategy=strategy)


# --- two minima ----------------------------------------------------------------------------------


def two_minima(start: float) -> tuple[sbi.Likelihood, Any]:
    """8 events where a parabola of fourth order is expected; the lower minimum is near +1."""
    text = "10 * ((m**2 - 1)**2 - 0.2 * m + 1)"
    like = counted({"S": text}, 8, {"m": sbi.Parameter(start, lower=-3.0, upper=3.0)})

    def t(m: float) -> float:
        nu = 10.0 * ((m**2 - 1.0) ** 2 - 0.2 * m + 1.0)
        return float(2.0 * (nu - 8.0 * math.log(nu)))

    return like, t


def test_a_scan_says_that_there_is_a_lower_minimum() -> None:
    like, t = two_minima(-1.0)
    fit = sbi.fit(like)
    scan = fit.profile("m")
    lower = scan.values[int(np.argmin(scan.t))]
    assert scan.t.min() == pytest.approx(t(lower) - t(fit.values["m"]))
    assert f"t is {scan.t.min():.4g} at m = {lower:.6g}; fit again" in scan.note
    assert sbi.fit(like, start={"m": float(lower)}).profile("m").note == ""


def test_tests_take_the_lower_minimum(caplog: pytest.LogCaptureFixture) -> None:
    """A limit whose fit began on the wrong side: the fits of values that it tests find better."""
    from rootml.sbi.inference.limits._statistic import Statistic

    like, t = two_minima(-1.0)
    statistic = Statistic(like, "m", null=-1.2)
    best = optimize.minimize_scalar(t, bounds=(0.5, 1.5), method="bounded").x
    with caplog.at_level(logging.WARNING):
        assert statistic.upper(0.9) == 0.0
    assert "lower minimum than that of the fit, m = -0.97" in caplog.text
    assert statistic.fitted == pytest.approx(best, abs=1e-4)
    assert statistic.discovery() == pytest.approx(t(-1.2) - t(best), abs=1e-6)


# --- few different densities -------------------------------------------------------------------


def test_a_goodness_of_fit_of_three_densities_has_three_bins() -> None:
    """The deviance of three counts; a bin that no event can be in is none."""
    ratios = np.array([0.5, 1.0, 2.0])
    reference, counts = np.repeat(ratios, [200, 300, 100]), np.array([30, 50, 31])
    model = sbi.Model({"S": "mu * 50", "B": "50"}, {"mu": sbi.Parameter(1.0, lower=0.0)})
    like = model.likelihood(
        {"S": np.repeat(ratios, counts), "B": np.ones(111)},
        reference={"S": reference, "B": np.ones(600)},
    )
    fit = sbi.fit(like)
    found = sbi.goodness_of_fit(fit)
    expected = np.array([1 / 3, 1 / 2, 1 / 6]) * (50.0 * fit.values["mu"] * ratios + 50.0)
    deviance = 2.0 * (expected - counts + counts * np.log(counts / expected)).sum()
    assert found.deviance == pytest.approx(deviance)
    assert found.degrees == 2
    with pytest.raises(UsageError, match="1 bins cannot test 1 fitted"):
        sbi.goodness_of_fit(sbi.fit(counted({"S": "mu"}, 3, {"mu": 1.0})))


def test_toys_of_a_goodness_of_fit_may_have_one_density() -> None:
    """Where a toy's signal is fitted to nothing, all events have one density: there is one bin."""
    model = sbi.Model({"S": "mu * 3", "B": "5"}, {"mu": sbi.Parameter(1.0, lower=0.0)})
    reference = {"S": np.tile([0.5, 1.5], 300), "B": np.ones(600)}
    like = model.likelihood(
        {"S": np.repeat([0.5, 1.5], [3, 6]), "B": np.ones(9)}, reference=reference
    )
    found = sbi.goodness_of_fit(sbi.fit(like), toys=20, seed=2, progress=False)
    assert found.toys is not None
    assert np.isfinite(found.toys).all()
    assert found.degrees == 1


def test_a_belt_accepts_ties() -> None:
    """3 counts where 1 is expected: the data's t at mu = 4 *is* the critical one, and accepted."""
    like = counted({"S": "mu", "B": "1"}, 3, {"mu": sbi.Parameter(1.0, lower=0.0)})
    belt = sbi.neyman(like, "mu", values=[3.5, 4.0], number=300, seed=3, progress=False)
    counts = np.arange(60)
    for value, critical, accepted in zip(belt.values, belt.critical, belt.accepted, strict=True):
        best = np.maximum(counts, 1.0)
        t = 2.0 * (value + 1.0 - best - counts * np.log((value + 1.0) / best))
        order = np.argsort(t)
        at_most = np.cumsum(stats.poisson.pmf(counts, value + 1.0)[order])
        exact = t[order][np.searchsorted(at_most, belt.level)]
        assert critical == pytest.approx(exact, abs=1e-5)
        assert accepted == (t[3] <= exact + 1e-9)


def test_toys_say_which_have_no_error() -> None:
    """At a limit without events there is none: such toys are in no pull."""
    model = sbi.Model({"S": "mu", "B": "0.05"}, {"mu": sbi.Parameter(1.0, lower=0.0)})
    reference = {"S": np.ones(100), "B": np.ones(100)}
    toys = sbi.toys(model, reference, number=40, seed=5, truth={"mu": 0.2}, progress=False)
    empty = int((toys.events == 0.0).sum())
    assert 0 < empty < 40
    assert len(toys.pulls("mu")) == 40 - empty
    assert f"not among pulls: mu ({empty})" in repr(toys)
    held = sbi.toys(
        model, reference, number=3, seed=5, truth={"mu": 0.2}, fixed={"mu": 0.2}, progress=False
    )
    assert "not among" not in repr(held)
    with pytest.raises(ConvergenceError, match="none of 3 toys has an error of 'mu'"):
        held.coverage("mu")


def test_a_generator_may_give_no_events() -> None:
    model = sbi.Model({"S": "mu"}, {"mu": sbi.Parameter(0.1, lower=0.0)})

    def nothing(rng: Any, truth: Any) -> dict[str, Any]:
        return {"S": np.ones(rng.poisson(0.1))}

    toys = sbi.toys(model, number=20, seed=1, generator=nothing, progress=False)
    assert toys.events.min() == 0.0


def test_impacts_end_at_limits() -> None:
    """``n = 10 mu + 50 * 1.1^a`` with a in [0, 0.5], which 90 counts leave at 0."""
    bounded = sbi.Nuisance(yields={"B": 1.1}, yield_interpolation="code1", lower=0.0, upper=0.5)
    parameters = {"mu": sbi.Parameter(1.0, lower=0.0)}
    like = counted({"S": "mu * 10", "B": "50"}, 90, parameters, {"a": bounded})
    (row,) = sbi.impacts(like, "mu").rows
    assert row.up == pytest.approx((90.0 - 50.0 * 1.1**0.5) / 10.0 - 4.0, rel=1e-4)
    assert row.down == pytest.approx(0.0, abs=1e-6)
