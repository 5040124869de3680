"""How lists become inputs: cut and filled up to one length, or as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rootml._internal.validators import check_flag, options_of
from rootml.errors import UsageError


@dataclass(frozen=True)
class Padded:
    """Jagged columns with common counts, cut or filled up to `length` elements.

    A batch holds a `PaddedArray`: values `(batch, length, column)` and a mask `(batch, length)`.

    Args:
        columns: Names of jagged columns, one level deep.
        length: Places per event; the first `length` elements are kept.
        value: The value past the end of a list.
        order_by: A jagged column with the same counts, or an expression: the elements of an event
            are put in the order of its values before they are cut. Equal values keep their order,
            NaN comes last. None: the order of the file.
        descending: Largest value first.

    >>> Padded(["Jet_pt", "Jet_eta"], length=8).length
    8
    """

    columns: tuple[str, ...]
    length: int
    value: float
    order_by: str | None
    descending: bool

    @options_of("Padded")
    def __init__(
        self,
        columns: Sequence[str],
        *,
        length: Any,
        value: float = 0.0,
        order_by: str | None = None,
        descending: bool = True,
    ) -> None:
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            message = f"Padded(length={length!r}): expected a whole number, at least 1"
            raise UsageError(message)
        object.__setattr__(self, "columns", _columns("Padded", columns))
        object.__setattr__(self, "length", length)
        object.__setattr__(self, "value", float(value))
        object.__setattr__(self, "order_by", _order_by("Padded", order_by))
        object.__setattr__(self, "descending", check_flag("descending", descending))

    def renamed(self, names: Mapping[str, str]) -> Padded:
        """The same with other names of columns."""
        return Padded(
            [names.get(column, column) for column in self.columns],
            length=self.length,
            value=self.value,
            order_by=None if self.order_by is None else names.get(self.order_by, self.order_by),
            descending=self.descending,
        )


@dataclass(frozen=True)
class Ragged:
    """Jagged columns with common counts, as values and offsets (a `RaggedArray` per batch).

    Args:
        columns: Names of jagged columns, one level deep.
        order_by, descending: As in `Padded`.

    >>> Ragged(["Jet_pt"]).columns
    ('Jet_pt',)
    """

    columns: tuple[str, ...]
    order_by: str | None
    descending: bool

    @options_of("Ragged")
    def __init__(
        self, columns: Sequence[str], *, order_by: str | None = None, descending: bool = True
    ) -> None:
        object.__setattr__(self, "columns", _columns("Ragged", columns))
        object.__setattr__(self, "order_by", _order_by("Ragged", order_by))
        object.__setattr__(self, "descending", check_flag("descending", descending))

    def renamed(self, names: Mapping[str, str]) -> Ragged:
        """The same with other names of columns."""
        return Ragged(
            [names.get(column, column) for column in self.columns],
            order_by=None if self.order_by is None else names.get(self.order_by, self.order_by),
            descending=self.descending,
        )


def _order_by(kind: str, column: Any) -> str | None:
    if column is not None and not isinstance(column, str):
        message = f"{kind}(order_by={column!r}): expected the name of a column or None"
        raise UsageError(message)
    return column


def _columns(kind: str, columns: Sequence[str]) -> tuple[str, ...]:
    if isinstance(columns, str) or not columns:
        message = f"{kind}({columns!r}): expected a list of column names"
        raise UsageError(message)
    if len(set(columns)) != len(columns):
        message = f"{kind}: duplicate columns in {list(columns)}"
        raise UsageError(message)
    return tuple(columns)
