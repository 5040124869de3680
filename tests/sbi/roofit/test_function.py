"""Python functions in RooFit, evaluated in batches; RooFit's own answers beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_roofit import minimise

from rootml import sbi
from rootml.errors import UsageError
from rootml.sbi import roofit as sbi_roofit

pytestmark = pytest.mark.needs_root


class Bell:
    """A Gaussian without its norm, which counts its calls."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, events: dict[str, Any], values: dict[str, float]) -> Any:
        self.sizes.append(len(events["x"]))
        return np.exp(-0.5 * ((events["x"] - values["mean"]) / 1.5) ** 2)


@pytest.fixture
def bell() -> Any:
    call = Bell()
    mean = sbi.Parameter(1.0, lower=-2.0, upper=6.0)
    return call, sbi_roofit.function(call, {"x": (-5.0, 15.0)}, {"mean": mean}, name="bell")


def sample(root: Any, x: Any, number: int) -> tuple[Any, Any]:
    values = np.random.default_rng(number).normal(2.0, 1.5, number)
    return root.RooDataSet.from_numpy({"x": values}, [x]), values


def test_one_call_for_all_events(roofit: Any, bell: Any) -> None:
    call, made = bell
    x, mean = made.observables["x"], made.parameters["mean"]
    truth = roofit.RooGaussian("truth", "", x, mean, roofit.RooFit.RooConst(1.5))
    integral = truth.createIntegral(roofit.RooArgSet(x))
    log = roofit.RooFormulaVar("log_norm", "log(x[0])", [integral])
    pdf = roofit.RooWrapperPdf("pdf", "", made.function, True)
    for number in (1000, 300, 2000):  # bindFunction keeps the first size
        data, values = sample(roofit, x, number)
        nll = pdf.createNLL(data)
        call.sizes.clear()
        for at in (1.5, 2.5):
            mean.setVal(at)
            expected = 0.5 * (((values - at) / 1.5) ** 2).sum()
            assert nll.getVal() == pytest.approx(expected, rel=1e-12)
        assert call.sizes == [number, number]
    del log


def test_fit_with_a_numeric_norm(roofit: Any, bell: Any) -> None:
    """RooFit integrates the function; the fit is that of RooGaussian."""
    _, made = bell
    x, mean = made.observables["x"], made.parameters["mean"]
    data, _ = sample(roofit, x, 1000)
    pdf = roofit.RooWrapperPdf("pdf", "", made.function)
    minimise(roofit, pdf.createNLL(data))
    ours = mean.getVal(), mean.getError()
    mean.setVal(1.0)
    width = roofit.RooConstVar("width", "", 1.5)
    truth = roofit.RooGaussian("truth", "", x, mean, width)
    minimise(roofit, truth.createNLL(data))
    assert ours[0] == pytest.approx(mean.getVal(), abs=0.01 * ours[1])
    assert ours[1] == pytest.approx(mean.getError(), rel=0.01)


def test_in_a_simultaneous_fit(roofit: Any, bell: Any) -> None:
    """Two datasets of different sizes at once, where bindFunction fails."""
    _, made = bell
    x, mean = made.observables["x"], made.parameters["mean"]
    pdf = roofit.RooWrapperPdf("pdf", "", made.function, True)
    index = roofit.RooCategory("index", "")
    parts = {}
    values = []
    for state, number in (("few", 300), ("many", 2000)):
        index.defineType(state)
        parts[state], drawn = sample(roofit, x, number)
        values.append(drawn)
    both = roofit.RooSimultaneous("both", "", {"few": pdf, "many": pdf}, index)
    data = roofit.RooDataSet("all", "", roofit.RooArgSet(x), Index=index, Import=parts)
    minimise(roofit, both.createNLL(data))
    assert mean.getVal() == pytest.approx(np.concatenate(values).mean(), abs=1e-3)


def test_plot(roofit: Any, bell: Any, tmp_path: Path) -> None:
    _, made = bell
    frame = made.observables["x"].frame()
    made.function.plotOn(frame)
    curve = frame.getCurve()
    mean = made.parameters["mean"].getVal()
    assert curve.Eval(mean) == pytest.approx(1.0, abs=1e-3)


def test_density_of_a_likelihood(roofit: Any, like: sbi.Likelihood) -> None:
    """Event by event nu times the function is the density that the core gives."""
    objects = like.to_roofit("function")
    assert like.unbinned is not None
    densities = like.unbinned.densities(like.start)
    total = sum(like.model.expected().values())
    for event in (0, 17, 3000):
        for variable in objects.data.get(event):
            objects.observables[variable.GetName()].setVal(variable.getVal())
        assert total * objects.function.getVal() == pytest.approx(densities[event], rel=1e-12)


def test_wrong_shapes_and_names(roofit: Any) -> None:
    made = sbi_roofit.function(lambda *_: np.ones(3), {"x": (0.0, 1.0)}, {})
    with pytest.raises(Exception, match=r"shape \(3,\) for 1 events"):
        made.function.getVal()
    with pytest.raises(UsageError, match="'a' is both"):
        sbi_roofit.function(lambda *_: 1.0, {"a": (0.0, 1.0)}, {"a": 1.0})
    assert "of events        x" in repr(made)


def test_refuses_to_be_written(roofit: Any, bell: Any, tmp_path: Path) -> None:
    _, made = bell
    file = roofit.TFile(str(tmp_path / "f.root"), "RECREATE")
    with pytest.raises(Exception, match="cannot be written"):
        file.WriteObject(made.function, "f")
    file.Close()
    with pytest.raises(Exception, match="cannot be"):
        roofit.RooWorkspace("w").Import(made.function)
