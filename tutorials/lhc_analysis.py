# %% [markdown]
# # A whole analysis: two channels, interference, 40 nuisances, a control region
#
# What an unbinned analysis at the LHC needs, from ROOT files to an interval: density ratios,
# learned on a cluster, with systematic uncertainties of the shapes; a combined likelihood of two
# channels that share their nuisances with a binned control region; the fit, impacts, a scan, a
# Neyman construction by toys, and the NLL in RooFit.
#
# The signal S interferes with the background B. As in the
# [tutorial on interference](offshell_interference.md) the density is written in S, B and their sum
# SBI, whose simulated events have positive densities; a fourth process Q does not interfere:
#
# ```text
# (mu - sqrt(mu)) * S + sqrt(mu) * SBI + (1 - sqrt(mu)) * B + k_Q * Q
# ```
#
# **What to look at:** the spectra of both channels; which shapes were kept; the impacts, with the
# pull of the nuisance that was moved in the data; the scan with the critical values of the toys.
#
# Needs ROOT and `pip install 'rootml[torch,sbi,dask,plot]'`. It takes some minutes on two cores.

# %%
from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import dask
import numpy as np
import uproot
from dask.distributed import Client, LocalCluster
from matplotlib import pyplot as plt

import rootml
from rootml import sbi

folder = Path("lhc-analysis")
small = os.environ.get("ROOTML_TUTORIALS") == "small"  # for the tests
EVENTS = 4_000 if small else 40_000  # simulated, of each sample
TOYS, POINTS = (4, 3) if small else (200, 7)
NETWORKS: dict[str, Any] = {"ensemble": 2, "hidden": (16,), "epochs": 4} if small else {
    "ensemble": 4, "folds": 4, "hidden": (32, 32)
}  # fmt: skip
EXPECTED = {"central": 3000, "forward": 1500}  # SBI events in the data, about

# %% [markdown]
# ## Files
#
# Two features, a mass in GeV and the cosine of an angle, drawn from densities that can be written
# down. The channels differ in how steeply the spectra fall.


# %%
def densities(mass: Any, cosine: Any, channel: str) -> dict[str, Any]:
    """Of all processes, not normalised."""
    fall = 260 if channel == "central" else 220
    signal = 0.25 * np.exp(-(mass - 200) / 480) * (1 + 0.5 * cosine**2)
    background = np.exp(-(mass - 200) / fall) * (1 + 0.25 * cosine)
    phase = np.pi * (0.62 + 0.25 * np.tanh((mass - 420) / 160))
    mixed = 2 * signal * background * np.cos(phase)
    return {
        "S": signal**2,
        "SBI": signal**2 + mixed + background**2,
        "B": background**2,
        "Q": np.exp(-(mass - 200) / 180) * (1 - 0.2 * cosine**2),
    }


GRID = np.meshgrid(np.linspace(200, 1000, 401), np.linspace(-1, 1, 101), indexing="ij")


def yields(channel: str) -> dict[str, float]:
    """Expected events: as the densities say for S, SBI and B; as many of Q as of SBI."""
    area = {name: part.mean() for name, part in densities(*GRID, channel).items()}
    number = {name: EXPECTED[channel] * area[name] / area["SBI"] for name in ("S", "SBI", "B")}
    return {**number, "Q": float(EXPECTED[channel])}


def draw(name: str, channel: str, number: int, rng: np.random.Generator) -> dict[str, Any]:
    """Events of one process, by rejection."""
    highest = 1.02 * densities(*GRID, channel)[name].max()
    found = np.empty((0, 2))
    while len(found) < number:
        mass, cosine = rng.uniform(200, 1000, 100_000), rng.uniform(-1, 1, 100_000)
        keep = rng.uniform(0, highest, len(mass)) < densities(mass, cosine, channel)[name]
        found = np.concatenate([found, np.stack([mass[keep], cosine[keep]], axis=1)])
    return {"mass": found[:number, 0], "cosine": found[:number, 1]}


# %% [markdown]
# ## Systematic uncertainties
#
# Twelve nuisances move the shapes. A variation is made of the *same* events, seen differently; the
# column `event` tells which belong together. Four of the twelve hardly do anything, as in any
# analysis. Each also changes the yields; 27 more, the luminosity among them, do only that. With
# one nuisance of the control region there are 40.

# %%
SHAPES: dict[str, tuple[float, float]] = {  # of the mass at 1 TeV, and of the cosine
    "jes_1": (0.04, 0.0), "jes_2": (0.02, 0.01), "jes_3": (0.01, 0.02), "jer": (0.03, 0.0),
    "ees": (-0.02, 0.0), "mes": (0.015, -0.01), "angle_1": (0.0, 0.04), "angle_2": (0.0, 0.025),
    "null_1": (2e-5, 0.0), "null_2": (0.0, 2e-5), "null_3": (-2e-5, 0.0), "null_4": (0.0, -2e-5),
}  # fmt: skip
SHAPED = ("SBI", "Q")  # the processes whose shapes they move
RATES = [f"rate_{number}" for number in range(26)]


