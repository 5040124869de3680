"""What every protocol offers: the interface, which knows none of its implementations.

`_transports` finds the implementation for a URL; `_mock` is one for tests, which need no server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from rootml.storage._blocks import Buffer

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
    """Requests for one URL. It does not retry: every failure is raised at once.

    Safe to use from several threads; all methods raise `TransportError` and FileNotFoundError.
    """

    identity: str
    """What tells the file from others in a cache; no credentials."""

    def open(self) -> tuple[Stat, bytes]:
        """The state of the file, and those of its first bytes that came with the answer."""

    def batches(self, pieces: Sequence[Piece]) -> list[list[Piece]]:
        """The pieces that are read together, one list for each request."""

    def read(self, batch: Sequence[Piece], stat: Stat) -> list[Buffer]:
        """One request: the bytes of each piece.

        Raises:
            Changed: The file is no longer what `stat` says.
        """

    def verify(self, stat: Stat) -> None:
        """Check that the file is still what `stat` says, where `read` does not.

        Raises:
            Changed: It is not.
        """

    @property
    def verifies(self) -> bool:
        """Whether `verify` does anything."""

    def close(self) -> None:
        """Close open connections."""
