"""Problems of sbi whose densities are known: columns from them are exact, so is the likelihood."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml import sbi

Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SignalBackground:
    """A Gaussian on an exponential of slope ``0.35 (1 + 0.12 jes)`` in [0, 10]; 10 % signal.

    The reference is the mixture at mu = 1, jes = 0.
    """

    events: float = 1000.0

    low, high, mean, width, slope, change = 0.0, 10.0, 4.0, 0.6, 0.35, 0.12

    @property
    def yields(self) -> tuple[float, float]:
        """Expected signal and background."""
        return 0.1 * self.events, 0.9 * self.events

    def signal(self, x: Array) -> Array:
        """Its density."""
        edges = [(e - self.mean) / (self.width * math.sqrt(2.0)) for e in (self.low, self.high)]
        norm = 0.5 * (math.erf(edges[1]) - math.erf(edges[0]))
        z = (x - self.mean) / self.width
        return np.asarray(np.exp(-0.5 * z * z) / (self.width * math.sqrt(2.0 * math.pi) * norm))

    def background(self, x: Array, jes: float = 0.0) -> Array:
        """Its density."""
        rate = self.slope * (1.0 + self.change * jes)
        return np.asarray(rate * np.exp(-rate * x) / -math.expm1(-rate * self.high))

    def columns(self, x: Array) -> dict[str, Any]:
        """Exact ratios."""
        reference = 0.1 * self.signal(x) + 0.9 * self.background(x)
        return {
            "S": self.signal(x) / reference,
            "B": {
                "nominal": self.background(x) / reference,
                "jes": tuple(self.background(x, side) / reference for side in (1.0, -1.0)),
            },
        }

    def reference(self, points: int = 2000) -> sbi.RatioColumns:
        """The reference on a grid of the midpoint rule: its sums are integrals."""
        step = (self.high - self.low) / points
        x: Array = np.asarray(self.low + step * (np.arange(points) + 0.5), np.float64)
        weights = 0.1 * self.signal(x) + 0.9 * self.background(x)
        return sbi.RatioColumns(self.columns(x), weights * step)

    def draw(self, rng: np.random.Generator, mu: float = 1.0, jes: float = 0.0) -> Array:
        """One data set."""
        counts = [rng.poisson(n) for n in (mu * self.yields[0], self.yields[1])]
        peak = rng.normal(self.mean, self.width, counts[0])
        rate = self.slope * (1.0 + self.change * jes)
        u = rng.uniform(size=counts[1])
        tail = -np.log1p(u * math.expm1(-rate * self.high)) / rate
        return np.concatenate([peak[(peak > self.low) & (peak < self.high)], tail])

    def model(self, **nuisance: Any) -> sbi.Model:
        """The model; arguments go to the nuisance."""
        signal, background = self.yields
        return sbi.Model(
            {"S": f"mu * {signal}", "B": background},
            {"mu": sbi.Parameter(1.0, lower=0.0, upper=5.0)},
            {"jes": sbi.Nuisance(**nuisance)},
        )

    def likelihood(self, x: Array, *, engine: str = "auto", **nuisance: Any) -> sbi.Likelihood:
        """The likelihood of some data."""
        return self.model(**nuisance).likelihood(
            self.columns(x), reference=self.reference(), engine=engine
        )

    def analytic(self, x: Array, mu: float, jes: float, outcome: float = 0.0) -> float:
        """Minus log L from the densities, up to the reference's."""
        signal, background = self.yields
        density = mu * signal * self.signal(x) + background * self.background(x, jes)
        return float(mu * signal + background - np.log(density).sum() + 0.5 * (jes - outcome) ** 2)


def draw_toy(rng: np.random.Generator, truth: Mapping[str, float]) -> sbi.RatioColumns:
    """A generator of toys for `SignalBackground`, found by its name."""
    problem = SignalBackground()
    return sbi.RatioColumns(problem.columns(problem.draw(rng, truth["mu"], truth["jes"])))


