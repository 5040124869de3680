"""Fits of learned ratios, RooFit's own way and ours: ratio tables, each figure with its bar.

One problem with exact ratios (`harness_sbi/problem.py`), fitted in turns, each way in a process of
one thread: with ``RooFit.bindFunction`` as ROOT's tutorials do, by the three routes of
`to_roofit`, and by `sbi.fit` ("iminuit"). A fit is NLL, MIGRAD and HESSE from a common start;
ratios of CPU times are medians over the turns. A peer that crashes is started anew, and the crash
reported.

    python benchmarks/sbi.py               everything, up to a million events
    python benchmarks/sbi.py --quick       up to 100,000 events, fewer turns
    python benchmarks/sbi.py --events 1000 fits of one number of events
    python benchmarks/sbi.py --only training-memory    peak memory of trainings with many outputs
    python benchmarks/sbi.py --only workers            toys on Dask beside toys in this process
    python benchmarks/sbi.py --only gradient           value and gradient beside JAX
    python benchmarks/sbi.py --before X    an analysis of the LHC's size, beside the version in the
                                           folder X (a worktree of this project)
    python benchmarks/sbi.py --before X --only toys    toys beside that version, in rounds
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from harness.measure import machine
from harness.report import Row, report
from harness_sbi.fits import Outcome
from harness_sbi.gradient import gradient_tables
from harness_sbi.problem import START, Problem
from harness_sbi.scale import SIZES as SCALES
from harness_sbi.scale import scale_rows
from harness_sbi.toys import toy_rows
from harness_sbi.training_memory import memory_rows
from harness_sbi.turns import Turns, turns
from harness_sbi.workers import worker_rows

SIZES = {1_000: 15, 10_000: 9, 100_000: 5, 1_000_000: 3}
PEERS = ("bindFunction, NumPy", "bindFunction, torch")
OURS = ("columns", "function", "nll", "iminuit")
BAR_AT = 100_000
BARS = {
    BAR_AT: {"iminuit": 20.0, "nll": 12.0},
    1_000: dict.fromkeys(("iminuit", "nll"), 1.0),
}  # times as fast as the faster peer
EVALUATED = 1_000_000
CODES = ("log-quadratic", "code5")


def fit_rows(problem: Problem, number: int) -> Iterator[Row]:
    """Milliseconds of a fit, and how many times faster than each peer."""
    found = turns(problem, number, ours=OURS)
    peers = [name for name in PEERS if found.outcomes[name]]
    fastest = min(peers, key=lambda name: median(found.outcomes[name]), default=None)
    best = found.outcomes["iminuit"][number]
    for name, outcomes in found.outcomes.items():
        bar = BARS.get(problem.events, {}).get(name)
        if not outcomes:
            yield Row(name, math.nan, crashed(found, name, number))
            continue
        ratio = paired(found.outcomes[fastest], outcomes) if fastest else math.nan
        against = ", ".join(
            f"{paired(found.outcomes[peer], outcomes):.1f}x {peer}"
            for peer in peers
            if peer != name
        )
        last = outcomes[max(outcomes)]
        shift = max(abs(last.values[p] - best.values[p]) / best.errors[p] for p in START)
        error = max(abs(last.errors[p] / best.errors[p] - 1.0) for p in START)
        agreed = f"from iminuit {shift:.4f} sigma, errors {error:.2%}"
        time = f"{1e3 * median(outcomes):.2f} ms"
        text = "; ".join(filter(None, [time, against, agreed, crashed(found, name, number)]))
        yield Row(name, ratio, text, bar, unit="x")


def crashed(found: Turns, name: str, number: int) -> str:
    """What to say of crashes, if there were some."""
    ends = found.crashes.get(name, [])
    if not ends:
        return ""
    reasons = ", ".join(sorted({end.rsplit(" ended with ", 1)[1] for end in ends}))
    return f"crashed {len(ends)} times ({reasons}), {len(found.outcomes[name])} of {number} fits"


def median(outcomes: Mapping[int, Outcome]) -> float:
    """Seconds of a fit."""
    return statistics.median(outcome.seconds for outcome in outcomes.values())


def paired(top: Mapping[int, Outcome], bottom: Mapping[int, Outcome]) -> float:
    """Median ratio of times taken in turns; NaN if one of them crashed in each."""
    both = sorted(top.keys() & bottom.keys())
    if not both:
        return math.nan
    return statistics.median(top[turn].seconds / bottom[turn].seconds for turn in both)


def bandwidth() -> float:
    """Bytes per second that one thread reads: the greatest number of a long array."""
    array = np.ones(16_000_000)
    return best_of(lambda: np.max(array), 7, array.nbytes)


def best_of(action: Callable[[], object], number: int, size: int) -> float:
    """`size` over the shortest time of `number` calls."""
    times = []
    for _ in range(number):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return size / min(times)


def evaluation_rows() -> Iterator[Row]:
    """One evaluation of a long likelihood against reading its columns once."""
    read = bandwidth()
    for code in CODES:
        yield from evaluation_rows_of(Problem(EVALUATED, code), read)


def evaluation_rows_of(problem: Problem, read: float) -> Iterator[Row]:
    """The same for one interpolation."""
    like = problem.likelihood
    theta = like.start + 0.1
    assert like.unbinned is not None
    size = 8 * EVALUATED * like.unbinned.layout.num_rows
    calls: dict[str, Callable[[], object]] = {
        "value": lambda: like.nll(theta),
        "value and gradient": lambda: like.nll_gradient(theta),
    }
    for name, call in calls.items():
        call()
        speed = best_of(call, 9, size)
        share = speed / read
        text = (
            f"{1e3 * size / speed:.1f} ms, {speed / 1e9:.1f} of {read / 1e9:.1f} GB/s: "
            f"{1e9 * size / speed / EVALUATED:.2f} ns an event"
        )
        yield Row(f"{EVALUATED:,} events, {problem.code}, {name}", share, text)


def scale_tables(before: Path) -> Iterator[tuple[str, Iterable[Row]]]:
    for size in SCALES:
        title = (
            f"{size.processes} processes, {size.shapes} shape and {size.yields} other nuisances, "
            f"{size.observed:,} events, {size.reference:,} of the reference"
        )
        yield title, scale_rows(size, before)


def fit_tables(sizes: Iterable[int], *, quick: bool) -> Iterator[tuple[str, Iterable[Row]]]:
    for code in CODES:
        for events in sizes:
            title = f"A fit, {events:,} events, {code}: time, and how many times faster than"
            yield title, fit_rows(Problem(events, code), 3 if quick else SIZES[events])


def tables(quick: bool) -> Iterator[tuple[str, Iterable[Row]]]:
    yield from fit_tables([n for n in SIZES if not quick or n <= BAR_AT], quick=quick)
    yield "One evaluation against the bandwidth of memory", evaluation_rows()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fits of ratios in RooFit and in iminuit.")
    parser.add_argument("--quick", action="store_true", help="up to 100,000 events, three turns")
    parser.add_argument("--events", type=int, choices=list(SIZES), help="fits of so many only")
    parser.add_argument("--before", type=Path, help="a worktree with an older version")
    parser.add_argument(
        "--only",
        choices=["training-memory", "workers", "gradient", "toys"],
        help="one of the longer tables",
    )
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    return parser.parse_args()


def main() -> int:
    options = parse()
    warnings.filterwarnings("ignore", "(?s).*alpha stage")
    quick, before = options.quick, options.before
    chosen = tables(quick=quick) if before is None else scale_tables(before.resolve())
    if options.events is not None:
        chosen = fit_tables([options.events], quick=quick)
    if options.only == "training-memory":
        chosen = iter([("Peak memory of a training", memory_rows(quick=quick))])
    if options.only == "workers":
        chosen = iter([("Toys on Dask", worker_rows())])
    if options.only == "gradient":
        chosen = gradient_tables()
    if options.only == "toys" and before is not None:
        chosen = iter([("Toys", toy_rows(before.resolve()))])
    return report(f"Measured on {machine()}; one thread.", chosen, options.output)


if __name__ == "__main__":
    sys.exit(main())
