"""One rank of a training by accelerate or Lightning: ``training_frameworks.py JOB.json``.

Started by torchrun, as users do. Each rank writes down which events it saw.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

import rootml


def with_accelerate(job: dict[str, Any]) -> list[list[int]]:
    """A plain loop: the loader is sharded by hand, the rest is prepared."""
    import accelerate  # type: ignore[import-untyped]

    accelerator: Any = accelerate.Accelerator(cpu=True)
    rank, world = accelerator.process_index, accelerator.num_processes
    loader = loader_of(job)
    if job["prepare"] == "shard":
        loader = loader.shard(rank, world)
    layer = torch.nn.Linear(2, 1)
    model, optimizer = accelerator.prepare(layer, torch.optim.SGD(layer.parameters(), lr=1e-9))
    batches = loader.shard(rank, world).torch() if not job["prepare"] else None
    if batches is None:
        batches = accelerator.prepare(torch.utils.data.DataLoader(loader.torch(), batch_size=None))
    seen = []
    for x, y, observed in batches:
        optimizer.zero_grad()
        accelerator.backward(((model(x)[:, 0] - y) ** 2).mean())
        optimizer.step()
        seen.append(observed["id"].tolist())
    accelerator.end_training()
    return seen


def with_lightning(job: dict[str, Any]) -> list[list[int]]:
    """A Trainer with ddp; the module takes its shard by itself."""
    import lightning.pytorch as lightning

    seen: list[list[int]] = []
    base: Any = lightning.LightningModule

    class Model(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch: Any) -> Any:
            x, y, observed = batch
            seen.append(observed["id"].tolist())
            return ((self.layer(x)[:, 0] - y) ** 2).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 1e-9)

        def on_train_batch_end(self, *_: Any) -> None:
            if len(seen) == job["save_after"]:
                self.trainer.save_checkpoint(job["checkpoint"])

    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", strategy="ddp",
        devices=int(os.environ["LOCAL_WORLD_SIZE"]), logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    resumed = None if job["save_after"] else job["checkpoint"]
    trainer.fit(Model(), datamodule=loader_of(job).lightning(), ckpt_path=resumed)
    return seen


def loader_of(job: dict[str, Any]) -> Any:
    """Not sharded."""
    data = rootml.open(job["files"], label=0).select(["x", "k"])
    return data.batches(40, seed=3, shuffle=True, observers=["id"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    JOB = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    SEEN = {"accelerate": with_accelerate, "lightning": with_lightning}[JOB["framework"]](JOB)
    path = Path(JOB["reports"]) / f"{os.environ['RANK']}.json"
    path.write_text(json.dumps(SEEN), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # a thread of gloo that still lets go of a tensor would abort Python's own end
