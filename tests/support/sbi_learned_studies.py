"""Studies of learned ratios beside the exact likelihood, on the same toys.

Each gives a dict of figures. Shifts are (learned - exact) / exact error, toy by toy: the
fluctuations of the data cancel, what remains is what learning did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import iminuit
import numpy as np
from sbi_learned import Float, Means, Mixture, OffShell, write

from rootml import sbi

Figures = dict[str, Any]


def exact_fit(
    function: Callable[..., float], start: Sequence[float], names: Sequence[str], lowest: Any
) -> tuple[Float, Float]:
    """Values and errors by iminuit, with its own numerical derivatives."""
    minuit = iminuit.Minuit(function, *start, name=list(names))
    minuit.errordef = 0.5
    for name, low in lowest.items():
        minuit.limits[name] = (low, None)
    minuit.migrad()
    minuit.hesse()
    assert minuit.valid
    return np.array(minuit.values), np.array(minuit.errors)


@dataclass(frozen=True)
class Fits:
    """Fits of the same toys; `(toy, parameter)`."""

    truth: Float
    values: Float
    errors: Float
    exact: Float
    exact_errors: Float

    def figures(self) -> Figures:
        """Per parameter: paired shift and its spread, errors, pulls and coverage."""
        apart = (self.values - self.exact) / self.exact_errors
        pull = (self.values - self.truth) / self.errors
        exact_pull = (self.exact - self.truth) / self.exact_errors
        return {
            "toys": len(apart),
            "shift": apart.mean(axis=0),
            "rms": apart.std(axis=0),
            "error ratio": self.errors.mean(axis=0) / self.exact_errors.mean(axis=0),
            "bias": pull.mean(axis=0),
            "pull width": pull.std(axis=0),
            "cov68": (np.abs(pull) < 1.0).mean(axis=0),
            "cov95": (np.abs(pull) < 1.96).mean(axis=0),
            "exact cov68": (np.abs(exact_pull) < 1.0).mean(axis=0),
            "exact cov95": (np.abs(exact_pull) < 1.96).mean(axis=0),
        }


def collect(truth: Sequence[float], rows: list[tuple[Float, Float, Float, Float]]) -> Fits:
    """Rows of (values, errors, exact values, exact errors)."""
    return Fits(np.array(truth), *(np.array(each) for each in zip(*rows, strict=True)))


def mixture(
    folder: Path, *, events: int, reference: int, toys: int, seed: int, **options: Any
) -> Figures:
    """S + B in four dimensions with one shape nuisance parameter; mu and alpha."""
    problem, rng = Mixture.make(), np.random.default_rng(seed)
    estimator = sbi.RatioEstimator(problem.names, seed=seed, progress=False, **options)
    ratios = estimator.fit(problem.samples(folder, rng, events), reference="B")
    known = ratios.columns(problem.draw_b(rng, reference))
    model = sbi.Model(
        {"S": f"mu * {problem.signal}", "B": f"{problem.background}"},
        {"mu": sbi.Parameter(1.0, lower=0.0)},
        {"jes": sbi.Nuisance()},
    )
    truth = {"mu": 1.0, "jes": 0.3}
    first = ratios.columns(problem.toy(rng, mu=1.0, alpha=0.3))
    like = model.likelihood(first, reference=known)
    rows = []
    for _ in range(toys):
        x, aux = problem.toy(rng, 1.0, 0.3), rng.normal(0.3, 1.0)
        found = sbi.fit(like.with_columns(ratios.columns(x)).with_observed(jes=aux))
        exact = exact_fit(problem.nll(x, aux), (1.0, 0.3), ("mu", "alpha"), {"mu": 0.0})
        order = list(truth)
        values = np.array([found.values[name] for name in order])
        errors = np.array([found.errors[name] for name in order])
        rows.append((values, errors, *exact))
    return {"record": ratios.record, **collect(list(truth.values()), rows).figures()}


def means(
    folder: Path,
    problem: Means,
    *,
    truth: Sequence[float],
    events: int,
    size: int,
    toys: int,
    seed: int,
    low: float = 0.0,
    high: float = 4.0,
    **options: Any,
) -> Figures:
    """A normal distribution whose means are learned as parameters; `size` events per toy."""
    rng = np.random.default_rng(seed)
    data = problem.dataset(folder / "events.parquet", rng, events, low, high)
    estimator = sbi.RatioEstimator(
        problem.inputs, parameters=problem.parameters, seed=seed, progress=False, **options
    )
    ratios = estimator.fit(data)
    point = np.array(truth)
    error = np.sqrt(np.diag(problem.covariance) / size)
    rows = []
    for _ in range(toys):
        x = problem.draw(rng, np.tile(point, (size, 1)))
        like: Any = ratios.likelihood(x, start=dict(zip(problem.parameters, point, strict=True)))
        found = sbi.fit(like)
        values, errors = (
            np.array(list(found.values.values())),
            np.array(list(found.errors.values())),
        )
        rows.append((values, errors, x.mean(axis=0), error))
    return {"record": ratios.record, **collect(list(truth), rows).figures()}


def off_shell(
    folder: Path, *, events: int, toys: int, seed: int, negative: float = 0.15, **options: Any
) -> Figures:
    """mu S + sqrt(mu) I + B from samples of S, S + I + B and B; some weights are negative.

    A fraction of the events of S + I + B weighs -1; as many more are drawn of their density, so
    that the weighted density is the right one.
    """
    problem, rng = OffShell(), np.random.default_rng(seed)
    samples = {}
    for which in ("S", "SBI", "B"):
        x = problem.draw(rng, events, which)
        columns = {"m": x[:, 0], "c": x[:, 1]}
        if which == "SBI":
            # density p = (p_1 - f p_0) / (1 - f), with p_1 the mixture of p and p_0 = p_B
            extra = problem.draw(rng, int(negative * events), "B")
            both = [problem.draw(rng, len(extra), "B"), extra]
            x = np.concatenate([x, *both])
            weight = np.repeat([1.0, 1.0, -1.0], [events, len(extra), len(extra)])
            order = rng.permutation(len(x))
            columns = {"m": x[order, 0], "c": x[order, 1], "w": weight[order]}
        samples[which] = write(
            folder / f"{which}.parquet", columns, weight="w" if "w" in columns else None
        )
    estimator = sbi.RatioEstimator(["m", "c"], seed=seed, progress=False, **options)
    ratios = estimator.fit(samples, reference="SBI")
    nu = problem.yields()
    model = sbi.Model(
        {
            "S": f"(mu - sqrt(mu)) * {nu['S']}",
            "SBI": f"sqrt(mu) * {nu['SBI']}",
            "B": f"(1 - sqrt(mu)) * {nu['B']}",
        },
        {"mu": sbi.Parameter(1.0, lower=0.01, upper=20.0)},
    )
    rows = []
    for _ in range(toys):
        x = problem.draw(rng, rng.poisson(nu["SBI"]), "SBI")
        found = sbi.fit(model.likelihood(ratios.columns(x)))
        exact = exact_fit(problem.nll(x), (1.0,), ("mu",), {"mu": 0.01})
        rows.append((np.array([found.values["mu"]]), np.array([found.errors["mu"]]), *exact))
    return {"record": ratios.record, **collect([1.0], rows).figures()}


__all__ = ["Fits", "means", "mixture", "off_shell"]
