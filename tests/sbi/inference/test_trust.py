"""What a fit says of itself: flat directions, parameters at limits, weighted data.

Against results in closed form, and against what many toys spread by.
"""

from __future__ import annotations

import json
import logging
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rootml import sbi
from rootml.errors import ConvergenceError, MissingParameterError
from rootml.sbi.inference.fits._finite_samples import spreads
from rootml.sbi.likelihood._origin import DroppedShape, Origin


def peak_on_flat(seed: int, processes: dict[str, str], **parameters: Any) -> sbi.Likelihood:
    """About 300 events of a normal peak and 700 uniform ones, with exact ratios."""
    rng = np.random.default_rng(seed)
    x = np.r_[rng.normal(0.0, 1.0, rng.poisson(300)), rng.uniform(-5.0, 5.0, rng.poisson(700))]
    model = sbi.Model(processes, {"mu": sbi.Parameter(1.0, -5.0, 9.0), **parameters})
    return model.likelihood({"S": 10.0 * stats.norm.pdf(x), "B": np.ones(len(x))})


# --- flat directions -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_a_product_of_two_parameters_is_found_flat(seed: int) -> None:
    """Only a b is known: along d a / a = - d b / b the likelihood does not change."""
    factors = {name: sbi.Parameter(1.0, 0.0, 5.0) for name in "ab"}
    result = sbi.fit(peak_on_flat(seed, {"S": "mu * 300", "B": "a * b * 700"}, **factors))
    assert not result.valid
    (steps,) = result.flat
    assert set(steps) == {"a", "b"}
    slope = steps["b"] / steps["a"]
    assert slope == pytest.approx(-result.values["b"] / result.values["a"], rel=1e-6)
    assert any("flat along" in problem for problem in result.problems)
    with pytest.raises(ConvergenceError, match="flat along"):
        result.require_valid()


@pytest.mark.parametrize("start", [0.2, 1.0, 4.9])
def test_a_flat_direction_with_a_parameter_at_its_limit(start: float) -> None:
    """b is at 5, where the fit began, and could leave: no reason to call the fit valid."""
    factors = {"a": sbi.Parameter(start, 0.0, 5.0), "b": sbi.Parameter(5.0, 0.0, 5.0)}
    result = sbi.fit(peak_on_flat(1, {"S": "mu * 300", "B": "a * b * 700"}, **factors))
    assert not result.valid
    assert set(result.flat[0]) == {"a", "b"}


def test_a_limit_that_holds_determines_the_other() -> None:
    """Both would be larger; they stand at their limits, and nothing is free."""
    factors = {name: sbi.Parameter(0.5, 0.0, 0.6) for name in "ab"}
    result = sbi.fit(peak_on_flat(1, {"S": "mu * 300", "B": "a * b * 700"}, **factors))
    assert result.valid
    assert result.flat == []
    assert sorted(result.at_limit) == ["a", "b"]


def test_two_flat_directions_are_told_apart() -> None:
    free = {name: sbi.Parameter(1.0, 0.0, 9.0) for name in ("a", "b", "c", "d")}
    like = peak_on_flat(3, {"S": "mu * c * 300", "B": "a * b * d * 700"}, **free)
    found = sbi.fit(like).flat
    names = [set(steps) for steps in found]
    assert len(found) == 3  # 5 parameters, 2 numbers known
    assert sum({"mu", "c"} == each for each in names) == 1
    assert sum(each <= {"a", "b", "d"} for each in names) == 2


@pytest.mark.parametrize("tilt", [0.15, 0.015, 0.0015])
@pytest.mark.parametrize("seed", range(4))
def test_strong_correlations_are_no_flat_directions(tilt: float, seed: int) -> None:
    """Two nearly equal shapes: correlations of up to 1 - 1e-6, errors as Fisher has them."""
    x = np.random.default_rng(seed).uniform(-1.0, 1.0, 20_000)
    model = sbi.Model({"A": "a * 1e4", "B": "b * 1e4"}, {"a": 1.0, "b": 1.0})
    result = sbi.fit(model.likelihood({"A": np.ones_like(x), "B": 1.0 + tilt * x}))
    assert result.valid, result.problems
    assert result.flat == []
    assert result.correlation[0, 1] < -0.98
    terms = np.stack([np.ones_like(x), 1.0 + tilt * x]) * 1e4
    score = terms / (result.theta @ terms)
    exact = np.sqrt(np.diag(np.linalg.inv(score @ score.T)))
    assert list(result.errors.values()) == pytest.approx(exact.tolist(), rel=1e-3)


