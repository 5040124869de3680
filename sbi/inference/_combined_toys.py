"""Toys of several likelihoods at once: a data set for each part, shared nuisances drawn once.

::

    for each toy:  for each part: draw events, counts and outcomes of auxiliary measurements;
                   an outcome that an earlier part has drawn is taken from there
                   fit the combination of these parts
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rootml._internal.progress import track
from rootml.errors import UsageError, nearest
from rootml.sbi.inference._asimov import Toys
from rootml.sbi.inference._toys import Task, ToyResults, collect
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._likelihood import Likelihood


class _Source:
    """Draws combinations."""

    def __init__(
        self, combined: CombinedLikelihood, references: Mapping[str, Any], theta: Any
    ) -> None:
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
                f"toys(..., references={{{name!r}: columns}})"
            )
            raise UsageError(message)
        truth = {key: self.truth[key] for key in like.parameters}
        return Toys(like.model, reference, truth=truth, engine=like.engine)

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


def toys(
    combined: CombinedLikelihood,
    number: int,
    *,
    seed: int,
    references: Mapping[str, Any] | None,
    truth: Mapping[str, float] | None,
    tests: Sequence[Mapping[str, float]],
    fixed: Mapping[str, float] | None,
    progress: bool | None,
) -> ToyResults:
    """See `CombinedLikelihood.toys`."""
    if number < 1 or seed < 0:
        message = f"{number} toys of seed {seed}: a positive number, and a seed from 0, are needed"
        raise UsageError(message)
    for name in references or {}:
        if name not in combined.parts:
            message = f"references: no part {name!r}; there is {nearest(name, combined.parts)}"
            raise UsageError(message)
    start = dict(zip(combined.parameters, combined.start.tolist(), strict=True))
    for test in tests:
        combined.theta(**start | dict(test))
    source = _Source(combined, references or {}, combined.theta(**start | dict(truth or {})))
    task = Task(source.truth, seed, tuple(dict(test) for test in tests), "", dict(fixed or {}))
    rows = (task.run(source, i) for i in range(number))
    done = list(track(rows, total=number, what="toys", enabled=progress))
    return collect(done, task, list(combined.parameters))
