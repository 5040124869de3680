"""Quality of what few events of the data can teach."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np
from harness.report import Row

import rootml
from harness_morphing import quality, small
from harness_morphing.setup import Setup, listed, written
from harness_morphing.toy import Kind
from rootml.sbi.morphing import Morpher


def judge_small(setup: Setup) -> Iterator[Row]:
    """5,000 events of data and 20,000 of signed simulation, six features; two problems."""
    for name, problem in small.PROBLEMS.items():
        yield from judge_few(setup, name, problem)


def judge_few(setup: Setup, title: str, problem: small.Problem) -> Iterator[Row]:
    """One of the problems."""
    names = (*problem.features, *problem.conditions)
    before, target = (problem.make(kind, 40_000, 900) for kind in ("sim", "data"))
    again = problem.make("data", 40_000, 901)
    truth, equal, old = (
        np.column_stack([each[n] for n in names]).astype(float) for each in (target, again, before)
    )
    ones = np.ones(len(equal))
    floor_ = statistics.mean(quality.auc(truth, equal, ones, seed=k) for k in (0, 1))
    yield Row(f"{title}: floor, data against data: AUC", floor_, f"{floor_:.4f}")
    found, costs = [], []
    for seed in (0, 1, 2):
        sim, data = few_events(setup, title, problem, seed)
        start = time.process_time()
        morpher = Morpher(problem.features, problem.conditions, id="event", seed=seed)
        morpher.fit(sim, data, progress=False)
        costs.append(time.process_time() - start)
        factors = morpher.kinematics.weights(old[:, len(problem.features) :])
        weights = factors * (before["w"] > 0)
        after = morpher.transform(before)
        new = np.column_stack([after[n] for n in names]).astype(float)
        found.append(statistics.mean(quality.auc(truth, new, weights, seed=k) for k in (0, 1)))
    first = quality.auc(truth, old, weights, seed=0)
    yield Row(f"{title}: before: AUC", first, f"{first:.4f}")
    lost = statistics.mean(found) - floor_
    text = f"{lost:.4f} ({listed(found, 4)})"
    yield Row(f"{title}: AUC above the floor", lost, text, 0.030, at_most=True)
    yield Row(f"{title}: CPU seconds of a fit", max(costs), listed(costs, 0))


def few_events(
    setup: Setup, title: str, problem: small.Problem, seed: int
) -> list[rootml.Dataset]:
    """Simulation and data to learn from."""
    datasets = []
    sizes: tuple[tuple[Kind, int], ...] = (("sim", 20_000), ("data", 5000))
    for kind, events in sizes:
        path = setup.folder / f"{title}_{kind}_{seed}.parquet"
        datasets.append(written(path, problem.make(kind, events, seed), weight="w"))
    return datasets
