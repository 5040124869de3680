"""Which transport reads a URL; its packages are imported only when a URL needs them."""

from __future__ import annotations

from urllib.parse import urlsplit

from rootml._internal.urls import redact
from rootml.errors import UsageError
from rootml.storage.remote._options import Remote
from rootml.storage.remote._transport import Transport


def transport_for(url: str, options: Remote) -> Transport:
    """The transport for a URL; a missing package is an error that names the extra.

    Raises:
        UsageError: An unknown scheme.
        MissingPackageError: `urllib3` or `XRootD` is not installed.
    """
    scheme = urlsplit(url).scheme.lower()
    if scheme in {"http", "https"}:
        from rootml.storage.remote._http import HttpTransport

        return HttpTransport(url, options)
    if scheme == "s3":
        from rootml.storage.remote._s3 import S3Transport

        return S3Transport(url, options)
    if scheme in {"root", "roots", "xroot", "xroots"}:
        from rootml.storage.remote._xrootd import XRootDTransport

        return XRootDTransport(url, options)
    message = f"{redact(url)!r}: files are read from root://, https://, http:// and s3://"
    raise UsageError(message)
