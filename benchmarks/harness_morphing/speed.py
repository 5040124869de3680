"""Rows carried over, events drawn and steps trained per second, beside other flows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from harness.report import Row

import rootml
from harness_morphing.peers import Peer, inputs, missing, seconds
from harness_morphing.setup import Setup, written
from rootml.sbi.morphing import Generator, Morpher

PEERS = [name for name in ("zuko autoregressive", "zuko coupling", "nflows coupling")
         if name not in missing()]  # fmt: skip


def quick_morpher(setup: Setup, features: int) -> tuple[Morpher, dict[str, Any]]:
    """A morpher of so many features, a third of them with atoms, and rows for it."""
    names, conditions = [f"f{j}" for j in range(features)], ["c0", "c1", "c2"]
    datasets = []
    for kind, shift in (("sim", 0.0), ("data", 0.3)):
        rng = np.random.default_rng(features)
        x = rng.normal(shift, 1, (20_000, features)) @ (np.eye(features) + 0.3)
        x[:, ::3] = np.maximum(x[:, ::3], 0)
        columns = dict(zip(names, x.astype("f4").T, strict=True))
        columns |= dict(zip(conditions, rng.normal(size=(3, 20_000)).astype("f4"), strict=True))
        path = setup.folder / f"{kind}_{features}.parquet"
        datasets.append(written(path, columns))
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