def many_nuisances(
    events: int, nuisances: int, *, seed: int = 0, processes: int = 3, reference: int = 2000,
    codes: tuple[str, ...] = ("log-quadratic",), weighted: bool = False, curved: bool = True,
) -> tuple[sbi.Model, sbi.RatioColumns, sbi.RatioColumns]:  # fmt: skip
    """Synthetic columns: every nuisance tilts every process by a few per cent."""
    rng = np.random.default_rng(seed)

    def columns(number: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for p in range(processes):
            ratio = np.exp(rng.normal(0.0, 0.5, number) - 0.125)
            shape: dict[str, Any] = {"nominal": ratio}
            for k in range(nuisances):
                tilt = rng.normal(0.0, 0.03, number)
                bend = rng.uniform(-0.005, 0.005, number) if curved else 0.0
                shape[f"a{k}"] = ratio * np.exp(tilt + bend), ratio * np.exp(-tilt + bend)
            found[f"P{p}"] = shape
        return found

    expected = [0.1 * events, *([0.9 * events / max(processes - 1, 1)] * (processes - 1))]
    model = sbi.Model(
        {f"P{p}": f"mu * {n}" if p == 0 else n for p, n in enumerate(expected)},
        {"mu": sbi.Parameter(1.0, lower=0.0, upper=10.0)},
        {
            f"a{k}": sbi.Nuisance(
                interpolation=codes[k % len(codes)], yields={"P1": (1.02, 0.97)},
                yield_interpolation=codes[k % len(codes)],
            )
            for k in range(nuisances)
        },
    )  # fmt: skip
    weights = rng.uniform(0.1, 2.0, events) if weighted else None
    return model, sbi.RatioColumns(columns(events), weights), sbi.RatioColumns(columns(reference))


class OffShell:
    """Signal, background and their interference in mass (200 to 1000 GeV) and an angle.

    ``density(mu) = mu S + sqrt(mu) I + B`` with I negative on the whole; nu(1) = 5000.
    """

    def __init__(self, events: float = 5000.0, shape: tuple[int, int] = (400, 60)) -> None:
        mass, angle = (
            np.linspace(200.0, 1000.0, shape[0] + 1),
            np.linspace(-1.0, 1.0, shape[1] + 1),
        )
        grid = np.meshgrid(
            0.5 * (mass[1:] + mass[:-1]), 0.5 * (angle[1:] + angle[:-1]), indexing="ij"
        )
        self.mass, self.angle = (axis.ravel() for axis in grid)
        self.S, self.I, self.B = self._components(self.mass, self.angle)
        scale = events / (self.S + self.I + self.B).sum()
        self.S, self.I, self.B = scale * self.S, scale * self.I, scale * self.B

    @staticmethod
    def _components(mass: Array, angle: Array) -> tuple[Array, Array, Array]:
        signal = 0.22 * np.exp(-(mass - 200.0) / 500.0) * (1.0 + 0.5 * angle**2)
        background = np.exp(-(mass - 200.0) / 260.0) * (1.0 + 0.25 * angle)
        phase = math.pi * (0.62 + 0.25 * np.tanh((mass - 420.0) / 160.0))
        mixed = 2.0 * signal * background * np.cos(phase)
        return signal**2, mixed, background**2

    def expected(self, mu: float) -> Array:
        """Expected events in each cell of the grid."""
        return np.asarray(mu * self.S + math.sqrt(mu) * self.I + self.B)

    def draw(self, rng: np.random.Generator, mu: float = 1.0) -> npt.NDArray[np.intp]:
        """The cells of one data set's events."""
        weights = self.expected(mu)
        number = rng.poisson(weights.sum())
        return np.asarray(rng.choice(len(weights), number, p=weights / weights.sum()))

    def columns(self, cells: npt.NDArray[np.intp]) -> dict[str, Array]:
        """Ratios of the non-negative hypotheses S, SBI, B to B."""
        mixture = self.S + self.I + self.B
        base = self.B / self.B.sum()
        parts = {"S": self.S, "SBI": mixture, "B": self.B}
        return {name: (part / part.sum() / base)[cells] for name, part in parts.items()}

    def model(self) -> sbi.Model:
        """The documented route: coefficients of hypotheses that a classifier can learn."""
        mixture = float((self.S + self.I + self.B).sum())
        return sbi.Model(
            {
                "S": f"(mu - sqrt(mu)) * {float(self.S.sum())!r}",
                "SBI": f"sqrt(mu) * {mixture!r}",
                "B": f"(1 - sqrt(mu)) * {float(self.B.sum())!r}",
            },
            {"mu": sbi.Parameter(1.0, lower=1e-4, upper=20.0)},
        )
