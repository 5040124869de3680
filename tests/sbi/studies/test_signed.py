"""Signed samples: ratios learned from events of which a quarter weighs -1 (slow).

Negative events have a wider density than the others, and as many positive ones cancel them in the
mean, as in a calculation at next-to-leading order. 200,000 such events tell no more than 50,000 of
weight 1. What the samples themselves do to a fit, whoever learns from them, is shown by a logistic
regression that knows the form of log r, a polynomial of second order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_learned import Float, write
from sbi_training_studies import EXPECTED, MODEL, Problem

from rootml import sbi

torch = pytest.importorskip("torch")
PROBLEM = Problem((1.0, 0.5), (0.8, 0.8), 0.0)
NEGATIVE, TOYS = 0.25, 20


def signed(rng: np.random.Generator, name: str, number: int) -> tuple[Float, Float]:
    """Events and weights of a process."""
    pairs = round(NEGATIVE * number)
    x = PROBLEM.draw(rng, name, number)
    x[number - 2 * pairs :] *= 1.3
    w = np.repeat([1.0, -1.0], [number - pairs, pairs])
    order = rng.permutation(number)
    return x[order], w[order]


def samples(folder: Path, rng: np.random.Generator, number: int) -> dict[str, Any]:
    """Files of signal and background."""
    found = {}
    for name in EXPECTED:
        x, w = signed(rng, name, number)
        columns = {f"x{j}": each for j, each in enumerate(x.T)} | {"w": w}
        found[name] = write(folder / f"{name}.parquet", columns, weight="w")
    return found


def regression(signal: tuple[Float, Float], background: tuple[Float, Float]) -> Any:
    """The ratio as a function of x, by the most likely polynomial of second order in log r.

    Newton's method for the cross entropy of the weighted events; the mean over B is 1.
    """
    x = np.concatenate([terms(signal[0]), terms(background[0])])
    y = np.repeat([1.0, 0.0], [len(signal[0]), len(background[0])])
    w = np.concatenate([each / each.sum() for _, each in (signal, background)])
    found = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1.0 / (1.0 + np.exp(-x @ found))
        curvature = (x * (w * p * (1.0 - p))[:, None]).T @ x
        found += np.linalg.solve(curvature, x.T @ (w * (y - p)))
    norm = np.average(np.exp(terms(background[0]) @ found), weights=background[1])
    return lambda x: np.exp(terms(x) @ found) / norm


def terms(x: Float) -> Float:
    """Of a polynomial of second order in two features."""
    a, b = x.T
    return np.stack([np.ones(len(x)), a, b, a**2, b**2, a * b], axis=1)


def study(folder: Path, seed: int, number: int) -> dict[str, Any]:
    """One training: mean shifts of mu over toys, in errors of the fit, and what is said of it."""
    rng = np.random.default_rng([29, seed, number])
    estimator = sbi.RatioEstimator(PROBLEM.names, seed=seed, threads=1, progress=False)
    (folder / "held").mkdir(exist_ok=True)
    ratios = estimator.fit(samples(folder, rng, number), reference="B")
    again = np.random.default_rng([29, seed, number])
    best = regression(signed(again, "S", number), signed(again, "B", number))
    shifts = []
    for _ in range(TOYS):
        x = PROBLEM.data(rng)
        columns = {name: x[:, j] for j, name in enumerate(PROBLEM.names)}
        fit = sbi.fit(MODEL.likelihood(ratios.columns(columns)))
        exact, least = (
            sbi.fit(MODEL.likelihood({"S": ratio(x), "B": np.ones(len(x))}))
            for ratio in (PROBLEM.ratio, best)
        )
        moved = [each.values["mu"] - exact.values["mu"] for each in (fit, least)]
        shifts.append(np.array(moved) / exact.errors["mu"])
    report = sbi.diagnose(ratios, samples(folder / "held", rng, number), fit=fit, progress=False)
    shift, of_samples = np.mean(shifts, axis=0)
    return {
        "shift": float(shift), "shift by the samples": float(of_samples),
        "failed": len(report.failed), "gaps": len(report.gaps), "notes": len(ratios.record.notes),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(("number", "bar"), [(50_000, 0.4), (200_000, 0.15)])
def test_signed_samples(number: int, bar: float, tmp_path: Path) -> None:
    """RMS over three trainings of what networks add; beyond 0.15 sigma no report passes."""
    torch.set_num_threads(1)
    found = [study(tmp_path, seed, number) for seed in range(3)]
    print(number, found)  # noqa: T201
    added = [each["shift"] - each["shift by the samples"] for each in found]
    assert np.sqrt(np.mean(np.square(added))) <= bar
    for each in found:
        assert abs(each["shift"]) <= 0.15 or each["failed"] or each["gaps"]


def test_the_regression_finds_the_ratio() -> None:
    """With very many events of weight 1 it gives the exact one."""
    rng = np.random.default_rng(3)
    draws = [(PROBLEM.draw(rng, name, 400_000), np.ones(400_000)) for name in ("S", "B")]
    x = PROBLEM.data(rng)
    off = np.log(regression(*draws)(x) / PROBLEM.ratio(x))
    assert float(np.sqrt(np.mean(off**2))) < 0.03
