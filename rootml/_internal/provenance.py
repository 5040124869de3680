"""Who made a file: facts that go into it, where its format has room for them."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

KEY = "provenance"
_FACTS: ContextVar[dict[str, Any] | None] = ContextVar("facts", default=None)


@contextmanager
def stamped(**facts: Any) -> Iterator[None]:
    """Write these facts into the files of rootml that are made in the block.

    Args:
        facts: What JSON can hold: a seed, a commit, the names of files.

    >>> with stamped(seed=7):
    ...     stamp()["seed"]
    7
    >>> sorted(stamp())
    ['software']
    """
    token = _FACTS.set({**(_FACTS.get() or {}), **facts})
    try:
        yield
    finally:
        _FACTS.reset(token)


def stamp() -> dict[str, Any]:
    """The facts for a file that is written now: those of `stamped`, and the software."""
    version = sys.modules["rootml"].__version__  # it is there, and imports what is written here
    software = {"rootml": version, "python": platform.python_version()}
    return {"software": software, **(_FACTS.get() or {})}
