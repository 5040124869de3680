"""Compiled kernels on disk.

A file holds the SHA-256 of what follows and then the machine code; its name is a hash of what
makes the IR, the processor, its features, and the versions of LLVM and of this format. The folder
must be the user's own and closed to others (mode 0700), for whoever can write to it could run code
as the user: where that cannot be had, kernels live in memory only. Files are written under another
name and renamed, so that readers see whole files; processes that compile the same write the same.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from rootml._internal import caches

FORMAT = 1
_MAX_OBJECT_BYTES = 1 << 26
_log = logging.getLogger(__name__)


def cache_key(*parts: object) -> str:
    """The name of what is made from `parts`."""
    text = "\n".join(repr(part) for part in (FORMAT, *parts))
    return hashlib.sha256(text.encode()).hexdigest()


def cache_folder() -> Path | None:
    """Where kernels are kept; None if nowhere."""
    return caches.cache_folder("bdt")


class ObjectCache:
    """Machine code by key, in a folder; an unusable folder is as good as an empty one."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = cache_folder() if folder is None else folder

    def get(self, key: str) -> bytes | None:
        """What was stored; None if nothing, or if it is damaged."""
        if self._folder is None or not _is_private(self._folder):
            return None
        try:
            with (self._folder / f"{key}.o").open("rb") as file:
                if not _is_mine(os.fstat(file.fileno())):
                    return None
                found = file.read(_MAX_OBJECT_BYTES)
        except OSError:
            return None
        checksum, machine_code = found[:32], found[32:]
        if not machine_code or hashlib.sha256(machine_code).digest() != checksum:
            _log.warning("%s/%s.o is damaged; compiling again", self._folder, key)
            return None
        return machine_code

    def put(self, key: str, machine_code: bytes) -> bool:
        """Store; whether it could be."""
        if self._folder is None or not _make_private(self._folder):
            return False
        partial = None
        try:
            descriptor, partial = tempfile.mkstemp(dir=self._folder, suffix=".partial")
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(machine_code).digest() + machine_code)
            os.replace(partial, self._folder / f"{key}.o")  # noqa: PTH105 - a str, not a Path
        except OSError as error:
            _log.info("compiled kernels are kept in memory only: %s", error)
            if partial is not None:
                with suppress(OSError):
                    os.unlink(partial)  # noqa: PTH108
            return False
        return True


def _make_private(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        _log.info("compiled kernels are kept in memory only: %s", error)
        return False
    if _is_private(folder):
        return True
    _log.warning(
        "%s is not used for compiled kernels: it must be your own folder with mode 0700", folder
    )
    return False


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and _is_mine(found)


def _is_mine(found: os.stat_result) -> bool:
    """Owned by this user, and nobody else may write (or look, for a folder)."""
    if not hasattr(os, "getuid"):  # Windows: folders under LOCALAPPDATA are the user's
        return True
    others = 0o077 if stat.S_ISDIR(found.st_mode) else 0o022
    return found.st_uid == os.getuid() and not found.st_mode & others
