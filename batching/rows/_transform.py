"""The user's function on batches, with random numbers that belong to the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from rootml.batching.inputs._batch import Batch, PaddedArray, RaggedArray
from rootml.batching.order._rng import Purpose, generator
from rootml.errors import SchemaError, UsageError

Transform: TypeAlias = Callable[[Batch, np.random.Generator], Batch]


@dataclass(frozen=True, slots=True)
class BatchTransform:
    """Calls `function` on the batches of one worker of one rank in one epoch.

    Attributes:
        part: How often the epoch was shared out anew before.
    """

    function: Transform
    seed: int
    epoch: int
    part: int
    rank: int
    worker: int
    workers: int

    def __call__(self, batch: Batch, number: int) -> Batch:
        """The transformed batch, number `number` of this worker.

        Raises:
            UsageError: The function does not return a Batch.
            SchemaError: It returns another number of rows, or arrays of other shapes or dtypes.
        """
        index = (self.part << 56) + (self.rank << 40) + number * self.workers + self.worker
        before = _structure(batch)
        rng = generator(self.seed, self.epoch, Purpose.TRANSFORM, index)
        result: Any = self.function(batch, rng)
        if not isinstance(result, Batch):
            message = f"transform must return a rootml.batching.Batch, not {type(result).__name__}"
            raise UsageError(message)
        after = _structure(result)
        if after != before:
            changed = [name for name in before | after if before.get(name) != after.get(name)]
            name = changed[0]
            message = (
                f"transform must keep shapes and dtypes: {name} was {before.get(name)}, "
                f"it became {after.get(name)}"
            )
            raise SchemaError(message)
        return result


def _structure(batch: Batch) -> dict[str, Any]:
    """Shape and dtype of all parts of a batch; the number of list elements may change."""
    found: dict[str, Any] = {"num_rows": batch.num_rows}
    x = batch.x if isinstance(batch.x, dict) else {"x": batch.x}
    for name, value in x.items():
        found[f"input {name}"] = _shape(value)
    found |= {"y": _shape(batch.y), "w": _shape(batch.w)}
    for name, value in (batch.observers or {}).items():
        found[f"observer {name}"] = _shape(value)
    return found


def _shape(value: Any) -> Any:
    if isinstance(value, PaddedArray):
        return ("padded", value.values.shape, value.values.dtype, value.mask.shape)
    if isinstance(value, RaggedArray):
        return ("ragged", len(value), value.values.shape[1:], value.values.dtype)
    return None if value is None else (value.shape, value.dtype)
