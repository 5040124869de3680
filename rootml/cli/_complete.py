"""What the shell completes: files, trees in them, names of columns.

Completion must be quick and silent: whatever goes wrong, there is nothing to complete.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

_SUFFIXES = (".root", ".parquet", ".pq", ".arrow", ".feather", ".toml")
_WORD = re.compile(r"[\w.]*$")
_MOST = 500


def _silent(function: Callable[..., list[str]]) -> Callable[[Any, str], list[str]]:
    @wraps(function)
    def complete(ctx: Any, incomplete: str) -> list[str]:
        try:
            return function(ctx, incomplete)[:_MOST]
        except Exception:  # noqa: BLE001 - a completion cannot report it
            return []

    return complete


@_silent
def files_and_trees(ctx: Any, incomplete: str) -> list[str]:
    """``data/sig`` to files, ``file.root:`` to its trees.

    bash makes three words of ``file.root:tree``, and replaces the last one.
    """
    from rootml.storage import list_trees

    given = _given(ctx)
    if len(given) > 1 and given[-1] == ":":
        return [name for name in list_trees(given[-2]) if name.startswith(incomplete)]
    path, colon, _ = incomplete.rpartition(":")
    if colon and Path(path).is_file():
        found = [f"{path}:{name}" for name in list_trees(path) if name]
    else:
        folder, name = os.path.split(incomplete)
        found = [os.path.join(folder, each) for each in _entries(folder or ".", name)]  # noqa: PTH118
    return [each for each in found if each.startswith(incomplete)]


def _entries(folder: str, name: str) -> Iterable[str]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith(".") and not name.startswith("."):
            continue
        if entry.is_dir():
            yield f"{entry.name}/"
        elif entry.name.lower().endswith(_SUFFIXES):
            yield entry.name


@_silent
def trees_of(ctx: Any, incomplete: str) -> list[str]:
    """The trees of the first file on the command line."""
    from rootml.storage import expand_paths, list_trees

    path, _ = expand_paths(_first(ctx))[0]
    return [name for name in list_trees(path) if name.startswith(incomplete)]


@_silent
def columns_of(ctx: Any, incomplete: str) -> list[str]:
    """The columns of the first file, instead of the last word of an expression."""
    import rootml
    from rootml import toml

    first, tree = _first(ctx), ctx.params.get("tree")
    if first.endswith(".toml"):
        names = toml.load(first).columns
    else:
        names = rootml.open({first: tree} if tree else first).columns
    match = _WORD.search(incomplete)
    word = match.group() if match else ""
    head = incomplete[: len(incomplete) - len(word)]
    return [head + name for name in names if name.startswith(word)]


def _given(ctx: Any) -> list[str]:
    """The files on the command line so far, parsed or not."""
    return [str(each) for each in ctx.params.get("files") or ctx.args]


def _first(ctx: Any) -> str:
    """The first of them, put together again where bash has divided it."""
    given = _given(ctx)
    return "".join(given[:3]) if given[1:2] == [":"] else given[0]
