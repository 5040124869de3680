"""Peak memory of a training with many outputs: held-out log ratios are kept on disk.

One sample more than outputs, normal around different means, two inputs; a process of its own for
each size. Kept in memory, the log ratios of all events would take 8 bytes an event and output, and
most steps another copy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.report import Row

from harness_sbi.turns import ONE_THREAD

BAR_GB = 3.0
WORKER = Path(__file__).with_name("training_worker.py")


@dataclass(frozen=True)
class Size:
    """Events of all samples together, and ratios that are learned."""

    events: int
    outputs: int

    @property
    def in_memory(self) -> float:
        """Gigabytes that the log ratios would take."""
        return 8e-9 * self.events * self.outputs


SIZES = (Size(1_000_000, 40), Size(10_000_000, 4), Size(10_000_000, 40))
QUICK = (Size(200_000, 10), Size(200_000, 40))


def memory_rows(*, quick: bool) -> Iterator[Row]:
    """Peak memory, and how much of it came with the training."""
    for size in QUICK if quick else SIZES:
        found = measured(size)
        text = (
            f"{found['peak']:.2f} GB, of which {found['before']:.2f} before the training; "
            f"{found['seconds']:.0f} s of CPU; in memory the log ratios would be "
            f"{size.in_memory:.1f} GB and copies"
        )
        name = f"{size.events:,} events, {size.outputs} outputs"
        yield Row(name, found["peak"], text, BAR_GB, at_most=True, unit=" GB")


def measured(size: Size) -> dict[str, float]:
    """What a process of its own says."""
    with tempfile.TemporaryDirectory() as folder:
        job = json.dumps({"events": size.events, "outputs": size.outputs, "folder": folder})
        done = subprocess.run(
            [sys.executable, str(WORKER), job], env={**os.environ, **ONE_THREAD}, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer
