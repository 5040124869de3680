"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from rootml._internal.urls import is_remote, redact
from rootml.errors import MissingFileError, UsageError


def check_target(path: str | os.PathLike[str]) -> Path:
    """The path of a file that is about to be written, if it can be.

    Files go into folders that are there (whatever is given a folder to write to makes it).

    Raises:
        MissingFileError: The folder does not exist.
        UsageError: A URL, or a folder.
    """
    text = os.fspath(path)
    if is_remote(text):
        message = f"cannot write to {redact(text)!r}: writing goes to local files"
        raise UsageError(message)
    final = Path(text)
    if not final.parent.is_dir():
        message = f"cannot write {text!r}: there is no folder {str(final.parent)!r}"
        raise MissingFileError(message)
    if final.is_dir():
        message = f"cannot write {text!r}: it is a folder"
        raise UsageError(message)
    return final


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let the error of a full disk say which file was written: libraries leave it out."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL and error.filename is None:
            error.filename = os.fspath(path)
        raise


class AtomicPath:
    """A temporary name in the folder of `path`, which becomes `path` by `commit`.

    `atomic_path` is the same as a context manager; use that where one function does it all.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.final = check_target(path)
        # the suffix stays last: some libraries look at it
        name = f".{self.final.stem}.{secrets.token_hex(6)}.part{self.final.suffix}"
        self.temporary = self.final.with_name(name)

    def commit(self) -> None:
        """Give the finished file its name, replacing an older one."""
        os.replace(self.temporary, self.final)  # noqa: PTH105 - says that it replaces

    def discard(self) -> None:
        """Remove the temporary file, if it is there."""
        self.temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path to write to, which becomes `path` if the block ends without an error.

    Raises:
        MissingFileError: The folder does not exist.
        UsageError: A URL, or a folder.

    >>> with atomic_path("numbers.txt") as temporary:
    ...     _ = temporary.write_text("1 2 3")
    >>> Path("numbers.txt").read_text()
    '1 2 3'
    """
    target = AtomicPath(path)
    try:
        with naming(target.final):
            yield target.temporary
        target.commit()
    finally:
        target.discard()
