"""The `nll` route: gradient, RooMinimizer, sums, profiles, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_roofit import assert_same_fit, minimise, reset

from rootml import sbi
from rootml.errors import UsageError
from rootml.sbi.estimator.graph._graph import Builder
from rootml.sbi.estimator.ratios._record import TrainingRecord

pytestmark = pytest.mark.needs_root


def test_value_and_error_level(roofit: Any, like: sbi.Likelihood) -> None:
    nll = like.to_roofit("nll").nll
    assert nll.getVal() == like.nll(like.start)
    assert nll.defaultErrorLevel() == 0.5


def test_gradient_is_in_roofits_order(roofit: Any, like: sbi.Likelihood) -> None:
    """Sorted by name as RooFit does: capitals first, whatever the order of definition."""
    objects = like.to_roofit("nll")
    reset(objects, mu=1.3, tilt=0.4, a_norm=1.02, Stat=1.01)
    names = [parameter.GetName() for parameter in objects.nll.getParameters(0)]
    assert names == ["Stat", "a_norm", "mu", "tilt"] != list(like.parameters)
    buffer = np.zeros(4)
    assert objects.nll.hasGradient()
    objects.nll.gradient(buffer)
    for slope, name in zip(buffer, names, strict=True):
        variable = objects.parameters[name]
        centre, step = variable.getVal(), 1e-4
        ends = []
        for side in (step, -step):
            variable.setVal(centre + side)
            ends.append(objects.nll.getVal())
        variable.setVal(centre)
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-3), name


def test_gradient_saves_calls(roofit: Any, like: sbi.Likelihood) -> None:
    """RooMinimizer uses it: many fewer values than with finite differences, the same minimum."""
    calls = {}
    for use in (True, False):
        objects = like.to_roofit("nll")
        reset(objects, mu=0.5)
        config = roofit.RooMinimizer.Config()
        config.useGradient = use
        minimizer = roofit.RooMinimizer(objects.nll, config)
        minimizer.setPrintLevel(-1)
        minimizer.setStrategy(0)
        minimizer.setEps(1e-3)
        assert minimizer.minimize("Minuit2", "Migrad") == 0
        calls[use] = minimizer.evalCounter()
        found = sbi.fit(like)
        assert (
            abs(objects.parameters["mu"].getVal() - found.values["mu"]) < 0.02 * found.errors["mu"]
        )
    assert calls[True] < 0.8 * calls[False]


@pytest.mark.parametrize("held", [None, "tilt"])
def test_second_derivatives(roofit: Any, like: sbi.Likelihood, held: str | None) -> None:
    """RooMinimizer uses them where it is told to: few calls, the minimum and errors of `fit`."""
    objects = like.to_roofit("nll")
    if not hasattr(objects.nll, "hasHessian"):
        pytest.skip("this ROOT has no place for them")
    reset(objects, mu=0.5)
    if held is not None:
        objects.parameters[held].setConstant(True)
    config = roofit.RooMinimizer.Config()
    config.useHessian = True
    minimizer = roofit.RooMinimizer(objects.nll, config)
    minimizer.setPrintLevel(-1)
    minimizer.setEps(1e-3)
    assert minimizer.minimize("Minuit2", "Migrad") == 0
    assert minimizer.hesse() == 0
    assert minimizer.evalCounter() < 30
    fixed = {} if held is None else {held: float(like.parameters[held].value or 0.0)}
    found = sbi.fit(like, fixed=fixed)
    for name, parameter in objects.parameters.items():
        if name != held:
            assert abs(parameter.getVal() - found.values[name]) < 0.01 * found.errors[name]
            assert parameter.getError() == pytest.approx(found.errors[name], rel=0.01)


def test_second_derivatives_are_in_roofits_order(roofit: Any, like: sbi.Likelihood) -> None:
    objects = like.to_roofit("nll")
    if not hasattr(objects.nll, "hasHessian"):
        pytest.skip("this ROOT has no place for them")
    reset(objects, mu=1.3, tilt=0.4, a_norm=1.02, Stat=1.01)
    names = [parameter.GetName() for parameter in objects.nll.getParameters(0)]
    order = [list(like.parameters).index(name) for name in names]
    buffer = np.zeros(16)
    objects.nll.hessian(buffer)
    point = [objects.parameters[name].getVal() for name in like.parameters]
    exact = like.nll_hessian(point)
    np.testing.assert_array_equal(buffer.reshape(4, 4), exact[np.ix_(order, order)])


def test_no_gradient_once_a_parameter_is_a_formula(roofit: Any, like: sbi.Likelihood) -> None:
    """Then the leaves of the graph are not the likelihood's parameters any more."""
    objects = like.to_roofit("nll")
    scale = roofit.RooRealVar("scale", "", 0.5, 0.0, 2.0)
    doubled = roofit.RooFormulaVar("mu_doubled", "2 * x[0]", [scale])
    customizer = roofit.RooCustomizer(objects.nll, "changed")
    customizer.replaceArg(objects.parameters["mu"], doubled)
    changed = customizer.build()
    assert not changed.hasGradient()
    assert minimise(roofit, changed) == 0
    found = sbi.fit(like)
    assert abs(2 * scale.getVal() - found.values["mu"]) < 0.02 * found.errors["mu"]


