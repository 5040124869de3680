# %% [markdown]
# # Training on several processes
#
# Each process ("rank") gets its share of every epoch: every selected event comes once over all
# ranks, all ranks have equally many batches, and a rank decodes little more than its own share.
#
#     python train_distributed.py                             starts two ranks on this machine
#     torchrun --nproc-per-node 4 train_distributed.py        the same under torchrun, on any nodes
#
# Called again, it trains three epochs more, on the same or another number of ranks. gloo connects
# ranks on CPUs; with GPUs it is `"nccl"`, and `loader.torch(device=...)`.

# %%
from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from collisions import make_files
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import rootml

FOLDER = Path("tutorial-data")
CHECKPOINT = Path("checkpoint")
EVENTS = 4_000 if os.environ.get("ROOTML_TUTORIALS") == "small" else 40_000
EPOCHS = 3
RANKS = 2
FEATURES = ["MET_pt", "nJet", "HT = Sum$(Jet_pt)", "lead = Jet_pt[0]"]

# %% [markdown]
# ## The data
#
# Nothing here knows of ranks: files, cut and columns are those of any other training. The split
# is a hash of ids, so all ranks agree on it without a word.


# %%
def datasets() -> tuple[rootml.Dataset, rootml.Dataset]:
    """Training and validation events."""
    signal = rootml.open(f"{FOLDER}/signal_*.root:Events", label=1)
    background = rootml.open(f"{FOLDER}/background_*.root:Events", label=0)
    events = (signal + background).filter("nJet >= 2").select(FEATURES)
    train, validation = events.split(test=0.25, by=["run", "event"])
    return train, validation


# %% [markdown]
# ## One rank
#
# The one line that differs from a training in one process is `shard`. Other frameworks have the
# same numbers under other names: `accelerator.process_index` and `accelerator.num_processes` in
# accelerate (whose `prepare()` takes the model and the optimiser, but not the loader);
# `loader.lightning()` takes its shard by itself.


# %%
def train(rank: int, world: int) -> None:
    """The training loop of one of `world` ranks."""
    training, validation = datasets()
    loader = training.batches(256, shuffle=True, seed=1, observers=["event"]).shard(rank, world)
    judge = validation.batches(1024).shard(rank, world)

    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 32), nn.SiLU(), nn.Linear(32, 1))
    model = DistributedDataParallel(network)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    if CHECKPOINT.exists():
        network.load_state_dict(torch.load(CHECKPOINT / "model.pt", weights_only=True))
        loader.load_state_dict(json.loads((CHECKPOINT / "loader.json").read_text()))
        say(rank, f"going on with epoch {loader.epoch}")

    for _ in range(EPOCHS):
        epoch, rows, batches = loader.epoch, loader.num_rows, len(loader)
        seen: list[int] = []
        network.train()
        for x, y, observed in loader.torch():
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(x)[:, 0], y.float())
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            seen += observed["event"].tolist()
        check_epoch(seen, training, rank)
        text = f"epoch {epoch}: {batches} batches, {rows} rows on this rank"
        say(rank, f"{text}, validation loss {validation_loss(model, judge):.4f}")
        if rank == 0:
            save(network, loader)


# %% [markdown]
# Sums over ranks give one figure for all. A rank's batches and rows may differ by one from
# another's only where a short last round is divided; the sums take care of it.


# %%
def validation_loss(model: nn.Module, judge: Any) -> float:
    """The mean over the validation events of all ranks."""
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64)
    with torch.no_grad():
        for x, y in judge.torch():
            logits = model(x)[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(
                logits, y.float(), reduction="sum"
            )
            sums += torch.tensor([float(loss), len(y)])
    dist.all_reduce(sums)
    return float(sums[0] / sums[1])


def check_epoch(seen: list[int], training: rootml.Dataset, rank: int) -> None:
    """See that every event came once; a training has no need of it."""
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, seen)
    if rank == 0:
        expected = training.select(["event"]).to_awkward()["event"].to_list()
        if sorted(event for part in gathered for event in part) != sorted(expected):
            message = "an event was lost or came twice"
            raise AssertionError(message)


# %% [markdown]
# ## Checkpoints
#
# The state of the loader is JSON, the same on all ranks, at any batch of an epoch: rank 0 writes
# it for all. Loaded on another number of ranks, the rest of the epoch is shared out anew.


# %%
def save(network: nn.Module, loader: Any) -> None:
    """What it takes to go on."""
    CHECKPOINT.mkdir(exist_ok=True)
    torch.save(network.state_dict(), CHECKPOINT / "model.pt")
    (CHECKPOINT / "loader.json").write_text(json.dumps(loader.state_dict()))


def say(rank: int, text: str) -> None:
    """Rank 0 speaks for all."""
    if rank == 0:
        print(text, flush=True)


# %% [markdown]
# ## Starting ranks
#
# A rank learns from its environment who it is; `torchrun`, SLURM and the like set the same
# variables as `start` does here.


# %%
def start(ranks: int) -> int:
    """Run this script as `ranks` processes of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(ranks)}
    running = [
        subprocess.Popen(
            [sys.executable, __file__], env={**os.environ, **meeting, "RANK": str(rank)}
        )
        for rank in range(ranks)
    ]
    return max(abs(process.wait()) for process in running)


def main() -> int:
    """One rank if there are others, else the start of two."""
    if "RANK" not in os.environ:
        return start(RANKS)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    if rank == 0 and not FOLDER.exists():
        make_files(FOLDER, EVENTS)
    dist.barrier()  # the others wait for the files
    say(rank, f"{world} ranks")
    train(rank, world)
    dist.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # a thread of gloo that still lets go of a tensor would abort Python's own end


if __name__ == "__main__":
    sys.exit(main())
