"""What a fit has found: tables, parameters, factors; and how rows go through it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float
from rootml.errors import UsageError
from rootml.sbi.morphing._uncertainty_band import Band
from rootml.sbi.morphing.flow._flow import FlowFactory, FlowSpec, UserFlow
from rootml.sbi.morphing.flow._leaves import State
from rootml.sbi.morphing.flow._training import LossRecord
from rootml.sbi.morphing.inference._flow_inference import TorchFlow, make_inference
from rootml.sbi.morphing.inference._rows import Names, Rows
from rootml.sbi.morphing.preprocessing._atom_draws import uniforms
from rootml.sbi.morphing.preprocessing._preprocess import Conditions, Gaussianiser
from rootml.sbi.morphing.reweighting._reweight import Kinematics
from rootml.sbi.morphing.validation._training_events import Sketch

Which = Literal["nominal", "up", "down"] | int
FlowMap = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32]], npt.NDArray[np.float32]]

MORPHED, OUTSIDE, NOT_FINITE, BEYOND = 0, 1, 2, 3
"""Why a row passes unchanged: a condition outside of its range, NaN or infinity somewhere, or a
feature outside of its range."""

Outside = Literal["keep", "clip", "extrapolate"]
OUTSIDE_CHOICES: tuple[str, ...] = ("keep", "clip", "extrapolate")
"""What happens to rows with a feature outside of the range of the training."""

_SIGNS: dict[Which, int] = {"up": 1, "down": -1}
_BLOCK = 32_768


@dataclass(frozen=True, slots=True)
class Member:
    """One training: member 0 on the samples as they are, others on bootstraps of them.

    Attributes:
        sim, data: Gaussianisation in the two domains; of the data for going back, see
            `_marginal_closure.close_marginals`.
        state: Parameters of the flow.
        history: Losses while it was trained.
    """

    sim: Gaussianiser
    data: Gaussianiser
    state: State
    history: tuple[LossRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Rows that went through.

    Attributes:
        values: float64 `(rows, features)`.
        reason: uint8 `(rows,)`: `MORPHED`, `OUTSIDE`, `NOT_FINITE` or `BEYOND`.
        outside: For each condition the number of rows outside of its range.
        beyond: bool `(rows, features)`: which features are outside of their range.
    """

    values: Float
    reason: npt.NDArray[np.uint8]
    outside: npt.NDArray[np.int64]
    beyond: npt.NDArray[np.bool_]

    @property
    def morphed(self) -> npt.NDArray[np.bool_]:
        """Which rows were changed."""
        found: npt.NDArray[np.bool_] = self.reason == MORPHED
        return found


