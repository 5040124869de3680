# %% [markdown]
# # A trained forest in other programs: RDataFrame, plain ROOT, ONNX Runtime, FPGA
#
# An analysis framework is often C++, a trigger is often firmware. A forest that was trained in
# Python is written once as a C++ header and once as ONNX, and runs there: in RDataFrame with
# events gathered into blocks, in a plain loop over a tree, in ONNX Runtime, and through conifer,
# which turns forests into firmware. [Inference as a service](serve_forest.md) is a tutorial of its
# own.
#
# **What to look at:** the same events get the same bits everywhere; what a block of events costs
# beside one event at a time; what the fixed-point numbers of firmware change.
#
# Needs `pip install 'rootml[xgboost,bdt,onnx,plot]'`; ROOT and conifer (`pip install conifer`) for
# their parts, which are left out without them.

# %%
from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import xgboost
from collisions import make_files
from matplotlib import pyplot as plt

import rootml

folder = Path("tutorial-data")
make_files(folder, 20_000)
FEATURES = ["MET_pt", "pt1 = Jet_pt[0]", "pt2 = Jet_pt[1]", "btag1 = Jet_btag[0]"]
signal = rootml.open(f"{folder}/signal_*.root:Events", label=1)
background = rootml.open(f"{folder}/background_*.root:Events", label=0)
events = (signal + background).filter("nJet >= 2").select(FEATURES)
columns = events.to_awkward(label=True)

# %% [markdown]
# ## The forest
#
# `to_cpp` and `to_onnx` are methods of the `Forest`: nothing needs to be compiled for them, and
# any library that `rootml.bdt.load` reads will do.

# %%
names = ["MET_pt", "pt1", "pt2", "btag1"]
rows = np.stack([columns[name].to_numpy() for name in names], axis=1).astype(np.float32)
matrix = xgboost.DMatrix(rows, columns["label"].to_numpy(), feature_names=names)
parameters = {"objective": "binary:logistic", "max_depth": 5, "eta": 0.2, "nthread": 1}
booster = xgboost.train(parameters, matrix, num_boost_round=100)
expected = booster.predict(matrix, output_margin=True)

forest = rootml.bdt.load(booster)
forest.to_cpp("tagger.hpp")
forest.to_onnx("tagger.onnx")
model = forest.compile()
assert np.array_equal(model.predict_margin(rows), expected)
print(
    {path: f"{Path(path).stat().st_size / 1000:.0f} kB" for path in ("tagger.hpp", "tagger.onnx")}
)

# %% [markdown]
# Processor time of one thread for the same events, many times over; each program adds its own.

# %%
many = np.ascontiguousarray(np.tile(rows, (20, 1)))
costs: dict[str, float] = {}


def cost(run: Callable[[], Any], number: int = len(many)) -> float:
    """Nanoseconds of the processor per event, the fastest of three runs."""
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        run()
        seconds.append(time.process_time() - begun)
    return 1e9 * min(seconds) / number


booster.set_param({"nthread": 1})
costs["XGBoost"] = cost(lambda: booster.inplace_predict(many))
costs["rootml, Python"] = cost(lambda: model.predict(many, threads=1))

# %% [markdown]
# ## RDataFrame
#
# In a `Define` the header sees one event at a time. Its code for blocks keeps sixteen or more
# events in each vector register, so gather events where scores are wanted, here in a histogram:
# one buffer per slot, filled by `ForeachSlot`, and emptied whenever it is full.

# %%
IN_RDATAFRAME = """
#include "tagger.hpp"
#include "ROOT/RDataFrame.hxx"
#include "ROOT/TThreadedObject.hxx"
#include "TH1D.h"

struct Block {
  std::vector<float> x, scores;
  void fill(TH1D& histogram) {
    scores.resize(x.size() / 4);
    rootml::tagger{}.predict(x.data(), scores.size(), scores.data());
    for (float score : scores) histogram.Fill(score);
    x.clear();
  }
};

std::shared_ptr<TH1D> in_blocks(ROOT::RDF::RNode frame) {
  std::vector<Block> blocks(frame.GetNSlots());
  ROOT::TThreadedObject<TH1D> histogram("in_blocks", "", 50, 0., 1.);
  frame.ForeachSlot(
      [&](unsigned slot, float met, float pt1, float pt2, float btag1) {
        Block& block = blocks[slot];
        for (float value : {met, pt1, pt2, btag1}) block.x.push_back(value);
        if (block.x.size() == 4 * 4096) block.fill(*histogram.GetAtSlot(slot));
      },
      {"MET_pt", "pt1", "pt2", "btag1"});
  for (unsigned slot = 0; slot < blocks.size(); ++slot)
    blocks[slot].fill(*histogram.GetAtSlot(slot));
  return histogram.Merge();
}
"""

