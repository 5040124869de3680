"""Morphing beside other flows, and against its bars on the toy of its paper.

Everything on one thread, in CPU seconds; ours and the peers' turns alternate, figures are medians.
Peers that are not installed are named as missing (zuko: a test dependency; nflows: by hand).

    python benchmarks/morphing.py                    everything (an hour of CPU)
    python benchmarks/morphing.py --quick            a tenth of the events, one seed, two toys
    python benchmarks/morphing.py --only speed       some figures
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xgboost
from harness.measure import installed, machine
from harness.report import Row, logger, report
from harness_morphing import quality, small, wide
from harness_morphing.peers import Peer, inputs, missing, seconds
from harness_morphing.toy import CONDITIONS, FEATURES, GAPS, Kind, toy, write_toy

import rootml
from rootml.sbi.morphing import Generator, Morpher, combine_members


@dataclass(frozen=True)
class Setup:
    """What the command line asks for.

    Attributes:
        events: Of each domain; seven tenths to train on.
        steps: Of each training; None: they follow the events.
        seeds: Of the trainings.
        members, replicas: Bootstraps, and independent toys, for the coverage.
    """

    events: int
    steps: int | None
    seeds: tuple[int, ...]
    members: int
    replicas: int
    turns: int
    folder: Path


# --- the toy -------------------------------------------------------------------------------------


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


def matrix(columns: dict[str, Any], *, conditions: bool = True) -> Any:
    names = (*FEATURES, *CONDITIONS) if conditions else FEATURES
    return np.column_stack([columns[name] for name in names]).astype(np.float64)


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


def listed(values: Sequence[float], digits: int) -> str:
    """One for each seed."""
    return ", ".join(f"{value:.{digits}f}" for value in values)


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


# --- small samples -------------------------------------------------------------------------------


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
    import pyarrow as pa
    import pyarrow.parquet

    datasets = []
    sizes: tuple[tuple[Kind, int], ...] = (("sim", 20_000), ("data", 5000))
    for kind, events in sizes:
        path = setup.folder / f"{title}_{kind}_{seed}.parquet"
        pyarrow.parquet.write_table(pa.table(problem.make(kind, events, seed)), path)
        datasets.append(rootml.open(str(path), weight="w"))
    return datasets


# --- many columns --------------------------------------------------------------------------------


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


def wide_files(setup: Setup, events: int) -> list[rootml.Dataset]:
    """Simulation and data to learn from."""
    import pyarrow as pa
    import pyarrow.parquet

    datasets = []
    kinds: tuple[Kind, ...] = ("sim", "data")
    for kind in kinds:
        path = setup.folder / f"wide_{kind}_{events}.parquet"
        pyarrow.parquet.write_table(pa.table(wide.wide(kind, events, 0)), path)
        datasets.append(rootml.open(str(path)))
    return datasets


# --- speed ---------------------------------------------------------------------------------------


def quick_morpher(setup: Setup, features: int) -> tuple[Morpher, dict[str, Any]]:
    """A morpher of so many features, a third of them with atoms, and rows for it."""
    import pyarrow as pa
    import pyarrow.parquet

    names, conditions = [f"f{j}" for j in range(features)], ["c0", "c1", "c2"]
    datasets = []
    for kind, shift in (("sim", 0.0), ("data", 0.3)):
        rng = np.random.default_rng(features)
        x = rng.normal(shift, 1, (20_000, features)) @ (np.eye(features) + 0.3)
        x[:, ::3] = np.maximum(x[:, ::3], 0)
        columns = dict(zip(names, x.astype("f4").T, strict=True))
        columns |= dict(zip(conditions, rng.normal(size=(3, 20_000)).astype("f4"), strict=True))
        path = setup.folder / f"{kind}_{features}.parquet"
        pyarrow.parquet.write_table(pa.table(columns), path)
        datasets.append(rootml.open(str(path)))
    morpher = Morpher(names, conditions, steps=50, reweight="none")
    morpher.fit(datasets[0], datasets[1], progress=False)
    rows = datasets[0].to_awkward()
    return morpher, {name: np.tile(rows[name].to_numpy(), 4) for name in rows.fields}


def judge_speed(setup: Setup) -> Iterator[Row]:
    """Rows carried over per second and thread: ours with Gaussianisation, peers without."""
    for features, bar in ((6, 50_000), (15, 25_000)):
        morpher, columns = quick_morpher(setup, features)
        rows = len(columns["f0"])
        morpher.transform(columns)  # compiled
        fewer = min(rows, 8192)
        x, context = inputs(fewer, features, 7)
        peers = {
            f"{name}, hidden {hidden}": Peer(name, features, 7, hidden=hidden)
            for name in PEERS
            for hidden in (64, 128)
        }
        ours, others = [], {name: list[float]() for name in peers}
        for _ in range(setup.turns):
            ours.append(rows / seconds(morpher.transform, columns))
            for name, peer in peers.items():
                others[name].append(fewer / seconds(peer.morph, x, context))
        mine = statistics.median(ours)
        title = f"{features} features: rows/s"
        yield Row(f"{title}, rootml", mine, f"{mine:,.0f}", bar)
        for name, found in others.items():
            theirs = statistics.median(found)
            text = f"{theirs:,.0f} (rootml {mine / theirs:.1f}x)"
            yield Row(f"{title}, {name}", theirs, text)


def judge_generator(setup: Setup) -> Iterator[Row]:
    """Events drawn per second and thread: six features, a third of them with atoms."""
    morpher, columns = quick_morpher(setup, 6)
    sample = rootml.open(str(setup.folder / "data_6.parquet"))
    generator = Generator(morpher.features, morpher.conditions, steps=50)
    generator.fit(sample, progress=False)
    given = {name: columns[name] for name in morpher.conditions}
    generator.sample(given)  # compiled
    rows = len(columns["f0"])
    found = [rows / seconds(generator.sample, given) for _ in range(setup.turns)]
    value = statistics.median(found)
    yield Row("6 features: draws/s", value, f"{value:,.0f}", 100_000)


def repeat(call: Callable[[int], object], times: int) -> None:
    for number in range(times):
        call(number)


def judge_training(setup: Setup) -> Iterator[Row]:
    """Training steps of 1024 rows, 4 features."""
    from rootml.sbi.morphing.flow._flow import CouplingFlow, coupling_spec
    from rootml.sbi.morphing.flow._training import Schedule, Trainer, TrainingRows

    spec = coupling_spec(4, 7, layers=6, hidden=(64, 64), bins=8)
    x, context = inputs(20_000, 4, 7)
    problem = TrainingRows(x.numpy(), context.numpy(), np.full(len(x), 1 / len(x)))
    steps = 20
    ours: dict[str, Any] = {}
    for name, compiled in (("rootml", True), ("rootml without numba", False)):
        flow = CouplingFlow(spec, spec.initial(np.random.default_rng(0)), compiled=compiled)
        ours[name] = Trainer(flow, problem, problem, Schedule(), seed=(0, 0))
    peers = {name: Peer(name, 4, 7, hidden=64) for name in PEERS}
    times: dict[str, list[float]] = {name: [] for name in (*ours, *peers)}
    for turn in range(setup.turns + 1):
        for name, trainer in ours.items():
            spent = seconds(repeat, trainer._step, steps)
            times[name].append(spent / steps * 1e3)
        for name, peer in peers.items():
            spent = seconds(repeat, lambda _, p=peer: p.step(x[:1024], context[:1024]), steps)
            times[name].append(spent / steps * 1e3)
        if not turn:
            times = {name: [] for name in times}
    mine = statistics.median(times["rootml"])
    for name, found in times.items():
        value = statistics.median(found)
        ratio = "" if name == "rootml" else f" (rootml {value / mine:.1f}x faster)"
        yield Row(f"CPU ms per training step, {name}", value, f"{value:.1f}{ratio}")


# --- uncertainty ---------------------------------------------------------------------------------


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


def weighted_quantiles(values: Any, weights: Any, levels: Any) -> Any:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    at = np.searchsorted(total, levels * total[-1])
    return values[order][np.minimum(at, len(values) - 1)]


FIGURES: dict[str, Callable[[Setup], Iterator[Row]]] = {
    "speed": judge_speed,
    "generator": judge_generator,
    "training": judge_training,
    "quality": judge_quality,
    "small": judge_small,
    "wide": judge_wide,
    "coverage": judge_coverage,
}
TITLES = {
    "speed": "Carrying rows from simulation to data, one thread",
    "generator": "The flow as a generator, one thread",
    "training": "Training, one thread",
    "quality": "The toy of arXiv:2403.18582",
    "small": "Small samples",
    "wide": "Twelve features and five conditions",
    "coverage": "Uncertainty from bootstraps",
}
PEERS = [name for name in ("zuko autoregressive", "zuko coupling", "nflows coupling")
         if name not in missing()]  # fmt: skip


def parse() -> tuple[Setup, list[str], Path | None]:
    parser = argparse.ArgumentParser(description="rootml's morphing beside other flows.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the events, one seed")
    parser.add_argument("--only", default=",".join(FIGURES), help="figures, comma-separated")
    parser.add_argument("--members", type=int, default=5, help="bootstraps for the coverage")
    parser.add_argument("--toys", type=int, help="independent toys for the coverage")
    parser.add_argument("--seeds", type=int, help="trainings for the quality")
    parser.add_argument("--data", type=Path, help="folder to keep the files in")
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    chosen = options.only.split(",")
    unknown = set(chosen) - set(FIGURES)
    if unknown:
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    folder = options.data or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    seeds: tuple[int, ...]
    events, steps, seeds = (50_000, 800, (0,)) if options.quick else (500_000, None, (0, 1, 2))
    turns, toys = (2, 2) if options.quick else (5, 20)
    toys, seeds = options.toys or toys, seeds[: options.seeds]
    made = Setup(events, steps, seeds, options.members, toys, turns, folder)
    return made, chosen, options.output


def main() -> int:
    setup, chosen, output = parse()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logger.setLevel(logging.INFO)
    torch.set_num_threads(1)
    others = ", ".join(map(installed, ("zuko", "nflows", "numba")))
    others += f", xgboost {xgboost.__version__}"
    opening = [f"Measured on {machine()}, {others}.\n"]
    opening += [f"Missing, so not compared: {name}.\n" for name in missing()]
    tables = [(TITLES[name], FIGURES[name](setup)) for name in chosen]
    return report("\n".join(opening), tables, output)


if __name__ == "__main__":
    sys.exit(main())
