# %% [markdown]
# # Simulated collisions for the tutorials
#
# The signal is a resonance of 300 GeV that decays to two jets and recoils against missing energy;
# the background is a falling spectrum. Both get a few soft jets more. The layout is that of
# NanoAOD: a counter `nJet`, jagged branches `Jet_pt`, ..., scalars, a weight per event of which a
# few are negative, and `run`, `luminosityBlock`, `event` to tell events apart. Files are written
# with uproot: ROOT is not needed.

# %%
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

Values = npt.NDArray[Any]
BASKET = 50_000  # events that are compressed together; the files' smallest readable unit


def soft_jets(rng: np.random.Generator, events: int, mean: float) -> ak.Array:
    """Jets from initial-state radiation and pile-up: few, soft, anywhere."""
    counts = rng.poisson(mean, events)
    total = int(counts.sum())
    jets = {
        "pt": 20 + rng.exponential(18, total),
        "eta": rng.uniform(-4.5, 4.5, total),
        "phi": rng.uniform(-np.pi, np.pi, total),
        "mass": rng.exponential(6, total),
        "btag": rng.beta(0.7, 4.0, total),
    }
    return ak.unflatten(ak.zip(as_float32(jets)), counts)


def dijet(rng: np.random.Generator, mass: Values, btag: tuple[float, float]) -> ak.Array:
    """Two jets of a given invariant mass, back to back in the frame of a boosted pair."""
    events = len(mass)
    cosine = rng.uniform(-1, 1, events)
    angle = rng.uniform(-np.pi, np.pi, events)
    rapidity = 0.9 * rng.standard_normal(events)
    momentum = mass / 2 * np.sqrt(1 - cosine**2)
    sides = []
    for sign in (1, -1):
        jet = {
            "pt": np.maximum(momentum * (1 + 0.1 * rng.standard_normal(events)), 15),
            "eta": rapidity + sign * np.arctanh(0.98 * cosine),
            "phi": wrapped(
                angle + (0 if sign > 0 else np.pi) + 0.15 * rng.standard_normal(events)
            ),
            "mass": rng.gamma(3, 4, events),
            "btag": rng.beta(*btag, events),
        }
        sides.append(ak.zip(as_float32(jet))[:, np.newaxis])
    return ak.concatenate(sides, axis=1)


def wrapped(angle: Values) -> Values:
    """Angles brought into [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def as_float32(columns: dict[str, Values]) -> dict[str, Values]:
    """The precision that analysis files have."""
    return {name: values.astype(np.float32) for name, values in columns.items()}


def simulate(kind: str, events: int, seed: int) -> dict[str, Any]:
    """Branches of `events` collisions."""
    rng = np.random.default_rng(seed)
    if kind == "signal":
        mass = 300 + 25 * rng.standard_normal(events)
        hard = dijet(rng, mass, btag=(2.5, 1.5))
        met = 25 + rng.gamma(2.5, 22, events)
    else:
        mass = 60 + rng.exponential(120, events)
        hard = dijet(rng, mass, btag=(0.9, 2.0))
        met = rng.gamma(2.0, 18, events)
    jets = ak.concatenate([hard, soft_jets(rng, events, 1.6)], axis=1)
    jets = jets[ak.argsort(jets.pt, axis=1, ascending=False)]
    weight = np.where(rng.random(events) < 0.03, -1.0, 1.0)
    scalars = {"MET_pt": met, "MET_phi": rng.uniform(-np.pi, np.pi, events), "genWeight": weight}
    number = np.arange(events, dtype=np.int64) + seed * 10_000_000
    return {
        "run": np.full(events, 1, np.int32),
        "luminosityBlock": (number // 1000).astype(np.int32),
        "event": number,
        **as_float32(scalars),
        "Jet": jets,
    }


def make_files(folder: Path, events: int) -> None:
    """Two signal and three background files, `events` in all."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = ["signal"] * 2 + ["background"] * 3
    for seed, kind in enumerate(kinds, start=1):
        write_file(folder / f"{kind}_{seed}.root", [simulate(kind, events // len(kinds), seed)])


def write_file(path: Path, parts: Sequence[dict[str, Any]]) -> None:
    """One file with the events of all parts."""
    with uproot.recreate(path, compression=uproot.ZSTD(5)) as file:
        file.mktree("Events", {name: ak.type(b).content for name, b in parts[0].items()})
        for branches in parts:
            for start in range(0, len(branches["event"]), BASKET):
                file["Events"].extend({n: b[start : start + BASKET] for n, b in branches.items()})
