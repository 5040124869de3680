"""The files that the benchmarks read, written by ROOT itself (and one by uproot) on first use.

Flat events: 28 float32 features with full mantissas, a label, a weight and an id. Jagged events:
eight branches of jets, as leaf-counted arrays filled by ``TTree::Fill`` and as an RNTuple. Every
file is written under a temporary name and renamed, so an interrupted run leaves no half a file.

Run as a script: ``python benchmarks/harness/data.py --data FOLDER [--events N] [NAME ...]``.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Columns: TypeAlias = dict[str, npt.NDArray[Any]]

TREE = "Events"
EVENTS = 2_000_000
PARTS = 8
MANY = 200
REPEAT = 5
"""How many times the flat events stand in the big file of the memory figure."""

OBJECTS = ("lepton", "jet1", "jet2", "jet3", "jet4")
FEATURES = (
    *(f"{name}_{part}" for name in OBJECTS for part in ("pt", "eta", "phi", "quality")),
    "met_pt", "met_phi", "ht", "mass_jj", "mass_lj", "mass_t", "sphericity", "time",
)  # fmt: skip
FLAT = (*FEATURES, "label", "weight", "id")
JETS = tuple(f"Jet_{part}" for part in ("pt", "eta", "phi", "mass", "btag", "qgl", "area", "chf"))
EVENT = ("nJet", "MET_pt", "MET_phi", "label", "weight", "id")

log = logging.getLogger("benchmarks.data")


# --- the events ----------------------------------------------------------------------------------


@cache
def flat_events(events: int) -> Columns:
    """Two overlapping classes of `events` in all, in random order."""
    rng = np.random.Generator(np.random.Philox(20_26))
    label = rng.integers(0, 2, events, dtype=np.int32)
    columns: Columns = {}
    for rank, name in enumerate(OBJECTS):
        shift = label * (0.25 / (1 + rank))
        columns[f"{name}_pt"] = 20 + 45 * np.exp(0.6 * rng.standard_normal(events) + shift)
        columns[f"{name}_eta"] = 1.4 * rng.standard_normal(events)
        columns[f"{name}_phi"] = rng.uniform(-np.pi, np.pi, events)
        columns[f"{name}_quality"] = rng.beta(1.0 + 0.5 * label, 1.5)
    columns["met_pt"] = 35 * np.exp(0.7 * rng.standard_normal(events) + 0.2 * label)
    columns["met_phi"] = rng.uniform(-np.pi, np.pi, events)
    columns["ht"] = np.sum([columns[f"{name}_pt"] for name in OBJECTS[1:]], axis=0)
    columns["mass_jj"] = pair_mass(columns, "jet1", "jet2")
    columns["mass_lj"] = pair_mass(columns, "lepton", "jet1")
    angle = columns["lepton_phi"] - columns["met_phi"]
    columns["mass_t"] = np.sqrt(2 * columns["lepton_pt"] * columns["met_pt"] * (1 - np.cos(angle)))
    columns["sphericity"] = rng.beta(2.0, 2.0 + label)
    columns["time"] = rng.standard_normal(events)
    columns["weight"] = np.exp(0.3 * rng.standard_normal(events)) * np.where(label, 0.1, 1.0)
    columns = {name: values.astype(np.float32) for name, values in columns.items()}
    columns |= {"label": label, "id": np.arange(events, dtype=np.int64)}
    return {name: columns[name] for name in FLAT}


def pair_mass(columns: Columns, one: str, two: str) -> npt.NDArray[Any]:
    """Invariant mass of two massless objects."""
    eta = columns[f"{one}_eta"] - columns[f"{two}_eta"]
    phi = columns[f"{one}_phi"] - columns[f"{two}_phi"]
    product = columns[f"{one}_pt"] * columns[f"{two}_pt"]
    return np.asarray(np.sqrt(2 * product * (np.cosh(eta) - np.cos(phi))))


def jagged_events(events: int) -> tuple[Columns, Columns]:
    """Columns with one value per event, and columns with one value per jet."""
    rng = np.random.Generator(np.random.Philox(20_27))
    counts = rng.poisson(4, events).astype(np.int32)
    total = int(counts.sum())
    pt = 20 + 60 * rng.exponential(size=total)
    jets = {
        "Jet_pt": pt,
        "Jet_eta": np.clip(1.5 * rng.standard_normal(total), -4.7, 4.7),
        "Jet_phi": rng.uniform(-np.pi, np.pi, total),
        "Jet_mass": 0.12 * pt * np.exp(0.3 * rng.standard_normal(total)),
        "Jet_btag": rng.beta(0.5, 1.0, total),
        "Jet_qgl": rng.beta(2.0, 2.0, total),
        "Jet_area": 0.5 + 0.02 * rng.standard_normal(total),
        "Jet_chf": rng.beta(4.0, 2.0, total),
    }
    event: Columns = {
        "nJet": counts,
        "MET_pt": (30 * rng.exponential(size=events)).astype(np.float32),
        "MET_phi": rng.uniform(-np.pi, np.pi, events).astype(np.float32),
        "label": rng.integers(0, 2, events, dtype=np.int32),
        "weight": rng.normal(1, 0.1, events).astype(np.float32),
        "id": np.arange(events, dtype=np.int64),
    }
    return event, {name: values.astype(np.float32) for name, values in jets.items()}


# --- the writers ---------------------------------------------------------------------------------

Writer: TypeAlias = Callable[[Path, int], None]
"""Writes one file of the collection made of so many events."""


@cache
def import_root() -> Any:
    """ROOT, quiet."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel says that it is in its alpha stage
        import ROOT

        ROOT.gErrorIgnoreLevel = ROOT.kError
        return ROOT


