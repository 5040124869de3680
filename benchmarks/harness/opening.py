"""What opening files takes: wide ones, and many small ones; CPU seconds, in turns with peers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

import rootml
from rootml.storage import open_table

TREE = "Events"
FLAGS, NUMBERS, LISTS = 900, 200, 200
SCHEMAS = 3
READ = ["x3", "x7"]
SMALL = [f"x{number}" for number in range(8)]


def wide_tree(path: Path, rng: np.random.Generator, events: int, prefix: str) -> None:
    """1,300 branches by ROOT; lists share a counter."""
    import ROOT

    flags, numbers = np.zeros(FLAGS, bool), np.zeros(NUMBERS, np.float32)
    lists, count = np.zeros((LISTS, 4), np.float32), np.zeros(1, np.int32)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    file = ROOT.TFile(str(partial), "RECREATE")
    tree = ROOT.TTree(TREE, TREE)
    tree.Branch("nJet", count, "nJet/I")
    for n in range(FLAGS):
        tree.Branch(f"{prefix}HLT_{n}", flags[n : n + 1], f"{prefix}HLT_{n}/O")
    for n in range(NUMBERS):
        tree.Branch(f"x{n}", numbers[n : n + 1], f"x{n}/F")
    for n in range(LISTS):
        tree.Branch(f"Jet_v{n}", lists[n], f"Jet_v{n}[nJet]/F")
    for _ in range(events):
        flags[:], numbers[:] = rng.random(FLAGS) > 0.9, rng.random(NUMBERS)
        lists[:], count[0] = rng.random((LISTS, 4)), rng.integers(0, 4)
        tree.Fill()
    tree.Write()
    file.Close()
    partial.rename(path)


def wide_ntuple(path: Path, rng: np.random.Generator, events: int, prefix: str) -> None:
    """1,300 fields, as a NanoAOD has them: triggers, numbers, lists."""
    counts = rng.integers(0, 4, events)
    total = int(counts.sum())
    found: dict[str, Any] = {f"{prefix}HLT_{n}": rng.random(events) > 0.9 for n in range(FLAGS)}
    found |= {f"x{n}": rng.random(events, dtype=np.float32) for n in range(NUMBERS)}
    for n in range(LISTS):
        found[f"Jet_v{n}"] = ak.unflatten(rng.random(total, dtype=np.float32), counts)
    _write(path, "rntuple", found)


def wide(folder: Path, form: str) -> list[list[str]]:
    """For each schema two files of 1,300 columns and 200 events, made once."""
    groups = []
    for schema in range(SCHEMAS):
        group = [folder / f"wide_{form}_{schema}_{number}.root" for number in range(2)]
        for number, path in enumerate(group):
            if not path.exists():
                rng = np.random.default_rng([schema, number])
                write = wide_tree if form == "ttree" else wide_ntuple
                write(path, rng, 200, f"s{schema}_")
        groups.append([str(path) for path in group])
    return groups


def many(folder: Path, form: str, count: int) -> list[str]:
    """Files of eight columns and 1,000 events, made once."""
    paths = [folder / f"small_{form}" / f"{number}.root" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            rng = np.random.default_rng(number)
            _write(path, form, {name: rng.random(1000, dtype=np.float32) for name in SMALL})
    return [str(path) for path in paths]


def _write(path: Path, form: str, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with uproot.recreate(partial) as file:
        if form == "rntuple":
            file.mkrntuple(TREE, content)
        else:
            file.mktree(TREE, {name: ak.type(each).content for name, each in content.items()})
            file[TREE].extend(content)
    partial.rename(path)


def opened_by_us(path: str) -> None:
    """Opens a file and reads two columns."""
    with open_table(path, TREE) as table:
        table.read(READ, 0, table.num_entries)


def opened_by_uproot(path: str) -> None:
    """The same with uproot."""
    with uproot.open(path) as file:
        tree = file[TREE]
        for name in READ:
            tree[name].array()


def epoch_of_ours(paths: Sequence[str]) -> None:
    """Opens files and reads them once, nothing being known of them."""
    data = rootml.open(list(paths)).select(SMALL)
    for _ in data.batches(1024, threads=1, progress=False).numpy():
        pass


def epoch_of_uproot(paths: Sequence[str]) -> None:
    """The same with uproot, file by file."""
    for path in paths:
        with uproot.open(path) as file:
            file[TREE].arrays(SMALL, library="np" if _is_tree(file) else "ak")


def _is_tree(file: Any) -> bool:
    return str(file.classname_of(TREE)) == "TTree"


def epoch_of_root(paths: Sequence[str]) -> None:
    """The same with RDataFrame on one thread."""
    import ROOT

    ROOT.RDataFrame(TREE, list(paths)).AsNumpy(SMALL)


def cpu(function: Callable[[Any], None], argument: Any) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    function(argument)
    return time.process_time() - start


def of_wide(folder: Path, form: str) -> dict[str, float]:
    """The first file of a schema, the second, and uproot's opening; the best over the schemas."""
    groups = wide(folder, form)
    opened_by_uproot(groups[0][0])  # what is imported and compiled at the first call
    found = [
        (
            cpu(opened_by_us, first),
            cpu(opened_by_uproot, first),
            min(cpu(opened_by_us, second) for _ in range(3)),
        )
        for first, second in groups
    ]
    return dict(zip(("first", "uproot", "next"), map(min, zip(*found, strict=True)), strict=True))


def of_many(folder: Path, form: str, count: int, turns: int) -> dict[str, float]:
    """Milliseconds per file, open and first epoch, by engine; the best of some turns."""
    paths = many(folder, form, count)
    engines = {"ours": epoch_of_ours, "uproot": epoch_of_uproot, "RDataFrame": epoch_of_root}
    cache = os.environ.get("ROOTML_CACHE")
    os.environ["ROOTML_CACHE"] = ""  # headers of files are not to be known from the turn before
    try:
        found = {name: list(_turns(engine, paths, turns)) for name, engine in engines.items()}
    finally:
        if cache is None:
            del os.environ["ROOTML_CACHE"]
        else:
            os.environ["ROOTML_CACHE"] = cache
    return {name: 1e3 * min(times) / count for name, times in found.items()}


def _turns(engine: Callable[[Any], None], paths: Sequence[str], turns: int) -> Iterator[float]:
    engine(paths[:2])  # imports and compilation
    for _ in range(turns):
        yield cpu(engine, paths)
