"""The filter stage on worker processes beside its peers, and the cost of many files.

The filter: one cut over two jagged and three scalar columns, 1,000,000 events, with one and with
two workers (processes for Dask, threads for RDataFrame), in a file of 1,505 columns, as wide as
NanoAOD, and in a file of just the five. The best of a few turns counts, so that RDataFrame's
compilation (the first turn) does not; dask-awkward's time includes the building of its graph,
which every analysis pays, once as uproot's documentation begins and once given the columns it
needs and to open no file before. Those who share a cluster take turns on it, each when the
scheduler has forgotten the turn before: dask-awkward calls equal things by equal names, and Dask
gives a result that it still has. All must select the same number of events.

Beside it what nobody can beat: the CPU time of decompressing the five columns on one core, and the
way of an empty task to a worker of the same cluster and back.

``--files``: the same events in 1, 10, 100 and 1000 files, here and on two workers, and the
planning of 10,000 files with headers unknown and known.

    python benchmarks/scaling.py                   the filter stage
    python benchmarks/scaling.py --files           many files
    python benchmarks/scaling.py [--files] --quick fewer events, files and turns
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot
from harness.measure import machine, status_mb
from harness.report import Row, report

import rootml

DATA = Path(__file__).parent / "data"
CLUSTER = 50_000
TRIGGERS = 1500
EMPTY = "an empty task there and back"
OURS = "Sum$(Jet_pt * (abs(Jet_eta) < 2.4)) > 150 && MET_pt > 20 && nMuon >= 1 && trigger"
THEIRS = "Sum(Jet_pt[abs(Jet_eta) < 2.4f]) > 150 && MET_pt > 20 && nMuon >= 1 && trigger"
COLUMNS = ("Jet_pt", "Jet_eta", "MET_pt", "nMuon", "trigger")
COUNTS = (1, 10, 100, 1000)
PLANNED = 10_000


# --- data --------------------------------------------------------------------------------------


def events_of(rng: np.random.Generator, count: int) -> dict[str, Any]:
    """The five columns of `count` events."""
    jets = rng.poisson(4.0, count)
    total = int(jets.sum())
    return {
        "Jet_pt": ak.unflatten(rng.exponential(40, total).astype(np.float32), jets),
        "Jet_eta": ak.unflatten(rng.normal(0, 2, total).astype(np.float32), jets),
        "MET_pt": rng.exponential(30, count).astype(np.float32),
        "nMuon": rng.poisson(0.8, count).astype(np.int32),
        "trigger": rng.random(count) < 0.7,
    }


def write(path: Path, events: int, *, seed: int = 6, triggers: int = 0) -> Path:
    """A file, made once: clusters of 50,000 events, `triggers` bits that are rarely set beside."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    partial = path.with_suffix(".partial")
    with uproot.recreate(partial, compression=uproot.ZSTD(5)) as file:
        for start in range(0, events, CLUSTER):
            count = min(CLUSTER, events - start)
            part = events_of(rng, count)
            rare: npt.NDArray[np.bool_] = rng.random(count) < 1e-3
            part |= {f"HLT_path{number}": rare for number in range(triggers)}
            if not start:
                types = {name: ak.type(values).content for name, values in part.items()}
                tree = file.mktree("Events", types)
            tree.extend(part)
    partial.rename(path)
    return path


# --- the filter stage --------------------------------------------------------------------------


Found = tuple[int, float]
"""Events selected, and the seconds of the best turn."""


def turns(
    functions: dict[str, Callable[[], int]],
    number: int,
    before: Callable[[], None] = lambda: None,
) -> dict[str, Found]:
    """What some functions give in a number of turns, one after the other in each."""
    found: dict[str, Found] = {}
    for _ in range(number):
        for name, function in functions.items():
            before()
            start = time.perf_counter()
            count = function()
            seconds = time.perf_counter() - start
            found[name] = count, min(seconds, found[name][1] if name in found else seconds)
    return found


@contextmanager
def cluster(workers: int) -> Iterator[Any]:
    """A client of worker processes whose memory glibc keeps, for all who work on them.

    Dask's default takes the memory of each array back from the process, which costs dask-awkward a
    tenth more, and rootml nothing: it undoes that in its workers (see docs/scaling.md).
    """
    import distributed
    from dask import config

    dask: Any = distributed
    configuration: Any = config
    for name, size in (("TRIM", 128 << 20), ("MMAP", 32 << 20)):  # glibc takes no more for MMAP
        variable = f"distributed.nanny.pre-spawn-environ.MALLOC_{name}_THRESHOLD_"
        configuration.set({variable: size})
    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    with dask.LocalCluster(**options) as made, dask.Client(made) as client:
        yield client


def forgotten(client: Any) -> None:
    """Wait until the scheduler has no task left."""
    while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
        time.sleep(0.02)


