# %% [markdown]
# # Moving from weaver
#
# weaver (`weaver-core`) trains jet taggers from ROOT files, described by a YAML file. Here a real
# data config, the one with which ParticleTransformer is trained on the kinematics of JetClass
# (arXiv:2202.03772), is translated; both give the same tensors, which is checked. Then rootml's
# batches feed three trainings of the same network, side by side: weaver's own, Lightning's, and a
# plain loop.
#
# **What to look at:** what each line of the config becomes; the three curves at the end, which lie
# on each other; and the table of what has no counterpart.
#
# Needs `pip install 'rootml[lightning,plot]' weaver-core`. The files are made by `jets.py`, beside
# this one; with files of JetClass nothing changes but their names.

# %%
from __future__ import annotations

import logging
import os
import warnings
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jets
import lightning
import numpy as np
import torch
from matplotlib import pyplot as plt
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import rootml
from rootml.batching import Padded

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # it is talkative
warnings.filterwarnings("ignore", module="lightning")

folder = Path("tutorial-jets")
small = os.environ.get("ROOTML_TUTORIALS") == "small"  # for the tests
files = jets.make_files(folder, 200 if small else 1_000)
print(rootml.open(f"{folder}/*.root:tree").describe())

# %% [markdown]
# ## The data config of weaver
#
# New variables; four inputs, each padded or cut to 128 particles, wrapped around (a jet of 40
# particles is repeated three times and a bit) but for the mask; features shifted, scaled and
# clipped to [-5, 5]; ten labels; observers.

# %%
FEATURES = {  # name: what is subtracted, what multiplies then
    "part_pt_log": (1.7, 0.7),
    "part_e_log": (2.0, 0.7),
    "part_logptrel": (-4.7, 0.7),
    "part_logerel": (-4.7, 0.7),
    "part_deltaR": (0.2, 4.0),
}
OBSERVERS = ["jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_nparticles", "jet_sdmass"]
CONFIG = f"""
new_variables:
  part_mask: ak.ones_like(part_energy)
  part_pt: np.hypot(part_px, part_py)
  part_pt_log: np.log(part_pt)
  part_e_log: np.log(part_energy)
  part_logptrel: np.log(part_pt/jet_pt)
  part_logerel: np.log(part_energy/jet_energy)
  part_deltaR: np.hypot(part_deta, part_dphi)
preprocess: {{method: manual}}
inputs:
  pf_points: {{length: 128, pad_mode: wrap, vars: [[part_deta, null], [part_dphi, null]]}}
  pf_features:
    length: 128
    pad_mode: wrap
    vars: {
    [[name, *scale] for name, scale in FEATURES.items()]
    + [["part_deta", None], ["part_dphi", None]]
}
  pf_vectors:
    length: 128
    pad_mode: wrap
    vars: [[part_px, null], [part_py, null], [part_pz, null], [part_energy, null]]
  pf_mask: {{length: 128, pad_mode: constant, vars: [[part_mask, null]]}}
labels: {{type: simple, value: {[f"label_{name}" for name in jets.LABELS]}}}
observers: {OBSERVERS}
""".replace("None", "null")
config = folder / "JetClass_kin.yaml"
config.write_text(CONFIG)

# %% [markdown]
# ## The same in rootml
#
# The expressions may stay as they are (`np.hypot`, `np.log`); rootml parses them, weaver hands
# them to `eval`. A standardised variable is one more expression. A label is an expression too; who
# has one class per file may say `rootml.open("HToBB_*.root:tree", label=1)` for each instead.


# %%
def standardised(name: str, center: float, scale: float) -> str:
    """What weaver makes of `[name, center, scale]`, with its default limits."""
    return f"{name}_scaled = minimum(maximum(({name} - {center}) * {scale}, -5), 5)"