def test_sum_with_a_binned_nll_of_roofit(roofit: Any, combined: sbi.Likelihood) -> None:
    """Our events plus a channel that RooFit itself evaluates, in a RooAddition, with MINOS."""
    assert combined.unbinned is not None
    events = combined.model.with_binned(None).likelihood(
        combined.columns, reference=combined.reference
    )
    ours = events.to_roofit("nll")
    mu = ours.parameters["mu"]
    norm = roofit.RooRealVar("bkg_norm", "", 0.0, -5.0, 5.0)
    gammas = [roofit.RooRealVar(f"gamma{i}", "", 1.0, 0.1, 3.0) for i in range(2)]
    x = roofit.RooRealVar("x", "", 0.5, 0.0, 2.0)
    x.setBins(2)
    one, low, high = (roofit.RooConstVar(f"c{v}", "", v) for v in (1.0, 0.9, 1.1))
    up = roofit.PiecewiseInterpolation("up", "", one, [low], [high], [norm])
    up.setAllInterpCodes(5)
    rates = [
        roofit.RooFormulaVar(f"rate{i}", f"{s} * x[0] + {b} * x[1] * x[2]", [mu, up, gammas[i]])
        for i, (s, b) in enumerate(((5.0, 60.0), (10.0, 40.0)))
    ]
    shape = roofit.ParamHistFunc("shape", "", [x], rates)
    pdf = roofit.RooRealSumPdf("pdf", "", [shape], [one], True)
    histogram = roofit.RooDataHist("histogram", "", [x])
    for i, count in enumerate((68.0, 49.0)):
        histogram.set(i, count, 0.0)
    zero = roofit.RooConstVar("zero", "", 0.0)
    terms = [roofit.RooGaussian("norm_term", "", norm, zero, one)]
    relative = np.array([3.0 / 60.0, 2.0 / 40.0])
    widths = [roofit.RooConstVar(f"width{i}", "", float(w)) for i, w in enumerate(relative)]
    terms += [roofit.RooGaussian(f"term{i}", "", gammas[i], one, widths[i]) for i in range(2)]
    binned = pdf.createNLL(
        histogram, roofit.RooFit.Extended(True),
        roofit.RooFit.ExternalConstraints(roofit.RooArgSet(*terms)),
    )  # fmt: skip
    total = roofit.RooAddition("total", "", [ours.nll, binned])
    minimizer = roofit.RooMinimizer(total)
    minimizer.setPrintLevel(-1)
    minimizer.setErrorLevel(0.5)
    minimizer.setEps(1e-2)
    assert minimizer.minimize("Minuit2") == 0
    minimizer.hesse()
    minimizer.minos(roofit.RooArgSet(mu))
    found = sbi.fit(combined)
    assert abs(mu.getVal() - found.values["mu"]) < 0.01 * found.errors["mu"]
    assert mu.getError() == pytest.approx(found.errors["mu"], rel=0.01)
    ends = found.minos("mu")
    assert mu.getErrorLo() == pytest.approx(ends[0] - found.values["mu"], rel=0.01)
    assert mu.getErrorHi() == pytest.approx(ends[1] - found.values["mu"], rel=0.01)
    del minimizer


def test_profile(roofit: Any, like: sbi.Likelihood) -> None:
    """`createProfile` is zero at the minimum and 0.5 at MINOS' ends."""
    objects = like.to_roofit("nll")
    mu = objects.parameters["mu"]
    profile = objects.nll.createProfile(roofit.RooArgSet(mu))
    found = sbi.fit(like)
    mu.setVal(found.values["mu"])
    assert profile.getVal() == pytest.approx(0.0, abs=1e-3)
    mu.setVal(found.minos("mu")[1])
    assert profile.getVal() == pytest.approx(0.5, abs=0.01)


def test_density_that_is_not_positive(roofit: Any) -> None:
    """MINUIT steps back from it and finds the minimum inside."""
    ratios = np.array([0.2, 0.5, 1.5, 2.0] * 50)
    like = sbi.Model(
        {"S": "mu * 100", "B": 100}, {"mu": sbi.Parameter(0.5, lower=-5.0, upper=5.0)}
    ).likelihood({"S": ratios, "B": np.ones(200)})
    objects = like.to_roofit("nll")
    objects.parameters["mu"].setVal(-2.0)
    assert np.isnan(objects.nll.getVal())
    objects.parameters["mu"].setVal(0.5)
    objects.parameters["mu"].setError(3.0)
    minimise(roofit, objects.nll)
    assert_same_fit(objects, sbi.fit(like))


