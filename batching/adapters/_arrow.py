"""Output as Arrow record batches and as awkward records."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from rootml.batching.adapters._source import BatchSource
from rootml.batching.inputs._batch import Batch, BatchSpec, PaddedArray, RaggedArray
from rootml.errors import UnsupportedTypeError

if TYPE_CHECKING:
    import pyarrow as pa


class ArrowBatches:
    """An iterable of ``pyarrow.RecordBatch``; every iteration is the next epoch.

    Columns: the features, targets (``label`` for labels), ``weight``, and the observers, by name.
    Padded features are fixed-size lists, with null past the end; ragged ones are lists.
    """

    def __init__(self, loader: BatchSource) -> None:
        self.loader = loader

    def __iter__(self) -> Generator[Any, None, None]:
        import pyarrow as pa

        for record in _records(self.loader):
            yield pa.RecordBatch.from_arrays(
                [_to_arrow(pa, values) for values in record.values()], names=list(record)
            )

    def reader(self) -> pa.RecordBatchReader:
        """One epoch as a ``pyarrow.RecordBatchReader``."""
        import pyarrow as pa

        batches = iter(self)
        first = next(batches)

        def chained() -> Iterator[Any]:
            yield first
            yield from batches

        return pa.RecordBatchReader.from_batches(first.schema, chained())

    def __len__(self) -> int:
        return len(self.loader)

    def __repr__(self) -> str:
        return f"<ArrowBatches of {self.loader!r}>"


class AwkwardBatches:
    """An iterable of awkward record arrays; every iteration is the next epoch.

    Fields as in `ArrowBatches`; padded and ragged features are lists of their true lengths (padded
    ones cut to their length).
    """

    def __init__(self, loader: BatchSource) -> None:
        self.loader = loader

    def __iter__(self) -> Generator[Any, None, None]:
        for record in _records(self.loader):
            yield ak.zip(
                {name: _to_awkward(values) for name, values in record.items()}, depth_limit=1
            )

    def __len__(self) -> int:
        return len(self.loader)

    def __repr__(self) -> str:
        return f"<AwkwardBatches of {self.loader!r}>"


def _records(loader: BatchSource) -> Generator[dict[str, Any], None, None]:
    batches = loader.iterate()
    try:
        for batch in batches:
            yield _record(loader.spec, batch)
    finally:
        batches.close()


def _record(spec: BatchSpec, batch: Batch) -> dict[str, Any]:
    """The columns of a batch by name; a name that is there already gets the input's before it."""
    record: dict[str, Any] = {}

    def add(prefix: str, name: str, values: Any) -> None:
        record[f"{prefix}.{name}" if name in record else name] = values

    for item in spec.inputs:
        value = batch.x[item.name] if isinstance(batch.x, dict) else batch.x
        for j, feature in enumerate(item.features):
            add(item.name, feature, _feature(value, j))
    if spec.target_list is not None:
        for j, name in enumerate(spec.target_list.features):
            add("target", name, _feature(batch.y, j))
    elif batch.y is not None and spec.targets:
        columns = batch.y[:, None] if batch.y.ndim == 1 else batch.y
        names = spec.target_names
        for j, name in enumerate(names):
            add("target", name, columns[:, j])
    if batch.w is not None:
        add("batch", "weight", batch.w)
    lists = {item.name: item for item in spec.observed_lists}
    for name, values in (batch.observers or {}).items():
        if name not in lists:
            add("observer", name, values)
            continue
        features = lists[name].features
        for j, feature in enumerate(features):
            add(name, name if len(features) == 1 else feature, _feature(values, j))
    return record


def _feature(value: Any, j: int) -> Any:
    if isinstance(value, PaddedArray):
        return PaddedArray(value.values[:, :, j], value.mask)
    if isinstance(value, RaggedArray):
        return RaggedArray(value.values[:, j], value.offsets)
    return value[:, j]


def _to_arrow(pa: Any, values: Any) -> Any:
    array = values if isinstance(values, np.ndarray) else values.values
    if array.dtype.name == "bfloat16":
        message = "Arrow has no bfloat16: use dtype='float16' or 'float32'"
        raise UnsupportedTypeError(message)
    if isinstance(values, PaddedArray):
        length = values.mask.shape[1]
        flat = pa.array(
            np.ascontiguousarray(values.values).reshape(-1), mask=~values.mask.reshape(-1)
        )
        return pa.FixedSizeListArray.from_arrays(flat, length)
    if isinstance(values, RaggedArray):
        content = pa.array(np.ascontiguousarray(values.values))
        return pa.LargeListArray.from_arrays(pa.array(values.offsets), content)
    if values.ndim > 1:
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(values.shape[1:])))
    return pa.array(np.ascontiguousarray(values))


def _to_awkward(values: Any) -> Any:
    if isinstance(values, PaddedArray):
        return ak.unflatten(values.values[values.mask], values.mask.sum(axis=1))
    if isinstance(values, RaggedArray):
        return ak.unflatten(np.ascontiguousarray(values.values), np.diff(values.offsets))
    return values
