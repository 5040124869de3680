"""Test statistics of one parameter, and probabilities from toys.

Source: G. Cowan, K. Cranmer, E. Gross, O. Vitells, https://arxiv.org/abs/1007.1727.
"""

from __future__ import annotations

import logging
import math
from typing import TypeVar

import numpy as np

from rootml._internal.types import Float
from rootml._internal.validators import check_number
from rootml.errors import ConvergenceError
from rootml.sbi.inference.fits._fit import FitResult, fit, newton_fit
from rootml.sbi.inference.minimum._minimise import within
from rootml.sbi.likelihood._fittable import Fittable, check_fittable

Value = TypeVar("Value", float, Float)
log = logging.getLogger(__name__)

_LOWER = 1e-3  # of -log L: more than minima that are the same differ by


class Statistic:
    """Fits of one likelihood for tests of one parameter, each made once.

    Args:
        like: The likelihood.
        name: The parameter of interest.
        null: Its value without a signal; the smallest physical value.
    """

    def __init__(self, like: Fittable, name: str, *, null: float = 0.0) -> None:
        check_fittable(like)
        self.like = like
        self.name = name
        self.null = check_number("null", null)
        self.best = fit(like).require_valid()
        self.best.check_free(name)
        self._held: dict[float, FitResult] = {}

    def held(self, value: float) -> FitResult:
        """The fit with the parameter held."""
        if value not in self._held:
            found = self._newton(value)
            if found is None:
                found = fit(self.like, fixed={self.name: value}, start=self.best.values)
            if not found.valid:
                message = f"no minimum with {self.name} = {value}: {'; '.join(found.problems)}"
                raise ConvergenceError(message)
            self._held[value] = found
            self._look_below(found)
        return self._held[value]

    def _look_below(self, held: FitResult) -> None:
        """Take another minimum for the best one if a fit with the parameter held is lower."""
        if held.nll > self.best.nll - _LOWER:
            return
        better = fit(self.like, start=within(self.like, held.values))
        if better.valid and better.nll < self.best.nll - _LOWER:
            log.warning(
                "a lower minimum than that of the fit, %s = %.6g, is at %.6g and taken instead",
                self.name, self.fitted, better.values[self.name],
            )  # fmt: skip
            self.best = better

    def known(self) -> list[float]:
        """Values of which the fit has been made."""
        return list(self._held)

    def _newton(self, value: float) -> FitResult | None:
        """Newton steps from the nearest fit; None: they fail, also by way of points between."""
        near = min((*self._held, self.fitted), key=lambda other: abs(other - value))
        known, found = self._held.get(near, self.best), None
        for points in (1, 4):
            for place in np.linspace(near, value, points + 1)[1:].tolist():
                held = {self.name: place}
                found = newton_fit(self.like, fixed=held, start=known.predicted(held))
                if found is None:
                    break
                known = found
            if found is not None:
                break
        return found

    @property
    def fitted(self) -> float:
        """The parameter's value at the minimum."""
        return self.best.values[self.name]

    def discovery(self) -> float:
        """q0: how much worse the null is; 0 for a downward fluctuation."""
        if self.fitted <= self.null:
            return 0.0
        held = self.held(self.null)  # may find a lower minimum
        if self.fitted <= self.null:
            return 0.0
        return max(2.0 * (held.nll - self.best.nll), 0.0)

    def upper(self, value: float) -> float:
        """q~: how much worse `value` is than the best at or above the null; 0 if that is above."""
        if self.fitted >= value:
            return 0.0
        null = self.held(self.null) if self.fitted < self.null else None
        held = self.held(value)  # may find a lower minimum
        if self.fitted >= value:
            return 0.0
        floor = self.best if null is None or self.fitted >= self.null else null
        return max(2.0 * (held.nll - floor.nll), 0.0)


def tied(q: Value) -> Value:
    """Where toys count as large as q: equal data give equal statistics, but for rounding."""
    return q - 1e-6 * (1.0 + q)


def upper_bound(number: int) -> float:
    """The 95 % upper limit on a probability of which no case was seen: ``1 - 0.05^(1 / n)``."""
    return float(-math.expm1(math.log(0.05) / number))
