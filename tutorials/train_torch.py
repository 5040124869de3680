# %% [markdown]
# # A PyTorch training loop, with a variable number of jets
#
# Scalars come as one matrix; jagged branches can be padded to a fixed length with a mask that
# says which entries are jets. Here a small deep-sets network sums over the jets of an event.
#
# **What to look at:** the shapes of a batch and the mask; that the loss of test events falls with
# that of the training; in the second picture, how far apart signal and background come.
#
# Needs `pip install 'rootml[torch,plot]'`. The files are made by `collisions.py`, beside this one.

# %%
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from collisions import make_files
from matplotlib import pyplot as plt
from torch import nn

import rootml
from rootml.batching import Padded

folder = Path("tutorial-data")
make_files(folder, 20_000)
signal = rootml.open(f"{folder}/signal_*.root:Events", label=1, weight="genWeight")
background = rootml.open(f"{folder}/background_*.root:Events", label=0, weight="genWeight")
JETS = ["Jet_pt", "Jet_eta", "Jet_phi", "Jet_mass", "Jet_btag"]
events = (signal + background).filter("nJet >= 2").select(["MET_pt", "MET_phi", *JETS])
training, test = events.split(test=0.25, by=["run", "event"])

# %% [markdown]
# ## Batches
#
# `inputs` names what the network takes. Each batch is `(x, y, w)`: here `x` is a dictionary, `y`
# the label, `w` the weight; `x["jets_mask"]` says which of the padded places are jets.
# `len(loader)` is exact, and every selected event comes once per epoch.

# %%
inputs: dict[str, Any] = {"event": ["MET_pt", "MET_phi"], "jets": Padded(JETS, length=6)}
loader = training.batches(512, shuffle=True, seed=1, inputs=inputs, balance="weights")
print(loader.describe())
x, y, w = next(iter(loader.torch()))
print({name: tuple(value.shape) for name, value in x.items()}, tuple(y.shape), tuple(w.shape))

# %% [markdown]
# ## The network and the loop


# %%
class DeepSet(nn.Module):
    """A sum over jets, seen by a network together with the event's scalars."""

    def __init__(self) -> None:
        super().__init__()
        self.jet = nn.Sequential(nn.Linear(len(JETS), 32), nn.SiLU(), nn.Linear(32, 32))
        self.event = nn.Sequential(nn.Linear(34, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, event: torch.Tensor, jets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        scale = torch.tensor([100.0, 2.0, 2.0, 10.0, 1.0])
        summed = (self.jet(jets / scale) * mask[..., None]).sum(dim=1)
        logit: torch.Tensor = self.event(torch.cat([summed, event / 100], dim=1))
        return logit[:, 0]


torch.manual_seed(1)
model = DeepSet()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
cross_entropy = nn.BCEWithLogitsLoss(reduction="none")
judging = test.batches(2048, inputs=inputs, balance="weights")


@torch.no_grad()
def judge() -> tuple[float, torch.Tensor, torch.Tensor]:
    """Loss, scores and labels of the test events, in the order of the files."""
    parts = [(model(x["event"], x["jets"], x["jets_mask"]), y, w) for x, y, w in judging.torch()]
    logit, label, weight = (torch.cat(column) for column in zip(*parts, strict=True))
    loss = (weight * cross_entropy(logit, label)).sum() / weight.sum()
    return float(loss), logit.sigmoid(), label


losses = []
for epoch in range(1, 5):
    total = weights = 0.0
    for x, y, w in loader.torch():
        logit = model(x["event"], x["jets"], x["jets_mask"])
        loss = (w * cross_entropy(logit, y)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += len(y) * float(loss.detach())
        weights += float(w.sum())
    losses.append((total / weights, judge()[0]))
    print(f"epoch {epoch}: loss {losses[-1][0]:.3f} in training, {losses[-1][1]:.3f} of the test")

# %% [markdown]
# ## Validation
#
# The same inputs without shuffling, in the order of the files.

# %%
_, score, label = judge()
right = float(((score > 0.5) == (label > 0)).float().mean())
print(f"{100 * right:.1f} % of {len(label)} test events are told apart")
assert right > 0.7
assert losses[-1][1] < losses[0][1]

figure, (left, middle) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for column, name in enumerate(("training", "test")):
    left.plot(range(1, len(losses) + 1), [pair[column] for pair in losses], "o-", label=name)
left.set(xlabel="epoch", ylabel="loss", xticks=range(1, len(losses) + 1))
left.legend()
for value, name in ((0, "background"), (1, "signal")):
    mine = score[label == value].numpy()
    middle.hist(mine, bins=30, range=(0, 1), weights=np.full(len(mine), 1 / len(mine)),
                histtype="step", lw=2, label=name)  # fmt: skip
middle.set(xlabel="score of test events", ylabel="share of the class", xlim=(0, 1))
middle.legend(loc="upper center")
figure.savefig(folder / "torch.png")

# %% [markdown]
# With `DataLoader(loader.torch(), batch_size=None, num_workers=2)` worker processes read; each
# event still comes exactly once.
