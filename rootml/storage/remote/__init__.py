"""Files behind ``root://``, ``https://`` and ``s3://``: only the bytes that are needed.

::

    RemoteFile   a `Source` of one URL: joins ranges, tries again, keeps metadata
      tasks      requests in threads, each with its tries
      http       ranges of a web server, one request per range
      s3         the same, signed
      xrootd     vector reads of an XRootD server
      cache      ranges on the local disk, the least recently used ones dropped

A transport knows one protocol and no patience: it raises a `TransportError` that says whether
another try may help. What it reads is checked against what the file was when it was opened.
"""

from __future__ import annotations

from rootml._internal.urls import redact
from rootml.storage.remote._file import RemoteFile
from rootml.storage.remote._options import Cache, Remote, check_remote
from rootml.storage.remote._tasks import in_turn, work_until
from rootml.storage.remote._transport_errors import Changed, Exhausted, TransportError

__all__ = [
    "Cache",
    "Changed",
    "Exhausted",
    "Remote",
    "RemoteFile",
    "TransportError",
    "check_remote",
    "in_turn",
    "redact",
    "work_until",
]
