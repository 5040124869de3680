"""`ParametricRatios`: density ratios that depend on parameters, and their likelihood."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rootml._internal.reprs import Facts, HtmlRepr, Part, facts_text
from rootml._internal.types import Float
from rootml.errors import DensityError, MissingParameterError, UsageError, nearest
from rootml.sbi.estimator.graph._assemble import member_output
from rootml.sbi.estimator.graph._graph import Graph
from rootml.sbi.estimator.graph._onnx import write_onnx
from rootml.sbi.estimator.inputs._events import ROWS, chunks
from rootml.sbi.estimator.ratios._merge import merged
from rootml.sbi.estimator.ratios._record import TrainingRecord
from rootml.sbi.likelihood._columns import offending, refuse
from rootml.sbi.likelihood._parameters import Parameter

if TYPE_CHECKING:
    from rootml.sbi.roofit import RooFitObjects

_STEP = 1e-4  # for second derivatives, relative to the range of a parameter


@dataclass(frozen=True)
class ParametricRatios(HtmlRepr):
    """The ratio p(x | theta) / p_ref(x), as a function of event and parameters.

    Made by `RatioEstimator.fit` with `parameters`, or read by `RatioEstimator.load`; evaluated by
    NumPy in float64, without torch.

    Attributes:
        inputs: The columns or expressions that an event consists of, evaluated for a Dataset.
        names: Names of the inputs in a dict of columns.
        parameters: Range of each parameter in the training; values outside are refused.
        reference: Name of the density in the denominator.
        members: Number of networks of the ensemble.
        record: Weights, losses and norms of the training.
        graph: The computation.
    """

    inputs: tuple[str, ...]
    names: tuple[str, ...]
    parameters: Mapping[str, tuple[float, float]]
    reference: str
    members: int
    record: TrainingRecord
    graph: Graph

    def log_ratio(self, data: Any, *, progress: bool | None = None, **theta: Any) -> Float:
        """log r(x | theta), `(events,)`, or `(events, points)` for many theta.

        Args:
            data: A Dataset, a dict of columns, or an array `(events, inputs)`.
            theta: A value for each parameter, or an array `(points,)` for each.

        Raises:
            MissingParameterError: One is missing or misspelt.
            UsageError: Outside the range of the training.
            NonFiniteError: An input that is NaN or infinite, or a ratio that is.
        """
        points, single = self._points(theta)
        found = [
            self._log_ratios(x, points)
            for x, _ in chunks(data, self.inputs, self.names, progress=progress)
        ]
        values = np.concatenate(found)
        sums = values.sum(axis=1)
        refuse(~np.isfinite(sums), sums, "the learned log ratio is NaN or infinite")
        return values[:, 0] if single else values

    def _log_ratios(self, x: Float, points: Float) -> Float:
        """`(events, points)`: the graph broadcasts whichever is shorter."""
        result = np.empty((len(x), len(points)))
        if len(points) <= len(x):
            for number, point in enumerate(points):
                found = self.graph.run(["log_ratio"], x=x, theta=point[None, :])
                result[:, number] = found["log_ratio"][:, 0]
            return result
        for number, event in enumerate(x):
            for start in range(0, len(points), ROWS):
                part = slice(start, start + ROWS)
                found = self.graph.run(["log_ratio"], x=event[None, :], theta=points[part])
                result[number, part] = found["log_ratio"][:, 0]
        return result

    def _points(self, theta: Mapping[str, Any]) -> tuple[Float, bool]:
        """The points `(points, parameters)`, and whether it is a single one."""
        single = all(np.ndim(value) == 0 for value in theta.values())
        arrays = {name: np.atleast_1d(value) for name, value in theta.items()}
        if len({array.shape for array in arrays.values()}) > 1 or any(
            array.ndim != 1 for array in arrays.values()
        ):
            shapes = {name: array.shape for name, array in arrays.items()}
            message = f"theta: expected a number or an array (points,) for each, not {shapes}"
            raise UsageError(message)
        ends = [
            {name: float(choose(array)) for name, array in arrays.items()}
            for choose in (np.min, np.max)
        ]
        for end in ends:
            self.point(end)
        return np.stack([arrays[name] for name in self.parameters], axis=1).astype(float), single

    def gradient(self, data: Any, *, progress: bool | None = None, **theta: float) -> Float:
        """Derivatives of log r(x | theta) by the parameters, `(events, parameters)`."""
        point = self.point(theta)[None, :]
        found = [
            self.graph.slopes("log_ratio", "theta", x=x, theta=point)[1][:, :, 0].T
            for x, _ in chunks(data, self.inputs, self.names, progress=progress)
        ]
        return np.concatenate(found)

    def likelihood(
        self, data: Any, *, start: Mapping[str, float] | None = None, member: int | None = None
    ) -> RatioLikelihood:
        """The likelihood of events, for `rootml.sbi.fit`; the data's weights count.

        Args:
            start: Where fits start; default: the middle of the range.
            member: One network of the ensemble instead of the average.

        Raises:
            UsageError: Weights that sum to zero; a start outside the range of the training.
        """
        parts = list(chunks(data, self.inputs, self.names))
        x = np.concatenate([x for x, _ in parts])
        some = [w for _, w in parts if w is not None]
        weights = np.concatenate(some) if some else None
        if weights is not None and abs(weights.sum()) <= 1e-12 * np.abs(weights).sum():
            message = f"the weights of {len(x):,} events sum to {weights.sum():g}"
            raise UsageError(message)
        return RatioLikelihood(self, x, weights, start or {}, member)

    def point(self, theta: Mapping[str, float]) -> Float:
        """The parameters in order.

        Raises:
            MissingParameterError: One is missing or misspelt.
            UsageError: Outside the range of the training.
        """
        for name in theta:
            if name not in self.parameters:
                message = f"no parameter {name!r}; available: {nearest(name, self.parameters)}"
                raise MissingParameterError(message)
        for name, (low, high) in self.parameters.items():
            if name not in theta:
                message = f"no value for the parameter {name!r}"
                raise MissingParameterError(message)
            if not low <= theta[name] <= high:
                message = f"{name}={theta[name]}: outside of the training range {low} to {high}"
                raise UsageError(message)
        return np.array([theta[name] for name in self.parameters], np.float64)

    @staticmethod
    def merge(parts: Sequence[ParametricRatios]) -> ParametricRatios:
        """One ensemble of all networks, as `Ratios.merge`.

        Raises:
            UsageError: Nothing to merge, or other samples, inputs or parameters.
        """
        chosen = list(parts)
        if not chosen:
            message = "merge() takes at least one ParametricRatios"
            raise UsageError(message)
        same = ("inputs", "names", "parameters", "reference")
        members, record, graph = merged(chosen, same, 1)
        return replace(chosen[0], members=members, record=record, graph=graph)

    def save(self, path: str | os.PathLike[str], *, rows: int | None = None) -> None:
        """Write one ONNX file, in float32.

        Inputs ``x`` `(rows, inputs)` and ``theta`` `(rows, parameters)`; outputs ``ratio``,
        ``log_ratio`` `(rows, 1)`, ``member0``, ... of each network. Otherwise as
        `Ratios.save`.
        """
        write_onnx(Path(path), self.graph, self._facts(), rows=rows)

    def _facts(self) -> dict[str, Any]:
        return {
            "kind": "parametric",
            "inputs": list(self.inputs),
            "names": list(self.names),
            "outputs": ["r"],
            "parameters": {name: list(ends) for name, ends in self.parameters.items()},
            "reference": self.reference,
            "members": self.members,
            "record": self.record.to_json(),
        }

    def _lines(self) -> list[tuple[str, str]]:
        ranges = [f"{name} in [{a:.4g}, {b:.4g}]" for name, (a, b) in self.parameters.items()]
        return [
            ("ParametricRatios", f"to {self.reference}"),
            ("inputs", ", ".join(self.inputs)),
            ("parameters", ", ".join(ranges)),
            ("ensemble", f"{self.members} network(s)"),
        ]

    def __repr__(self) -> str:
        return f"{facts_text(self._lines())}\n\n{self.record}"

    def _html_parts(self) -> Iterable[Part]:
        return [self._lines(), *self.record._html_parts()]


class RatioLikelihood(HtmlRepr):
    """Minus log L = - sum_i w_i log r(x_i | theta), for `rootml.sbi.fit`.

    Not extended: the number of events carries no information about theta.

    Attributes:
        ratios: The learned ratios.
        x: Inputs, `(events, inputs)`.
        weights: `(events,)`, or None.
    """

    def __init__(
        self,
        ratios: ParametricRatios,
        x: Float,
        weights: Float | None,
        start: Mapping[str, float],
        member: int | None = None,
    ) -> None:
        self.ratios = ratios
        self.x = x
        self.weights = weights
        middle = {name: 0.5 * (a + b) for name, (a, b) in ratios.parameters.items()}
        first = ratios.point({**middle, **start})
        if member is not None and not 0 <= member < ratios.members:
            message = f"member={member}: the ensemble has {ratios.members}, counted from 0"
            raise UsageError(message)
        self._output = "log_ratio" if member is None else member_output(member)
        self._parameters = {
            name: Parameter(float(value), lower=low, upper=high)
            for value, (name, (low, high)) in zip(first, ratios.parameters.items(), strict=True)
        }

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """All parameters by name, in the order of theta."""
        return MappingProxyType(self._parameters)

    @property
    def observed(self) -> Mapping[str, float]:
        """No auxiliary measurements."""
        return {}

    @property
    def weighted(self) -> bool:
        """Whether the events have weights other than 1."""
        return self.weights is not None and bool((self.weights != 1.0).any())

    @property
    def start(self) -> Float:
        """Start values, `(parameters,)`."""
        return np.array([p.value for p in self._parameters.values()])

    def __call__(self, **theta: float) -> float:
        """Minus log L, up to a constant."""
        return self.nll(self.ratios.point(theta))

    def gradient(self, **theta: float) -> dict[str, float]:
        """Derivatives by each parameter."""
        slopes = self.nll_gradient(self.ratios.point(theta))[1]
        return dict(zip(self._parameters, slopes.tolist(), strict=True))

    def hessian(self, **theta: float) -> Float:
        """Second derivatives, `(parameters, parameters)`."""
        return self.nll_hessian(self.ratios.point(theta))

    def nll(self, theta: Sequence[float] | Float, *, strict: bool = True) -> float:
        """Minus log L at `theta`, in the order of `parameters`.

        Args:
            strict: Raise if it is not finite; otherwise return NaN.
        """
        point = np.asarray(theta, np.float64)[None, :]
        total = 0.0
        for x, w in self._parts():
            value = self.ratios.graph.run([self._output], x=x, theta=point)[self._output]
            total -= float(np.dot(w, value[:, 0]))
        return self._finite(total, point[0], strict=strict)

    def nll_gradient(
        self, theta: Sequence[float] | Float, *, strict: bool = True
    ) -> tuple[float, Float]:
        """Minus log L and its gradient, `(parameters,)`."""
        point = np.asarray(theta, np.float64)[None, :]
        total, slopes = 0.0, np.zeros(point.shape[1])
        for x, w in self._parts():
            value, move = self.ratios.graph.slopes(self._output, "theta", x=x, theta=point)
            total -= float(np.dot(w, value[:, 0]))
            slopes -= move[:, :, 0] @ w
        return self._finite(total, point[0], strict=strict), slopes

    def nll_hessian(self, theta: Sequence[float] | Float) -> Float:
        """Second derivatives: central differences of the gradient."""
        point = np.asarray(theta, np.float64)
        size = len(point)
        matrix = np.empty((size, size))
        ranges = [high - low for low, high in self.ratios.parameters.values()]
        for j, width in enumerate(ranges):
            step = np.zeros(size)
            step[j] = _STEP * width
            above, below = self.nll_gradient(point + step)[1], self.nll_gradient(point - step)[1]
            matrix[j] = (above - below) / (2 * step[j])
        return 0.5 * (matrix + matrix.T)

    def score_covariance(self, theta: Sequence[float] | Float) -> Float:
        """Covariance of the gradient for weighted events: ``sum w^2 s s^T``."""
        point = np.asarray(theta, np.float64)[None, :]
        total = np.zeros((point.shape[1], point.shape[1]))
        for x, w in self._parts():
            move = self.ratios.graph.slopes(self._output, "theta", x=x, theta=point)[1]
            scores = move[:, :, 0] * w
            total += scores @ scores.T
        return total

    def explain(self, point: Sequence[float] | Float) -> DensityError:
        """The error for a point without a finite likelihood; names the events."""
        theta = np.asarray(point, np.float64)[None, :]
        runs = [self.ratios.graph.run([self._output], x=x, theta=theta) for x, _ in self._parts()]
        values = np.concatenate([np.empty(0), *(r[self._output][:, 0] for r in runs)])
        at = ", ".join(f"{k}={v:.6g}" for k, v in zip(self._parameters, theta[0], strict=True))
        bad = np.flatnonzero(~np.isfinite(values))
        if not len(bad):
            return DensityError(f"the log likelihood is not a finite number at {at}")
        what = f"the learned log ratio is not a finite number at {at}"
        return DensityError(offending(bad, values, what, len(values)))

    def to_roofit(self, route: Literal["nll"] = "nll") -> RooFitObjects:
        """RooFit's NLL of this likelihood: see `rootml.sbi.roofit.to_roofit`."""
        from rootml.sbi.roofit import to_roofit

        return to_roofit(self, route)

    def _parts(self) -> list[tuple[Float, Float]]:
        ends = range(0, len(self.x), ROWS)
        weights = np.ones(len(self.x)) if self.weights is None else self.weights
        return [(self.x[a : a + ROWS], weights[a : a + ROWS]) for a in ends]

    def _finite(self, total: float, point: Float, *, strict: bool) -> float:
        if math.isfinite(total):
            return total
        if strict:
            raise self.explain(point)
        return math.nan

    def _html_title(self) -> str:
        return "RatioLikelihood"

    def _html_parts(self) -> list[Facts]:
        return [[("events", f"{len(self.x):,}"), ("parameters", ", ".join(self._parameters))]]

    def __repr__(self) -> str:
        return facts_text([("RatioLikelihood", ""), *self._html_parts()[0]])
