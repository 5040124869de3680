"""Compiled forests beside other engines: ns per event, ratios, start-up, one event, bit-equality.

Engines take turns in one process, on one thread, by CPU time; ratios are medians over rounds.
Models are trained by XGBoost on first use. A peer that is not installed is named as missing:

    pip install scikit-learn-intelex treelite tl2cgen onnxruntime

    python benchmarks/bdt.py                        everything
    python benchmarks/bdt.py --quick                fewer rounds, batches of 1 and 20,000 only
    python benchmarks/bdt.py --models A,B           some models
    python benchmarks/bdt.py --output figures.json  the figures as JSON too
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from harness_bdt.engines import ENGINES, MissingError, Score, Subject, make_subject
from harness_bdt.explain import explained
from harness_bdt.models import SPECS, events, model_path
from harness_bdt.timing import in_turns, one_event, ratio, start_up, two_threads
from numpy.typing import NDArray

from rootml._internal.reprs import Grid

BARS = {
    ("A", "XGBoost"): 50.0, ("B", "XGBoost"): 70.0, ("C", "XGBoost"): 55.0,
    ("D", "XGBoost"): 90.0, ("E", "XGBoost"): 85.0, ("A", "oneDAL"): 9.0, ("B", "oneDAL"): 13.0,
}  # fmt: skip
"""What the largest batch must reach: the other's time over ours."""
ROWS = 100_000


def main() -> None:
    """Print the tables."""
    options = _options()
    figures: dict[str, Any] = {"machine": _machine()}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models.split(","):
            figures[name] = _model(name, Path(folder), options)
    if options.output:
        options.output.write_text(json.dumps(figures, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--models", default=",".join(SPECS))
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def _machine() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
        cpu = next(line for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor()
    return f"{cpu.partition(':')[2].strip() or cpu}, load {os.getloadavg()[0]:.1f}"


def _model(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    spec = SPECS[name]
    x = events(spec, ROWS, seed=8)[0]
    subject = make_subject(name, model_path(name), x, folder)
    engines, missing = _engines(subject, options.engines.split(","))
    sizes = (1, 20_000) if options.quick else (1, 100, 1000, ROWS)
    rounds = 3 if options.quick else 9
    times = {size: in_turns(engines, x, size, rounds) for size in sizes}
    equal = {each: _equal(score, subject) for each, score in engines.items()}
    print(f"\n### {name}: {spec.text}, {spec.features} features\n")
    print(_table(name, times, equal))
    for each, why in missing.items():
        print(f"missing: {each} ({why})")
    model = subject.forest.compile()
    one = one_event(model, np.ascontiguousarray(x[:2000]), rounds)
    start = start_up(subject.path)
    threads = two_threads(model, x, rounds)
    print(
        f"\none event: {one['kernel']:.2f} us in the kernel, {one['python']:.2f} us from Python; "
        f"reading {start['load']:.2f} s; compile and first predictions {start['cold']:.2f} s cold "
        f"({start['cold_cpu']:.2f} s CPU), {start['warm']:.3f} s from the cache; "
        f"two threads {threads['threads']:.2f} x one, two processes {threads['processes']:.2f} x"
    )
    shown = explained(subject, min(rounds, 5))
    for what, (ours, theirs, times_faster) in shown.items():
        print(f"{what}: {ours:.2f} us/event, XGBoost {theirs:.1f} us: {times_faster:.0f} x")
    return {
        "ns": {str(n): {k: statistics.median(v) for k, v in t.items()} for n, t in times.items()},
        "ratio": {str(n): {k: ratio(t, k) for k in t} for n, t in times.items()},
        "equal": equal, "missing": missing, "one_event": one, "start_up": start,
        "two_threads": threads, "explained": shown,
    }  # fmt: skip


def _engines(subject: Subject, names: list[str]) -> tuple[dict[str, Score], dict[str, str]]:
    made: dict[str, Score] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            made[name] = ENGINES[name](subject)
            made[name](subject.x[:10])
        except MissingError as error:
            missing[name] = str(error)
        except Exception as error:  # noqa: BLE001 - a peer that fails is a row, not the end
            missing[name] = f"{type(error).__name__}: {error}"[:70].splitlines()[0]
    return made, missing


def _equal(score: Score, subject: Subject) -> str:
    """How many rows have XGBoost's margins bit by bit, or how far probabilities are off."""
    found = np.asarray(score(subject.x[: len(subject.margins)]))
    found = found.reshape(len(subject.margins), -1)
    if _is_probability(found, subject.margins):
        return f"probabilities within {np.abs(found - _probability(subject.margins)).max():.0e}"
    found = found[:, -subject.margins.shape[1] :]
    share = float(np.mean(found == subject.margins))
    return f"{100 * share:.4g} %"


def _is_probability(found: NDArray[Any], margins: NDArray[Any]) -> bool:
    inside = bool((found >= 0).all() and (found <= 1).all())
    return inside and not bool((margins >= 0).all() and (margins <= 1).all())


def _probability(margins: NDArray[Any]) -> NDArray[Any]:
    exact = margins.astype(np.float64)
    if margins.shape[1] == 1:
        return np.asarray(1 / (1 + np.exp(-exact)))
    raised = np.exp(exact - exact.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _table(name: str, times: dict[int, dict[str, list[float]]], equal: dict[str, str]) -> str:
    sizes = list(times)
    header = ("engine", *(f"ns at {n:,}" for n in sizes), "x ours", "bar", "margins equal")
    rows = []
    for engine in times[sizes[0]]:
        cells = [f"{statistics.median(times[n][engine]):,.1f}" for n in sizes]
        last = ratio(times[sizes[-1]], engine)
        bar = BARS.get((name, engine))
        verdict = "" if bar is None else f">= {bar:.0f} {'yes' if last >= bar else 'NO'}"
        rows.append((engine, *cells, f"{last:.2f}", verdict, equal[engine]))
    return str(Grid(header, rows))


if __name__ == "__main__":
    main()
