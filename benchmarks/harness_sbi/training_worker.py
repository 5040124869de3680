"""A process of its own that trains with many outputs and says what memory it took."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import rootml
from rootml import sbi


def write_samples(folder: Path, events: int, outputs: int) -> None:
    """One file per sample, by chunks."""
    rows = events // (outputs + 1)
    for number in range(outputs + 1):
        rng = np.random.default_rng(number)
        x = rng.normal((0.02 * number, 0.0), 1.0, (rows, 2)).astype(np.float32)
        table = pa.table({"x": x[:, 0], "y": x[:, 1]})
        pq.write_table(table, folder / f"p{number}.parquet", row_group_size=100_000)


def main() -> None:
    """Train, and say what it took."""
    job = json.loads(sys.argv[1])
    folder, outputs = Path(job["folder"]), job["outputs"]
    write_samples(folder, job["events"], outputs)
    torch.set_num_threads(1)
    samples = {f"p{k}": rootml.open(str(folder / f"p{k}.parquet")) for k in range(outputs + 1)}
    estimator = sbi.RatioEstimator(
        ["x", "y"], ensemble=2, hidden=(16,), epochs=1, progress=False, threads=1,
        buffer_bytes="256 MB",
    )  # fmt: skip
    before, began = peak_gb(), time.process_time()
    estimator.fit(samples, reference="p0", folder=folder / "networks")
    answer = {
        "before": before,
        "peak": peak_gb(),
        "seconds": time.process_time() - began,
    }
    print(json.dumps(answer))


def peak_gb() -> float:
    """Highest resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