HAS_ROOT = importlib.util.find_spec("ROOT") is not None
if HAS_ROOT:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel says that it is in its alpha stage
        import ROOT
    assert ROOT.gInterpreter.Declare(IN_RDATAFRAME)
    files = [str(path) for path in sorted(folder.glob("*.root"))]
    frame = ROOT.RDataFrame("Events", files).Filter("nJet >= 2")
    for name, code in (("pt1", "Jet_pt[0]"), ("pt2", "Jet_pt[1]"), ("btag1", "Jet_btag[0]")):
        frame = frame.Define(name, code)
    one_by_one = frame.Define("score", "rootml::tagger{}(MET_pt, pt1, pt2, btag1)").Histo1D(
        ("one_by_one", "", 50, 0.0, 1.0), "score"
    )
    blocks = ROOT.in_blocks(ROOT.RDF.AsRNode(frame))
    contents = [[h.GetBinContent(i + 1) for i in range(50)] for h in (one_by_one, blocks)]
    ours, _ = np.histogram(model.predict(rows).astype(np.float64), np.linspace(0, 1, 51))
    assert contents[0] == contents[1] == ours.tolist()
    print(f"RDataFrame: {sum(contents[0]):.0f} events, all 50 bins as in Python, both ways")

# %% [markdown]
# ## Plain ROOT
#
# A `TTreeReader` loop in the same manner. In a program of your own, compile with `-O3`: cling's
# code is less optimised, but what is vectorised in the header stays so.

# %%
IN_PLAIN_ROOT = """
#include "TFile.h"
#include "TTreeReader.h"
#include "TTreeReaderArray.h"
#include "TTreeReaderValue.h"

std::vector<float> score_file(const char* path) {
  TFile file(path);
  TTreeReader reader("Events", &file);
  TTreeReaderValue<float> met(reader, "MET_pt");
  TTreeReaderArray<float> pt(reader, "Jet_pt"), btag(reader, "Jet_btag");
  std::vector<float> x;
  while (reader.Next())
    if (pt.GetSize() >= 2)
      for (float value : {*met, pt[0], pt[1], btag[0]}) x.push_back(value);
  std::vector<float> margins(x.size() / 4);
  rootml::tagger{}.margin(x.data(), margins.size(), margins.data());
  return margins;
}

void score_blocks(const float* x, std::size_t events, float* scores) {
  rootml::tagger{}.predict(x, events, scores);
}

void score_one_by_one(const float* x, std::size_t events, float* scores) {
  const rootml::tagger tagger;
  for (std::size_t i = 0; i < events; ++i) scores[i] = tagger(x + 4 * i);
}
"""

if HAS_ROOT:
    assert ROOT.gInterpreter.Declare(IN_PLAIN_ROOT)
    first = rootml.open(f"{folder}/signal_1.root:Events").filter("nJet >= 2").select(FEATURES)
    by_reader = np.array(ROOT.score_file(str(folder / "signal_1.root")), np.float32)
    assert np.array_equal(by_reader, model.predict_margin(first))
    print(f"TTreeReader: {len(by_reader)} margins of signal_1.root, bit for bit those of XGBoost")
    scores = np.empty(len(many), np.float32)
    for title, run in (
        ("C++ header, blocks", ROOT.score_blocks),
        ("C++ header, one by one", ROOT.score_one_by_one),
    ):
        costs[title] = cost(partial(run, many, len(many), scores))
        assert np.array_equal(scores, model.predict(many))

# %% [markdown]
# ## ONNX Runtime
#
# One input `features`, two outputs. On one thread ONNX Runtime adds the trees in their order, and
# so gives the same bits; on several threads it adds partial sums.

# %%
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession("tagger.onnx", options)
margin, prediction = session.run(["margin", "prediction"], {"features": rows})
assert np.array_equal(margin.ravel(), expected)
costs["ONNX Runtime"] = cost(lambda: session.run(["prediction"], {"features": many}))
print({title: f"{nanoseconds:.0f} ns per event" for title, nanoseconds in costs.items()})

