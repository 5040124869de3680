# %% [markdown]
# # From ROOT files to a trained network, and back
#
# What `make quickstart` runs. It makes ROOT files of simulated collisions, trains a small network
# on them without ever loading a file whole, writes the network's scores beside the events as
# friend trees, and draws how well signal and background are told apart. Nothing is needed but
# `pip install 'rootml[torch,plot]'`.

# %%
from __future__ import annotations

import argparse
import time
from pathlib import Path
from textwrap import indent
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import torch
from collisions import make_files
from matplotlib import pyplot as plt
from torch import nn

import rootml
from rootml.batching import Standardizer

mpl.use("Agg")  # draws into files, needs no screen

Values = npt.NDArray[Any]

# %% [markdown]
# ## Say what is wanted
#
# Nothing is read here: a `Dataset` is a description. Cuts and new columns may be written as in
# ROOT or as in Python. The split goes by a hash of the event's identity, so that an event stays on
# its side in every skim, on every machine.

# %%
FEATURES = [
    "nJet",
    "MET_pt",
    "HT",
    "mjj",
    "pt1 = Jet_pt[0]",
    "pt2 = Jet_pt[1]",
    "deta = abs(Jet_eta[0] - Jet_eta[1])",
    "btag = Max$(Jet_btag)",
]
DIJET_MASS = (
    "sqrt(2 * Jet_pt[0] * Jet_pt[1]"
    " * (cosh(Jet_eta[0] - Jet_eta[1]) - cos(Jet_phi[0] - Jet_phi[1])))"
)


def describe_data(folder: Path) -> rootml.Dataset:
    """The selected events of both samples, with the features that the network sees."""
    signal = rootml.open(f"{folder}/signal_*.root:Events", label=1, weight="genWeight * 0.05")
    background = rootml.open(f"{folder}/background_*.root:Events", label=0, weight="genWeight")
    return (
        (signal + background)
        .filter("nJet >= 2 && Jet_pt[1] > 30")
        .define(HT="Sum$(Jet_pt)", mjj=DIJET_MASS)
        .select(FEATURES)
    )


# %% [markdown]
# ## Train
#
# The loop is the one that everybody writes. `balance="weights"` gives both classes the same sum of
# weights; the few negative weights stay negative.


