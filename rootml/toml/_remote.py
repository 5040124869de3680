"""How remote files are read, as a table of TOML: without anything that is secret.

A file of datasets is passed around. So it holds no user, password, query or fragment of a URL (one
cannot tell a signature from another parameter), and of headers only the names; whoever reads it
gives their values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from rootml._internal.urls import is_remote
from rootml.errors import UsageError
from rootml.storage import Cache, Remote
from rootml.storage._paths import remote_of
from rootml.storage.remote import redact

_PLAIN = ("timeout", "retries", "backoff", "gap", "connections")
REMOTE = {*_PLAIN, "cache", "headers"}
CACHE = {"path", "limit"}

assert {field.name for field in fields(Remote)} == REMOTE, "a new option has to be written too"


def public(path: str, title: str) -> str:
    """A path or URL as it may be written.

    Raises:
        UsageError: A URL with what may be a secret.
    """
    if is_remote(path) and redact(path[:]) != path[:]:
        message = (
            f"{redact(path[:])!r} of {title} cannot be written as TOML: the URL has a user, a "
            "password or a query, and a file is passed around. Open the dataset without them, and "
            "give what the server asks for as Remote(headers=...), by a proxy of the grid, or by "
            "the environment that S3 knows"
        )
        raise UsageError(message)
    return path[:]  # of a `Url` the whole text


def options(paths: Iterable[str], title: str) -> Remote | None:
    """How the files of a sample are read; None: as by default.

    Raises:
        UsageError: In several ways, which the table of a sample cannot say.
    """
    found: list[Remote] = []
    for path in paths:
        remote = remote_of(path)
        if remote is not None and remote not in found:
            found.append(remote)
    if len(found) > 1:
        message = (
            f"{title} cannot be written as TOML: its files are read with different options, "
            f"{found[0]} and {found[1]}; open them apart, and unite the datasets with +"
        )
        raise UsageError(message)
    return None if not found or found[0] == Remote() else found[0]


def as_table(remote: Remote) -> dict[str, Any]:
    """What differs from the default; of headers the names."""
    default = Remote()
    facts = {name: getattr(remote, name) for name in _PLAIN}
    facts = {name: value for name, value in facts.items() if value != getattr(default, name)}
    if remote.cache is not None:
        facts["cache"] = {"path": str(remote.cache.path), "limit": remote.cache.limit}
    if remote.headers:
        facts["headers"] = sorted(remote.headers)
    return facts


def from_table(table: Mapping[str, Any], headers: Mapping[str, str]) -> Remote:
    """The inverse of `as_table`, with values for the headers that are named.

    Raises:
        UsageError: An invalid value, or a header without a value.
    """
    facts: dict[str, Any] = {name: table[name] for name in _PLAIN if name in table}
    if "cache" in table:
        facts["cache"] = Cache(**table["cache"])
    missing = [name for name in table.get("headers", ()) if name not in headers]
    if missing:
        message = (
            f"headers {missing} are sent with each request, and their values are in no file: "
            f"load(..., headers={{{missing[0]!r}: ...}})"
        )
        raise UsageError(message)
    return Remote(**facts, headers={name: headers[name] for name in table.get("headers", ())})