def snapshot_options(compression: int, *, rntuple: bool = False) -> Any:
    """Options of RDataFrame's Snapshot; `compression` is ROOT's 100 * algorithm + level."""
    root = import_root()
    options = root.RDF.RSnapshotOptions()
    if compression:
        options.fCompressionAlgorithm = compression // 100
        options.fCompressionLevel = compression % 100
    if rntuple:
        options.fOutputFormat = root.RDF.ESnapshotOutputFormat.kRNTuple
    return options


def write_flat(
    compression: int, *, rntuple: bool = False, part: int | None = None, label: int | None = None
) -> Writer:
    """A writer of the flat events (one of `PARTS` parts, or one class) by RDataFrame::Snapshot."""

    def write(path: Path, events: int) -> None:
        columns = flat_events(events)
        if part is not None:
            first, last = part * events // PARTS, (part + 1) * events // PARTS
            columns = {name: values[first:last] for name, values in columns.items()}
        if label is not None:
            keep = columns["label"] == label
            columns = {name: values[keep] for name, values in columns.items()}
        frame = import_root().RDF.FromNumpy(columns)
        frame.Snapshot(TREE, str(path), list(FLAT), snapshot_options(compression, rntuple=rntuple))

    return write


def write_uproot(path: Path, events: int) -> None:
    """The flat events by uproot, 100,000 to a basket."""
    import uproot

    columns = flat_events(events)
    with uproot.recreate(path, compression=uproot.ZSTD(5)) as file:
        file.mktree(TREE, {name: values.dtype for name, values in columns.items()})
        for start in range(0, events, 100_000):
            part = {name: values[start : start + 100_000] for name, values in columns.items()}
            file[TREE].extend(part)


def write_big(path: Path, _events: int) -> None:
    """The flat events `REPEAT` times over, in one file."""
    root = import_root()
    source = str(path.parent / "flat_zstd.root")
    frame = root.RDataFrame(TREE, root.std.vector["std::string"]([source] * REPEAT))
    frame.Snapshot(TREE, str(path), list(FLAT), snapshot_options(505))


FILL_JETS = r"""
#include <TFile.h>
#include <TTree.h>
#include <vector>
void rootml_fill_jets(const char* path, int compression, long events, const int* count,
                      const std::vector<std::string>& names, const std::vector<const float*>& jets,
                      const float* met, const float* met_phi, const int* labels,
                      const float* weights) {
  TFile file(path, "RECREATE", "", compression);
  TTree tree("Events", "Events");
  constexpr int most = 64;
  std::vector<std::array<float, most>> values(names.size());
  int n, label; float pt, phi, weight; long long id;
  tree.Branch("nJet", &n, "nJet/I");
  for (size_t k = 0; k < names.size(); ++k)
    tree.Branch(names[k].c_str(), values[k].data(), (names[k] + "[nJet]/F").c_str());
  tree.Branch("MET_pt", &pt); tree.Branch("MET_phi", &phi); tree.Branch("label", &label);
  tree.Branch("weight", &weight); tree.Branch("id", &id);
  long at = 0;
  for (long i = 0; i < events; ++i) {
    n = std::min(count[i], most);
    for (size_t k = 0; k < names.size(); ++k) std::copy_n(jets[k] + at, n, values[k].data());
    at += count[i];
    pt = met[i]; phi = met_phi[i]; label = labels[i]; weight = weights[i]; id = i;
    tree.Fill();
  }
  file.Write();
}
void rootml_slice(const char* from, const char* to, long first, long last) {
  TFile in(from);
  auto tree = in.Get<TTree>("Events");
  TFile out(to, "RECREATE", "", 505);
  auto part = tree->CloneTree(0);
  for (long i = first; i < last; ++i) { tree->GetEntry(i); part->Fill(); }
  out.Write();
}
"""


