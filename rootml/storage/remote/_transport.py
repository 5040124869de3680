"""What every protocol offers, and which one a URL needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias
from urllib.parse import urlsplit

from rootml._internal.urls import redact
from rootml.errors import UsageError
from rootml.storage._blocks import Buffer
from rootml.storage.remote._options import Remote

Piece: TypeAlias = tuple[int, int]
"""``(start, stop)`` in bytes."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What a file on a server was when it was opened.

    Attributes:
        size: Bytes.
        modified: Modification time in ns, 0 where the server does not say.
        tag: Whatever else tells one state of the file from another: an ETag, an inode; or "".
    """

    size: int
    modified: int
    tag: str

    @property
    def identity(self) -> str:
        """What tells this state from others of the same size, "" where nothing does."""
        return self.tag or (str(self.modified) if self.modified else "")


class Transport(Protocol):
    """One URL, spoken to without patience: every failure is raised at once.

    Safe to use from several threads; all methods raise `TransportError` and FileNotFoundError.
    """

    identity: str
    """What tells the file from others in a cache; no credentials."""

    def open(self) -> tuple[Stat, bytes]:
        """What the file is now, and as many of its first bytes as came along."""

    def batches(self, pieces: Sequence[Piece]) -> list[list[Piece]]:
        """What one request each is for."""

    def read(self, batch: Sequence[Piece], stat: Stat) -> list[Buffer]:
        """One request: the bytes of each piece.

        Raises:
            Changed: The file is no longer what `stat` says.
        """

    def verify(self, stat: Stat) -> None:
        """See that the file is still what `stat` says, where `read` does not.

        Raises:
            Changed: It is not.
        """

    @property
    def verifies(self) -> bool:
        """Whether `verify` does anything."""

    def close(self) -> None:
        """Give back what is kept open."""


def transport_of(url: str, options: Remote) -> Transport:
    """The transport for a URL; a missing package is an error that names the extra.

    Raises:
        UsageError: A scheme that nobody knows.
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
