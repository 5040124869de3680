"""`SavedLoader`: the batches of a saved epoch."""

from __future__ import annotations

import copy
import os
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
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
    taken_elsewhere,
)
from rootml.batching.saved._columns import from_columns, slice_columns
from rootml.batching.saved._formats import FORMATS
from rootml.batching.saved._manifest import Manifest
from rootml.errors import ChangedFileError, ShardError, StateError, UsageError

STATE, VERSION = "rootml.batching.saved.state", 2


@dataclass(frozen=True, slots=True)
class _Point:
    """Where a rank stands in an epoch: `done` of its share of the batches from `first` on."""

    epoch: int
    first: int = 0
    done: int = 0


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
        self._resume: _Point | None = None  # where a loaded state stands
        self._begun: _Point | None = None  # where the latest pass of this process began
        self._latest: _Point | None = None  # where it stands; None: it is over

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
        """Every `world`-th batch, from number `rank` on; of what is left, if a state was loaded.

        Raises:
            ShardError: `rank` is not below `world`, or the batches cannot be shared out evenly.
        """
        if not 0 <= rank < world:
            message = f"rank={rank} of world={world}: expected 0 <= rank < world"
            raise ShardError(message)
        if self.world != 1:
            message = f"this is rank {self.rank} of {self.world}: shard the loader that was opened"
            raise ShardError(message)
        self._check_even(len(self), world)
        other = copy.copy(self)
        other.rank, other.world = rank, world
        other._counter = LocalEpochCounter(self.epoch)
        other._begun = other._latest = None
        if self._resume is not None:
            point = replace(self._resume, first=self._resume.first + self._resume.done, done=0)
            self._check_even(len(self) - point.first, world)
            other._resume = point
        return other

    def _check_even(self, batches: int, world: int) -> None:
        if batches % world:
            message = f"{batches} saved batches cannot be shared evenly among {world} ranks"
            raise ShardError(message)

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
        begun = self._point(self._counter.take() if epoch is None else epoch)
        self._resume = None
        self._begun = self._latest = begun
        return self._run(begun, worker, workers)

    def share_of_worker(self, worker: int, workers: int, *, epoch: int) -> int:
        """The share of a worker, if workers that are asked in turn are to go on with a state."""
        return (worker + self._point(epoch).done) % workers

    def _point(self, epoch: int) -> _Point:
        """Where a pass begins."""
        found = self._resume
        return found if found is not None and found.epoch == epoch else _Point(epoch)

    def _share(self, point: _Point) -> range:
        """Numbers of this rank's batches."""
        return range(point.first + self.rank, len(self._sizes()), self.world)

    def _run(self, begun: _Point, worker: int, workers: int) -> Generator[Batch, None, None]:
        share = self._share(begun)
        wanted = {share[n]: n for n in range(worker, len(share), workers) if n >= begun.done}
        first = 0
        for part in self._manifest.parts:
            numbers = [n for n in range(first, first + len(part.sizes)) if n in wanted]
            for number, batch in self._part(part, first, numbers):
                done = wanted[number] + 1
                over = workers == 1 and done == len(share)
                self._latest = None if over else replace(begun, done=done)
                yield batch
            first += len(part.sizes)
        self._latest = None

    def _part(self, part: Any, first: int, numbers: list[int]) -> Iterator[tuple[int, Batch]]:
        """Number and contents of some batches of a part."""
        if not numbers:
            return
        path = self._folder / part.file
        if not path.exists() or path.stat().st_size != part.bytes:
            message = f"{path}: missing, or not what was saved"
            raise ChangedFileError(message)
        columns = FORMATS[self._manifest.storage].read(path, self.spec)
        ends = [sum(part.sizes[: i + 1]) for i in range(len(part.sizes))]
        for number in numbers:
            end, size = ends[number - first], part.sizes[number - first]
            yield number, from_columns(self.spec, slice_columns(columns, end - size, end), size)

    def batches_left(self) -> int:
        """Batches of the next iteration."""
        point = self._point(self.epoch)
        return len(self._share(point)) - point.done

    def state_dict(self, *, batches: int | None = None, workers: int = 1) -> dict[str, Any]:
        """Where the latest iteration stands, as plain numbers and strings (JSON).

        Args:
            batches, workers: As of `BatchLoader.state_dict`: needed with worker processes.

        Raises:
            StateError: Worker processes have taken the epoch, and `batches` is not given.
            UsageError: `batches` is more than the iteration has.
        """
        check_whole("workers", workers, minimum=0)  # the order is the same for any number
        if batches is not None:
            point = self._counted(check_whole("batches", batches, minimum=0))
        elif self._counter.elsewhere:
            raise taken_elsewhere(self.epoch - 1)
        else:
            point = self._latest or self._point(self.epoch)
        return {
            "format": STATE,
            "version": VERSION,
            "epoch": point.epoch,
            "first": point.first,
            "batches": point.done,
            "world": self.world,
        }

    def _counted(self, batches: int) -> _Point:
        if self._counter.elsewhere:
            begun = self._point(self.epoch - 1)
        else:
            begun = self._begun or self._point(self.epoch)
        total = len(self._share(begun))
        done = begun.done + batches
        if done > total:
            message = (
                f"batches={batches}: the latest iteration, of epoch {begun.epoch}, has "
                f"{total - begun.done} batches on this rank"
            )
            raise UsageError(message)
        if done == total:
            return _Point(max(self.epoch, begun.epoch + 1))
        return replace(begun, done=done)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken; other ranks than before share out what is left.

        Raises:
            StateError: Not a state of saved batches.
            ShardError: What is left cannot be shared out evenly.
        """
        if state.get("format") != STATE or state.get("version") != VERSION:
            message = f"not a state of saved batches of version {VERSION}: {dict(state)!r:.80}"
            raise StateError(message)
        epoch, first, done = (
            check_whole(name, state[name], minimum=0) for name in ("epoch", "first", "batches")
        )
        world = check_whole("world", state["world"], minimum=1)
        if first + done * world > len(self._sizes()):
            message = (
                f"the state was taken after {first + done * world} batches; "
                f"{str(self._folder)!r} has {len(self._sizes())}"
            )
            raise StateError(message)
        if world != self.world:
            first, done = first + done * world, 0
            self._check_even(len(self._sizes()) - first, self.world)
        self._counter.set(epoch)
        self._begun = self._latest = None
        self._resume = _Point(epoch, first, done)

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