def test_a_weak_constraint_beside_many_events_is_enough() -> None:
    """a + b is known to 1e-4, a by its constraint of width 1 alone: that is not flat."""
    model = sbi.Model({"S": "(a + b) * 5e4"}, {"b": 1.0}, {"a": sbi.Nuisance(value=1.0)})
    result = sbi.fit(model.likelihood({"S": np.ones(100_000)}))
    assert result.valid, result.problems
    assert result.errors["a"] == pytest.approx(1.0, rel=1e-6)
    assert result.errors["b"] == pytest.approx(math.hypot(1.0, math.sqrt(1e5) / 5e4), rel=1e-6)


# --- limits ----------------------------------------------------------------------------------


def test_errors_beside_a_parameter_at_its_limit() -> None:
    """A deficit of signal-like events: S stands at 0, and B is known as if S was not there."""
    model = sbi.Model(
        {"S": "mu * 100", "B": "b * 100"},
        {"mu": sbi.Parameter(0.5, lower=0.0), "b": 1.0},
    )  # fmt: skip
    x = np.random.default_rng(3).uniform(0.0, 1.0, 100)
    like = model.likelihood({"S": 1.9 - 1.8 * x[x > 0.2], "B": np.ones((x > 0.2).sum())})
    result = sbi.fit(like)
    number = int((x > 0.2).sum())
    assert result.values["mu"] == 0.0
    assert result["mu"].limit == "lower"
    assert result.errors["b"] == pytest.approx(math.sqrt(number) / 100, rel=1e-6)
    assert any(
        "mu is at its lower limit 0: its error is not a standard deviation" in problem
        for problem in result.problems
    )
    assert "at its lower limit" in str(result.summary())
    assert "at its lower limit" in result._repr_html_()


def test_the_upper_limit_is_named() -> None:
    model = sbi.Model({"S": "mu * 10"}, {"mu": sbi.Parameter(1.0, lower=0.0, upper=2.0)})
    result = sbi.fit(model.likelihood({"S": np.ones(50)}))
    assert result["mu"].limit == "upper"
    assert "mu is at its upper limit 2:" in result.problems[0]


# --- weighted data -----------------------------------------------------------------------------


def weighted(seed: int, negative: float) -> sbi.Likelihood:
    """A peak on a flat background, events of weight -1 among them."""
    rng = np.random.default_rng(seed)
    net = 1.0 - 2.0 * negative
    x = np.r_[
        rng.normal(0.0, 1.0, rng.poisson(300 / net)),
        rng.uniform(-5.0, 5.0, rng.poisson(700 / net)),
    ]
    weights = np.where(rng.random(len(x)) < negative, -1.0, 1.0)
    model = sbi.Model(
        {"S": "mu * 300", "B": "b * 700"}, {"mu": sbi.Parameter(1.0, -5.0), "b": 1.0}
    )
    columns = {"S": 10.0 * stats.norm.pdf(x), "B": np.ones(len(x))}
    return model.likelihood(sbi.RatioColumns(columns, weights))


def test_errors_of_weighted_data_are_what_toys_spread_by() -> None:
    """30 % negative weights: the errors of counts are too small by 1.6."""
    fits = [sbi.fit(weighted(seed, 0.3)) for seed in range(300)]
    assert all(result.valid for result in fits)
    spread = np.std([result.values["mu"] for result in fits])
    plain = np.mean([result.errors["mu"] for result in fits])
    sandwich = np.mean([result.weighted_errors["mu"] for result in fits])
    assert sandwich == pytest.approx(spread, rel=4.0 / math.sqrt(2 * 300))
    assert plain < 0.75 * spread


def test_weighted_data_are_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    result = sbi.fit(weighted(5, 0.3))
    assert result.weighted
    assert any("weights that are not counts" in problem for problem in result.problems)
    for text in (repr(result), str(result.summary()), result._repr_html_()):
        assert "weighted error" in text
    mu = result["mu"]
    assert mu.weighted_error == result.weighted_errors["mu"]
    assert result.to_dict()["parameters"]["mu"]["weighted_error"] == mu.weighted_error
    with caplog.at_level(logging.WARNING):
        result.minos("mu")
    assert "weighted events" in caplog.text
    assert "weights that are not counts" in repr(result.profile("mu", points=3))


def test_weights_of_asimov_data_are_counts() -> None:
    x = np.random.default_rng(1).uniform(-5.0, 5.0, 5_000)
    model = sbi.Model({"S": "mu * 300", "B": "700"}, {"mu": sbi.Parameter(1.0, -5.0)})
    columns = {"S": 10.0 * stats.norm.pdf(x), "B": np.ones(len(x))}
    like = sbi.asimov(model, columns)
    result = sbi.fit(like)
    assert not result.weighted
    assert result.problems == []
    assert "weighted" not in repr(result)
    both = sbi.CombinedLikelihood({"one": like, "two": weighted(1, 0.2).with_columns(columns)})
    assert not sbi.fit(both).weighted
    other = sbi.Model({"S": "mu * 100"}, {"mu": sbi.Parameter(1.0, -5.0)})
    events = sbi.RatioColumns({"S": np.ones(50)}, np.full(50, 2.0))
    both = sbi.CombinedLikelihood({"one": like, "two": other.likelihood(events)})
    assert sbi.fit(both).weighted