def moved(events: dict[str, Any], nuisance: str, alpha: float) -> dict[str, Any]:
    """Events as they are with a nuisance parameter at `alpha`."""
    mass, cosine = SHAPES[nuisance]
    hard = (events["mass"] - 200) / 800
    return {
        **events,
        "mass": np.clip(200 + 800 * hard * (1 + alpha * mass * (1 + hard)), 200, None),
        "cosine": np.clip(events["cosine"] + alpha * cosine * (1 - events["cosine"] ** 2), -1, 1),
    }


def write(name: str, events: dict[str, Any]) -> rootml.Dataset:
    """A ROOT file with one tree."""
    number = len(events["mass"])
    columns = {**events, "event": np.arange(number, dtype=np.int64)}
    with uproot.recreate(folder / f"{name}.root") as file:
        file.mktree("events", {key: array.dtype for key, array in columns.items()})
        file["events"].extend(columns)
    return rootml.open(f"{folder / name}.root:events")


def simulate(channel: str, rng: np.random.Generator) -> dict[str, Any]:
    """The samples of a channel, as `RatioEstimator.fit` takes them."""
    samples: dict[str, Any] = {}
    for name in ("S", "SBI", "B", "Q"):
        events = draw(name, channel, EVENTS, rng)
        nominal = write(f"{channel}_{name}", events)
        samples[name] = nominal
        if name in SHAPED:
            samples[name] = {"nominal": nominal} | {
                nuisance: tuple(
                    write(f"{channel}_{name}_{nuisance}_{side}", moved(events, nuisance, alpha))
                    for side, alpha in (("up", 1.0), ("down", -1.0))
                )
                for nuisance in SHAPES
            }
    return samples


# %% [markdown]
# ## The model
#
# One model for each channel. Parameters of the same name are the same parameter. The control
# region comes as a pyhf workspace. It measures `k_Q`, the rate of Q, and shares the luminosity
# with the channels; it goes into the model of the first.


# %%
def control_region(rng: np.random.Generator) -> dict[str, Any]:
    """A pyhf workspace with three bins, mostly Q."""
    expected, other = [4000.0, 2500.0, 900.0], [300.0, 200.0, 80.0]
    lumi = {"name": "lumi", "type": "normsys", "data": {"hi": 1.02, "lo": 0.98}}
    alone = {"name": "cr_other", "type": "normsys", "data": {"hi": 1.2, "lo": 0.8}}
    rate = {"name": "k_Q", "type": "normfactor", "data": None}
    samples = [
        {"name": "Q", "data": expected, "modifiers": [rate, lumi]},
        {"name": "other", "data": other, "modifiers": [alone, lumi]},
    ]
    counts = rng.poisson(np.add(expected, other)).astype(float).tolist()
    return {
        "channels": [{"name": "control", "samples": samples}],
        "observations": [{"name": "control", "data": counts}],
        "measurements": [{"name": "fit", "config": {"poi": "k_Q", "parameters": []}}],
        "version": "1.0.0",
    }


def model_of(channel: str, workspace: dict[str, Any] | None) -> sbi.Model:
    """The model of a channel."""
    number = yields(channel)
    rng = np.random.default_rng(5)  # sizes of the rate uncertainties, equal in both channels

    def effect(size: float, processes: Any) -> sbi.Nuisance:
        ends = (1 + size, 1 - size)
        return sbi.Nuisance(yields=dict.fromkeys(processes, ends), lower=-5.0, upper=5.0)

    every = ("S", "SBI", "B", "Q")
    nuisances = {"lumi": effect(0.02, every)}
    nuisances |= {name: effect(0.01, SHAPED) for name in SHAPES}
    for name in RATES:
        hit = every[:3] if rng.uniform() < 0.5 else ("Q",)
        nuisances[name] = effect(float(rng.uniform(0.002, 0.03)), hit)
    return sbi.Model(
        processes={
            "S": f"(mu - sqrt(mu)) * {number['S']:.6f}",
            "SBI": f"sqrt(mu) * {number['SBI']:.6f}",
            "B": f"(1 - sqrt(mu)) * {number['B']:.6f}",
            "Q": f"k_Q * {number['Q']:.6f}",
        },
        parameters={
            "mu": sbi.Parameter(1.0, lower=1e-3, upper=10.0),
            "k_Q": sbi.Parameter(1.0, lower=0.0, upper=10.0),
        },
        nuisances=nuisances,
        binned=workspace,
        name=channel,
    )


def observe(channel: str, rng: np.random.Generator) -> rootml.Dataset:
    """The data: mu = 1, with `jes_1` half a standard deviation up."""
    number = yields(channel)
    parts = [
        moved(draw(name, channel, rng.poisson(number[name]), rng), "jes_1", 0.5) for name in SHAPED
    ]
    return write(f"{channel}_data", {k: np.concatenate([p[k] for p in parts]) for k in parts[0]})


# %% [markdown]
# ## Learning, on a cluster
#
# Every network is a task of its own. Finished ones are kept in a folder: start the script again
# after it was stopped, and it goes on with the missing ones. `by=["event"]`: an event and its
# variations are on the same side of every split.


