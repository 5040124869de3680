"""Morphing beside other flows, and against its bars on the toy of its paper.

Everything on one thread, in CPU seconds; ours and the peers' turns alternate, figures are medians.
Peers that are not installed are named as missing (zuko: a test dependency; nflows: by hand).

    python benchmarks/morphing.py                    everything (half an hour of CPU)
    python benchmarks/morphing.py --quick            a tenth of the events, one seed
    python benchmarks/morphing.py --only speed       some figures
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness.measure import installed, machine
from harness.report import Row, logger, report
from harness_morphing import quality
from harness_morphing.peers import Peer, inputs, missing, seconds
from harness_morphing.toy import CONDITIONS, FEATURES, GAPS, toy, write_toy

import rootml
from rootml.sbi.morphing import Morpher


@dataclass(frozen=True)
class Setup:
    """What the command line asks for.

    Attributes:
        events: Of each domain; seven tenths to train on.
        steps: Of each training.
        seeds: Of the trainings.
        members: Bootstraps for the coverage.
    """

    events: int
    steps: int
    seeds: tuple[int, ...]
    members: int
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


def judge_quality(setup: Setup) -> Iterator[Row]:
    """Each training seed: AUC, correlations, slices, chi2, leakage, CPU seconds."""
    sim, data = files(setup)
    before, target = held_out(setup)
    aucs, costs = [], []
    full = setup.events >= 500_000
    for seed in setup.seeds:
        start = time.process_time()
        morpher = Morpher(FEATURES, CONDITIONS, id="event", steps=setup.steps, seed=seed)
        morpher.fit(sim, data, progress=False)
        costs.append(time.process_time() - start)
        after = morpher.transform(before)
        weights = morpher.kinematics.weights(matrix(before)[:, len(FEATURES) :])
        a, b = matrix(target), matrix(after)
        aucs.append(statistics.mean(quality.auc(a, b, weights, seed=k) for k in (0, 1)))
        if seed == setup.seeds[0]:
            first = quality.auc(a, matrix(before), weights, seed=0)
            floor = quality.auc(a[:, 4:], b[:, 4:], weights, seed=0)
            yield Row("AUC before", first, f"{first:.4f}")
            yield Row("AUC of conditions alone (floor)", floor, f"{floor:.4f}")
        yield from judge_one(seed, a, b, weights, full=full)
    mean = statistics.mean(aucs)
    text = f"{mean:.4f} ({', '.join(f'{each:.4f}' for each in aucs)})"
    yield Row("AUC after, mean of the seeds", mean, text, 0.507 if full else 0.525, at_most=True)
    worst = max(costs)
    text = f"{worst:.0f} ({', '.join(f'{each:.0f}' for each in costs)})"
    yield Row("CPU seconds of a fit", worst, text, 300 if full else 40, at_most=True)


def judge_one(seed: int, data: Any, sim: Any, weights: Any, *, full: bool) -> Iterator[Row]:
    """One training, all but its AUC; bars hold for the full size."""
    features = len(FEATURES)
    rho = quality.correlations(data, sim, weights)
    parts = quality.slices(data, sim, weights, features)
    tests = [quality.chi2(data[:, j], sim[:, j], weights) for j in range(features)]
    for name, value, bar in (
        ("mean |delta rho|, %", float(rho.mean()), 0.4),
        ("max |delta rho|, %", float(rho.max()), 1.2),
        ("KS in slices, mean", float(parts.mean()), 0.010),
        ("KS in slices, max", float(parts.max()), 0.02),
        ("chi2/ndf, worst feature", max(tests), 2.0),
    ):
        limit = bar if full else None
        yield Row(f"seed {seed}: {name}", value, f"{value:.4f}", limit, at_most=True)
    columns = {name: sim[:, j] for j, name in enumerate(FEATURES)}
    leaks = sum(
        int((((columns[n] > low) & (columns[n] < high)) | (columns[n] < 0)).sum())
        for n, (low, high) in GAPS.items()
    )
    yield Row(f"seed {seed}: rows outside of the supports", leaks, str(leaks), 0, at_most=True)


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


def repeat(call: Callable[[int], object], times: int) -> None:
    for number in range(times):
        call(number)


def judge_training(setup: Setup) -> Iterator[Row]:
    """Training steps of 1024 rows, 4 features."""
    from rootml.sbi.morphing._flow import CouplingFlow, coupling_spec
    from rootml.sbi.morphing._training import Problem, Schedule, Trainer

    spec = coupling_spec(4, 7, layers=6, hidden=(64, 64), bins=8)
    x, context = inputs(20_000, 4, 7)
    problem = Problem(x.numpy(), context.numpy(), np.full(len(x), 1 / len(x)))
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


def judge_coverage(setup: Setup) -> Iterator[Row]:
    """How often the true quantiles of the data lie in the bands of the ensemble."""
    small = Setup(setup.events // 5, setup.steps // 3, (0,), setup.members, 1, setup.folder)
    sim, data = files(small)
    morpher = Morpher(
        FEATURES, CONDITIONS, id="event", ensemble=small.members, steps=small.steps
    ).fit(sim, data, progress=False)
    truth = toy("data", 2_000_000, seed=77)
    fresh: dict[str, Any] = dict(toy("sim", 400_000, seed=78))
    fresh["event"] = np.arange(len(fresh["pt"]))
    weights = morpher.kinematics.weights(matrix(fresh)[:, len(FEATURES) :])
    kinds: list[Any] = ["nominal", "up", "down", *range(1, small.members + 1)]
    found = {which: morpher.transform(fresh, which=which) for which in kinds}
    yield from coverage_rows(found, truth, weights, small.members)


def coverage_rows(found: Any, truth: Any, weights: Any, members: int) -> Iterator[Row]:
    """Bands row by row (up, down), and bands of the quantiles of the members."""
    levels = np.linspace(0.025, 0.975, 39)
    inside: dict[str, list[bool]] = {"rows": [], "quantiles": []}
    for name in FEATURES:
        expected = np.quantile(truth[name], levels)
        q = {
            which: weighted_quantiles(each[name], weights, levels) for which, each in found.items()
        }
        # quantiles within an atom have no uncertainty: they are right or wrong
        used = expected != 0
        inside["rows"] += ((q["down"] <= expected) & (expected <= q["up"]))[used].tolist()
        spread = np.std([q[k] for k in range(1, members + 1)], axis=0, ddof=1)
        inside["quantiles"] += (np.abs(q["nominal"] - expected) <= spread)[used].tolist()
    for kind, title in (("rows", "up and down, row by row"), ("quantiles", "members' quantiles")):
        share = statistics.mean(inside[kind])
        text = f"{share:.2f} of {len(inside[kind])} quantiles (0.68 due)"
        yield Row(f"coverage of {title}", share, text)


def weighted_quantiles(values: Any, weights: Any, levels: Any) -> Any:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    at = np.searchsorted(total, levels * total[-1])
    return values[order][np.minimum(at, len(values) - 1)]


FIGURES: dict[str, Callable[[Setup], Iterator[Row]]] = {
    "speed": judge_speed,
    "training": judge_training,
    "quality": judge_quality,
    "coverage": judge_coverage,
}
TITLES = {
    "speed": "Carrying rows from simulation to data, one thread",
    "training": "Training, one thread",
    "quality": "The toy of arXiv:2403.18582",
    "coverage": "Uncertainty from bootstraps",
}
PEERS = [name for name in ("zuko autoregressive", "zuko coupling", "nflows coupling")
         if name not in missing()]  # fmt: skip


def parse() -> tuple[Setup, list[str], Path | None]:
    parser = argparse.ArgumentParser(description="rootml's morphing beside other flows.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the events, one seed")
    parser.add_argument("--only", default=",".join(FIGURES), help="figures, comma-separated")
    parser.add_argument("--members", type=int, default=10, help="bootstraps for the coverage")
    parser.add_argument("--data", type=Path, help="folder to keep the files in")
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    chosen = options.only.split(",")
    unknown = set(chosen) - set(FIGURES)
    if unknown:
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    folder = options.data or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    events, steps, seeds = (50_000, 800, (0,)) if options.quick else (500_000, 6000, (0, 1, 2))
    turns = 2 if options.quick else 5
    return Setup(events, steps, seeds, options.members, turns, folder), chosen, options.output


def main() -> int:
    setup, chosen, output = parse()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logger.setLevel(logging.INFO)
    torch.set_num_threads(1)
    others = ", ".join(map(installed, ("zuko", "nflows", "numba", "xgboost")))
    opening = [f"Measured on {machine()}, {others}.\n"]
    opening += [f"Missing, so not compared: {name}.\n" for name in missing()]
    tables = [(TITLES[name], FIGURES[name](setup)) for name in chosen]
    return report("\n".join(opening), tables, output)


if __name__ == "__main__":
    sys.exit(main())
