# %% [markdown]
# # Photons of data and of a simulation that is wrong in known ways
#
# For the tutorial on morphing. Each event has a density of pile-up `rho` and one to three photons:
# jagged branches as in NanoAOD. Five properties of a photon are measured: `r9` lies between 0 and
# 1, `sieie` is positive, `iso` is zero for many photons and otherwise above a threshold, `mva`
# lies between -1 and 1, `crystals` is a whole number. They depend on the photon's `pt` and `eta`
# and on `rho`, and are correlated with each other, more strongly in the centre of the detector.
# The simulation has other spectra, shapes, thresholds and correlations; some of its events have
# negative weights.

# %%
from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

Values = npt.NDArray[Any]
Kind = Literal["data", "sim"]

FEATURES = ["Photon_r9", "Photon_sieie", "Photon_iso", "Photon_crystals", "Photon_mva"]
CONDITIONS = ["Photon_pt", "Photon_eta", "rho"]
THRESHOLD = {"data": 0.5, "sim": 0.3}  # of iso


def latent(rng: np.random.Generator, kind: Kind, eta: Values) -> Values:
    """Five standard normal variables per photon; their correlations depend on eta."""
    central = 1 - np.abs(eta) / 2.5
    first = rng.standard_normal(len(eta))
    strength = {"data": 0.3 + 0.5 * central, "sim": 0.6 - 0.2 * central}[kind]
    columns = [first]
    for sign, share in ((-1, 1.0), (-1, 0.5), (1, 0.8), (1, 0.9)):
        tied = sign * share * strength
        own = rng.standard_normal(len(eta))
        columns.append(tied * first + np.sqrt(1 - tied**2) * own)
    return np.stack(columns)


def photons(rng: np.random.Generator, kind: Kind, rho: Values) -> dict[str, Values]:
    """One photon for each `rho`: conditions and features."""
    data = kind == "data"
    count = len(rho)
    pt = 25 + rng.exponential(30 if data else 26, count)
    eta = 2.5 * rng.uniform(-1, 1, count)
    forward, hard = np.abs(eta) / 2.5, np.log(pt / 25)
    z1, z2, z3, z4, z5 = latent(rng, kind, eta)

    r9 = 1 / (1 + np.exp(-(2.2 - 1.0 * forward + 0.3 * hard + (1.0 if data else 0.8) * z1)))
    if not data:
        r9 **= 0.85
    sieie = 0.009 * (1 + 1.8 * forward**2) * np.exp((0.16 if data else 0.13) * z2)
    sieie *= 1.0 if data else 0.96
    activity = z3 + 0.05 * (rho - 20) - 0.5 * hard
    iso = THRESHOLD[kind] + (1.2 if data else 1.0) * np.log1p(np.exp(1.5 * activity))
    iso = np.where(activity > (-0.1 if data else 0.2), iso, 0.0)
    crystals = np.floor((6 + 4 * forward + 2 * hard) * np.exp((0.30 if data else 0.24) * z4))
    mva = np.tanh(0.8 + 0.4 * hard - 0.6 * forward + (0.8 if data else 0.7) * z5)
    return {
        "pt": pt,
        "eta": eta,
        "r9": r9,
        "sieie": sieie,
        "iso": iso,
        "crystals": crystals.astype(np.int32),
        "mva": mva,
    }


def simulate(kind: Kind, events: int, seed: int) -> dict[str, Any]:
    """Branches of `events` events."""
    rng = np.random.default_rng([seed, kind == "data"])
    rho = rng.gamma(8.0, 2.5 if kind == "data" else 2.3, events)
    counts = rng.choice([1, 2, 3], events, p=[0.5, 0.4, 0.1])
    each = photons(rng, kind, np.repeat(rho, counts))
    plain = {n: v if v.dtype == np.int32 else v.astype(np.float32) for n, v in each.items()}
    weight = np.ones(events)
    if kind == "sim":
        weight[rng.random(events) < 0.08] = -1.0
    return {
        "event": np.arange(events, dtype=np.int64) + 10_000_000 * seed,
        "rho": rho.astype(np.float32),
        "genWeight": weight.astype(np.float32),
        "Photon": ak.unflatten(ak.zip(plain), counts),
    }


def make_files(folder: Path, events: int) -> None:
    """`data.root` and `sim.root`, of `events` events each."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds: tuple[Kind, Kind] = ("data", "sim")
    for seed, kind in enumerate(kinds, start=1):
        branches = simulate(kind, events, seed)
        with uproot.recreate(folder / f"{kind}.root", compression=uproot.ZSTD(5)) as file:
            file.mktree("Events", {name: ak.type(b).content for name, b in branches.items()})
            for start in range(0, events, 50_000):
                file["Events"].extend({n: b[start : start + 50_000] for n, b in branches.items()})
