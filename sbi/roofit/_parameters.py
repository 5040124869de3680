"""The model's parameters as RooRealVars."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rootml.sbi.likelihood._parameters import Nuisance, Parameter
from rootml.sbi.roofit._root import RootObject

if TYPE_CHECKING:
    from rootml.sbi.likelihood._fittable import Fittable
    from rootml.sbi.roofit._factory import Factory

Range = tuple[float, float]
_DEVIATIONS = 10.0
_FIRST_STEP = 0.1
"""Of the value, for a parameter without width: MINUIT's first step."""


def make_parameters(
    factory: Factory, like: Fittable, ranges: Mapping[str, Range] | None = None
) -> dict[str, Any]:
    """One RooRealVar per parameter, by the model's name and in the model's order.

    Args:
        ranges: Narrower limits than the model's, by name.
    """
    return {
        name: make_parameter(name, parameter, factory, (ranges or {}).get(name))
        for name, parameter in like.parameters.items()
    }


def make_parameter(
    name: str, parameter: Parameter | Nuisance, factory: Factory, narrow: Range | None = None
) -> RootObject:
    """A RooRealVar with the limits of a parameter, within `narrow`.

    A nuisance without limits gets wide ones: RooStats puts an infinite range into MINUIT's
    transformation of limited parameters and finds nothing.
    """
    infinity = factory.root.RooNumber.infinity()
    wide = -infinity, infinity
    if isinstance(parameter, Nuisance) and parameter.constraint != "none":
        wide = _wide(parameter)
    low = wide[0] if parameter.lower is None else parameter.lower
    high = wide[1] if parameter.upper is None else parameter.upper
    if narrow is not None:
        low, high = max(low, narrow[0]), min(high, narrow[1])
    assert parameter.value is not None
    variable = factory.make("RooRealVar", name, name, parameter.value, low, high)
    variable.setError(_step(parameter))
    variable.setConstant(parameter.fixed)
    return variable


def _wide(nuisance: Nuisance) -> Range:
    """Ten standard deviations to both sides."""
    assert nuisance.value is not None
    if nuisance.constraint == "lognormal":
        spread = nuisance.width**_DEVIATIONS
        return nuisance.value / spread, nuisance.value * spread
    if nuisance.constraint == "poisson":
        return 0.0, nuisance.value * (1.0 + _DEVIATIONS / math.sqrt(nuisance.width))
    reach = _DEVIATIONS * nuisance.width
    return nuisance.value - reach, nuisance.value + reach


def _step(parameter: Parameter | Nuisance) -> float:
    if isinstance(parameter, Nuisance) and parameter.constraint == "gaussian":
        return parameter.width
    assert parameter.value is not None
    return _FIRST_STEP * abs(parameter.value) or _FIRST_STEP
