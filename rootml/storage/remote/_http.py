"""Ranges of files on web servers.

A unit is one request for many ranges, where the server can answer that (XRootD, dCache, nginx and
Apache can); else every range is a request of its own, many at a time. That is found out with the
first unit, per server. Opening a file asks for its first bytes: that tells its size and state, and
whether the server knows ranges at all. One that sends the whole file instead is refused; nothing
would be slower in silence.

Every answer is compared with what the file was: the size in Content-Range, ETag, Last-Modified; a
strong ETag is also sent along (If-Match), so that a changed file is never begun to be sent.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from rootml._internal.optional import optional_import
from rootml._internal.urls import redact, scrub
from rootml.errors import RootmlError
from rootml.execution import ProcessLock
from rootml.storage._blocks import Buffer
from rootml.storage.remote._options import Remote
from rootml.storage.remote._transport import Piece, Stat
from rootml.storage.remote._transport_errors import Changed, Transient, TransportError

logger = logging.getLogger(__name__)

HEAD = 4096
_MAX_RANGES = 64  # headers of 8 kB are refused by many
_MAX_BYTES = 16 << 20
_REDIRECTS = 8
_SAVE = 1 << 20
RETRYABLE = {408, 425, 429, 500, 502, 503, 504}
_OK, _PARTIAL, _FORBIDDEN, _UNAUTHORISED = 200, 206, 403, 401
_MISSING, _GONE, _NO_MATCH, _NO_RANGE = 404, 410, 412, 416
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PART_RANGE = re.compile(rb"(?im)^content-range:\s*bytes (\d+)-(\d+)/(\d+)\s*$")
_BOUNDARY = re.compile(r"multipart/byteranges\s*;.*?boundary=\"?([^\";]+)", re.IGNORECASE)

_lock = ProcessLock()
_managers: dict[tuple[int, int, str], Any] = {}
_single: set[str] = set()
"""Servers that do not answer several ranges at a time."""


def _manager(connections: int, proxy: str) -> Any:
    """The connections of this process; none of those of a forking parent."""
    urllib3 = optional_import("urllib3", feature="reading https:// and s3://", extra="remote")
    key = (os.getpid(), connections, proxy)
    with _lock:
        if key not in _managers:
            how: dict[str, Any] = {"maxsize": connections, "ssl_context": _trust()}
            make = urllib3.PoolManager
            _managers[key] = urllib3.ProxyManager(proxy, **how) if proxy else make(**how)
        return _managers[key]


def _trust() -> ssl.SSLContext:
    """Certificates of the system (SSL_CERT_FILE, SSL_CERT_DIR), and the grid's (X509_CERT_DIR)."""
    context = ssl.create_default_context()
    folder = os.environ.get("X509_CERT_DIR")
    if folder:
        context.load_verify_locations(capath=folder)
    return context


