"""`SavedLoader`: the batches of a saved epoch."""

from __future__ import annotations

import copy
import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from rootml._internal.validators import check_whole
from rootml.batching.adapters._outputs import Outputs
from rootml.batching.inputs._batch import Batch, BatchSpec
from rootml.batching.order._epoch_counter import (
    EpochCounter,
    LocalEpochCounter,
    SharedEpochCounter,
    shared_counter,
)
from rootml.batching.saved._columns import from_columns, slice_columns
from rootml.batching.saved._formats import FORMATS
from rootml.batching.saved._manifest import Manifest
from rootml.errors import ChangedFileError, ShardError, StateError

STATE, VERSION = "rootml.batching.saved.state", 1


class SavedLoader(Outputs):
    """Batches that `BatchLoader.save` wrote; every epoch gives the same ones in the same order.

    Its outputs are those of a `BatchLoader`: `numpy()`, `torch()`, `tensorflow()`, `jax()` and so
    on. One part is in memory at a time.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self._manifest = manifest
        self._counter: EpochCounter = LocalEpochCounter()
        self.rank, self.world = 0, 1
        self._done = 0
        self._start = 0

    @property
    def name(self) -> str:
        """The dataset as it was named when it was saved."""
        return self._manifest.dataset

    @property
    def spec(self) -> BatchSpec:
        """What a batch consists of."""
        return self._manifest.spec

    @property
    def key(self) -> dict[str, Any]:
        """Fingerprint, seed and epoch of what was saved."""
        return dict(self._manifest.key)

    @property
    def epoch(self) -> int:
        """Number of the next pass over the batches."""
        return self._counter.next

    @property
    def num_rows(self) -> int:
        """Rows that this rank gets in a pass."""
        return sum(self._sizes()[self.rank :: self.world])

    def __len__(self) -> int:
        """Batches that this rank gets in a pass."""
        return len(self._sizes()) // self.world

    def _sizes(self) -> list[int]:
        return [size for part in self._manifest.parts for size in part.sizes]

    def prepare(self) -> None:
        """Nothing is to be done before the first pass."""

    def shard(self, rank: int, world: int) -> SavedLoader:
        """Every `world`-th batch, from number `rank` on.

        Raises:
            ShardError: `rank` is not below `world`, or the batches cannot be shared out evenly.
        """
        if not 0 <= rank < world:
            message = f"rank={rank} of world={world}: expected 0 <= rank < world"
            raise ShardError(message)
        if self.world != 1 or len(self) % world:
            message = f"{len(self)} saved batches cannot be shared evenly among {world} ranks"
            raise ShardError(message)
        other = copy.copy(self)
        other.rank, other.world = rank, world
        other._counter = LocalEpochCounter(self.epoch)
        return other

    def share_epochs(self) -> SharedEpochCounter:
        """Count passes in memory that worker processes share."""
        if not isinstance(self._counter, SharedEpochCounter):
            self._counter = shared_counter(self.epoch)
        return self._counter

    def iterate(
        self, *, epoch: int | None = None, worker: int = 0, workers: int = 1
    ) -> Generator[Batch, None, None]:
        """The batches in the order in which they were saved.

        Raises:
            ChangedFileError: A part is not what was written.
        """
        if epoch is None:
            self._counter.take()
        skip, self._start = self._start, 0
        self._done = skip
        wanted = range(self.rank + self.world * worker, len(self._sizes()), self.world * workers)
        first = 0
        for part in self._manifest.parts:
            numbers = [n for n in range(first, first + len(part.sizes)) if n in wanted]
            numbers = [n for n in numbers if n // self.world >= skip]
            if numbers:
                yield from self._part(part, first, numbers)
            first += len(part.sizes)
        self._done = 0

    def _part(self, part: Any, first: int, numbers: list[int]) -> Generator[Batch, None, None]:
        path = self._folder / part.file
        if not path.exists() or path.stat().st_size != part.bytes:
            message = f"{path}: missing, or not what was saved"
            raise ChangedFileError(message)
        columns = FORMATS[self._manifest.storage].read(path, self.spec)
        ends = [sum(part.sizes[: i + 1]) for i in range(len(part.sizes))]
        for number in numbers:
            end, size = ends[number - first], part.sizes[number - first]
            self._done = number // self.world + 1
            yield from_columns(self.spec, slice_columns(columns, end - size, end), size)

    def batches_left(self) -> int:
        """Batches of the next iteration."""
        return len(self) - self._start

    def state_dict(self) -> dict[str, Any]:
        """Where the latest iteration stands."""
        epoch = self.epoch - 1 if self._done else self.epoch
        return {"format": STATE, "version": VERSION, "epoch": epoch, "batches": self._done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken.

        Raises:
            StateError: Not a state of saved batches.
        """
        if state.get("format") != STATE or state.get("version") != VERSION:
            message = f"not a state of saved batches of version {VERSION}: {dict(state)!r:.80}"
            raise StateError(message)
        self._counter.set(check_whole("epoch", state["epoch"], minimum=0))
        self._start = check_whole("batches", state["batches"], minimum=0, maximum=len(self))

    def __repr__(self) -> str:
        return (
            f"<SavedLoader of {self.name}: {len(self):,} batches of {self.spec.batch_size}, "
            f"{self._manifest.storage}>"
        )


def open_saved(folder: str | os.PathLike[str], *, split: str | None = None) -> SavedLoader:
    """The batches that ``loader.save(folder, split=...)`` wrote.

    Raises:
        MissingFileError: Nothing was saved there.
        StateError: The saving was interrupted: call `save` again to complete it.
    """
    home = Path(folder) if split is None else Path(folder) / split
    manifest = Manifest.read(home)
    if not manifest.complete:
        message = f"{str(home)!r}: the saving was interrupted; call loader.save(...) again"
        raise StateError(message)
    return SavedLoader(home, manifest)
