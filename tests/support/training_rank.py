"""One rank of a distributed training, a process of its own: `python training_rank.py JOB.json`.

It trains a tiny network with DistributedDataParallel over gloo, which hangs or fails as soon as
ranks get different numbers of batches, and writes down which events it saw and how many entries
it decoded.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import rootml


def main(job: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{job['meet']}", rank=job["rank"], world_size=job["world"]
    )
    data = rootml.open(job["files"], label=0).select(["x", "k"])
    decoded = count_decoding()
    loader = data.batches(40, seed=3, observers=["id"], **job["options"])
    loader = loader.shard(dist.get_rank(), dist.get_world_size())
    if job["state"] is not None:
        loader.load_state_dict(job["state"])
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    seen: list[list[int]] = []
    for x, y, observed in loader.torch():
        optimizer.zero_grad()
        loss: Any = torch.nn.functional.mse_loss(model(x)[:, 0], y.float())
        loss.backward()
        optimizer.step()
        seen.append(observed["id"].tolist())
        if len(seen) == job["stop"]:
            break
    weights = [p.detach().reshape(-1).tolist() for p in model.parameters()]
    report = {"seen": seen, "decoded": sum(decoded), "weights": weights}
    report["state"] = loader.state_dict()
    Path(job["report"]).write_text(json.dumps(report), encoding="utf-8")
    dist.destroy_process_group()
    os._exit(0)  # a thread of gloo that still lets go of a tensor would abort Python's own end


def count_decoding() -> list[int]:
    """Entries of every partition that is read from now on."""
    entries: list[int] = []
    read = rootml.Dataset.read

    def counted(self: rootml.Dataset, partition: Any, *args: Any, **kwargs: Any) -> Any:
        entries.append(partition.num_entries)
        return read(self, partition, *args, **kwargs)

    rootml.Dataset.read = counted  # type: ignore[method-assign]
    return entries


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
