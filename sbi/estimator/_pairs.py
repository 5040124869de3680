"""Held-out pairs of events and parameters: how much of a network to keep, and its norm.

Both are logistic regressions in few numbers: is a pair one that belongs together?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml.errors import ConvergenceError
from rootml.sbi.estimator._assemble import Scale, monomials
from rootml.sbi.estimator._graph import Graph
from rootml.sbi.estimator._network import Layers

if TYPE_CHECKING:
    from rootml.sbi.estimator._learn_parametric import PairLoader

Float: TypeAlias = npt.NDArray[np.float64]

_SHIFTS = 4  # pairings of each held-out event with another theta
_CHUNK = 65_536
_ROUNDS = 50


@dataclass(frozen=True)
class Side:
    """Pairs that belong together, or pairs that do not.

    Attributes:
        label: 1 or 0.
        value: Log ratios, `(pairs,)`.
        network: What the network contributes to them.
        theta: Scaled parameters, `(pairs, parameters)`.
        mass: Weights.
    """

    label: float
    value: Float
    network: Float
    theta: Float
    mass: Float


@dataclass(frozen=True)
class Pairs:
    """Held-out pairs of both kinds."""

    together: Side
    apart: Side

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both."""
        return self.together, self.apart

    def with_share(self, share: float) -> Pairs:
        """The same with a share of the network's contribution."""
        return Pairs(
            *(
                replace(side, value=side.value - (1.0 - share) * side.network)
                for side in self.sides
            )
        )

    def lowered(self, norm: Float) -> Pairs:
        """The same with normalised log ratios."""
        return Pairs(*(replace(s, value=s.value - monomials(s.theta) @ norm) for s in self.sides))

    def check(self, norm: Float) -> tuple[Float, Float]:
        """Ratios of pairs that do not belong together, and their weights: in the mean 1."""
        return np.exp(self.apart.value - monomials(self.apart.theta) @ norm), self.apart.mass


def held_out_pairs(
    network: Graph, base: Float | None, rest: PairLoader, scales: tuple[Scale, Scale]
) -> Pairs:
    """All held-out events with their theta, and with some of others."""
    together: list[tuple[Float, ...]] = []
    apart: list[tuple[Float, ...]] = []
    log_ratio = _log_ratio(network, scales)

    def add(found: list[tuple[Float, ...]], x: Float, theta: Float, mass: Float) -> None:
        learned = log_ratio(x, theta)
        value = learned
        if base is not None:
            value = (
                learned + monomials(np.concatenate([x, theta], axis=1, dtype=np.float64)) @ base
            )
        found.append((value, learned, theta, mass))

    for batch in rest.iterate(epoch=0):
        add(together, batch.x, batch.theta, batch.w)
        rows = len(batch.theta)
        for k in range(1, _SHIFTS + 1):
            turned = (np.arange(len(batch.x_ref)) + k * max(1, rows // (_SHIFTS + 1))) % rows
            mass = batch.w_ref * batch.w[turned] * (rows / len(batch.x_ref) / _SHIFTS)
            add(apart, batch.x_ref, batch.theta[turned], mass)
    return Pairs(Side(1.0, *_joined(together)), Side(0.0, *_joined(apart)))


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
    """How much of what the network has learned holds for pairs that it has not seen.

    Where a polynomial comes before it, a network may have nothing to add but the noise of its
    training: its contribution then has no slope in this regression. Between 0 and 1.
    """

    def terms(side: Side, part: slice) -> Float:
        return np.stack([np.ones_like(side.value[part]), side.network[part]], axis=1)

    c = _regression(pairs, 2, terms)
    return float(np.clip(1.0 - c[1], 0.0, 1.0))


def constant_norm(pairs: Pairs, slopes: Float) -> Float:
    """The same coefficients of theta and theta theta', and that of 1 by the bridge estimator.

    Raises:
        ConvergenceError: No such constant.
    """

    def terms(side: Side, part: slice) -> Float:
        return np.ones((len(side.value[part]), 1))

    norm = slopes.copy()
    norm[0] = _regression(pairs.lowered(slopes), 1, terms)[0]
    return norm


def _regression(pairs: Pairs, size: int, terms: Callable[[Side, slice], Float]) -> Float:
    """What multiples of some terms the log ratios must be lowered by; Newton's method."""
    c = np.zeros(size)
    scale = 1.0 / len(pairs.together.value)
    for _ in range(_ROUNDS):
        slope, curvature = np.zeros(size), np.zeros((size, size))
        for side in pairs.sides:
            for start in range(0, len(side.value), _CHUNK):
                part = slice(start, start + _CHUNK)
                given, mass = terms(side, part), side.mass[part] * scale
                chance = 0.5 * (1.0 + np.tanh(0.5 * (side.value[part] - given @ c)))
                slope += given.T @ (mass * (side.label - chance))
                curvature += given.T @ (given * (mass * chance * (1.0 - chance))[:, None])
        step = np.linalg.lstsq(curvature, slope, rcond=1e-10)[0]
        c -= step
        if np.abs(step).max() < 1e-9:
            return c
    message = f"the norm as a function of theta does not converge, last step {step.tolist()}"
    raise ConvergenceError(message)


def scaled_last(layers: Layers, factor: float) -> Layers:
    """The layers of a network whose output is multiplied."""
    matrix, offset = layers[-1]
    return [*layers[:-1], (matrix * factor, offset * factor)]
