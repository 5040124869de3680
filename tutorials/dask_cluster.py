# %% [markdown]
# # A skim and a training on a Dask cluster
#
# `data.on(client)` sends the passes over files to a Dask cluster: cutting, counting, skimming,
# reading batches. The results are the same as here in threads, bit for bit and in the same order,
# whatever the number of workers, which is checked below. The cluster is one of processes on this
# machine; with HTCondor, Slurm or Kubernetes only the line that makes the cluster changes.
#
# **What to look at:** that nothing but `.on(client)` tells the cluster from the laptop; the
# picture, with the losses of both trainings on each other.
#
# Needs `pip install 'rootml[torch,dask,plot]'`.

# %%
from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import dask
import numpy as np
import torch
import uproot
from collisions import make_files
from dask.distributed import Client, LocalCluster
from matplotlib import pyplot as plt
from torch import nn

import rootml

folder = Path("tutorial-dask")
small = os.environ.get("ROOTML_TUTORIALS") == "small"  # for the tests
COLUMNS = ["nJet", "MET_pt", "HT", "pt1 = Jet_pt[0]", "btag = Max$(Jet_btag)"]


def describe() -> rootml.Dataset:
    """What is wanted; no file is read, and nothing here knows of a cluster."""
    signal = rootml.open(f"{folder}/signal_*.root:Events", label=1, weight="genWeight")
    background = rootml.open(f"{folder}/background_*.root:Events", label=0, weight="genWeight")
    data = (signal + background).filter("nJet >= 2 && Jet_pt[1] > 30", name="two hard jets")
    return data.define(HT="Sum$(Jet_pt)")


def train(data: rootml.Dataset, epochs: int) -> tuple[list[float], float]:
    """Losses of the epochs, and the seconds that they took together."""
    torch.manual_seed(1)
    torch.set_num_threads(1)  # so small a network is faster that way
    model = nn.Sequential(nn.BatchNorm1d(len(COLUMNS)), nn.Linear(len(COLUMNS), 32), nn.SiLU(),
                          nn.Linear(32, 1), nn.Flatten(0))  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    cross_entropy = nn.BCEWithLogitsLoss(reduction="none")
    loader = data.select(COLUMNS).batches(1024, shuffle=True, seed=1, balance="weights")
    losses, begun = [], time.perf_counter()
    for _ in range(epochs):
        seen = []
        for x, y, w in loader.torch():
            loss = (w * cross_entropy(model(x), y)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(float(loss.detach()))
        losses.append(float(np.mean(seen)))
    return losses, time.perf_counter() - begun


# %% [markdown]
# ## The cluster
#
# Dask's worker processes import this script anew, so that everything that *does* something stands
# in `main()`; in a notebook that is not necessary. Two settings keep memory in the workers,
# without which decoding is slow (see `help(rootml.Dataset.on)`).


# %%
def make_cluster() -> Any:
    """Two processes of two threads. On a batch system: dask_jobqueue.HTCondorCluster(...)."""
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        dask.config.set({f"distributed.nanny.pre-spawn-environ.{name}": 2**28})
    return LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=2, host="127.0.0.1", dashboard_address=None
    )


# %% [markdown]
# ## Counting, skimming, training, here and there


# %%
def main() -> None:
    make_files(folder, 40_000 if small else 100_000)
    here, epochs = describe(), 3
    with make_cluster() as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        print(cluster)
        there = describe().on(client)

        print(there.cutflow(progress=False))
        assert str(there.cutflow(progress=False)) == str(here.cutflow(progress=False))

        written = there.select([*COLUMNS, "event", "genWeight"])
        paths = written.skim(folder / "skim", overwrite=True)
        print(f"{len(paths)} skims, written by the workers, one file each")
        rows = 0
        for path in paths:
            with uproot.open(f"{path}:Events") as tree:
                rows += tree.num_entries
        assert rows == here.scan().num_rows

        by_cluster, seconds = train(there, epochs)
        print(f"on the cluster: {by_cluster}, {seconds:.1f} s")
    by_threads, seconds = train(here, epochs)
    print(f"in threads:     {by_threads}, {seconds:.1f} s")
    assert by_cluster == by_threads

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, losses, style in (("cluster", by_cluster, "-"), ("threads here", by_threads, "--")):
        axes.plot(range(1, epochs + 1), losses, style, lw=3, label=name)
    axes.set(xlabel="epoch", ylabel="loss in training", xticks=range(1, epochs + 1))
    axes.legend(title="batches read by")
    figure.savefig(folder / "losses.png")


if __name__ == "__main__":
    main()

# %% [markdown]
# A skim that was interrupted goes on with the files that are not finished: call it again. A worker
# that dies costs the partition that it had in hand, which another one reads. A training of several
# processes takes `.shard(rank, world)` beside `.on(client)`: see `sharing.py`.
