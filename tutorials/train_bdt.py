# %% [markdown]
# # A decision forest: train in XGBoost, compile, score the files
#
# Events are streamed from ROOT files into XGBoost. The trained model is compiled to vectorised
# code for this processor, with the same results bit for bit, and the scores are written as friend
# trees beside the files. XGBoost is needed for the training only.
#
# **What to look at:** the margins, equal to XGBoost's bit by bit; the time per event of either;
# which features matter; that RDataFrame computes the same, if ROOT is installed.
#
# Needs `pip install 'rootml[xgboost,bdt,plot]'`.

# %%
from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import uproot
import xgboost
from collisions import make_files
from matplotlib import pyplot as plt

import rootml

folder = Path("tutorial-data")
make_files(folder, 20_000)
signal = rootml.open(f"{folder}/signal_*.root:Events", label=1, weight="abs(genWeight)")
background = rootml.open(f"{folder}/background_*.root:Events", label=0, weight="abs(genWeight)")
FEATURES = [
    "MET_pt",
    "nJet",
    "HT = Sum$(Jet_pt)",
    "pt1 = Jet_pt[0]",
    "pt2 = Jet_pt[1]",
    "btag1 = Jet_btag[0]",
    "deta = abs(Jet_eta[0] - Jet_eta[1])",
]
events = (signal + background).filter("nJet >= 2").select(FEATURES)
training, test = events.split(test=0.25, by=["run", "event"])

# %% [markdown]
# ## Training
#
# `.xgboost()` hands batches to XGBoost one after the other, so that the files never lie in memory
# as a whole; only XGBoost's own binned matrix does. Trees want no shuffling. `balance="weights"`
# makes the sums of both classes equal. XGBoost refuses negative weights, of which simulation has a
# few: here the training takes their absolute values. That makes the classifier a little less than
# optimal, not wrong: what is measured with its scores later uses the signed weights.

# %%
loader = training.batches(4096, balance="weights")
matrix = xgboost.QuantileDMatrix(loader.xgboost(), max_bin=256)
parameters = {"objective": "binary:logistic", "max_depth": 5, "eta": 0.2, "nthread": 1}
booster = xgboost.train(parameters, matrix, num_boost_round=60)
booster.save_model("model.json")

# %% [markdown]
# ## Reading and compiling
#
# `load` takes files of XGBoost, LightGBM, ONNX and TMVA, or the trained objects themselves. A
# `Forest` holds what they have in common. `compile()` makes code with LLVM and keeps it in a
# cache, so that the next job does not compile again; `engine="numpy"` does without LLVM.

# %%
forest = rootml.bdt.load("model.json")
print(forest)
ranked = sorted(forest.importance("total_gain").items(), key=lambda pair: -pair[1])
print([name for name, _ in ranked])
model = forest.compile()
print(model)

# %% [markdown]
# ## The same bits
#
# Margins are those of XGBoost, not just near to them. Columns are found by name, so the order of
# a table does not matter.

# %%
columns = test.to_awkward()
scores = model.predict(columns)
rows = np.stack([columns[name].to_numpy() for name in forest.names], axis=1).astype(np.float32)
names = list(forest.names)
theirs = booster.predict(xgboost.DMatrix(rows, feature_names=names), output_margin=True)
assert np.array_equal(model.predict_margin(columns), theirs)
labels = np.concatenate([np.asarray(batch[1]) for batch in test.batches(4096).numpy()])
right = float(np.mean((scores > 0.5) == (labels > 0)))
print(f"{100 * right:.1f} % of {len(labels)} test events are told apart")
assert right > 0.7

# %% [markdown]
# ## How long it takes
#
# Processor time of one thread for the same events, many times over.

# %%
many = np.tile(rows, (max(1, 100_000 // len(rows)), 1))
booster.set_param({"nthread": 1})


def cost(run: Callable[[], Any]) -> float:
    """Nanoseconds of the processor per event, the fastest of three runs."""
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        run()
        seconds.append(time.process_time() - begun)
    return 1e9 * min(seconds) / len(many)


costs = {
    "XGBoost": cost(lambda: booster.inplace_predict(many)),
    "compiled": cost(lambda: model.predict(many, threads=1)),
}
print({name: f"{nanoseconds:.0f} ns per event" for name, nanoseconds in costs.items()})

figure, (left, middle) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.barh(list(costs), list(costs.values()), color=["C1", "C0"])
left.set(xlabel="ns per event (one thread)")
middle.barh([name for name, _ in ranked][::-1], [gain for _, gain in ranked][::-1])
middle.set(xlabel="total gain")
figure.savefig(folder / "bdt.png")

# %% [markdown]
# ## Scores beside the files
#
# One friend file per input, with one entry per entry: events that fail the selection get NaN and
# `score_valid = false`. Any ROOT program can read them with `AddFriend`. The same from a shell:
# `rootml predict model.json 'tutorial-data/*.root:Events' -o friends`.

# %%
friends = model.write_friend(events, "friends", name="score", overwrite=True)
with uproot.open(friends[0]) as file:
    (tree,) = file.values(filter_classname="TTree")
    written = tree.arrays(["score", "score_valid"], library="np")
scored = int(written["score_valid"].sum())
print(
    f"{len(friends)} friends; the first has scores for {scored} of {len(written['score'])} events"
)

# %% [markdown]
# ## In ROOT
#
# A C++ header without dependencies, for RDataFrame or an analysis framework: cling compiles it.
# If ROOT is installed, its scores of one file are compared with those in the friend tree. (ROOT's
# own engine, RBDT, belongs to TMVA, which the ROOT of the package index is built without.)

# %%
forest.to_cpp("tagger.hpp")
print(f"tagger.hpp: {Path('tagger.hpp').stat().st_size / 1000:.0f} kB")
if importlib.util.find_spec("ROOT") is not None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel says that it is in its alpha stage
        import ROOT
    ROOT.gInterpreter.Declare('#include "tagger.hpp"')
    frame = ROOT.RDataFrame("Events", str(folder / "signal_1.root")).Filter("nJet >= 2")
    for name, code in (
        ("HT", "Sum(ROOT::RVecD(Jet_pt))"),  # Sum of floats adds floats, which rounds otherwise
        ("pt1", "Jet_pt[0]"),
        ("pt2", "Jet_pt[1]"),
        ("btag1", "Jet_btag[0]"),
        ("deta", "std::abs(Jet_eta[0] - Jet_eta[1])"),
        ("score", f"rootml::tagger{{}}({', '.join(names)})"),
    ):
        frame = frame.Define(name, code)
    by_root = frame.AsNumpy(["score"])["score"]
    ours = written["score"][written["score_valid"].astype(bool)]
    print(f"RDataFrame: {len(by_root)} scores, the largest difference {abs(by_root - ours).max()}")
    assert np.allclose(by_root, ours, rtol=0, atol=1e-6)

# %% [markdown]
# ## Elsewhere
#
# `forest.to_onnx` writes ONNX for everything that reads it; our own JSON holds exact floats.

# %%
forest.save("model.forest.json")
assert rootml.bdt.load("model.forest.json").num_trees == forest.num_trees
