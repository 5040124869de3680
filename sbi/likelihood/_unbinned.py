"""The unbinned channel: an extended mixture of processes over events."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from rootml.errors import DensityError, MissingPackageError, UsageError
from rootml.sbi.likelihood import _kernels_numpy
from rootml.sbi.likelihood._columns import RatioColumns, offending
from rootml.sbi.likelihood._interpolation import Array
from rootml.sbi.likelihood._layout import Layout, Plan
from rootml.sbi.likelihood._normaliser import Normaliser

if TYPE_CHECKING:
    from rootml.sbi.likelihood._model import Model

Engine: TypeAlias = Literal["auto", "compiled", "numpy"]


@dataclass(frozen=True, slots=True)
class Kernels:
    """The sums over events by one engine; see `_kernels_numpy` for what they are."""

    density_sums: Callable[..., _kernels_numpy.Sums]
    reference_sums: Callable[..., Array]
    second_sums: Callable[..., _kernels_numpy.SecondSums]


def kernels(engine: str) -> Kernels:
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
    return Kernels(first.density_sums, first.reference_sums, second.second_sums)


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
    ) -> None:
        self.model = model
        self.columns = columns
        self.reference = reference
        self.layout = Layout(model, columns, names)
        self.yields = model.yields()
        self._kernels = kernels(engine)
        self._matrix = self.layout.matrix(columns, "data")
        self._weights = columns.weights
        self.normaliser: Normaliser | None = None
        if self.layout.factors:
            known = share is not None and share.reference is reference and share.normaliser
            if share is not None and known and self.layout.factors == share.layout.factors:
                self.normaliser = share.normaliser
            else:
                self.normaliser = self._make_normaliser(reference)

    def _make_normaliser(self, reference: RatioColumns | None) -> Normaliser:
        if reference is None:
            factor = self.layout.factors[0]
            message = (
                f"the shape of process {self.layout.processes[factor.process]!r} changes with "
                f"{factor.nuisance!r}, so its density must be normalised by events of the "
                "reference: pass reference= with the same columns (without it, intervals of the "
                "nuisance parameter do not cover)"
            )
            raise UsageError(message)
        sums = self._kernels
        return Normaliser(self.layout, reference, sums.reference_sums, sums.second_sums)

    @property
    def sum_of_weights(self) -> float:
        """The number of observed events, weighted."""
        return self.columns.sum_of_weights

    def value(self, theta: Array) -> float:
        """The term; NaN where a density is not positive."""
        plan = self.layout.plan(theta)
        expected = self.yields.values(theta)
        coefficients = expected
        if self.normaliser is not None:
            coefficients = expected * np.exp(-self.normaliser.values(plan))
        sums = self._density_sums(plan, coefficients, gradient=False)
        return float(expected.sum() - sums.value)

    def gradient(self, theta: Array) -> tuple[float, Array]:
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
        for factor in self.layout.factors:
            starts = self.layout.first_exponential, self.layout.first_polynomial
            for start, place in zip(starts, (factor.exponential, factor.polynomial), strict=True):
                mine = slice(start + place.start, start + place.stop)
                result[factor.parameter] -= (
                    coefficients[factor.process] * plan.weights[1, mine] @ sums.rows[mine]
                )
        return float(expected.sum() - sums.value), result

    def _density_sums(
        self, plan: Plan, coefficients: Array, *, gradient: bool
    ) -> _kernels_numpy.Sums:
        return self._kernels.density_sums(
            self._matrix, self._weights, self.layout, plan, coefficients, gradient=gradient
        )

    def hessian(self, theta: Array) -> Array:
        """Second derivatives, ``(parameter, parameter)``."""
        plan = self.layout.plan(theta)
        expected, jacobian, curves = self.yields.hessian(theta)
        shrink = np.ones(len(expected))
        logs = np.zeros_like(shrink)
        log_gradient, log_hessian = np.zeros_like(jacobian), np.zeros_like(curves)
        if self.normaliser is not None:
            logs, log_gradient, log_hessian = self.normaliser.hessian(plan)
            shrink = np.exp(-logs)
        coefficients = expected * shrink
        gradient = (jacobian - expected[:, None] * log_gradient) * shrink[:, None]
        cross = jacobian[:, :, None] * log_gradient[:, None, :]
        square = log_gradient[:, :, None] * log_gradient[:, None, :] - log_hessian
        hessian = shrink[:, None, None] * (
            curves - cross - cross.transpose(0, 2, 1) + expected[:, None, None] * square
        )
        sums = self._kernels.second_sums(
            self._matrix, self._weights, self.layout, plan, coefficients, gradient
        )
        mixed = np.einsum("pk,pl->kl", gradient, sums.gradient)
        second = (
            np.einsum("pkl,p->kl", hessian, sums.terms)
            + mixed + mixed.T
            + np.einsum("p,pkl->kl", coefficients, sums.hessian)
        )  # fmt: skip
        return np.asarray(curves.sum(axis=0) - second + sums.outer)

    def score_covariance(self, theta: Array) -> Array:
        """``sum w^2 s s^T`` with s = d log density / d theta of an event."""
        plan = self.layout.plan(theta)
        expected, gradient = self.yields.gradient(theta)
        if self.normaliser is not None:
            logs, log_gradient = self.normaliser.gradient(plan)
            gradient = (gradient - expected[:, None] * log_gradient) * np.exp(-logs)[:, None]
            expected = expected * np.exp(-logs)
        squares = None if self._weights is None else self._weights**2
        sums = self._kernels.second_sums(
            self._matrix, squares, self.layout, plan, expected, gradient
        )
        return sums.outer

    def densities(self, theta: Array, columns: RatioColumns | None = None) -> Array:
        """The total density of each event over the reference's, times nu: ``(event,)``.

        Args:
            columns: Other events than the observed.
        """
        plan = self.layout.plan(theta)
        expected = self.yields.values(theta)
        if self.normaliser is not None:
            expected = expected * np.exp(-self.normaliser.values(plan))
        matrix = self._matrix if columns is None else self.layout.matrix(columns, "given")
        parts = [
            expected @ block.terms
            for block in _kernels_numpy.blocks(matrix, None, self.layout, plan)
        ]
        return np.concatenate([np.empty(0), *parts])

    def explain(self, theta: Array) -> DensityError:
        """The error for a density that is not positive: where, how often, of which process."""
        with np.errstate(all="ignore"):
            return self._explain(theta)

    def _explain(self, theta: Array) -> DensityError:
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
        if undefined:
            return DensityError(f"the yield of process {undefined[0]!r} is not a number at {at}")
        bad = np.flatnonzero(~((density > 0.0) & np.isfinite(density)))
        if not len(bad):
            return DensityError(f"the likelihood is not a finite number at {at}")
        endless = np.flatnonzero(~np.isfinite(density))
        bad = endless if len(endless) else bad
        worst = self.columns.take(bad[:1])
        block = next(
            _kernels_numpy.blocks(self.layout.matrix(worst, "data"), None, self.layout, plan)
        )
        parts = expected * block.terms[:, 0]
        if len(endless):
            what = f"the density{self._endless(parts, plan)} is not a finite number at {at}"
        else:
            guilty = self.layout.processes[int(np.argmin(parts))]
            what = f"the total density, pulled down by process {guilty!r}, is not positive at {at}"
        return DensityError(offending(bad, density, what, len(density)))

    def _endless(self, parts: Array, plan: Plan) -> str:
        """The process whose density, or whose Z(alpha), is too large for a number."""
        logs = np.zeros_like(parts) if self.normaliser is None else self.normaliser.values(plan)
        broken = np.flatnonzero(~(np.isfinite(parts) & np.isfinite(logs)))
        return f" of process {self.layout.processes[broken[0]]!r}" if len(broken) else ""
