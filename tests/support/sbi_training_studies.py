"""Training sets of known densities: what they do to a fit, and what is reported of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sbi_learned import Float

from rootml import sbi

EXPECTED = {"S": 500, "B": 4500}


@dataclass(frozen=True)
class Problem:
    """Signal on background, both normal.

    Attributes:
        mean, width: Of the signal, by feature; the background has means 0 and widths 1.
        negative: Fraction of events with weight -1.
        events: Simulated, of each sample.
    """

    mean: tuple[float, ...]
    width: tuple[float, ...]
    negative: float
    events: int = 4000

    @property
    def names(self) -> list[str]:
        """The inputs."""
        return [f"x{j}" for j in range(len(self.mean))]

    def draw(self, rng: np.random.Generator, name: str, number: int) -> Float:
        """Events of a process."""
        z = rng.normal(size=(number, len(self.mean)))
        return np.asarray(self.mean + np.array(self.width) * z) if name == "S" else z

    def ratio(self, x: Float) -> Float:
        """S over B."""
        z = (x - self.mean) / self.width
        return np.asarray(np.exp(0.5 * (x**2 - z**2).sum(axis=1)) / np.prod(self.width))

    def samples(self, folder: Path, rng: np.random.Generator) -> dict[str, Any]:
        """Files; signed events are ordinary ones of weight 1 and others that cancel in pairs."""
        found = {}
        for name in EXPECTED:
            x = self.draw(rng, name, self.events)
            sign = np.where(rng.uniform(size=len(x)) < self.negative, -1.0, 1.0)
            columns = {f"x{j}": x[:, j] for j in range(x.shape[1])} | {"w": sign}
            found[name] = _write(folder / f"{name}.parquet", columns)
        return found

    def data(self, rng: np.random.Generator) -> Float:
        """An experiment."""
        return np.concatenate(
            [self.draw(rng, name, rng.poisson(number)) for name, number in EXPECTED.items()]
        )


def _write(path: Path, columns: dict[str, Any]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet

    import rootml

    pyarrow.parquet.write_table(pa.table(columns), path)
    return rootml.open(str(path), weight="w")


PROBLEMS = {
    "one feature": Problem((1.5,), (1.0,), 0.0),
    "two features, signed weights": Problem((1.0, 0.5), (0.8, 0.8), 0.15),
}
MODEL = sbi.Model(
    {name: f"{'mu * ' if name == 'S' else ''}{number}" for name, number in EXPECTED.items()},
    {"mu": sbi.Parameter(1.0, lower=0.0)},
)


def small_estimator(problem: Problem, seed: int, ensemble: int) -> sbi.RatioEstimator:
    """Quick to train."""
    return sbi.RatioEstimator(
        problem.names, ensemble=ensemble, hidden=(16,), epochs=12, batch_size=256, seed=seed,
        progress=False, threads=1,
    )  # fmt: skip


@dataclass(frozen=True)
class TrainingSets:
    """Of each training set with its own data: fits, and the training uncertainty reported.

    Attributes:
        learned, exact: mu with learned and with exact ratios, `(set,)`.
        errors: Errors of the fits with learned ratios.
        training: The training uncertainties.
    """

    learned: Float
    exact: Float
    errors: Float
    training: Float

    @property
    def scatter(self) -> float:
        """What the training does: RMS of learned - exact about its mean, over training sets."""
        return float((self.learned - self.exact).std(ddof=1))

    @property
    def reported(self) -> float:
        """RMS of what was reported."""
        return float(np.sqrt(np.mean(self.training**2)))

    def covered(self, *, included: bool) -> Any:
        """Whether the interval holds the truth, mu = 1, for each set."""
        errors = np.hypot(self.errors, self.training) if included else self.errors
        return np.abs(self.learned - 1.0) < errors


def training_sets(problem: Problem, folder: Path, *, number: int, replicas: int) -> TrainingSets:
    """Train, fit and bootstrap `number` times."""
    rows = []
    for seed in range(number):
        rng = np.random.default_rng([17, seed])
        samples, x = problem.samples(folder, rng), problem.data(rng)
        events = {name: x[:, j] for j, name in enumerate(problem.names)}
        seen: list[sbi.FitResult] = []

        def fit(ratios: Any, events: Any = events, seen: Any = seen) -> sbi.FitResult:
            seen.append(sbi.fit(MODEL.likelihood(ratios.columns(events))))
            return seen[-1]  # type: ignore[no-any-return]

        estimator = small_estimator(problem, seed, 2)
        shifts = sbi.training_uncertainty(
            estimator, samples, reference="B", fit=fit, replicas=replicas, seed=seed
        )
        exact = sbi.fit(MODEL.likelihood({"S": problem.ratio(x), "B": np.ones(len(x))}))
        rows.append(
            (
                seen[0].values["mu"], exact.values["mu"], seen[0].errors["mu"],
                float(np.sqrt(shifts.covariance[0, 0])),
            )
        )  # fmt: skip
    return TrainingSets(*np.array(rows).T)


WAYS = ("mean, all events", "mean, four fifths", "weighted")


def weighted_shifts(problem: Problem, folder: Path, *, number: int, toys: int) -> dict[str, Float]:
    """(learned - exact) / error of mu, `(set, toy)`: means of members, and weighted ones.

    The weights come from a fifth of the events, which the networks do not see; so the mean is
    shown with all events, and with the others only.
    """
    found: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for seed in range(number):
        rng = np.random.default_rng([23, seed])
        samples = problem.samples(folder, rng)
        parts = {name: each.split(test=0.2, seed=seed) for name, each in samples.items()}
        estimator = small_estimator(problem, seed, 4)
        few = estimator.fit({name: part[0] for name, part in parts.items()}, reference="B")
        ratios = {
            WAYS[0]: estimator.fit(samples, reference="B"),
            WAYS[1]: few,
            WAYS[2]: few.weighted({name: part[1] for name, part in parts.items()}),
        }
        data = [problem.data(rng) for _ in range(toys)]
        for way, each in ratios.items():
            found[way].append([_shift(problem, each, x) for x in data])
    return {way: np.array(shifts) for way, shifts in found.items()}


def _shift(problem: Problem, ratios: sbi.Ratios, x: Float) -> float:
    exact = sbi.fit(MODEL.likelihood({"S": problem.ratio(x), "B": np.ones(len(x))}))
    columns = ratios.columns({name: x[:, j] for j, name in enumerate(problem.names)})
    learned = sbi.fit(MODEL.likelihood(columns))
    return (learned.values["mu"] - exact.values["mu"]) / exact.errors["mu"]
