"""Held-out pairs of events and parameters: what share of a network to keep, and its norm.

A pair is matched (an event with its own theta) or mismatched (an event with another theta). Share
and norm are logistic regressions with few coefficients that tell the two kinds apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rootml._internal.types import Float
from rootml.errors import ConvergenceError
from rootml.sbi.estimator.graph._assemble import Scale, monomials
from rootml.sbi.estimator.graph._graph import Graph
from rootml.sbi.estimator.graph._network import Layers
from rootml.sbi.estimator.learners._pair_loader import PairLoader
from rootml.sbi.estimator.learners._score import NormEstimate

_MISMATCHES = 4  # mismatched pairs per held-out event
_CHUNK = 65_536
_MAX_ITERATIONS = 100
_TOLERANCE = 1e-9
_ROUNDING = 1e-12
_LEAST = 1e-6
"""Damping that is tried first."""


@dataclass(frozen=True)
class Side:
    """Pairs of one kind.

    Attributes:
        label: 1 for matched pairs, 0 for mismatched ones.
        value: Log ratios, `(pairs,)`.
        network: Contribution of the network to them.
        theta: Scaled parameters, `(pairs, parameters)`.
        weights: One per pair.
    """

    label: float
    value: Float
    network: Float
    theta: Float
    weights: Float


@dataclass(frozen=True)
class Pairs:
    """Held-out pairs of both kinds."""

    matched: Side
    mismatched: Side

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both."""
        return self.matched, self.mismatched

    def with_share(self, share: float) -> Pairs:
        """The same pairs, with the network's contribution multiplied by `share`."""
        return Pairs(
            *(
                replace(side, value=side.value - (1.0 - share) * side.network)
                for side in self.sides
            )
        )

    def normalised(self, norm: Float) -> Pairs:
        """The same pairs with normalised log ratios."""
        return Pairs(*(replace(s, value=s.value - monomials(s.theta) @ norm) for s in self.sides))

    def check(self, norm: Float) -> tuple[Float, Float]:
        """Normalised ratios of the mismatched pairs, and their weights; the mean should be 1."""
        value = self.mismatched.value - monomials(self.mismatched.theta) @ norm
        return np.exp(value), self.mismatched.weights


