"""Names of columns: one that works in an expression, and the other spellings of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def bare(path: str) -> str:
    """The branch's own name without dimensions.

    >>> bare("V0s/V0s.fInvMass[2]")
    'V0s.fInvMass'
    """
    return path.rpartition("/")[2].partition("[")[0]


def name_columns(paths: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Column names for the branch `paths` of a tree, all different, and aliases of them.

    A branch of a split object (path ``"Event/fXvtx"``) is called by its own name when no other
    branch has that name, otherwise by its path. Aliases are the path, the path with dots
    (``"Event.fXvtx"``, as RDataFrame spells it), the name with its dimensions, and without the dot
    at its end.

    >>> name_columns(["pt", "Event/fX", "a/x", "b/x"])
    (['pt', 'fX', 'a/x', 'b/x'], {'Event/fX': 'fX', 'Event.fX': 'fX', 'a.x': 'a/x', 'b.x': 'b/x'})
    """
    simple = [bare(path) for path in paths]
    times = Counter(simple)
    names = [
        short if times[short] == 1 else path for short, path in zip(simple, paths, strict=True)
    ]
    aliases: dict[str, str] = {}
    known = set(names)
    for name, path in zip(names, paths, strict=True):
        own = path.rpartition("/")[2]
        spellings = [path, path.replace("/", "."), own if times[bare(path)] == 1 else path]
        if name.endswith("."):  # ROOT: members of "lep." are called "lep.id"
            spellings.append(name[:-1])
        for spelling in spellings:
            if spelling not in known:
                aliases.setdefault(spelling, name)
    return names, aliases
