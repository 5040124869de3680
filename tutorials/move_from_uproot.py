# %% [markdown]
# # Moving from `uproot.iterate`
#
# A loop over `uproot.iterate` that fills batches is quickly written, and has to take care of all
# that follows: cuts, columns that are computed, labels, weights, shuffling, the rest of a step
# that fills no batch, a split that does not change, an end that can be resumed. Here is such a
# loop, and the same with rootml.
#
# **What to look at:** the picture. The files hold one class each, as simulation usually comes;
# shuffled within its steps the hand-written loop trains on background for an hour, then on signal.
#
# Needs `pip install 'rootml[plot]'`.

# %%
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from collisions import make_files
from matplotlib import pyplot as plt

import rootml

folder = Path("tutorial-data")
make_files(folder, 20_000)
BATCH = 256

# %% [markdown]
# ## By hand

# %%
FILES = {"background_3": 0, "background_4": 0, "background_5": 0, "signal_1": 1, "signal_2": 1}
BRANCHES = ["nJet", "Jet_pt", "MET_pt", "event"]


def by_hand(rng: np.random.Generator) -> Iterator[tuple[Any, Any, Any]]:
    """Batches of features, labels and event numbers; each step is shuffled in itself."""
    rest: list[Any] = []
    for name, label in FILES.items():
        for step in uproot.iterate(f"{folder}/{name}.root:Events", BRANCHES, step_size=2_000):
            kept = step[step["nJet"] >= 2]
            kept = kept[kept["Jet_pt"][:, 1] > 30]
            columns = [ak.sum(kept["Jet_pt"], axis=1), kept["Jet_pt"][:, 0], kept["MET_pt"]]
            x = np.stack([column.to_numpy() for column in columns], axis=1).astype(np.float32)
            new = (x, np.full(len(x), label), kept["event"].to_numpy())
            order = rng.permutation(len(x))
            parts = [part[order] for part in new]
            if rest:
                parts = [np.concatenate(pair) for pair in zip(rest, parts, strict=True)]
            full = len(parts[0]) // BATCH * BATCH
            for start in range(0, full, BATCH):
                yield tuple(part[start : start + BATCH] for part in parts)  # type: ignore[misc]
            rest = [part[full:] for part in parts]
    yield tuple(rest)


# %% [markdown]
# ## With rootml
#
# Cuts in either spelling: uproot's own `cut=` knows no `&&`, no functions with a dot, no cut on a
# list, and is not applied to RNTuples (as of uproot 5.7). `observers` carry the event number
# beside the batch.

# %%
signal = rootml.open(f"{folder}/signal_*.root:Events", label=1)
background = rootml.open(f"{folder}/background_*.root:Events", label=0)
events = (background + signal).filter("nJet >= 2 && Jet_pt[1] > 30")
events = events.select(["HT = Sum$(Jet_pt)", "Jet_pt[0]", "MET_pt"])
loader = events.batches(BATCH, shuffle=True, seed=1, observers=["event"])

# %% [markdown]
# ## The same events, the same numbers, another order

# %%
steps = list(by_hand(np.random.default_rng(1)))
hand = [np.concatenate(parts) for parts in zip(*steps, strict=True)]
batches = [(x, y, observed["event"]) for x, y, observed in loader.numpy()]
ours = [np.concatenate(parts) for parts in zip(*batches, strict=True)]
hand, ours = ([part[np.argsort(parts[2])] for part in parts] for parts in (hand, ours))
assert np.array_equal(hand[2], ours[2])
assert np.array_equal(hand[1], ours[1])
assert np.allclose(hand[0], ours[0], rtol=1e-6)
print(f"{len(ours[2]):,} events, each once, from either")

# %%
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for name, labels, style in (
    ("uproot.iterate, shuffled in steps", [y for _, y, _ in steps], "o"),
    ("rootml", [y for _, y, _ in batches], "."),
):
    axes.plot([np.mean(y) for y in labels], style, label=name)
axes.axhline(np.mean(ours[1]), color="grey", lw=1, ls=":")
axes.set(xlabel="batch of the epoch", ylabel="fraction of signal in the batch", ylim=(-0.05, 1.05))
axes.legend()
figure.savefig(folder / "mixing_uproot.png")
spread = np.std([np.mean(y) for _, y, _ in batches[:-1]])
drawn = np.sqrt(np.mean(ours[1]) * (1 - np.mean(ours[1])) / BATCH)
print(f"spread of the fraction: {spread:.4f}; of independent draws {drawn:.4f}")
assert spread < 1.5 * drawn

# %% [markdown]
# ## What corresponds to what
#
# | by hand | rootml |
# |---|---|
# | `uproot.iterate(files, branches, step_size=)` | `.batches(n)`; memory by `buffer_bytes` |
# | `cut="(a > 3) & (b < 1)"` | `.filter("a > 3 && b < 1")` |
# | `ak.sum(x, axis=1)`, `ak.num`, `x[:, 0]` | `Sum$(x)`, `Length$(x)`, `x[0]` or `x[:, 0]` |
# | `ak.fill_none(ak.pad_none(x, n, clip=True), 0)` | `Padded(["x"], length=n)`, with its mask |
# | one array for all | `events.to_awkward()`, `.to_arrow()` |
# | `library="pd"` | `events.to_arrow().to_pandas()` |
# | steps as they are, no batches | `for part in events.partitions(): events.read(part)` |
# | `uproot.recreate(...)` of what passed | `events.skim(folder)`, `.write_friend(folder, {...})` |
#
# **No counterpart:** histograms, objects of other classes, and trees that are not to be cut or
# batched: stay with uproot, on which rootml is built.