def on_dask(path: Path, workers: int, number: int) -> dict[str, Found]:
    """rootml and dask-awkward on the same worker processes, and a task that does nothing."""

    def ours() -> int:
        data = rootml.open(f"{path}:Events").filter(OURS).on(client)
        return data.scan().num_rows

    def theirs(**options: Any) -> int:
        events = uproot.dask({str(path): "Events"}, **options)
        central = events.Jet_pt[abs(events.Jet_eta) < 2.4]
        passed = (ak.sum(central, axis=1) > 150) & (events.MET_pt > 20)
        passed = passed & (events.nMuon >= 1) & events.trigger
        return int(ak.sum(passed, axis=0).compute(scheduler=client))

    given = {"filter_name": list(COLUMNS), "open_files": False}
    functions: dict[str, Callable[[], int]] = {
        "rootml": ours,
        "dask-awkward": partial(theirs, steps_per_file=4 * workers),
        "dask-awkward, given its columns": partial(theirs, steps_per_file=workers, **given),
    }
    with cluster(workers) as client:
        found = turns(functions, number, partial(forgotten, client))
        empty = partial(client.submit, len, (), pure=False)
        return found | turns({EMPTY: lambda: int(empty().result())}, 5 * number)


def in_root(path: Path, threads: int, number: int) -> Found:
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

    def count() -> int:
        return int(frame("Events", path).Filter(THEIRS).Count().GetValue())

    print(json.dumps(turns({"RDataFrame": count}, number)["RDataFrame"]))


def compared(path: Path, number: int) -> Iterator[Row]:
    """Rows of one file against both peers."""
    for workers in (1, 2):
        found = on_dask(path, workers, number)
        _, empty = found.pop(EMPTY)
        found["RDataFrame"] = in_root(path, workers, max(number, 2))
        counts = {name: count for name, (count, _) in found.items()}
        assert len(set(counts.values())) == 1, counts
        _, mine = found.pop("rootml")
        for peer, (_, seconds) in sorted(found.items(), reverse=True):
            bar = 1.0 if peer == "RDataFrame" else 5.0
            text = f"{seconds / mine:.2f}x ({seconds:.3f} s against {mine:.3f} s)"
            name = f"{workers} worker(s), against {peer}"
            yield Row(name, seconds / mine, text, bar, unit="x")
        yield Row(f"{workers} worker(s), {EMPTY}", empty, f"{empty:.3f} s")


def limit(path: Path, number: int) -> Iterator[Row]:
    """CPU seconds of decompression alone, and of the whole scan in this process."""
    from rootml.storage._blocks import decompress

    with uproot.open(path) as file:
        tree, baskets = file["Events"], []
        for name in COLUMNS:
            for basket in range(tree[name].num_baskets):
                raw, objlen = _compressed(tree[name], basket)
                baskets.append((memoryview(raw), objlen))
    least = cpu(lambda: [decompress(raw, size, reuse=True) for raw, size in baskets], number)
    yield Row("decompression alone, one core", least, f"{least:.3f} CPU s")

    def scan() -> None:
        rootml.open(f"{path}:Events").filter(OURS).scan(threads=1, progress=False)

    def look() -> None:
        assert rootml.open(f"{path}:Events").select(["MET_pt"]).types()

    whole, opening = cpu(scan, number), cpu(look, number)
    yield Row("rootml in this process", whole, f"{whole:.3f} CPU s, {whole / least:.1f}x that")
    yield Row("of which to find a column", opening, f"{opening:.4f} CPU s")


def _compressed(branch: Any, number: int) -> tuple[bytes, int]:
    """The blocks of a basket as they are in the file, and their length decompressed."""
    seek = int(branch.member("fBasketSeek")[number])
    size = int(branch.member("fBasketBytes")[number])
    chunk = branch.file.source.chunk(seek, seek + size)
    raw = bytes(chunk.raw_data)
    keylen, objlen = int.from_bytes(raw[14:16], "big"), int.from_bytes(raw[6:10], "big")
    return raw[keylen:], objlen


def cpu(function: Callable[[], Any], number: int) -> float:
    """CPU seconds of the best of some turns."""
    seconds = []
    for _ in range(number):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


# --- many files --------------------------------------------------------------------------------