@dataclass
class Morph:
    """The whole map from simulation to data; plain data, except for a flow of the user's.

    Attributes:
        spec: Shape of our flow; None if the user gave one, as `factory`.
        seed: Of the random numbers of atoms.
        compiled: Whether splines run compiled.
        band: Of the ensemble; None: there are not two members besides the nominal one.
        info: Facts of the fit, for people.
        outside: What happens to rows with a feature outside of the range of the training.
        trained_on: Sketches of the events of the fit, by domain.
        device: Of torch, for the flow; None: our own kernels on the CPU.
    """

    names: Names
    conditions: Conditions
    kinematics: Kinematics
    members: tuple[Member, ...]
    spec: FlowSpec | None
    seed: int
    compiled: bool
    factory: FlowFactory | None = None
    band: Band | None = None
    info: dict[str, Any] = field(default_factory=dict)
    outside: Outside = "keep"
    trained_on: Mapping[str, Sketch] = field(default_factory=dict)
    device: str | None = None

    def __post_init__(self) -> None:
        self._flow_maps: dict[int, FlowMap] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    # --- rows ---------------------------------------------------------------------------------

    def draws(self, rows: Rows) -> Float:
        """The uniform numbers of rows, `(rows, features)`."""
        return uniforms(rows.keys, len(self.names.features), seed=self.seed)

    def transform(self, rows: Rows, which: Which = "nominal") -> Outcome:
        """Rows of the simulation, carried over.

        Args:
            which: The nominal map, the upper or lower edge of its band, or the number of a member.
        """
        return self.transform_all(rows, (which,))[0]

    def transform_all(self, rows: Rows, wanted: tuple[Which, ...]) -> list[Outcome]:
        """The same for several, with the work that they share done once."""
        reason, outside, beyond = self._classify(rows)
        good = np.flatnonzero(reason == MORPHED)
        numbers = sorted({self.member(which) for which in wanted})
        results = [rows.features.copy() for _ in wanted]
        for start in range(0, len(good), _BLOCK):  # so that what is in between stays small
            block = good[start : start + _BLOCK]
            features, keys = self._clipped(rows.features[block]), rows.keys[block]
            draws = uniforms(keys, len(self.names.features), seed=self.seed)
            context = self.conditions.context(rows.conditions[block])
            z = {n: self._to_data_scale(n, features, draws, context) for n in numbers}
            for values, which in zip(results, wanted, strict=True):
                values[block] = self._to_features(z[self.member(which)], which)
        return [Outcome(values, reason, outside, beyond) for values in results]

    def _classify(
        self, rows: Rows
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        inside = self.conditions.inside(rows.conditions)
        finite = rows.finite
        beyond = ~self.members[0].sim.inside(rows.features) & finite[:, None]
        reason = np.full(len(rows), MORPHED, np.uint8)
        if self.outside == "keep":
            reason[beyond.any(axis=1)] = BEYOND
        reason[~inside.all(axis=1)] = OUTSIDE
        reason[~finite] = NOT_FINITE
        return reason, (~inside[finite]).sum(axis=0), beyond

    def _clipped(self, features: Float) -> Float:
        return self.members[0].sim.clip(features) if self.outside == "clip" else features

    def member(self, which: Which) -> int:
        """The number of the member whose flow is used.

        Raises:
            UsageError: There is no such member, or no band.
        """
        last = len(self.members) - 1
        if which == "nominal":
            return 0
        if which in {"up", "down"}:
            if self.band is None:
                message = (
                    f"{which!r} is an edge of the band of an ensemble of two bootstraps or more; "
                    f"this morpher has {last}: fit with ensemble=10"
                )
                raise UsageError(message)
            return 0
        if isinstance(which, bool) or not isinstance(which, int) or not 0 <= which <= last:
            message = (
                f"which={which!r}: 'nominal', 'up', 'down', or the number of a member, "
                f"0 (nominal) to {last}"
            )
            raise UsageError(message)
        return which

    def _to_data_scale(self, member: int, features: Float, draws: Float, context: Any) -> Any:
        return self.flow_map(member)(self.members[member].sim.forward(features, draws), context)

    def _to_features(self, z: npt.NDArray[np.float32], which: Which) -> Float:
        tables = self.members[self.member(which)].data
        if self.band is None or which not in _SIGNS:
            return tables.inverse(z)
        return tables.inverse(self.band.move(z, _SIGNS[which]))

    # --- flows --------------------------------------------------------------------------------

    def flow_map(self, member: int) -> FlowMap:
        """The flow of a member: z and context to z'."""
        with self._lock:
            if member not in self._flow_maps:
                self._flow_maps[member] = self._make_flow_map(member)
            return self._flow_maps[member]

    def _make_flow_map(self, member: int) -> FlowMap:
        state = self.members[member].state
        if self.spec is not None:
            return make_inference(
                self.spec, state, compiled=self.compiled, device=self.device
            ).morph
        assert self.factory is not None
        features = len(self.names.features)
        flow = UserFlow.make(self.factory, features, self.conditions.columns).to(self.device)
        flow.load(state)
        return TorchFlow(flow, self.device).morph
