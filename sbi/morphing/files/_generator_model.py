"""What the fit of a `Generator` has found, and how rows go through it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rootml._internal.types import Bool, Float
from rootml.sbi.morphing.flow._flow import CouplingFlow, FlowSpec
from rootml.sbi.morphing.flow._leaves import State, import_torch
from rootml.sbi.morphing.flow._training import LossRecord
from rootml.sbi.morphing.inference._flow_inference import FlowInference, make_inference
from rootml.sbi.morphing.inference._rows import Names
from rootml.sbi.morphing.preprocessing._atom_draws import Keys, uniforms
from rootml.sbi.morphing.preprocessing._density import log_densities
from rootml.sbi.morphing.preprocessing._normal import normal_quantile
from rootml.sbi.morphing.preprocessing._preprocess import Conditions, Gaussianiser

DRAWS, POINTS = 21, 22
"""Streams of random numbers: of draws, and of the points within atoms."""
_BLOCK = 32_768


@dataclass
class GeneratorModel:
    """The map from normal numbers and conditions to features; plain data.

    Attributes:
        tables: Gaussianisation of the features.
        state, spec: Parameters and shape of the flow.
        info: Facts of the fit.
        device: Of torch, for the flow; None: our own kernels on the CPU.
    """

    names: Names
    conditions: Conditions
    tables: Gaussianiser
    state: State
    spec: FlowSpec
    compiled: bool
    history: tuple[LossRecord, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)
    device: str | None = None

    def __post_init__(self) -> None:
        self._flow: FlowInference | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    def known(self, conditions: Float) -> Bool:
        """Which of `(rows, conditions)` are in the range of the training; NaN is not."""
        return np.asarray(self.conditions.inside(conditions).all(axis=1))

    def draw(self, conditions: Float, keys: Keys, *, seed: int) -> Float:
        """Features `(rows, features)`; NaN for rows that are not known."""
        found = np.full((len(conditions), len(self.names.features)), np.nan)
        good = np.flatnonzero(self.known(conditions))
        for start in range(0, len(good), _BLOCK):
            rows = good[start : start + _BLOCK]
            u = uniforms(keys[rows], found.shape[1], seed=seed, stream=DRAWS)
            found[rows] = self.from_uniforms(u, conditions[rows])
        return found

    def from_uniforms(self, u: Float, conditions: Float) -> Float:
        """Features of uniform numbers `(rows, features)` and conditions in the range."""
        z = normal_quantile(u).astype(np.float32)
        return self.tables.inverse(self._inverse().generate(z, self._context(conditions)))

    def _inverse(self) -> FlowInference:
        with self._lock:
            if self._flow is None:
                self._flow = make_inference(
                    self.spec, self.state, compiled=self.compiled, device=self.device
                )
            return self._flow

    def _context(self, conditions: Float) -> Any:
        context = self.conditions.context(conditions)
        context[:, -1] = 1
        return context

    def log_prob(self, features: Float, conditions: Float, keys: Keys, *, points: int) -> Float:
        """Of `(rows, features)`, `(rows,)`; NaN for rows that are not known."""
        found = np.full(len(features), np.nan)
        good = self.known(conditions) & np.isfinite(features).all(axis=1)
        numbers = np.flatnonzero(good)
        torch = import_torch()
        device = self.device or "cpu"
        flow = CouplingFlow(self.spec, self.state, compiled=self.compiled, device=self.device)

        def flow_log_prob(z: Float, context: Any) -> Float:
            pair = (torch.from_numpy(each).to(device) for each in (z.astype(np.float32), context))
            with torch.no_grad():
                loss = flow.loss(*pair)
            return -np.asarray(loss.cpu().numpy(), np.float64)

        block = max(1, _BLOCK // points)
        for start in range(0, len(numbers), block):
            rows = numbers[start : start + block]
            context = self._context(conditions[rows])
            found[rows] = log_densities(
                self.tables, features[rows], keys[rows], flow_log_prob, context, points=points
            )
        return found
