"""Events for evaluation: a Dataset, streamed, or arrays in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rootml._internal.progress import track
from rootml._internal.types import Float
from rootml.batching import BatchLoader
from rootml.dataset import Dataset
from rootml.errors import (
    EmptySelectionError,
    MissingColumnError,
    NonFiniteError,
    SchemaError,
    nearest,
)
from rootml.sbi.estimator.inputs._samples import select_inputs

ROWS = 16_384


def chunks(
    data: Any, inputs: Sequence[str], names: Sequence[str], *, progress: bool | None = None
) -> Iterator[tuple[Float, Float | None]]:
    """Chunks of events in order: inputs `(rows, inputs)` and weights `(rows,)`, float64.

    Inputs are rounded to float32 first, as in training.

    Args:
        inputs: Columns or expressions of a Dataset.
        names: Their names in a dict of columns.

    Raises:
        MissingColumnError: A missing input.
        NonFiniteError: NaN or infinity in an input.
        EmptySelectionError: No events.
    """
    if isinstance(data, Dataset):
        yield from _stream(data, inputs, progress)
        return
    x = as_matrix(data, names)
    for start in range(0, len(x), ROWS):
        yield x[start : start + ROWS], None


def _stream(
    data: Dataset, inputs: Sequence[str], progress: bool | None
) -> Iterator[tuple[Float, Float | None]]:
    chosen = select_inputs(data, inputs, str(data)).with_label(None)
    rows = chosen.scan(progress=progress).num_rows
    if rows == 0:
        message = f"{data}: no event is selected"
        raise EmptySelectionError(message)
    size = min(ROWS, rows)
    loader = BatchLoader(
        chosen,
        size,
        inputs=list(chosen.columns),
        weights=chosen.has_weight,
        progress=progress,
    )
    batches = loader.iterate(epoch=0)
    try:
        for batch in track(batches, total=len(loader), what="ratios", enabled=progress):
            assert isinstance(batch.x, np.ndarray)
            w = None if batch.w is None else batch.w.astype(np.float64)
            yield batch.x.astype(np.float64), w
    finally:
        batches.close()


def as_matrix(data: Any, inputs: Sequence[str]) -> Float:
    """An array `(rows, inputs)`, or a dict of columns, rounded to float32, as float64."""
    if isinstance(data, Mapping):
        for name in inputs:
            if name not in data:
                message = f"no column {name!r} in the events; available: {nearest(name, data)}"
                raise MissingColumnError(message)
        arrays = [_numbers(data[name], f"the column {name!r}") for name in inputs]
        if len({array.shape for array in arrays}) > 1 or arrays[0].ndim != 1:
            shapes = ", ".join(f"{n} {a.shape}" for n, a in zip(inputs, arrays, strict=True))
            message = f"expected columns of one number per event and equal lengths, not {shapes}"
            raise SchemaError(message)
        data = np.stack(arrays, axis=1)
    x = _numbers(data, "the array of events")
    if x.ndim == 1 and len(inputs) == 1:
        x = x[:, None]
    if x.ndim != 2 or x.shape[1] != len(inputs):
        message = f"events of shape {x.shape}: expected (rows, {len(inputs)}) for {list(inputs)}"
        raise SchemaError(message)
    if len(x) == 0:
        message = "no events were given"
        raise EmptySelectionError(message)
    with np.errstate(over="ignore"):
        rounded = x.astype(np.float32).astype(np.float64)
    bad = ~np.isfinite(rounded)
    if bad.any():
        rows, columns = np.nonzero(bad)
        places = zip(rows[:3], columns[:3], strict=True)
        first = ", ".join(f"{inputs[j]} = {x[i, j]} in event {i}" for i, j in places)
        count = f"{int(bad.any(axis=1).sum()):,} of {len(x):,} events"
        message = f"{count} are not finite as float32: {first}"
        raise NonFiniteError(message)
    return rounded


def _numbers(given: Any, what: str) -> Float:
    try:
        return np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        message = f"{what} does not hold one number per event: {error}"
        raise SchemaError(message) from error