def translated(paths: list[str], length: int = 128) -> tuple[rootml.Dataset, dict[str, Any]]:
    """The dataset and the inputs that the config describes."""
    data = (
        rootml.open([f"{path}:tree" for path in paths])
        .define(part_pt="np.hypot(part_px, part_py)")
        .define(
            part_pt_log="np.log(part_pt)",
            part_e_log="np.log(part_energy)",
            part_logptrel="np.log(part_pt/jet_pt)",
            part_logerel="np.log(part_energy/jet_energy)",
            part_deltaR="np.hypot(part_deta, part_dphi)",
        )
        .with_label(" + ".join(f"{k} * label_{name}" for k, name in enumerate(jets.LABELS)))
    )
    scaled = [standardised(name, *scale) for name, scale in FEATURES.items()]
    inputs = {
        "pf_points": Padded(["part_deta", "part_dphi"], length=length),
        "pf_features": Padded([*scaled, "part_deta", "part_dphi"], length=length),
        "pf_vectors": Padded(["part_px", "part_py", "part_pz", "part_energy"], length=length),
    }
    return data, inputs


# %% [markdown]
# What remains is the shape: rootml's padded inputs are `(batch, particle, variable)` with a mask
# beside, as attention layers take them; weaver's are `(batch, variable, particle)`, wrapped.


