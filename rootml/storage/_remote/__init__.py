"""Files behind ``root://``, ``https://`` and ``s3://``: only the bytes that are needed.

::

    RemoteFile   a `Source` of one URL: joins ranges, tries again, keeps metadata
      tasks      requests in threads, each with its tries
      http       ranges of a web server, one request per range
      s3         the same, signed
      xrootd     vector reads of an XRootD server
      cache      ranges on the local disk, the least recently used ones dropped

A transport knows one protocol and no patience: it raises a `Trouble` that says whether another try
may help. What it reads is checked against what the file was when it was opened.
"""

from __future__ import annotations

from rootml.storage._remote.file import RemoteFile
from rootml.storage._remote.options import Cache, Remote, check_remote
from rootml.storage._remote.tasks import in_turn, work_until
from rootml.storage._remote.trouble import Changed, Exhausted, Trouble
from rootml.storage._remote.urls import redact

__all__ = [
    "Cache",
    "Changed",
    "Exhausted",
    "Remote",
    "RemoteFile",
    "Trouble",
    "check_remote",
    "in_turn",
    "redact",
    "work_until",
]
