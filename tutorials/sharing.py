# %% [markdown]
# # Several processes, and going on after a break
#
# Distributed training gives each rank its share of every epoch; a training that was stopped goes
# on with the batch it had not seen yet. Both keep the promise that each selected event comes
# exactly once per epoch.
#
# **What to look at:** the numbers of events per rank, and that their union is all events, each
# once; the state, which is short enough to read.

# %%
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from collisions import make_files

import rootml

folder = Path("tutorial-data")
make_files(folder, 20_000)
files = f"{folder}/*.root:Events"
events = rootml.open(files).filter("nJet >= 2").select(["MET_pt"])
options: dict[str, Any] = {"shuffle": True, "seed": 7, "observers": ["event"]}

# %% [markdown]
# ## Ranks
#
# In a job started by `torchrun`, rank and world come from `torch.distributed`; here two loaders
# play both. The units of the files are shared out after the epoch's permutation, so a rank decodes
# its own share only, and every rank gets the same number of batches.

# %%
whole = events.batches(256, **options)
ranks = [whole.shard(rank, 2) for rank in range(2)]
assert len(ranks[0]) == len(ranks[1])

seen = [np.concatenate([observed["event"] for _, observed in rank.numpy()]) for rank in ranks]
everything = np.sort(events.select(["event"]).to_awkward()["event"].to_numpy())
assert np.array_equal(np.sort(np.concatenate(seen)), everything)
print("events per rank:", [len(part) for part in seen])

# %% [markdown]
# ## Stopped and resumed
#
# The state is a small dictionary that JSON can hold: seed, epoch, batches delivered, and the
# identity of the data. It goes into the checkpoint beside the model.

# %%
loader = events.batches(256, **options)
before = []
for number, (_, observed) in enumerate(loader.numpy(), start=1):
    before.append(observed["event"])
    if number == 10:
        state = json.dumps(loader.state_dict())  # the training stops here
        break
print(state)

again = events.batches(256, **options)
again.load_state_dict(json.loads(state))
after = [observed["event"] for _, observed in again.numpy()]
assert np.array_equal(np.sort(np.concatenate(before + after)), everything)
print(f"{len(before)} batches before the break, {len(after)} after it, no event twice")