# %%
def train(data: rootml.Dataset, test: rootml.Dataset, epochs: int) -> nn.Module:
    """A network of two hidden layers, trained on batches streamed from the files."""
    torch.manual_seed(1)
    loader = data.batches(4096, shuffle=True, seed=1, balance="weights")
    model = nn.Sequential(
        Standardizer().fit(data).to_torch(),
        nn.Linear(len(FEATURES), 64),
        nn.SiLU(),
        nn.Linear(64, 64),
        nn.SiLU(),
        nn.Linear(64, 1),
        nn.Flatten(0),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    cross_entropy = nn.BCEWithLogitsLoss(reduction="none")
    for epoch in range(1, epochs + 1):
        start, sums, events = time.perf_counter(), np.zeros(2), 0
        for x, y, w in loader.torch():
            loss = w * cross_entropy(model(x), y.float())
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
            sums += float(loss.detach().sum()), float(w.sum())
            events += len(x)
        speed = events / (time.perf_counter() - start)
        area = roc(*predict(model, test))[2]
        print(
            f"   epoch {epoch}: loss {sums[0] / sums[1]:.4f}, {speed / 1e6:.2f} M events/s, "
            f"AUC {area:.4f} on test events"
        )
    return model.eval()


@torch.no_grad()
def predict(model: nn.Module, data: rootml.Dataset) -> tuple[Values, Values, Values]:
    """Score, label and weight of every selected event, in the order of the files."""
    parts = [
        (torch.sigmoid(model(x)).numpy(), y.numpy(), w.numpy())
        for x, y, w in data.batches(4096).torch()
    ]
    score, label, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return score, label, weight


# %% [markdown]
# ## Scores beside the events
#
# One friend file per input, one entry per original entry: events that were not selected hold NaN
# and `score_valid = false`. Any tool that knows friend trees can read them; here rootml does.


# %%
def check_friends(folder: Path, score: Values) -> None:
    """Read the scores back through the friend trees; they are what was written."""
    kinds = [f"{folder}/{kind}_*.root:Events" for kind in ("signal", "background")]
    data = rootml.open(kinds, friends=f"{folder}/friends/*.root").filter("score_valid")
    back = data.select(["score"]).to_awkward()["score"].to_numpy()
    assert np.array_equal(back, score)


# %% [markdown]
# ## Judge


# %%
def roc(score: Values, label: Values, weight: Values) -> tuple[Values, Values, float]:
    """Weighted efficiencies of background and signal from tight to loose cuts, and the area."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # equal scores fall together
    passed = [
        np.append(0, np.cumsum(np.where(label == kind, weight, 0.0)[order])[last])
        for kind in (0, 1)
    ]
    background, signal = (column / column[-1] for column in passed)
    area = float(np.sum(np.diff(background) * (signal[1:] + signal[:-1]) / 2))
    return background, signal, area


def draw(path: Path, samples: dict[str, tuple[Values, Values, Values]]) -> None:
    """The scores of both classes, and the ROC curves."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    bins = np.linspace(0, 1, 41)
    for kind, name, colour in ((0, "background", "tab:blue"), (1, "signal", "tab:red")):
        look = {"fill": True, "alpha": 0.3, "color": colour, "label": f"{name}, training"}
        left.stairs(density(*samples["training"], kind, bins), bins, **look)
        centres = (bins[1:] + bins[:-1]) / 2
        content = density(*samples["test"], kind, bins)
        left.plot(centres, content, ".", color=colour, label=f"{name}, test")
    left.set(xlabel="score of the network", ylabel="events (normalised)", xlim=(0, 1))
    left.legend(frameon=False, loc="upper center")
    for part, style in (("training", "--"), ("test", "-")):
        background, signal, area = roc(*samples[part])
        right.plot(signal, 1 - background, style, label=f"{part}: AUC {area:.3f}")
    right.set(xlabel="signal efficiency", ylabel="background rejection")
    right.set(xlim=(0, 1), ylim=(0, 1.02))
    right.grid(alpha=0.3)
    right.legend(frameon=False, loc="lower left")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def density(score: Values, label: Values, weight: Values, kind: int, bins: Values) -> Values:
    """Normalised weighted histogram of the scores of one class."""
    mine = label == kind
    return np.histogram(score[mine], bins, weights=weight[mine], density=True)[0]


# %% [markdown]
# ## All of it


# %%
def main() -> None:
    parser = argparse.ArgumentParser(description="Train a network from ROOT files.")
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("quickstart-output"))
    options = parser.parse_args()
    folder: Path = options.output
    begun = time.perf_counter()

    print(f"1. Making five ROOT files with {options.events:,} events in {folder}/")
    make_files(folder, options.events)

    print("2. Saying what is wanted: cuts, new columns, a split by event number")
    data = describe_data(folder)
    training, test = data.split(test=0.25, by=["run", "luminosityBlock", "event"])
    print(indent(str(data.cutflow()), "   "))

    print("3. Training on batches streamed from the files")
    model = train(training, test, options.epochs)

    print("4. Scoring every event, and writing the scores beside them as friend trees")
    score, _, _ = predict(model, data)
    data.write_friend(folder / "friends", {"score": score})
    check_friends(folder, score)

    print("5. Drawing")
    samples = {"training": predict(model, training), "test": predict(model, test)}
    draw(folder / "roc.png", samples)
    area = roc(*samples["test"])[2]
    seconds = time.perf_counter() - begun
    report = (
        f"{options.events:,} events in 5 files, {len(score):,} selected, "
        f"{len(samples['training'][0]):,} trained on; AUC {area:.4f} on test events; "
        f"{seconds:.0f} s in all\n"
        f"scores: {folder / 'friends'}   picture: {folder / 'roc.png'}\n"
    )
    (folder / "report.txt").write_text(report)
    print(f"\n{report}", end="")


if __name__ == "__main__":
    main()
