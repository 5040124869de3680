"""Constraints of nuisance parameters by their auxiliary measurements.

Minus the logarithm of the distribution of the outcome `g` given the parameter `a`, without terms
that depend on neither::

    gaussian     (a - g)^2 / (2 width^2)
    lognormal    (log g - log a)^2 / (2 log(width)^2)
    poisson      width a - g log(width a)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float
from rootml.sbi.likelihood._parameters import Nuisance

Indices: TypeAlias = npt.NDArray[np.intp]


class Constraints:
    """All constraints of a likelihood.

    Args:
        nuisances: Nuisance parameters by name.
        names: All parameters, in the order of theta.
        observed: Outcomes of the auxiliary measurements.

    >>> Constraints({"a": Nuisance()}, ["mu", "a"], {"a": 0.5}).value(np.array([1.0, 2.5]))
    2.0
    """

    def __init__(
        self, nuisances: Mapping[str, Nuisance], names: list[str], observed: Mapping[str, float]
    ) -> None:
        self.number = len(names)
        kinds: dict[str, list[str]] = {"gaussian": [], "lognormal": [], "poisson": []}
        for name, nuisance in nuisances.items():
            if nuisance.constraint != "none":
                kinds[nuisance.constraint].append(name)

        def place(kind: str) -> Indices:
            return np.array([names.index(name) for name in kinds[kind]], np.intp)

        def width(kind: str) -> Float:
            return np.array([nuisances[name].width for name in kinds[kind]], np.float64)

        def outcome(kind: str) -> Float:
            return np.array([observed[name] for name in kinds[kind]], np.float64)

        self._gauss = place("gaussian"), outcome("gaussian"), width("gaussian") ** -2
        log_width = np.log(width("lognormal"))
        self._log = place("lognormal"), np.log(outcome("lognormal")), log_width**-2
        self._count = place("poisson"), outcome("poisson"), width("poisson")

    def value(self, theta: Float) -> float:
        """The sum of all terms."""
        where, outcome, inverse = self._gauss
        total = 0.5 * float(((theta[where] - outcome) ** 2 * inverse).sum())
        where, outcome, inverse = self._log
        if len(where):
            total += 0.5 * float(((np.log(theta[where]) - outcome) ** 2 * inverse).sum())
        where, outcome, scale = self._count
        if len(where):
            mean = scale * theta[where]
            total += float((mean - outcome * np.log(mean)).sum())
        return total

    def excess(self, theta: Float) -> float:
        """The same, less what it is where each parameter agrees with its measurement."""
        best = theta.copy()
        for where, outcome in (self._gauss[:2], (self._log[0], np.exp(self._log[1]))):
            best[where] = outcome
        where, outcome, scale = self._count
        best[where] = np.maximum(outcome, 1e-300) / scale
        return self.value(theta) - self.value(best)

    def gradient(self, theta: Float) -> Float:
        """Its derivatives, ``(parameter,)``."""
        gradient = np.zeros(self.number)
        where, outcome, inverse = self._gauss
        gradient[where] += (theta[where] - outcome) * inverse
        where, outcome, inverse = self._log
        if len(where):
            gradient[where] += (np.log(theta[where]) - outcome) * inverse / theta[where]
        where, outcome, scale = self._count
        if len(where):
            gradient[where] += scale - outcome / theta[where]
        return gradient

    def curvature(self, theta: Float) -> Float:
        """Its second derivatives, ``(parameter,)``: constraints do not mix parameters."""
        hessian = np.zeros(self.number)
        where, _, inverse = self._gauss
        hessian[where] += inverse
        where, outcome, inverse = self._log
        if len(where):
            hessian[where] += inverse * (1.0 - np.log(theta[where]) + outcome) / theta[where] ** 2
        where, outcome, _ = self._count
        if len(where):
            hessian[where] += outcome / theta[where] ** 2
        return hessian