# %% [markdown]
# ## FPGA: conifer
#
# [conifer](https://github.com/thesps/conifer) writes firmware of forests. Its reader of ONNX wants
# the graphs of one converter and does not take ours, but its own format is a dictionary of trees
# that a `Forest` fills in a few lines, whatever library trained it (conifer itself does not read
# LightGBM or CatBoost). Its backend `xilinxhls` then writes a project for Vivado or Vitis; here
# its emulation in plain Python computes the scores.
#
# Firmware counts in fixed point. `ap_fixed<24,12>` has 12 bits before the point, one for the sign
# (momenta up to 2048 GeV) and steps of 1/4096; what does not fit is cut off. So a test decides
# otherwise where cutting moves a value across the threshold, and a leaf loses half a step on
# average: 100 trees lose 0.012 of the margin. The emulation below does the same to inputs,
# thresholds and leaves.


# %%
def for_conifer(forest: rootml.bdt.Forest, step: float = 0.0) -> dict[str, Any]:
    """conifer's description of a forest; numbers are cut to multiples of `step`, if any.

    Numeric tests and one output only; firmware knows no missing values.
    """
    assert (forest.category < 0).all()
    assert forest.num_outputs == 1

    def cut(values: Any) -> Any:
        exact = np.asarray(values, np.float64)
        return np.floor(exact / step) * step if step else exact

    trees = []
    for begin, end in zip(forest.tree_offset[:-1], forest.tree_offset[1:], strict=True):
        part = slice(int(begin), int(end))
        feature = forest.feature[part]
        inner = feature >= 0
        weight = np.zeros((len(feature), forest.num_features), int)
        weight[np.flatnonzero(inner), feature[inner]] = 1
        trees.append(
            {
                "feature": np.where(inner, feature, -2).tolist(),
                "threshold": cut(forest.threshold[part]).tolist(),
                "weight": weight.tolist(),
                "children_left": np.where(inner, forest.left[part] - begin, -1).tolist(),
                "children_right": np.where(inner, forest.right[part] - begin, -1).tolist(),
                "value": cut(forest.value[part, 0]).tolist(),
            }
        )
    return {
        "n_classes": 2,
        "n_features": forest.num_features,
        "n_trees": forest.num_trees,
        "max_depth": forest.depth,
        "init_predict": cut(forest.base).tolist(),
        "norm": 1,
        "library": forest.library,
        "splitting_convention": forest.comparison,
        "feature_map": {name: number for number, name in enumerate(forest.names)},
        "trees": [[tree] for tree in trees],
    }


description = for_conifer(forest)
print(f"{description['n_trees']} trees of depth {description['max_depth']} for conifer")
if importlib.util.find_spec("conifer") is not None:
    import conifer

    some = rows[:300].astype(np.float64)
    emulated = conifer.model.ModelBase(description).decision_function(some).ravel()
    difference = np.abs(emulated - expected[:300]).max()
    print(f"conifer in floating point: {difference:.1e} from XGBoost, which adds in float32")
    assert difference < 1e-5
    STEP = 1 / 4096
    fixed = conifer.model.ModelBase(for_conifer(forest, STEP))
    in_fixed_point = fixed.decision_function(np.floor(some / STEP) * STEP).ravel()
    difference = np.abs(in_fixed_point - expected[:300])
    print(
        f"fixed point: {np.median(difference):.3f} in the median, {difference.max():.2f} at most"
    )
    project = conifer.backends.xilinxhls.auto_config(granularity="simple")
    project |= {"OutputDir": "firmware", "Precision": "ap_fixed<24,12>"}
    conifer.backends.xilinxhls.make_model(description, project).write()
    print("firmware/firmware:", sorted(path.name for path in Path("firmware/firmware").iterdir()))

# %% [markdown]
# ## What it costs

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
axes[0].barh(list(costs)[::-1], list(costs.values())[::-1])
axes[0].set(xlabel="ns per event (one thread, 100 trees)", xscale="log")
axes[1].hist(
    [model.predict(rows)[columns["label"].to_numpy() == side] for side in (0, 1)],
    bins=40, histtype="step", density=True, label=["background", "signal"],
)  # fmt: skip
axes[1].set(xlabel="score", ylabel="density")
axes[1].legend()
figure.savefig(folder / "deploy.png")
