# %% [markdown]
# # A PyTorch training loop, with a variable number of jets
#
# Scalars come as one matrix; jagged branches can be padded to a fixed length with a mask that
# says which entries are jets. Here a small deep-sets network sums over the jets of an event.

# %%
from __future__ import annotations

from pathlib import Path

import torch
from collisions import make_files
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
inputs = {"event": ["MET_pt", "MET_phi"], "jets": Padded(JETS, length=6)}
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
for epoch in range(3):
    total = 0.0
    for x, y, w in loader.torch():
        logit = model(x["event"], x["jets"], x["jets_mask"])
        loss = (w * cross_entropy(logit, y)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += float(loss.detach()) / len(loader)
    print(f"epoch {epoch}: loss {total:.3f}")

# %% [markdown]
# ## Validation
#
# The same features without shuffling, in the order of the files.

# %%
right = rows = 0
with torch.no_grad():
    for x, y, _ in test.batches(4096, inputs=inputs).torch():
        logit = model(x["event"], x["jets"], x["jets_mask"])
        right += int(((logit > 0) == (y > 0)).sum())
        rows += len(y)
print(f"{100 * right / rows:.1f} % of {rows} test events are told apart")
assert right / rows > 0.7

# %% [markdown]
# With `DataLoader(loader.torch(), batch_size=None, num_workers=2)` worker processes read; each
# event still comes exactly once.
