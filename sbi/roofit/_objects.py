"""What `Likelihood.to_roofit` returns."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rootml._internal.reprs import Grid, HtmlRepr, Part, facts_text
from rootml.errors import UsageError
from rootml.sbi.likelihood._parameters import Nuisance
from rootml.sbi.roofit._root import RootObject, quiet
from rootml.sbi.roofit._workspace import make_workspace

if TYPE_CHECKING:
    from rootml.sbi.likelihood._fittable import Fittable
    from rootml.sbi.roofit._check import Check
    from rootml.sbi.roofit._ownership import Handle

_logger = logging.getLogger(__name__)
_INSTEAD = {
    "pdf": 'use route="columns" for a pdf of stock classes',
    "nll": 'use route="nll", or obj.pdf.createNLL(obj.data)',
    "function": 'use route="function" or "columns"',
    "data": 'use route="columns" or "function"',
}


@dataclass(eq=False, repr=False)
class RooFitObjects(HtmlRepr):
    """A likelihood as RooFit objects, and everything that they need alive.

    Keep this object, or any of the RooFit objects in it, for as long as RooFit uses one of them.

    Attributes:
        route: ``"columns"``, ``"nll"`` or ``"function"``.
        likelihood: What it was made of.
        parameters: RooRealVars by the model's names, in the order of ``likelihood.parameters``.
        observables: The columns as RooRealVars (and the index of channels), by name.
        global_observables: Outcomes of the auxiliary measurements as constant RooRealVars, by
            nuisance.
        check: How well RooFit's NLL agreed with ours at construction.
        errors: Largest error found of the formula of log Z, by process, in units of the NLL.
    """

    route: str
    likelihood: Fittable
    parameters: Mapping[str, Any]
    handle: Handle
    check: Check
    observables: Mapping[str, Any] = field(default_factory=dict)
    global_observables: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    items: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("parameters", "observables", "global_observables", "errors", "items"):
            setattr(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def pdf(self) -> RootObject:
        """The extended pdf times the constraints: a RooProdPdf or RooSimultaneous."""
        return self._item("pdf")

    @property
    def data(self) -> RootObject:
        """The events, a RooDataSet; it knows the global observables."""
        return self._item("data")

    @property
    def nll(self) -> RootObject:
        """The negative log-likelihood, a RooAbsReal with its gradient."""
        return self._item("nll")

    @property
    def function(self) -> RootObject:
        """The density of an event over that of the reference, of integral 1: a RooAbsReal."""
        return self._item("function")

    def _item(self, name: str) -> Any:
        if name not in self.items:
            message = f"route={self.route!r} has no .{name}, only .{', .'.join(self.items)}; "
            raise UsageError(message + _INSTEAD[name])
        return self.items[name]

    def workspace(self, name: str = "w") -> RootObject:
        """A RooWorkspace with pdf, data and a ModelConfig; ``"columns"`` only.

        Raises:
            UsageError: Of another route: what lives in Python cannot be put into a file.
        """
        if self.route != "columns":
            message = (
                f"route={self.route!r} is evaluated in Python and cannot be put into a workspace, "
                'from which it would read back wrong; to_roofit(route="columns") can'
            )
            raise UsageError(message)
        return make_workspace(
            name, self.likelihood, self.pdf, self.data, parameters=self.parameters,
            observables=self.observables, global_observables=self.global_observables,
        )  # fmt: skip

    def write(self, path: str | Path, *, workspace: str = "w") -> Path:
        """Write a workspace file, which plain ROOT reads and fits without rootml and Python.

        ::

            auto *w = TFile::Open("model.root")->Get<RooWorkspace>("w");
            w->pdf("model")->fitTo(*w->data("data"));

        Args:
            path: The file; it is replaced.
            workspace: The workspace's name in it.

        Raises:
            UsageError: Of another route than ``"columns"``.
            OSError: ROOT cannot write there.
        """
        made = self.workspace(workspace)
        target = Path(path)
        target.unlink(missing_ok=True)
        with quiet():
            made.writeToFile(str(target), True)
        if not target.exists():
            message = f"ROOT cannot write the workspace to {target}"
            raise OSError(message)
        _logger.info("%s: workspace %s written", target, workspace)
        return target

    # --- repr ----------------------------------------------------------------------------------

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("RooFit route", self.route)]
        facts += [
            (name, f"{item.ClassName()} {item.GetName()}") for name, item in self.items.items()
        ]
        if "data" in self.items:
            facts.append(("events", f"{self.data.numEntries():,}"))
        facts.append(("against rootml", str(self.check)))
        facts += [(f"log Z of {p}", f"off by {e:.1g} in the NLL") for p, e in self.errors.items()]
        return facts

    def _grid(self) -> Grid:
        rows = []
        for name, variable in self.parameters.items():
            kind = self.likelihood.parameters[name]
            rows.append(
                (
                    name, variable.GetName(),
                    kind.constraint if isinstance(kind, Nuisance) else "free",
                    f"{variable.getVal():g}", f"[{variable.getMin():g}, {variable.getMax():g}]",
                )
            )  # fmt: skip
        return Grid(("parameter", "in RooFit", "constraint", "value", "range"), rows, left=3)

    def __repr__(self) -> str:
        return f"{facts_text(self._facts())}\n\n{self._grid()}"

    def _html_parts(self) -> list[Part]:
        return [self._facts(), self._grid()]
