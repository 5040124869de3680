"""Output as tuples of NumPy arrays."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from rootml.batching.adapters._source import BatchSource


class NumpyBatches:
    """An iterable of ``x``, ``(x, y)`` or ``(x, y, w)``; every iteration is the next epoch."""

    def __init__(self, loader: BatchSource) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Any]:
        return tuples(self.loader.iterate())

    def __len__(self) -> int:
        return len(self.loader)

    def __repr__(self) -> str:
        return f"<NumpyBatches of {self.loader!r}>"


def tuples(batches: Generator[Any, None, None]) -> Generator[Any, None, None]:
    """Each batch as a tuple; closing this closes `batches`."""
    try:
        for batch in batches:
            yield batch.as_tuple()
    finally:
        batches.close()
