"""Turns whatever goes wrong below into an error of the hierarchy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from rootml.errors import (
    ChangedFileError,
    CorruptFileError,
    MissingFileError,
    RemoteError,
    RootmlError,
    UnsupportedTypeError,
)
from rootml.storage.remote import Changed, Exhausted, TransportError

WRITE_NUMBERS = (
    "if ROOT reads it, write what you need as numbers: RDataFrame(...).Define(...).Snapshot(...)"
)
_UNSUPPORTED = {
    "CannotBeAwkward", "CannotBeStrided", "NotImplementedError", "NotInterpreted", "NotNumerical",
    "UnknownInterpretation",
}  # fmt: skip


def _about(columns: Sequence[str], start: int | None, stop: int | None) -> str:
    parts = []
    if columns:
        shown = ", ".join(repr(name) for name in columns[:4])
        more = f" and {len(columns) - 4} more" if len(columns) > 4 else ""
        parts.append(f"column{'s' * (len(columns) > 1)} {shown}{more}")
    if start is not None:
        parts.append(f"entries {start} to {stop}")
    return ", ".join(parts)


def remote_error(message: str, cause: TransportError) -> RemoteError:
    """The error for the user, which knows whether another try later may help."""
    found = RemoteError(message)
    found.transient = isinstance(cause, Exhausted)
    return found


class reading:  # a class, as a generator would cost every column a microsecond
    """Turn any exception of the code below that is not ours into one that names the file.

    Decompressors, struct, NumPy and uproot meet damaged bytes with dozens of exception classes,
    assertions among them; for the user all of them mean that the file cannot be read here.

    Raises:
        CorruptFileError: The usual case.
        MissingFileError: The file is gone.
        RemoteError: Its server is gone, refuses, or keeps failing.
        ChangedFileError: A remote file is no longer the one that was opened.
        UnsupportedTypeError: uproot has no way to read this type, or fails at it though its bytes
            are whole.
    """

    __slots__ = ("_columns", "_start", "_stop", "_where")

    def __init__(
        self,
        where: str,
        columns: Sequence[str] = (),
        start: int | None = None,
        stop: int | None = None,
    ) -> None:
        self._where, self._columns, self._start, self._stop = where, columns, start, stop

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        ours = (RootmlError, ImportError, PermissionError)
        if isinstance(error, Exception) and not isinstance(error, ours):
            self._raise(error)

    def _raise(self, error: Exception) -> NoReturn:
        where, about = self._where, _about(self._columns, self._start, self._stop)
        if isinstance(error, TransportError):
            message = f"{where}{': ' * bool(about)}{about}: {error}"
            if isinstance(error, Changed):
                raise ChangedFileError(message) from None
            raise remote_error(message, error) from None
        if isinstance(error, FileNotFoundError):
            message = f"no such file: {where}: {error}"
            raise MissingFileError(message) from error
        detail = f"{type(error).__name__}: {error}".strip()[:500]
        if type(error).__name__ in _UNSUPPORTED:
            first = detail.partition("\n")[0]  # uproot's further lines say where it stopped
            message = f"{where}: {about or 'this'} cannot be read: {first}; {WRITE_NUMBERS}"
            raise UnsupportedTypeError(message) from error
        message = f"{where}{': ' * bool(about)}{about} is damaged or not readable ({detail})"
        raise CorruptFileError(message) from error
