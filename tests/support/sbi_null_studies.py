"""Studies of nuisances with no effect, or with a small one, beside the exact likelihood.

Signal and background are normal; nuisances shift the mean of the background by `effect` standard
deviations, so that log(up / nominal) = effect x - effect^2 / 2 exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sbi_learned import Float, Generator, write

from rootml import sbi

NULL, REAL = "null", "real"


@dataclass(frozen=True)
class Shapes:
    """Signal and background in a few dimensions, with a null and a real shape nuisance.

    Attributes:
        effect: Shift of the background's mean by the real nuisance.
        size: Number of features.
        negative: Fraction of negative weights in the background samples.
        shared: Whether the variations are made of the events of the nominal sample.
    """

    effect: float
    size: int = 2
    negative: float = 0.0
    shared: bool = False

    @property
    def names(self) -> list[str]:
        """The inputs."""
        return [f"x{j}" for j in range(self.size)]

    def signal(self, rng: Generator, n: int) -> Float:
        """Signal events."""
        x = rng.normal(size=(n, self.size))
        x[:, 1] *= 0.7
        x[:, 0] += 1.0
        return x

    def background(self, rng: Generator, n: int, shift: float = 0.0) -> Float:
        """Background events."""
        x = rng.normal(size=(n, self.size))
        x[:, 0] += shift
        return x

    def log_signal(self, x: Float) -> Float:
        """log(S / B)."""
        return np.asarray(x[:, 0] - 0.5 + 0.5 * x[:, 1] ** 2 * (1.0 - 1.0 / 0.49) - np.log(0.7))

    def samples(self, folder: Path, rng: Generator, n: int) -> dict[str, Any]:
        """Samples as `RatioEstimator.fit` takes them."""
        nominal = self._events(rng, n)
        made = {"nominal": nominal}
        for name, effect in ((NULL, 0.0), (REAL, self.effect)):
            for side, sign in (("up", 1.0), ("down", -1.0)):
                x, w = nominal if self.shared else self._events(rng, n)
                made[f"{name}.{side}"] = (x + sign * effect * (np.arange(self.size) == 0), w)
        opened = {}
        for name, (x, w) in made.items():
            columns = {**dict(zip(self.names, x.T, strict=True)), "id": np.arange(len(x)), "w": w}
            if not self.shared:
                columns["id"] = np.arange(len(x)) + len(x) * (1 + list(made).index(name))
            opened[name] = write(folder / f"{name}.parquet", columns, weight="w")
        s = self.signal(rng, n)
        columns = {**dict(zip(self.names, s.T, strict=True)), "id": np.arange(n), "w": np.ones(n)}
        background = {"nominal": opened["nominal"]} | {
            name: (opened[f"{name}.up"], opened[f"{name}.down"]) for name in (NULL, REAL)
        }
        return {"S": write(folder / "S.parquet", columns, weight="w"), "B": background}

    def _events(self, rng: Generator, n: int) -> tuple[Float, Float]:
        """Events and weights; those of both signs cancel but for a density like the others'.

        A fraction f of the n events is negative and as many are positive, of one wider density.
        """
        pairs = round(self.negative * n)
        x = self.background(rng, n - 2 * pairs)
        extra = 1.3 * self.background(rng, 2 * pairs)
        w = np.concatenate([np.ones(n - pairs), -np.ones(pairs)])
        order = rng.permutation(n)
        return np.concatenate([x, extra])[order], w[order]

    def exact(self, x: Float) -> dict[str, Any]:
        """Exact ratio columns."""
        ones = np.ones(len(x))
        up, down = (np.exp(s * self.effect * x[:, 0] - 0.5 * self.effect**2) for s in (1.0, -1.0))
        background = {"nominal": ones, NULL: (ones, ones), REAL: (up, down)}
        return {"S": np.exp(self.log_signal(x)), "B": background}

    def data(self, rng: Generator, n: int, alpha: float = 0.0) -> Float:
        """About n events, a tenth of them signal."""
        s, b = rng.poisson(n / 10), rng.poisson(n - n / 10)
        return np.concatenate([self.signal(rng, s), self.background(rng, b, alpha * self.effect)])

    def model(self, n: int) -> sbi.Model:
        """The model of n expected events."""
        return sbi.Model(
            {"S": f"mu * {n / 10}", "B": f"{n - n / 10}"},
            {"mu": sbi.Parameter(1.0, lower=0.0)},
            {NULL: sbi.Nuisance(), REAL: sbi.Nuisance()},
        )

    def train(self, folder: Path, rng: Generator, n: int, **options: Any) -> sbi.Ratios:
        """Ratios learned from samples of n events."""
        options = {"seed": int(rng.integers(2**31)), "progress": False, "threads": 1, **options}
        estimator = sbi.RatioEstimator(self.names, by="id", **options)
        return estimator.fit(self.samples(folder, rng, n), reference="B")


def fitted_errors(
    problem: Shapes, folder: Path, *, events: int, observed: int, seed: int, reference: int,
    **options: Any,
) -> dict[str, float]:  # fmt: skip
    """Errors and values of one training and one observation, beside those of exact ratios."""
    rng = np.random.default_rng(seed)
    ratios = problem.train(folder, rng, events, **options)
    known, x = problem.background(rng, reference), problem.data(rng, observed)
    model = problem.model(observed)
    exact = sbi.fit(model.likelihood(problem.exact(x), reference=problem.exact(known)))
    ours = sbi.fit(model.likelihood(ratios.columns(x), reference=ratios.columns(known)))
    kept = {shape.nuisance: shape.kept for shape in ratios.record.shapes}
    return {
        "null error": ours.errors[NULL],
        "null kept": kept[NULL],
        "real kept": kept[REAL],
        "real error": ours.errors[REAL] / exact.errors[REAL],
        "mu error": ours.errors["mu"] / exact.errors["mu"],
        "mu shift": (ours.values["mu"] - exact.values["mu"]) / exact.errors["mu"],
    }


def fits_of_toys(
    problem: Shapes, folder: Path, *, events: int, observed: int, seed: int, toys: int,
    reference: int, alpha: float | None, **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """One training and several observations: shifts from the exact fit, and coverage of mu.

    Args:
        alpha: True value of the real nuisance; None: drawn from its constraint for each toy.
    """
    rng = np.random.default_rng(seed)
    ratios = problem.train(folder, rng, events, **options)
    known = problem.background(rng, reference)
    model = problem.model(observed)
    ours, exact = ratios.columns(known), problem.exact(known)
    shifts, covered, exactly = [], [], []
    for _ in range(toys):
        x = problem.data(rng, observed, rng.normal() if alpha is None else alpha)
        fit = sbi.fit(model.likelihood(ratios.columns(x), reference=ours))
        best = sbi.fit(model.likelihood(problem.exact(x), reference=exact))
        shifts.append((fit.values["mu"] - best.values["mu"]) / best.errors["mu"])
        covered.append(abs(fit.values["mu"] - 1.0) < fit.errors["mu"])
        exactly.append(abs(best.values["mu"] - 1.0) < best.errors["mu"])
    kept = {shape.nuisance: shape.kept for shape in ratios.record.shapes}
    return {
        "shifts": shifts, "covered": covered, "exact covered": exactly,
        "null kept": kept[NULL], "real kept": kept[REAL],
        "significance": {s.nuisance: s.significance for s in ratios.record.shapes}[REAL],
    }  # fmt: skip
