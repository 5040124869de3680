# %% [markdown]
# # Particle clouds: NanoAOD into a small transformer
#
# An event is a set of objects, without order and of any number: jets, muons, electrons. Each kind
# comes padded with a mask; the transformer turns each object into a token, lets tokens look at
# each other, and ignores the places that hold none. It learns whether a top pair decayed with an
# electron or a muon; the truth comes from the generated particles in the same file.
#
# The file is one of CMS Open Data (200 simulated top pairs). It is taken from this folder or from
# the one named by `ROOTML_TEST_DATA`; `python -m skhep_testdata
# nanoAOD_2015_CMS_Open_Data_ttbar.root` downloads it. Where it is absent, `nano.py`, beside this
# file, makes one that is alike.
#
# **What to look at:** the mask beside each input; that every event is scored by a network that did
# not learn from it; in the second picture, which objects the network looked at.
#
# Needs `pip install 'rootml[torch,plot]'`.

# %%
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from nano import make_file
from torch import nn

import rootml
from rootml.batching import Padded

folder = Path("tutorial-clouds")
folder.mkdir(exist_ok=True)
small = os.environ.get("ROOTML_TUTORIALS") == "small"  # for the tests

NAME = "nanoAOD_2015_CMS_Open_Data_ttbar.root"
places = [Path(), Path(os.environ.get("ROOTML_TEST_DATA", "../shared/data"))]
found = [str(place / NAME) for place in places if (place / NAME).exists()]
path = found[0] if found else make_file(folder / "ttbar.root", 400)
print("reading", path)

# %% [markdown]
# ## The truth, as an expression
#
# A generated electron or muon whose mother is a W boson. `GenPart_genPartIdxMother` is -1 where
# there is no mother; an index that points nowhere gives an *unknown* element, which is why the
# condition comes first. `Take` says that the list is one of positions, not a mask.

# %%
LEPTON = "(abs(GenPart_pdgId) == 11 || abs(GenPart_pdgId) == 13)"
MOTHER = "Take(GenPart_pdgId, GenPart_genPartIdxMother)"
FROM_W = f"(GenPart_genPartIdxMother >= 0 ? abs({MOTHER}) : 0) == 24"
events = rootml.open(f"{path}:Events").with_label(f"Sum$({LEPTON} && {FROM_W}) > 0 ? 1 : 0")
print(events.scan().labels)

# %% [markdown]
# ## Three kinds of objects, padded
#
# Logarithms and angles make numbers of order one. `Padded` keeps the first `length` objects, which
# are the hardest: NanoAOD stores them by momentum.

# %%
DIRECTION = ["{0}_eta", "cos_{0} = cos({0}_phi)", "sin_{0} = sin({0}_phi)"]


def columns(kind: str, *more: str) -> list[str]:
    """Momentum, direction and what else an object of this kind has."""
    texts = [f"log_{kind} = log({kind}_pt / 30)", *(text.format(kind) for text in DIRECTION)]
    return [*texts, *more]


def isolation(kind: str) -> str:
    """Momentum around a lepton over its own, not more than 2."""
    return f"iso_{kind} = minimum({kind}_pfRelIso03_all, 2)"


inputs: dict[str, Any] = {
    "jets": Padded(columns("Jet", "m_Jet = log1p(Jet_mass) / 3", "Jet_btagDeepB"), length=8),
    "muons": Padded(columns("Muon", isolation("Muon")), length=4),
    "electrons": Padded(columns("Electron", isolation("Electron")), length=4),
    "event": ["met = log(MET_pt + 1) / 4"],
}
loader = events.batches(50, inputs=inputs)
x, y = next(iter(loader.torch()))
for name, tensor in x.items():
    print(f"{name:15} {tuple(tensor.shape)} {tensor.dtype}")
print(
    "objects per event, padding left out:",
    {kind: round(float(x[f"{kind}_mask"].sum(1).float().mean()), 2) for kind in list(inputs)[:3]},
)

# %% [markdown]
# ## The transformer
#
# One linear layer per kind makes tokens; a first token stands for the event, so that an event
# without objects has something to look at. `src_key_padding_mask` is true where there is *no*
# object: the mask, turned around. At the end the event's token gathers what it wants to know; the
# weights of this last look are kept, for the picture.


