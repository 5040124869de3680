"""Fits against counting experiments in closed form, scipy's minimiser, and the densities."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_problems import SignalBackground, many_nuisances
from scipy import optimize, stats

from rootml import sbi
from rootml._internal import progress
from rootml.errors import ConvergenceError, DensityError, MissingParameterError, UsageError


def counting(observed: int, *, lower: float | None = 0.0, start: float = 1.0) -> sbi.Likelihood:
    """``n ~ Poisson(10 mu)``: mu = n / 10."""
    model = sbi.Model({"S": "mu * 10"}, {"mu": sbi.Parameter(start, lower=lower)})
    return model.likelihood({"S": np.ones(observed)})


@pytest.mark.parametrize("observed", [1, 7, 1000])
@pytest.mark.parametrize("gradient", [True, False])
def test_counting(observed: int, gradient: bool) -> None:
    result = sbi.fit(counting(observed), gradient=gradient)
    assert result.valid
    assert result.problems == []
    assert result.values["mu"] == pytest.approx(observed / 10, rel=1e-7)
    assert result.errors["mu"] == pytest.approx(math.sqrt(observed) / 10, rel=1e-4)
    assert result.nll == pytest.approx(observed - observed * math.log(observed), rel=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.6826894921370859, 0.95])
def test_minos_of_a_count(level: float) -> None:
    """The ends solve 2 (m - n - n log(m / n)) = quantile."""
    result = sbi.fit(counting(12))
    edge = stats.chi2.ppf(level, 1)

    def excess(m: float) -> float:
        return float(2.0 * (m - 12.0 - 12.0 * math.log(m / 12.0)) - edge)

    expected = optimize.brentq(excess, 1e-3, 12.0), optimize.brentq(excess, 12.0, 60.0)
    found = result.minos("mu", level=level)
    assert found == pytest.approx((expected[0] / 10, expected[1] / 10), rel=1e-4)
    low, high = result.profile("mu", points=81, sigmas=4.0).interval(level)
    assert (low, high) == pytest.approx(found, rel=1e-3)


def test_equals_scipy_on_many_nuisances() -> None:
    model, columns, reference = many_nuisances(500, 6, reference=300)
    like = model.likelihood(columns, reference=reference, engine="numpy")
    result = sbi.fit(like)
    expected = optimize.minimize(like.nll, like.start, method="Powell",
                                 options={"xtol": 1e-8, "ftol": 1e-14, "maxiter": 200},
                                 bounds=[(0, 10)] + [(-5, 5)] * 6)  # fmt: skip
    assert result.valid
    assert result.nll <= expected.fun + 1e-9
    sigma = np.array(list(result.errors.values()))
    assert np.abs((result.theta - expected.x) / sigma).max() < 1e-2


def test_gradient_gives_the_same_minimum_in_fewer_calls() -> None:
    model, columns, reference = many_nuisances(1000, 20, reference=500)
    like = model.likelihood(columns, reference=reference)
    ours, plain = sbi.fit(like), sbi.fit(like, gradient=False, strategy=1)
    sigma = np.array(list(ours.errors.values()))
    assert np.abs((ours.theta - plain.theta) / sigma).max() < 1e-3
    assert sum(ours.calls) < sum(plain.calls) / 4


def test_errors_equal_the_analytic_likelihoods(
    problem: SignalBackground, data: Any, like: sbi.Likelihood
) -> None:
    """Exact ratios: the covariance is that of the densities, by differences."""
    result = sbi.fit(like)

    def analytic(theta: Any) -> float:
        return problem.analytic(data, *theta)

    exact = optimize.minimize(analytic, result.theta, method="Nelder-Mead",
                              options={"xatol": 1e-7, "fatol": 1e-10})  # fmt: skip
    hessian = np.empty((2, 2))
    h = 1e-3 * np.eye(2)
    for i in range(2):
        for j in range(2):
            corners = [
                analytic(exact.x + a * h[i] + b * h[j]) * a * b
                for a in (1, -1) for b in (1, -1)
            ]  # fmt: skip
            hessian[i, j] = sum(corners) / 4e-6
    errors = np.sqrt(np.diag(np.linalg.inv(hessian)))
    found = np.array(list(result.errors.values()))
    assert found == pytest.approx(errors, rel=0.01)
    assert np.abs((result.theta - exact.x) / errors).max() < 0.03


def test_a_parameter_at_its_limit_is_said() -> None:
    model = sbi.Model({"S": "mu * 10", "B": "50"}, {"mu": sbi.Parameter(1.0, lower=0.0)})
    like = model.likelihood({"S": np.ones(40), "B": np.ones(40)})
    result = sbi.fit(like)
    assert result.values["mu"] == 0.0
    assert result.at_limit == ["mu"]
    assert any("mu is at its lower limit 0" in problem for problem in result.problems)
    assert "at its lower limit" in repr(result)
    assert result.minos("mu")[0] == 0.0


def test_a_likelihood_without_a_minimum_is_invalid() -> None:
    """A free parameter that nothing depends on."""
    model = sbi.Model({"S": "mu * 10"}, {"mu": 1.0, "ghost": 0.5})
    result = sbi.fit(model.likelihood({"S": np.ones(10)}))
    assert not result.valid
    assert result.flat == [{"ghost": 1.0}]
    assert any("does not depend on ghost" in problem for problem in result.problems)
    assert "INVALID" in repr(result)
    for use in (result.require_valid, lambda: result.minos("mu"), lambda: result.profile("mu")):
        with pytest.raises(ConvergenceError, match="did not converge"):
            use()


def test_a_runaway_is_invalid() -> None:
    """No events: mu = -infinity would be best."""
    model = sbi.Model({"S": "exp(mu)", "B": "1"}, {"mu": sbi.Parameter(0.0)})
    result = sbi.fit(model.likelihood({"S": [1e-9], "B": [1.0]}))
    assert not result.valid or result.values["mu"] < -5.0


def test_points_without_a_density_are_survived_and_said() -> None:
    """The line search of MIGRAD crosses where the total is negative."""
    rng = np.random.default_rng(0)
    ratio = rng.normal(0.0, 0.5, 2000)
    model = sbi.Model({"I": "k * 2000", "B": "2000"}, {"k": sbi.Parameter(0.0)})
    columns = {"I": ratio - ratio.mean(), "B": np.ones(2000)}
    result = sbi.fit(model.likelihood(columns))
    assert np.isfinite(result.nll)
    wild = sbi.Model({"I": "k * 2000", "B": "2000"}, {"k": sbi.Parameter(50.0)})
    with pytest.raises(DensityError, match=r"'I'.*not positive at k=50"):
        sbi.fit(wild.likelihood(columns))


def test_fixed_parameters_and_starts(like: sbi.Likelihood) -> None:
    best = sbi.fit(like)
    held = sbi.fit(like, fixed={"jes": 0.7})
    assert held.values["jes"] == 0.7
    assert held.errors["jes"] == 0.0
    assert held.fixed == ["jes"]
    assert held.nll > best.nll
    again = sbi.fit(like, start={"mu": 2.5, "jes": -2.0})
    assert again.theta == pytest.approx(best.theta, abs=1e-5)
    everything = sbi.fit(like, fixed={"mu": 1.0, "jes": 0.0})
    assert everything.nll == like(mu=1.0, jes=0.0)
    for word in ("fixed", "start"):
        arguments: dict[str, Any] = {word: {"m": 1.0}}
        with pytest.raises(MissingParameterError, match="no parameter 'm'"):
            sbi.fit(like, **arguments)
    with pytest.raises(UsageError, match="'jes' was fixed"):
        held.minos("jes")
    with pytest.raises(MissingParameterError, match="'nu'"):
        best.minos("nu")


def test_a_fixed_parameter_may_have_no_slope() -> None:
    """sqrt(mu) at 0: its derivative is infinite, the fit of the others is not concerned."""
    model = sbi.Model(
        {"S": "(mu + sqrt(mu)) * 10", "B": "100 * norm"}, {"mu": sbi.Parameter(1.0, lower=1e-4)},
        {"norm": sbi.Nuisance("lognormal", width=1.5)},
    )  # fmt: skip
    like = model.likelihood({"S": np.ones(150), "B": np.ones(150)})
    held = sbi.fit(like, fixed={"mu": 0.0})
    exact = optimize.minimize_scalar(
        lambda n: 100 * n - 150 * math.log(100 * n) + 0.5 * (math.log(n) / math.log(1.5)) ** 2,
        bounds=(0.5, 3.0), method="bounded", options={"xatol": 1e-9},
    )  # fmt: skip
    assert held.valid
    assert held.problems == []
    assert held.values["norm"] == pytest.approx(exact.x, rel=1e-6)
    scan = sbi.fit(like, start={"mu": 2.0}).profile("mu", values=[0.0, 0.5])
    assert scan.invalid == 0


def test_a_long_fit_is_not_silent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a terminal a line says for how long it has been going on."""
    plain = sbi.Likelihood.nll_gradient

    def slow(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.05)
        return plain(*arguments, **options)

    monkeypatch.setattr(progress, "INTERVAL", 0.02)
    monkeypatch.setattr(sbi.Likelihood, "nll_gradient", slow)
    with caplog.at_level("INFO", logger="rootml.progress"):
        assert sbi.fit(counting(12)).valid
    assert "fitting: 0 s" in caplog.messages


