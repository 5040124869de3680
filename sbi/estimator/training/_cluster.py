"""Long work on a Dask cluster, each part named for errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rootml.execution import completed as done_on_cluster

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class _Part(Generic[T]):
    """An item, and what it is called in errors."""

    item: T
    where: str


@dataclass(frozen=True)
class _OfItem:
    """A function of the item of a part."""

    function: Callable[[Any], Any]

    def __call__(self, part: _Part[Any]) -> Any:
        return self.function(part.item)


def completed(
    client: Any, function: Callable[[T], R], items: Sequence[T], *, what: Callable[[T], str]
) -> Iterator[tuple[T, R]]:
    """Call a function with each item on the workers; items and results as they are done.

    Args:
        client: A `distributed.Client`.
        function: Picklable, as its results must be.
        what: Describes an item in errors.

    Raises:
        ClusterError: The client is closed, work was given up, or its error is not one of ours.
        UsageError: The function cannot be pickled, or `client` is no Dask client.
    """
    parts = [_Part(item, what(item)) for item in items]
    for part, result in done_on_cluster(client, _OfItem(function), parts, what="training"):
        yield part.item, result
