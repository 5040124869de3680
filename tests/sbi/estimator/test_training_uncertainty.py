"""The bootstrap of the whole chain: its size, its folder, its workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_learned import Float, write

import rootml
from rootml import sbi
from rootml.errors import StateError, UsageError

torch = pytest.importorskip("torch")
EVENTS = 4000
OPTIONS: dict[str, Any] = {
    "ensemble": 2, "hidden": (8,), "epochs": 3, "batch_size": 256, "learning_rate": 0.02,
    "progress": False, "seed": 1,
}  # fmt: skip
MODEL = sbi.Model({"S": "mu * 500", "B": "4500"}, {"mu": sbi.Parameter(1.0, lower=0.0)})


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def samples(folder: Path, seed: int = 1) -> dict[str, rootml.Dataset]:
    rng = np.random.default_rng(seed)
    return {
        name: write(folder / f"{name}.parquet", {"x": rng.normal(mean, 1.0, EVENTS)})
        for name, mean in (("S", 1.5), ("B", 0.0))
    }


def data() -> Float:
    rng = np.random.default_rng(2)
    return np.concatenate([rng.normal(1.5, 1.0, 500), rng.normal(0.0, 1.0, 4500)])


class Fit:
    """Counts how often it is called; picklable."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, ratios: Any) -> sbi.FitResult:
        self.calls += 1
        return sbi.fit(MODEL.likelihood(ratios.columns({"x": data()})))


def test_size_of_the_uncertainty(tmp_path: Path) -> None:
    """A fit with a perfect classifier, whose only error is the norm E_B[r] = 1 of 4,000 events.

    The norm of r = S / B moves log r by its relative error; the fit follows by the ratio of
    derivatives, computed from the exact densities.
    """
    x = data()
    r = np.exp(1.5 * x - 1.125)
    scale = 500.0 * r / (4500.0 + 500.0 * r)
    information = (scale**2).sum()
    moved = (scale * (1.0 - scale)).sum() / information  # d mu / d log r
    reference = np.random.default_rng(3).normal(0.0, 1.0, 100_000)
    signal = reference + 1.5
    chance = [1.0 / (1.0 + np.exp(-(1.5 * each - 1.125))) for each in (signal, reference)]
    overlap = chance[0].var() + chance[1].var()
    norm = np.sqrt(overlap / EVENTS) / (chance[1] * (1.0 - chance[1])).mean() / 2.0
    estimator = sbi.RatioEstimator(["x"], **OPTIONS)
    shifts = sbi.training_uncertainty(
        estimator, samples(tmp_path), reference="B", fit=Fit(), replicas=8, seed=5
    )
    assert shifts.names == ("mu",)
    spread = float(np.sqrt(shifts.covariance[0, 0]))
    assert 0.6 * norm * moved < spread < 4.0 * norm * moved
    assert shifts.errors[0] == pytest.approx(1.0 / np.sqrt(information), rel=0.1)


def test_folder_goes_on_where_it_stopped(tmp_path: Path) -> None:
    given, folder = samples(tmp_path), tmp_path / "replicas"
    estimator, fit = sbi.RatioEstimator(["x"], **OPTIONS), Fit()
    options: dict[str, Any] = {"reference": "B", "fit": fit, "seed": 5}
    first = sbi.training_uncertainty(estimator, given, replicas=2, folder=folder, **options)
    assert fit.calls == 3  # the samples themselves, and two copies
    (folder / "replica_1.json").unlink()
    again = sbi.training_uncertainty(estimator, given, replicas=3, folder=folder, **options)
    assert fit.calls == 5
    np.testing.assert_array_equal(again.shifts[:2], first.shifts)
    direct = sbi.training_uncertainty(estimator, given, replicas=3, **options)
    np.testing.assert_array_equal(direct.shifts, again.shifts)
    assert len({json.dumps(row) for row in again.shifts.tolist()}) == 3
    with pytest.raises(StateError, match="another estimator"):
        sbi.training_uncertainty(
            sbi.RatioEstimator(["x"], **{**OPTIONS, "epochs": 2}), given, replicas=2,
            folder=folder, **options,
        )  # fmt: skip
    with pytest.raises(UsageError, match="replicas=1"):
        sbi.training_uncertainty(estimator, given, replicas=1, **options)


def test_client_gives_the_same(tmp_path: Path, client: Any) -> None:
    given, estimator = samples(tmp_path), sbi.RatioEstimator(["x"], **OPTIONS)
    options: dict[str, Any] = {"reference": "B", "fit": Fit(), "seed": 5, "replicas": 2}
    here = sbi.training_uncertainty(estimator, given, **options)
    there = sbi.training_uncertainty(estimator, given, client=client, **options)
    np.testing.assert_array_equal(there.shifts, here.shifts)


def test_decisions_on_shapes_are_repeated(tmp_path: Path) -> None:
    """Copies of events would make noise significant; the decision is that of the samples."""
    rng = np.random.default_rng(4)

    def sample(name: str, shift: float) -> rootml.Dataset:
        return write(tmp_path / f"{name}.parquet", {"x": rng.normal(shift, 1.0, 2000)})

    background = {
        "nominal": sample("n", 0.0), "null": (sample("a", 0.0), sample("b", 0.0)),
        "real": (sample("c", 0.3), sample("d", -0.3)),
    }  # fmt: skip
    seen: list[Any] = []

    def fit(ratios: Any) -> sbi.FitResult:
        seen.append([(s.nuisance, s.kept, s.parts) for s in ratios.record.shapes])
        like = sbi.Model({"B": "mu * 500"}, {"mu": sbi.Parameter(1.0)}).likelihood(
            {"B": np.ones(500)}
        )
        return sbi.fit(like)

    sbi.training_uncertainty(
        sbi.RatioEstimator(["x"], **{**OPTIONS, "ensemble": 5}), {"B": background},
        reference="B", fit=fit, replicas=2, seed=1,
    )  # fmt: skip
    assert seen[0] == [("null", False, ()), ("real", True, ("odd",))]
    assert seen[1:] == [seen[0]] * 2
