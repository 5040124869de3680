"""Constraints and global observables in stock classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rootml.sbi.likelihood._parameters import Nuisance

if TYPE_CHECKING:
    from rootml.sbi.likelihood._likelihood import Likelihood
    from rootml.sbi.roofit._factory import Factory


def make_constraints(
    shop: Factory, like: Likelihood, parameters: Mapping[str, Any]
) -> tuple[list[tuple[Any, Any]], dict[str, Any]]:
    """Pairs of parameter and pdf of its auxiliary measurement, and the outcomes by nuisance."""
    pdfs, outcomes = [], {}
    for name, nuisance in like.parameters.items():
        if isinstance(nuisance, Nuisance) and nuisance.constraint != "none":
            outcomes[name] = _outcome(shop, name, nuisance.constraint, like.observed[name])
            pdf = _constraint(shop, name, nuisance, parameters[name], outcomes[name])
            pdfs.append((parameters[name], pdf))
    return pdfs, outcomes


def _outcome(shop: Factory, name: str, constraint: str, value: float) -> Any:
    infinity = shop.root.RooNumber.infinity()
    least = -infinity if constraint == "gaussian" else 0.0
    title = f"auxiliary measurement of {name}"
    made = shop.make("RooRealVar", f"{name}_obs", title, value, least, infinity)
    made.setConstant(True)
    return made


def _constraint(shop: Factory, name: str, nuisance: Nuisance, parameter: Any, outcome: Any) -> Any:
    title = f"constraint of {name}"
    width = shop.constant(nuisance.width)
    if nuisance.constraint == "gaussian":
        return shop.make("RooGaussian", f"{name}_constraint", title, outcome, parameter, width)
    if nuisance.constraint == "lognormal":
        return shop.make("RooLognormal", f"{name}_constraint", title, outcome, parameter, width)
    mean = shop.product(f"{name}_mean", f"expected outcome of {name}", [width, parameter])
    made = shop.make("RooPoisson", f"{name}_constraint", title, outcome, mean)
    made.setNoRounding(True)
    return made
