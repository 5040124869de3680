"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from rootml.errors import MissingFileError, UsageError
from rootml.storage._paths import is_remote


class AtomicPath:
    """A temporary name in the folder of `path`, which becomes `path` by `commit`."""

    def __init__(self, path: str) -> None:
        if is_remote(path):
            message = f"cannot write to {path!r}: writing goes to local files"
            raise UsageError(message)
        self.final = Path(path)
        if not self.final.parent.is_dir():
            message = f"cannot write {path!r}: there is no folder {str(self.final.parent)!r}"
            raise MissingFileError(message)
        if self.final.is_dir():
            message = f"cannot write {path!r}: it is a folder"
            raise UsageError(message)
        # the suffix stays last: some libraries look at it
        name = f".{self.final.stem}.{secrets.token_hex(6)}.part{self.final.suffix}"
        self.temporary = self.final.with_name(name)

    def commit(self) -> None:
        """Give the finished file its name, replacing an older one."""
        os.replace(self.temporary, self.final)  # noqa: PTH105 - says that it replaces

    def discard(self) -> None:
        """Remove the temporary file, if it is there."""
        self.temporary.unlink(missing_ok=True)
