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
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import xgboost
from harness.measure import installed, machine
from harness.report import Row, logger, report
from harness_morphing.coverage import judge_coverage
from harness_morphing.on_few import judge_small
from harness_morphing.on_toy import judge_quality
from harness_morphing.on_wide import judge_wide
from harness_morphing.peers import missing
from harness_morphing.setup import Setup
from harness_morphing.speed import judge_generator, judge_speed, judge_training

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
