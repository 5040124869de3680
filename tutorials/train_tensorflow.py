# %% [markdown]
# # The same files in TensorFlow
#
# `loader.tensorflow()` is a `tf.data.Dataset` of whole batches with static shapes: hand it to
# `fit`. Keras takes the triple `(x, y, w)` as inputs, target and sample weights.

# %%
from __future__ import annotations

import os
from pathlib import Path

from collisions import make_files

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
history = model.fit(dataset, epochs=3, verbose=2)
assert history.history["loss"][-1] < history.history["loss"][0]

# %% [markdown]
# ## Scores beside the events
#
# The order of an unshuffled loader is the order of the files, so that the scores can go back as a
# friend tree: one file per input, one entry per original entry.

# %%
scores = model.predict(events.batches(4096).tensorflow().map(lambda x, y, w: x), verbose=0)[:, 0]
print(events.write_friend(folder / "friends", {"score": scores}))
