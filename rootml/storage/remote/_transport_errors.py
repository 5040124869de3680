"""What goes wrong with a server; `rootml.storage._failures` adds file, columns and entries."""

from __future__ import annotations


class TransportError(Exception):
    """A request that failed for good; the text says why and holds no credentials."""


class Transient(TransportError):
    """A request that may succeed when it is made again.

    Attributes:
        wait: Seconds that the server asked to wait, 0 if it did not.
    """

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


class Exhausted(TransportError):
    """One that might have succeeded, but did not at any of the tries that were allowed."""


class Changed(TransportError):
    """The file on the server is not the one that was opened."""
