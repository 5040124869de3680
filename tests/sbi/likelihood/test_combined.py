"""Several likelihoods as one: against the formula, one likelihood of all events, and counting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sbi_problems import SignalBackground
from scipy import optimize, stats

from rootml import sbi
from rootml.errors import DensityError, MissingParameterError, UsageError

MU = sbi.Parameter(1.0, lower=0.0, upper=10.0)


def channel(
    expected: float, events: int, *, nuisances: dict[str, sbi.Nuisance], **parameters: Any
) -> sbi.Likelihood:
    """A counting experiment."""
    model = sbi.Model({"S": f"mu * {expected}"}, {"mu": MU, **parameters}, nuisances)
    return model.likelihood({"S": np.ones(events)})


def test_a_shared_constraint_counts_once() -> None:
    """Two counts with a common 10 % of each constraint, and one of their own, by scipy."""
    common = {
        "g": sbi.Nuisance(yields={"S": 1.1}, yield_interpolation="code1"),
        "l": sbi.Nuisance("lognormal", width=1.1, yields={}),
        "p": sbi.Nuisance("poisson", width=100.0, observed=110.0),
    }

    def model(expected: float, **own: sbi.Nuisance) -> sbi.Model:
        return sbi.Model({"S": f"mu * l * p * {expected}"}, {"mu": MU}, {**common, **own})

    own = sbi.Nuisance(yields={"S": 1.2}, yield_interpolation="code1")
    first = model(40.0).likelihood({"S": np.ones(50)})
    second = model(60.0, own=own).likelihood({"S": np.ones(75)})
    both = sbi.CombinedLikelihood({"ee": first, "mumu": second})
    assert list(both.parameters) == ["mu", "g", "l", "p", "own"]

    def nll(theta: Any) -> float:
        mu, g, scale, p, own = theta
        rate = mu * scale * p * 1.1**g
        ends = rate * 40.0, rate * 60.0 * 1.2**own
        value = sum(e - n * math.log(e) for e, n in zip(ends, (50, 75), strict=True))
        value += 0.5 * g**2 + 0.5 * own**2 + 0.5 * (math.log(scale) / math.log(1.1)) ** 2
        return float(value + 100.0 * p - 110.0 * math.log(100.0 * p))

    rng = np.random.default_rng(1)
    origin = both.nll(both.start) - nll(both.start)
    for _ in range(5):
        theta = both.start + rng.uniform(-0.3, 0.3, 5)
        assert both.nll(theta) - nll(theta) == pytest.approx(origin, abs=1e-9)
        value, gradient = both.nll_gradient(theta)
        assert value == both.nll(theta)
        np.testing.assert_allclose(gradient, optimize.approx_fprime(theta, nll, 1e-7), atol=1e-3)
        hessian = [(both.nll_gradient(theta + e)[1] - both.nll_gradient(theta - e)[1]) / 2e-5
                 for e in 1e-5 * np.eye(5)]  # fmt: skip
        np.testing.assert_allclose(both.nll_hessian(theta), hessian, rtol=1e-4, atol=1e-4)
    best = optimize.minimize(nll, both.start, method="Nelder-Mead", options={
        "xatol": 1e-7, "fatol": 1e-12, "maxiter": 10_000})  # fmt: skip
    result = sbi.fit(both).require_valid()
    np.testing.assert_allclose(result.theta, best.x, atol=1e-3)
    table = sbi.impacts(result, "mu")
    assert {row.nuisance for row in table.rows} == {"g", "l", "p", "own"}
    assert "2 parts" in repr(both)
    assert "ee" in both._repr_html_()


def test_two_halves_are_the_whole() -> None:
    """Shapes and all: two data sets of half the exposure are one of the sum of both."""
    rng = np.random.default_rng(2)
    half, whole = SignalBackground(500.0), SignalBackground(1000.0)
    x = [half.draw(rng), half.draw(rng)]
    parts = {str(k): half.likelihood(each) for k, each in enumerate(x)}
    both, one = sbi.CombinedLikelihood(parts), whole.likelihood(np.concatenate(x))
    points = ([1.0, 0.0], [1.4, -0.6], [0.5, 1.7])
    found, expected = ([f.nll(p) - f.nll(points[0]) for p in points] for f in (both, one))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    for which in ("nll_hessian", "score_covariance"):
        np.testing.assert_allclose(
            getattr(both, which)(points[1]), getattr(one, which)(points[1]), rtol=1e-9
        )
    left, right = sbi.fit(both), sbi.fit(one)
    np.testing.assert_allclose(left.theta, right.theta, atol=1e-6)
    np.testing.assert_allclose(left.covariance, right.covariance, rtol=1e-6)
    assert left.minos("mu") == pytest.approx(right.minos("mu"), abs=1e-4)
    significances = [sbi.discovery(f, "mu").significance for f in (both, one)]
    assert significances[0] == pytest.approx(significances[1], abs=1e-5)
    limits = [sbi.limit(f, "mu", points=2) for f in (both, one)]
    assert limits[0].observed == pytest.approx(limits[1].observed, rel=1e-4)
    assert limits[0].expected == pytest.approx(limits[1].expected, rel=1e-4)
    moved = both.with_observed(jes=0.4)
    assert moved.nll([1.0, 0.4]) - both.nll([1.0, 0.4]) == pytest.approx(-0.08)


def test_points_by_name() -> None:
    both = sbi.CombinedLikelihood(
        {"a": channel(4.0, 5, nuisances={}), "b": channel(6.0, 7, nuisances={})}
    )
    assert both(mu=1.2) == both.nll([1.2])
    assert both.gradient(mu=1.2)["mu"] == pytest.approx(10.0 - 12 / 1.2)
    assert both.hessian(mu=1.2)[0, 0] == pytest.approx(12 / 1.2**2)
    with pytest.raises(MissingParameterError, match="no parameter 'my'.*mu"):
        both(my=1.2)
    with pytest.raises(MissingParameterError, match="no value for the parameter 'mu'"):
        both()
    with pytest.raises(UsageError, match=r"\(2,\) values for the 1 parameters"):
        both.nll([1.0, 2.0])
    with pytest.raises(MissingParameterError, match="'mu' has no auxiliary measurement"):
        both.with_observed(mu=1.0)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (sbi.Nuisance(width=2.0), r"'a' is not the same in 'one' and 'two': width 1.0 and 2.0"),
        (sbi.Nuisance(observed=0.5), "observed 0.0 and 0.5"),
        (sbi.Nuisance("none"), "constraint gaussian and none"),
        (sbi.Nuisance(fixed=True), "fixed False and True"),
    ],
)
def test_parameters_that_differ(other: sbi.Nuisance, message: str) -> None:
    one = channel(4.0, 5, nuisances={"a": sbi.Nuisance(yields={"S": 1.1})})
    two = channel(4.0, 5, nuisances={"a": other})
    with pytest.raises(UsageError, match=message):
        sbi.CombinedLikelihood({"one": one, "two": two})


def test_no_part() -> None:
    with pytest.raises(UsageError, match="at least one"):
        sbi.CombinedLikelihood({})


def test_a_part_without_a_likelihood_is_named() -> None:
    model = sbi.Model({"S": "mu", "I": "-1"}, {"mu": sbi.Parameter(2.0)})
    bad = model.likelihood({"S": [1.0, 1.0], "I": [1.0, 1.5]})
    fine = model.likelihood({"S": [1.0, 1.0], "I": [0.5, 0.5]})
    both = sbi.CombinedLikelihood({"fine": fine, "bad": bad})
    assert math.isnan(both.nll([1.2], strict=False))
    assert "bad: " in str(both.explain(np.array([1.2])))
    with pytest.raises(DensityError, match="'I'"):
        both.nll([1.2])
    assert sbi.fit(both).require_valid().values["mu"] > 1.5


def test_limits_need_mixtures() -> None:
    problem = SignalBackground(50.0)
    x = problem.draw(np.random.default_rng(3))
    both = sbi.CombinedLikelihood({"a": problem.likelihood(x)})
    with pytest.raises(UsageError, match="reference= is for one likelihood"):
        sbi.limit(both, "mu", reference=problem.reference())
    nested = sbi.CombinedLikelihood({"all": both})
    with pytest.raises(UsageError, match="part 'all' is a CombinedLikelihood"):
        sbi.neyman(nested, "mu", values=[1.0], number=1, seed=1)


# --- toys ----------------------------------------------------------------------------------------

EVENTS = {"S": np.ones(4000)}


def test_toys_are_those_of_the_sum_of_two_counts() -> None:
    """N ~ 100 mu 1.1^g in two channels, g measured to 1: mu and its error are known."""
    luminosity = {"g": sbi.Nuisance(yields={"S": 1.1}, yield_interpolation="code1")}
    parts = {name: channel(n, 5, nuisances=luminosity) for name, n in (("ee", 40), ("mm", 60))}
    both = sbi.CombinedLikelihood(parts)
    references = dict.fromkeys(parts, EVENTS)
    truth = {"mu": 1.2, "g": 0.5}
    found = sbi.toys(both, references, number=300, seed=4, truth=truth, tests=[{"mu": 1.2}])
    assert found.valid.all()
    mu, g = found.values.T
    counts = found.events
    np.testing.assert_allclose(mu, counts / (100 * 1.1**g), rtol=1e-4)
    width = np.sqrt(1 / counts + math.log(1.1) ** 2)
    np.testing.assert_allclose(found.errors[:, 0], mu * width, rtol=1e-3)
    np.testing.assert_allclose(found.errors[:, 1], 1.0, rtol=1e-3)
    # what was drawn: counts of Poisson, the measurement of g once, by itself
    expected = 120 * 1.1**0.5
    assert stats.chi2.cdf(((counts - expected) ** 2 / expected).sum(), 300) == pytest.approx(
        0.5, abs=0.499
    )
    assert stats.kstest(g - 0.5, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(counts, g)[0, 1]) < 0.2
    assert stats.kstest(found.statistic(), "chi2", args=(1,)).pvalue > 1e-3
    again = sbi.toys(both, references, number=2, seed=4, truth=truth)
    np.testing.assert_array_equal(again.values, found.values[:2])


def test_toys_that_cannot_be_drawn() -> None:
    parts = {"ee": channel(40, 5, nuisances={}), "mm": channel(60, 5, nuisances={})}
    both, references = sbi.CombinedLikelihood(parts), dict.fromkeys(parts, EVENTS)
    with pytest.raises(UsageError, match=r"part 'mm' has no reference .*toys\(combined, {'mm'"):
        sbi.toys(both, {"ee": EVENTS}, number=2, seed=1)
    with pytest.raises(UsageError, match="no part 'me'; available: 'ee'"):
        sbi.toys(both, {"me": EVENTS}, number=2, seed=1)
    with pytest.raises(UsageError, match="part 'all' is a CombinedLikelihood"):
        sbi.toys(sbi.CombinedLikelihood({"all": both}), number=2, seed=1)
    with pytest.raises(UsageError, match="number=0: expected"):
        sbi.toys(both, number=0, seed=1)
    with pytest.raises(MissingParameterError, match="'nu'"):
        sbi.toys(both, references, number=1, seed=1, truth={"nu": 1.0})
    with pytest.raises(UsageError, match="no part 'S'"):
        sbi.toys(both, EVENTS, number=1, seed=1)
