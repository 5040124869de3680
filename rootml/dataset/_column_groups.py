"""Many columns in a readable table: NanoAOD has a thousand, in some forty collections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rootml._internal.reprs import Grid

MANY = 40
"""More columns than that are shown in groups."""
SHOWN = 6
"""Names of a group that are shown."""


def grouped(columns: Mapping[str, str]) -> Grid:
    """Columns by what stands before the first underscore; those of no group in the last line.

    Args:
        columns: Names and types.

    >>> print(grouped({"run": "uint32", "nJet": "int32", "Jet_pt": "var * float32",
    ...                "Jet_eta": "var * float32", "MET_pt": "float32", "MET_phi": "float32"}))
    group   columns  type             names
    Jet     2        var * float32    pt, eta
    MET     2        float32          pt, phi
    others  2        uint32, int32    run, nJet
    """
    groups = _groups(list(columns))
    alone = groups.pop("", [])
    rows = [_row(name, members, columns, name) for name, members in groups.items()]
    if alone:
        rows.append(_row("others", alone, columns, ""))
    return Grid(("group", "columns", "type", "names"), rows, left=4)


def _groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Members of each group, in the order of the columns; under "" those of none."""
    heads = Counter(name.partition("_")[0] for name in names if "_" in name)
    found: dict[str, list[str]] = {}
    for name in names:
        head = name.partition("_")[0]
        found.setdefault(head if "_" in name and heads[head] > 1 else "", []).append(name)
    return found


def _row(
    title: str, members: Sequence[str], columns: Mapping[str, str], head: str
) -> tuple[str, ...]:
    kinds = [kind for kind, _ in Counter(columns[name] for name in members).most_common()]
    shown = [name.removeprefix(f"{head}_") if head else name for name in members]
    return title, f"{len(members):,}", _cut(kinds, 3), _cut(shown, SHOWN)


def _cut(items: Sequence[str], most: int) -> str:
    return ", ".join(items[:most]) + (", ..." if len(items) > most else "")