def test_weights_of_one_are_counts() -> None:
    model = sbi.Model({"S": "mu * 100"}, {"mu": 1.0})
    events = sbi.RatioColumns({"S": np.ones(50)}, np.ones(50))
    assert sbi.fit(model.likelihood(events)).problems == []


# --- by name -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result() -> sbi.FitResult:
    model = sbi.Model(
        {"S": "mu * 100", "B": "100"}, {"mu": sbi.Parameter(1.0, lower=0.0)},
        {"lumi": sbi.Nuisance(yields={"S": (1.05, 0.96), "B": 1.02})},
    )  # fmt: skip
    x = np.linspace(0.0, 1.0, 210)
    return sbi.fit(model.likelihood({"S": 2.0 * x, "B": np.ones(210)}))


def test_a_parameter_by_name(result: sbi.FitResult) -> None:
    mu = result["mu"]
    assert (mu.value, mu.error) == (result.values["mu"], result.errors["mu"])
    low, high = result.minos("mu")
    assert (mu.value + mu.down, mu.value + mu.up) == pytest.approx((low, high), rel=1e-12)
    assert mu.acts_on == ("yield of S",)
    assert result["lumi"].acts_on == ("yield of S +5/-4 %", "yield of B +2/-1.96 %")
    with pytest.raises(MissingParameterError, match="no parameter 'lum'; available: 'lumi'"):
        result["lum"]
    held = sbi.fit(result.like, fixed={"lumi": 0.0})
    assert repr(held["lumi"]).startswith("lumi = 0 (fixed")


def test_a_fit_as_json(result: sbi.FitResult) -> None:
    found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert found["valid"] is True
    assert found["parameters"]["lumi"]["constraint"] == "gaussian"
    assert found["parameters"]["mu"]["value"] == result.values["mu"]
    assert np.array_equal(found["covariance"], result.covariance)
    broken = sbi.fit(sbi.Model({"S": "mu * 10"}, {"mu": 1.0, "ghost": 0.5}).likelihood(
        {"S": np.ones(10)}))  # fmt: skip
    json.dumps(broken.to_dict(), allow_nan=False)


def test_binned_parameters_say_what_they_act_on() -> None:
    from rootml.sbi.likelihood._binned import example_workspace

    result = sbi.fit(sbi.Model({}, binned=example_workspace()).likelihood(None))
    assert result["mu"].acts_on == ("factor of signal in signal_region",)
    assert result["bkg_norm"].acts_on == ("yield of background in signal_region +10/-10 %",)
    assert result["mc[1]"].acts_on == ("factor of background in signal_region[1]",)


# --- dropped shapes, finite samples ----------------------------------------------------------


def shapes(x: Any, noise: float = 0.0) -> dict[str, Any]:
    """Exact columns of a peak on a flat background; `noise` makes the peak wider or narrower."""
    peak = 10.0 * stats.norm.pdf(x) * np.exp(noise * (1.0 - np.abs(x)))
    bump = 0.1 * np.exp(-0.5 * np.square(x / 1.5))
    return {"S": peak, "B": {"nominal": np.ones_like(x), "bump": (1.0 + bump, 1.0 - bump)}}


def members_of(x: Any, noises: Any) -> Origin:
    return Origin(sampled=np.arange(len(x)), members=tuple(shapes(x, noise) for noise in noises))


def learned(number: int, reference: int, noises: Any, *, seed: int = 1) -> sbi.Likelihood:
    """`number` observed events of 30 % signal, `reference` events of the flat background."""
    rng = np.random.default_rng(seed)
    x = np.where(
        rng.random(number) < 0.3, rng.normal(0.0, 1.0, number), rng.uniform(-5.0, 5.0, number)
    )
    y = rng.uniform(-5.0, 5.0, reference)
    model = sbi.Model(
        {"S": f"mu * {0.3 * number}", "B": f"b * {0.7 * number}"},
        {"mu": sbi.Parameter(1.0, 0.0), "b": 1.0}, {"bump": sbi.Nuisance()},
    )  # fmt: skip
    data = sbi.RatioColumns(shapes(x), origin=members_of(x, noises))
    known = sbi.RatioColumns(shapes(y), origin=members_of(y, noises))
    return model.likelihood(data, reference=known)


def spread_of(result: sbi.FitResult, cause: str) -> dict[str, float]:
    found = spreads(result.like, result.theta, result.covariance)
    (sizes,) = [each.sizes for each in found if cause in each.cause]
    return dict(zip(result.values, sizes.tolist(), strict=True))


