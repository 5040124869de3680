"""The unbinned channel: an extended mixture of processes over events."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from rootml._internal.types import Float
from rootml.errors import DensityError, MissingPackageError, UsageError
from rootml.sbi.likelihood import _kernels_numpy
from rootml.sbi.likelihood._columns import RatioColumns, offending
from rootml.sbi.likelihood._control import Control
from rootml.sbi.likelihood._layout import Layout, Plan
from rootml.sbi.likelihood._normaliser import STEP, Normaliser
from rootml.sbi.likelihood._store import Events, Store

if TYPE_CHECKING:
    from rootml.sbi.likelihood._model import Model

Engine: TypeAlias = Literal["auto", "compiled", "numpy"]


@dataclass(frozen=True, slots=True)
class Kernels:
    """The sums over events by one engine; see `_kernels_numpy` for what they are."""

    density_sums: Callable[..., _kernels_numpy.Sums]
    reference_sums: Callable[..., Float]
    second_sums: Callable[..., _kernels_numpy.SecondSums]
    compiled: bool


def kernels(engine: str, threads: int = 1) -> Kernels:
    """The sums over events by an engine.

    Raises:
        MissingPackageError: ``"compiled"`` without numba.
    """
    if engine not in {"auto", "compiled", "numpy"}:
        message = f"engine {engine!r} is none of 'auto', 'compiled', 'numpy'"
        raise UsageError(message)
    first = second = _kernels_numpy
    if engine != "numpy":
        try:
            first = importlib.import_module("rootml.sbi.likelihood._kernels")
            second = importlib.import_module("rootml.sbi.likelihood._kernels_hessian")
        except MissingPackageError:
            if engine == "compiled":
                raise
    return Kernels(
        partial(first.density_sums, threads=threads),
        partial(first.reference_sums, threads=threads),
        partial(second.second_sums, threads=threads),
        compiled=first is not _kernels_numpy,
    )


class Unbinned:
    """``nu(theta) - sum_i w_i log sum_p nu_p(theta) r_p f_p / Z_p`` and its derivatives."""

    def __init__(
        self,
        model: Model,
        columns: RatioColumns,
        reference: RatioColumns | None,
        names: Sequence[str],
        engine: str,
        *,
        share: Unbinned | None = None,
        threads: int = 1,
    ) -> None:
        self.model = model
        self.layout: Layout = Layout(model, columns, names)
        self.yields = model.yields()
        self.threads = threads
        self._kernels = kernels(engine, threads)
        self._double = engine != "auto"
        self.events: Events = self._rows(columns, "data")
        self._reference = reference
        self.normaliser: Normaliser | Control | None = None
        self.control: Control | None = None  # where `near` starts from; see `anchored`
        self.rough: bool = False  # whether second derivatives of log Z are those of `control`
        self._last: tuple[bytes, float] | None = None  # where it was asked last, and the value
        if reference is None and share is not None:
            self._reference = share._reference
            if self.layout.factors == share.layout.factors:
                self.normaliser = share.normaliser
                self.control, self.rough = share.control, share.rough
            elif self.layout.factors:
                reference = share.reference
        if self.layout.factors and self.normaliser is None:
            self.normaliser = self._make_normaliser(reference, columns)

    def _rows(self, columns: RatioColumns, what: str) -> Events:
        blocks = self._kernels.compiled
        return self.layout.events(columns, what, blocks=blocks, double=self._double)

    def _make_normaliser(
        self, reference: RatioColumns | None, columns: RatioColumns
    ) -> Normaliser:
        if reference is None:
            factor = self.layout.factors[0]
            message = (
                f"the shape of process {self.layout.processes[factor.process]!r} changes with "
                f"{factor.nuisance!r}, so its density must be normalised by events of the "
                "reference: pass reference= with the same columns (without it, intervals of the "
                "nuisance parameter do not cover)"
            )
            raise UsageError(message)
        same = reference is columns
        events = self.events if same else self._rows(reference, "reference")
        self._reference = events.columns
        sums = self._kernels
        return Normaliser(self.layout, events, sums.reference_sums, sums.second_sums)

    @property
    def columns(self) -> RatioColumns:
        """The observed events; those that are kept as float32 are made of their rows each time."""
        return self.layout.columns(self.events)

    @property
    def reference(self) -> RatioColumns | None:
        """The reference events, likewise."""
        if self._reference is None and self.normaliser is not None:
            return self.layout.columns(self.normaliser.events)
        return self._reference

    @property
    def has_reference(self) -> bool:
        """Whether there are reference events."""
        return self._reference is not None or self.normaliser is not None

    @property
    def num_reference_events(self) -> int:
        """How many there are."""
        if self.normaliser is not None:
            return self.normaliser.events.num_events
        return 0 if self._reference is None else self._reference.num_events

    def with_events(self, events: Events) -> Unbinned:
        """The same channel with other events, rows of the same layout."""
        other = copy(self)
        other.events, other._last = events, None
        return other

    def subsample(self) -> Unbinned | None:
        """The same channel with an eighth of the events, where there are many; None: nowhere."""
        events, normaliser = self.events.every(STEP), None
        if isinstance(self.normaliser, Normaliser):
            normaliser = self.normaliser.part
        if events is None and normaliser is None:
            return None
        other = self.with_events(self.events if events is None else events)
        other.normaliser = self.normaliser if normaliser is None else normaliser
        other.control, other.rough = None, False
        return other

    def near(self, theta: Float, before: Unbinned | None) -> Unbinned | None:
        """The same channel near a point, whose sums take fewer reference events; see `_control`.

        Args:
            before: One from near another point, which is set right at this one. None: the one of
                `anchored`, or a new one.

        Returns:
            None: it would save little.
        """
        full = self.normaliser
        if not isinstance(full, Normaliser):
            return None
        plan, control = self.layout.plan(theta), self.control
        if before is not None and isinstance(before.normaliser, Control):
            control = before.normaliser.corrected(plan)
        elif control is None:
            control = Control.at(full, plan, self.events.num_events, second=False)
        if control is None:
            return None
        other = copy(self)
        other.normaliser, other.control, other._last = control, None, None
        return other

    def anchored(self, theta: Float) -> Unbinned:
        """The same channel; `near` starts from log Z with first and second derivatives here."""
        full, plan = self.normaliser, self.layout.plan(theta)
        if not isinstance(full, Normaliser):
            return self
        other = copy(self)
        if self.control is not None:
            other.control = self.control.corrected(plan)
        else:
            other.control = Control.at(full, plan, self.events.num_events, second=True)
        return other

    @property
    def sum_of_weights(self) -> float:
        """The number of observed events, weighted."""
        return self.events.sum_of_weights

    def value(self, theta: Float) -> float:
        """The term; NaN where a density is not positive."""
        last, point = self._last, theta.tobytes()
        if last is not None and last[0] == point:
            return last[1]
        plan = self.layout.plan(theta)
        expected = self.yields.values(theta)
        coefficients = expected
        if self.normaliser is not None:
            coefficients = expected * np.exp(-self.normaliser.values(plan))
        sums = self._density_sums(plan, coefficients, gradient=False)
        value = float(expected.sum() - sums.value)
        self._last = point, value
        return value

    def gradient(self, theta: Float) -> tuple[float, Float]:
        """The term and its derivatives, ``(parameter,)``."""
        plan = self.layout.plan(theta)
        expected, jacobian = self.yields.gradient(theta)
        coefficients, gradient = expected, jacobian
        if self.normaliser is not None:
            logs, log_gradient = self.normaliser.gradient(plan)
            shrink = np.exp(-logs)
            coefficients = expected * shrink
            gradient = (jacobian - expected[:, None] * log_gradient) * shrink[:, None]
        sums = self._density_sums(plan, coefficients, gradient=True)
        number = len(self.layout.processes)
        result = jacobian.sum(axis=0) - sums.rows[:number] @ gradient
        if self.layout.factors:
            result -= coefficients @ self.layout.slopes(plan, sums.rows)
        value = float(expected.sum() - sums.value)
        self._last = theta.tobytes(), value
        return value, result

    def _density_sums(
        self, plan: Plan, coefficients: Float, *, gradient: bool
    ) -> _kernels_numpy.Sums:
        return self._kernels.density_sums(
            self.events.rows,
            self.events.weights,
            self.layout,
            plan,
            coefficients,
            gradient=gradient,
        )

    def hessian(self, theta: Float) -> Float:
        """Second derivatives, ``(parameter, parameter)``.

        Raises:
            DensityError: A density is not positive.
        """
        plan = self.layout.plan(theta)
        expected, jacobian, curves = self.yields.hessian(theta)
        shrink = np.ones(len(expected))
        logs = np.zeros_like(shrink)
        log_gradient, log_hessian = np.zeros_like(jacobian), np.zeros_like(curves)
        if self.normaliser is not None:
            logs, log_gradient, log_hessian = self._log_z(plan)
            shrink = np.exp(-logs)
        coefficients = expected * shrink
        gradient = (jacobian - expected[:, None] * log_gradient) * shrink[:, None]
        sums = self._kernels.second_sums(
            self.events.rows, self.events.weights, self.layout, plan, coefficients, gradient
        )
        if sums.bad or not np.isfinite(expected.sum()):
            raise self.explain(theta)
        # second derivatives of the coefficients c, times the sums of terms
        share = sums.terms * shrink
        crossed = (share[:, None] * jacobian).T @ log_gradient
        weighted = (share * expected)[:, None] * log_gradient
        second = _added(share, curves) - crossed - crossed.T + weighted.T @ log_gradient
        second -= _added(share * expected, log_hessian)
        mixed = gradient.T @ sums.gradient
        second += mixed + mixed.T + _added(coefficients, sums.hessian)
        return np.asarray(curves.sum(axis=0) - second + sums.outer)

    def _log_z(self, plan: Plan) -> tuple[Float, Float, Float]:
        """log Z with first and second derivatives."""
        assert self.normaliser is not None
        if self.rough and self.control is not None:
            return *self.normaliser.gradient(plan), self.control.hessian(plan)[2]
        return self.normaliser.hessian(plan)

    def control_error(self, theta: Float) -> Float:
        """By how much `control` changes second derivatives, for the data that are expected."""
        assert isinstance(self.normaliser, Normaliser)
        assert self.control is not None
        plan = self.layout.plan(theta)
        exact, found = self.normaliser.hessian(plan)[2], self.control.hessian(plan)[2]
        return _added(self.yields.values(theta), found - exact)

    def score_covariance(self, theta: Float) -> Float:
        """``sum w^2 s s^T`` with s = d log density / d theta of an event."""
        plan = self.layout.plan(theta)
        expected, gradient = self.yields.gradient(theta)
        if self.normaliser is not None:
            logs, log_gradient = self.normaliser.gradient(plan)
            gradient = (gradient - expected[:, None] * log_gradient) * np.exp(-logs)[:, None]
            expected = expected * np.exp(-logs)
        weights = self.events.weights
        squares = None if weights is None else weights**2
        sums = self._kernels.second_sums(
            self.events.rows, squares, self.layout, plan, expected, gradient
        )
        return sums.outer

    def densities(self, theta: Float, columns: RatioColumns | None = None) -> Float:
        """The total density of each event over the reference's, times nu: ``(event,)``.

        Args:
            columns: Other events than the observed.
        """
        plan = self.layout.plan(theta)
        expected = self.yields.values(theta)
        if self.normaliser is not None:
            expected = expected * np.exp(-self.normaliser.values(plan))
        given = columns is not None and columns is not self.events.columns
        matrix = self.layout.matrix(columns, "given") if given else self.events.rows  # type: ignore[arg-type]
        parts = [
            expected @ block.terms
            for block in _kernels_numpy.blocks(matrix, None, self.layout, plan)
        ]
        return np.concatenate([np.empty(0), *parts])

    def explain(self, theta: Float) -> DensityError:
        """The error for a density that is not positive: where, how often, of which process."""
        with np.errstate(all="ignore"):
            return self._explain(theta)

    def _explain(self, theta: Float) -> DensityError:
        density = self.densities(theta)
        plan = self.layout.plan(theta)
        expected = self.yields.values(theta)
        at = ", ".join(
            f"{name}={value:.6g}" for name, value in zip(self.layout.names, theta, strict=True)
        )
        undefined = [
            name
            for name, value in zip(self.layout.processes, expected, strict=True)
            if not np.isfinite(value)
        ]
        at = at or "any point"
        if undefined:
            return DensityError(f"the yield of process {undefined[0]!r} is not a number at {at}")
        bad = np.flatnonzero(~((density > 0.0) & np.isfinite(density)))
        if not len(bad):
            return DensityError(f"the likelihood is not a finite number at {at}")
        endless = np.flatnonzero(~np.isfinite(density))
        bad = endless if len(endless) else bad
        rows = self.events.rows
        worst = rows.matrix(bad[:1]) if isinstance(rows, Store) else rows[:, bad[:1]]
        block = next(_kernels_numpy.blocks(worst, None, self.layout, plan))
        parts = expected * block.terms[:, 0]
        if len(endless):
            what = f"the density{self._endless(parts, plan)} is not a finite number at {at}"
        else:
            guilty = self.layout.processes[int(np.argmin(parts))]
            what = f"the total density, pulled down by process {guilty!r}, is not positive at {at}"
        return DensityError(offending(bad, density, what, len(density)))

    def _endless(self, parts: Float, plan: Plan) -> str:
        """The process whose density, or whose Z(alpha), is too large for a number."""
        logs = np.zeros_like(parts) if self.normaliser is None else self.normaliser.values(plan)
        broken = np.flatnonzero(~(np.isfinite(parts) & np.isfinite(logs)))
        return f" of process {self.layout.processes[broken[0]]!r}" if len(broken) else ""


def _added(factors: Float, matrices: Float) -> Float:
    """``sum_p factor[p] matrix[p]``."""
    return np.asarray(np.tensordot(factors, matrices, 1))