# %%
def wrapped(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The particles of each jet, again and again up to the end: `pad_mode: wrap`."""
    counts = mask.sum(dim=1, keepdim=True).clamp(min=1)
    places = torch.arange(mask.shape[1]) % counts
    return values.gather(1, places[..., None].expand_as(values))


def as_weaver(x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The inputs of weaver's networks from a batch of rootml's."""
    names = ("pf_points", "pf_features", "pf_vectors")
    made = {n: wrapped(x[n], x[f"{n}_mask"]).transpose(1, 2).contiguous() for n in names}
    return {**made, "pf_mask": x["pf_points_mask"][:, None].float()}


# %% [markdown]
# ## The same tensors
#
# weaver reads the files itself, by its config, in order. Numbers that are only copied are equal
# bit by bit; computed ones differ by rounding: rootml computes in float64, weaver in float32.

# %%
from weaver.utils.dataset import SimpleIterDataset

reader = SimpleIterDataset({"jets": files}, str(config), for_training=False, fetch_step=0)
theirs = DataLoader(reader, batch_size=100)
data, inputs = translated(files)
ours = data.batches(100, inputs=inputs, observers=OBSERVERS)
worst = rows = 0.0
for (X, Y, Z), (x, y, observed) in zip(theirs, ours.torch(), strict=True):
    made = as_weaver(x)
    for name in ("pf_points", "pf_vectors", "pf_mask"):
        assert torch.equal(made[name], X[name])
    worst = max(worst, float((made["pf_features"] - X["pf_features"]).abs().max()))
    assert torch.equal(y.long(), Y["_label_"])
    assert all(torch.equal(observed[name], Z[name]) for name in OBSERVERS)
    rows += len(y)
print(f"{rows:.0f} jets: copied inputs, labels and observers equal, features within {worst:.1e}")
assert worst < 2e-6

# %% [markdown]
# ## One network, three trainings
#
# A ParticleTransformer of weaver's, very small, without dropout so that the trainings can be
# compared number by number. They share the batches: the same seed gives the same order.

# %%
from weaver.nn.model.ParticleTransformer import ParticleTransformer

EPOCHS, LENGTH = 3, 48  # particles; the published 128 take longer than a tutorial should
dataset, inputs = translated(files, LENGTH)
training, test = dataset.split(test=0.25)


def batches() -> Any:
    """A loader with its own count of epochs."""
    return training.batches(50, shuffle=True, seed=1, inputs=inputs)


class Tagger(nn.Module):
    """ParticleTransformer with weaver's four inputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        still = {"dropout": 0.0, "attn_dropout": 0.0, "activation_dropout": 0.0}
        self.network = ParticleTransformer(
            input_dim=len(FEATURES) + 2,
            num_classes=len(jets.LABELS),
            pair_input_dim=4,
            embed_dims=(32, 32),
            pair_embed_dims=(8, 8),
            num_heads=4,
            num_layers=1,
            num_cls_layers=1,
            block_params=still,
            cls_block_params=still,
            trim=False,
        )

    def forward(self, _: Any, features: Any, vectors: Any, mask: Any) -> torch.Tensor:
        logits: torch.Tensor = self.network(features, v=vectors, mask=mask)
        return logits


cross_entropy = nn.CrossEntropyLoss()
losses: dict[str, list[float]] = {"weaver": [], "Lightning": [], "plain torch": []}
taggers = {name: Tagger() for name in losses}


def optimizer_of(tagger: nn.Module) -> torch.optim.Optimizer:
    """The same for all."""
    return torch.optim.Adam(tagger.parameters(), lr=2e-3)


# %% [markdown]
# ### Plain torch
#
# The loop is yours; `loader.torch()` is what it iterates over.


# %%
def loss_of(tagger: nn.Module, batch: Any) -> torch.Tensor:
    """Cross-entropy of one batch."""
    x, y = batch
    loss: torch.Tensor = cross_entropy(tagger(*as_weaver(x).values()), y.long())
    return loss


loader, tagger = batches(), taggers["plain torch"]
optimizer = optimizer_of(tagger)
for _ in range(EPOCHS):
    total = 0.0
    for batch in loader.torch():
        loss = loss_of(tagger, batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += float(loss.detach()) / len(loader)
    losses["plain torch"].append(total)

# %% [markdown]
# ### Lightning (as Salt trains)
#
# `loader.lightning()` is the LightningDataModule; checkpoints carry the state of the loader, so
# that a training resumes in the middle of an epoch. Salt's own reading needs HDF5 files that are
# made from ROOT files first; a LightningModule like its own takes the dict of named inputs.


# %%
class LightningTagger(lightning.LightningModule):
    """The usual three methods."""

    def __init__(self, tagger: nn.Module) -> None:
        super().__init__()
        self.tagger = tagger
        self.seen: list[float] = []

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        loss = loss_of(self.tagger, batch)
        self.seen.append(float(loss.detach()))
        return loss

    def on_train_epoch_end(self) -> None:
        losses["Lightning"].append(float(np.mean(self.seen)))
        self.seen.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer_of(self.tagger)


trainer = lightning.Trainer(
    max_epochs=EPOCHS,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(LightningTagger(taggers["Lightning"]), datamodule=batches().lightning())

# %% [markdown]
# ### weaver's own training
#
# weaver's training functions want a DataLoader of `(X, y, Z)` whose dataset has the data config.
# That is a class of a few lines. weaver's *command line* has no place for another dataset: call
# its functions, as here.

# %%
from weaver.utils.nn.tools import train_classification


class WeaverBatches(IterableDataset[Any]):
    """rootml's batches in the form of weaver's, with the data config that it asks for."""

    def __init__(self, loader: Any, data_config: Any) -> None:
        self.config = data_config
        self.batches = loader.torch()

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        for x, y in self.batches:
            yield as_weaver(x), {self.config.label_names[0]: y}, {}


feed = DataLoader(WeaverBatches(batches(), reader.config), batch_size=None)
tagger = taggers["weaver"]
optimizer = optimizer_of(tagger)
arguments = {"args": Namespace(use_amp=False, amp_dtype=None)}


def listened(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """weaver prints its average loss and returns nothing: this writes it down."""
    loss: torch.Tensor = cross_entropy(logits, label)
    losses["weaver"][-1] += float(loss.detach()) / len(feed)
    return loss


for epoch in range(EPOCHS):
    losses["weaver"].append(0.0)
    train_classification(
        tagger, listened, optimizer, None, feed, torch.device("cpu"), epoch, extra_args=arguments
    )

# %% [markdown]
# ### Side by side

# %%
for name, values in losses.items():
    print(f"{name:12}", " ".join(f"{value:.6f}" for value in values))
for name in ("Lightning", "weaver"):
    assert np.allclose(losses[name], losses["plain torch"], rtol=1e-5)
assert losses["weaver"][-1] < losses["weaver"][0]

figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for (name, values), style in zip(losses.items(), ("-", "--", ":"), strict=True):
    axes.plot(range(1, EPOCHS + 1), values, style, lw=3, label=name)
axes.set(xlabel="epoch", ylabel="loss in training", xticks=range(1, EPOCHS + 1))
axes.legend(title="batches by rootml, loop by")
figure.savefig(folder / "losses.png")

# %% [markdown]
# ## Weights
#
# weaver's `reweight_method: flat` makes a histogram of two variables for each class, and takes an
# event of an epoch or leaves it out with a probability that flattens it. In rootml a weight in the
# loss does that, on average the same, and no event is left out: the same probabilities, computed
# once (in NumPy, below), become a friend branch.

# %%
BINS = [np.array([500.0, 550.0, 600.0, 700.0, 900.0, 1200.0]), np.array([0.0, 10_000.0])]


def flat(values: list[Any], label: Any, bins: list[Any], threshold: float = 10.0) -> Any:
    """weaver's probability of each event with `reweight_method: flat`; 0 outside of the bins."""
    inside = np.logical_and.reduce(
        [(v >= b[0]) & (v <= b[-1]) for v, b in zip(values, bins, strict=True)]
    )
    places = tuple(
        np.clip(np.digitize(v, b) - 1, 0, len(b) - 2) for v, b in zip(values, bins, strict=True)
    )
    weights, sums = np.zeros(len(label)), {}
    for kind in np.unique(label):
        mine = label == kind
        content = np.histogram2d(values[0][mine], values[1][mine], bins=bins)[0]
        filled = content[content > 0.01 * np.median(content[content > 0])]
        share = np.percentile(filled, threshold) / np.maximum(content, 1e-300)
        share = np.where(content > 0, np.minimum(share, 1), 0)
        sums[kind] = np.sum(content * share)
        weights[mine & inside] = (share / sums[kind])[places][mine & inside]
    return weights * 0.9 * min(sums.values())


columns = data.select(["jet_pt", "jet_sdmass", *(f"label_{n}" for n in jets.LABELS)]).to_awkward()
label = np.argmax([columns[f"label_{name}"].to_numpy() for name in jets.LABELS], axis=0)
weights = flat([columns["jet_pt"].to_numpy(), columns["jet_sdmass"].to_numpy()], label, BINS)
data.write_friend(folder / "weights", {"flat": weights}, overwrite=True)
weighted = rootml.open(
    [f"{path}:tree" for path in files], friends=f"{folder}/weights/*.root", weight="flat"
)
print(weighted.describe())

figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for colour, kind in enumerate(np.unique(label)):
    mine, name = label == kind, jets.LABELS[kind]
    for line, shown, style in (("as it is", None, ":"), ("weighted", weights[mine], "-")):
        content = np.histogram(columns["jet_pt"].to_numpy()[mine], BINS[0], weights=shown)[0]
        height = content / content.sum()
        axes.stairs(height, BINS[0], ls=style, color=f"C{colour}", label=f"{name}, {line}")
axes.set(xlabel="jet_pt (GeV)", ylabel="share of the jets, per bin")
axes.legend()
figure.savefig(folder / "weights.png")

# %% [markdown]
# ## What corresponds to what
#
# | weaver | rootml |
# |---|---|
# | `selection` | `.filter("...")` |
# | `test_time_selection` | another dataset, with another cut |
# | `new_variables` | `.define(...)`; functions are those that rootml lists, not all of NumPy |
# | `length`, `pad_mode: constant`, `pad_value` | `Padded([...], length=, value=)` |
# | center, scale, limits (`method: manual`) | an expression, as above |
# | `method: auto` | `np.percentile(values, [16, 50, 84])`, put into the same expression |
# | `labels`, simple | `with_label(...)`, or `label=` of each sample |
# | `labels`, custom | `targets=[...]` |
# | `observers`, `monitor_variables` | `observers=[...]`, as they are in the file |
# | `weights`, precomputed | `weight="a * b"` |
# | `weights`, `flat` or `ref` | a friend branch, as above |
# | `file_magic` | what is said of a sample: `rootml.open("HToBB*.root", label=1)` |
# | `--data-train`, `--fetch-step`, `--num-workers` | all files are mixed within `buffer_bytes` |
# | `--train-val-split` | `.split(validation=, test=, by=)` |
# | `--cross-validation` | `.folds(5, by=)` |
# | `--predict-output` | `.write_friend(folder, {"score": ...})` |
#
# **No counterpart:** `pad_mode: wrap` inside of rootml (three lines, above); events left out at
# random by their weight (only whole classes, by `balance="resample"`); `bucketing` by length; the
# YAML file as a whole (what is translated here is Python); a mask as an input of its own: rootml
# makes one for each padded input. NaN becomes 0 in weaver, with one line in the log; in rootml it
# is an error until `nonfinite=0.0` allows it, which then holds for infinities too.