def held_out_pairs(
    network: Graph, base: Float | None, rest: PairLoader, scales: tuple[Scale, Scale]
) -> Pairs:
    """All held-out events, each with its own theta and with some others."""
    matched: list[tuple[Float, ...]] = []
    mismatched: list[tuple[Float, ...]] = []
    log_ratio = _log_ratio(network, scales)

    def add(found: list[tuple[Float, ...]], x: Float, theta: Float, weights: Float) -> None:
        learned = log_ratio(x, theta)
        value = learned
        if base is not None:
            value = (
                learned + monomials(np.concatenate([x, theta], axis=1, dtype=np.float64)) @ base
            )
        found.append((value, learned, theta, weights))

    for batch in rest.iterate(epoch=0):
        add(matched, batch.x, batch.theta, batch.w)
        rows = len(batch.theta)
        for k in range(1, _MISMATCHES + 1):
            other = (np.arange(len(batch.x_ref)) + k * max(1, rows // (_MISMATCHES + 1))) % rows
            weights = batch.w_ref * batch.w[other] * (rows / len(batch.x_ref) / _MISMATCHES)
            add(mismatched, batch.x_ref, batch.theta[other], weights)
    return Pairs(Side(1.0, *_joined(matched)), Side(0.0, *_joined(mismatched)))


def _log_ratio(graph: Graph, scales: tuple[Scale, Scale]) -> Callable[[Float, Float], Float]:
    """The log ratio of scaled inputs and parameters."""
    x_scale, theta_scale = scales

    def log_ratio(x: Float, theta: Float) -> Float:
        given = {
            "x": (x * x_scale.width + x_scale.mean).astype(np.float32),
            "theta": (theta * theta_scale.width + theta_scale.mean).astype(np.float32),
        }
        return graph.run(["log_ratio"], **given)["log_ratio"][:, 0]

    return log_ratio


def _joined(parts: Sequence[tuple[Float, ...]]) -> list[Any]:
    return [np.concatenate(each).astype(np.float64) for each in zip(*parts, strict=True)]


def network_share(pairs: Pairs) -> float:
    """The fraction of the network's contribution that held-out pairs confirm, from 0 to 1.

    Where the polynomial describes everything, the network adds only the noise of its training; the
    slope of its contribution in this regression is then 0.
    """

    def terms(side: Side, part: slice) -> Float:
        return np.stack([np.ones_like(side.value[part]), side.network[part]], axis=1)

    c = _regression(pairs, np.zeros(2), np.zeros((2, 2)), terms)[0]
    return float(np.clip(1.0 - c[1], 0.0, 1.0))


def constant_norm(pairs: Pairs, slopes: Float) -> Float:
    """`slopes`, whose coefficient of 1 is zero, with that coefficient by the bridge estimator.

    Raises:
        ConvergenceError: There is no such constant.
    """

    def terms(side: Side, part: slice) -> Float:
        return np.ones((len(side.value[part]), 1))

    norm = slopes.copy()
    norm[0] = _regression(pairs.normalised(slopes), np.zeros(1), np.zeros((1, 1)), terms)[0][0]
    return norm


def pair_norm(pairs: Pairs, known: NormEstimate) -> NormEstimate:
    """The norm that the pairs and something known before give together, by a regression.

    Args:
        known: What was known before; the result's information contains it.

    Raises:
        ConvergenceError: There is no such norm.
    """

    def terms(side: Side, part: slice) -> Float:
        return monomials(side.theta[part])

    c, information = _regression(pairs, known.coefficients, known.information, terms)
    return NormEstimate(c, information)


def _regression(
    pairs: Pairs, known: Float, information: Float, terms: Callable[[Side, slice], Float]
) -> tuple[Float, Float]:
    """Coefficients of terms to subtract from the log ratios.

    Newton's method, damped as by Levenberg and Marquardt where a step does not reduce the loss:
    far from the minimum probabilities are 0 or 1, and the second derivative says little.

    Args:
        known: What is known of the coefficients otherwise.
        information: The inverse of its covariance; zeros: nothing is known.

    Returns:
        The coefficients, and the information on them.
    """

    def at(c: Float) -> _Loss:
        apart = c - known
        return _loss(pairs, c, terms).with_parabola(apart, information)

    c, damping = np.zeros(len(known)), 0.0
    now = at(c)
    for _ in range(_MAX_ITERATIONS):
        step = np.linalg.lstsq(now.hessian + damping * now.bound, now.gradient, rcond=1e-10)[0]
        found = at(c - step)
        if found.value <= now.value + _ROUNDING * abs(now.value):
            c, now, damping = c - step, found, damping / 10.0 if damping > _LEAST else 0.0
            if np.abs(step).max() < _TOLERANCE:
                return c, now.hessian
        else:
            damping = max(10.0 * damping, _LEAST)
    message = f"the norm as a function of theta did not converge; last step {step.tolist()}"
    raise ConvergenceError(message)


@dataclass(frozen=True)
class _Loss:
    """Cross entropy between both kinds of pairs.

    Attributes:
        value: The cross entropy.
        gradient, hessian: Its derivatives by the coefficients.
        bound: What the second derivative is at most anywhere.
    """

    value: float
    gradient: Float
    hessian: Float
    bound: Float

    def with_parabola(self, apart: Float, information: Float) -> _Loss:
        """With a parabola of this second derivative added, so far from its minimum."""
        slope = information @ apart
        return _Loss(
            self.value + 0.5 * float(apart @ slope), self.gradient + slope,
            self.hessian + information, self.bound + information,
        )  # fmt: skip


def _loss(pairs: Pairs, c: Float, terms: Callable[[Side, slice], Float]) -> _Loss:
    size = len(c)
    value, gradient = 0.0, np.zeros(size)
    hessian, bound = np.zeros((2, size, size))
    for side in pairs.sides:
        sign = 1.0 - 2.0 * side.label
        for start in range(0, len(side.value), _CHUNK):
            part = slice(start, start + _CHUNK)
            given, weights = terms(side, part), side.weights[part]
            logit = side.value[part] - given @ c
            probability = 0.5 * (1.0 + np.tanh(0.5 * logit))
            value += float(weights @ np.logaddexp(0.0, sign * logit))
            gradient += given.T @ (weights * (side.label - probability))
            spread = weights * probability * (1.0 - probability)
            hessian += given.T @ (given * spread[:, None])
            bound += 0.25 * given.T @ (given * np.abs(weights)[:, None])
    return _Loss(value, gradient, hessian, bound)


def scaled_last(layers: Layers, factor: float) -> Layers:
    """The layers with the output multiplied by `factor`."""
    matrix, offset = layers[-1]
    return [*layers[:-1], (matrix * factor, offset * factor)]
