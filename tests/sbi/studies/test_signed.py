"""Signed samples: ratios learned from events of which a quarter weighs -1 (slow).

Negative events have a wider density than the others, and as many positive ones cancel them in the
mean, as in a calculation at next-to-leading order.
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


def study(folder: Path, seed: int, number: int) -> dict[str, Any]:
    """One training: mean shift of mu over toys, in errors of the fit, and what is said of it."""
    rng = np.random.default_rng([29, seed, number])
    estimator = sbi.RatioEstimator(PROBLEM.names, seed=seed, threads=1, progress=False)
    (folder / "held").mkdir(exist_ok=True)
    ratios = estimator.fit(samples(folder, rng, number), reference="B")
    shifts = []
    for _ in range(TOYS):
        x = PROBLEM.data(rng)
        columns = {name: x[:, j] for j, name in enumerate(PROBLEM.names)}
        fit = sbi.fit(MODEL.likelihood(ratios.columns(columns)))
        exact = sbi.fit(MODEL.likelihood({"S": PROBLEM.ratio(x), "B": np.ones(len(x))}))
        shifts.append((fit.values["mu"] - exact.values["mu"]) / exact.errors["mu"])
    report = sbi.diagnose(ratios, samples(folder / "held", rng, number), fit=fit, progress=False)
    return {
        "shift": float(np.mean(shifts)), "failed": len(report.failed), "gaps": len(report.gaps),
        "notes": len(ratios.record.notes),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(("number", "bar"), [(50_000, 0.4), (200_000, 0.15)])
def test_signed_samples(number: int, bar: float, tmp_path: Path) -> None:
    """RMS of learned - exact over three trainings; what is beyond 0.15 sigma does not pass."""
    torch.set_num_threads(1)
    found = [study(tmp_path, seed, number) for seed in range(3)]
    print(number, found)  # noqa: T201
    assert np.sqrt(np.mean([each["shift"] ** 2 for each in found])) <= bar
    for each in found:
        assert abs(each["shift"]) <= 0.15 or each["failed"] or each["gaps"]
