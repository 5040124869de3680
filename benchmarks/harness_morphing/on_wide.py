"""Quality with many columns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from harness.report import Row

import rootml
from harness_morphing import quality, wide
from harness_morphing.residuals import residuals
from harness_morphing.setup import Setup, weighted_quantiles, written
from harness_morphing.toy import Kind
from rootml.sbi.morphing import Morpher


def judge_wide(setup: Setup) -> Iterator[Row]:
    """Twelve features and five conditions, on 200,000 events of each domain."""
    names = (*wide.FEATURES, *wide.CONDITIONS)
    before, target = (wide.wide(kind, 200_000, 900) for kind in ("sim", "data"))
    truth, again, old = (
        np.column_stack([each[n] for n in names])
        for each in (target, wide.wide("data", 200_000, 901), before)
    )
    ones = np.ones(len(truth))
    floor_ = quality.auc(truth, again, ones, seed=0)
    yield Row("floor, data against data: AUC", floor_, f"{floor_:.4f}")
    sizes = {100_000: 0.010, 400_000: 0.006} if setup.events >= 500_000 else {20_000: None}
    for events, bar in sizes.items():
        start = time.process_time()
        morpher = Morpher(wide.FEATURES, wide.CONDITIONS, id="event")
        morpher.fit(*wide_files(setup, events), progress=False)
        spent = time.process_time() - start
        weights = morpher.kinematics.weights(old[:, len(wide.FEATURES) :])
        after = morpher.transform(before)
        new = np.column_stack([after[n] for n in names])
        lost = quality.auc(truth, new, weights, seed=0) - floor_
        yield Row(f"{events:,} events: AUC above the floor", lost, f"{lost:.4f}", bar,
                  at_most=True)  # fmt: skip
        yield from beside_floor(events, (truth, new, again), weights)
        yield Row(f"{events:,} events: CPU seconds of a fit", spent, f"{spent:.0f}")
        yield from by_kind(events, morpher)


def beside_floor(events: int, columns: tuple[Any, Any, Any], weights: Any) -> Iterator[Row]:
    """Correlations and tails in units of those of another sample of the data."""
    truth, new, again = columns
    ones, features = np.ones(len(again)), len(wide.FEATURES)
    rho = [
        float(quality.correlations(truth, each, w).mean())
        for each, w in ((new, weights), (again, ones))
    ]
    ends = [
        np.array(
            [weighted_quantiles(each[:, j], w, np.array([0.999]))[0] for j in range(features)]
        )
        for each, w in ((truth, ones), (new, weights), (again, ones))
    ]
    tails = [float(np.abs(each / ends[0] - 1).mean()) for each in ends[1:]]
    for title, (ours, theirs) in (("mean |delta rho|, %", rho), ("quantile 0.999", tails)):
        text = f"{ours:.3g} (data against data {theirs:.3g})"
        yield Row(f"{events:,} events: {title}, over the floor", ours / theirs, text, 1.5,
                  at_most=True)  # fmt: skip


def by_kind(events: int, morpher: Morpher) -> Iterator[Row]:
    """What the flow has left, beside what as many parameters cost that so many events tell."""
    equal = wide.wide("sim", 400_000, 902, same_conditions=True)
    for kind, part in residuals(morpher.transform(equal)).items():
        least = part.parameters / events
        text = f"{1e3 * part.nats:.2f} ({part.parameters} parameters cost {1e3 * least:.2f})"
        yield Row(f"{events:,} events: nats x 1000, {kind}", 1e3 * part.nats, text)


def wide_files(setup: Setup, events: int) -> list[rootml.Dataset]:
    """Simulation and data to learn from."""
    datasets = []
    kinds: tuple[Kind, ...] = ("sim", "data")
    for kind in kinds:
        path = setup.folder / f"wide_{kind}_{events}.parquet"
        datasets.append(written(path, wide.wide(kind, events, 0)))
    return datasets
