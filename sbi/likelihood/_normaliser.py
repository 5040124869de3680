"""Z(alpha): what keeps a morphed density a density.

A shape that is interpolated event by event integrates to 1 only where it was simulated (-1, 0,
+1); in a fit, N events multiply the error: without the correction, intervals of a nuisance
parameter covered 12 % where 68 % was due. The integral is a mean over events of the reference::

    Z_p(alpha) = sum_ref w r_p f_p(alpha) / sum_ref w r_p
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rootml._internal.types import Float
from rootml.errors import DensityError
from rootml.sbi.likelihood._kernels_numpy import SecondSums, reference_sums, second_sums
from rootml.sbi.likelihood._layout import Layout, Plan
from rootml.sbi.likelihood._store import Events, Store

ReferenceSums: TypeAlias = Callable[..., Float]  # see `_kernels_numpy.reference_sums`
STEP = 8  # one of so many blocks of events does for a place near the minimum


def _nominal(rows: Store | Float, processes: int) -> Float:
    return rows.first_rows(processes) if isinstance(rows, Store) else rows[:processes]


class _Last(NamedTuple):
    """What was found at the last point, none of it writeable."""

    point: bytes
    logs: Float
    gradient: Float | None


class _Curved(NamedTuple):
    """The same with second derivatives."""

    point: bytes
    logs: Float
    gradient: Float
    hessian: Float


class Normaliser:
    """``log Z`` of every process with its derivatives; 0 where no shape changes.

    What was found at the last point is kept: a fit that moves a signal strength, or takes its
    gradient where it has been, sums over the reference no more.

    Args:
        layout: Rows of the matrix.
        events: The reference events and their weights.
        sums: The kernel that sums over them.
        second: The one for second derivatives.
    """

    def __init__(
        self,
        layout: Layout,
        events: Events,
        sums: ReferenceSums = reference_sums,
        second: Callable[..., SecondSums] = second_sums,
    ) -> None:
        self.layout = layout
        self.events = events
        self._sums = sums
        self._second = second
        self._last: _Last | None = None  # replaced as a whole: threads may share this
        self._curved: _Curved | None = None  # likewise
        self._matrix = events.rows
        self._shaped = layout.shaped
        nominal = _nominal(events.rows, len(layout.processes))
        weights = events.weights
        self._nominal = nominal.sum(axis=1) if weights is None else nominal @ weights
        for p in self._shaped:
            if not self._nominal[p] > 0.0 and not self._nominal[p] < 0.0:
                message = (
                    f"the reference events have no density of process {layout.processes[p]!r}: "
                    "its ratios sum to zero over them"
                )
                raise DensityError(message)

    def values(self, plan: Plan) -> Float:
        """``log Z``, ``(process,)``."""
        last = self._last
        if last is None or last.point != plan.point:
            weights = self.events.weights
            rows = self._sums(self._matrix, weights, self.layout, plan, gradient=False)
            last = self._keep(plan, self._logs(rows), None)
        return last.logs

    def _keep(self, plan: Plan, logs: Float, gradient: Float | None) -> _Last:
        for array in (logs, gradient):
            if array is not None:
                array.flags.writeable = False
        self._last = last = _Last(plan.point, logs, gradient)
        return last

    def _logs(self, rows: Float) -> Float:
        logs = np.zeros(len(self.layout.processes))
        for p in self._shaped:
            logs[p] = np.log(rows[p] / self._nominal[p])
        return logs

    def gradient(self, plan: Plan) -> tuple[Float, Float]:
        """``log Z`` and its derivatives, ``(process, parameter)``."""
        last = self._last
        if last is not None and last.point == plan.point and last.gradient is not None:
            return last.logs, last.gradient
        rows = self._sums(self._matrix, self.events.weights, self.layout, plan)
        logs = self._logs(rows)
        gradient, shaped = np.zeros((len(logs), len(self.layout.names))), self._shaped
        gradient[shaped] = self.layout.slopes(plan, rows)[shaped] / rows[shaped, None]
        self._keep(plan, logs, gradient)
        return logs, gradient

    def hessian(self, plan: Plan) -> tuple[Float, Float, Float]:
        """``log Z``, gradient and second derivatives ``(process, parameter, parameter)``."""
        last = self._curved
        if last is None or last.point != plan.point:
            sums = self._second(self._matrix, self.events.weights, self.layout, plan, None, None)
            last = _Curved(plan.point, self._logs(sums.terms), *self._derivatives(sums))
            for array in last[1:]:
                array.flags.writeable = False
            self._curved = last
        return last[1:]

    def curves(self, hessian: Float) -> Float:
        """Second derivatives by the parameters of shapes, ``(process, shaper, shaper)``."""
        places = self.layout.shapers
        return np.asarray(hessian[:, places[:, None], places])

    @cached_property
    def part(self) -> Normaliser | None:
        """The same by an eighth of the events, in the same memory; None: there are not many."""
        part = self.events.every(STEP)
        return None if part is None else Normaliser(self.layout, part, self._sums, self._second)

    def __getstate__(self) -> dict[str, Any]:
        kept = {key: value for key, value in self.__dict__.items() if key != "part"}
        return kept | {"_last": None, "_curved": None}  # found again where it is sent

    def _derivatives(self, sums: SecondSums) -> tuple[Float, Float]:
        """Of log Z, first and second."""
        gradient, hessian = np.zeros_like(sums.gradient), np.zeros_like(sums.hessian)
        for p in self._shaped:
            gradient[p] = sums.gradient[p] / sums.terms[p]
            hessian[p] = sums.hessian[p] / sums.terms[p] - np.outer(gradient[p], gradient[p])
        return gradient, hessian
