"""Finished toys in a folder, one line of JSON each; every worker writes a file of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_PATTERN = "toys-*.jsonl"


class ToyFiles:
    """Toys that are there and those that come; what was read is not read again.

    Args:
        folder: Where they are.

    Attributes:
        rows: Those read so far, by number.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ends: dict[Path, int] = {}
        self.rows: dict[int, dict[str, Any]] = {}

    def update(self) -> dict[int, dict[str, Any]]:
        """Read what was written since; a last line that is not whole waits for its end."""
        for path in sorted(self._folder.glob(_PATTERN)):
            with path.open("rb") as file:
                file.seek(self._ends.get(path, 0))
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._ends[path] = self._ends.get(path, 0) + len(whole)
            for line in whole.splitlines():
                row = json.loads(line)
                self.rows[int(row["toy"])] = row
        return self.rows


@contextmanager
def appended(path: Path) -> Iterator[IO[str]]:
    """A file of toys to write on; a line that a killed process left unfinished is taken away."""
    if path.exists():
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
    with path.open("a", encoding="utf-8") as lines:
        yield lines