def test_spread_of_members_is_that_of_their_fits() -> None:
    """Each member's columns fitted again, to the same events."""
    noises = np.array([-0.05, -0.02, 0.01, 0.02, 0.06])
    like = learned(20_000, 5_000, noises)
    result = sbi.fit(like)
    columns, reference = like.columns, like.reference
    assert columns is not None
    assert reference is not None
    fits = [
        sbi.fit(like.with_columns(one, reference=other))
        for one, other in zip(columns.origin.members, reference.origin.members, strict=True)
    ]
    found = spread_of(result, "training")
    for name in ("mu", "b", "bump"):
        again = np.std([each.values[name] for each in fits], ddof=1) / math.sqrt(5)
        assert found[name] == pytest.approx(again, rel=0.1, abs=0.01 * result.errors[name])
    assert found["mu"] > 0.1 * result.errors["mu"]


def test_the_choice_of_events_is_no_spread_of_members() -> None:
    """At 1 of 20 events; noise that is new for every event has no systematic effect."""
    rng = np.random.default_rng(4)
    like = learned(100_000, 2_000, ())
    assert like.columns is not None
    chosen = np.sort(rng.permutation(100_000)[:5_000])
    some = like.columns.take(chosen)
    noisy = tuple(
        {"S": some.ratio("S") * np.exp(0.3 * rng.normal(size=5_000)), "B": dict(some["B"])}
        for _ in range(5)
    )
    columns = sbi.RatioColumns(dict(like.columns), origin=Origin(sampled=chosen, members=noisy))
    result = sbi.fit(like.with_columns(columns))
    assert spread_of(result, "training")["mu"] < 0.5 * result.errors["mu"]


def test_spread_by_the_reference_is_that_of_the_bootstrap() -> None:
    result = sbi.fit(learned(2_000, 3_000, ()))
    exact = sbi.sample_shifts(result, sbi.bootstrap_reference(result.like, 60, seed=2))
    sigma = dict(zip(exact.names, np.sqrt(np.diag(exact.covariance)), strict=True))
    found = spread_of(result, "reference")
    for name in ("mu", "b", "bump"):  # 25 against 60 replicas
        assert found[name] == pytest.approx(sigma[name], rel=4.0 * math.sqrt(1 / 50 + 1 / 120))


def test_alarms_name_what_moves_and_what_measures_it() -> None:
    noises = np.array([-0.3, 0.0, 0.15, 0.3])
    loud = sbi.fit(learned(2_000, 1_000, noises))
    assert any("rough alarm: the finite training samples" in note for note in loud.notes)
    assert any("sbi.training_uncertainty" in note for note in loud.notes)
    assert all(note in repr(loud) for note in loud.notes)
    assert loud.to_dict()["notes"] == loud.notes
    quiet = sbi.fit(learned(2_000, 200_000, 0.01 * noises))
    assert quiet.notes == []
    few = sbi.fit(learned(2_000, 1_000, 0.01 * noises))
    assert any("sbi.bootstrap_reference" in note for note in few.notes)
    assert not any("sbi.training_uncertainty" in note for note in few.notes)


def test_dropped_shapes_are_named_with_what_may_be_missed() -> None:
    """Of 700 events of B an effect of 2 % RMS is one of 0.02 sqrt(700) = 0.53 sigma."""
    origin = Origin((DroppedShape("B", "tilt", 0.02), DroppedShape("S", "width", 0.5)))
    model = sbi.Model(
        {"S": "mu * 300", "B": "700"}, {"mu": sbi.Parameter(1.0, 0.0)},
        {"tilt": sbi.Nuisance(yields={"B": 1.02})},
    )  # fmt: skip
    x = np.random.default_rng(1).uniform(-5.0, 5.0, 1_000)
    columns = sbi.RatioColumns({"S": shapes(x)["S"], "B": np.ones(1_000)}, origin=origin)
    result = sbi.fit(model.likelihood(columns), fixed={"tilt": 0.0})
    (note,) = result.notes
    assert "tilt in B (0.53 sigma)" in note
    assert "width" not in note  # no parameter of this model
    assert note in repr(result)
    both = sbi.CombinedLikelihood({"one": result.like})
    assert sbi.fit(both, fixed={"tilt": 0.0}).notes == [f"one: {note}"]


def test_covariance_of_shifts_is_that_of_a_sample() -> None:
    """Over n - 1, and about the mean, not about the nominal fit."""
    shifts = sbi.SampleShifts(
        ("a", "b"), np.array([[1.0, 5.0], [2.0, 4.0], [6.0, 3.0]]), np.ones(2)
    )
    np.testing.assert_allclose(shifts.covariance, [[7.0, -2.5], [-2.5, 1.0]])
