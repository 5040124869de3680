# %% [markdown]
# # From a fast to a full simulation: jets, refined
#
# A fast simulation smears generator jets with parametrised resolutions; the full one follows every
# particle, and costs a thousand times more. A `Morpher` trained on a sample that has both makes
# the fast one look like the full one, for all the events that have the fast one only.
#
# Here both are made from the same generator jets, by two smearings: the response of the energy, a
# b-tag between 0 and 1 that is exactly 0 for jets without a displaced track, and the jet's mass.
#
# **What to look at:** three measures side by side. A correction of means and correlations alone
# has a Frechet distance (FPD) near 0, and a classifier still sees that it is not the full
# simulation. The Morpher brings all three down.
#
# Needs `pip install 'rootml[torch,sbi,plot]'`.

# %%
from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib import pyplot as plt

import rootml
from rootml.sbi.morphing import Morpher, Options, Sample, make_report

small = os.environ.get("ROOTML_TUTORIALS") == "small"  # for the tests
parser = argparse.ArgumentParser(description="Refine a fast simulation.")
parser.add_argument("--events", type=int, default=12_000 if small else 40_000, help="jets")
parser.add_argument("--steps", type=int, default=250 if small else 800, help="of the training")
options, _ = parser.parse_known_args()

FEATURES, CONDITIONS = ["response", "btag", "mass"], ["gen_pt", "gen_eta", "gen_b"]
folder = Path("tutorial-fast-to-full")
folder.mkdir(exist_ok=True)


# %% [markdown]
# ## Two simulations of the same jets
#
# The full simulation has a tail of lost energy, a worse resolution at large |eta|, fewer jets
# without a b-tag, and a mass that depends on the response.


# %%
def smear(
    rng: np.random.Generator, gen: dict[str, np.ndarray], full: bool
) -> dict[str, np.ndarray]:
    """A simulation of generator jets: its own noise, the same jets."""
    count = len(gen["gen_pt"])
    constant = 0.02 * gen["gen_eta"] ** 2 if full else 0.03
    width = (0.8 if full else 0.6) / np.sqrt(gen["gen_pt"]) + constant
    response = rng.normal(1.0 if full else 1.01, width, count)
    if full:
        response -= 0.08 * rng.exponential(size=count) * (rng.random(count) < 0.3)
    score = rng.normal(np.where(gen["gen_b"] == 1, 1.5, -1.5), 1.4 if full else 1.0)
    btag = 1 / (1 + np.exp(-score))
    btag[rng.random(count) < np.where(gen["gen_b"] == 1, 0.05, 0.25 if full else 0.35)] = 0
    slope = 0.4 if full else 0.1
    mass = 0.1 * gen["gen_pt"] * response**slope * rng.lognormal(0, 0.25 if full else 0.2, count)
    return {"response": response, "btag": btag, "mass": mass}


rng = np.random.default_rng(7)
generated = {
    "event": np.arange(options.events),
    "gen_pt": 30 + rng.exponential(40, options.events),
    "gen_eta": rng.uniform(-2.4, 2.4, options.events),
    "gen_b": (rng.random(options.events) < 0.4).astype(np.int32),
}
for name in ("fast", "full"):
    columns = {**generated, **smear(rng, generated, full=name == "full")}
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")

# %% [markdown]
# ## Train
#
# `sim=` is the fast, `data=` the full simulation. Both have the same generator jets, so the
# spectra of the conditions are equal: `reweight="none"`. The training does not use the pairs: the
# noise of the full simulation cannot be known from the fast one. `id` is needed to compare pairs.

# %%
fast = rootml.open(f"{folder}/fast.parquet")
full = rootml.open(f"{folder}/full.parquet")
fast_training, fast_test = fast.split(test=0.4, by="event")
full_training, full_test = full.split(test=0.4, by="event")

morpher = Morpher(
    FEATURES,
    CONDITIONS,
    id="event",
    bounds={"btag": (0, 1)},
    reweight="none",
    steps=options.steps,
    seed=1,
)
morpher.fit(sim=fast_training, data=full_training)
print(morpher)

# %% [markdown]
# ## Judge
#
# `pairs="event"` compares each jet with itself in the full simulation too. Residuals do not become
# 0: both simulations have noise of their own. The rank distance says whether jets kept their
# place: 0 for the same order, 1/3 for jets that have nothing to do with each other.

# %%
report = morpher.validate(fast_test, full_test, pairs="event", classifier="trees")
print(report)

# %% [markdown]
# ## Why three measures
#
# A linear correction can give the fast simulation the means and the covariance of the full one.
# FPD compares just these, KPD some more moments; a classifier compares everything.


# %%
def as_matrix(dataset: rootml.Dataset, names: list[str]) -> np.ndarray:
    """The columns of a dataset, `(jets, columns)`."""
    events = dataset.to_awkward()
    return np.column_stack([np.asarray(events[name], float) for name in names])


def root_of(matrix: np.ndarray, power: float) -> np.ndarray:
    """A symmetric matrix to a power."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * values**power) @ vectors.T)


before, target = as_matrix(fast_test, FEATURES), as_matrix(full_test, FEATURES)
jets = np.asarray(full_test.to_awkward()["event"])  # the same in both, in the same order
covariances = [np.cov(each, rowvar=False) for each in (before, target)]
linear = (before - before.mean(0)) @ root_of(covariances[0], -0.5) @ root_of(covariances[1], 0.5)
linear += target.mean(0)
corrected = as_matrix(morpher.transform(fast_test), FEATURES)


def sample(values: np.ndarray, what: str) -> Sample:
    """As a report takes it; `events` keeps both copies of a jet in one fold of the classifier."""
    return Sample.of(dict(zip(FEATURES, values.T, strict=True)), what=what, events=jets)


samples = {
    "fast": sample(before, "fast simulation"),
    "linear": sample(linear, "linear correction"),
    "morphed": sample(corrected, "Morpher"),
}
beside = make_report(
    sample(target, "full simulation"),
    samples,
    features=FEATURES,
    options=Options(classifier="trees"),
)
print(beside.summary())

# %%
figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for j, (axis, name) in enumerate(zip(axes, FEATURES, strict=True)):
    low, high = np.quantile(target[:, j], [0.002, 0.998])
    edges = np.linspace(low, high, 50)
    for label, values in (("fast", before), ("linear", linear), ("morphed", corrected)):
        axis.hist(values[:, j], edges, density=True, histtype="step", label=label)
    axis.hist(target[:, j], edges, density=True, alpha=0.3, color="gray", label="full")
    axis.set(xlabel=name, yscale="log" if name == "btag" else "linear")
axes[0].legend()
figure.savefig(folder / "fast_to_full.png")

assert report.pairs is not None
assert report.pairs.rows == len(before)
assert report.before.classifier.auc > 0.6
assert report.after.classifier.auc < 0.55
assert abs(beside["linear"].fpd.value) < 0.15 * beside["fast"].fpd.value  # blind
assert beside["linear"].classifier.auc > 0.6  # not blind
zeros = [float((values[:, 1] == 0).mean()) for values in (before, corrected, target)]
print("jets with a b-tag of exactly 0: fast {:.3f}, morphed {:.3f}, full {:.3f}".format(*zeros))
assert abs(zeros[1] - zeros[2]) < 0.02
assert corrected[:, 1].min() >= 0
assert corrected[:, 1].max() <= 1
