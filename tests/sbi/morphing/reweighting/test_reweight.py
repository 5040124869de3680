"""Kinematic factors against densities whose ratio is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rootml.errors import StateError, UsageError
from rootml.sbi.morphing.inference._rows import Rows
from rootml.sbi.morphing.reweighting._reweight import Closure, Kinematics, Method, fit_kinematics

N = 30_000


def rows(conditions: Any, weights: Any = None, first: int = 0) -> Rows:
    n = len(conditions)
    keys = np.arange(first, first + n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return Rows(
        np.zeros((n, 1)), conditions, np.ones(n) if weights is None else weights, keys, keys
    )


def samples(seed: int = 0) -> tuple[Rows, Rows]:
    """Exponential and uniform conditions; the data's ratio to the simulation is 0.5 exp(x / 2)."""
    rng = np.random.default_rng(seed)
    sim = np.column_stack([rng.exponential(1.0, N), rng.uniform(size=N)])
    data = np.column_stack([rng.exponential(2.0, N), rng.uniform(size=N)])
    inside = [each[each[:, 0] < 3] for each in (sim, data)]
    return rows(inside[0]), rows(inside[1], first=N)


def needs(method: Method) -> None:
    """Skip without the package."""
    package = {"network": "torch", "boosted": "xgboost"}.get(method)
    if package is not None:
        pytest.importorskip(package)


def spread(found: Kinematics) -> float:
    """Relative scatter of the factors over the true ratio, in slices of x."""
    x, y = (
        each.ravel()
        for each in np.meshgrid(np.linspace(0.1, 2.9, 60), np.linspace(0.02, 0.98, 40))
    )
    ratio = found.weights(np.column_stack([x, y])) / np.exp(x / 2)
    slices = ratio.reshape(40, 60).mean(axis=0)
    return float(slices.std() / slices.mean())


@pytest.mark.parametrize("method", ["network", "boosted", "binned"])
def test_factors_are_the_ratio_of_the_densities(method: Method) -> None:
    needs(method)
    sim, data = samples()
    found = fit_kinematics(sim, data, ["x", "y"], method=method, seed=0)
    assert spread(found) < 0.08
    total = sim.weights @ found.weights(sim.conditions)
    assert total == pytest.approx(sim.weights.sum())
    closure = found.closure
    assert closure.ks_before["x"] > 0.1
    assert closure.ks_after["x"] < 0.025
    assert 0.5 < closure.effective < 1
    if method != "binned":
        x = np.linspace(0, 3, 3001)
        p, q = (np.exp(-x / scale) / np.exp(-x / scale).sum() for scale in (2, 1))
        assert closure.auc_before == pytest.approx(p @ (np.cumsum(q) - q / 2), abs=0.02)
        assert abs(closure.auc_after - 0.5) < 0.015


@pytest.mark.parametrize("method", ["network", "boosted", "binned"])
def test_negative_weights_are_taken_away(method: Method) -> None:
    """The simulation has a bump too much, and the same bump with negative weights."""
    needs(method)
    sim, data = samples()
    rng = np.random.default_rng(5)
    bump = np.column_stack([rng.normal(1.5, 0.2, 6000), rng.uniform(size=6000)])
    weights = np.concatenate([np.ones(len(sim)), np.repeat([1.0, -1.0], 3000)])
    signed = rows(np.concatenate([sim.conditions, bump]), weights)
    found = fit_kinematics(signed, data, ["x", "y"], method=method, seed=0)
    assert spread(found) < 0.12
    assert (found.weights(bump) >= 0).all()


@pytest.mark.parametrize("method", ["network", "boosted", "binned"])
def test_sorted_files_are_seen_whole(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more rows than are used, not just the first ones, all below 1 here."""
    needs(method)
    monkeypatch.setattr("rootml.sbi.morphing.reweighting._reweight.MAX_ROWS", 6000)
    sim, data = (part.take(np.argsort(part.conditions[:, 0])) for part in samples())
    assert sim.conditions[6000, 0] < 1
    found = fit_kinematics(sim, data, ["x", "y"], method=method, seed=0)
    assert spread(found) < 0.2


def test_none_leaves_everything() -> None:
    sim, data = samples()
    found = fit_kinematics(sim, data, ["x", "y"], method="none", seed=0)
    assert (found.weights(sim.conditions) == 1).all()
    assert found.closure.effective == pytest.approx(1)
    assert found.closure.ks_before == found.closure.ks_after


@pytest.mark.parametrize("method", ["network", "boosted", "binned", "none"])
def test_factors_are_kept(method: Method) -> None:
    needs(method)
    sim, data = samples()
    short = [part.take(slice(0, 3000)) for part in (sim, data)]
    found = fit_kinematics(short[0], short[1], ["x", "y"], method=method, seed=0)
    again = Kinematics.from_parts(found.to_json(), found.arrays())
    assert np.array_equal(again.weights(sim.conditions), found.weights(sim.conditions))
    assert repr(again.closure) == repr(found.closure)
    assert repr(Closure.from_json(found.closure.to_json())) == repr(found.closure)


def test_too_few_rows_are_refused() -> None:
    sim, data = samples()
    with pytest.raises(UsageError, match="1 simulated rows .*reweight='none'"):
        fit_kinematics(sim.take(slice(0, 1)), data, ["x", "y"], method="binned", seed=0)


@pytest.fixture(scope="module")
def network() -> Kinematics:
    """Of few rows."""
    pytest.importorskip("torch")
    short = [part.take(slice(0, 3000)) for part in samples()]
    return fit_kinematics(short[0], short[1], ["x", "y"], method="network", seed=0)


def test_a_network_goes_no_further_than_it_went_in_training(network: Kinematics) -> None:
    """Far away it would grow without bound."""
    inside = network.weights(np.concatenate([part.conditions[:3000] for part in samples()]))
    far = network.weights(np.array([[1e9, 0.5], [-1e9, 0.5], [1.0, 1e30]]))
    assert far.max() <= inside.max() * 1.5
    assert far.min() >= inside.min() / 1.5


def test_damaged_networks_are_refused(network: Kinematics) -> None:
    arrays = network.arrays()
    for name, values in (("w0", arrays["network0.w0"][:1]), ("ends", np.array([1.0, -1.0]))):
        with pytest.raises(StateError, match="networks of the reweighting"):
            Kinematics.from_parts(network.to_json(), {**arrays, f"network0.{name}": values})


def test_bins_that_make_it_worse_are_not_used(caplog: pytest.LogCaptureFixture) -> None:
    """Six equal conditions and few rows: every binning learns nothing but fluctuations."""
    rng = np.random.default_rng(0)
    sim, data = (rows(rng.normal(size=(800, 6)), first=first) for first in (0, 10_000))
    names = [f"c{j}" for j in range(6)]
    found = fit_kinematics(sim, data, names, method="binned", seed=0)
    assert np.array_equal(found.weights(sim.conditions), np.ones(800))
    assert "all factors are 1" in found.closure.reason
    assert "all factors are 1" in caplog.text
    assert np.isnan(found.closure.auc_after)
    again = Kinematics.from_parts(found.to_json(), found.arrays())
    assert again.closure.reason == found.closure.reason


def test_an_area_that_is_missing_has_a_reason() -> None:
    sim, data = samples()
    for method in ("binned", "none"):
        closure = fit_kinematics(sim, data, ["x", "y"], method=method, seed=0).closure
        assert np.isnan(closure.auc_after)
        assert f"reweight='{method}'" in closure.reason
