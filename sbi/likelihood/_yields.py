"""Expected yields of all processes and their derivatives by the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.likelihood._expressions import Formula, Function
from rootml.sbi.likelihood._interpolation import Factors
from rootml.sbi.likelihood._parameters import Nuisance


class _Effects:
    """The factors of one interpolation code: pairs of process and nuisance."""

    def __init__(self, code: str, entries: Sequence[tuple[int, int, float, float]]) -> None:
        self.process = np.array([e[0] for e in entries])
        self.parameter = np.array([e[1] for e in entries])
        up, down = (np.array([e[i] for e in entries]) for i in (2, 3))
        self._factors = Factors(code, up, down)

    def __call__(self, theta: Float) -> tuple[Float, Float, Float]:
        return self._factors(theta[self.parameter])


class Yields:
    """``nu_p(theta)``: the expression of process p times its nuisances' effects.

    Args:
        formulas: The expression of each process.
        nuisances: Nuisance parameters, with their effects on yields.
        names: All parameters, in the order of theta.

    >>> formulas = {"S": Formula.parse("mu * 3"), "B": Formula.parse("7")}
    >>> yields = Yields(formulas, {}, ["mu"])
    >>> yields.values([2.0])
    array([6., 7.])
    """

    def __init__(
        self,
        formulas: Mapping[str, Formula],
        nuisances: Mapping[str, Nuisance],
        names: Sequence[str],
    ) -> None:
        names = list(names)
        self._given = formulas, nuisances, names
        self.number: int = len(names)
        self._values = [formula.function(names) for formula in formulas.values()]
        self._gradients = [_first_derivatives(formula, names) for formula in formulas.values()]
        self._hessians = [_second_derivatives(formula, names) for formula in formulas.values()]
        entries = _entries(list(formulas), nuisances, names)
        self._effects = [_Effects(code, rows) for code, rows in entries.items()]

    def __reduce__(self) -> tuple[Any, ...]:
        return Yields, self._given  # functions are made again: they cannot be sent

    def values(self, theta: Sequence[float] | Float) -> Float:
        """Expected yields, ``(process,)``."""
        plain = [float(v) for v in theta]
        values = np.array([function(plain) for function in self._values])
        array = np.asarray(plain)
        for effect in self._effects:
            np.multiply.at(values, effect.process, effect(array)[0])
        return values

    def gradient(self, theta: Sequence[float] | Float) -> tuple[Float, Float]:
        """Values, and their derivatives of shape ``(process, parameter)``."""
        base, gradient = self._base(theta)
        if not self._effects:
            return base, gradient
        factor, log_gradient, _ = self._factor(np.asarray(theta, np.float64), second=False)
        jacobian = factor[:, None] * (gradient + base[:, None] * log_gradient)
        return base * factor, jacobian

    def hessian(self, theta: Sequence[float] | Float) -> tuple[Float, Float, Float]:
        """Values, gradient and second derivatives ``(process, parameter, parameter)``."""
        base, gradient = self._base(theta)
        hessian = np.zeros((len(base), self.number, self.number))
        plain = [float(v) for v in theta]
        for p, functions in enumerate(self._hessians):
            for i, j, function in functions:
                hessian[p, i, j] = hessian[p, j, i] = function(plain)
        if not self._effects:
            return base, gradient, hessian
        factor, logs, log_hessian = self._factor(np.asarray(theta, np.float64), second=True)
        jacobian = factor[:, None] * (gradient + base[:, None] * logs)
        cross = gradient[:, :, None] * logs[:, None, :]
        curved = logs[:, :, None] * logs[:, None, :]
        curved[:, np.arange(self.number), np.arange(self.number)] += log_hessian
        second = hessian + cross + cross.transpose(0, 2, 1) + base[:, None, None] * curved
        return base * factor, jacobian, factor[:, None, None] * second

    def _base(self, theta: Sequence[float] | Float) -> tuple[Float, Float]:
        plain = [float(v) for v in theta]
        base = np.array([function(plain) for function in self._values])
        gradient = np.zeros((len(base), self.number))
        for p, functions in enumerate(self._gradients):
            for i, function in functions:
                gradient[p, i] = function(plain)
        return base, gradient

    def _factor(self, theta: Float, *, second: bool) -> tuple[Float, Float, Float]:
        """Product of effects, d log / d theta, and d^2 log / d theta_k^2 (each effect has one)."""
        factor = np.ones(len(self._values))
        logs = np.zeros((len(factor), self.number))
        hessian = np.zeros_like(logs)
        for effect in self._effects:
            value, first, curve = effect(theta)
            np.multiply.at(factor, effect.process, value)
            logs[effect.process, effect.parameter] += first / value
            if second:
                hessian[effect.process, effect.parameter] += curve / value - (first / value) ** 2
        return factor, logs, hessian


def _first_derivatives(formula: Formula, names: list[str]) -> list[tuple[int, Function]]:
    used = [name for name in names if name in formula.names]
    return [(names.index(n), formula.derivative(n).function(names)) for n in used]


def _second_derivatives(formula: Formula, names: list[str]) -> list[tuple[int, int, Function]]:
    used = [name for name in names if name in formula.names]
    found = []
    for i, first in enumerate(used):
        derivative = formula.derivative(first)
        for second in used[i:]:
            both = derivative.derivative(second)
            if both != Formula.parse("0"):
                found.append((names.index(first), names.index(second), both.function(names)))
    return found


def _entries(
    processes: list[str], nuisances: Mapping[str, Nuisance], names: list[str]
) -> dict[str, list[tuple[int, int, float, float]]]:
    """By interpolation code: process, parameter, and the factors at +1 and at -1."""
    found: dict[str, list[tuple[int, int, float, float]]] = {}
    for name, nuisance in nuisances.items():
        for process, (up, down) in nuisance.yields.items():  # type: ignore[misc]
            entry = (processes.index(process), names.index(name), up, down)
            found.setdefault(nuisance.yield_interpolation, []).append(entry)
    return found
