# %% [markdown]
# # Top pairs in the layout of NanoAOD
#
# For the tutorial on particle clouds, where the file of CMS Open Data is not at hand: pairs of top
# quarks, each with a W that decays to an electron, to a muon or otherwise, as jagged branches of
# jets, muons, electrons and generated particles. Toys, not physics.

# %%
from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

Values = npt.NDArray[Any]


def collection(rng: np.random.Generator, counts: Values, scale: float) -> dict[str, Values]:
    """Momenta of objects, hardest first in each event."""
    total = int(counts.sum())
    pt = 20 + rng.exponential(scale, total)
    order = np.lexsort([-pt, np.repeat(np.arange(len(counts)), counts)])
    return {
        "pt": pt[order],
        "eta": np.clip(1.2 * rng.standard_normal(total), -2.5, 2.5),
        "phi": rng.uniform(-np.pi, np.pi, total),
        "mass": rng.gamma(3, 4, total),
    }


def leptons(rng: np.random.Generator, produced: Values) -> tuple[Values, dict[str, Values]]:
    """Those of the decays that are found, and a few others of low momentum."""
    fakes = rng.poisson(0.15, len(produced))
    counts = rng.binomial(produced, 0.85) + fakes
    found = collection(rng, counts, 30.0)
    first = np.concatenate([np.arange(n) for n in counts]) if counts.sum() else np.zeros(0)
    soft = first >= np.repeat(counts - fakes, counts)
    found["pt"] = np.where(soft, 5 + 0.2 * found["pt"], found["pt"])
    found["pfRelIso03_all"] = rng.exponential(np.where(soft, 1.0, 0.05))
    return counts, found


def make_file(path: Path, events: int, *, seed: int = 1) -> str:
    """A file with a tree `Events`; its path."""
    rng = np.random.default_rng(seed)
    decays = rng.choice([11, 13, 1], (events, 2), p=[0.13, 0.13, 0.74])  # of the two W bosons
    jets = np.maximum(2 + 2 * (decays == 1).sum(axis=1) + rng.poisson(1, events) - 1, 0)
    momenta = collection(rng, jets, 45.0)
    momenta["btagDeepB"] = rng.beta(0.8, 1.2, len(momenta["pt"]))
    branches: dict[str, Any] = {"Jet": ak.unflatten(ak.zip(plain(momenta)), jets)}
    for name, kind in (("Electron", 11), ("Muon", 13)):
        counts, found = leptons(rng, (decays == kind).sum(axis=1))
        found["charge"] = rng.choice([-1.0, 1.0], len(found["pt"]))
        branches[name] = ak.unflatten(ak.zip(plain(found)), counts)
    generated = {  # both W bosons, then what they decay to
        "pdgId": np.concatenate([np.tile([24, -24], (events, 1)), -decays], axis=1),
        "genPartIdxMother": np.tile([-1, -1, 0, 1], (events, 1)),
    }
    branches["GenPart"] = ak.zip({n: ak.Array(v.astype(np.int32)) for n, v in generated.items()})
    branches["GenPart"] = ak.from_regular(branches["GenPart"], axis=1)
    branches["MET_pt"] = (20 + rng.exponential(25, events)).astype(np.float32)
    branches["event"] = np.arange(events, dtype=np.int64) + 1_000_000 * seed
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path) as file:
        file.mktree("Events", {name: ak.type(b).content for name, b in branches.items()})
        file["Events"].extend(branches)
    return str(path)


def plain(columns: dict[str, Values]) -> dict[str, Values]:
    """The precision that analysis files have."""
    return {name: values.astype(np.float32) for name, values in columns.items()}
