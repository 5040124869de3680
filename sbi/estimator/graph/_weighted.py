"""A weighted ensemble: weights of the members' log ratios, from events that did not train them.

::

    log r(x) = c + w_1 log r_1(x) + ... + w_E log r_E(x)

Weights and c of each ratio maximise the likelihood of telling its sample from the reference, both
of equal total weight: a logistic regression, which is convex.

Source: S. Benevedes, J. Thaler, "Frequentist uncertainties on neural density ratios with wifi
ensembles", https://arxiv.org/abs/2506.00113.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootml._internal.types import Float
from rootml.errors import ConvergenceError
from rootml.sbi.estimator.graph._assemble import member_output
from rootml.sbi.estimator.graph._graph import Builder, Graph

_MAX_ITERATIONS = 50
_TOLERANCE = 1e-9
_SMALLEST = 1e-10
"""Directions of the Hessian below this part of the largest are left as in the plain mean."""


@dataclass(frozen=True)
class Weights:
    """Of one ratio.

    Attributes:
        offset: c.
        values: One for each member.
        covariance: Of c and the weights (sandwich), `(1 + members, 1 + members)`.
    """

    offset: float
    values: Float
    covariance: Float

    @classmethod
    def equal(cls, members: int) -> Weights:
        """1 / E each."""
        return cls(0.0, np.full(members, 1.0 / members), np.zeros((members + 1, members + 1)))

    @property
    def errors(self) -> Float:
        """Of the weights."""
        return np.asarray(np.sqrt(np.diag(self.covariance)[1:]))


def fit_weights(numerator: tuple[Float, Float], reference: tuple[Float, Float]) -> Weights:
    """Weights of one ratio, by Newton's method from equal ones.

    Args:
        numerator, reference: Log ratios of the members `(events, members)` and weights
            `(events,)` of any sign.

    Raises:
        ConvergenceError: No maximum was found, as can happen with weights of both signs.
    """
    members = numerator[0].shape[1]
    terms = np.concatenate([_terms(numerator[0]), _terms(reference[0])])
    label = np.repeat([1.0, 0.0], [len(numerator[0]), len(reference[0])])
    mass = np.concatenate([w / w.sum() for _, w in (numerator, reference)])
    at = np.concatenate([[0.0], np.full(members, 1.0 / members)])
    for _ in range(_MAX_ITERATIONS):
        chance = 0.5 * (1.0 + np.tanh(0.5 * (terms @ at)))
        gradient = terms.T @ (mass * (label - chance))
        hessian = terms.T @ (terms * (mass * chance * (1.0 - chance))[:, None])
        inverse = np.linalg.pinv(hessian, rcond=_SMALLEST, hermitian=True)
        step = inverse @ gradient
        at = at + step
        if np.abs(step).max() < _TOLERANCE:
            scores = terms * (mass * (label - chance))[:, None]
            return Weights(float(at[0]), at[1:], inverse @ (scores.T @ scores) @ inverse)
    message = f"the weights of the ensemble did not converge; last step {step.tolist()}"
    raise ConvergenceError(message)


def _terms(logs: Float) -> Float:
    return np.concatenate([np.ones((len(logs), 1)), logs], axis=1)


def weighted_graph(graph: Graph, members: int, weights: Sequence[Weights]) -> Graph:
    """The graph with weighted sums for ``log_ratio`` and ``ratio``; members stay as they are."""
    build, ends = Builder.extending(graph)
    names = [member_output(number) for number in range(members)]
    total = build.constant(np.array([each.offset for each in weights]))
    for number, name in enumerate(names):
        factor = build.constant(np.array([each.values[number] for each in weights]))
        total = build.add("Add", build.add("Mul", ends[name], factor), total)
    width = len(weights)
    outputs = {name: (ends[name], width) for name in names}
    return build.graph(**outputs, log_ratio=(total, width), ratio=(build.add("Exp", total), width))


def weights_note(weights: Mapping[str, Weights]) -> str:
    """For the record."""
    texts = []
    for name, each in weights.items():
        values = ", ".join(
            f"{w:.2f} +- {e:.2f}" for w, e in zip(each.values, each.errors, strict=True)
        )
        texts.append(f"{name}: {values}")
    return f"weights of the members ({'; '.join(texts)}) from independent events"


def members_at(graph: Graph, members: int, column: int, x: Any) -> Float:
    """Log ratios of all members at some events, `(events, members)`."""
    names = [member_output(number) for number in range(members)]
    found = graph.run(names, x=x)
    return np.stack([found[name][:, column] for name in names], axis=1)
