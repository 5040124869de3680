"""Toys of several likelihoods at once: a data set for each part, shared nuisances drawn once.

::

    for each toy:  for each part: draw events, counts and outcomes of auxiliary measurements;
                   an outcome that an earlier part has drawn is taken from there
                   fit the combination of these parts
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from rootml._internal.types import Float
from rootml.errors import MissingParameterError, UsageError, nearest
from rootml.sbi.inference.toys._toy_source import MIN_RATIO, ModelToys, ToySource, as_generator
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._likelihood import Likelihood


class CombinedSource:
    """What data sets of several likelihoods are drawn from, at any point.

    Args:
        combined: The likelihoods.
        references: By part, columns at reference events to draw from; others have their own.
        generators: By part, see `ToySource`.
        min_ratio: See `ToySource`.

    Raises:
        UsageError: A part that is no `Likelihood`, or has no reference events.
    """

    def __init__(
        self,
        combined: CombinedLikelihood,
        references: Mapping[str, Any],
        generators: Mapping[str, Any],
        *,
        min_ratio: float = MIN_RATIO,
    ) -> None:
        for what, given in (("reference", references), ("generator", generators)):
            for name in given:
                if name not in combined.parts:
                    message = (
                        f"{what}: no part {name!r}; available: {nearest(name, combined.parts)}"
                    )
                    raise UsageError(message)
        self.names = list(combined.parameters)
        self.start = dict(zip(self.names, combined.start.tolist(), strict=True))
        self.parts = {
            name: _source(name, like, references.get(name), generators.get(name), min_ratio)
            for name, like in combined.parts.items()
        }

    def header(self) -> dict[str, Any]:
        """What toys depend on, as JSON data."""
        return {f"part {name}": source.header() for name, source in self.parts.items()}

    def point(self, values: Mapping[str, float]) -> dict[str, float]:
        """All parameter values; those left out have their start values."""
        for name in values:
            if name not in self.start:
                message = f"no parameter {name!r}; available: {nearest(name, self.start)}"
                raise MissingParameterError(message)
        return {name: float(values.get(name, start)) for name, start in self.start.items()}

    def at(self, truth: Mapping[str, float]) -> CombinedToys:
        """Data sets at a point; parameters left out have their start values."""
        return CombinedToys(self, self.point(truth))


def _source(name: str, like: Any, reference: Any, generator: Any, min_ratio: float) -> ToySource:
    if type(like) is not Likelihood:
        message = (
            f"part {name!r} is a {type(like).__name__}: toys are drawn of parts that are a "
            "Likelihood, made by Model.likelihood"
        )
        raise UsageError(message)
    if reference is None:
        reference = like.reference
    generator = as_generator(generator)
    if reference is None and generator is None and like.model.processes:
        message = (
            f"part {name!r} has no reference events to draw toys from: "
            f"toys(combined, {{{name!r}: columns}}, ...)"
        )
        raise UsageError(message)
    return ToySource(
        like.model, reference, generator=generator, engine=like.engine, min_ratio=min_ratio
    )


class CombinedToys:
    """Data sets of several likelihoods at one point.

    Args:
        source: What they are drawn from.
        truth: All parameter values.
    """

    def __init__(self, source: CombinedSource, truth: Mapping[str, float]) -> None:
        self.truth = dict(truth)
        self._parts: dict[str, ModelToys] = {}
        for name, part in source.parts.items():
            ours = {key: truth[key] for key in part.model.all_parameters}
            self._parts[name] = part.at(ours)

    @property
    def effective(self) -> float:
        """The smallest effective number of reference events of a part."""
        return min(toys.effective for toys in self._parts.values())

    @cached_property
    def hessian(self) -> Float | None:
        """Second derivatives at the truth for the expected data of all parts."""
        expected = {name: toys.expected_data for name, toys in self._parts.items()}
        found = {name: like for name, like in expected.items() if like is not None}
        if len(found) < len(expected):
            return None
        combined = CombinedLikelihood(found)
        return combined.nll_hessian(combined.theta(**self.truth))

    def draw(self, rng: np.random.Generator) -> CombinedLikelihood:
        """The likelihood of one random data set of each part."""
        seen: dict[str, float] = {}
        drawn = {}
        for name, toys in self._parts.items():
            like = toys.draw(rng)
            shared = {key: seen[key] for key in like.observed if key in seen}
            drawn[name] = like.with_observed(**shared) if shared else like
            seen |= drawn[name].observed
        return CombinedLikelihood(drawn)