def test_an_exception_in_python_ends_the_fit(
    roofit: Any, like: sbi.Likelihood, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = like.to_roofit("nll")

    def broken(*_: Any, **__: Any) -> float:
        message = "the disk is gone"
        raise OSError(message)

    monkeypatch.setattr(like, "nll_gradient", broken)
    objects.parameters["mu"].setVal(1.1)
    with pytest.raises(Exception, match="OSError: the disk is gone"):
        minimise(roofit, objects.nll)


def test_refuses_to_be_written(roofit: Any, like: sbi.Likelihood, tmp_path: Path) -> None:
    """By every way that leads to a file; the file stays good."""
    objects = like.to_roofit("nll")
    path = tmp_path / "file.root"
    file = roofit.TFile(str(path), "RECREATE")
    listed = roofit.TList()
    listed.Add(objects.nll)
    inner = file.mkdir("inner")
    ways: list[Callable[[], object]] = [
        lambda: file.WriteObject(objects.nll, "a"),
        lambda: objects.nll.Write("b"),
        lambda: inner.WriteObject(listed, "c"),
        lambda: listed.Write("d", 1),
    ]
    for write in ways:
        with pytest.raises(Exception, match="cannot be written to a file"):
            write()
    file.cd()
    file.WriteObject(roofit.TNamed("good", "good"), "good")
    file.Close()
    file = roofit.TFile(str(path))
    assert not file.TestBit(roofit.TFile.kRecovered)
    assert sorted(key.GetName() for key in file.GetListOfKeys()) == ["good", "inner"]
    assert file.Get("inner").GetListOfKeys().GetSize() == 0
    file.Close()


def test_refuses_workspaces(roofit: Any, like: sbi.Likelihood, tmp_path: Path) -> None:
    objects = like.to_roofit("nll")
    workspace = roofit.RooWorkspace("w")
    with pytest.raises(Exception, match="cannot be"):
        workspace.Import(objects.nll)
    assert not workspace.obj("nll")
    # RooFit takes a sum as a generic object, but then the workspace cannot be written
    total = roofit.RooAddition("total", "", [objects.nll])
    workspace.Import(total)
    with pytest.raises(Exception, match="cannot be written to a file"):
        workspace.writeToFile(str(tmp_path / "w.root"))


def mean_of_a_normal_distribution(
    x: np.ndarray, *, ends: Any = (-2.0, 2.0), **options: Any
) -> Any:
    """The likelihood of a ratio in a graph: log r = x mu - mu^2 / 2, so that mu is the mean."""
    build = Builder(x=1, theta=1)
    linear = build.add("Mul", "x", "theta")
    square = build.add("Mul", build.add("Mul", "theta", "theta"), build.constant([[0.5]]))
    log_ratio = build.add("Sub", linear, square)
    graph = build.graph(
        member0=(log_ratio, 1), log_ratio=(log_ratio, 1), ratio=(build.add("Exp", log_ratio), 1)
    )
    ratios = sbi.ParametricRatios(
        ("x",), ("x",), {"mu": ends}, "reference", 1, TrainingRecord({}), graph
    )
    return ratios.likelihood(x[:, None], **options)


def test_a_ratio_that_depends_on_parameters(roofit: Any) -> None:
    x = np.random.default_rng(5).normal(0.4, 1.0, 500)
    like = mean_of_a_normal_distribution(x, start={"mu": -0.5})
    objects = like.to_roofit()
    parameter = objects.parameters["mu"]
    assert (parameter.getVal(), parameter.getMin(), parameter.getMax()) == (-0.5, -2.0, 2.0)
    assert minimise(roofit, objects.nll) == 0
    assert_same_fit(objects, sbi.fit(like))
    assert parameter.getVal() == pytest.approx(x.mean(), abs=1e-4)
    assert parameter.getError() == pytest.approx(500**-0.5, rel=1e-3)
    with pytest.raises(UsageError, match='no route=.columns.; use route="nll"'):
        like.to_roofit("columns")


def test_a_combination(roofit: Any, like: sbi.Likelihood) -> None:
    """A second measurement of mu, by a ratio that depends on it, pulls the first one up."""
    own = like.parameters["mu"]
    second = mean_of_a_normal_distribution(
        np.full(300, 1.5), ends=(own.lower, own.upper), start={"mu": own.value}
    )
    both = sbi.CombinedLikelihood({"mixture": like, "mean": second})
    objects = both.to_roofit()
    assert minimise(roofit, objects.nll) == 0
    found = sbi.fit(both)
    assert_same_fit(objects, found)
    assert sbi.fit(like).values["mu"] < found.values["mu"] < 1.5
    buffer = np.zeros(4)
    objects.nll.gradient(buffer)
    assert np.abs(buffer).max() < 1.0