def test_points_of_a_profile_without_a_likelihood_are_nan() -> None:
    model = sbi.Model({"S": "mu * 10 * k"}, {"mu": sbi.Parameter(1.0, lower=0.0)},
                      {"k": sbi.Nuisance("lognormal", width=1.1)})  # fmt: skip
    scan = sbi.fit(model.likelihood({"S": np.ones(12)})).profile("mu", values=[0.0, 1.0])
    assert np.isnan(scan.t).tolist() == [True, False]
    assert scan.invalid == 1


def test_starts_outside_of_limits_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot start at mu = -1"):
        sbi.fit(counting(3), start={"mu": -1.0})
    with pytest.raises(UsageError, match="cannot start at mu = nan"):
        sbi.fit(counting(3), fixed={"mu": math.nan})
    assert sbi.Parameter(1.0, lower=-math.inf, upper=math.inf) == sbi.Parameter(1.0)


def test_profile_and_contour(like: sbi.Likelihood, tmp_path: Path) -> None:
    result = sbi.fit(like)
    scan = result.profile("mu", points=9, sigmas=2.0)
    assert scan.invalid == 0
    for value, t in zip(scan.values, scan.t, strict=True):
        slow = optimize.minimize_scalar(
            lambda jes, value=value: like(mu=value, jes=jes), bounds=(-4, 4), method="bounded",
            options={"xatol": 1e-7},
        )  # fmt: skip
        assert t == pytest.approx(2.0 * (slow.fun - result.nll), abs=1e-6)
    contour = result.contour("mu", "jes", points=12)
    for level, curve in contour.curves.items():
        edge = 0.5 * stats.chi2.ppf(level, 2)
        rises = [like(mu=mu, jes=jes) - result.nll for mu, jes in curve]
        assert len(curve) >= 12
        assert rises == pytest.approx([edge] * len(curve), rel=1e-4)
    for thing, name in ((scan, "scan.png"), (contour, "contour.png"), (result, "pulls.png")):
        thing.plot(path=tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    result.plot("mu", path=tmp_path / "mu.png")
    for thing in (result, scan):
        assert "<table>" in thing._repr_html_()
    assert "mu" in repr(contour)


def test_weighted_events_have_the_covariance_of_their_spread() -> None:
    """``mu = sum w / 100``: its variance is ``sum w^2 / 100^2``."""
    weights = np.random.default_rng(8).normal(1.0, 1.5, 400)
    assert (weights < 0.0).any()
    model = sbi.Model({"S": "mu * 100"}, {"mu": sbi.Parameter(1.0, lower=0.0)})
    result = sbi.fit(model.likelihood(sbi.RatioColumns({"S": np.ones(400)}, weights)))
    assert result.values["mu"] == pytest.approx(weights.sum() / 100, rel=1e-6)
    assert result.errors["mu"] == pytest.approx(math.sqrt(weights.sum()) / 100, rel=1e-5)
    found = result.weighted_covariance()[0, 0]
    assert found == pytest.approx((weights**2).sum() / 1e4, rel=1e-5)


def test_goodness_of_fit(problem: SignalBackground, like: sbi.Likelihood) -> None:
    good = sbi.goodness_of_fit(sbi.fit(like), bins=15)
    assert good.degrees == 15 + 1 - 2
    assert good.p_value > 0.001
    assert good.expected.sum() == pytest.approx(1000.0, rel=0.1)
    assert "p-value" in repr(good)
    rng = np.random.default_rng(1)
    other = problem.likelihood(rng.uniform(0.0, 10.0, 1000))
    bad = sbi.goodness_of_fit(sbi.fit(other), bins=15)
    assert bad.p_value < 1e-6
    plain = sbi.Model({"S": "mu"}, {"mu": 1.0}).likelihood({"S": [1.0]})
    with pytest.raises(UsageError, match="reference"):
        sbi.goodness_of_fit(sbi.fit(plain))


def test_goodness_of_fit_of_bins_is_the_saturated_deviance() -> None:
    from rootml.sbi.likelihood._binned import example_workspace

    result = sbi.fit(sbi.Model({}, binned=example_workspace()).likelihood(None))
    found = sbi.goodness_of_fit(result)
    at = result.values
    pulls = [at["bkg_norm"] ** 2]
    relative = [3.0 / 60.0, 2.0 / 40.0]
    pulls += [((at[f"mc[{i}]"] - 1.0) / relative[i]) ** 2 for i in range(2)]
    n, e = found.observed, found.expected
    deviance = 2.0 * (stats.poisson.logpmf(n, n) - stats.poisson.logpmf(n, e)).sum() + sum(pulls)
    assert found.deviance == pytest.approx(deviance, abs=1e-9)
    assert found.degrees == 2 + 3 - 4
