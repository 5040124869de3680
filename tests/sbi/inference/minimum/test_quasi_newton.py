"""Quasi-Newton steps, conditional minima and ends of intervals against scipy and closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sbi_problems import many_nuisances
from scipy import optimize, stats

from rootml import sbi
from rootml.sbi.inference.minimum._curvature import Curvature
from rootml.sbi.inference.minimum._minos import end_of_interval
from rootml.sbi.inference.minimum._quasi_newton import predicted, quasi_newton


class Rosenbrock:
    """A curved valley, on which a parabola is far from right."""

    def __init__(self, **limits: Any) -> None:
        self.parameters = {"x": sbi.Parameter(-1.2), "y": sbi.Parameter(0.0, **limits)}

    def nll_gradient(self, theta: Any, **_: bool) -> tuple[float, Any]:
        return float(optimize.rosen(theta)), optimize.rosen_der(theta)

    def nll_hessian(self, theta: Any) -> Any:
        return optimize.rosen_hess(theta)


def test_a_curved_valley() -> None:
    found = quasi_newton(Rosenbrock(), np.array([-1.2, 1.0]), np.ones(2, bool), goal=1e-14)  # type: ignore[arg-type]
    assert found is not None
    assert found.theta == pytest.approx([1.0, 1.0], abs=1e-6)
    assert found.curvature.hessian == pytest.approx(optimize.rosen_hess(np.ones(2)), rel=0.1)


def test_a_limit_holds() -> None:
    """With y <= 0.25 the minimum is scipy's, at the limit."""
    like = Rosenbrock(upper=0.25)
    found = quasi_newton(like, np.array([-0.5, 0.0]), np.ones(2, bool), goal=1e-14)  # type: ignore[arg-type]
    expected = optimize.minimize(optimize.rosen, [0.4, 0.2], jac=optimize.rosen_der,
                                 bounds=[(None, None), (None, 0.25)], tol=1e-14)  # fmt: skip
    assert found is not None
    assert found.theta[1] == 0.25
    if found.theta[0] > 0.0:  # the valley has a second minimum at x < 0
        assert found.theta == pytest.approx(expected.x, abs=1e-5)


def test_prediction_of_a_parabola_is_exact() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    hessian, best = root @ root.T + np.eye(5), rng.normal(size=5)
    free = np.array([True, False, True, True, True])
    moved = np.array([0.0, 0.7, 0.0, 0.0, 0.0])
    endless = np.full(5, np.inf)
    place = predicted(Curvature(hessian), best, free, moved, (-endless, endless))
    gradient = hessian @ (place - best)
    assert np.abs(gradient[free]).max() < 1e-12
    assert place[1] == best[1] + 0.7


@pytest.mark.parametrize("codes", [("log-quadratic",), ("code4", "code5"), ("code0", "code1")])
@pytest.mark.parametrize("weighted", [False, True])
def test_fits_equal_migrads(codes: tuple[str, ...], weighted: bool) -> None:
    """Minimum, errors, conditional minima: as by MIGRAD and full fits with parameters held."""
    model, columns, reference = many_nuisances(
        3000, 6, codes=codes, weighted=weighted, reference=2000
    )
    like = model.likelihood(columns, reference=reference)
    ours, migrad = sbi.fit(like), sbi.fit(like, strategy=1)
    sigma = np.array(list(migrad.errors.values()))
    assert ours.valid
    assert np.abs((ours.theta - migrad.theta) / sigma).max() < 1e-4
    assert np.array(list(ours.errors.values())) == pytest.approx(sigma, rel=1e-4)
    name = list(like.parameters)[1]
    for sign in (1.0, -2.0):
        place = {name: migrad.values[name] + sign * migrad.errors[name]}
        held = sbi.fit(like, fixed=place, start=migrad.values, strategy=1)
        found = ours.conditional(place)
        assert found.valid
        assert found.nll == pytest.approx(held.nll, abs=2e-6)
        assert np.abs((found.theta - held.theta) / sigma).max() < 2e-3


def test_slope_of_a_profile() -> None:
    """The derivative of t along a profile is twice that of -log L."""
    model, columns, reference = many_nuisances(1000, 3, reference=1000)
    best = sbi.fit(model.likelihood(columns, reference=reference))
    mu, sigma = best.values["mu"], best.errors["mu"]
    place = mu + 1.3 * sigma
    step = 0.01 * sigma
    low, high = (best.conditional({"mu": place + s}, goal=1e-12).nll for s in (-step, step))
    slope = best.conditional({"mu": place}, goal=1e-12).gradient[0]
    assert slope == pytest.approx((high - low) / (2 * step), rel=1e-3)


@pytest.mark.parametrize("count", [1, 3, 12, 400])
def test_interval_of_a_count_with_a_nuisance(count: int) -> None:
    """``n ~ Poisson(10 mu e^(0.1 a))``, a ~ N(0, 1): MINOS by scipy, also far from a parabola."""
    model = sbi.Model(
        {"S": "mu * 10"}, {"mu": sbi.Parameter(count / 10, lower=0.0)},
        {"a": sbi.Nuisance(yields={"S": (math.exp(0.1), math.exp(-0.1))})},
    )  # fmt: skip
    result = sbi.fit(model.likelihood({"S": np.ones(count)}))

    def t(mu: float) -> float:
        def nll(a: float) -> float:
            m = 10 * mu * math.exp(0.1 * a)
            return m - count * math.log(m) + 0.5 * a * a

        inner = optimize.minimize_scalar(nll, bounds=(-6, 6), options={"xatol": 1e-10})
        return float(2.0 * (inner.fun - (count - count * math.log(count))))

    edge = stats.chi2.ppf(0.95, 1)
    low, high = result.minos("mu", level=0.95)
    assert t(low) == pytest.approx(edge, rel=1e-5)
    assert t(high) == pytest.approx(edge, rel=1e-5)


