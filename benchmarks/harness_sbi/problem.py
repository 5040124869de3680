"""Signal over background with one nuisance on the background's shape; all ratios exact.

A Gaussian peak on an exponential whose slope changes with ``alpha``; yields ``mu s`` and ``b``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml import sbi

Array = npt.NDArray[np.float64]
UPPER, MEAN, WIDTH, SLOPE, CHANGE, SIGNAL = 10.0, 4.0, 0.6, 0.35, 0.12, 0.1
REFERENCE = 20_000
START = {"mu": 0.5, "alpha": 0.5}


def peak(x: Array) -> Array:
    """The signal's density (its tails beyond the range are below 1e-10)."""
    pull = (x - MEAN) / WIDTH
    return np.asarray(np.exp(-0.5 * pull**2) / (WIDTH * np.sqrt(2.0 * np.pi)))


def falling(x: Array, alpha: float) -> Array:
    """The background's density on ``[0, UPPER]``."""
    slope = SLOPE * (1.0 + CHANGE * alpha)
    return np.asarray(slope * np.exp(-slope * x) / -np.expm1(-slope * UPPER))


def sample(events: int, seed: int) -> Array:
    """Events of both processes at mu = 1 and alpha = 0."""
    rng = np.random.default_rng(seed)
    signal = round(SIGNAL * events)
    flat = rng.uniform(size=events - signal)
    background = -np.log1p(flat * np.expm1(-SLOPE * UPPER)) / SLOPE
    return rng.permutation(np.concatenate([rng.normal(MEAN, WIDTH, signal), background]))


def columns(x: Array) -> dict[str, Any]:
    """Ratios to the sum of both processes."""
    reference = SIGNAL * peak(x) + (1.0 - SIGNAL) * falling(x, 0.0)
    nominal, up, down = (falling(x, alpha) / reference for alpha in (0.0, 1.0, -1.0))
    return {"S": peak(x) / reference, "B": {"nominal": nominal, "alpha": (up, down)}}


@dataclass(frozen=True)
class Problem:
    """The problem with a number of events, its shape interpolated by `code`."""

    events: int
    code: str = "log-quadratic"
    seed: int = 1

    @cached_property
    def ratios(self) -> dict[str, Any]:
        """Columns of the observed events."""
        return columns(sample(self.events, self.seed))

    @property
    def signal(self) -> float:
        """Expected signal events at mu = 1."""
        return SIGNAL * self.events

    @property
    def background(self) -> float:
        """Expected background events."""
        return (1.0 - SIGNAL) * self.events

    @cached_property
    def likelihood(self) -> sbi.Likelihood:
        """Ours."""
        model = sbi.Model(
            {"S": f"mu * {self.signal!r}", "B": self.background},
            {"mu": sbi.Parameter(1.0, lower=0.0, upper=5.0)},
            {"alpha": sbi.Nuisance(interpolation=self.code, lower=-5.0, upper=5.0)},
        )
        return model.likelihood(self.ratios, reference=columns(sample(REFERENCE, 2)))

    @cached_property
    def plain(self) -> dict[str, Array]:
        """What a function over columns needs: ratios and two columns for the background's shape.

        Log-quadratic: A and C of ``exp(A alpha + C alpha^2)``; code 5: ratios at +1 and -1, from
        which published code interpolates at every call.
        """
        ratios = {"rS": self.ratios["S"], "rB": self.ratios["B"]["nominal"]}
        up, down = self.ratios["B"]["alpha"]
        if self.code == "code5":
            return ratios | {"up": up, "down": down}
        return ratios | dict(zip("AC", halves(up, down, ratios["rB"]), strict=True))

    @cached_property
    def log_z(self) -> Callable[[float], float]:
        """log Z(alpha) as polynomials, from the reference events."""
        reference = columns(sample(REFERENCE, 2))["B"]
        nominal, (up, down) = reference["nominal"], reference["alpha"]
        weight = nominal / nominal.sum()
        factor = code5 if self.code == "code5" else log_quadratic
        pieces = []
        for low, high in ((-5.0, -1.0), (-1.0, 1.0), (1.0, 5.0)):
            alpha = np.linspace(low, high, 25)
            values = [np.log(weight @ factor(nominal, up, down, float(a))) for a in alpha]
            pieces.append(np.polynomial.Polynomial.fit(alpha, values, 8))
        return lambda alpha: float(pieces[int(alpha >= -1.0) + int(alpha >= 1.0)](alpha))


def halves(up: Array, down: Array, nominal: Array) -> tuple[Array, Array]:
    """A and C."""
    log_up, log_down = np.log(up / nominal), np.log(down / nominal)
    return 0.5 * (log_up - log_down), 0.5 * (log_up + log_down)


def log_quadratic(nominal: Array, up: Array, down: Array, alpha: float) -> Array:
    """The shape over nominal."""
    slope, curve = halves(up, down, nominal)
    return np.asarray(np.exp(alpha * slope + alpha**2 * curve))


def code5(nominal: Array, up: Array, down: Array, alpha: float) -> Array:
    """The same by HistFactory's code 5, as published code for unbinned fits writes it."""
    high, low = up / nominal, down / nominal
    if abs(alpha) >= 1.0:
        return np.asarray(high**alpha if alpha > 0.0 else low**-alpha)
    log_high, log_low = np.log(high), np.log(low)
    high1, low1 = high * log_high, -low * log_low
    high2, low2 = high1 * log_high, -low1 * log_low
    s0, a0 = 0.5 * (high + low), 0.5 * (high - low)
    s1, a1 = 0.5 * (high1 + low1), 0.5 * (high1 - low1)
    s2, a2 = 0.5 * (high2 + low2), 0.5 * (high2 - low2)
    powers = (
        (15 * a0 - 7 * s1 + a2) / 8,
        (-24 + 24 * s0 - 9 * a1 + s2) / 8,
        (-5 * a0 + 5 * s1 - a2) / 4,
        (12 - 12 * s0 + 7 * a1 - s2) / 4,
        (3 * a0 - 3 * s1 + a2) / 8,
        (-8 + 8 * s0 - 5 * a1 + s2) / 8,
    )
    total = np.ones_like(nominal)
    for power, coefficient in enumerate(powers, 1):
        total += coefficient * alpha**power
    return total
