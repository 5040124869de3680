"""Problems with a known likelihood, as events in files and as exact log ratios.

What is learned of the files is compared with the densities written here; nothing here uses rootml
but to open the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

import rootml

Float: TypeAlias = npt.NDArray[np.float64]
Generator = np.random.Generator


def write(path: Path, columns: Mapping[str, Any], **options: Any) -> rootml.Dataset:
    """A Dataset of columns, in a Parquet file of several row groups."""
    pyarrow.parquet.write_table(pa.table(dict(columns)), path, row_group_size=20_000)
    return rootml.open(str(path), **options)


def write_matrix(path: Path, x: Float, **options: Any) -> rootml.Dataset:
    """Columns x0, x1, ... of a matrix."""
    return write(path, {f"x{j}": x[:, j] for j in range(x.shape[1])}, **options)


def log_normal(x: Float, mean: Float, covariance: Float) -> Float:
    """Logarithm of the density of a multivariate normal distribution."""
    lower = np.linalg.cholesky(covariance)
    z = np.linalg.solve(lower, (x - mean).T)
    size = len(mean)
    norm = np.log(np.diag(lower)).sum() + 0.5 * size * np.log(2 * np.pi)
    return np.asarray(-0.5 * (z * z).sum(axis=0) - norm)


# --- S + B in four dimensions, the mean of B moves with a nuisance parameter ---------------------


@dataclass(frozen=True)
class Mixture:
    """Signal and background, normal in four dimensions; alpha shifts the background."""

    mean_s: Float
    covariance_s: Float
    covariance_b: Float
    shift_b: Float
    signal: float = 300.0
    background: float = 2700.0

    @classmethod
    def make(cls) -> Mixture:
        """The mixture of the studies."""
        rng = np.random.default_rng(7)
        a = rng.normal(size=(4, 4)) * 0.3 + np.eye(4)
        return cls(
            np.array([0.6, 0.4, 0.0, -0.3]), 0.6 * a @ a.T, 0.7 * np.eye(4) + 0.3,
            np.array([0.12, 0.0, 0.08, 0.0]),
        )  # fmt: skip

    @property
    def names(self) -> list[str]:
        """The inputs."""
        return [f"x{j}" for j in range(4)]

    def draw_s(self, rng: Generator, n: int) -> Float:
        """Signal events."""
        return rng.multivariate_normal(self.mean_s, self.covariance_s, n, method="cholesky")

    def draw_b(self, rng: Generator, n: int, alpha: float = 0.0) -> Float:
        """Background events."""
        mean = alpha * self.shift_b
        return rng.multivariate_normal(mean, self.covariance_b, n, method="cholesky")

    def log_s(self, x: Float) -> Float:
        """log p_S."""
        return log_normal(x, self.mean_s, self.covariance_s)

    def log_b(self, x: Float, alpha: float = 0.0) -> Float:
        """log p_B."""
        return log_normal(x, alpha * self.shift_b, self.covariance_b)

    def samples(self, folder: Path, rng: Generator, n: int) -> dict[str, Any]:
        """Samples as `RatioEstimator.fit` takes them."""
        b = [write_matrix(folder / f"b{k}.parquet", self.draw_b(rng, n, k)) for k in (0, 1, -1)]
        s = write_matrix(folder / "s.parquet", self.draw_s(rng, n))
        return {"S": s, "B": {"nominal": b[0], "jes": (b[1], b[2])}}

    def toy(self, rng: Generator, mu: float, alpha: float) -> Float:
        """One observation."""
        s, b = rng.poisson(mu * self.signal), rng.poisson(self.background)
        return np.concatenate([self.draw_s(rng, s), self.draw_b(rng, b, alpha)])

    def nll(self, x: Float, aux: float) -> Callable[[float, float], float]:
        """The exact likelihood of an observation."""
        signal = self.signal * np.exp(self.log_s(x))
        inverse = np.linalg.inv(self.covariance_b)
        base = self.background * np.exp(self.log_b(x))
        slope = x @ inverse @ self.shift_b
        bend = 0.5 * self.shift_b @ inverse @ self.shift_b

        def value(mu: float, alpha: float) -> float:
            density = mu * signal + base * np.exp(alpha * slope - alpha**2 * bend)
            total = mu * self.signal + self.background
            return float(total - np.log(density).sum() + 0.5 * (alpha - aux) ** 2)

        return value


# --- a normal distribution whose means are the parameters ----------------------------------------


@dataclass(frozen=True)
class Means:
    """Normal in d dimensions, width 1.5, correlation rho; the means are the parameters."""

    size: int
    rho: float = 0.0

    @property
    def covariance(self) -> Float:
        """The covariance of an event."""
        return 1.5**2 * ((1 - self.rho) * np.eye(self.size) + self.rho)

    @property
    def inputs(self) -> list[str]:
        """Names of the observables."""
        return [f"x{j}" for j in range(self.size)]

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters."""
        return [f"mu{j}" for j in range(self.size)]

    def draw(self, rng: Generator, theta: Float) -> Float:
        """One event per row of theta."""
        lower = np.linalg.cholesky(self.covariance)
        return np.asarray(theta + rng.normal(size=theta.shape) @ lower.T)

    def dataset(
        self, path: Path, rng: Generator, n: int, low: float = 0.0, high: float = 4.0
    ) -> rootml.Dataset:
        """Events at means that are uniform in a cube."""
        theta = rng.uniform(low, high, (n, self.size))
        x = self.draw(rng, theta)
        columns = {name: x[:, j] for j, name in enumerate(self.inputs)}
        columns |= {name: theta[:, j] for j, name in enumerate(self.parameters)}
        return write(path, columns)


