"""Work on a Dask cluster whose results are taken as soon as they are there."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from rootml._internal.optional import optional_import
from rootml.errors import ClusterError, RootmlError, UsageError, located

T = TypeVar("T")
R = TypeVar("R")

_LOST = (asyncio.CancelledError, concurrent.futures.CancelledError)
"""How Dask says that the client was closed, or its scheduler is gone."""


def completed(
    client: Any, function: Callable[[T], R], items: Sequence[T], *, what: Callable[[T], str]
) -> Iterator[tuple[T, R]]:
    """Call a function with each item on the workers; items and results as they are done.

    Work that is lost with its worker begins again on another one (Dask gives it up after
    ``distributed.scheduler.allowed-failures`` deaths).

    Args:
        client: A `distributed.Client`.
        function: Picklable, as its results must be.
        what: Describes an item in errors.

    Raises:
        ClusterError: The client is closed, work was given up, or its error is not one of ours.
        UsageError: The function cannot be pickled, or `client` is no Dask client.
    """
    distributed = optional_import("distributed", feature="client=", extra="dask")
    _check(client, distributed, function)
    keys = [f"rootml-training-{secrets.token_hex(8)}" for _ in items]
    futures = [
        client.submit(function, item, key=key, pure=False)
        for key, item in zip(keys, items, strict=True)
    ]
    places = dict(zip(keys, items, strict=True))
    try:
        for future in distributed.as_completed(futures, loop=client.loop):
            yield places[future.key], _result(future, what(places[future.key]))
    finally:
        if client.status == "running":
            client.cancel(futures)


def _check(client: Any, distributed: Any, function: Any) -> None:
    if not isinstance(client, distributed.Client):
        message = f"client={client!r:.80}: expected a distributed.Client"
        raise UsageError(message)
    if client.status != "running":
        message = f"client={client!r:.80}: it is {client.status}; make another one"
        raise ClusterError(message)
    try:  # what Dask itself sends functions with: the user's code to the user's own workers
        importlib.import_module("distributed.protocol.pickle").dumps(function)
    except Exception as error:
        message = f"this cannot be sent to the workers of a cluster: {error}"
        raise UsageError(message) from error


def _result(future: Any, where: str) -> Any:
    try:
        return future.result()
    except RootmlError as error:
        raise located(error, where) from error
    except (Exception, *_LOST) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        message = f"{where}: on the Dask cluster: {reason}"
        raise ClusterError(message) from error
    finally:
        future.release()
