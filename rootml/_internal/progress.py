"""Progress bars on long passes: one look for all of rootml, silent where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def track(
    items: Iterable[T], *, total: int, what: str, enabled: bool | None = None
) -> Iterator[T]:
    """Yield `items` while a bar named `what` moves.

    Args:
        total: Number of items.
        enabled: Show the bar; None: if standard error is a terminal.

    >>> list(track([1, 2], total=2, what="counting", enabled=False))
    [1, 2]
    """
    if not (sys.stderr.isatty() if enabled is None else enabled):
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, total=total, description=what)
