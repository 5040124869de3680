"""The filter stage on one and on two workers: rootml on Dask, RDataFrame, dask-awkward.

One cut over two jagged and three scalar columns of a NanoAOD-like file. In turns, each with one
and with two workers (processes for Dask, threads for RDataFrame); the best of the turns counts, so
that RDataFrame's compilation (the first turn) does not. dask-awkward's time includes the building
of its graph, which every analysis pays. All must select the same number of events.

    python benchmarks/scaling.py           1,000,000 events, five turns
    python benchmarks/scaling.py --quick   200,000 events, three turns
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from harness.measure import machine
from harness.report import Row, table

import rootml

DATA = Path(__file__).parent / "data"
CLUSTER = 25_000
OURS = "Sum$(Jet_pt * (abs(Jet_eta) < 2.4)) > 150 && MET_pt > 20 && nMuon >= 1 && trigger"
THEIRS = "Sum(Jet_pt[abs(Jet_eta) < 2.4f]) > 150 && MET_pt > 20 && nMuon >= 1 && trigger"


def write(events: int) -> Path:
    """The file, made once: jets in lists, scalars, clusters of 25,000 events."""
    path = DATA / f"filter_{events}.root"
    if path.exists():
        return path
    DATA.mkdir(exist_ok=True)
    rng = np.random.default_rng(6)
    with uproot.recreate(path, compression=uproot.ZSTD(5)) as file:
        for start in range(0, events, CLUSTER):
            count = min(CLUSTER, events - start)
            jets = rng.poisson(4.0, count)
            total = int(jets.sum())
            part = {
                "Jet_pt": ak.unflatten(rng.exponential(40, total).astype(np.float32), jets),
                "Jet_eta": ak.unflatten(rng.normal(0, 2, total).astype(np.float32), jets),
                "MET_pt": rng.exponential(30, count).astype(np.float32),
                "nMuon": rng.poisson(0.8, count).astype(np.int32),
                "trigger": rng.random(count) < 0.7,
            }
            if not start:
                types = {name: ak.type(values).content for name, values in part.items()}
                tree = file.mktree("Events", types)
            tree.extend(part)
    return path


def turns(function: Callable[[], int], number: int) -> tuple[int, float]:
    """Events selected, and the seconds of the best turn."""
    seconds = []
    for _ in range(number):
        start = time.perf_counter()
        found = function()
        seconds.append(time.perf_counter() - start)
    return found, min(seconds)


def on_dask(path: Path, workers: int, number: int) -> dict[str, tuple[int, float]]:
    """rootml and dask-awkward on the same worker processes."""
    import distributed
    from dask import config

    dask: Any = distributed
    configuration: Any = config

    def ours() -> int:
        data = rootml.open(f"{path}:Events").filter(OURS).on(client)
        return data.scan().num_rows

    def theirs() -> int:
        events = uproot.dask({str(path): "Events"}, steps_per_file=4 * workers)
        central = events.Jet_pt[abs(events.Jet_eta) < 2.4]
        passed = (ak.sum(central, axis=1) > 150) & (events.MET_pt > 20)
        passed = passed & (events.nMuon >= 1) & events.trigger
        return int(ak.sum(passed, axis=0).compute(scheduler=client))

    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):  # see Dataset.on
        configuration.set({f"distributed.nanny.pre-spawn-environ.{name}": 2**28})
    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    with dask.LocalCluster(**options) as cluster, dask.Client(cluster) as client:
        return {"rootml": turns(ours, number), "dask-awkward": turns(theirs, number)}


def in_root(path: Path, threads: int, number: int) -> tuple[int, float]:
    """RDataFrame, in a process of its own: implicit threads cannot be taken back."""
    command = [sys.executable, __file__, "--root", str(path), str(threads), str(number)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found, seconds = json.loads(done.stdout.splitlines()[-1])
    return found, seconds


def root_worker(path: str, threads: int, number: int) -> None:
    """What `in_root` runs."""
    import ROOT

    if threads > 1:
        ROOT.EnableImplicitMT(threads)
    frame = ROOT.RDataFrame
    print(
        json.dumps(turns(lambda: frame("Events", path).Filter(THEIRS).Count().GetValue(), number))
    )


def measure(path: Path, number: int) -> list[Row]:
    """The rows of the table."""
    rows = []
    for workers in (1, 2):
        found = on_dask(path, workers, number)
        found["RDataFrame"] = in_root(path, workers, number)
        counts = {name: count for name, (count, _) in found.items()}
        assert len(set(counts.values())) == 1, counts
        mine = found["rootml"][1]
        for peer, bar in (("RDataFrame", 1.0), ("dask-awkward", 5.0)):
            ratio = found[peer][1] / mine
            text = f"{ratio:.2f}x ({found[peer][1]:.3f} s against {mine:.3f} s)"
            rows.append(Row(f"{workers} worker(s), against {peer}", ratio, text, bar, unit="x"))
    return rows


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer events and turns")
    parser.add_argument("--root", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.root:
        root_worker(options.root[0], int(options.root[1]), int(options.root[2]))
        return 0
    events, number = (200_000, 3) if options.quick else (1_000_000, 5)
    print(machine())
    rows = measure(write(events), number)
    print(table(f"The filter stage, {events:,} events", rows))
    return 0 if all(row.passes for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
