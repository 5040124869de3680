"""`BatchLoader`: batches of a dataset for a training loop."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from rootml._internal.reprs import HtmlRepr, Part
from rootml._internal.validators import check_flag, check_whole, named_options
from rootml.batching._describe import LoaderDescription, describe, loader_facts
from rootml.batching._options import check_epoch, check_options
from rootml.batching.adapters._outputs import Outputs
from rootml.batching.inputs._batch import Batch, BatchSpec
from rootml.batching.inputs._cast import NonFinite
from rootml.batching.inputs._compile import Inputs, Observers, Request, Targets
from rootml.batching.order._balance import Balance
from rootml.batching.order._epoch_counter import (
    EpochCounter,
    LocalEpochCounter,
    SharedEpochCounter,
    shared_counter,
    taken_elsewhere,
)
from rootml.batching.order._plan import Mode, Segment, Sharding
from rootml.batching.order._sharding import batch_sizes
from rootml.batching.order._state import (
    Progress,
    ResumePoint,
    SavedState,
    read_state,
    write_state,
)
from rootml.batching.rows._epoch_source import EpochSource
from rootml.batching.rows._pipeline import Pipeline
from rootml.batching.rows._transform import BatchTransform, Transform
from rootml.errors import ShardError, UsageError

if TYPE_CHECKING:
    from rootml.batching.adapters._predict import Scores
    from rootml.dataset import Dataset


class BatchLoader(Outputs, HtmlRepr):
    """Streams batches of the selected events of a dataset, each event once per epoch.

    A batch is ``x``, ``(x, y)``, ``(x, y, w)``, or with `observers` a last dict: ``x``
    `(batch, feature)` in the order of the dataset's columns (or a dict with `inputs`), ``y``
    `(batch,)` or `(batch, target)`, ``w`` `(batch,)`.

    With ``shuffle=True`` rows are mixed over the whole dataset as well as the buffer allows:

    ==========  =====================================  ========================================
    mode        when                                   how
    ==========  =====================================  ========================================
    resident    the selected rows fit `buffer_bytes`   decoded once, kept; a new global
                                                       permutation in every epoch
    disk        they do not, `cache` is given          scattered over random shards on disk,
                                                       once; every epoch a uniform permutation
    pool        they do not, no `cache`                several units of every class open at a
                                                       time, batches in proportion to rows left
    ==========  =====================================  ========================================

    In mode "pool" files of one class each give batches as mixed as independent draws, but a single
    file that is sorted inside cannot be mixed: use `cache` for that.

    Args:
        dataset: What to read. Its label is the target, its weight the weight.
        batch_size: Rows per batch; of a short last batch, fewer.
        shuffle: Whether to mix the rows; otherwise they come in the order of the dataset.
        seed: Of the order; the same (seed, epoch, ranks, workers) gives the same order, whatever
            the timing and the number of threads.
        drop_last: Leave out the rows of a short last batch.
        inputs: Names of the columns of ``x`` (default: all that are neither target nor observer),
            or a dict of named inputs: lists of names, `Padded` or `Ragged`. Names may be output
            columns, branches, or ``"alias = expression"``.
        targets: Columns of ``y`` instead of the label: a name gives `(batch,)`, a list
            `(batch, target)`, `Padded` or `Ragged` give lists.
        observers: Columns carried beside in their own dtype (ids, masses), as a dict. Jagged ones
            are ragged; ``{"jets": Padded([...])}`` pads them.
        weights: Whether batches have ``w``. None: if there are weights and a label or target;
            True gives ``(x, w)`` without a label too.
        dtype: Of ``x``: "float32", "float64", "float16" or "bfloat16". ``y`` and ``w`` have the
            same, but at least float32. float64 columns are rounded to float32; integers that would
            change, and numbers too large or too small for float32, are an error.
        balance: ``"weights"``: factors on the weights give all classes the same sum of weights and
            a mean weight of 1 over all events. ``"resample"`` or `Resample(...)`: rows of large
            classes are left out, or of small ones repeated.
        buffer_bytes: Memory for decoded rows, over all workers of a rank, e.g. ``"1 GB"``.
        unit_bytes: Decoded size to which small clusters are joined; smaller mixes better in mode
            "pool", larger reads faster.
        cache: A folder for mode "disk". A private subfolder is made there and removed again.
        nonfinite: What NaN and infinity in an input do: ``"error"``, ``"keep"``, or a number that
            replaces them. In targets and weights they are always an error.
        threads: Decoding threads; default: the cores, at most 4.
        progress: Show a bar on long first passes; default: only on a terminal.
        transform: A function of a `Batch` and a ``numpy.random.Generator`` that returns a `Batch`
            of the same shapes; it may change the arrays in place. It runs in the background, and
            its random numbers depend on seed, epoch and number of the batch only.
        stall_seconds: If no batch arrives for so long, a warning is logged, once per such time: it
            says what the loader waits for and where its threads are. None: never.

    Raises:
        UsageError: Options that make no sense or contradict each other.
        MissingColumnError: A name that is not a column; the message lists the nearest.
        UnsupportedTypeError: A column that cannot be used as asked.
        EmptySelectionError, BufferTooSmallError, ShardError: When the first epoch is planned.

    Source of the idea: ROOT's RBatchGenerator / RDataLoader (ROOT::Experimental::ML).
    """

    @named_options
    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        inputs: Inputs = None,
        targets: Targets = None,
        observers: Observers = None,
        weights: bool | None = None,
        dtype: Any = "float32",
        balance: Balance = None,
        buffer_bytes: int | str = "1 GB",
        unit_bytes: int | str = "16 MB",
        cache: str | os.PathLike[str] | None = None,
        nonfinite: NonFinite = "error",
        threads: int | None = None,
        progress: bool | None = None,
        transform: Transform | None = None,
        stall_seconds: float | None = 60.0,
    ) -> None:
        options = check_options(
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            balance=balance,
            buffer_bytes=buffer_bytes,
            unit_bytes=unit_bytes,
            cache=cache,
            threads=threads,
            progress=progress,
            dtype=dtype,
            nonfinite=nonfinite,
            transform=transform,
            stall_seconds=stall_seconds,
        )
        if weights is not None:
            check_flag("weights", weights)
        request = Request(
            inputs,
            targets,
            observers,
            weights,
            options.dtype,
            options.nonfinite,
            batch_size,
            drop_last,
        )
        self._begin_with(EpochSource.compile(dataset, request, options))

    def _begin_with(self, source: EpochSource) -> None:
        self._source = source
        self._rank, self._world = 0, 1
        self._counter: EpochCounter = LocalEpochCounter()
        self._resume: ResumePoint | None = None
        self._latest: Progress | None = None
        self._lock = threading.Lock()

    # --- what it is ---------------------------------------------------------------------------

    @property
    def dataset(self) -> Dataset:
        """The dataset, with the columns that were named here."""
        return self._source.dataset

    @property
    def name(self) -> str:
        """The dataset as text, for messages."""
        return str(self.dataset)

    @property
    def spec(self) -> BatchSpec:
        """What a batch consists of: inputs, targets, weight, observers, with shapes and dtypes."""
        return self._source.layout.spec

    @property
    def batch_size(self) -> int:
        """Rows per batch."""
        return self._source.options.batch_size

    @property
    def num_rows(self) -> int:
        """Rows that this rank gets in an epoch."""
        return sum(self._sizes())

    @property
    def rank(self) -> int:
        """Which of the shards this is."""
        return self._rank

    @property
    def world(self) -> int:
        """Number of shards."""
        return self._world

    @property
    def mode(self) -> Mode:
        """How rows are mixed: "sequential", "resident", "disk" or "pool"."""
        return self._source.policy.mode(1)

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration takes."""
        return self._counter.next

    def __len__(self) -> int:
        """Batches that this rank gets in an epoch."""
        return len(self._sizes())

    def _sizes(self) -> list[int]:
        options = self._source.options
        rows = self._source.index.num_rows
        return batch_sizes(rows, options.batch_size, self._world, drop_last=options.drop_last)[
            self._rank
        ]

    def describe(self) -> LoaderDescription:
        """Rows, batches, mode, memory, and the time spent per stage so far."""
        return describe(self, self._source)

    def __repr__(self) -> str:
        options = self._source.options
        shard = f", rank {self._rank} of {self._world}" if self._world > 1 else ""
        order = f"shuffled, seed {options.seed}" if options.shuffle else "in order"
        names = ", ".join(
            f"{spec.name} ({spec.kind}, {len(spec.features)})" for spec in self.spec.inputs
        )
        return f"<BatchLoader: batches of {options.batch_size}, {order}{shard}; inputs {names}>"

    def _html_title(self) -> str:
        return "rootml.batching.BatchLoader"

    def _html_parts(self) -> Iterable[Part]:
        return [loader_facts(self, self._source)]

    # --- shards and epochs --------------------------------------------------------------------

    def shard(self, rank: int, world: int) -> BatchLoader:
        """The loader of one of `world` ranks: equally many batches each, every row on one rank.

        Rows are shared out after the epoch's permutation, so a rank decodes only its share (in
        mode "resident": all, once). Nothing is detected by itself: pass what your framework says,
        e.g. ``torch.distributed.get_rank()`` and ``get_world_size()``.

        Raises:
            ShardError: `rank` is not below `world`, or this is a shard already.
        """
        if self._world != 1:
            message = f"this loader is already rank {self._rank} of {self._world}"
            raise ShardError(message)
        if not 0 <= rank < world:
            message = f"rank={rank} of world={world}: expected 0 <= rank < world"
            raise ShardError(message)
        other = copy.copy(self)
        other._rank, other._world = rank, world
        other._latest = None
        other._counter = LocalEpochCounter(self._counter.next)
        other._lock = threading.Lock()
        return other

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be this epoch (otherwise each takes the one after the last).

        An epoch that was left in the middle is given up: the state is that of the new one.

        Raises:
            UsageError: `epoch` is not a whole number from 0 on.
        """
        epoch = check_epoch(epoch)
        with self._lock:
            self._counter.set(epoch)
            self._latest = None
            if self._resume is not None and self._resume.epoch != epoch:
                self._resume = None

    def share_epochs(self) -> SharedEpochCounter:
        """Count epochs in memory that worker processes share (for the torch output)."""
        if not isinstance(self._counter, SharedEpochCounter):
            self._counter = shared_counter(self.epoch)
        return self._counter

    def prepare(self) -> None:
        """Do what the first epoch would wait for, but for decoding: the scan, the shuffle on disk.

        Useful before worker processes are started, which then share the result.
        """
        self._sizes()
        if self.mode == "disk":
            _ = self._source.cache.spill

    def iterate(
        self, *, epoch: int | None = None, worker: int = 0, workers: int = 1
    ) -> Generator[Batch, None, None]:
        """The batches of one epoch; all outputs are made of this.

        Closing the generator (also by ``break`` and ``del``) stops its threads. Several iterators
        may be alive at a time.

        Args:
            epoch: Which epoch; default: the one after the last.
            worker: Which of `workers` shares of this rank's batches: taken in turn, the workers'
                batches are the rank's epoch.
        """
        if not 0 <= worker < workers:
            message = f"worker={worker} of workers={workers}: expected 0 <= worker < workers"
            raise ShardError(message)
        if epoch is not None:
            epoch = check_epoch(epoch)
        self._sizes()
        with self._lock:
            if epoch is None:
                epoch = self._counter.take()
            resume, self._resume = self._resume, None
            if resume is not None and resume.epoch != epoch:
                resume = None
            progress = self._begin(epoch, workers, resume)
            self._latest = progress
        return self._run(progress, worker)

    def share_of_worker(self, worker: int, workers: int, *, epoch: int) -> int:
        """The share of a worker, if workers that are asked in turn are to go on with a state.

        A DataLoader asks its worker 0 first. After a state in the middle, the next batch may be
        of another share.
        """
        return (worker + self._begin(epoch, workers, self._resume_of(epoch)).start) % workers

    def _begin(self, epoch: int, workers: int, resume: ResumePoint | None) -> Progress:
        """Where this iteration begins: at the start, or where a state left off."""
        mode = resume.mode if resume is not None else self._source.policy.mode(workers)
        sharding = self._source.policy.sharding(mode, self._world, workers)
        history = resume.segments if resume is not None else ()
        skip = 0
        if history and history[-1].sharding == sharding:
            skip, history = history[-1].batches, history[:-1]
        return Progress(epoch, mode, sharding, history, skip, start=skip)

    def _run(self, progress: Progress, worker: int) -> Generator[Batch, None, None]:
        source, sharding = self._source, progress.sharding
        source.dataset.verify()
        plan = source.plan(progress.mode, progress.epoch, progress.history)
        if plan.rows_left:
            schedule = plan.schedule(sharding, self._rank, worker)
            if progress.mode == "pool" and worker == 0:
                source.warn_if_badly_mixed(schedule)
            before = _share(progress.batches, worker, sharding)
            pipeline = Pipeline(
                source.layout,
                schedule,
                lambda pool: source.store(progress.mode, progress.epoch, schedule, sharding, pool),
                threads=source.decoder.units_at_once,
                helping=source.decoder.helping,
                timing=source.timing,
                skip=before,
                block_rows=sharding.block_rows,
                transform=self._transform(progress, worker),
                stall_seconds=source.options.stall_seconds,
            )
            total = plan.batches(sharding, self._rank)
            for mine, batch in enumerate(pipeline.batches(), before):
                progress.batches = mine * sharding.workers + worker + 1  # workers take turns
                progress.done = sharding.workers == 1 and progress.batches == total
                yield batch
        progress.done = True

    def _transform(self, progress: Progress, worker: int) -> BatchTransform | None:
        options = self._source.options
        if options.transform is None:
            return None
        return BatchTransform(
            options.transform,
            options.seed,
            progress.epoch,
            len(progress.history),
            self._rank,
            worker,
            progress.sharding.workers,
        )

    def __iter__(self) -> NoReturn:
        """Not iterable itself: an output says which arrays are wanted.

        Raises:
            UsageError: Always; it names the outputs.
        """
        message = (
            "a BatchLoader gives batches through an output: `for x, y, w in loader.numpy()`, or "
            "loader.torch(), .tensorflow(), .jax(), .arrow(), .awkward()"
        )
        raise UsageError(message)

    # --- state --------------------------------------------------------------------------------

    def state_dict(self, *, batches: int | None = None, workers: int = 1) -> dict[str, Any]:
        """Where the latest iteration stands, as plain numbers and strings (JSON).

        Args:
            batches: Batches that this rank has used since the latest iteration began (after a
                resume: since then, as a loop over the batches counts them). Needed where others
                run ahead of the loop: torch's ``DataLoader(num_workers=...)``, whose workers
                count in other processes, or a ``prefetch`` put behind an output.
            workers: The `num_workers` of that DataLoader.

        Raises:
            StateError: Worker processes have taken the epoch, and `batches` is not given.
            UsageError: `batches` is more than the iteration has.
        """
        if batches is not None:
            return self._counted_state(batches, max(1, workers))
        if self._counter.elsewhere:
            otherwise = ", or choose the next epoch by set_epoch(...) first"
            raise taken_elsewhere(self.epoch - 1, otherwise=otherwise)
        return self._write_state(self._latest, self.epoch, self._resume_of(self.epoch))

    def _write_state(
        self, latest: Progress | None, next_epoch: int, resume: ResumePoint | None
    ) -> dict[str, Any]:
        segments: tuple[Segment, ...] = ()
        epoch, mode = next_epoch, self.mode
        if latest is not None and not latest.done:
            epoch, mode, segments = latest.epoch, latest.mode, latest.segments
        elif resume is not None:
            mode, segments = resume.mode, resume.segments
        shards = self._source.policy.spill_shards if mode == "disk" else None
        state = SavedState(epoch, mode, segments, shards)
        return write_state(self._source.state_key(), state)

    def _counted_state(self, batches: int, workers: int) -> dict[str, Any]:
        check_whole("batches", batches, minimum=0)
        epoch, resume = self._begun()
        progress = self._begin(epoch, workers, resume)
        plan = self._source.plan(progress.mode, progress.epoch, progress.history)
        total = plan.batches(progress.sharding, self._rank)
        if progress.start + batches > total:
            message = (
                f"batches={batches}: the latest iteration, of epoch {progress.epoch}, has "
                f"{total - progress.start} batches on this rank"
            )
            raise UsageError(message)
        progress.batches += int(batches)
        progress.done = progress.batches == total
        following = max(self.epoch, progress.epoch + 1)
        return self._write_state(progress, following, None)

    def _begun(self) -> tuple[int, ResumePoint | None]:
        """The epoch of the latest iteration, and what it began with."""
        latest = self._latest
        if self._counter.elsewhere:
            return self.epoch - 1, self._resume_of(self.epoch - 1)
        if latest is None:
            return self.epoch, self._resume_of(self.epoch)
        resume = ResumePoint(latest.epoch, latest.mode, latest.begun) if latest.begun else None
        return latest.epoch, resume

    def batches_left(self) -> int:
        """Batches of the next iteration: those of an epoch, or what a loaded state left of it.

        Of an iteration in this process, without worker processes.
        """
        epoch = self.epoch
        progress = self._begin(epoch, 1, self._resume_of(epoch))
        plan = self._source.plan(progress.mode, epoch, progress.history)
        return plan.batches(progress.sharding, self._rank) - progress.start

    def _resume_of(self, epoch: int) -> ResumePoint | None:
        """What a loaded state left over of this epoch, if anything."""
        return self._resume if self._resume is not None and self._resume.epoch == epoch else None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken: the next iteration gives the rest of that epoch.

        With the same ranks, workers and buffer the order goes on as it would have; otherwise the
        rows that no rank has had are shared out anew, still each exactly once.

        Raises:
            StateError: The state belongs to other data, another seed, selection or version, or
                needs a mode that this buffer does not allow.
        """
        saved = read_state(self._source.state_key(), state)
        if saved.spill_shards is not None:
            self._source.cache.adopt_spill_shards(saved.spill_shards)
        with self._lock:
            self._latest = None
            self._counter.set(saved.epoch)
            point = ResumePoint(saved.epoch, saved.mode, saved.segments)
            self._resume = point if saved.segments else None

    # --- scores ---------------------------------------------------------------------------------

    def predict(self, model: Any, *, transform: bool | None = None) -> Scores:
        """Scores of all selected events in the order of the dataset, whatever the shuffling.

        So they are ready for ``dataset.write_friend(folder, {"score": scores})``. Events are read
        in batches; each one is scored once, also those that resampling or `drop_last` leave out.

        Args:
            model: A torch module (called in evaluation mode, without gradients, on the device of
                its parameters, with the inputs as `torch()` gives them), a Keras model, an object
                with ``predict(x)`` (scikit-learn, `rootml.bdt.Model`), or a function of ``x`` as
                NumPy arrays.
            transform: Whether to apply the loader's `transform`; must be said if there is one.

        Returns:
            `(events,)`, or `(events, ...)` if the model gives several numbers per event; a dict of
            such arrays if the model returns a dict.

        Raises:
            UsageError: `model` is none of these, or `transform` is not said.
            SchemaError: The model does not return one score per row.
            ShardError: This is the shard of a rank.
        """
        from rootml.batching.adapters._predict import predict

        if self._world != 1:
            message = f"rank {self._rank} of {self._world}: predict with the loader before shard()"
            raise ShardError(message)
        function = self._source.options.transform
        if function is not None and transform is None:
            message = (
                "this loader has a transform: say predict(model, transform=True) if the model "
                "needs it (a scaling), or transform=False if not (an augmentation)"
            )
            raise UsageError(message)
        source = self._source.inputs_in_order(transform=function if transform else None)
        loader = copy.copy(self)
        loader._begin_with(source)
        return predict(loader, model)

    # --- on disk --------------------------------------------------------------------------------

    def saving_key(self) -> dict[str, Any]:
        """Identifies the data, the selection and the order, as plain values."""
        options = self._source.options
        return {
            "fingerprint": self._source.index.fingerprint,
            "seed": options.seed,
            "mode": self.mode,
            "resample": repr(options.resample),
            "balance": options.balance == "weights",
        }

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        format: Literal["rootml", "hdf5", "root", "parquet"] = "rootml",  # noqa: A002
        split: str | None = None,
        part_bytes: int | str = "256 MB",
        overwrite: bool = False,
        progress: bool | None = None,
    ) -> list[str]:
        """Save the batches of the next epoch in their order; `rootml.batching.open` reads them.

        If it is interrupted, the same call goes on after the last complete part. The loader itself
        does not move on to another epoch.

        Args:
            format: ``"rootml"``: NumPy's npz. ``"parquet"``, ``"root"``: a column or branch for
                each feature, target, weight, observer and mask. ``"hdf5"``: the layout of Salt:
                structured data sets, "events" with a row per event, and one `(events, length)`
                with a field "valid" for each padded input.
            split: Name of a subfolder, e.g. "train" and "validation" for two loaders.
            part_bytes: Size of the files before compression.
            overwrite: Replace what is saved there.

        Returns:
            Paths of the files.

        Raises:
            UsageError: Other batches are saved there.
            UnsupportedTypeError: The format does not hold what a batch consists of.
            ShardError: This is the shard of a rank.
        """
        from rootml.batching.saved._save import save

        if self._world != 1:
            message = f"rank {self._rank} of {self._world}: save the loader before shard()"
            raise ShardError(message)
        loader = copy.copy(self)
        loader._begin_with(self._source)
        loader.set_epoch(self.epoch)
        return save(
            loader,
            folder,
            format=format,
            split=split,
            part_bytes=part_bytes,
            overwrite=overwrite,
            progress=progress,
        )

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Free what is kept between epochs: rows in memory, files of the shuffle on disk."""
        self._source.close()

    def __getstate__(self) -> dict[str, Any]:
        return {
            key: value for key, value in self.__dict__.items() if key not in {"_lock", "_latest"}
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._latest = None


def _share(batches: int, worker: int, sharding: Sharding) -> int:
    """Of a rank's first `batches` batches, how many were this worker's."""
    return max(0, -(-(batches - worker) // sharding.workers))


__all__ = ["BatchLoader"]
