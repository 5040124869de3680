"""A transport that reads bytes in memory, for tests that need no server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rootml.storage._blocks import Buffer
from rootml.storage.remote._transport import Piece, Stat
from rootml.storage.remote._transport_errors import Changed


class MockTransport:
    """Serves `content`; `before_read` may raise what a server does.

    Attributes:
        content: The bytes of the file. Replace them to change the file after it was opened.
        requests: The pieces that each request asked for, in order.
    """

    verifies = False

    def __init__(
        self, content: bytes, *, before_read: Callable[[Sequence[Piece]], None] | None = None
    ) -> None:
        self.content = content
        self.requests: list[list[Piece]] = []
        self.identity = "mock"
        self._before_read = before_read

    def open(self) -> tuple[Stat, bytes]:
        return self._stat(), b""

    def batches(self, pieces: Sequence[Piece]) -> list[list[Piece]]:
        return [[piece] for piece in pieces]

    def read(self, batch: Sequence[Piece], stat: Stat) -> list[Buffer]:
        self.requests.append(list(batch))
        if self._before_read is not None:
            self._before_read(batch)
        if stat != self._stat():
            message = "the file has changed"
            raise Changed(message)
        return [self.content[start:stop] for start, stop in batch]

    def verify(self, stat: Stat) -> None: ...

    def close(self) -> None: ...

    def _stat(self) -> Stat:
        return Stat(len(self.content), 0, f"{hash(self.content):x}")