def many(count: int, events: int) -> Path:
    """A folder of `count` files with `events` events in all."""
    folder = DATA / f"files_{events}_{count}"
    for number in range(count):
        write(folder / f"f_{number:05d}.root", events // count, seed=number)
    return folder


def files_worker(folder: str, workers: int) -> None:
    """Scan and stream a folder, in a process of its own; prints what it took."""
    from contextlib import nullcontext

    figures = {}
    with cluster(workers) if workers else nullcontext() as client:
        data = rootml.open(f"{folder}/*.root:Events").filter(OURS).on(client)
        before = status_mb("VmRSS")
        for name in ("unknown", "known"):
            start = time.perf_counter()
            rootml.open(f"{folder}/*.root:Events").select(["MET_pt"])._reader.partitions(
                16_000_000
            )
            figures[name] = time.perf_counter() - start
        start = time.perf_counter()
        index = data.scan(progress=False)
        figures["scan"] = time.perf_counter() - start
        loader = data.select(["MET_pt", "nMuon"]).batches(4096, shuffle=True, seed=1)
        start = time.perf_counter()
        rows = sum(batch.num_rows for batch in loader.iterate())
        figures["stream"] = time.perf_counter() - start
        assert rows == index.num_rows, (rows, index.num_rows)
        figures["memory"] = status_mb("VmHWM") - before
    print(json.dumps(figures))


def plan_worker(folder: str) -> None:
    """Open and plan a folder; prints seconds and partitions."""
    start = time.perf_counter()
    data = rootml.open(f"{folder}/*.root:Events").select(["MET_pt", "nMuon", "Jet_pt"])
    partitions = data._reader.partitions(20_000)  # so small that clusters and baskets are needed
    print(json.dumps([time.perf_counter() - start, len(partitions)]))


def apart(option: str, *arguments: object, cache: str) -> Any:
    """What a process of this script prints as JSON."""
    command = [sys.executable, __file__, option, *map(str, arguments)]
    environment = {**os.environ, "ROOTML_CACHE": cache}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def of_files(counts: tuple[int, ...], events: int) -> Iterator[Row]:
    """Rows of scan and stream for each number of files."""
    for workers in (0, 2):
        place = f"{workers} workers" if workers else "threads here"
        for count in counts:
            folder = many(count, events)
            with tempfile.TemporaryDirectory() as cache:
                found = apart("--files-worker", folder, workers, cache=cache)
            whole = found["scan"] + found["stream"]
            text = (
                f"plan {found['unknown']:.2f} s (known {found['known']:.2f}), "
                f"scan {found['scan']:.2f} s, stream {found['stream']:.2f} s: "
                f"{1e3 * whole / count:.1f} ms per file, {1e6 * whole / events:.2f} us per event; "
                f"driver +{found['memory']:.0f} MB"
            )
            yield Row(f"{count} files, {place}", whole, text)


def of_planning(count: int, source: Path) -> Iterator[Row]:
    """Rows of the planning of many files: links to those of one folder."""
    with tempfile.TemporaryDirectory(dir=DATA) as place:
        folder = Path(place) / "files"
        folder.mkdir()
        paths = sorted(source.iterdir())
        for number in range(count):
            os.link(paths[number % len(paths)], folder / f"f_{number:05d}.root")
        for known, bar in ((False, None), (True, 10.0)):
            seconds, partitions = apart("--plan-worker", folder, cache=f"{place}/cache")
            text = f"{seconds:.2f} s, {partitions:,} partitions"
            name = f"planning {count:,} files, headers {'known' if known else 'unknown'}"
            yield Row(name, seconds, text, bar, at_most=True, unit=" s")
        shutil.rmtree(folder)


# --- all ---------------------------------------------------------------------------------------


def tables(options: argparse.Namespace) -> Iterator[tuple[str, Iterator[Row]]]:
    """Title and rows of each table."""
    quick = options.quick
    if options.files:
        events, counts = (100_000, (1, 10, 100)) if quick else (1_000_000, COUNTS)
        yield f"{events:,} events in many files", of_files(counts, events)
        number = 1000 if quick else PLANNED
        yield "Partitions of many files", of_planning(number, many(counts[-1], events))
        return
    events, number = (200_000, 2) if quick else (1_000_000, 5)
    wide = write(DATA / f"filter_wide_{events}.root", events, triggers=TRIGGERS)
    yield (
        f"The filter stage, {events:,} events, 5 of {TRIGGERS + 5:,} columns",
        compared(wide, 2),
    )
    narrow = write(DATA / f"filter_narrow_{events}.root", events)
    yield (
        f"The filter stage, {events:,} events, 5 of 5 columns",
        compared(narrow, number),
    )
    for title, path in (("1,505", wide), ("five", narrow)):
        yield f"One core, five of {title} columns", limit(path, number)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer events, files and turns")
    parser.add_argument("--files", action="store_true", help="the cost of many files")
    parser.add_argument("--root", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--files-worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--plan-worker", nargs=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.root:
        root_worker(options.root[0], int(options.root[1]), int(options.root[2]))
    elif options.files_worker:
        files_worker(options.files_worker[0], int(options.files_worker[1]))
    elif options.plan_worker:
        plan_worker(*options.plan_worker)
    else:
        return report(machine(), tables(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
