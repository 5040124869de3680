# %% [markdown]
# # The same files in TensorFlow
#
# `loader.tensorflow()` is a `tf.data.Dataset` of whole batches with static shapes: hand it to
# `fit`. Keras takes the triple `(x, y, w)` as inputs, target and sample weights.
#
# **What to look at:** the static shapes; that the loss of the validation events follows that of
# the training; the scores of both classes.
#
# Needs `pip install 'rootml[tensorflow,plot]'`.

# %%
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from collisions import make_files
from matplotlib import pyplot as plt

import rootml

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow is talkative
import tensorflow as tf

folder = Path("tutorial-data")
make_files(folder, 20_000)
signal = rootml.open(f"{folder}/signal_*.root:Events", label=1, weight="genWeight")
background = rootml.open(f"{folder}/background_*.root:Events", label=0, weight="genWeight")
events = (
    (signal + background)
    .filter("nJet >= 2 and Jet_pt[1] > 30")
    .define(HT="Sum$(Jet_pt)")
    .select(["nJet", "HT", "MET_pt", "btag = Max$(Jet_btag)"])
)
training, test = events.split(test=0.25, by=["run", "event"])

# %%
loader = training.batches(512, shuffle=True, seed=1, balance="weights")
dataset = loader.tensorflow()
print(dataset.element_spec)

# %%
scale = tf.keras.layers.Normalization()
scale.adapt(dataset.map(lambda x, y, w: x))
model = tf.keras.Sequential(
    [
        tf.keras.Input((4,)),
        scale,
        tf.keras.layers.Dense(32, activation="silu"),
        tf.keras.layers.Dense(32, activation="silu"),
        tf.keras.layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer=tf.keras.optimizers.Adam(3e-3), loss="binary_crossentropy")
judging = test.batches(512, balance="weights").tensorflow()
fitted = model.fit(
    dataset,
    epochs=4,
    validation_data=judging,
    shuffle=False,  # the loader shuffles; Keras would only say that it does not
    verbose=2,
)
history = fitted.history
assert history["loss"][-1] < history["loss"][0]
assert history["val_loss"][-1] < history["val_loss"][0]

# %% [markdown]
# ## Scores beside the events
#
# The order of an unshuffled loader is the order of the files, so that the scores can go back as a
# friend tree: one file per input, one entry per original entry.

# %%
scores = model.predict(events.batches(4096).tensorflow().map(lambda x, y, w: x), verbose=0)[:, 0]
friends = events.write_friend(folder / "friends", {"score": scores}, overwrite=True)
print(friends)

# %% [markdown]
# Read back as friends, beside the labels:

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for key, name in (("loss", "training"), ("val_loss", "test")):
    left.plot(range(1, 5), history[key], "o-", label=name)
left.set(xlabel="epoch", ylabel="loss", xticks=range(1, 5))
left.legend()
for sample in ("background", "signal"):
    files = sorted(folder.glob(f"{sample}_*.root"))
    beside = [path for path in friends if sample in path]
    scored = rootml.open([f"{path}:Events" for path in files], friends=beside)
    shown = scored.filter("score_valid").select(["score"]).to_awkward()["score"].to_numpy()
    share = np.full(len(shown), 1 / len(shown))
    right.hist(shown, bins=30, range=(0, 1), weights=share, histtype="step", lw=2, label=sample)
right.set(xlabel="score", ylabel="share of the class", xlim=(0, 1))
right.legend(loc="upper center")
figure.savefig(folder / "tensorflow.png")
