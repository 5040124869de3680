# %% [markdown]
# # Simulation that looks like data: photons, morphed
#
# Simulated photons differ from those of data: their shapes, their thresholds, the correlations
# between their properties. One flow learns both, and carries each simulated photon to the place
# that it would have in data (arXiv:2403.18582). Nothing is reweighted away: every photon stays,
# with its weight.
#
# **What to look at:** the classifiers' AUC before and after, beside the floor that no correction
# can beat; in the pictures, shapes, thresholds and correlations before and after.
#
# Needs `pip install 'rootml[torch,xgboost,sbi,plot]'`. The files are made by `photons.py`, beside
# this one.

# %%
from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from photons import CONDITIONS, FEATURES, make_files

import rootml
from rootml.sbi.morphing import Morpher

small = os.environ.get("ROOTML_TUTORIALS") == "small"  # for the tests
parser = argparse.ArgumentParser(description="Morph simulated photons onto data.")
parser.add_argument("--events", type=int, default=8_000 if small else 15_000, help="of each")
parser.add_argument("--steps", type=int, default=400 if small else 600, help="of the training")
options, _ = parser.parse_known_args()

folder = Path("tutorial-photons")
make_files(folder, options.events)

# %% [markdown]
# ## What is corrected, and as a function of what
#
# Each photon is a row; `rho` is one number per event, and is repeated for its photons. A third of
# the events is kept aside to judge by: a correction looks better on the events it was learnt from.

# %%
sim = rootml.open(f"{folder}/sim.root:Events", weight="genWeight")
data = rootml.open(f"{folder}/data.root:Events")
sim_training, sim_test = sim.split(test=0.33, by="event")
data_training, data_test = data.split(test=0.33, by="event")

morpher = Morpher(FEATURES, CONDITIONS, id="event", steps=options.steps, batch_size=512, seed=1)
morpher.fit(sim_training, data_training)
print(morpher)

# %% [markdown]
# ## Corrected branches beside the events
#
# Friend trees have the same entries as the files; the originals stay untouched. Photons whose
# conditions lie outside of what both samples cover pass unchanged, and are flagged.

# %%
print(morpher.apply(sim, folder / "corrected", suffix="_corr"))
corrected = rootml.open(f"{folder}/sim.root:Events", friends=f"{folder}/corrected/*.root")
both = corrected.select(["Photon_iso", "Photon_iso_corr", "Photon_crystals_corr"]).to_awkward()
print(both[0].tolist())

# %% [markdown]
# ## Does it close?
#
# "floor" is one half of the data beside the other: nothing can be better. The two-sample test
# trains classifiers to tell simulation from data; at 0.5 they cannot. The conditions alone, after
# they were reweighted to those of the data, say how near any correction of the features can come.

# %%
report = morpher.validate(sim_test, data_test)
print(report)
for picture in report.plot(folder / "closure"):
    print(picture)

# %% [markdown]
# Three of them at a glance; a notebook shows them here.

# %%
figure, axes = plt.subplot_mosaic("AB;CC", figsize=(11, 8), layout="constrained")
shown = {"A": "feature_Photon_iso", "B": "roc", "C": "correlations"}
for place, name in shown.items():
    axes[place].imshow(plt.imread(folder / "closure" / f"{name}.png"))
    axes[place].axis("off")
figure.savefig(folder / "closure.png")

# %% [markdown]
# The report is kept as JSON, the morpher as one file without code in it; `morpher.to_onnx` writes
# the whole map for use without rootml. The same from a shell:
#
# ```sh
# rootml morph fit photons.morph --sim sim.root --data data.root --sim-weight genWeight \
#     --id event -f Photon_r9 -f Photon_iso -c Photon_pt -c Photon_eta -c rho
# rootml morph apply photons.morph --sim sim.root --output corrected/
# rootml morph validate photons.morph --sim sim.root --data data.root --plots closure/
# ```

# %%
report.save(folder / "closure.json")
morpher.save(folder / "photons.morph")
again = Morpher.load(folder / "photons.morph")
photon = {
    name: np.array([value]) for name, value in zip(CONDITIONS, (40.0, 1.0, 20.0), strict=True)
}
photon |= {
    name: np.array([value]) for name, value in zip(FEATURES, (0.9, 0.01, 0.0, 8, 0.5), strict=True)
}
print(again.transform({**photon, "event": np.array([7])}))

assert report.before.classifier.auc > 0.62
assert report.after.classifier.auc < 0.57
assert report.after.features[2].leakage < 0.001  # no isolation between zero and the threshold
