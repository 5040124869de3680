"""A density ratio of two samples by small networks: smooth, where trees have steps.

A network that tells data from simulation by logistic loss learns the logarithm of the ratio of
their densities. In words::

    h = context of the conditions (`Conditions`: Gaussianised, and on a compressed scale)
    twice:  h = silu(W h + b)
    margin = w h + b + what closes the moments of the conditions (`_moments`; many events only),
             no further than it went on the rows of the training

Trained by `_training`, so weights may be negative. Used without torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rootml._internal.devices import one_thread
from rootml._internal.types import Float
from rootml.errors import StateError
from rootml.sbi.morphing.flow._leaves import State, TrainableArrays
from rootml.sbi.morphing.flow._training import Schedule, Trainer, TrainingRows
from rootml.sbi.morphing.inference._rows import Rows
from rootml.sbi.morphing.preprocessing._preprocess import Conditions, part
from rootml.sbi.morphing.preprocessing._preprocess_fit import conditions as fit_conditions
from rootml.sbi.morphing.reweighting._moments import closing, coefficients, enough, moments

if TYPE_CHECKING:
    from torch import Tensor

_HIDDEN = (64, 64)
_RATE, _PATIENCE = 1e-2, 20
_PASSES, _STEPS, _BATCH = 6, (300, 3000), (64, 2048)
_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class RatioNetwork:
    """A trained network.

    Attributes:
        scale: From conditions to inputs.
        state: ``w<k>`` `(in, out)` and ``b<k>`` `(out,)`, float32.
        closing: `(1 + coefficients,)`, see `_moments`; zeros: nothing is added.
        low, high: The range of margins on the rows of the training.
    """

    scale: Conditions
    state: State
    closing: Float
    low: float = -math.inf
    high: float = math.inf

    def margin(self, values: Float) -> Float:
        """Logarithm of the ratio data over simulation, `(rows,)`, of `(rows, conditions)`."""
        found = np.empty(len(values))
        for start in range(0, len(values), _BLOCK):
            rows = slice(start, start + _BLOCK)
            found[rows] = self._margin(self.scale.context(values[rows])[:, :-1])
            if self.closing.any():
                found[rows] += self.closing[0] + self.moments(values[rows]) @ self.closing[1:]
        return np.clip(found, self.low, self.high)

    def moments(self, values: Float) -> Float:
        """What is closed, of `(rows, conditions)`."""
        return moments((values - self.scale.mean) / self.scale.width)

    def _margin(self, h: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        last = len(_HIDDEN)
        for k in range(last + 1):
            h = h @ self.state[f"w{k}"] + self.state[f"b{k}"]
            if k < last:
                h = h * (0.5 + 0.5 * np.tanh(0.5 * h))
        return h[:, 0]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything by name."""
        scale = {f"scale.{name}": each for name, each in self.scale.arrays().items()}
        ends = np.array([self.low, self.high])
        return {**self.state, **scale, "closing": self.closing, "ends": ends}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> RatioNetwork:
        """The reverse of `arrays`.

        Raises:
            StateError: Nothing that it could have made.
        """
        where = "the networks of the reweighting"
        found = part(arrays, "scale.")
        names = [f"{j}" for j in range(len(found.get("mean", ())))]
        scale = Conditions.from_arrays(found, names, where)
        shapes = _shapes(scale.columns - 1)
        state = {name: np.asarray(arrays.get(name), np.float32) for name in shapes}
        ends, tilt = (np.asarray(arrays.get(name, ()), np.float64) for name in ("ends", "closing"))
        good = {name: each.shape for name, each in state.items()} == shapes
        good &= tilt.shape == (1 + coefficients(len(names)),) and bool(np.isfinite(tilt).all())
        if not good or ends.shape != (2,) or not ends[0] <= ends[1]:
            message = f"{where} are damaged"
            raise StateError(message)
        return cls(scale, state, tilt, float(ends[0]), float(ends[1]))


def _shapes(inputs: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for k, (rows, columns) in enumerate(itertools.pairwise((inputs, *_HIDDEN, 1))):
        found[f"w{k}"], found[f"b{k}"] = (rows, columns), (columns,)
    return found


class _Network(TrainableArrays):
    """The same in torch."""

    def __init__(self, inputs: int, rng: np.random.Generator) -> None:
        shapes, state = _shapes(inputs), {}
        for name, shape in shapes.items():
            width = 1 / math.sqrt(shapes[f"w{name[1:]}"][0])
            state[name] = rng.uniform(-width, width, shape)
        super().__init__(state, shapes)

    def loss(self, label: Any, context: Any) -> Tensor:
        """Logistic, of each row; `label` is 1 for data."""
        h, torch = context[:, :-1], self._torch
        for k in range(len(_HIDDEN) + 1):
            h = torch.addmm(self._leaves[f"b{k}"], h, self._leaves[f"w{k}"])
            h = torch.nn.functional.silu(h) if k < len(_HIDDEN) else h
        each: Tensor = torch.nn.functional.softplus(h[:, 0]) - label[:, 0] * h[:, 0]
        return each


def fit_network(
    train: tuple[Rows, Rows], held: tuple[Rows, Rows], *, seed: tuple[int, int]
) -> RatioNetwork:
    """Learn the ratio on simulation and data of `train`; the best network on those of `held`.

    The sums of weights of all four are positive.
    """
    values = np.concatenate([rows.conditions for rows in train])
    mass = np.concatenate([np.abs(_half_sum(rows.weights)) for rows in train])
    ends = values.min(axis=0), values.max(axis=0)
    names = [f"{j}" for j in range(values.shape[1])]
    scale = fit_conditions(values, mass, names, ends)
    problem = _problem(scale, train)
    batch = int(np.clip(len(values) // 100, *_BATCH))
    steps = int(np.clip(_PASSES * len(values) // batch, *_STEPS))
    network = _Network(scale.columns - 1, np.random.default_rng([*seed, 17]))
    schedule = Schedule(steps, batch, _RATE, _PATIENCE)
    trainer = Trainer(network, problem, _problem(scale, held), schedule, seed=seed)
    with one_thread():
        state, _ = trainer.run(lambda _step, _check: None)
    nothing = np.zeros(1 + coefficients(values.shape[1]))
    found = _closed(RatioNetwork(scale, state, nothing), train)
    margins = found.margin(values[mass > 0])
    return replace(found, low=float(margins.min()), high=float(margins.max()))


def _closed(found: RatioNetwork, train: tuple[Rows, Rows]) -> RatioNetwork:
    """With moments of the conditions that close on these rows, if they are enough."""
    sim, data = train
    if not enough((sim.weights, data.weights), sim.conditions.shape[1]):
        return found
    margin = found.margin(sim.conditions)
    phi = [found.moments(rows.conditions) for rows in train]
    return replace(found, closing=closing(phi[0], sim.weights, margin, phi[1], data.weights))


def _problem(scale: Conditions, sides: tuple[Rows, Rows]) -> TrainingRows:
    """Labels as features."""
    labels = [np.full((len(rows), 1), side, np.float32) for side, rows in enumerate(sides)]
    return TrainingRows(
        np.concatenate(labels),
        np.concatenate([scale.context(rows.conditions) for rows in sides]),
        np.concatenate([_half_sum(rows.weights) for rows in sides]),
    )


def _half_sum(weights: Float) -> Float:
    halved: Float = 0.5 * weights / weights.sum()
    return halved
