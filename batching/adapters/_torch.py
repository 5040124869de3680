"""Output as torch tensors: an IterableDataset that shares an epoch among DataLoader workers."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.optional import optional_import
from rootml.batching.adapters._source import BatchSource
from rootml.batching.inputs._batch import Batch, PaddedArray, RaggedArray
from rootml.errors import ShardError, UsageError

if TYPE_CHECKING:
    from torch.utils.data import IterableDataset

logger = logging.getLogger(__name__)
_FETCHER = ("torch.utils.data._utils.fetch", "_IterableDatasetFetcher")
_DISPATCHER = ("accelerate.data_loader", "DataLoaderDispatcher")


def torch_batches(loader: BatchSource, *, device: Any = None) -> IterableDataset[Any]:
    """A ``torch.utils.data.IterableDataset`` of tuples of tensors.

    A tuple is ``x``, ``(x, y)`` or ``(x, y, w)``, with observers a last dict of tensors. Named
    inputs are a dict; a padded input ``jets`` is two tensors, ``jets`` and ``jets_mask``, a ragged
    one ``jets`` and ``jets_offsets``.

    It is to be iterated as it is, or given to ``DataLoader(dataset, batch_size=None,
    num_workers=n)``: the workers then share each epoch, every row once. The loader has threads of
    its own, so workers are rarely worth their processes. Epochs advance with every iteration, also
    in worker processes; `BatchLoader.set_epoch` before an iteration chooses one.

    With several ranks give each its shard, whatever started them: ``loader.shard(rank, world)``,
    with what ``torch.distributed`` or ``accelerate.Accelerator`` says. accelerate's ``prepare()``
    is for the model and the optimiser: of a loader it would let rank 0 read for all, and repeat
    rows of a short last batch.

    With a `device`, tensors are pinned and sent without blocking; this path has not been tried on
    a GPU. It cannot be combined with worker processes.

    Raises:
        MissingPackageError: torch is not installed.
        ShardError: From an iteration: it was given to accelerate's ``prepare()`` on several ranks.
    """
    data = optional_import("torch.utils.data", feature="BatchLoader.torch()", extra="torch")
    batches: IterableDataset[Any] = _dataset_class(data.IterableDataset)(loader, device)
    return batches


@functools.cache
def _dataset_class(base: Any) -> Any:
    """The class is made when torch is there, once, and under a name that pickle finds."""
    made = type("TorchBatches", (_TorchBatches, base), {"__module__": __name__})
    globals()["TorchBatches"] = made
    return made


def __getattr__(name: str) -> Any:  # a spawned worker unpickles the class before it is made
    if name == "TorchBatches":
        data = optional_import("torch.utils.data", feature="BatchLoader.torch()", extra="torch")
        return _dataset_class(data.IterableDataset)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


class _TorchBatches:
    """See `torch_batches`."""

    def __init__(self, loader: BatchSource, device: Any) -> None:
        torch = optional_import("torch", feature="BatchLoader.torch()", extra="torch")
        self.loader = loader
        self.device = None if device is None else torch.device(device)
        self._counter = loader.share_epochs()
        self._in_worker = False  # whether a state was loaded by the worker that took it

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Generator[Any, None, None]:
        data = optional_import("torch.utils.data", feature="BatchLoader.torch()", extra="torch")
        _check_collation()
        info = data.get_worker_info()
        if info is None:
            _check_ranks(self.loader)
            return self._tensors(self.loader.iterate())
        if self.device is not None:
            message = (
                "torch(device=...) moves batches by itself: use it without DataLoader workers"
            )
            raise UsageError(message)
        epoch = self._counter.join(info.seed - info.id, info.num_workers)
        share = info.id
        if not self._in_worker:
            share = self.loader.share_of_worker(info.id, info.num_workers, epoch=epoch)
        batches = self.loader.iterate(epoch=epoch, worker=share, workers=info.num_workers)
        return self._tensors(batches)

    def _tensors(self, batches: Generator[Batch, None, None]) -> Generator[Any, None, None]:
        try:
            for batch in batches:
                yield to_tensors(batch, self.device)
        finally:
            batches.close()

    def state_dict(self) -> dict[str, Any]:
        """As `BatchLoader.state_dict`: the protocol of torchdata's StatefulDataLoader."""
        return self.loader.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As `BatchLoader.load_state_dict`.

        A StatefulDataLoader gives each worker its own state, and asks the right one first.
        """
        data = optional_import("torch.utils.data", feature="BatchLoader.torch()", extra="torch")
        self._in_worker = data.get_worker_info() is not None
        self.loader.load_state_dict(state)

    def __repr__(self) -> str:
        return f"<TorchBatches of {self.loader!r}>"


def _check_ranks(loader: BatchSource) -> None:
    """See that ranks that train together neither lose events nor see some twice.

    Raises:
        ShardError: accelerate hands out the batches of one rank to all.
    """
    distributed: Any = optional_import("torch.distributed", feature="ranks", extra="torch")
    if not distributed.is_available() or not distributed.is_initialized():
        return
    rank, world = distributed.get_rank(), distributed.get_world_size()
    if world > 1 and _is_dispatched():
        message = (
            "a loader that is given to accelerate's prepare() is read by rank 0, which sends each "
            "batch to all: a shard's events would be lost, and rows of a short last batch come "
            "twice; iterate over loader.shard(accelerator.process_index, "
            "accelerator.num_processes).torch() itself"
        )
        raise ShardError(message)
    if world > 1 and loader.world == 1:
        logger.warning(
            "this is rank %d of %d, and its loader is not sharded: each rank gets every event; "
            "use loader.shard(%d, %d)", rank, world, rank, world,
        )  # fmt: skip


def _check_collation() -> None:
    """See that a DataLoader does not make batches of batches.

    Raises:
        UsageError: It does: its `batch_size` is not None.
    """
    fetcher = _caller(*_FETCHER)
    if fetcher is not None and fetcher.auto_collation:
        message = (
            "this DataLoader would collate batches into batches of batches: the loader's batches "
            "are complete, so write DataLoader(loader.torch(), batch_size=None, ...)"
        )
        raise UsageError(message)


def _is_dispatched() -> bool:
    """Whether it is accelerate that iterates, on one rank for all."""
    return _caller(*_DISPATCHER) is not None


def _caller(module: str, name: str) -> Any:
    """The object of this class, one of whose methods is calling us; None if there is none."""
    frame = sys._getframe(1) if module in sys.modules else None
    while frame is not None:
        owner = frame.f_locals.get("self") if frame.f_globals.get("__name__") == module else None
        if type(owner).__name__ == name:
            return owner
        frame = frame.f_back
    return None


def to_tensors(batch: Batch, device: Any = None) -> Any:  # a tensor, a dict or a tuple
    """The parts of a batch as tensors that share its memory (on the CPU)."""
    torch = optional_import("torch", feature="BatchLoader.torch()", extra="torch")

    def tensor(array: np.ndarray[Any, Any]) -> Any:
        if array.dtype.name == "bfloat16":  # NumPy knows it by an extension that torch does not
            made = torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
        else:
            made = torch.from_numpy(array)
        if device is None or device.type == "cpu":
            return made
        return made.pin_memory().to(device, non_blocking=True)

    def inputs() -> Any:  # a tensor, or a dict of them
        if not isinstance(batch.x, dict):
            return None if batch.x is None else _parts("x", batch.x, tensor)
        return _named(batch.x, tensor)

    observers = batch.observers
    parts = [
        inputs(),
        None if batch.y is None else _parts("y", batch.y, tensor),
        None if batch.w is None else tensor(batch.w),
        None if observers is None else _named(observers, tensor),
    ]
    kept = [part for part in parts if part is not None]
    return kept[0] if len(kept) == 1 else tuple(kept)


def _named(values: Mapping[str, Any], tensor: Callable[[Any], Any]) -> dict[str, Any]:
    """One tensor or two per value, in one dict."""
    merged: dict[str, Any] = {}
    for name, value in values.items():
        part = _parts(name, value, tensor)
        merged.update(part if isinstance(part, dict) else {name: part})
    return merged


def _parts(name: str, value: Any, tensor: Any) -> Any:
    if isinstance(value, PaddedArray):
        return {name: tensor(value.values), f"{name}_mask": tensor(value.mask)}
    if isinstance(value, RaggedArray):
        return {name: tensor(value.values), f"{name}_offsets": tensor(value.offsets)}
    return tensor(value)
