"""Stock objects into a RooWorkspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rootml.sbi.likelihood._model import Nuisance
from rootml.sbi.roofit._root import quiet

if TYPE_CHECKING:
    from rootml.sbi.roofit._objects import RooFitObjects

CONFIG = "ModelConfig"


def make_workspace(objects: RooFitObjects, name: str) -> Any:
    """A workspace with pdf, data, a snapshot of the start values and a ModelConfig.

    The parameters without constraint are the ones of interest.
    """
    with quiet() as root:
        workspace = root.RooWorkspace(name, "likelihood of rootml.sbi")
        for item in (objects.pdf, objects.data):
            if workspace.Import(item):
                message = f"RooFit cannot put {item.GetName()!r} into a workspace"
                raise RuntimeError(message)
        config = root.RooStats.ModelConfig(CONFIG, workspace)
        config.SetPdf(objects.pdf.GetName())
        kinds = objects.likelihood.parameters
        nuisances = {name for name, p in kinds.items() if isinstance(p, Nuisance)}
        config.SetParametersOfInterest(_names(objects.parameters, set(kinds) - nuisances))
        config.SetNuisanceParameters(_names(objects.parameters, nuisances))
        config.SetGlobalObservables(_names(objects.global_observables, None))
        config.SetObservables(_names(objects.observables, None))
        workspace.Import(config)
        _save_start(workspace, objects)
    return workspace


def _save_start(workspace: Any, objects: RooFitObjects) -> None:
    """A snapshot of the start values; the variables keep the present ones."""
    variables = [workspace.var(v.GetName()) for v in objects.parameters.values()]
    present = [variable.getVal() for variable in variables]
    for values in (objects.likelihood.start.tolist(), present):
        for variable, value in zip(variables, values, strict=True):
            variable.setVal(value)
        if values is not present:
            workspace.saveSnapshot("start", workspace.allVars())


def _names(variables: Any, chosen: set[str] | None) -> str:
    kept = (v for name, v in variables.items() if chosen is None or name in chosen)
    return ",".join(v.GetName() for v in kept)
