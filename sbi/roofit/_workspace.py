"""Stock objects into a RooWorkspace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._parameters import Nuisance
from rootml.sbi.roofit._root import RootObject, quiet

CONFIG = "ModelConfig"


def make_workspace(
    name: str,
    like: Fittable,
    pdf: Any,
    data: Any,
    *,
    parameters: Mapping[str, Any],
    observables: Mapping[str, Any],
    global_observables: Mapping[str, Any],
) -> RootObject:
    """A workspace with pdf, data, a snapshot of the start values and a ModelConfig.

    The parameters without constraint are the ones of interest.
    """
    with quiet() as root:
        workspace = root.RooWorkspace(name, "likelihood of rootml.sbi")
        for item in (pdf, data):
            if workspace.Import(item):
                message = f"RooFit cannot put {item.GetName()!r} into a workspace"
                raise RuntimeError(message)
        config = root.RooStats.ModelConfig(CONFIG, workspace)
        config.SetPdf(pdf.GetName())
        kinds = like.parameters
        nuisances = {name for name, p in kinds.items() if isinstance(p, Nuisance)}
        for role, names in (
            ("ParametersOfInterest", _names(parameters, set(kinds) - nuisances)),
            ("NuisanceParameters", _names(parameters, nuisances)),
            ("GlobalObservables", _names(global_observables, None)),
            ("Observables", _names(observables, None)),
        ):
            if names:  # RooFit knows no set of none
                getattr(config, f"Set{role}")(names)
        workspace.Import(config)
        _save_start(workspace, parameters, like.start.tolist())
    return workspace


def _save_start(workspace: Any, parameters: Mapping[str, Any], start: list[float]) -> None:
    """A snapshot of the start values; the variables keep the present ones."""
    variables = [workspace.var(v.GetName()) for v in parameters.values()]
    present = [variable.getVal() for variable in variables]
    for values in (start, present):
        for variable, value in zip(variables, values, strict=True):
            variable.setVal(value)
        if values is not present:
            workspace.saveSnapshot("start", workspace.allVars())


def _names(variables: Mapping[str, Any], chosen: set[str] | None) -> str:
    kept = (v for name, v in variables.items() if chosen is None or name in chosen)
    return ",".join(v.GetName() for v in kept)