# %%
def learn(channel: str, samples: dict[str, Any], client: Client) -> sbi.Ratios:
    """Density ratios to Q."""
    estimator = sbi.RatioEstimator(
        ["log_mass = log(mass)", "cosine"], by=["event"], seed=1, **NETWORKS
    )
    return estimator.fit(
        samples, reference="Q", client=client, folder=folder / f"networks_{channel}"
    )


def show_spectra(data: dict[str, rootml.Dataset]) -> None:
    """The masses, with what is expected."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
    edges = np.linspace(200, 1000, 33)
    for ax, (channel, events) in zip(axes, data.items(), strict=True):
        counts = np.histogram(np.asarray(events.select(["mass"]).to_awkward()["mass"]), edges)[0]
        middle = 0.5 * (edges[1:] + edges[:-1])
        ax.errorbar(middle, counts, np.sqrt(counts), fmt="k.", label="data")
        shapes, number = densities(*GRID, channel), yields(channel)
        total = np.zeros(len(middle))
        for name in ("SBI", "Q"):
            bins = np.interp(middle, GRID[0][:, 0], shapes[name].mean(axis=1))
            total += number[name] * bins / bins.sum()
            ax.step(middle, number[name] * bins / bins.sum(), where="mid", label=name)
        ax.step(middle, total, where="mid", color="grey", label="SBI + Q")
        ax.set(title=channel, xlabel="mass (GeV)", yscale="log", ylim=(0.5, None))
    axes[0].set(ylabel="events / 25 GeV")
    axes[0].legend()
    figure.savefig(folder / "spectra.png")


def show_shapes(ratios: dict[str, sbi.Ratios]) -> None:
    """Which shapes were kept."""
    for channel, each in ratios.items():
        for process in SHAPED:
            chosen = [s for s in each.record.shapes if s.process == process]
            kept = [s.nuisance for s in chosen if s.kept]
            print(f"{channel}, {process}: kept {', '.join(kept) or 'none'}; dropped the others")


# %% [markdown]
# ## The analysis
#
# Worker processes of Dask import this script anew, so that everything that *does* something stands
# in `main()`; in a notebook that is not necessary.


# %%
def likelihood(client: Client) -> sbi.CombinedLikelihood:
    """From files to the combined likelihood."""
    rng = np.random.default_rng(11)
    (folder / "control.json").write_text(json.dumps(control_region(rng)))
    workspace = json.loads((folder / "control.json").read_text())
    parts, data, ratios = {}, {}, {}
    for channel in EXPECTED:
        samples = simulate(channel, rng)
        data[channel] = observe(channel, rng)
        ratios[channel] = learn(channel, samples, client)
        reference = write(f"{channel}_reference", draw("Q", channel, 2 * EVENTS, rng))
        model = model_of(channel, workspace if channel == "central" else None)
        parts[channel] = model.likelihood(
            ratios[channel].columns(data[channel]),
            reference=ratios[channel].columns(reference),
        )
    show_spectra(data)
    show_shapes(ratios)
    return sbi.CombinedLikelihood(parts)


def construct(fit: sbi.FitResult, client: Client) -> None:
    """The interval with the right coverage whatever the number of events: by toys."""
    mu, error = fit.values["mu"], fit.errors["mu"]
    values = np.linspace(max(mu - 1.5 * error, 0.02), mu + 1.5 * error, POINTS)
    belt = sbi.neyman(
        fit.like, "mu", values=values, number=TOYS, seed=3, client=client,
        folder=folder / "toys", progress=False,
    )  # fmt: skip
    print(belt)
    belt.plot(path=folder / "neyman.png")


def in_roofit(combined: sbi.CombinedLikelihood, fit: sbi.FitResult) -> None:
    """The same NLL, with its gradient, minimised by RooFit."""
    import ROOT

    ROOT.RooMsgService.instance().setGlobalKillBelow(ROOT.RooFit.ERROR)
    exported = combined.to_roofit()
    minimizer = ROOT.RooMinimizer(exported.nll)
    minimizer.setPrintLevel(-1)
    minimizer.setStrategy(0)
    minimizer.minimize("Minuit2", "Migrad")
    mu = exported.parameters["mu"].getVal()
    print(f"RooFit: mu = {mu:.4f}; rootml: {fit.values['mu']:.4f} +- {fit.errors['mu']:.4f}")
    assert abs(mu - fit.values["mu"]) < 0.05 * fit.errors["mu"]


def main() -> None:
    """Everything."""
    folder.mkdir(exist_ok=True)
    options = {"distributed.nanny.environ.OMP_NUM_THREADS": 1}
    workers = 1 if small else 2
    with (
        dask.config.set(options),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=workers, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        combined = likelihood(client)
        print(f"{len(combined.parameters)} parameters")
        fit = sbi.fit(combined)
        print(fit)
        found = sbi.impacts(fit, "mu")
        print(found)
        found.plot(most=15, path=folder / "impacts.png")
        fit.plot("mu", path=folder / "scan.png")
        print("MINOS:", fit.minos("mu"))
        construct(fit, client)
    in_roofit(combined, fit)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "Sending large graph")
    main()
