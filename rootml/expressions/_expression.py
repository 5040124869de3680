"""`Expression` and what is done with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml._internal.types import EventValues
from rootml.errors import ExpressionError, MissingColumnError, MissingElementError, nearest
from rootml.expressions._evaluate import evaluate
from rootml.expressions._nodes import Call, Name, Node, as_written, map_names, names_in
from rootml.expressions._parse import Dialect, parse_text
from rootml.expressions._values import Value, filled_lists, has_strings, is_strings, leaf_dtype
from rootml.expressions._vectors import holds_records
from rootml.storage import ColumnType


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression; equal if the trees are equal, whatever the spelling.

    Attributes:
        tree: The syntax tree.

    >>> parse("a > 1 && b > 2") == parse("(a>1) and (b>2)")
    True
    """

    tree: Node

    @property
    def canonical(self) -> str:
        """The expression with all parentheses, in one spelling; parses to the same tree.

        >>> parse("nJet >= 2 and TMath::Abs(eta) < 2.4").canonical
        '((nJet >= 2) && (abs(eta) < 2.4))'
        """
        return str(self.tree)

    @property
    def names(self) -> frozenset[str]:
        """The columns that it refers to."""
        return names_in(self.tree)

    @property
    def column(self) -> str | None:
        """Its name, if it is nothing but a column."""
        return self.tree.name if isinstance(self.tree, Name) else None

    def rename(self, mapping: Mapping[str, str]) -> Expression:
        """The same with other columns.

        >>> parse("pt + x").rename({"pt": "pt_up"}).canonical
        '(pt_up + x)'
        """
        return Expression(map_names(self.tree, lambda name: mapping.get(name, name)))

    def evaluate(self, columns: Mapping[str, Any], num_events: int) -> Value:
        """Its value for all events; see `cut_mask` and `column_values`.

        Raises:
            ExpressionError: Operands that do not fit together; names the expression.
        """
        try:
            return evaluate(self.tree, columns, num_events)
        except RecursionError as error:
            message = "an expression with too many operators; define parts of it by name"
            raise ExpressionError(message) from error
        except ExpressionError as error:
            message = f"{error.args[0]}, in {as_written(self.tree)}"
            raise ExpressionError(message) from error

    def __str__(self) -> str:
        return self.canonical

    def __repr__(self) -> str:
        return f"<Expression {self.canonical}>"


@lru_cache(maxsize=4096)
def parse(
    text: str, known: frozenset[str] = frozenset(), dialect: Dialect = "rootml"
) -> Expression:
    """Parse a cut or a derived column.

    Args:
        text: In ROOT's spelling or Python's; a text that is exactly a name in `known` is that
            column, whatever characters it has.
        known: Names of columns; needed only for those with dots and other special characters.
        dialect: "draw" for a text written for TTree::Draw, with its own arithmetic.

    Raises:
        ExpressionError: Not an expression; the message shows where.

    >>> sorted(parse("Sum$(Jet_pt) > 2 * MET.pt", frozenset(["MET.pt"])).names)
    ['Jet_pt', 'MET.pt']
    """
    if text in known:
        return Expression(Name(text))
    return Expression(parse_text(text, known, dialect))


def from_draw(text: str, *, cut: bool = False) -> str:
    """An expression written for TTree::Draw in the spelling of rootml, with the same values.

    Args:
        cut: Whether it is a cut: of lists, an event passes if one element does.

    Raises:
        ExpressionError: Not an expression; the message shows where.

    >>> from_draw("pt / n > 2 && log(x) < 1", cut=True)
    'draw_cut(draw_and((draw_divide(pt, n) > 2), (draw_log(x) < 1)))'
    """
    tree = parse_text(text, frozenset(), "draw")
    return str(Call("draw_cut", (tree,)) if cut else tree)


def resolve_names(expression: Expression, available: Iterable[str], where: str) -> frozenset[str]:
    """The columns of an expression, all of them `available`.

    Raises:
        MissingColumnError: One is not; names it, `where`, and the nearest.
    """
    available = frozenset(available)
    for name in sorted(expression.names - available):
        message = (
            f"{where} has no column {name!r}"
            + ("" if expression.column else f", needed by {as_written(expression.tree)}")
            + f"; nearest: {nearest(name, available)}"
        )
        raise MissingColumnError(message)
    return expression.names


