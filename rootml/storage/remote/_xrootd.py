"""Vector reads from XRootD servers.

One vector read per unit, of at most 1024 ranges of 2 MB (the limits of the protocol's reference
server). The client library would wait for minutes before it tries a server again that was gone;
it is configured not to, unless the environment says otherwise (XRD_CONNECTIONWINDOW and the like):
trying again is our business. While a vector is read, the file's state is asked for beside it.

Credentials (X.509 proxies, tokens, Kerberos) are the library's, found as `xrdcp` finds them.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rootml._internal.optional import optional_import
from rootml._internal.urls import redact, scrub
from rootml.errors import UsageError
from rootml.execution import ProcessLock
from rootml.storage._blocks import Buffer
from rootml.storage.remote._options import Remote
from rootml.storage.remote._transport import Piece, Stat
from rootml.storage.remote._transport_errors import Changed, Transient, TransportError

if TYPE_CHECKING:
    from types import ModuleType

_MAX_RANGES = 1024
_MAX_BYTES = 2 << 20
_RANGE = _MAX_BYTES - 16
_BATCH = 64 << 20
_MAX_HANDLES = 64
_READ = 0x10  # XRootD.client.flags.OpenFlags.READ

_ENVIRONMENT = {
    "ConnectionWindow": 10,
    "ConnectionRetry": 1,
    "StreamErrorWindow": 0,
    "TimeoutResolution": 1,
}
_NOT_FOUND = 3011
_FINAL = {3000, 3006, 3010, 3013, 3016, 3028, 3030}
"""Bad argument or request, not authorised, unsupported, a directory, no TLS, no authentication."""
_AUTH_FAILED = 204

_lock = ProcessLock()
_handles: OrderedDict[int, XRootDTransport] = OrderedDict()
_numbers = itertools.count()
_set_up: list[int] = []


def client_for(url: str) -> ModuleType:
    """The client library, set to leave retries to us."""
    with _lock, _own_symbols():
        client = optional_import("XRootD.client", feature=f"reading {redact(url)}", extra="xrootd")
        if not _set_up:
            for name, value in _ENVIRONMENT.items():
                if f"XRD_{name.upper()}" not in os.environ:
                    client.EnvPutInt(name, value)
            _set_up.append(1)
    return client


@contextmanager
def _own_symbols() -> Iterator[None]:
    """Load the client so that it uses the libraries that it came with, whoever came before.

    TensorFlow and ROOT (its own XRootD client) bring functions of the same names; with these a
    client that was imported after them ended the process.
    """
    before = sys.getdlopenflags()
    sys.setdlopenflags(before | getattr(os, "RTLD_DEEPBIND", 0))
    try:
        yield
    finally:
        sys.setdlopenflags(before)


class XRootDTransport:
    """One file on an XRootD server; the handle is kept open while it is among the latest used."""

    verifies = True

    def __init__(self, url: str, options: Remote) -> None:
        parts = urlsplit(url)
        if not parts.hostname or not parts.path.strip("/"):
            message = f"{redact(url)!r}: a file is root://host[:port]//path"
            raise UsageError(message)
        self._client = client_for(url)
        self._url = url
        self._path = parts.path[1:] + (f"?{parts.query}" if parts.query else "")
        self._timeout = max(1, math.ceil(options.timeout))
        self._number = next(_numbers)
        self._lock = ProcessLock()
        self._file: Any = None
        self._process = os.getpid()
        self.identity = redact(url)

    # --- what a transport does ----------------------------------------------------------------

    def open(self) -> tuple[Stat, bytes]:
        self._handle()
        return self._stat(), b""

    def batches(self, pieces: Sequence[Piece]) -> list[list[Piece]]:
        found: list[list[Piece]] = []
        ranges = size = 0
        for start, stop in pieces:
            more = -(-(stop - start) // _RANGE)
            if not found or ranges + more > _MAX_RANGES or size + stop - start > _BATCH:
                found.append([])
                ranges = size = 0
            found[-1].append((start, stop))
            ranges, size = ranges + more, size + stop - start
        return found

    def read(self, batch: Sequence[Piece], stat: Stat) -> list[Buffer]:
        del stat
        file = self._handle()
        wanted = [
            [(at, min(_RANGE, stop - at)) for at in range(start, stop, _RANGE)]
            for start, stop in batch
        ]
        flat = [chunk for chunks in wanted for chunk in chunks]
        try:
            status, found = file.vector_read(flat, timeout=self._timeout)
        except ValueError:  # another thread had an error, and closed it
            message = "the connection was lost"
            raise Transient(message) from None
        self._check(status)
        buffers = iter([chunk.buffer for chunk in found.chunks])
        result: list[Buffer] = []
        for (start, stop), chunks in zip(batch, wanted, strict=True):
            parts = list(itertools.islice(buffers, len(chunks)))
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            if len(data) != stop - start:
                message = f"{len(data)} bytes came instead of {stop - start}"
                raise Transient(message)
            result.append(data)
        return result

    def verify(self, stat: Stat) -> None:
        now = self._stat()
        if now != stat:
            message = (
                f"it has changed on the server since it was opened: {stat.size:,} bytes then, "
                f"{now.size:,} now; modified {(now.modified - stat.modified) / 1e9:+.0f} s apart"
            )
            raise Changed(message)

    def close(self) -> None:
        with self._lock:
            self._drop()
        with _lock:
            _handles.pop(self._number, None)

    # --- handles ------------------------------------------------------------------------------

    def _handle(self) -> Any:
        """The open file, opened if need be."""
        with self._lock:
            if self._process != os.getpid():  # the connections stayed behind in the parent
                self._file, self._process = None, os.getpid()
            if self._file is None or not self._file.is_open():
                file = self._client.File()
                status, _ = file.open(self._url, _READ, timeout=self._timeout)
                self._check(status)
                self._file = file
            file = self._file
        self._remember()
        return file

    def _remember(self) -> None:
        with _lock:
            _handles[self._number] = self
            _handles.move_to_end(self._number)
            old = list(_handles.values())[:-_MAX_HANDLES]
            for each in old:
                _handles.pop(each._number)
        for each in old:
            each.close()

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None and self._process == os.getpid():
            file.close(timeout=1, callback=_ignore)

    def _stat(self) -> Stat:
        system = self._client.FileSystem(self._url)
        status, found = system.stat(self._path, timeout=self._timeout)
        self._check(status)
        return Stat(int(found.size), int(found.modtime) * 10**9, str(found.id))

    def _check(self, status: Any) -> None:
        """Raise what the library reports as a transport error; drop a handle that failed."""
        if status.ok:
            return
        text = scrub(str(status.message).strip(), self._url)
        if status.errno == _NOT_FOUND:
            raise FileNotFoundError(text)
        if status.errno in _FINAL or status.code == _AUTH_FAILED:
            raise TransportError(text)
        with self._lock:
            self._drop()
        raise Transient(text)


def _ignore(*_: Any) -> None:
    """The end of a handle that was dropped is not waited for."""
