# %% [markdown]
# # Moving from ROOT's `RDataLoader`
#
# `ROOT.Experimental.ML.RDataLoader` (ROOT 6.40; `RBatchGenerator` before) makes batches of an
# RDataFrame. A frame of one class with its `Filter` and `Define` becomes a dataset; the arguments
# of the loader have counterparts, most under other names.
#
# **What to look at:** what each loader delivers in two epochs, counted by event numbers; and the
# picture, where the files of one class each are mixed or not.
#
# Needs ROOT and `pip install 'rootml[plot]'`.

# %%
from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from collisions import make_files
from matplotlib import pyplot as plt

import rootml

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the wheel says that it is in its alpha stage
    import ROOT

folder = Path("tutorial-data")
make_files(folder, 20_000)
BATCH, EPOCHS = 256, 2

# %% [markdown]
# ## With ROOT
#
# Everything is a 32-bit float for `RDataLoader`, so the event numbers are made small enough to
# survive that.

# %%
files = [*sorted(folder.glob("background_*.root")), *sorted(folder.glob("signal_*.root"))]
frame = ROOT.RDataFrame("Events", [str(path) for path in files])
frame = (
    frame.Filter("nJet >= 2 && Jet_pt[1] > 30")
    .Define("HT", "Sum(Jet_pt)")
    .Define("number", "float(event % 10000000 + 10000 * (event / 10000000))")
    .Define("label", "int(event / 10000000) <= 2 ? 1.f : 0.f")  # the first files are signal
)
generator = ROOT.Experimental.ML.RDataLoader(
    frame,
    batch_size=BATCH,
    columns=["HT", "MET_pt", "number", "label"],
    target="label",
    shuffle=True,
    drop_remainder=False,
    set_seed=1,
)
by_root = [
    [np.concatenate(batch, axis=1) for batch in generator.as_numpy()] for _ in range(EPOCHS)
]

# %% [markdown]
# ## With rootml
#
# The label belongs to the sample, not to a column; ids keep their 64 bits as `observers`.

# %%
signal = rootml.open(f"{folder}/signal_*.root:Events", label=1)
background = rootml.open(f"{folder}/background_*.root:Events", label=0)
events = (background + signal).filter("nJet >= 2 && Jet_pt[1] > 30")
events = events.define(
    HT="Sum(Jet_pt)", number="event % 10000000 + 10000 * ((event - event % 10000000) / 10000000)"
)
loader = events.select(["HT", "MET_pt", "number"]).batches(BATCH, shuffle=True, seed=1)
by_rootml = [[np.column_stack(batch) for batch in loader.numpy()] for _ in range(EPOCHS)]

# %% [markdown]
# ## What was delivered
#
# The truth is counted by RDataFrame itself. ROOT 6.40 was found to replace rows by zeros from the
# second epoch on when it filters and shuffles; whether your version does is printed here.

# %%
wanted = np.sort(frame.AsNumpy(["number"])["number"]).astype(np.int64)


def report(name: str, epochs: list[list[Any]]) -> list[bool]:
    """Whether each epoch is complete, printed with what is wrong."""
    complete = []
    for number, batches in enumerate(epochs, start=1):
        rows = np.concatenate(batches)
        seen = np.sort(rows[:, 2]).astype(np.int64)
        zeros = int((rows == 0).all(axis=1).sum())
        missing = len(np.setdiff1d(wanted, seen))
        complete.append(np.array_equal(seen, wanted))
        print(f"{name:12} epoch {number}: {len(rows)} rows, {zeros} all zero, {missing} missing")
    return complete


report("RDataLoader", by_root)
assert all(report("rootml", by_rootml))

# %%
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for name, epochs, style in (("RDataLoader", by_root, "o"), ("rootml", by_rootml, ".")):
    axes.plot([np.mean(batch[:, 3]) for batch in epochs[0]], style, label=name)
axes.set(xlabel="batch of the first epoch", ylabel="fraction of signal", ylim=(-0.05, 1.05))
axes.legend()
figure.savefig(folder / "mixing_rdataloader.png")

# %% [markdown]
# ## What corresponds to what
#
# | RDataFrame, RDataLoader | rootml |
# |---|---|
# | `Filter`, `Define`, `Sum(x)`, `ROOT::VecOps::...` | `.filter`, `.define`; C++ code has none |
# | several data frames, sampling | `signal + background`, `balance="resample"` |
# | `batch_size`, `shuffle`, `set_seed` | `batch_size`, `shuffle`, `seed` |
# | `batches_in_memory` | `buffer_bytes`, in bytes |
# | `columns`, `target`, `weights` | `.select`, `label=` or `targets=`, `weight=` |
# | `max_vec_sizes`, `vec_padding` | `Padded([...], length=, value=)`, with a mask |
# | `drop_remainder=True` (default) | `drop_last=False` (default): no event is lost |
# | `train_test_split(0.2)` | `.split(test=0.2, by="event")`: the same in every skim |
# | `as_numpy()`, `as_torch()`, `as_tensorflow()` | `.numpy()`, `.torch()`, `.tensorflow()` |
#
# **No counterpart:** columns that are made by C++ functions or by cling. `Snapshot` them first, or
# write them as a friend.
