"""How often the band of an ensemble covers the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from harness.report import Row, logger

import rootml
from harness_morphing.setup import Setup, matrix, weighted_quantiles
from harness_morphing.toy import CONDITIONS, FEATURES, Kind, toy, write_toy
from rootml.sbi.morphing import Morpher, combine_members

LEVELS = np.linspace(0.05, 0.95, 19)
NOMINAL = 0.6827
SLICES = 5
_FRESH = 100_000
"""Simulated events that are corrected, for the quantiles."""


@dataclass(frozen=True)
class Covered:
    """Of one toy: 1 or 0, NaN within atoms, where quantiles have no uncertainty.

    Attributes:
        inclusive: By the columns up and down, `(features, levels)`.
        sliced: By the members, `(conditions, slices, features, levels)`.
    """

    inclusive: Any
    sliced: Any


def judge_coverage(setup: Setup) -> Iterator[Row]:
    """How often true quantiles of the data lie in the band, inclusively and in slices.

    Over independent toys, each with its own ensemble; quantiles of one toy move together, so the
    errors come from the scatter between toys.
    """
    truth = toy("data", 1_000_000, seed=77)
    fresh: dict[str, Any] = dict(toy("sim", _FRESH, seed=78))
    fresh["event"] = np.arange(_FRESH)
    found = []
    for number in range(setup.replicas):
        found.append(covers(setup, number, fresh, truth))
        logger.info("toy %d: %.2f", number, np.nanmean(found[-1].inclusive))
    inclusive = np.array([each.inclusive for each in found])
    overall = np.nanmean(inclusive, axis=(1, 2))
    title = f"coverage by up and down ({NOMINAL} due)"
    yield from within(title, overall, (0.60, 0.76))
    for name, one in zip(FEATURES, inclusive.transpose(1, 0, 2), strict=True):
        each = np.nanmean(one, axis=1)
        yield Row(f"{title}, {name}", float(each.mean()), with_error(each))
    sliced = np.nanmean([each.sliced for each in found], axis=(3, 4))
    for k, name in enumerate(CONDITIONS):
        for number in range(SLICES):
            title = f"coverage by members, fifth {number + 1} of {name}"
            yield from within(title, sliced[:, k, number], (0.58, 0.78))


def within(title: str, each: Any, bounds: tuple[float, float]) -> Iterator[Row]:
    """The mean over toys, which should lie between two bounds."""
    text = f"{with_error(each)}, {len(each)} toys"
    yield Row(title, float(np.mean(each)), text, bounds[0])
    yield Row(f"{title}, at most", float(np.mean(each)), text, bounds[1], at_most=True)


def covers(setup: Setup, number: int, fresh: dict[str, Any], truth: Any) -> Covered:
    """Of one toy."""
    datasets = []
    kinds: tuple[tuple[Kind, int], ...] = (("sim", 5000 + number), ("data", 6000 + number))
    for kind, seed in kinds:
        path = setup.folder / f"{kind}_{number}_coverage.root"
        write_toy(path, kind, 10_000, seed=seed)
        datasets.append(rootml.open(str(path)))
    morpher = Morpher(
        FEATURES,
        CONDITIONS,
        id="event",
        ensemble=setup.members,
        steps=None if setup.steps is None else setup.steps // 6,
        seed=number,
    ).fit(*datasets, progress=False)
    weights = morpher.kinematics.weights(matrix(fresh)[:, len(FEATURES) :])
    every = np.ones(len(truth["pt"]), bool), np.ones(len(weights), bool)
    down, up = (
        quantiles(morpher.transform(fresh, which=which), weights, every[1])
        for which in ("down", "up")
    )
    expected = quantiles(truth, np.ones(len(every[0])), every[0])
    smooth = (down != 0) & (up != 0) & (expected != 0)
    inclusive = np.where(smooth, (down <= expected) & (expected <= up), np.nan)
    columns = [morpher.transform(fresh, which=k) for k in range(setup.members + 1)]
    sliced = [
        [
            covers_slice(columns, weights, truth, *chosen)
            for chosen in slices_of(fresh, truth, name)
        ]
        for name in CONDITIONS
    ]
    return Covered(inclusive, np.array(sliced))


def slices_of(fresh: dict[str, Any], truth: Any, name: str) -> Iterator[tuple[Any, Any]]:
    """Which rows of the simulation and of the data are in each fifth of a condition."""
    edges = np.quantile(truth[name], np.linspace(0, 1, SLICES + 1)[1:-1])
    ours, theirs = (np.searchsorted(edges, each[name], "right") for each in (fresh, truth))
    for number in range(SLICES):
        yield ours == number, theirs == number


def covers_slice(columns: Any, weights: Any, truth: Any, ours: Any, theirs: Any) -> Any:
    """By the nominal columns and those of the members, `(features, levels)`."""
    nominal, *members = (quantiles(each, weights, ours) for each in columns)
    expected = quantiles(truth, np.ones(len(theirs)), theirs)
    width = combine_members(nominal, members)
    smooth = (nominal != 0) & (expected != 0) & (width > 0)
    return np.where(smooth, np.abs(nominal - expected) <= width, np.nan)


def quantiles(columns: Any, weights: Any, chosen: Any) -> Any:
    """Of the chosen rows, `(features, levels)`."""
    found = [weighted_quantiles(columns[n][chosen], weights[chosen], LEVELS) for n in FEATURES]
    return np.array(found)


def error_of(each: Any) -> float:
    """Of the mean over toys; not below the binomial error of one decision per toy and feature."""
    scatter = float(np.std(each, ddof=1)) / np.sqrt(len(each))
    least = float(np.sqrt(NOMINAL * (1 - NOMINAL) / (19 * len(FEATURES) * len(each))))
    return float(max(scatter, least))


def with_error(each: Any) -> str:
    return f"{np.mean(each):.2f} +- {error_of(each):.2f}"
