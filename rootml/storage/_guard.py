"""Checks that every table makes before it reads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rootml.errors import (
    ChangedFileError,
    MissingColumnError,
    UnsupportedTypeError,
    UsageError,
    nearest,
)
from rootml.storage._base import Fingerprint, LazyColumns, Table
from rootml.storage._failures import WRITE_NUMBERS
from rootml.storage._paths import missing_file
from rootml.storage._source import LocalSource, Source
from rootml.storage.remote import RemoteFile


class Guard:
    """Remembers what a file was when it was opened.

    Attributes:
        path: For messages: a URL has no credentials here.
        remote: The file on its server, which compares all that it reads by itself; None: local.
    """

    def __init__(
        self, path: str, fd: int | None = None, *, remote: RemoteFile | None = None
    ) -> None:
        self.path = path
        self.remote = remote
        self.closed = False
        if remote is None:
            self.fingerprint = self._of(os.stat(path if fd is None else fd))  # noqa: PTH116
        else:
            self.fingerprint = Fingerprint(remote.stat.size, 0, remote.stat.identity)

    @staticmethod
    def _of(stat: os.stat_result) -> Fingerprint:
        return Fingerprint(stat.st_size, stat.st_mtime_ns)

    def check(self, where: str, fd: int | None = None) -> None:
        """Raise unless the file (open as `fd`, or by name) is still the one that was opened."""
        if self.closed:
            message = f"{where} is closed"
            raise UsageError(message)
        if self.remote is not None:
            return
        try:
            stat = os.stat(self.path if fd is None else fd)  # noqa: PTH116
        except FileNotFoundError:
            raise missing_file(self.path) from None
        now = self._of(stat)
        if now != self.fingerprint:
            was = self.fingerprint
            message = (
                f"{where} has changed since it was opened: it had {was.size:,} bytes and now has "
                f"{now.size:,}; modified {(now.modified - was.modified) / 1e9:+.3f} s apart"
            )
            raise ChangedFileError(message)

    @contextmanager
    def source(self, where: str) -> Iterator[Source]:
        """The bytes of the file, which is still the one that was opened."""
        if self.remote is not None:
            self.check(where)
            yield self.remote
            return
        try:
            fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            raise missing_file(self.path) from None
        try:
            self.check(where, fd)
            yield LocalSource(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        self.closed = True
        if self.remote is not None:
            self.remote.close()


def check_range(table: Table, start: int, stop: int) -> None:
    """Refuse an entry range that is not inside `table`."""
    if not 0 <= start <= stop <= table.num_entries:
        message = (
            f"{table.where}: entries {start} to {stop} asked for, it has {table.num_entries:,}"
        )
        raise UsageError(message)


def check_columns(table: Table, columns: Sequence[str]) -> dict[str, str]:
    """The listed name of each of `columns`, or an error that says what there is instead."""
    known = table.columns
    if isinstance(known, LazyColumns):  # all at one go
        known.resolve(known.canonical(name) for name in columns if name in known)
    names: dict[str, str] = {}
    for name in columns:
        if name not in known:
            message = f"{table.where} has no column {name!r}; nearest: {nearest(name, known)}"
            raise MissingColumnError(message)
        kind = known[name]
        if kind.kind == "unsupported":
            why = f"column {name!r} cannot be read: {kind.text}"
            message = f"{table.where}: {why}; {WRITE_NUMBERS}"
            raise UnsupportedTypeError(message)
        names[name] = known.canonical(name)
    return names
