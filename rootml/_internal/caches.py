"""Where rootml keeps what it can make again: one folder of the user's, with a room per kind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "ROOTML_CACHE"


def cache_folder(room: str) -> Path | None:
    """Where things of one kind are kept; None if nowhere.

    Below the folder that `VARIABLE` names (empty: nothing is kept), else below ``rootml`` where
    the system has such things: ``$XDG_CACHE_HOME``, ``~/.cache``, ...
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        return Path(given) / room if given else None
    if sys.platform == "darwin":
        base = Path("~/Library/Caches")
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        base = base.expanduser()
    except RuntimeError:  # no home
        return None
    return base / "rootml" / room if base.is_absolute() else None
