"""`EpochSource`: the data behind a loader and all its shards.

It joins what the other modules of this room do: `UnitIndex` (which rows there are), `UnitDecoder`
(how they are read), `ShufflePolicy` (how they are mixed) and `RowCache` (where they are kept).
"""

from __future__ import annotations

import concurrent.futures
import threading
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.sizes import format_bytes
from rootml.batching._options import Options
from rootml.batching.inputs._compile import Request, compile_layout
from rootml.batching.inputs._layout import Layout
from rootml.batching.order._balance import class_factors
from rootml.batching.order._label_spread import label_spread
from rootml.batching.order._plan import EpochPlan, Mode, Segment, Sharding
from rootml.batching.order._schedule import Schedule
from rootml.batching.order._state import StateKey
from rootml.batching.rows._decoder import UnitDecoder
from rootml.batching.rows._parallelism import Parallelism
from rootml.batching.rows._row_cache import RowCache
from rootml.batching.rows._shuffle_policy import ShufflePolicy
from rootml.batching.rows._stores import PoolStore, ResidentStore, SequentialStore, Store
from rootml.batching.rows._timing import Timing
from rootml.batching.rows._transform import Transform
from rootml.batching.rows._unit_index import UnitIndex
from rootml.errors import UsageError

if TYPE_CHECKING:
    from rootml.dataset import Dataset


MAX_SPREAD = 1.5
"""Of the fraction of a class per batch, over that of independent draws, before a warning."""


class EpochSource:
    """Plans epochs and makes the stores that feed them.

    Everything that costs time is done once, when it is first needed.

    Attributes:
        layout: How columns become rows.
        index: Which units there are.
        decoder: Reads units.
        policy: Chooses the mode.
        cache: Keeps rows between epochs.
        timing: Seconds per stage.
    """

    def __init__(self, dataset: Dataset, layout: Layout, options: Options) -> None:
        self.dataset, self.layout, self.options = dataset, layout, options
        self.timing = Timing()
        self._warning = threading.Lock()
        self._judged = False
        parallelism = Parallelism(self.dataset, options)
        self.index = UnitIndex(self.dataset, options, parallelism, self.timing)
        self.decoder = UnitDecoder(self.index, self.layout)
        self.policy = ShufflePolicy(options, self.index, self.decoder)
        self.cache = RowCache(options, self.layout, self.index, self.decoder, self.policy)

    @classmethod
    def compile(cls, dataset: Dataset, request: Request, options: Options) -> EpochSource:
        """The source of what a user asked for.

        Raises:
            UsageError, UnsupportedTypeError, MissingColumnError: As `compile_layout`.
        """
        factors = _class_factors(dataset, options)
        return cls(*compile_layout(dataset, request, factors), options)

    def inputs_in_order(self, *, transform: Transform | None) -> EpochSource:
        """The inputs of all events in the order of the dataset, without anything else."""
        options = replace(
            self.options,
            shuffle=False,
            drop_last=False,
            balance=None,
            cache=None,
            transform=transform,
        )
        layout = self.layout.inputs_only()
        layout = replace(layout, spec=replace(layout.spec, drop_last=False))
        return EpochSource(self.dataset, layout, options)

    def state_key(self) -> StateKey:
        """What a saved state must agree with."""
        options = self.options
        return StateKey(
            seed=options.seed,
            resample=repr(options.resample),
            fingerprint=self.index.fingerprint,
            shuffle=options.shuffle,
            has_cache=options.cache is not None,
            buffer_bytes=options.buffer_bytes,
            resident_bytes=self.policy.resident_bytes,
        )

    def plan(self, mode: Mode, epoch: int, history: tuple[Segment, ...]) -> EpochPlan:
        """The plan of an epoch, of which `history` was delivered before."""
        counts, sources = self.index.epoch_counts(epoch), self.index.sources
        if mode == "resident":
            counts, sources = np.array([counts.sum()]), np.zeros(1, dtype=np.int64)
        elif mode == "disk":
            counts = self.cache.spill.counts
            sources = np.zeros(len(counts), dtype=np.int64)
        return EpochPlan(mode, counts, sources, self.options.seed, epoch, history)

    def store(
        self,
        mode: Mode,
        epoch: int,
        schedule: Schedule,
        sharding: Sharding,
        pool: concurrent.futures.Executor,
    ) -> Store:
        """The store that feeds a schedule; in mode "resident" all rows are decoded now."""
        buffers = self.cache.workspace.buffers
        if mode == "resident":
            order = self.cache.order_of(epoch, pool)
            threads = self.options.threads
            return ResidentStore(
                self.cache.resident, order, pool, threads=threads, buffers=buffers
            )
        if mode == "sequential":
            return SequentialStore(
                self.layout,
                schedule.pieces,
                self.decoder.source,
                pool,
                ahead=self.decoder.units_at_once + 1,
                buffers=buffers,
            )
        return self._pool_store(mode, epoch, schedule, sharding, pool)

    def _pool_store(
        self,
        mode: Mode,
        epoch: int,
        schedule: Schedule,
        sharding: Sharding,
        pool: concurrent.futures.Executor,
    ) -> Store:
        ahead = self.decoder.units_at_once
        total = sum(piece.rows for piece in schedule.pieces)
        local = mode == "pool" and self.index.parallelism.executor is None
        return PoolStore(
            self.layout,
            schedule.pieces,
            self.cache.spill if mode == "disk" else self.decoder.source,
            pool,
            rows=min(self.policy.buffer_rows(sharding.workers), total),
            key=(self.options.seed, epoch),
            stage=self.timing,
            ahead=ahead,
            workspace=self.cache.workspace,
            prefetch=ahead - self.options.threads if local else 0,
        )

    def warn_if_badly_mixed(self, schedule: Schedule) -> None:
        """Warn, once, if classes lie in the files so that a pool cannot mix them."""
        with self._warning:
            if self._judged:
                return
            self._judged = True
            counts = self.index.label_counts()
        if counts is None:
            return
        spread = label_spread(schedule, counts)
        if spread > MAX_SPREAD:
            message = (
                f"{self.dataset}: shuffle=True in mode 'pool' mixes classes badly, because they "
                f"are sorted inside the files: the fraction of a class per batch has a spread of "
                f"{spread:.1f} times that of independent draws. Give cache=folder for a shuffle "
                f"on disk, or buffer_bytes of {format_bytes(self.policy.resident_bytes)} to keep "
                "all rows in memory"
            )
            warnings.warn(message, stacklevel=3)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_warning"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._warning = threading.Lock()

    def close(self) -> None:
        """Forget the rows in memory and remove the files on disk, until they are needed again."""
        self.cache.close()
        self.decoder.close()


def _class_factors(dataset: Dataset, options: Options) -> dict[float, float] | None:
    """The factors on the weights that `balance` asks for."""
    if options.balance is None:
        return None
    if not dataset.has_label:
        message = f"{dataset}: balance= needs classes: open the samples with label="
        raise UsageError(message)
    if options.balance != "weights":
        return None
    index = dataset.scan(progress=options.progress)
    sums = {float(label): each.sumw for label, each in index.labels.items()}
    return class_factors(sums, index.num_rows, str(dataset))
