"""Binned channels against pyhf: likelihood, fits, and workspaces that do not fit together."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pyhf
import pytest
from sbi_problems import SignalBackground
from sbi_workspaces import every_modifier

from rootml import sbi
from rootml.errors import DensityError, RootmlError, SchemaError, UsageError
from rootml.sbi.likelihood._binned import example_workspace

pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver:DeprecationWarning")  # in pyhf
SETTINGS = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}


def theirs(workspace: dict[str, Any]) -> tuple[Any, list[float]]:
    """pyhf's model and data."""
    read = pyhf.Workspace(workspace)
    model = read.model(modifier_settings=SETTINGS)
    return model, read.data(model)


def points(model: Any, number: int) -> list[dict[str, float]]:
    """Random points around the start."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(number):
        at = dict(zip(model.config.par_names, model.config.suggested_init(), strict=True))
        for name in at:
            if name in {"shape", "bkg_norm"}:
                at[name] = rng.normal(0.0, 1.4)
            elif name != "stat[1]":
                at[name] *= rng.uniform(0.8, 1.2)
        found.append({name: float(value) for name, value in at.items()})
    return found


def test_likelihood_equals_pyhf() -> None:
    model, data = theirs(every_modifier())
    like = sbi.Model({}, binned=every_modifier()).likelihood(None)
    assert set(like.parameters) == set(model.config.par_names)
    differences = []
    for at in points(model, 8):
        values = [at[name] for name in model.config.par_names]
        differences.append(like(**at) + float(model.logpdf(values, data)[0]))
    assert differences == pytest.approx([differences[0]] * 8, abs=1e-9)


def test_expectations_equal_pyhf() -> None:
    model, _ = theirs(every_modifier())
    binned = sbi.Binned.from_pyhf(every_modifier())
    for at in points(model, 4):
        values = [at[name] for name in model.config.par_names]
        ours = binned.expected(**at)
        both = np.concatenate([ours[name] for name in model.config.channels])
        assert both == pytest.approx(model.expected_actualdata(values), rel=1e-12)


def test_derivatives_match_differences() -> None:
    model, _ = theirs(every_modifier())
    like = sbi.Model({}, binned=every_modifier()).likelihood(None)
    for at in points(model, 3):
        theta = like.theta(**at)
        _, gradient = like.nll_gradient(theta)
        hessian = like.nll_hessian(theta)
        for i, step in enumerate(1e-5 * np.eye(len(theta))):
            slope = (like.nll(theta + step) - like.nll(theta - step)) / 2e-5
            assert gradient[i] == pytest.approx(slope, abs=1e-6)
            rise = like.nll_gradient(theta + step)[1] - like.nll_gradient(theta - step)[1]
            assert hessian[i] == pytest.approx(rise / 2e-5, abs=1e-5)


def test_derivatives_where_a_factor_is_zero() -> None:
    like = sbi.Model({}, binned=example_workspace()).likelihood(None)
    theta = like.theta(**{"mu": 0.0, "bkg_norm": 0.2, "mc[0]": 1.0, "mc[1]": 1.0})
    near = theta.copy()
    near[0] = 1e-7
    assert like.nll_gradient(theta)[1] == pytest.approx(like.nll_gradient(near)[1], rel=1e-5)
    assert like.nll_hessian(theta) == pytest.approx(like.nll_hessian(near), rel=1e-5, abs=1e-5)


def test_fit_equals_pyhf() -> None:
    backend = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-12))
    try:
        model, data = theirs(example_workspace())
        best, twice = pyhf.infer.mle.fit(data, model, return_fitted_val=True)
    finally:
        pyhf.set_backend(*backend)
    result = sbi.fit(sbi.Model({}, binned=example_workspace()).likelihood(None))
    expected = dict(zip(model.config.par_names, best, strict=True))
    assert result.valid
    for name, value in result.values.items():
        assert abs(value - expected[name]) < 0.01 * result.errors[name]
    values = [result.values[name] for name in model.config.par_names]
    assert float(-2.0 * model.logpdf(values, data)[0]) <= float(twice) + 1e-6


def test_combined_with_an_unbinned_channel(problem: SignalBackground, data: Any) -> None:
    """Sharing mu: values add up, and the combined error is smaller than both."""
    binned = example_workspace()
    alone = problem.likelihood(data)
    model = sbi.Model(alone.model.processes, alone.model.parameters, alone.model.nuisances, binned)
    both = model.likelihood(problem.columns(data), reference=problem.reference())
    counted = sbi.Model({}, binned=binned).likelihood(None)
    at = {"mu": 1.3, "bkg_norm": 0.4, "mc[0]": 1.01, "mc[1]": 0.97}
    assert both(jes=0.5, **at) == pytest.approx(alone(mu=1.3, jes=0.5) + counted(**at), rel=1e-13)
    errors = [sbi.fit(like).errors["mu"] for like in (alone, counted, both)]
    assert errors[2] < min(errors[:2])
    assert errors[2] == pytest.approx((errors[0] ** -2 + errors[1] ** -2) ** -0.5, rel=0.02)


def test_observed_counts_and_back_to_pyhf() -> None:
    binned = sbi.Binned.from_pyhf(every_modifier())
    moved = binned.with_observed({"signal_region": [1, 2], "control": [3.5, 4, 5]})
    again = sbi.Binned.from_pyhf(moved.to_pyhf())
    assert again == moved != binned
    assert again.observed["control"].tolist() == [3.5, 4.0, 5.0]
    with pytest.raises(SchemaError, match="control"):
        binned.with_observed({"signal_region": [1, 2]})
    with pytest.raises(SchemaError, match=r"-1.0 events observed in bin 1"):
        binned.with_observed({"signal_region": [1, -1], "control": [1, 2, 3]})


def test_a_bin_without_expectation_is_named() -> None:
    workspace = example_workspace()
    workspace["channels"][0]["samples"][1]["data"] = [0.0, 40.0]
    workspace["channels"][0]["samples"][1]["modifiers"] = []
    like = sbi.Model({}, binned=workspace).likelihood(None)
    with pytest.raises(DensityError, match="'signal_region' expects .* events in bin 0"):
        like(mu=0.0)


def broken(change: Any) -> dict[str, Any]:
    workspace = copy.deepcopy(every_modifier())
    change(workspace)
    return workspace


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("channels"), "'channels'"),
        (lambda w: w["observations"].pop(), "no observation of channel 'control'"),
        (lambda w: w["observations"][0]["data"].append(1.0), "3 bins observed"),
        (
            lambda w: w["channels"][0]["samples"][0]["modifiers"][0].update(type="magic"),
            "'mu'.*magic",
        ),
        (
            lambda w: w["channels"][1]["samples"][0]["modifiers"][1]["data"]["hi_data"].pop(),
            "sample 'background'.*3 bins",
        ),
        (
            lambda w: w["channels"][1]["samples"][0]["modifiers"][0].update(data=None),
            "'hi' and 'lo' are due",
        ),
        (lambda w: w["measurements"][0]["config"].update(parameters=[]), "lumi"),
    ],
    ids=range(7),
)
def test_workspaces_that_do_not_fit(change: Any, says: str) -> None:
    with pytest.raises(SchemaError, match=says):
        sbi.Binned.from_pyhf(broken(change))
    with pytest.raises(SchemaError, match="no measurement 'other'; available: 'all'"):
        sbi.Binned.from_pyhf(every_modifier(), measurement="other")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"nuisances": {"mu": sbi.Nuisance()}}, UsageError),
        ({"nuisances": {"bkg_norm": sbi.Nuisance(width=2.0)}}, UsageError),
        ({"parameters": {"bkg_norm": sbi.Parameter(0.0)}}, UsageError),
    ],
    ids=range(3),
)
def test_parameters_that_disagree(arguments: Any, error: type[RootmlError]) -> None:
    with pytest.raises(error, match="is constrained as"):
        sbi.Model({"S": "1"}, binned=example_workspace(), **arguments)
