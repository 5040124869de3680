"""Globs in URLs, where the protocol can list: ``root://`` and ``s3://``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from rootml._internal.urls import redact, scrub
from rootml.errors import UsageError
from rootml.storage.remote._options import Remote
from rootml.storage.remote._s3 import list_keys, split_s3
from rootml.storage.remote._tasks import retry
from rootml.storage.remote._transport_errors import Transient, TransportError
from rootml.storage.remote._xrootd import client_for

_SPECIAL = re.compile(r"[*\[]")
_STAT = 1  # XRootD.client.flags.DirListFlags.STAT
_DIRECTORY = 2  # XRootD.client.flags.StatInfoFlags.IS_DIR
_NOT_FOUND = 3011


def list_remote(pattern: str, options: Remote) -> list[str]:
    """The files that match a URL with ``*``, ``**`` or ``[...]`` in its path.

    Raises:
        TransportError: The server cannot be reached or refuses.
        UsageError: A protocol without listing.
    """
    scheme = urlsplit(pattern).scheme.lower()
    if scheme == "s3":
        return list(_objects(pattern, options))
    if scheme in {"root", "roots", "xroot", "xroots"}:
        return list(_files(pattern, options))
    message = (
        f"{redact(pattern)!r}: {scheme}:// cannot list files; name each of them "
        "(globs work with root:// and s3://)"
    )
    raise UsageError(message)


def matcher(pattern: str) -> re.Pattern[str]:
    """A glob over whole paths: ``*`` stays in its folder, ``**`` does not.

    >>> bool(matcher("a/*.root").fullmatch("a/b.root"))
    True
    >>> bool(matcher("a/*.root").fullmatch("a/b/c.root"))
    False
    >>> bool(matcher("a/**/c.root").fullmatch("a/c.root"))
    True
    """
    parts = []
    for segment in pattern.split("/"):
        if segment == "**":
            parts.append("(?:[^/]+/)*")
        else:
            body = fnmatch.translate(segment.replace("?", "[?]"))
            inner = re.sub(r"^\(\?s:|\)\\Z$|\)\\z$", "", body).replace(".*", "[^/]*")
            parts.append(inner + "/")
    text = "".join(parts)
    return re.compile(text.removesuffix("/") if text.endswith("/") else f"{text}[^/]+")


def _objects(pattern: str, options: Remote) -> Iterator[str]:
    bucket, wanted = split_s3(pattern)
    if _SPECIAL.search(bucket):
        message = f"{redact(pattern)!r}: the name of the bucket cannot be a pattern"
        raise UsageError(message)
    fits = matcher(wanted)
    for key in list_keys(bucket, _SPECIAL.split(wanted)[0], options):
        if fits.fullmatch(key):
            yield f"s3://{bucket}/{key}"


def _files(pattern: str, options: Remote) -> Iterator[str]:
    parts = urlsplit(pattern)
    path = "/" + parts.path.lstrip("/")
    fixed = path[: path.rindex("/", 0, _first_special(path)) + 1]
    system = client_for(pattern).FileSystem(f"{parts.scheme}://{parts.netloc}")
    fits = matcher(path)
    deepest = None if "**" in path else path.count("/")
    query = f"?{parts.query}" if parts.query else ""
    for found in _walk(system, fixed, deepest, pattern, options):
        if fits.fullmatch(found):
            yield f"{parts.scheme}://{parts.netloc}/{found}{query}"


def _first_special(path: str) -> int:
    match = _SPECIAL.search(path)
    return match.start() if match else len(path)


def _walk(
    system: Any, folder: str, deepest: int | None, url: str, options: Remote
) -> Iterator[str]:
    """Files below a folder, down to paths of `deepest` slashes."""

    def ask() -> list[Any]:
        timeout = max(1, round(options.timeout))
        status, found = system.dirlist(folder, _STAT, timeout=timeout)
        if status.ok:
            return list(found.dirlist)
        text = scrub(str(status.message).strip(), url)
        if status.errno == _NOT_FOUND:
            return []
        if status.errno:
            raise TransportError(text)
        raise Transient(text)

    for entry in retry(ask, options):
        path = f"{folder}{entry.name}"
        if entry.statinfo is not None and entry.statinfo.flags & _DIRECTORY:
            if deepest is None or path.count("/") < deepest:
                yield from _walk(system, f"{path}/", deepest, url, options)
        else:
            yield path
