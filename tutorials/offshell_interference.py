# %% [markdown]
# # Interference: a fit in which a process is negative
#
# Far above its resonance a signal S interferes with its background B: the density of events is
# `mu * S + sqrt(mu) * I + B`, and the interference I is negative over much of the spectrum. No
# sample of simulated events has a negative density, so a classifier cannot learn I; but it can
# learn S, B and their sum `SBI = S + I + B`. The density, written in these three,
#
# ```text
# (mu - sqrt(mu)) * S + sqrt(mu) * SBI + (1 - sqrt(mu)) * B
# ```
#
# is the same. Some *coefficients* are negative, and all densities are positive. Only the total
# must be.
#
# **What to look at:** the interference in the first picture, below zero over much of the spectrum;
# the likelihood in the second, which is no parabola; the coverage at the end.
#
# Needs `pip install 'rootml[sbi,plot]'`.

# %%
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from rootml import sbi

folder = Path("offshell")
folder.mkdir(exist_ok=True)
rng = np.random.default_rng(7)

# %% [markdown]
# ## A toy with known densities
#
# Two features, the mass (GeV) and the cosine of an angle. Amplitudes are simple functions of
# both, so everything that is learned or fitted below can be held against the truth.


# %%
def parts(mass: Any, cosine: Any) -> dict[str, Any]:
    """Densities, not normalised, of signal, background and of both with interference."""
    signal = 0.22 * np.exp(-(mass - 200) / 500) * (1 + 0.5 * cosine**2)
    background = np.exp(-(mass - 200) / 260) * (1 + 0.25 * cosine)
    phase = np.pi * (0.62 + 0.25 * np.tanh((mass - 420) / 160))
    mixed = 2 * signal * background * np.cos(phase)
    return {"S": signal**2, "SBI": signal**2 + mixed + background**2, "B": background**2}


grid = np.meshgrid(np.linspace(200, 1000, 801), np.linspace(-1, 1, 201), indexing="ij")
MOST = {name: part.max() for name, part in parts(*grid).items()}
AREA = {name: part.mean() for name, part in parts(*grid).items()}
YIELD = {name: 5000 * area / AREA["SBI"] for name, area in AREA.items()}
print("expected events:", {name: round(number) for name, number in YIELD.items()})


mass, cosine = grid
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
spectra = {name: part.mean(axis=1) for name, part in parts(mass, cosine).items()}
spectra["I = SBI - S - B"] = spectra["SBI"] - spectra["S"] - spectra["B"]
for name, density in spectra.items():
    axes.plot(mass[:, 0], density * 5000 / AREA["SBI"] / 800, label=name)
axes.axhline(0, color="grey", lw=1)
axes.set(xlabel="mass (GeV)", ylabel="expected events / GeV", xlim=(200, 1000))
axes.set_yscale("symlog", linthresh=0.1)
axes.legend()
figure.savefig(folder / "spectra.png")


def draw(name: str, number: int) -> dict[str, Any]:
    """Events of one hypothesis, by rejection."""
    found = np.empty((0, 2))
    while len(found) < number:
        mass, cosine = rng.uniform(200, 1000, 200_000), rng.uniform(-1, 1, 200_000)
        keep = rng.uniform(0, MOST[name], 200_000) < parts(mass, cosine)[name]
        found = np.concatenate([found, np.stack([mass[keep], cosine[keep]], axis=1)])
    return {"mass": found[:number, 0], "cosine": found[:number, 1]}


def ratios_of(events: dict[str, Any]) -> dict[str, Any]:
    """The exact density ratios to B."""
    found = parts(events["mass"], events["cosine"])
    return {name: found[name] / AREA[name] / (found["B"] / AREA["B"]) for name in found}


# %% [markdown]
# ## The model
#
# Yields are expressions in the parameters. `mu` must stay above 0: the slope of `sqrt(mu)` is
# infinite there.

# %%
model = sbi.Model(
    processes={
        "S": f"(mu - sqrt(mu)) * {YIELD['S']:.6f}",
        "SBI": f"sqrt(mu) * {YIELD['SBI']:.6f}",
        "B": f"(1 - sqrt(mu)) * {YIELD['B']:.6f}",
    },
    parameters={"mu": sbi.Parameter(1.0, lower=1e-4, upper=20.0)},
)
print(model)

# %% [markdown]
# ## A fit with the exact ratios
#
# The data are drawn at `mu = 1`. `fit` minimises with the analytic gradient; MINOS gives the
# interval, and the profile shows that the likelihood is no parabola.

# %%
data = draw("SBI", rng.poisson(YIELD["SBI"]))
like = model.likelihood(ratios_of(data))
exact = sbi.fit(like)
print(exact)
print("MINOS:", exact.minos("mu"))
exact.plot("mu").figure.savefig(folder / "likelihood.png")

# %% [markdown]
# What was to be expected? Asimov data are the reference events, weighted to the model.

# %%
reference = sbi.RatioColumns(ratios_of(draw("B", 100_000)))
expected = sbi.fit(sbi.asimov(model, reference, mu=1.0))
print(f"expected: {expected.values['mu']:.3f} +- {expected.errors['mu']:.3f}")

# %% [markdown]
# ## How well does the interval cover?
#
# Toys are drawn from the reference events, each fitted; `tests` holds `mu` at its true value, for
# the likelihood ratio t, whose interval is better than `value +- error` where the likelihood is
# no parabola.

# %%
toys = sbi.toys(model, reference, number=200, seed=1, truth={"mu": 1.0}, tests=[{"mu": 1.0}])
print(toys)
print(f"coverage of the interval t < 1: {(toys.statistic() < 1).mean():.3f}")

# %% [markdown]
# ## With learned ratios
#
# Nothing changes but where the columns come from: a `RatioEstimator`, trained on samples of the
# three hypotheses, with their signed weights.
#
# ```python
# samples = {name: rootml.open(f"{name}.root:events", weight="weight") for name in model.processes}
# ratios = sbi.RatioEstimator(["mass", "cosine"]).fit(samples, reference="B")
# like = model.likelihood(ratios.columns(rootml.open("data.root:events")))
# ```

# %% [markdown]
# ## Keep it
#
# One JSON file with the columns beside it; files that were changed are refused at loading.

# %%
path = sbi.save(like, folder / "model.json")
again = sbi.fit(sbi.load(path))
print(f"saved {exact.values['mu']:.6f}, loaded {again.values['mu']:.6f}")
