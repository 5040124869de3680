"""A likelihood of binned channels in HS3, the HEP Statistics Serialization Standard.

::

    channel                   a histfactory_dist of its samples, beside its binned data
    factor of all bins        normfactor                factor of each bin     shapefactor
    effect on the yield       normsys (code4)           effect on the shape    histosys (code4p)
    constraint of normsys and histosys                  a standard normal, which HS3 implies
    other constraints         gaussian_dist or poisson_dist among the aux_distributions

So staterror, shapesys and lumi become factors with constraints that are written out: the outcomes
of their auxiliary measurements need not be the nominal ones, and bins without an uncertainty are
constant factors.

HS3 has no learned ratios: an unbinned channel is refused.

References:
    https://github.com/hep-statistics-serialization-standard/hep-statistics-serialization-standard
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rootml._internal.atomic import atomic_path, check_target
from rootml._internal.provenance import KEY as PROVENANCE
from rootml._internal.provenance import stamp
from rootml.errors import UsageError
from rootml.sbi.likelihood._binned import Binned
from rootml.sbi.likelihood._binned_samples import Modifier, Sample
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood
from rootml.sbi.likelihood._model import Model
from rootml.sbi.likelihood._parameters import Nuisance, Parameter
from rootml.sbi.roofit._names import Names

VERSION = "0.2"
IMPLIED = {"effect", "shape"}
"""Kinds of modifiers whose constraint HS3 implies."""


def save_hs3(what: Model | Fittable, path: str | Path) -> Path:
    """Write a likelihood of binned channels.

    Raises:
        UsageError: HS3 cannot say it; names what.
        MissingFileError: There is no such folder.
    """
    target = check_target(path)
    document = to_hs3(what)
    with atomic_path(target) as temporary:
        text = json.dumps(document, indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return target


def to_hs3(what: Model | Fittable) -> dict[str, Any]:
    """The document; see the module."""
    if isinstance(what, Model):
        what = what.likelihood(None) if not what.processes else what
    if type(what) is not Likelihood or what.unbinned is not None or what.binned is None:
        message = _refusal(what)
        raise UsageError(message)
    assert isinstance(what.binned, Binned)
    return _Writer(what, what.binned).document()


def _refusal(what: Any) -> str:
    """Why HS3 cannot say it."""
    model = getattr(what, "model", what)
    processes = getattr(model, "processes", None)
    if isinstance(model, Model) and processes:
        names = ", ".join(map(repr, processes))
        return (
            f"HS3 has no learned ratios: the unbinned channel with the processes {names} cannot "
            "be written; save it in the format 'npz', or hand it to RooFit (to_roofit)"
        )
    return (
        f"a {type(what).__name__} cannot be written as HS3: it takes a likelihood of binned "
        "channels (Binned.from_pyhf) alone; save the parts of a combination one by one"
    )


class _Writer:
    """Writes one likelihood; parameters get names that ROOT takes."""

    def __init__(self, like: Likelihood, binned: Binned) -> None:
        self.like = like
        self.binned = binned
        names = Names()
        self.names = {name: names(name) for name in like.parameters}
        self.channels = {channel: names(channel) for channel in binned.channels}
        self.functions: list[dict[str, Any]] = []

    def document(self) -> dict[str, Any]:
        """All of it.

        Raises:
            UsageError: A constraint that HS3 cannot say.
        """
        from rootml import __version__

        constraints = self.constraints()
        channels = [self.channel(name) for name in self.binned.channels]
        poi = self.binned.poi
        analysis = {"name": "analysis", "likelihood": "likelihood", "domains": ["default_domain"]}
        return {
            "metadata": {
                "hs3_version": VERSION,
                "packages": [{"name": "rootml", "version": __version__}],
            },
            "distributions": [*channels, *constraints],
            "functions": self.functions,
            "data": [self.data(name) for name in self.binned.channels],
            "likelihoods": [
                {
                    "name": "likelihood",
                    "distributions": [each["name"] for each in channels],
                    "data": [f"{each['name']}_observed" for each in channels],
                    "aux_distributions": [each["name"] for each in constraints],
                }
            ],
            "domains": [{"name": "default_domain", "type": "product_domain", "axes": self.axes()}],
            "parameter_points": [{"name": "default_values", "parameters": self.values()}],
            "analyses": [
                analysis if poi is None else {**analysis, "parameters_of_interest": [poi]}
            ],
            "misc": {"rootml": {PROVENANCE: stamp()}},
        }

    # --- channels --------------------------------------------------------------------------------

    def axis(self, channel: str) -> dict[str, Any]:
        bins = len(self.binned.observed[channel])
        name = f"x_{self.channels[channel]}"
        return {"name": name, "min": 0.0, "max": float(bins), "nbins": bins}

    def data(self, channel: str) -> dict[str, Any]:
        """The observed counts."""
        return {
            "name": f"{self.channels[channel]}_observed",
            "type": "binned",
            "axes": [self.axis(channel)],
            "contents": self.binned.observed[channel].tolist(),
        }

    def channel(self, channel: str) -> dict[str, Any]:
        """Its distribution."""
        samples = [s for s in self.binned.samples if s.channel == channel]
        return {
            "name": self.channels[channel],
            "type": "histfactory_dist",
            "axes": [self.axis(channel)],
            "samples": [self.sample(each) for each in samples],
        }

    def sample(self, sample: Sample) -> dict[str, Any]:
        names = Names()
        return {
            "name": sample.name,
            "data": {"contents": sample.nominal.tolist(), "errors": [0.0] * len(sample.nominal)},
            "modifiers": [self.modifier(each, names) for each in sample.modifiers],
        }

    def modifier(self, modifier: Modifier, names: Names) -> dict[str, Any]:
        """One modifier; `names` of its sample."""
        parameters = [self.names[name] for name in modifier.names]
        first = parameters[0]
        name = names(first if len(parameters) == 1 else modifier.names[0].partition("[")[0])
        if modifier.kind == "factor" and len(parameters) == 1 and "[" not in modifier.names[0]:
            return {"name": name, "type": "normfactor", "parameter": first}
        if modifier.kind == "factor":
            return {"name": name, "type": "shapefactor", "parameters": parameters}
        if modifier.kind == "effect":
            data: Any = {"hi": modifier.high, "lo": modifier.low, "interpolation": "code4"}
            kind = "normsys"
        else:
            high, low = modifier.high.tolist(), modifier.low.tolist()
            data = {"hi": {"contents": high}, "lo": {"contents": low}, "interpolation": "code4p"}
            kind = "histosys"
        return {
            "name": name, "type": kind, "parameter": first, "data": data, "constraint": "Gauss",
            "constraint_type": "Gauss",
        }  # fmt: skip

    # --- constraints -----------------------------------------------------------------------------

    def constraints(self) -> list[dict[str, Any]]:
        """Those that HS3 does not imply."""
        implied = {
            name
            for sample in self.binned.samples
            for modifier in sample.modifiers
            if modifier.kind in IMPLIED
            for name in modifier.names
        }
        found = []
        for name, nuisance in self.like.parameters.items():
            if not isinstance(nuisance, Nuisance) or nuisance.constraint == "none":
                continue
            outcome = self.like.observed[name]
            if name not in implied:
                found.append(self.constraint(name, nuisance, outcome))
            elif (nuisance.constraint, nuisance.width, outcome) != ("gaussian", 1.0, 0.0):
                message = (
                    f"HS3 implies a standard normal constraint at 0 for {name!r}, and this is "
                    f"{nuisance.constraint} of width {nuisance.width:g} at {outcome:g}: it cannot "
                    "be written"
                )
                raise UsageError(message)
        return found

    def constraint(self, name: str, nuisance: Nuisance, outcome: float) -> dict[str, Any]:
        """The distribution of the outcome of an auxiliary measurement."""
        known = self.names[name]
        entry = {"name": f"{known}_constraint", "x": outcome}
        if nuisance.constraint == "gaussian":
            return {**entry, "type": "gaussian_dist", "mean": known, "sigma": nuisance.width}
        if nuisance.constraint == "lognormal":
            message = f"the log-normal constraint of {name!r} cannot be written as HS3"
            raise UsageError(message)
        mean = f"{known}_mean"
        self.functions.append(
            {"name": mean, "type": "product", "factors": [known, nuisance.width]}
        )
        # "integer": ROOT rounds the outcome without it
        return {**entry, "type": "poisson_dist", "mean": mean, "integer": False}

    # --- parameters ------------------------------------------------------------------------------

    def axes(self) -> list[dict[str, Any]]:
        """Limits."""
        return [
            {"name": self.names[name], **_limits(each)}
            for name, each in self.like.parameters.items()
        ]

    def values(self) -> list[dict[str, Any]]:
        """Start values, and which are constant."""
        return [
            {"name": self.names[name], "value": each.value, "const": each.fixed}
            for name, each in self.like.parameters.items()
        ]


def _limits(parameter: Parameter | Nuisance) -> Mapping[str, float]:
    limits = {"min": parameter.lower, "max": parameter.upper}
    return {key: value for key, value in limits.items() if value is not None}
