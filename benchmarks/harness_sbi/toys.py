"""Toys per second beside another version, in rounds.

A toy is drawn, fitted, and fitted again with mu held. Each version has a process of one thread
that draws toys when it is asked to, and answers with its CPU time. A round asks each for few and
for more toys; the difference is what toys take, without what is prepared once.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from harness.report import Row

from harness_sbi.scale import HERE, Size, likelihood
from harness_sbi.turns import ONE_THREAD
from rootml import sbi

SIZE = Size(3, 20, 20, 3_000, 100_000)
ROUNDS = 5
NOW, BEFORE = (4, 24), (1, 7)  # few and more toys
BAR = 30.0


class Drawer:
    """The process of a version in a folder."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        paths = os.pathsep.join([str(folder / ".editable"), str(HERE / "benchmarks")])
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "harness_sbi.toys"],
            env={**os.environ, **ONE_THREAD, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": paths},
            cwd=HERE / "benchmarks", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._process = stack.enter_context(process)
        assert process.stdin is not None
        stack.callback(process.stdin.close)

    def seconds(self, few: int, more: int) -> float:
        """CPU seconds of a toy."""
        return (self._taken(more) - self._taken(few)) / (more - few)

    def _taken(self, number: int) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(number, file=self._process.stdin, flush=True)
        return float(json.loads(self._process.stdout.readline()))


def toy_rows(before: Path) -> Iterator[Row]:
    """How many times as many toys per second as the version in a folder."""
    with ExitStack() as stack:
        now, then = Drawer(HERE, stack), Drawer(before, stack)
        for drawer in (now, then):
            drawer.seconds(1, 2)  # loads the code
        rounds = [(now.seconds(*NOW), then.seconds(*BEFORE)) for _ in range(ROUNDS)]
    ratios = sorted(theirs / ours for ours, theirs in rounds)
    ours, theirs = (1e3 * statistics.median(each) for each in zip(*rounds, strict=True))
    text = (
        f"{ours:.0f} ms a toy, {theirs:.0f} before; "
        f"{', '.join(f'{ratio:.0f}x' for ratio in ratios)} in {ROUNDS} rounds"
    )
    yield Row("toys", statistics.median(ratios), text, BAR, unit="x")


def main() -> None:
    """Draw as many toys as each line of input says."""
    like = likelihood(SIZE)
    reference = like.reference
    for seed, line in enumerate(sys.stdin):
        begin = time.process_time()
        sbi.toys(
            like.model, reference, number=int(line), seed=seed, truth={"mu": 1.0},
            tests=[{"mu": 1.0}], progress=False,
        )  # fmt: skip
        print(json.dumps(time.process_time() - begin), flush=True)


if __name__ == "__main__":
    main()
