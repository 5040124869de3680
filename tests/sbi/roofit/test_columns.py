"""The `columns` route: files for plain ROOT, RooStats, RooSimultaneous of the user's, names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_roofit import columns, draw, likelihood, minimise, reset

from rootml import sbi
from rootml.errors import MismatchError, UsageError

pytestmark = pytest.mark.needs_root

READER = """
import json, sys, warnings
warnings.simplefilter("ignore")
import ROOT
ROOT.RooMsgService.instance().setGlobalKillBelow(ROOT.RooFit.ERROR)
file = ROOT.TFile(sys.argv[1])
workspace = file.Get("w")
config = workspace.obj("ModelConfig")
pdf, data = workspace.pdf("model"), workspace.data("data")
workspace.loadSnapshot("start")
nll = pdf.createNLL(data, Extended=True)
minimizer = ROOT.RooMinimizer(nll)
minimizer.setPrintLevel(-1)
minimizer.setEps(1e-2)
status = minimizer.minimize("Minuit2")
minimizer.hesse()
parameters = [*config.GetParametersOfInterest(), *config.GetNuisanceParameters()]
found = {p.GetName(): (p.getVal(), p.getError()) for p in parameters}
rootml = [name for name in sys.modules if name.startswith("rootml")]
print(json.dumps({"status": status, "found": found, "rootml": rootml}))
"""


@pytest.mark.parametrize(
    "options", [{"second": True}, {"binned": True}, {"code": "code5"}], ids=str
)
def test_file_is_fitted_by_plain_root(
    roofit: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    """A clean process without rootml reads the workspace and finds iminuit's minimum."""
    like = likelihood(**options)
    objects = like.to_roofit()
    path = objects.write(tmp_path / "model.root")
    done = subprocess.run(
        [sys.executable, "-I", "-c", READER, str(path)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["status"] == 0
    assert answer["rootml"] == []
    found = sbi.fit(like)
    for name, variable in objects.parameters.items():
        value, error = answer["found"][variable.GetName()]
        assert abs(value - found.values[name]) < 0.01 * found.errors[name]
        assert error == pytest.approx(found.errors[name], rel=0.015)


@pytest.mark.parametrize("binned", [False, True])
def test_without_nuisances_or_with_one_that_acts_on_nothing(
    roofit: Any, binned: bool, tmp_path: Path
) -> None:
    """RooFit drops the constraint of what its pdf does not depend on, and knows no empty sets."""
    spec = [
        {"name": "S", "data": [3.0],
         "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
        {"name": "B", "data": [5.0], "modifiers": []},
    ]  # fmt: skip
    workspace = {
        "version": "1.0.0", "channels": [{"name": "c", "samples": spec}],
        "observations": [{"name": "c", "data": [9.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    }  # fmt: skip
    mu = {"mu": sbi.Parameter(1.0, lower=0.0, upper=10.0)}
    for nuisances in ({}, {"idle": sbi.Nuisance("poisson", width=50.0, observed=40.0)}):
        if binned:
            like = sbi.Model({}, mu, nuisances, binned=workspace).likelihood(None)
        else:
            model = sbi.Model({"S": "mu * 3", "B": "5"}, mu, nuisances)
            like = model.likelihood({"S": np.ones(9), "B": np.ones(9)})
        objects = like.to_roofit()
        objects.pdf.fitTo(objects.data, PrintLevel=-1)
        assert objects.parameters["mu"].getVal() == pytest.approx(4.0 / 3.0, abs=0.02)
        if nuisances:
            assert objects.parameters["idle"].getVal() == pytest.approx(0.8, abs=2e-3)
            assert objects.parameters["idle"].getError() == pytest.approx(40**0.5 / 50, rel=0.01)
        path = objects.write(tmp_path / "model.root")
        file = roofit.TFile(str(path))
        assert file["w"].pdf("model")
        assert file["w"].obj("ModelConfig").GetParametersOfInterest().contentsString() == "mu"


def test_no_events(roofit: Any) -> None:
    model = sbi.Model({"S": "mu * 3", "B": "5"}, {"mu": sbi.Parameter(1.0, lower=0.0, upper=9.0)})
    like = model.likelihood(sbi.RatioColumns({"S": [], "B": []}, may_be_empty=True))
    for route in ("columns", "function"):
        objects = like.to_roofit(route)
        objects.pdf.fitTo(objects.data, PrintLevel=-1)
        assert objects.parameters["mu"].getVal() == pytest.approx(0.0, abs=1e-3)


def test_only_stock_classes(roofit: Any, combined: sbi.Likelihood) -> None:
    objects = combined.to_roofit()
    classes = {component.ClassName() for component in objects.pdf.getComponents()}
    assert "RooRealSumPdf" in classes
    assert not [name for name in classes if "rootml" in name.lower() or name == "RooAbsReal"]


def test_write_says_when_it_cannot(roofit: Any, like: sbi.Likelihood, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot write"):
        like.to_roofit().write(tmp_path / "no" / "such" / "folder.root")
    for route in ("nll", "function"):
        with pytest.raises(UsageError, match='route="columns"'):
            like.to_roofit(route).write(tmp_path / "w.root")
        assert not (tmp_path / "w.root").exists()


def test_profile_likelihood_calculator(roofit: Any, like: sbi.Likelihood) -> None:
    """RooStats' interval of mu is MINOS' interval."""
    objects = like.to_roofit()
    workspace = objects.workspace()
    config = workspace.obj("ModelConfig")
    config.SetParametersOfInterest("mu")
    calculator = roofit.RooStats.ProfileLikelihoodCalculator(workspace.data("data"), config)
    calculator.SetConfidenceLevel(0.682689492137)
    interval = calculator.GetInterval()
    mu = workspace.var("mu")
    low, high = sbi.fit(like).minos("mu")
    assert interval.LowerLimit(mu) == pytest.approx(low, abs=2e-3)
    assert interval.UpperLimit(mu) == pytest.approx(high, abs=2e-3)
    roofit.SetOwnership(interval, True)


def test_in_a_simultaneous_fit_of_the_users(roofit: Any, like: sbi.Likelihood) -> None:
    """Our pdf beside a Gaussian in one RooSimultaneous: the sum of both fits."""
    objects = like.to_roofit()
    x = roofit.RooRealVar("x", "", 0.0, -10.0, 10.0)
    mean = roofit.RooRealVar("mean", "", 0.5, -5.0, 5.0)
    width = roofit.RooConstVar("width", "", 1.0)
    gauss = roofit.RooGaussian("gauss", "", x, mean, width)
    values = np.random.default_rng(2).normal(0.3, 1.0, 500)
    other = roofit.RooDataSet.from_numpy({"x": values}, [x])
    index = roofit.RooCategory("index", "")
    for state in ("ours", "theirs"):
        index.defineType(state)
    both = roofit.RooSimultaneous("both", "", {"ours": objects.pdf, "theirs": gauss}, index)
    variables = roofit.RooArgSet(*objects.observables.values(), x)
    data = roofit.RooDataSet(
        "both_data", "", variables,
        Index=index, Import={"ours": objects.data, "theirs": other},
    )  # fmt: skip
    outcomes = roofit.RooArgSet(*objects.global_observables.values())
    reset(objects, mu=0.8)
    nll = both.createNLL(data, Extended=True, GlobalObservables=outcomes)
    minimise(roofit, nll)
    found = sbi.fit(like)
    mu = objects.parameters["mu"]
    assert abs(mu.getVal() - found.values["mu"]) < 0.02 * found.errors["mu"]
    assert mean.getVal() == pytest.approx(values.mean(), abs=1e-3)


def test_second_dataset_of_another_size(roofit: Any, like: sbi.Likelihood) -> None:
    """The pdf is not tied to its data: a new dataset with the same columns."""
    for route in ("columns", "function"):
        objects = like.to_roofit(route)
        x = draw(150, 1500, 9)
        fresh = like.with_columns(columns(x))
        other = fresh.to_roofit(route)
        reset(objects)
        nll = objects.pdf.createNLL(other.data, Extended=True)
        values = {}
        for mu in (0.8, 1.2):
            objects.parameters["mu"].setVal(mu)
            theta = fresh.start.copy()
            theta[0] = mu
            values[mu] = nll.getVal(), fresh.nll(theta)
        (low, ours_low), (high, ours_high) = values.values()
        assert high - low == pytest.approx(ours_high - ours_low, abs=1e-3)


def test_names(roofit: Any) -> None:
    """Names keep their meaning, or are made harmless; columns give way to parameters."""
    ratio = np.array([0.5, 1.5, 1.0, 2.0] * 20)
    like = sbi.Model(
        {"S": "r_S * 40 + density", "B": "60"},
        {"r_S": sbi.Parameter(1.0, lower=0.0, upper=5.0), "density": sbi.Parameter(1.0, lower=0)},
        {"model": sbi.Nuisance(yields={"B": 1.1}), "x[0]": sbi.Nuisance(yields={"S": 1.1})},
    ).likelihood({"S": ratio, "B": np.ones(80)})
    objects = like.to_roofit()
    names = {key: variable.GetName() for key, variable in objects.parameters.items()}
    assert names == {"r_S": "r_S", "density": "density", "model": "model", "x[0]": "x_0"}
    assert set(objects.observables) == {"r_S_2", "r_B"}
    workspace = objects.workspace()
    assert workspace.pdf(objects.pdf.GetName())
    assert workspace.data(objects.data.GetName())


def test_a_wrong_translation_is_refused(
    roofit: Any, like: sbi.Likelihood, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If RooFit's classes meant something else, no object would come out."""
    from rootml.sbi.roofit import _effects

    monkeypatch.setitem(_effects._MULTIPLICATIVE, "code5", 0)
    with pytest.raises(MismatchError, match="is allowed"):
        likelihood(code="code5").to_roofit()


def test_log_z_that_no_formula_meets(roofit: Any) -> None:
    with pytest.raises(UsageError, match='route="nll"'):
        likelihood(second=True).to_roofit(tolerance=1e-13)


def test_start_outside_of_the_formula(roofit: Any) -> None:
    shape = {"nominal": np.ones(4), "a": (np.full(4, 1.1), np.full(4, 0.9))}
    like = sbi.Model({"B": 4}, {}, {"a": sbi.Nuisance(value=3.0)}).likelihood(
        {"B": shape}, reference={"B": shape}
    )
    with pytest.raises(UsageError, match="'a' starts at 3.0"):
        like.to_roofit(reach=2.0)
    assert like.to_roofit(reach=4.0).parameters["a"].getMax() == 4.0


def test_only_mixtures_become_columns(roofit: Any, like: sbi.Likelihood) -> None:
    """A likelihood with shifts of finite samples has the route "nll" only."""
    shifts = sbi.SampleShifts(("mu",), np.array([[0.02], [-0.02]]), np.array([0.1]))
    shifted = sbi.ShiftedLikelihood(like, shifts)
    with pytest.raises(UsageError, match='use route="nll"'):
        shifted.to_roofit("columns")
    objects = shifted.to_roofit("nll")
    assert objects.nll.getVal() == shifted.nll(shifted.start)


def test_unknown_route_and_repr(roofit: Any, combined: sbi.Likelihood) -> None:
    with pytest.raises(UsageError, match="'columns', 'nll', 'function'"):
        combined.to_roofit("pdf")  # type: ignore[arg-type]
    objects = combined.to_roofit()
    assert "RooSimultaneous" in repr(objects)
    assert "mc[0]      mc_0" in repr(objects)
    assert "<table>" in objects._repr_html_()
    with pytest.raises(UsageError, match="createNLL"):
        _ = objects.nll
