"""Output as a Lightning DataModule."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rootml._internal.optional import optional_import
from rootml.batching.adapters._source import BatchSource
from rootml.batching.adapters._torch import torch_batches
from rootml.errors import ShardError

if TYPE_CHECKING:
    import torch
    from lightning import LightningDataModule


def lightning_module(
    train: BatchSource,
    *,
    validation: BatchSource | None = None,
    test: BatchSource | None = None,
    predict: BatchSource | None = None,
    num_workers: int = 0,
) -> LightningDataModule:
    """A ``LightningDataModule`` over loaders; checkpoints carry the state of the training loader.

    With several ranks (``strategy="ddp"``) each takes its shard when the trainer asks for the
    loader: Lightning's own distributed sampler does not apply to iterable datasets. Loaders that
    were sharded before must fit the trainer's ranks. From a checkpoint in the middle of an epoch
    any number of ranks can go on; with `num_workers` it does not know what the workers delivered,
    and only checkpoints between epochs are exact.

    Raises:
        MissingPackageError: lightning is not installed.
        ShardError: From the trainer: a loader is the shard of another rank.
    """
    lightning = optional_import(
        "lightning.pytorch", feature="BatchLoader.lightning()", extra="lightning"
    )
    class_ = _module_class(lightning.LightningDataModule)
    module: LightningDataModule = class_(train, validation, test, predict, num_workers)
    return module


@functools.cache
def _loader_class(base: Any) -> Any:
    class CountedLoader(base):  # type: ignore[misc]
        """A DataLoader that is at least `minimum` batches long."""

        minimum = 0

        def __len__(self) -> int:
            return max(int(super().__len__()), self.minimum)

    return CountedLoader


@functools.cache
def _module_class(base: Any) -> Any:
    class BatchDataModule(base):  # type: ignore[misc]
        """See `lightning_module`."""

        def __init__(
            self,
            train: BatchSource,
            validation: BatchSource | None,
            test: BatchSource | None,
            predict: BatchSource | None,
            num_workers: int,
        ) -> None:
            super().__init__()
            given = {"train": train, "val": validation, "test": test, "predict": predict}
            self.loaders = {name: loader for name, loader in given.items() if loader is not None}
            self.num_workers = num_workers
            for name in self.loaders:  # Lightning runs the stages whose method is overridden
                setattr(self, f"{name}_dataloader", functools.partial(self.dataloader, name))

        def dataloader(self, name: str) -> torch.utils.data.DataLoader[Any]:
            """The DataLoader of one of the loaders."""
            data = optional_import("torch.utils.data", feature="lightning", extra="torch")
            self.shard(name).prepare()
            made: torch.utils.data.DataLoader[Any] = _loader_class(data.DataLoader)(
                torch_batches(self.shard(name)),
                batch_size=None,
                num_workers=self.num_workers,
                persistent_workers=self.num_workers > 0,
            )
            if name == "train" and not self.num_workers:
                made.minimum = self.due()
            return made

        def due(self) -> int:
            """Batches as Lightning counts them until the epoch ends, with those before a resume.

            It stops at ``len(dataloader)`` batches, which are fewer if the rest of an epoch is
            shared out among more ranks than had its beginning.
            """
            trainer = self.trainer
            before = trainer.fit_loop.epoch_loop.batch_progress.current.ready if trainer else 0
            return int(before) + self.loaders["train"].batches_left()

        def shard(self, name: str) -> BatchSource:
            """One of the loaders, from now on that of the trainer's rank."""
            loader, trainer = self.loaders[name], self.trainer
            rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
            if loader.world == 1 < world:
                loader = self.loaders[name] = loader.shard(rank, world)
            elif (loader.rank, loader.world) != (rank, world):
                message = (
                    f"the {name} loader is rank {loader.rank} of {loader.world}, the trainer's is "
                    f"{rank} of {world}; give it loaders that are not sharded"
                )
                raise ShardError(message)
            return loader

        def state_dict(self) -> dict[str, Any]:
            if self.num_workers:  # what the workers delivered is not known here
                return {}
            return self.loaders["train"].state_dict()

        def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
            if state_dict:
                self.loaders["train"].load_state_dict(state_dict)

        def __repr__(self) -> str:
            shown = ", ".join(f"{name}={loader!r}" for name, loader in self.loaders.items())
            return f"<BatchDataModule {shown}>"

    return BatchDataModule