# --- interference: |A_S sqrt(mu) + A_B|^2 --------------------------------------------------------


@dataclass(frozen=True)
class OffShell:
    """A mass from 200 to 1000 and a cosine: mu S + sqrt(mu) I + B, not negative for any mu."""

    nominal: float = 5000.0

    names = ("m", "c")

    @staticmethod
    def parts(m: Float, c: Float) -> tuple[Float, Float, Float]:
        """S, I, B without a common factor."""
        a_s = 0.22 * np.exp(-(m - 200.0) / 500.0) * (1.0 + 0.5 * c * c)
        a_b = np.exp(-(m - 200.0) / 260.0) * (1.0 + 0.25 * c)
        phase = np.pi * (0.62 + 0.25 * np.tanh((m - 420.0) / 160.0))
        return a_s**2, 2.0 * a_s * a_b * np.cos(phase), a_b**2

    def integrals(self) -> tuple[float, float, float]:
        """Of S, I, B, by midpoints."""
        m = 200.0 + 800.0 * (np.arange(2000) + 0.5) / 2000
        c = -1.0 + 2.0 * (np.arange(400) + 0.5) / 400
        grid = np.meshgrid(m, c, indexing="ij")
        s, i, b = (float(part.mean()) * 1600.0 for part in self.parts(*grid))
        return s, i, b

    @property
    def scale(self) -> float:
        """What makes `nominal` events at mu = 1."""
        return self.nominal / sum(self.integrals())

    def yields(self) -> dict[str, float]:
        """Expected events of S, of everything at mu = 1, and of B."""
        s, i, b = self.integrals()
        return {"S": s * self.scale, "SBI": (s + i + b) * self.scale, "B": b * self.scale}

    def draw(self, rng: Generator, n: int, which: str) -> Float:
        """n events of "S", "SBI" or "B", by rejection; `(n, 2)`."""
        found: list[Float] = []
        while sum(map(len, found)) < n:
            m = 200.0 - 300.0 * np.log(
                1.0 - rng.uniform(size=2 * n) * (1 - np.exp(-800.0 / 300.0))
            )
            c = rng.uniform(-1.0, 1.0, 2 * n)
            s, i, b = self.parts(m, c)
            density = {"S": s, "SBI": s + i + b, "B": b}[which]
            ratio = density / np.exp(-(m - 200.0) / 300.0)
            keep = rng.uniform(size=2 * n) * 2.2 < ratio
            assert ratio.max() < 2.2
            found.append(np.stack([m, c], axis=1)[keep])
        return np.concatenate(found)[:n]

    def nll(self, x: Float) -> Callable[[float], float]:
        """The exact likelihood of an observation."""
        s, i, b = (self.scale * part for part in self.parts(x[:, 0], x[:, 1]))
        total_s, total_i, total_b = (self.scale * part for part in self.integrals())

        def value(mu: float) -> float:
            root = np.sqrt(mu)
            total = mu * total_s + root * total_i + total_b
            return float(total - np.log(mu * s + root * i + b).sum())

        return value
