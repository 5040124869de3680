"""Constraints and global observables in stock classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rootml.sbi.likelihood._parameters import Nuisance

if TYPE_CHECKING:
    from rootml.sbi.likelihood._likelihood import Likelihood
    from rootml.sbi.roofit._factory import Factory


def make_constraints(
    factory: Factory, like: Likelihood, parameters: Mapping[str, Any]
) -> tuple[list[tuple[Any, Any]], dict[str, Any]]:
    """Pairs of parameter and pdf of its auxiliary measurement, and the outcomes by nuisance."""
    pdfs, outcomes = [], {}
    for name, nuisance in like.parameters.items():
        if isinstance(nuisance, Nuisance) and nuisance.constraint != "none":
            outcomes[name] = _outcome(factory, name, nuisance.constraint, like.observed[name])
            pdf = _constraint(factory, name, nuisance, parameters[name], outcomes[name])
            pdfs.append((parameters[name], pdf))
    return pdfs, outcomes


def _outcome(factory: Factory, name: str, constraint: str, value: float) -> Any:
    infinity = factory.root.RooNumber.infinity()
    minimum = -infinity if constraint == "gaussian" else 0.0
    title = f"auxiliary measurement of {name}"
    made = factory.make("RooRealVar", f"{name}_obs", title, value, minimum, infinity)
    made.setConstant(True)
    return made


def _constraint(
    factory: Factory, name: str, nuisance: Nuisance, parameter: Any, outcome: Any
) -> Any:
    title = f"constraint of {name}"
    width = factory.constant(nuisance.width)
    if nuisance.constraint == "gaussian":
        return factory.make("RooGaussian", f"{name}_constraint", title, outcome, parameter, width)
    if nuisance.constraint == "lognormal":
        return factory.make("RooLognormal", f"{name}_constraint", title, outcome, parameter, width)
    mean = factory.product(f"{name}_mean", f"expected outcome of {name}", [width, parameter])
    made = factory.make("RooPoisson", f"{name}_constraint", title, outcome, mean)
    made.setNoRounding(True)
    return made
