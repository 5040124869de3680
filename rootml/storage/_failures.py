"""Turns whatever goes wrong below into an error of the hierarchy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rootml.errors import (
    ChangedFileError,
    CorruptFileError,
    MissingFileError,
    RemoteError,
    RootmlError,
    UnsupportedTypeError,
)
from rootml.storage.remote import Changed, Exhausted, TransportError

_UNSUPPORTED = {
    "CannotBeAwkward", "CannotBeStrided", "NotImplementedError", "NotNumerical",
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


@contextmanager
def reading(
    where: str,
    columns: Sequence[str] = (),
    start: int | None = None,
    stop: int | None = None,
) -> Iterator[None]:
    """Turn any exception of the code below that is not ours into one that names the file.

    Decompressors, struct, NumPy and uproot meet damaged bytes with dozens of exception classes,
    assertions among them; for the user all of them mean that the file cannot be read here.

    Raises:
        CorruptFileError: The usual case.
        MissingFileError: The file is gone.
        RemoteError: Its server is gone, refuses, or keeps failing.
        ChangedFileError: A remote file is no longer the one that was opened.
        UnsupportedTypeError: uproot says that it has no way to read this type.
    """
    try:
        yield
    except (RootmlError, ImportError):
        raise
    except TransportError as error:
        about = _about(columns, start, stop)
        message = f"{where}{': ' * bool(about)}{about}: {error}"
        if isinstance(error, Changed):
            raise ChangedFileError(message) from None
        raise remote_error(message, error) from None
    except FileNotFoundError as error:
        message = f"no such file: {where}: {error}"
        raise MissingFileError(message) from error
    except PermissionError:
        raise
    except Exception as error:
        about = _about(columns, start, stop)
        detail = f"{type(error).__name__}: {error}".strip()[:500]
        if type(error).__name__ in _UNSUPPORTED:
            first = detail.partition("\n")[0]  # uproot's further lines say where it stopped
            message = f"{where}: {about or 'this'} cannot be read: {first}"
            raise UnsupportedTypeError(message) from error
        message = f"{where}{': ' * bool(about)}{about} is damaged or not readable ({detail})"
        raise CorruptFileError(message) from error
