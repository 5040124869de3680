"""`BatchSource`: what an output needs of a loader. It imports no loader and no framework."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Protocol

from rootml.batching.inputs._batch import Batch, BatchSpec
from rootml.batching.order._epoch_counter import SharedEpochCounter


class BatchSource(Protocol):
    """Gives the batches of one epoch after the other."""

    @property
    def name(self) -> str:
        """What is read, for messages."""

    @property
    def spec(self) -> BatchSpec:
        """What a batch consists of."""

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration takes."""

    @property
    def rank(self) -> int:
        """Number of this shard."""

    @property
    def world(self) -> int:
        """Number of shards."""

    @property
    def num_rows(self) -> int:
        """Rows that this rank gets in an epoch."""

    def __len__(self) -> int:
        """Batches that this rank gets in an epoch."""

    def prepare(self) -> None:
        """Do what the first epoch would wait for."""

    def iterate(
        self, *, epoch: int | None = None, worker: int = 0, workers: int = 1
    ) -> Generator[Batch, None, None]:
        """The batches of one epoch."""

    def share_of_worker(self, worker: int, workers: int, *, epoch: int) -> int:
        """The share of a worker, if workers that are asked in turn are to go on with a state."""

    def share_epochs(self) -> SharedEpochCounter:
        """Count epochs in memory that worker processes share."""

    def shard(self, rank: int, world: int) -> BatchSource:
        """The share of one of `world` ranks."""

    def batches_left(self) -> int:
        """Batches of the next iteration."""

    def state_dict(self) -> dict[str, Any]:
        """Where the latest iteration stands."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken."""
