"""Files behind ``root://``, ``https://`` and ``s3://``: only the bytes that are needed.

::

    RemoteFile   a `Source` of one URL: joins ranges, caches metadata
      tasks      requests in threads, each of them retried
      transport  the interface of the protocols; `transports` chooses one, `mock` is for tests
      http       ranges of a web server, one request per range
      s3         the same, signed
      xrootd     vector reads of an XRootD server
      cache      ranges on the local disk; the least recently used ones are dropped

A transport knows one protocol and does not retry: it raises a `TransportError` that says whether
a retry may help. What it reads is checked against the state of the file when it was opened.
"""

from __future__ import annotations

from rootml._internal.urls import redact
from rootml.storage.remote._file import RemoteFile
from rootml.storage.remote._options import Cache, Remote, check_remote
from rootml.storage.remote._tasks import compute_slot, stop_retries_when
from rootml.storage.remote._transport_errors import Changed, Exhausted, TransportError

__all__ = [
    "Cache",
    "Changed",
    "Exhausted",
    "Remote",
    "RemoteFile",
    "TransportError",
    "check_remote",
    "compute_slot",
    "redact",
    "stop_retries_when",
]
