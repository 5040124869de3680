"""The model's parameters as RooRealVars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rootml.sbi._model import Nuisance, Parameter
from rootml.sbi.roofit._root import import_root

if TYPE_CHECKING:
    from rootml.sbi._likelihood import Likelihood
    from rootml.sbi.roofit._keep import Keep
    from rootml.sbi.roofit._names import Names

_FIRST_STEP = 0.1
"""Of the value, for a parameter without width: MINUIT's first step."""


def make_parameters(
    like: Likelihood,
    keep: Keep,
    names: Names,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Any]:
    """One RooRealVar per parameter, by the model's name and in the model's order.

    Args:
        ranges: Narrower limits than the model's, by name.
    """
    return {
        name: _make(name, parameter, keep, names, (ranges or {}).get(name))
        for name, parameter in like.parameters.items()
    }


def _make(
    name: str,
    parameter: Parameter | Nuisance,
    keep: Keep,
    names: Names,
    narrow: tuple[float, float] | None,
) -> Any:
    root = import_root()
    least, most = _limits(parameter)
    if narrow is not None:
        least, most = max(least, narrow[0]), min(most, narrow[1])
    assert parameter.value is not None
    variable = keep.own(root.RooRealVar(names(name), name, parameter.value, least, most))
    variable.setError(_step(parameter))
    variable.setConstant(parameter.fixed)
    return variable


def _limits(parameter: Parameter | Nuisance) -> tuple[float, float]:
    infinity = import_root().RooNumber.infinity()
    least = -infinity if parameter.lower is None else parameter.lower
    most = infinity if parameter.upper is None else parameter.upper
    return least, most


def _step(parameter: Parameter | Nuisance) -> float:
    if isinstance(parameter, Nuisance) and parameter.constraint == "gaussian":
        return parameter.width
    assert parameter.value is not None
    return _FIRST_STEP * abs(parameter.value) or _FIRST_STEP
