"""What is finished of a long task, in a folder: a header that says of what, a line for each row.

Every process that works in a folder writes a file of its own, so that several may, and one that
is killed leaves at most a line without an end, which does not count.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rootml._internal.atomic import atomic_path
from rootml.errors import StateError, UsageError

Row = dict[str, Any]


class Records:
    """Rows of one task by key; in a folder or, without one, only here.

    Args:
        folder: Where they are kept; None: nowhere.
        header: All that the rows depend on, as JSON data.
        what: What the rows are, a word in the plural: of files' names and of errors.
        key: The entry of a row that names it.

    Attributes:
        rows: Those that are finished.

    Raises:
        StateError: The folder holds rows of another task, or something else.
        UsageError: The folder cannot be made or written to.
    """

    def __init__(
        self, folder: Path | None, header: Mapping[str, Any], *, what: str, key: str
    ) -> None:
        self.folder, self._what, self._key = folder, what, key
        self.rows: dict[Any, Row] = {}
        self._file: int | None = None
        if folder is None:
            return
        self._check(folder, json.loads(json.dumps(header)))
        for path in sorted(folder.glob(f"{what}-*.jsonl")):
            self._read(path)

    def _check(self, folder: Path, header: Mapping[str, Any]) -> None:
        """Write the header, or compare it with the one that is there."""
        path = folder / f"{self._what}.json"
        if not path.exists():
            if next(folder.glob(f"{self._what}-*.jsonl"), None) is not None:
                message = f"{folder} holds {self._what}, but {path.name} is gone: what are they?"
                raise StateError(message)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with atomic_path(path) as temporary:
                    temporary.write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
            except OSError as error:
                raise self._unwritten(path, error) from error
            return
        try:
            before = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError) as error:
            message = f"{path} cannot be read as the header of {self._what}: {error}"
            raise StateError(message) from error
        for key, value in header.items():
            if before.get(key) != value:
                message = (
                    f"{folder} holds {self._what} of another {key}: {str(before.get(key))[:80]}, "
                    f"not {str(value)[:80]}; use another folder"
                )
                raise StateError(message)

    def _read(self, path: Path) -> None:
        """All whole lines of a file."""
        text = path.read_bytes()
        for number, line in enumerate(text[: text.rfind(b"\n") + 1].splitlines(), 1):
            try:
                row = json.loads(line)
                self.rows[row[self._key]] = row
            except (KeyError, TypeError, ValueError) as error:
                message = f"{path}, line {number} is damaged: {error!r}; remove the line"
                raise StateError(message) from error

    def add(self, row: Row) -> None:
        """Keep a row; it is in the folder when this returns.

        Raises:
            UsageError: It cannot be written: the disk is full, or the folder is gone.
        """
        if self.folder is not None:
            path = self.folder / f"{self._what}-{self._token}.jsonl"
            line = (json.dumps(row) + "\n").encode()
            try:
                if self._file is None:
                    self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
                while line:
                    line = line[os.write(self._file, line) :]
            except OSError as error:
                self.close()
                raise self._unwritten(path, error) from error
        self.rows[row[self._key]] = row

    _token: str = ""

    def open(self) -> None:
        """Before rows are added."""
        self._token = f"{os.getpid()}-{secrets.token_hex(4)}"

    def close(self) -> None:
        """After rows were added."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _unwritten(self, path: Path, error: OSError) -> UsageError:
        message = (
            f"{path} cannot be written: {error.strerror or error}; {len(self.rows)} {self._what} "
            "are finished and stay there: make room, and call again to go on"
        )
        return UsageError(message)
