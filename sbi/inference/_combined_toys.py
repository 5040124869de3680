"""Toys of several likelihoods at once: a data set for each part, shared nuisances drawn once.

::

    for each toy:  for each part: draw events, counts and outcomes of auxiliary measurements;
                   an outcome that an earlier part has drawn is taken from there
                   fit the combination of these parts
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from rootml.errors import UsageError, nearest
from rootml.sbi.inference._asimov import Toys
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._interpolation import Array
from rootml.sbi.likelihood._likelihood import Likelihood


class CombinedToys:
    """Draws combinations.

    Args:
        combined: The likelihoods.
        references: By part, columns at reference events to draw from.
        truth: Parameter values; those left out have their start values.
        tests: Points of which conditional minima will be wanted; only checked here.

    Raises:
        UsageError: A part that is no `Likelihood`, or has too few or no reference events.
    """

    def __init__(
        self,
        combined: CombinedLikelihood,
        references: Mapping[str, Any],
        truth: Mapping[str, float],
        tests: Sequence[Mapping[str, float]],
    ) -> None:
        for name in references:
            if name not in combined.parts:
                message = (
                    f"reference: no part {name!r}; available: {nearest(name, combined.parts)}"
                )
                raise UsageError(message)
        start = dict(zip(combined.parameters, combined.start.tolist(), strict=True))
        for test in tests:
            combined.theta(**start | dict(test))
        theta = combined.theta(**start | dict(truth))
        self.truth = dict(zip(combined.parameters, theta.tolist(), strict=True))
        self._parts = {
            name: self._toys(name, like, references.get(name))
            for name, like in combined.parts.items()
        }

    def _toys(self, name: str, like: Any, reference: Any) -> Toys:
        if type(like) is not Likelihood:
            message = (
                f"part {name!r} is a {type(like).__name__}: toys are drawn of parts that are a "
                "Likelihood, made by Model.likelihood"
            )
            raise UsageError(message)
        if reference is None:
            reference = like.reference
        if reference is None and like.model.processes:
            message = (
                f"part {name!r} has no reference events to draw toys from: "
                f"toys(combined, {{{name!r}: columns}}, ...)"
            )
            raise UsageError(message)
        truth = {key: self.truth[key] for key in like.parameters}
        return Toys(like.model, reference, truth=truth, engine=like.engine)

    @cached_property
    def hessian(self) -> Array | None:
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
