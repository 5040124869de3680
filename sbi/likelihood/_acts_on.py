"""What each parameter acts on, in words: yields, shapes, binned samples."""

from __future__ import annotations

from rootml.sbi.likelihood._binned import Binned
from rootml.sbi.likelihood._binned_samples import Modifier
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood
from rootml.sbi.likelihood._model import Model

_KINDS = {"factor": "factor", "effect": "yield", "shape": "shape"}


def acts_on(like: Fittable) -> dict[str, list[str]]:
    """Per parameter what it acts on, e.g. ``["yield of B +5.0/-4.0 %", "shape of S"]``.

    Empty lists for likelihoods that are no mixtures of processes.
    """
    found: dict[str, list[str]] = {name: [] for name in like.parameters}
    if isinstance(like, CombinedLikelihood):
        for part, inner in like.parts.items():
            for name, texts in acts_on(inner).items():
                found[name] += [f"{part}: {text}" for text in texts]
    elif isinstance(like, Likelihood):
        _of_yields(like.model, found)
        _of_shapes(like, found)
        if isinstance(like.binned, Binned):
            _of_bins(like.binned, found)
    return found


def _of_yields(model: Model, found: dict[str, list[str]]) -> None:
    for process, formula in model.formulas.items():
        for name in sorted(formula.names):
            found[name].append(f"yield of {process}")
    for name, nuisance in model.nuisances.items():
        for process, (up, down) in nuisance.yields.items():  # type: ignore[misc]
            sizes = f"{100 * (up - 1):+.3g}/{100 * (down - 1):+.3g} %"
            found[name].append(f"yield of {process} {sizes}")


def _of_shapes(like: Likelihood, found: dict[str, list[str]]) -> None:
    if like.unbinned is None:
        return
    layout = like.unbinned.layout
    dropped = {(s.process, s.nuisance) for s in like.unbinned.events.origin.dropped}
    for factor in layout.factors:
        process = layout.processes[factor.process]
        if (process, factor.nuisance) not in dropped:
            found[factor.nuisance].append(f"shape of {process}")


def _of_bins(binned: Binned, found: dict[str, list[str]]) -> None:
    for sample in binned.samples:
        for modifier in sample.modifiers:
            for i, name in enumerate(modifier.names):
                text = f"{_KINDS[modifier.kind]} of {sample.name} in {sample.channel}"
                if len(modifier.names) > 1:
                    text += f"[{i}]"
                found[name].append(text + _size(modifier))


def _size(modifier: Modifier) -> str:
    if modifier.kind != "effect":
        return ""
    return f" {100 * (modifier.high - 1):+.3g}/{100 * (modifier.low - 1):+.3g} %"