@cache
def import_fillers() -> Any:
    """ROOT with the functions of `FILL_JETS`."""
    root = import_root()
    root.gInterpreter.Declare("#include <array>\n#include <string>\n" + FILL_JETS)
    return root


def write_jagged(path: Path, events: int) -> None:
    """The jagged events as ROOT's own C++ fills a TTree, zstd."""
    root = import_fillers()
    event, jets = jagged_events(events)
    pointers = root.std.vector["const float*"]()
    for name in JETS:
        pointers.push_back(jets[name])
    names = root.std.vector["std::string"](JETS)
    columns = [event[name] for name in ("MET_pt", "MET_phi", "label", "weight")]
    root.rootml_fill_jets(str(path), 505, events, event["nJet"], names, pointers, *columns)


def write_jagged_rntuple(path: Path, _events: int) -> None:
    """The jagged events as an RNTuple, by RDataFrame::Snapshot."""
    root = import_root()
    frame = root.RDataFrame(TREE, str(path.parent / "jagged.root"))
    frame.Snapshot(TREE, str(path), [*JETS, *EVENT], snapshot_options(0, rntuple=True))


def write_slice(index: int) -> Writer:
    """A writer of the `index`-th of `MANY` small files."""

    def write(path: Path, events: int) -> None:
        first, last = index * events // MANY, (index + 1) * events // MANY
        source = path.parent / "flat_zstd.root"
        import_fillers().rootml_slice(str(source), str(path), first, last)

    return write


WRITERS: dict[str, Writer] = {
    "flat_zstd.root": write_flat(505),
    "flat_lz4.root": write_flat(404),
    "flat_zlib.root": write_flat(101),
    "flat_rntuple.root": write_flat(0, rntuple=True),
    "flat_uproot.root": write_uproot,
    **{f"part_{k}.root": write_flat(505, part=k) for k in range(PARTS)},
    **{f"class_{k}.root": write_flat(505, label=k) for k in range(2)},
    "jagged.root": write_jagged,
    "jagged_rntuple.root": write_jagged_rntuple,
    **{f"many_{k:03d}.root": write_slice(k) for k in range(MANY)},
    "big_zstd.root": write_big,
}
GROUPS = {
    "parts": [f"part_{k}.root" for k in range(PARTS)],
    "classes": [f"class_{k}.root" for k in range(2)],
    "many": [f"many_{k:03d}.root" for k in range(MANY)],
}


def num_events(name: str, events: int) -> int:
    """Events that the file `name` is made from: the jagged ones are half as many."""
    return events // 2 if name.startswith("jagged") else events


def write_missing(folder: Path, names: Sequence[str], events: int) -> None:
    """Write those of `names` that are not in `folder` yet, in the order of `WRITERS`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, writer in WRITERS.items():
        if name not in names or (folder / name).exists():
            continue
        log.info("writing %s", folder / name)
        partial = folder / f"partial-{name}"
        writer(partial, num_events(name, events))
        partial.rename(folder / name)


def ensure(folder: Path, name: str, events: int = EVENTS) -> list[Path]:
    """The files of `name` (a file or a group), written by a process of their own if missing."""
    names = GROUPS.get(name, [name])
    sources = {"many": ["flat_zstd.root"], "big_zstd.root": ["flat_zstd.root"]}
    sources["jagged_rntuple.root"] = ["jagged.root"]
    wanted = [*sources.get(name, []), *names]
    if not all((folder / file).exists() for file in wanted):
        options = ["--data", str(folder), "--events", str(events)]
        subprocess.run([sys.executable, __file__, *options, *wanted], check=True)
    return [folder / file for file in names]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the files that the benchmarks read.")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("names", nargs="*", default=list(WRITERS))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    write_missing(options.data, options.names, options.events)


if __name__ == "__main__":
    main()
