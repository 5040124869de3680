# %% [markdown]
# # Inference as a service: a compiled forest behind NVIDIA Triton
#
# Experiments share accelerators and models through inference servers (SONIC in CMS; Triton at
# several analysis facilities): jobs send batches of inputs and get scores back. Here a compiled
# forest is served by Triton, and ROOT files are scored through it, one partition at a time, into
# friend trees. The client needs nothing of Triton: its protocol is plain HTTP.
#
# **What to look at:** the scores, bit for bit those of the forest in this process; how the size of
# a request decides what an event costs.
#
# The server runs in an environment of its own, whose interpreter `ROOTML_TRITON_PYTHON` names; see
# [its script](triton_server.md). The client needs `pip install 'rootml[xgboost,bdt,plot]'`. Of the
# tests, `make test-triton` runs this tutorial.

# %%
from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot
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
# ## The model
#
# What the server reads is our own JSON, which holds exact floats and no code.

# %%
names = ["MET_pt", "pt1", "pt2", "btag1"]
rows = np.stack([columns[name].to_numpy() for name in names], axis=1).astype(np.float32)
matrix = xgboost.DMatrix(rows, columns["label"].to_numpy(), feature_names=names)
parameters = {"objective": "binary:logistic", "max_depth": 5, "eta": 0.2, "nthread": 1}
forest = rootml.bdt.load(xgboost.train(parameters, matrix, num_boost_round=100))
forest.save("tagger.forest.json")
model = forest.compile()

# %% [markdown]
# ## The server
#
# A process beside this one; in real life it runs on another machine, with the accelerator. Triton
# says on a page of its own whether a model is ready.


# %%
def free_port() -> int:
    """A port that nobody listens on; Triton takes the two behind it as well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(server: subprocess.Popen[bytes], url: str) -> None:
    """Return when the model is ready; raise if the server ends, or after two minutes."""
    for _ in range(240):
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None:
                break
            time.sleep(0.5)
    message = f"Triton has not come up; see {folder / 'triton.log'}"
    raise RuntimeError(message)


PYTHON = os.environ.get("ROOTML_TRITON_PYTHON", sys.executable)
here = Path(__file__).parent if "__file__" in globals() else Path()
port = free_port()
url = f"http://127.0.0.1:{port}/v2/models/tagger"
command = [PYTHON, str(here / "triton_server.py"), "tagger.forest.json", str(port)]
log = (folder / "triton.log").open("wb")
server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
try:
    wait_for(server, url)
except RuntimeError:
    server.kill()
    raise
with urllib.request.urlopen(url) as answer:
    described = json.load(answer)
print({key: described[key] for key in ("name", "platform", "inputs")})

# %% [markdown]
# ## A client in twenty lines
#
# The protocol (KServe's version 2, which other servers speak as well) sends a line of JSON, and
# behind it the numbers as they lie in memory.


# %%
def score(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Predictions `(events,)` for features `(events, features)`, by the server."""
    tensor = {
        "name": "features",
        "shape": list(features.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": features.nbytes},
    }
    wanted = {"name": "prediction", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    request = urllib.request.Request(
        f"{url}/infer",
        head + np.ascontiguousarray(features).tobytes(),
        {
            "Inference-Header-Content-Length": str(len(head)),
            "Content-Type": "application/octet-stream",
        },
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = answer.read()
        json_bytes = int(answer.headers["Inference-Header-Content-Length"])
    return np.frombuffer(content[json_bytes:], np.float32)


through_server = score(rows)
assert np.array_equal(through_server, model.predict(rows))
print(f"{len(rows)} scores, all bits equal to those of the forest in this process")

# %% [markdown]
# ## ROOT files through the server
#
# `write_friend` takes a function of columns and calls it partition by partition in threads, so
# requests overlap, and memory does not grow with the files. A partition without events is not
# worth a request.


# %%
def score_columns(columns: Any) -> dict[str, npt.NDArray[np.float32]]:
    """The friend's columns for one partition."""
    features = np.stack([ak.to_numpy(columns[name]) for name in names], axis=1)
    found = score(features.astype(np.float32)) if len(features) else np.zeros(0, np.float32)
    return {"score": found}


try:
    friends = events.write_friend("friends", score_columns, overwrite=True)
    costs = {}
    many = np.tile(rows, (4, 1))[:65_536]
    for size in (1, 16, 256, 4096, 65_536):
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            score(many[:size])
            times.append(time.perf_counter() - begun)
        costs[size] = 1e6 * min(times) / size
finally:
    server.terminate()
    server.wait(60)
    log.close()
model.write_friend(events, "friends-here", name="score", overwrite=True)
for path in friends:
    written = []
    for name in ("friends", "friends-here"):
        with uproot.open(Path(name) / Path(path).name) as file:
            (tree,) = file.values(filter_classname="TTree")
            written.append(tree.arrays(["score", "score_valid"], library="np"))
    for name in ("score", "score_valid"):
        assert np.array_equal(written[0][name], written[1][name], equal_nan=True)
print(f"{len(friends)} friend files, equal to those of the forest in this process")

# %% [markdown]
# ## What an event costs
#
# A request has a price of its own, whatever is in it. Send thousands of events at a time, and
# compare with the forest on the same core: a service pays where models are large, or where they
# change without the jobs.

# %%
begun = time.perf_counter()
model.predict(many, threads=1)
local = 1e6 * (time.perf_counter() - begun) / len(many)
print({size: f"{each:.2f} us per event" for size, each in costs.items()}, f"here: {local:.3f} us")
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
axes.loglog(list(costs), list(costs.values()), "o-", label="through Triton")
axes.axhline(local, color="C1", label="in this process, in blocks")
axes.set(xlabel="events in a request", ylabel="time per event in µs")
axes.legend()
figure.savefig(folder / "service.png")
