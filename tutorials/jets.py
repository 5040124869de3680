# %% [markdown]
# # Jets made of particles, as JetClass stores them
#
# For the tutorial on weaver. The layout is that of the JetClass dataset (H. Qu, C. Li, S. Qian,
# arXiv:2202.03772): a tree `tree`, jagged `part_...` branches with the particles of a jet, ordered
# by momentum, `jet_...` scalars, one flag per class, and one file per process. The jets themselves
# are toys: one, two or three prongs with a shower around each.

# %%
from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

Values = npt.NDArray[Any]

LABELS = ["QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"]
PROCESSES = {  # class, prongs, mass in GeV
    "ZJetsToNuNu": ("QCD", 1, 0.0),
    "HToBB": ("Hbb", 2, 125.0),
    "TTBar": ("Tbqq", 3, 173.0),
}


def showers(
    rng: np.random.Generator, pt: Values, prongs: int, mass: float, counts: Values
) -> dict[str, Values]:
    """Particles of all jets, one after the other, relative to the axes of their jets."""
    jet = np.repeat(np.arange(len(pt)), counts)
    opening = 2 * mass / pt  # between two prongs of equal momentum
    turn = rng.uniform(0, 2 * np.pi, len(pt))
    prong = rng.integers(0, prongs, len(jet))
    angle = turn[jet] + 2 * np.pi * prong / prongs
    distance = 0.5 * opening[jet] if prongs > 1 else 0.0
    width = 0.12 * np.sqrt(400 / pt[jet]) * rng.exponential(1.0, len(jet))
    around = rng.uniform(0, 2 * np.pi, len(jet))
    share = rng.exponential(1.0, len(jet)) ** 2 + 1e-3
    share /= np.bincount(jet, share, len(pt))[jet]
    return {
        "deta": distance * np.cos(angle) + width * np.cos(around),
        "dphi": distance * np.sin(angle) + width * np.sin(around),
        "pt": np.maximum(pt[jet] * share, 0.2),
    }


def simulate(process: str, events: int, seed: int) -> dict[str, Any]:
    """Branches of `events` jets of one process."""
    kind, prongs, mass = PROCESSES[process]
    rng = np.random.default_rng([seed, prongs])
    pt = 500 + rng.exponential(120, events)
    eta, phi = rng.uniform(-2, 2, events), rng.uniform(-np.pi, np.pi, events)
    counts = rng.poisson(25 + 12 * prongs, events) + 1
    made = showers(rng, pt, prongs, mass, counts)
    order = np.lexsort([-made["pt"], np.repeat(np.arange(events), counts)])
    made = {name: values[order] for name, values in made.items()}
    part_eta = np.repeat(eta, counts) + made["deta"]
    part_phi = np.repeat(phi, counts) + made["dphi"]
    part = {
        "px": made["pt"] * np.cos(part_phi),
        "py": made["pt"] * np.sin(part_phi),
        "pz": made["pt"] * np.sinh(part_eta),
        "energy": made["pt"] * np.cosh(part_eta),
        "deta": made["deta"],
        "dphi": made["dphi"],
    }
    jet = {
        "pt": pt,
        "eta": eta,
        "phi": phi,
        "energy": np.hypot(pt * np.cosh(eta), mass),
        "sdmass": np.abs(mass * (1 + 0.1 * rng.standard_normal(events)) + rng.gamma(2, 8, events)),
    }
    particles = {name: values.astype(np.float32) for name, values in part.items()}
    return {
        "part": ak.unflatten(ak.zip(particles), counts),
        **{f"jet_{name}": values.astype(np.float32) for name, values in jet.items()},
        "jet_nparticles": counts.astype(np.float32),
        **{f"label_{name}": np.full(events, name == kind) for name in LABELS},
    }


def make_files(folder: Path, events: int, *, seed: int = 1) -> list[str]:
    """One file per process, of `events` jets each; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for process in PROCESSES:
        branches = simulate(process, events, seed)
        paths.append(str(folder / f"{process}_{seed:03d}.root"))
        with uproot.recreate(paths[-1], compression=uproot.ZSTD(5)) as file:
            file.mktree("tree", {name: ak.type(b).content for name, b in branches.items()})
            file["tree"].extend(branches)
    return paths