def _proxy(url: str) -> str:
    """The proxy that the environment names for a URL, or ""."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return ""
    return urllib.request.getproxies().get(parts.scheme.lower(), "")


class HttpTransport:
    """One file on a web server."""

    verifies = False
    several = True
    """Whether several ranges may be asked for with one request."""

    def __init__(self, url: str, options: Remote) -> None:
        self._options = options
        self._headers = dict(options.headers)
        parts = urlsplit(url)
        user, _, host = parts.netloc.rpartition("@")
        if user:
            name, _, password = user.partition(":")
            urllib3 = optional_import("urllib3", feature=f"reading {redact(url)}", extra="remote")
            basic = urllib3.util.make_headers(basic_auth=f"{unquote(name)}:{unquote(password)}")
            self._headers |= {"Authorization": basic["authorization"]}
        self._url = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
        self.identity = redact(url)
        self._server = f"{parts.scheme}://{host}"
        self._proxy = _proxy(self._url)
        _manager(options.connections, self._proxy)  # say at once that a package is missing

    # --- what a transport does ----------------------------------------------------------------

    def open(self) -> tuple[Stat, bytes]:
        with self._ask("GET", {"Range": f"bytes=0-{HEAD - 1}"}) as (answer, deadline):
            if answer.status == _NO_RANGE:  # of an empty file no range can be had
                return Stat(0, 0, ""), b""
            size, length = self._extent(answer, 0, HEAD)
            data = _body(answer, length, deadline)
            mark = _modified(answer.headers), answer.headers.get("ETag", "")
            return Stat(size, *mark), bytes(data)

    def batches(self, pieces: Sequence[Piece]) -> list[list[Piece]]:
        found: list[list[Piece]] = []
        together = self.several and self._server not in _single
        size = 0
        for start, stop in pieces:
            full = found and (len(found[-1]) == _MAX_RANGES or size + stop - start > _MAX_BYTES)
            if not found or not together or full:
                found.append([])
                size = 0
            found[-1].append((start, stop))
            size += stop - start
        return found

    def read(self, batch: Sequence[Piece], stat: Stat) -> list[Buffer]:
        if len(batch) > 1 and self._server not in _single:
            found = self._read_several(batch, stat)
            if found is not None:
                return found
            logger.info("%s answers one range at a time: as many requests are made", self._server)
            _single.add(self._server)
        return [self._read(piece, stat) for piece in batch]

    def verify(self, stat: Stat) -> None: ...

    def close(self) -> None: ...

    # --- one request --------------------------------------------------------------------------

    @contextmanager
    def _ask_for(self, ranges: str, stat: Stat) -> Iterator[tuple[Any, float]]:
        """Ask for ranges of the file that was opened, not of another one."""
        headers = {"Range": f"bytes={ranges}"}
        if stat.tag and not stat.tag.startswith("W/"):
            headers["If-Match"] = stat.tag
        with self._ask("GET", headers) as (answer, deadline):
            if answer.status == _NO_MATCH or (answer.status == _NO_RANGE and "," not in ranges):
                message = f"it has changed on the server since it was opened ({answer.status})"
                raise Changed(message)
            yield answer, deadline

    def _read_several(self, batch: Sequence[Piece], stat: Stat) -> list[Buffer] | None:
        """All pieces with one request; None, where the server does not answer that."""
        ranges = ",".join(f"{start}-{stop - 1}" for start, stop in batch)
        try:
            with self._ask_for(ranges, stat) as (answer, deadline):
                boundary = _BOUNDARY.search(answer.headers.get("Content-Type", ""))
                if answer.status != _PARTIAL or boundary is None:
                    return None
                body = _body(answer, _length(answer), deadline)
                mark = _modified(answer.headers), answer.headers.get("ETag", "")
        except (Transient, Changed):
            raise
        except (
            TransportError
        ):  # several ranges are refused; if it is more than that, one will be too
            return None
        parts = []
        for start, data, size in _parts(body, boundary[1].strip().encode("latin-1")):
            _compare(stat, Stat(size, *mark))
            parts.append((start, data))
        found = [_cut_out(parts, piece) for piece in batch]
        return [data for data in found if data is not None] if None not in found else None

    def _read(self, piece: Piece, stat: Stat) -> Buffer:
        start, stop = piece
        with self._ask_for(f"{start}-{stop - 1}", stat) as (answer, deadline):
            size, length = self._extent(answer, start, stop)
            now = Stat(size, _modified(answer.headers), answer.headers.get("ETag", ""))
            _compare(stat, now)
            if length != stop - start:
                message = f"{length} bytes came instead of {stop - start}"
                raise Transient(message)
            return _body(answer, length, deadline)

    def _extent(self, answer: Any, start: int, stop: int) -> tuple[int, int]:
        """The size of the file, and how many bytes from `start` on are coming."""
        if answer.status == _PARTIAL:
            found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
            if found is None or int(found[1]) != start:
                message = "the server answers with another range than the one asked for"
                raise TransportError(message)
            return int(found[3]), int(found[2]) + 1 - start
        length = answer.headers.get("Content-Length", "")
        if answer.status == _OK and start == 0 and length.isdigit() and int(length) <= stop:
            return int(length), int(length)  # all of a small file
        message = (
            "the server ignores ranges: it would send the whole file"
            + (f" of {int(length):,} bytes" if length.isdigit() else "")
            + " for every read; copy the file, or ask for a server that honours Range"
        )
        raise TransportError(message)

    def _prepare(self, method: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """URL and headers to send."""
        del method
        return self._url, {**self._headers, **headers}

    @contextmanager
    def _ask(self, method: str, headers: Mapping[str, str]) -> Iterator[tuple[Any, float]]:
        """Send a request: the answer, and when it has to be complete.

        Raises:
            Transient: No answer, or one that may be another later.
            TransportError: Refused.
            FileNotFoundError: No such file.
        """
        urllib3 = optional_import("urllib3", feature="reading https:// and s3://", extra="remote")
        url, headers = self._prepare(method, headers)
        deadline = time.monotonic() + self._options.timeout
        with _translated(urllib3, self._url, self._options.timeout):
            answer = _manager(self._options.connections, self._proxy).request(
                method,
                url,
                headers={"Accept-Encoding": "identity", "User-Agent": "rootml", **headers},
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(total=self._options.timeout),
                retries=urllib3.Retry(
                    total=_REDIRECTS,
                    connect=0,
                    read=0,
                    other=0,
                    status=0,
                    redirect=_REDIRECTS,
                    respect_retry_after_header=False,  # we do
                    remove_headers_on_redirect=[*self._headers, "Authorization", "Cookie"],
                ),
            )
            try:
                _check_status(answer)
                yield answer, deadline
            finally:
                if answer.length_remaining == 0:
                    answer.release_conn()
                else:
                    answer.close()  # what is left is not worth waiting for


@contextmanager
def _translated(urllib3: Any, url: str, timeout: float) -> Iterator[None]:
    """Turn what urllib3 and the system raise into transport errors."""
    known = urllib3.exceptions
    try:
        yield
    except (TransportError, RootmlError, FileNotFoundError):
        raise
    except known.MaxRetryError as error:
        raise _transport_error(known, error.reason or error, url, timeout) from None
    except (known.HTTPError, OSError, ValueError) as error:
        raise _transport_error(known, error, url, timeout) from None


def _transport_error(known: Any, error: BaseException, url: str, timeout: float) -> TransportError:
    if isinstance(error, (known.TimeoutError, TimeoutError)):
        return Transient(f"no complete answer within {timeout:g} s")
    text = scrub(str(error), url)
    text = re.sub(r"<[^<>]*>:? ?|HTTPS?Connection(Pool)?\([^()]*\):? ?", "", text)
    final = (known.SSLError, known.LocationValueError, known.ResponseError, ssl.SSLError)
    if isinstance(error, final) and "EOF" not in text:
        return TransportError(f"{type(error).__name__}: {text}")
    return Transient(f"{type(error).__name__}: {text}")


def _check_status(answer: Any) -> None:
    status = answer.status
    if status in {_OK, _PARTIAL, _NO_MATCH, _NO_RANGE}:
        return
    if status in {_MISSING, _GONE}:
        message = f"the server says {status}: no such file"
        raise FileNotFoundError(message)
    if status in RETRYABLE:
        after = answer.headers.get("Retry-After", "").strip()
        message = f"the server says {status} {answer.reason or ''}".strip()
        raise Transient(message, float(after) if after.isdigit() else 0.0)
    hint = ""
    if status in {_FORBIDDEN, _UNAUTHORISED}:
        hint = "; are the credentials there, and not expired?"
    elif "x-amz-bucket-region" in answer.headers:
        hint = f"; the bucket is in AWS_REGION={answer.headers['x-amz-bucket-region']}"
    message = f"the server refuses: {status} {answer.reason or ''}".strip() + hint
    raise TransportError(message)


def _body(answer: Any, length: int, deadline: float) -> bytearray:
    """Exactly `length` bytes, piecewise: a server that trickles must not outlive the deadline."""
    data = bytearray(length)
    at = 0
    while at < length:
        part = answer.read1(min(_SAVE, length - at))
        if not part:
            message = f"the connection ended after {at} of {length} bytes"
            raise Transient(message)
        data[at : at + len(part)] = part
        at += len(part)
        if at < length and time.monotonic() > deadline:
            message = "no complete answer within the time limit"
            raise Transient(message)
    return data


def _length(answer: Any) -> int:
    length = answer.headers.get("Content-Length", "")
    if not length.isdigit():
        message = "an answer of unknown length"
        raise Transient(message)
    return int(length)


def _parts(body: bytearray, boundary: bytes) -> Iterator[tuple[int, memoryview, int]]:
    """Position, bytes and size of the file of each part of a multipart answer (RFC 9110, 14.6).

    Raises:
        Transient: It is not what such an answer is.
    """
    view, at = memoryview(body), 0
    delimiter = b"--" + boundary
    while True:
        begin = body.find(delimiter, at) + len(delimiter)
        if body[begin : begin + 2] == b"--":
            return
        end = body.find(b"\r\n\r\n", begin)
        stated = _PART_RANGE.search(body[begin:end].replace(b"\r", b""))
        if begin < len(delimiter) or end < 0 or stated is None:
            message = "an answer of several ranges that is damaged"
            raise Transient(message)
        first, last, size = map(int, stated.groups())
        at = end + 4 + last + 1 - first
        yield first, view[end + 4 : at], size


def _cut_out(parts: Sequence[tuple[int, memoryview]], piece: Piece) -> memoryview | None:
    """A piece from the parts, which a server may have joined or sorted; None: left out."""
    start, stop = piece
    for first, data in parts:
        if first <= start and stop <= first + len(data):
            return data[start - first : stop - first]
    return None


def _modified(headers: Mapping[str, str]) -> int:
    """Last-Modified in ns, 0 where it is missing or not a date."""
    try:
        return int(parsedate_to_datetime(headers.get("Last-Modified", "")).timestamp()) * 10**9
    except ValueError:
        return 0


def _compare(was: Stat, now: Stat) -> None:
    """Check that an answer belongs to the file that was opened."""
    what: list[tuple[str, Callable[[Stat], object]]] = [
        ("bytes", lambda stat: stat.size),
        ("ETag", lambda stat: stat.tag),
        ("modification time", lambda stat: stat.modified),
    ]
    for name, part in what:
        if part(was) != part(now):
            message = (
                f"it has changed on the server since it was opened: {name} {part(was)} then, "
                f"{part(now)} now"
            )
            raise Changed(message)
