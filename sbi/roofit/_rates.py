"""Expected yields in stock classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rootml.sbi.likelihood._parameters import Nuisance
from rootml.sbi.roofit import _formulas
from rootml.sbi.roofit._effects import Effect, exponent, log_quadratic, piecewise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rootml.sbi.likelihood._model import Model
    from rootml.sbi.roofit._factory import Factory


def make_yields(factory: Factory, model: Model, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Per process its expected number of events, as a function of the parameters."""
    return {process: _make(factory, model, process, parameters) for process in model.processes}


def _make(factory: Factory, model: Model, process: str, parameters: Mapping[str, Any]) -> Any:
    formula = model.formulas[process]
    used = [name for name in parameters if name in formula.names]
    title = f"expected events of {process}"
    effects = _effects(factory, model, process, parameters)
    suffix = "_nominal" if effects else ""
    text = _formulas.text(formula, used)
    plain = factory.formula(f"nu_{process}{suffix}", title, text, [parameters[n] for n in used])
    factors = piecewise(factory, f"nu_{process}_effects", f"nuisances on {process}", effects)
    smooth = log_quadratic(effects)
    if smooth:
        inner, variables = exponent(smooth)
        name = f"nu_{process}_growth"
        factors.append(
            factory.formula(name, f"nuisances on {process}", f"exp({inner})", variables)
        )
    return factory.product(f"nu_{process}", title, [plain, *factors])


def _effects(
    factory: Factory, model: Model, process: str, parameters: Mapping[str, Any]
) -> list[Effect]:
    found = []
    for name, nuisance in model.nuisances.items():
        if process in nuisance.yields:
            first, second = _constants(nuisance, process)
            found.append(
                Effect(
                    parameters[name], nuisance.yield_interpolation,
                    factory.constant(first), factory.constant(second),
                )
            )  # fmt: skip
    return found


def _constants(nuisance: Nuisance, process: str) -> tuple[float, float]:
    effect = nuisance.yields[process]
    assert isinstance(effect, tuple)
    up, down = effect
    if nuisance.yield_interpolation != "log-quadratic":
        return up, down
    return 0.5 * math.log(up / down), 0.5 * math.log(up * down)
