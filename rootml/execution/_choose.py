"""Where work runs, from what a user says: ``client=`` or ``workers=``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from rootml._internal.validators import check_whole
from rootml.errors import UsageError
from rootml.execution._processes import ProcessExecutor
from rootml.execution._threads import Executor

T = TypeVar("T")
R = TypeVar("R")


def executor_for(*, client: Any = None, workers: int = 1, what: str) -> Executor | None:
    """The executor for arguments ``client=`` and ``workers=``; None: this process alone.

    Args:
        client: A `distributed.Client`.
        workers: Processes of this machine.
        what: The function that has these arguments, for errors.

    Raises:
        UsageError: Both of them, no whole number from 1, or no client.
        MissingPackageError: Dask is not installed.

    >>> executor_for(workers=1, what="an example") is None
    True
    """
    workers = check_whole("workers", workers, minimum=1)
    if client is None:
        return None if workers == 1 else ProcessExecutor(workers)
    if workers > 1:
        message = f"{what}: client= and workers={workers} both say where the work runs: give one"
        raise UsageError(message)
    from rootml.execution._dask import DaskExecutor

    return DaskExecutor(client, what=what)


def completed(
    client: Any, function: Callable[[T], R], items: Iterable[T], *, what: str
) -> Iterator[tuple[T, R]]:
    """Work that takes long on a cluster: items with their results, in the order they are done.

    Args:
        client: A `distributed.Client`.
        function: Picklable, as its results must be.
        items: Each has a text `where` for errors.
        what: What is done, for errors.

    Raises:
        ClusterError: The client is closed, work was given up, or its error is not one of ours.
        UsageError: The function cannot be pickled, or `client` is no Dask client.
    """
    from rootml.execution._dask import DaskExecutor

    yield from DaskExecutor(client, what="client=").completed(function, items, what=what)
