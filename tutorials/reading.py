# %% [markdown]
# # Reading, cuts, new columns, splits
#
# What `rootml.open` gives and what can be said of it. Nothing is read before a line asks for
# values; each method returns a new, unchanged description. To try it on your own files, change
# the names of files and branches.
#
# **What to look at:** the errors, which name what is there instead; the cutflow; that a skim has
# the same events.
#
# Needs `pip install 'rootml[plot]'`.

# %%
from __future__ import annotations

from pathlib import Path

import numpy as np
from collisions import make_files
from matplotlib import pyplot as plt

import rootml

folder = Path("tutorial-data")
make_files(folder, 20_000)

# %% [markdown]
# ## Samples
#
# A glob, a list, `"file.root:tree"` or `{file: tree}`; the tree may be left out when the file has
# only one. A label and a weight belong to the sample: a number, a branch, or an expression. `+`
# unites samples.

# %%
signal = rootml.open(f"{folder}/signal_*.root", label=1, weight="genWeight * 0.05")
background = rootml.open(f"{folder}/background_*.root:Events", label=0, weight="genWeight")
events = signal + background
print(events)
print(events.describe())

# %% [markdown]
# ## Cuts and columns
#
# ROOT's spelling and Python's mean the same. An event without a second jet has no `Jet_pt[1]`: the
# comparison is *unknown* there, and an event whose cut stays unknown does not pass.

# %%
by_root = events.filter("nJet >= 2 && Jet_pt[1] > 30 && TMath::Abs(Jet_eta[0]) < 2.5")
by_python = events.filter("(nJet >= 2) & (Jet_pt[:, 1] > 30) & (abs(Jet_eta[:, 0]) < 2.5)")
assert by_root.scan().num_rows == by_python.scan().num_rows
print(by_root.cutflow())

chosen = by_root.define(HT="Sum$(Jet_pt)", hard="Sum$(Jet_pt > 50)").select(
    ["HT", "hard", "MET_pt", "ratio = MET_pt / HT", "Jet_pt"]
)
array = chosen.to_awkward()
print(array.type)
assert np.allclose(array["ratio"], array["MET_pt"] / array["HT"])

# %% [markdown]
# Samples keep their weights: a plot of one column, in events expected.

# %%
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for sample, name in ((background, "background"), (signal, "signal")):
    kept = sample.filter("nJet >= 2 && Jet_pt[1] > 30").select(["HT = Sum$(Jet_pt)"])
    (x, _, w) = (np.concatenate(part) for part in zip(*kept.batches(4096).numpy(), strict=True))
    axes.hist(x[:, 0], 50, range=(0, 800), weights=w, histtype="step", lw=2, label=name)
axes.set(xlabel="HT (GeV)", ylabel="events", yscale="log")
axes.legend()
figure.savefig(folder / "reading.png")

# %% [markdown]
# A jagged cut needs to say what it means for the event, and a misspelt name is met with the
# nearest ones:

# %%
for cut in ("Jet_pt > 30", "MET_pT > 30"):
    try:
        events.filter(cut).scan()
    except rootml.errors.RootmlError as error:
        print(f"{type(error).__name__}: {error}\n")

# %% [markdown]
# ## Splits that last
#
# An event goes to a side by a hash of what identifies it, so it stays there in every skim, file
# order and run. Folds work the same; each event is tested exactly once.

# %%
identity = ["run", "luminosityBlock", "event"]
training, test = chosen.split(test=0.25, by=identity)
print(training.scan().num_rows, "for training,", test.scan().num_rows, "for testing")

tested = sum(fold.scan().num_rows for _, fold in chosen.folds(5, by=identity))
assert tested == chosen.scan().num_rows

# %% [markdown]
# ## Keeping a selection
#
# A skim holds the selected events and columns, as ROOT or Parquet files; a later `rootml.open`
# takes either.

# %%
skim = chosen.skim(folder / "skim", format="parquet")
again = rootml.open(f"{folder}/skim/**/*.parquet")
assert again.scan().num_rows == chosen.scan().num_rows
print(skim)