def test_statistical_error_is_that_of_a_fit_with_all_nuisances_held() -> None:
    model, columns, reference = many_nuisances(1000, 4, reference=1000)
    like = model.likelihood(columns, reference=reference)
    best = sbi.fit(like)
    held = {name: best.values[name] for name in model.nuisances}
    alone = sbi.fit(like, fixed=held, start=best.values, strategy=1)
    assert sbi.impacts(best, "mu").statistical == pytest.approx(alone.errors["mu"], rel=1e-5)


def test_minos_where_no_minimum_is_found_says_so() -> None:
    """No likelihood but at the minimum: no end is made up."""

    def nowhere(value: float, near: Any) -> None:
        return None

    found = end_of_interval(nowhere, 0.0, 0.0, 1.0, edge=1.0, limit=math.inf)
    assert found is None


def test_inverses_follow_the_updates() -> None:
    """Against numpy's inverse: updated, and with parameters taken out."""
    rng = np.random.default_rng(3)
    root = rng.normal(size=(8, 8))
    exact = root @ root.T + np.eye(8)
    found = Curvature(np.diag(np.diag(exact)))
    moving = np.ones(8, bool)
    moving[2] = False
    for _ in range(5):
        found.inverse(moving)
        step = np.where(moving, rng.normal(size=8), 0.0)
        found = found.updated(step, exact @ step, moving)
        fewer = moving.copy()
        fewer[5] = False
        for mask in (moving, fewer):
            where = np.flatnonzero(mask)
            expected = np.linalg.inv(found.hessian[np.ix_(where, where)])
            inverse = found.inverse(mask)
            assert inverse is not None
            np.testing.assert_allclose(inverse[np.ix_(where, where)], expected, atol=1e-9)
            assert not inverse[~mask].any()


@pytest.mark.parametrize("events", [2_000, 40_000])
def test_a_part_of_many_events_is_near(events: int) -> None:
    """Of 40,000 events an eighth is summed; the fit ends where MIGRAD does."""
    model, columns, reference = many_nuisances(events, 4, codes=("code4",), reference=40_000)
    like = model.likelihood(columns, reference=reference)
    both = sbi.CombinedLikelihood({"one": like, "few": small()})
    part, whole = like.subsample(), both.subsample()
    assert part is not None
    assert whole is not None
    assert observed(part).num_events == (2_000 if events == 2_000 else 4_864)
    exact, rough = like.nll_hessian(like.start), part.nll_hessian(like.start)
    assert not np.array_equal(exact, rough)
    np.testing.assert_allclose(rough, exact, atol=0.1 * np.diag(exact).max())
    change = [b.nll(b.start + 0.01) - b.nll(b.start) for b in (part, small(), whole)]
    assert change[0] + change[1] == pytest.approx(change[2], rel=1e-9)
    found = sbi.fit(like)
    sigma = np.array(list(found.errors.values()))
    assert np.abs((found.theta - sbi.fit(like, strategy=1).theta) / sigma).max() < 1e-4


def observed(like: sbi.Likelihood | None) -> Any:
    """Its observed events: rows in blocks, and weights."""
    assert like is not None
    assert like.unbinned is not None
    return like.unbinned.events


def small() -> sbi.Likelihood:
    """Ten events, of which no part is taken."""
    found = sbi.Model({"T": "nu"}, {"nu": sbi.Parameter(8.0)}).likelihood({"T": np.ones(10)})
    assert found.subsample() is None
    return found


def test_a_part_takes_every_eighth_block_without_a_copy() -> None:
    columns = {"T": np.arange(256.0 * 8 * 20 + 300) + 1.0}
    weights = np.random.default_rng(0).uniform(0.5, 1.5, len(columns["T"]))
    model = sbi.Model({"T": "nu"}, {"nu": sbi.Parameter(8.0)})
    like = model.likelihood(sbi.RatioColumns(columns, weights))
    events, part = observed(like), observed(like.subsample())
    assert part.num_events == 256 * 20
    assert np.shares_memory(part.rows.blocks, events.rows.blocks)
    places = (256 * 8 * np.arange(20)[:, None] + np.arange(256)).ravel()
    np.testing.assert_array_equal(part.rows.first_rows(1)[0], columns["T"][places])
    assert part.sum_of_weights == pytest.approx(events.sum_of_weights)
    np.testing.assert_allclose(part.weights / part.weights[0], weights[places] / weights[0])


def test_weights_of_both_signs_are_not_thinned() -> None:
    """Here the events of the eighth weigh nothing together."""
    weights = np.ones(256 * 8 * 20)
    weights[: 256 * 8 * 20 : 2] = -0.999
    model = sbi.Model({"T": "nu"}, {"nu": sbi.Parameter(8.0, lower=1.0)})
    weights.reshape(-1, 8, 256)[:, 1:] = 1.0
    like = model.likelihood(sbi.RatioColumns({"T": np.ones(len(weights))}, weights))
    assert like.subsample() is None