# %%
class CloudTransformer(nn.Module):
    """Tokens of all kinds, two layers of attention, one gathering look."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        kinds = ("jets", "muons", "electrons", "event")
        sizes = {kind: x[kind].shape[-1] for kind in kinds}
        self.embed = nn.ModuleDict({kind: nn.Linear(n, width) for kind, n in sizes.items()})
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=64, dropout=0.1, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.gather = nn.MultiheadAttention(width, 1, batch_first=True)
        self.answer = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, x: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits `(batch,)`, and how much was looked at each token `(batch, token)`."""
        kinds = ("jets", "muons", "electrons")
        first = self.embed["event"](x["event"])[:, None]
        tokens = torch.cat([first, *(self.embed[kind](x[kind]) for kind in kinds)], dim=1)
        nothing = torch.cat([~x[f"{kind}_mask"] for kind in kinds], dim=1)
        nothing = nn.functional.pad(nothing, (1, 0), value=False)  # the event's token is there
        tokens = self.encoder(tokens, src_key_padding_mask=nothing)
        gathered, looks = self.gather(tokens[:, :1], tokens, tokens, key_padding_mask=nothing)
        logit: torch.Tensor = self.answer(gathered[:, 0])[:, 0]
        return logit, looks[:, 0]


def train(training: rootml.Dataset, epochs: int) -> CloudTransformer:
    """The usual loop."""
    torch.manual_seed(1)
    model = CloudTransformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    cross_entropy = nn.BCEWithLogitsLoss()
    loader = training.batches(32, shuffle=True, seed=1, inputs=inputs)
    for _ in range(epochs):
        for x, y in loader.torch():
            loss = cross_entropy(model(x)[0], y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


# %% [markdown]
# ## Trained and judged in folds
#
# 200 events are few: with folds all of them can judge. Each is in exactly one test side, by a hash
# of its number, and is scored by the network that did not learn from it. `write_friend` takes such
# pairs of datasets and values, and puts the scores back in order.

# %%
FOLDS, EPOCHS = (3, 15) if small else (5, 30)
torch.set_num_threads(1)  # so small a network is faster that way
parts = []
for number, (training, test) in enumerate(events.folds(FOLDS, by="event"), start=1):
    model = train(training, EPOCHS)
    with torch.no_grad():
        batches = [model(x)[0].sigmoid() for x, _ in test.batches(16, inputs=inputs).torch()]
    parts.append((test, {"leptonic": torch.cat(batches).numpy()}))
    print(
        f"fold {number}: {training.scan().num_rows} to learn from, {test.scan().num_rows} scored"
    )
friends = events.write_friend(folder / "scores", parts, overwrite=True)

# %% [markdown]
# Read back as a friend, the scores stand beside the label; all events have one.

# %%
label = np.concatenate([batch[1] for batch in loader.numpy()])
scored = rootml.open(f"{path}:Events", friends=friends)
score = scored.select(["leptonic"]).to_awkward()["leptonic"].to_numpy()
assert len(score) == len(label)
assert np.isfinite(score).all()
pairs = np.subtract.outer(score[label == 1], score[label == 0])
area = np.mean(np.where(pairs == 0, 0.5, pairs > 0))  # of two events the leptonic one is higher
right = np.mean((score > 0.5) == (label == 1))
print(f"{100 * right:.0f} % of {len(label)} events are told apart, AUC {area:.3f}")
assert area > 0.6

figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for value, name in ((0, "hadrons only"), (1, "with an electron or muon")):
    axes.hist(score[label == value], bins=20, range=(0, 1), histtype="step", lw=2, label=name)
axes.set(xlabel="score of the network that did not see the event", ylabel="events", xlim=(0, 1))
axes.legend(loc="upper center")
figure.savefig(folder / "scores.png")

# %% [markdown]
# ## What was looked at
#
# Of the fifty events above the one with most objects, among those that were called leptonic by the
# network of the last fold. The size of a mark is the momentum of the object, the colour how much
# the event's token looked at it.

# %%
with torch.no_grad():
    logit, looks = model(x)
objects_in = sum(x[f"{kind}_mask"].sum(dim=1) for kind in ("jets", "muons", "electrons"))
best = int(torch.where(logit > 0, objects_in, -1).argmax())
figure, axes = plt.subplots(figsize=(6, 4.6), layout="constrained")
start = 1
for kind, marker in (("jets", "o"), ("muons", "^"), ("electrons", "s")):
    there = x[f"{kind}_mask"][best]
    objects = x[kind][best][there]
    phi = torch.atan2(objects[:, 3], objects[:, 2])
    shown = axes.scatter(
        objects[:, 1],
        phi,
        s=(250 * objects[:, 0].exp()).clamp(max=2000),
        c=looks[best, start : start + len(there)][there],
        marker=marker,
        cmap="viridis",
        vmin=0,
        vmax=float(looks[best].max()),
        alpha=0.8,
        label=f"{kind} ({len(objects)})",
    )
    start += len(there)
figure.colorbar(shown, label="share of the attention")
axes.set(xlabel="eta", ylabel="phi", xlim=(-4.5, 4.5), ylim=(-3.5, 3.5))
axes.legend(loc="upper right", markerscale=0.5)
axes.set_title(f"one event, score {float(logit[best].sigmoid()):.2f}")
figure.savefig(folder / "attention.png")
