"""Quality on the toy of arXiv:2403.18582, against its bars."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from harness.report import Row, logger

import rootml
from harness_morphing import quality
from harness_morphing.setup import Setup, listed, matrix
from harness_morphing.toy import CONDITIONS, FEATURES, GAPS, toy, write_toy
from rootml.sbi.morphing import Morpher


def files(setup: Setup) -> tuple[rootml.Dataset, rootml.Dataset]:
    """Simulation and data to train on."""
    train = setup.events * 7 // 10
    found = []
    for kind in ("sim", "data"):
        path = setup.folder / f"{kind}_{setup.events}.root"
        if not path.exists():
            write_toy(path, kind, setup.events)
        found.append(rootml.open(str(path), entry_range=(0, train)))
    return found[0], found[1]


def held_out(setup: Setup) -> tuple[dict[str, Any], dict[str, Any]]:
    """Simulation and data of the last three tenths."""
    found = []
    for kind in ("sim", "data"):
        columns: dict[str, Any] = dict(toy(kind, setup.events))
        columns["event"] = np.arange(setup.events)
        found.append({n: c[setup.events * 7 // 10 :] for n, c in columns.items()})
    return found[0], found[1]


@dataclass(frozen=True)
class Trained:
    """One training seed."""

    auc: float
    figures: quality.Figures
    leaks: int
    seconds: float


BARS = {
    "rho_mean": ("mean |delta rho|, %", 0.4, 3),
    "rho_max": ("max |delta rho|, %", 1.2, 3),
    "slices_mean": ("KS in slices, mean", 0.010, 4),
    "slices_max": ("KS in slices, max", 0.02, 4),
    "chi2": ("chi2/ndf, worst feature", 2.0, 2),
}
"""Of every seed, with 500k events: title, bar, digits."""


def judge_quality(setup: Setup) -> Iterator[Row]:
    """The training seeds, beside the floor: more data, as much as the simulation is worth."""
    sim, data = files(setup)
    before, target = held_out(setup)
    full = setup.events >= 500_000
    truth = matrix(target)
    found, floors = [], list[Trained]()
    for seed in setup.seeds:
        start = time.process_time()
        morpher = Morpher(FEATURES, CONDITIONS, id="event", steps=setup.steps, seed=seed)
        morpher.fit(sim, data, progress=False)
        seconds_spent = time.process_time() - start
        weights = morpher.kinematics.weights(matrix(before)[:, len(FEATURES) :])
        found.append(judge_one(morpher, before, truth, weights, seconds_spent))
        logger.info("seed %d: %s", seed, found[-1])
        if seed == setup.seeds[0]:
            effective = weights.sum() ** 2 / (weights**2).sum()
            yield from beside(before, truth, weights)
            floors = [floor(truth, int(effective), seed) for seed in range(4)]
            low, high = min(f.auc for f in floors), max(f.auc for f in floors)
            yield Row("floor, data against data: AUC", high, f"{low:.4f} to {high:.4f}")
    for name, (title, bar, digits) in BARS.items():
        values = [getattr(each.figures, name) for each in found]
        least = sorted(getattr(each.figures, name) for each in floors)
        text = f"{listed(values, digits)}; floor {listed([least[0], least[-1]], digits)}"
        yield Row(title, max(values), text, bar if full else None, at_most=True)
    leaks = [each.leaks for each in found]
    yield Row("rows outside of the supports", max(leaks), listed(leaks, 0), 0, at_most=True)
    aucs = [each.auc for each in found]
    mean = statistics.mean(aucs)
    text = f"{mean:.4f} (seeds: {listed(aucs, 4)})"
    yield Row("AUC, mean of the seeds", mean, text, 0.507 if full else 0.525, at_most=True)
    costs = [each.seconds for each in found]
    limit = 55 if full else 40
    yield Row("CPU seconds of a fit", max(costs), listed(costs, 0), limit, at_most=True)


def judge_one(
    morpher: Morpher, before: dict[str, Any], truth: Any, weights: Any, spent: float
) -> Trained:
    """What one training has reached on events that it has not seen."""
    after = morpher.transform(before)
    sim = matrix(after)
    leaks = sum(
        int((((after[n] > low) & (after[n] < high)) | (after[n] < 0)).sum())
        for n, (low, high) in GAPS.items()
    )
    auc = statistics.mean(quality.auc(truth, sim, weights, seed=k) for k in (0, 1))
    return Trained(auc, quality.Figures.of(truth, sim, weights, len(FEATURES)), leaks, spent)


def floor(truth: Any, rows: int, seed: int) -> Trained:
    """An independent sample of the data instead of corrected simulation."""
    again = matrix(dict(toy("data", rows, seed=1000 + seed)))
    ones = np.ones(len(again))
    auc = quality.auc(truth, again, ones, seed=seed)
    return Trained(auc, quality.Figures.of(truth, again, ones, len(FEATURES)), 0, 0.0)


def beside(before: dict[str, Any], truth: Any, weights: Any) -> Iterator[Row]:
    """What there was before, and what the reweighted conditions alone leave."""
    sim, features = matrix(before), len(FEATURES)
    first = quality.auc(truth, sim, weights, seed=0)
    yield Row("before: AUC", first, f"{first:.4f}")
    old = quality.Figures.of(truth, sim, weights, features)
    for name, (title, _, digits) in BARS.items():
        value = getattr(old, name)
        yield Row(f"before: {title}", value, f"{value:.{digits}f}")
    alone = [quality.auc(truth[:, features:], sim[:, features:], weights, seed=k) for k in (0, 1)]
    mean = statistics.mean(alone)
    yield Row("floor, reweighted conditions alone: AUC", mean, listed(alone, 4))
    rho = quality.correlations(truth[:, features:], sim[:, features:], weights)
    text = f"mean {rho.mean():.3f}, max {rho.max():.3f}"
    yield Row("floor, reweighted conditions alone: |delta rho|, %", float(rho.max()), text)
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    text = f"{effective:,.0f} of {len(weights):,}"
    yield Row("effective rows of the reweighted simulation", effective, text)