def cut_mask(
    expression: Expression, columns: Mapping[str, Any], num_events: int
) -> npt.NDArray[np.bool_]:
    """Which events pass, `(num_events,)`; an event whose cut is unknown does not.

    Raises:
        ExpressionError: The cut has one value per list element, or is not a number.
    """
    value = expression.evaluate(columns, num_events)
    if has_strings(value.data) or leaf_dtype(value.data).kind not in "buif":
        message = f"a cut must be a condition, {expression} is not"
        raise ExpressionError(message)
    if value.lists:
        message = (
            f"the cut {expression} has one value per list element, and an event needs one: reduce "
            "it with any(...), all(...), Sum$(...) or Max$(...), or take an element with [0]"
        )
        raise ExpressionError(message)
    passed = np.broadcast_to(np.asarray(value.data, dtype=bool), (num_events,))
    return passed.copy() if value.valid is None else passed & value.valid


def column_values(
    expression: Expression,
    columns: Mapping[str, Any],
    num_events: int,
    *,
    missing: Literal["error"] | float = "error",
    name: str = "",
) -> EventValues:
    """The values of a derived column: NumPy for one number per event, else awkward.

    Args:
        missing: What an event gets that lacks an element (in lists: what the element is): a
            number, or "error".

    Raises:
        ExpressionError: A whole list is missing, which a number cannot stand for.
        MissingElementError: Some events lack an element, and `missing` is "error".
    """
    if expression.column is not None:
        return columns[expression.column]
    value = expression.evaluate(columns, num_events)
    data = value.data
    if not isinstance(data, ak.Array) and data.ndim == 0:
        data = np.full(num_events, data[()])
    if value.valid is None or value.valid.all():
        return data
    if missing == "error":
        lacking = np.flatnonzero(~value.valid)
        message = (
            f"{name + ' = ' if name else ''}{expression}: {len(lacking)} of {num_events} events "
            f"lack an element, the first is number {int(lacking[0])} of these; cut them away, "
            "or give a value for them with Alt$(x, value) or missing="
        )
        raise MissingElementError(message)
    if value.lists:
        return filled_lists(value, missing)
    fill = np.asarray(missing)
    return np.where(value.valid, data, fill.astype(np.result_type(data, fill)))


def expression_type(expression: Expression, types: Mapping[str, ColumnType]) -> ColumnType:
    """The type of a derived column, found by evaluating it on no events.

    Raises:
        ExpressionError: Operands that do not fit together.
    """
    if expression.column is not None:
        return types[expression.column]
    columns = {name: _empty(name, types[name]) for name in expression.names}
    data = column_values(expression, columns, 0)
    if holds_records(data):
        return ColumnType("other", text=str(ak.type(data).content), form=ak.to_layout(data).form)
    if is_strings(data):
        return ColumnType("string", text="string")
    dtype = leaf_dtype(data)
    if not isinstance(data, ak.Array):
        kind: Any = "fixed" if data.ndim > 1 else "scalar"
        return ColumnType(kind, dtype, data.shape[1:], 0, dtype.name)
    return ColumnType("jagged", dtype, (), data.ndim - 1, str(ak.type(data).content))


def _empty(name: str, kind: ColumnType) -> Any:
    if kind.kind in {"scalar", "fixed"}:
        return np.empty((0, *kind.shape), kind.dtype)
    if kind.kind == "jagged":
        assert kind.dtype is not None
        layout: Any = ak.contents.NumpyArray(np.empty(0, kind.dtype))
        for _ in range(kind.depth):
            layout = ak.contents.ListOffsetArray(ak.index.Index64(np.zeros(1, np.int64)), layout)
        return ak.Array(layout)
    if kind.kind == "string":
        return ak.Array([""])[:0]
    if kind.form is not None:
        return ak.Array(kind.form.length_zero_array(highlevel=False))
    message = f"column {name!r} of type {kind} cannot be used in an expression"
    raise ExpressionError(message)
