"""How lists become inputs: cut and filled up to one length, or as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rootml.errors import UsageError


@dataclass(frozen=True)
class Padded:
    """Jagged columns with common counts, cut or filled up to `length` places.

    A batch holds a `PaddedArray`: values `(batch, length, column)` and a mask `(batch, length)`.

    Args:
        columns: Names of jagged columns, one level deep.
        length: Places per event; the first `length` elements are kept.
        value: What the places past the end hold.

    >>> Padded(["Jet_pt", "Jet_eta"], length=8)
    Padded(columns=('Jet_pt', 'Jet_eta'), length=8, value=0.0)
    """

    columns: tuple[str, ...]
    length: int
    value: float

    def __init__(self, columns: Sequence[str], *, length: Any, value: float = 0.0) -> None:
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            message = f"Padded(length={length!r}): expected a whole number, at least 1"
            raise UsageError(message)
        object.__setattr__(self, "columns", _columns("Padded", columns))
        object.__setattr__(self, "length", length)
        object.__setattr__(self, "value", float(value))


@dataclass(frozen=True)
class Ragged:
    """Jagged columns with common counts, as values and offsets (a `RaggedArray` per batch).

    >>> Ragged(["Jet_pt"])
    Ragged(columns=('Jet_pt',))
    """

    columns: tuple[str, ...]

    def __init__(self, columns: Sequence[str]) -> None:
        object.__setattr__(self, "columns", _columns("Ragged", columns))


def _columns(kind: str, columns: Sequence[str]) -> tuple[str, ...]:
    if isinstance(columns, str) or not columns:
        message = f"{kind}({columns!r}): expected a list of column names"
        raise UsageError(message)
    if len(set(columns)) != len(columns):
        message = f"{kind}: duplicate columns in {list(columns)}"
        raise UsageError(message)
    return tuple(columns)
