"""What a user may set about remote files: timeouts, retries, the cache."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rootml._internal.sizes import parse_bytes
from rootml._internal.validators import check_whole
from rootml.errors import UsageError

_MAX_CONNECTIONS = 256


@dataclass(frozen=True)
class Cache:
    """A folder on a local disk that caches the bytes read from remote files.

    Several processes may use it at the same time. What is kept belongs to one state of a file
    (its size, and its ETag or modification time): a file that changed is read anew. A file of
    which the server tells neither is not kept.

    Args:
        path: The folder; made if need be, readable for its owner only. Not on a network disk:
            the locks of SQLite have to work there.
        limit: The maximum number of bytes that it may hold; those used least recently go first.

    >>> Cache("/tmp/cache", limit="10 GB").bytes
    10000000000
    """

    path: str | os.PathLike[str]
    limit: int | str = "10 GB"

    def __post_init__(self) -> None:
        path: Any = self.path
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            message = f"Cache takes the path of a folder, not {path!r}"
            raise UsageError(message)
        object.__setattr__(self, "path", os.path.abspath(os.fspath(path)))  # noqa: PTH100
        parse_bytes(self.limit, "limit")

    @property
    def bytes(self) -> int:
        """The limit as a number."""
        return parse_bytes(self.limit, "limit")


@dataclass(frozen=True)
class Remote:
    """How remote files are read; for ``rootml.open(..., remote=Remote(...))``.

    Args:
        timeout: Seconds that one request may take, connecting included.
        retries: How often a failed request is repeated if that may help: after a lost or refused
            connection, a timeout, or an answer such as 503.
        backoff: Seconds to wait before the first retry. Each further wait is twice as long, up to
            30 s, and is multiplied by a random factor from 0.5 to 1.5, so that many readers do
            not retry at the same moment. A longer wait that the server asks for is respected.
        gap: Two ranges with at most so many bytes between them are read with one request. All gaps
            together stay below 5% of the bytes that are needed.
        connections: Requests of this process that run at the same time. A loader reads a quarter
            as many units ahead.
        cache: Where to store the bytes that were read; None: no cache.
        headers: Sent with each request to web servers, e.g. an Authorization. Never shown.

    >>> Remote(timeout=20, retries=3)
    Remote(timeout=20, retries=3, backoff=0.5, gap='16 kB', connections=64, cache=None)
    """

    timeout: float = 60.0
    retries: int = 6
    backoff: float = 0.5
    gap: int | str = "16 kB"
    connections: int = 64
    cache: Cache | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        _check_number("timeout", self.timeout, above=0)
        _check_number("backoff", self.backoff)
        check_whole("retries", self.retries, minimum=0, maximum=100)
        check_whole("connections", self.connections, minimum=1, maximum=_MAX_CONNECTIONS)
        if self.gap != 0:
            parse_bytes(self.gap, "gap")
        cache: Any = self.cache
        if cache is not None and not isinstance(cache, Cache):
            message = f"cache must be a Cache(path, limit=...) or None, not {cache!r}"
            raise UsageError(message)
        texts: list[Any] = [*self.headers, *self.headers.values()]
        if not all(isinstance(text, str) and text.isprintable() for text in texts):
            message = "headers must be {name: value}, both of them printable text"
            raise UsageError(message)

    @property
    def units_ahead(self) -> int:
        """Units that are read at the same time: each may need several requests."""
        return max(1, self.connections // 4)

    @property
    def gap_bytes(self) -> int:
        """The largest gap as a number."""
        return 0 if self.gap == 0 else parse_bytes(self.gap, "gap")


def check_remote(remote: Any) -> Remote:
    """The options that a user gave, or the default ones.

    Raises:
        UsageError: Something else.
    """
    if remote is None:
        return Remote()
    if not isinstance(remote, Remote):
        message = f"remote must be rootml.storage.Remote(...) or None, not {remote!r}"
        raise UsageError(message)
    return remote


def _check_number(name: str, value: Any, above: float | None = None) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or value == above:
        expected = "a positive number" if above is not None else "a number that is not negative"
        message = f"{name}={value!r}: expected {expected} of seconds"
        raise UsageError(message)
