"""Whole fits of the problem: from the likelihood at hand to values and errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness_sbi.problem import START, Array, Problem, code5
from rootml import sbi
from rootml.sbi.roofit import RooFitObjects, to_roofit


@dataclass(frozen=True)
class Outcome:
    """One fit: CPU seconds (of the one thread that works), and what it found."""

    seconds: float
    values: dict[str, float]
    errors: dict[str, float]


Fit = Callable[[], Outcome]


def load_root() -> Any:
    """ROOT, quiet."""
    import ROOT

    ROOT.gROOT.SetBatch(True)
    ROOT.RooMsgService.instance().setGlobalKillBelow(ROOT.RooFit.ERROR)
    return ROOT


def timed(
    root: Any, parameters: dict[str, Any], make: Callable[[], Any], *, hessian: bool = False
) -> Outcome:
    """MIGRAD and HESSE of the NLL that `make` gives, from the common start.

    Args:
        hessian: Use the NLL's second derivatives.
    """
    for name, value in START.items():
        parameters[name].setVal(value)
        parameters[name].setError(0.1)
    begin = time.process_time()
    nll, options = make(), root.RooMinimizer.Config()
    if hessian:  # ROOT 6.40
        options.useHessian = True
    minimizer = root.RooMinimizer(nll, options)
    minimizer.setPrintLevel(-1)
    minimizer.minimize("Minuit2")
    minimizer.hesse()
    seconds = time.process_time() - begin
    del minimizer  # before its NLL
    return Outcome(
        seconds,
        {name: parameters[name].getVal() for name in START},
        {name: parameters[name].getError() for name in START},
    )


# --- ours ----------------------------------------------------------------------------------------


def iminuit(problem: Problem) -> Fit:
    """`sbi.fit`: iminuit, with our gradient."""

    def run() -> Outcome:
        begin = time.process_time()
        found = sbi.fit(problem.likelihood, start=START)
        seconds = time.process_time() - begin
        return Outcome(seconds, dict(found.values), dict(found.errors))

    return run


def pdf_route(problem: Problem, route: str) -> Fit:
    """`to_roofit` by "columns" or "function"."""
    made = to_roofit(problem.likelihood, route)  # type: ignore[arg-type]
    return lambda: timed(
        load_root(), dict(made.parameters), lambda: made.pdf.createNLL(made.data, Extended=True)
    )


def nll_route(problem: Problem) -> Fit:
    """`to_roofit("nll")`."""
    made: RooFitObjects = to_roofit(problem.likelihood, "nll")
    return lambda: timed(load_root(), dict(made.parameters), lambda: made.nll, hessian=True)


# --- bindFunction --------------------------------------------------------------------------------


def numpy_density(problem: Problem) -> Callable[..., Any]:
    """The density over columns in NumPy."""
    signal, background, log_z = problem.signal, problem.background, problem.log_z

    def shape(nominal: Array, a: Array, c: Array, alpha: float) -> Array:
        if problem.code == "code5":
            return code5(nominal, a, c, alpha)
        return np.asarray(np.exp(alpha * a + alpha**2 * c))

    def density(r_s: Array, r_b: Array, a: Array, c: Array, mu: Array, alpha: Array) -> Array:
        scaled, at = mu[0] * signal, float(alpha[0])
        morphed = background * np.exp(-log_z(at)) * r_b * shape(r_b, a, c, at)
        return np.asarray((scaled * r_s + morphed) / (scaled + background))

    return density


def torch_density(problem: Problem) -> Callable[..., Any]:
    """The density over columns in torch, float64."""
    import torch

    torch.set_num_threads(1)
    signal, background, log_z = problem.signal, problem.background, problem.log_z

    def shape(nominal: Any, a: Any, c: Any, alpha: float) -> Any:
        if problem.code == "code5":
            return torch_code5(nominal, a, c, alpha)
        return torch.exp(alpha * a + alpha**2 * c)

    def density(r_s: Array, r_b: Array, a: Array, c: Array, mu: Array, alpha: Array) -> Array:
        with torch.inference_mode():
            s, b, first, second = (torch.from_numpy(np.array(v)) for v in (r_s, r_b, a, c))
            scaled, at = float(mu[0]) * signal, float(alpha[0])
            morphed = background * float(np.exp(-log_z(at))) * b * shape(b, first, second, at)
            return np.asarray(((scaled * s + morphed) / (scaled + background)).numpy())

    return density


def torch_code5(nominal: Any, up: Any, down: Any, alpha: float) -> Any:
    """`code5` in torch."""
    high, low = up / nominal, down / nominal
    if abs(alpha) >= 1.0:
        return high**alpha if alpha > 0.0 else low**-alpha
    high1, low1 = high * high.log(), -low * low.log()
    high2, low2 = high1 * high.log(), -low1 * low.log()
    s0, a0 = 0.5 * (high + low), 0.5 * (high - low)
    s1, a1 = 0.5 * (high1 + low1), 0.5 * (high1 - low1)
    s2, a2 = 0.5 * (high2 + low2), 0.5 * (high2 - low2)
    return (
        1.0
        + alpha * (15 * a0 - 7 * s1 + a2) / 8
        + alpha**2 * (-24 + 24 * s0 - 9 * a1 + s2) / 8
        + alpha**3 * (-5 * a0 + 5 * s1 - a2) / 4
        + alpha**4 * (12 - 12 * s0 + 7 * a1 - s2) / 4
        + alpha**5 * (3 * a0 - 3 * s1 + a2) / 8
        + alpha**6 * (-8 + 8 * s0 - 5 * a1 + s2) / 8
    )


@dataclass
class Bound:
    """RooFit objects around ``bindFunction``, all kept."""

    pdf: Any
    data: Any
    constraints: Any
    parameters: dict[str, Any]
    kept: list[Any] = field(default_factory=list)


def bind(problem: Problem, density: Callable[..., Any]) -> Bound:
    """The problem as ROOT's tutorials write it."""
    root = load_root()
    infinity = root.RooNumber.infinity()
    variables = [root.RooRealVar(k, k, 1.0, -infinity, infinity) for k in problem.plain]
    data = root.RooDataSet.from_numpy(problem.plain, variables)
    mu = root.RooRealVar("mu", "mu", 1.0, 0.0, 5.0)
    alpha = root.RooRealVar("alpha", "alpha", 0.0, -5.0, 5.0)
    zero, one = root.RooConstVar("zero", "", 0.0), root.RooConstVar("one", "", 1.0)
    constraint = root.RooGaussian("constraint", "", alpha, zero, one)
    expected = f"mu * {problem.signal!r} + {problem.background!r}"
    total = root.RooFormulaVar("total", expected, [mu])
    ratio = root.RooFit.bindFunction("ratio", density, *variables, mu, alpha)
    wrapped = root.RooWrapperPdf("wrapped", "", ratio, True)
    pdf = root.RooExtendPdf("pdf", "", wrapped, total)
    kept = [*variables, zero, one, constraint, total, ratio, wrapped]
    return Bound(pdf, data, root.RooArgSet(constraint), {"mu": mu, "alpha": alpha}, kept)


def bound(problem: Problem, density: Callable[[Problem], Callable[..., Any]]) -> Fit:
    """A fit with ``bindFunction``."""
    root = load_root()
    made = bind(problem, density(problem))

    def nll() -> Any:
        external = root.RooFit.ExternalConstraints(made.constraints)
        return made.pdf.createNLL(made.data, root.RooFit.Extended(True), external)

    return lambda: timed(root, made.parameters, nll)


WAYS: dict[str, Callable[[Problem], Fit]] = {
    "bindFunction, NumPy": lambda problem: bound(problem, numpy_density),
    "bindFunction, torch": lambda problem: bound(problem, torch_density),
    "columns": lambda problem: pdf_route(problem, "columns"),
    "function": lambda problem: pdf_route(problem, "function"),
    "nll": nll_route,
    "iminuit": iminuit,
}
