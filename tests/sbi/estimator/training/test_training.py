"""How long a training is: batch size, epochs, patience, learning rate; and its notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sbi_learned import write

from rootml import sbi
from rootml.sbi.estimator.inputs._settings import plan_differences, plan_training, spawned_seed
from rootml.sbi.estimator.training._training import LearningRate

torch = pytest.importorskip("torch")


def settings(**options: Any) -> Any:
    return sbi.RatioEstimator(["x"], **options).settings


@pytest.mark.parametrize(
    ("rows", "batch_size", "steps", "parametric_steps"),
    [
        (2000, 128, 1500, 3200),  # 200 epochs
        (8000, 128, 1500, 4000),
        (40_000, 256, 1500, 11_300),
        (80_000, 512, 1500, 16_000),
        (2_000_000, 2048, 5800, 16_000),
    ],
)
def test_plan_follows_the_number_of_events(
    rows: int, batch_size: int, steps: int, parametric_steps: int
) -> None:
    plan = plan_training(settings(), rows, rows)
    assert plan.batch_size == batch_size
    assert plan.epochs * -(-rows // plan.batch_size) == pytest.approx(steps, rel=0.1)
    parametric = plan_training(settings(parameters=["t"]), rows, rows)
    found = parametric.epochs * -(-rows // parametric.batch_size)
    assert found == pytest.approx(parametric_steps, rel=0.1)


def test_noisy_weights_need_larger_batches() -> None:
    plain, signed = (plan_training(settings(), 100_000, n) for n in (100_000.0, 25_000.0))
    assert signed.batch_size >= 0.9 * plain.batch_size
    assert plan_training(settings(), 100_000, 100.0).batch_size > 2048


def test_given_lengths_are_used() -> None:
    plan = plan_training(settings(epochs=3, batch_size=700, patience=2), 10_000, 10_000)
    assert (plan.epochs, plan.batch_size, plan.patience) == (3, 700, 2)


def test_batches_grow_with_the_number_of_nuisances() -> None:
    one, fifty = (plan_differences(settings(), 60_000 * k, 60_000.0 * k, k) for k in (1, 50))
    assert one.batch_size < fifty.batch_size <= 16_384
    assert fifty.epochs <= one.epochs


def test_learning_rate_always_falls_to_zero() -> None:
    rate = LearningRate(1.0, 1000)
    assert max(map(rate, range(1000))) == pytest.approx(1.0)
    assert rate(999) < 1e-4
    rate.finish(500, 100)
    assert rate(500) == pytest.approx(LearningRate(1.0, 1000)(500))
    assert all(rate(s + 1) <= rate(s) for s in range(500, 700))
    assert rate(599) < 1e-2 * rate(500)
    assert rate.end == 600


def test_seeds_are_spawned_not_added() -> None:
    seeds = {
        spawned_seed(s, *path) for s in range(20) for path in [(), (0,), (1,), (0, 1), (1, 0)]
    }
    assert len(seeds) == 100


@pytest.fixture
def samples(tmp_path: Path) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        name: write(tmp_path / f"{name}.parquet", {"x": rng.normal(mean, 1.0, 900)})
        for name, mean in (("S", 1.0), ("B", 0.0))
    }


def test_training_says_that_it_had_too_little(samples: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    options: dict[str, Any] = {"ensemble": 2, "hidden": (4,), "progress": False}
    short = sbi.RatioEstimator(["x"], epochs=2, **options).fit(samples, reference="B")
    notes = " ".join(short.record.notes)
    assert "steps, too few to converge" in notes
    assert "S: 900 effective events are too few" in notes
    assert short.record.histories[0].steps < 300
    full = sbi.RatioEstimator(["x"], **options).fit(samples, reference="B")
    assert "too few to converge" not in " ".join(full.record.notes)
    history = full.record.histories[0]
    assert history.steps >= 300
    assert history.held_out[history.best] == min(history.held_out)
