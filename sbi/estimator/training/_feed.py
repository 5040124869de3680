"""Batches as tensors on the device that trains.

::

    prepare batch k + 1  ->  page-locked memory  ->  copy begins, not waited for
    train with batch k

Copies run beside the computation, since one batch is always under way. Without a GPU there is
nothing to copy, and tensors share the memory of the arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

Prepare: TypeAlias = "Callable[[Any, Any], tuple[Any, ...]]"
"""``prepare(batch, draws)``: NumPy arrays for a loss; `draws` is a generator of torch."""


class Feed:
    """Turns batches into tensors on a device."""

    def __init__(self, torch: Any, device: Any, prepare: Prepare) -> None:
        self._torch, self._device, self._prepare = torch, device, prepare
        self._pinned = device.type == "cuda"

    def tensors(self, batches: Iterable[Any], draws: Any) -> Iterator[tuple[tuple[Any, ...], int]]:
        """Tensors of each batch, and its number of events."""
        before = None
        for batch in batches:
            arrays = self._prepare(batch, draws)
            following = tuple(map(self._moved, arrays)), batch.num_rows
            if before is not None:
                yield before
            before = following
        if before is not None:
            yield before

    def _moved(self, array: Any) -> Any:
        tensor = self._torch.from_numpy(array)
        if self._pinned:
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)
