"""Output as a Lightning DataModule."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rootml._optional import optional_import

if TYPE_CHECKING:
    from rootml.batching._loader import BatchLoader


def lightning_module(
    train: BatchLoader,
    *,
    validation: BatchLoader | None = None,
    test: BatchLoader | None = None,
    predict: BatchLoader | None = None,
    num_workers: int = 0,
) -> Any:
    """A ``LightningDataModule`` over loaders; checkpoints carry the state of the training loader.

    Lightning's own distributed sampler does not apply to iterable datasets: give it loaders that
    are sharded, ``loader.shard(rank, world)``.

    Raises:
        MissingPackageError: lightning is not installed.
    """
    lightning = optional_import(
        "lightning.pytorch", feature="BatchLoader.lightning()", extra="lightning"
    )
    made = _module_class(lightning.LightningDataModule)
    return made(train, validation, test, predict, num_workers)


@functools.cache
def _module_class(base: Any) -> Any:
    class BatchDataModule(base):  # type: ignore[misc]
        """See `lightning_module`."""

        def __init__(
            self,
            train: BatchLoader,
            validation: BatchLoader | None,
            test: BatchLoader | None,
            predict: BatchLoader | None,
            num_workers: int,
        ) -> None:
            super().__init__()
            given = {"train": train, "val": validation, "test": test, "predict": predict}
            self.loaders = {name: loader for name, loader in given.items() if loader is not None}
            self.num_workers = num_workers
            for name in self.loaders:  # Lightning runs the stages whose method is overridden
                setattr(self, f"{name}_dataloader", functools.partial(self.dataloader, name))

        def dataloader(self, name: str) -> Any:
            """The DataLoader of one of the loaders."""
            data = optional_import("torch.utils.data", feature="lightning", extra="torch")
            return data.DataLoader(
                self.loaders[name].torch(),
                batch_size=None,
                num_workers=self.num_workers,
                persistent_workers=self.num_workers > 0,
            )

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
