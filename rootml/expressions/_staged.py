"""Cuts in stages: first the terms of ``a && b && c`` that need no lists, then lists of the rest.

An event passes ``a && b`` when both are true and known, so a term matters only for events that
passed the others. Terms over one number per event are cheap; lists are looked at only in those
events that are left, if these are few::

    light, heavy = terms without and with lists
    left  = events that passed before and pass all of light
    heavy = those of heavy, over the lists of the events in left

That is the same only if a term cannot be an *error* because of an event that is cut away: lists of
different lengths, integers that overflow, and the like. So heavy terms are evaluated in this way
only if they are made of what cannot fail for any event (`_kind`): floats, comparisons, logic, and
the sums and such of lists that all have the same lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import reduce
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml.errors import ExpressionError
from rootml.expressions._expression import Expression, cut_mask
from rootml.expressions._nodes import (
    Binary,
    Boolean,
    Call,
    Comparison,
    Name,
    Node,
    Number,
    Unary,
    names_in,
)
from rootml.expressions._values import flat, same_offsets

Mask = npt.NDArray[np.bool_]
_MAX_FRACTION = 0.4
_MIN_EVENTS = 8192  # events; with fewer it takes longer to find out how to do it
_SMALL = 4
_REDUCERS = {"sum": "f", "max": "f", "min": "f", "any": "b", "all": "b", "count": "i", "size": "i"}
_ELEMENTWISE = {"abs", "sqrt", "exp", "log", "cos", "sin", "cosh", "sinh"}


def staged_mask(
    expression: Expression, columns: Mapping[str, Any], num_events: int, *, among: Mask
) -> Mask:
    """Which of the events `among` pass a cut, `(num_events,)`; as ``among & cut_mask(...)``.

    Args:
        columns: By name; those that are not plain arrays are not divided.

    Raises:
        ExpressionError: As `cut_mask`.
    """
    if num_events < _MIN_EVENTS:
        return among & cut_mask(expression, columns, num_events)
    with suppress(ExpressionError):  # the cut as a whole says it better
        light, heavy = _divided(expression.tree, columns)
        if heavy and (light or not among.all()):
            passed = among & cut_mask(_all_of(light), columns, num_events) if light else among
            rows = np.flatnonzero(passed)
            if len(rows) <= _MAX_FRACTION * num_events:
                return _in_rows(_all_of(heavy), columns, num_events, rows)
    return among & cut_mask(expression, columns, num_events)


def _in_rows(
    expression: Expression, columns: Mapping[str, Any], num_events: int, rows: Any
) -> Mask:
    offsets: Any = None
    found: dict[str, Any] = {}
    for name in expression.names:
        lists = flat(columns[name])
        if lists is None:
            found[name] = columns[name][rows]
            continue
        if offsets is None:
            offsets, positions = _positions(lists[0], rows)
        layout = ak.contents.NumpyArray(lists[1][positions])
        found[name] = ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), layout))
    mask = np.zeros(num_events, bool)
    mask[rows] = cut_mask(expression, found, len(rows))
    return mask


def _positions(offsets: npt.NDArray[np.int64], rows: Any) -> tuple[Any, Any]:
    """Offsets of the lists in `rows`, one after the other, and where their elements are."""
    starts = offsets[rows]
    counts = offsets[rows + 1] - starts
    new = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(counts, out=new[1:])
    return new, np.arange(new[-1]) + np.repeat(starts - new[:-1], counts)


def _all_of(terms: list[Node]) -> Expression:
    return Expression(reduce(lambda one, other: Binary("&&", one, other), terms))


def _divided(tree: Node, columns: Mapping[str, Any]) -> tuple[list[Node], list[Node]]:
    """Terms without and with lists; none of the latter if the lists may be an error."""
    light, heavy = [], []
    offsets: Any = None
    for term in _terms(tree):
        values = [columns[name] for name in names_in(term)]
        if not any(isinstance(value, ak.Array) for value in values):
            light.append(term)
            continue
        if _kind(term, columns) is None:
            return [], []
        heavy.append(term)
        for lists in filter(None, map(flat, values)):
            offsets = lists[0] if offsets is None else offsets
            if not same_offsets(lists[0], offsets):
                return [], []
    return light, heavy


def _terms(tree: Node) -> Iterator[Node]:
    if isinstance(tree, Binary) and tree.operator == "&&":
        yield from _terms(tree.left)
        yield from _terms(tree.right)
    else:
        yield tree


def _kind(node: Node, columns: Mapping[str, Any]) -> str | None:
    """``"f"``, ``"i"`` or ``"b"``: what a part is made of that no event can make an error."""
    match node:
        case Name(name):
            return _column_kind(columns[name])
        case Number(value):
            return "f" if isinstance(value, float) else "i"
        case Boolean():
            return "b"
        case Unary("!", operand):
            return "b" if _kind(operand, columns) else None
        case Unary("-", operand):
            inner = _kind(operand, columns)
            return inner if inner == "f" or isinstance(operand, Number) else None
        case Comparison(first, _, others):
            return "b" if all(_kind(part, columns) for part in (first, *others)) else None
        case Binary(operator, left, right):
            return _binary_kind(operator, _kind(left, columns), _kind(right, columns))
        case Call(function, (argument,), None):
            inner = _kind(argument, columns)
            if function in _REDUCERS:
                result = _REDUCERS[function]
                return result if inner == "f" or (inner and result != "f") else None
            return "f" if function in _ELEMENTWISE and inner == "f" else None
    return None


def _binary_kind(operator: str, left: str | None, right: str | None) -> str | None:
    if left is None or right is None:
        return None
    if operator in {"&&", "||"}:
        return "b"
    if operator == "/" or (operator in {"+", "-", "*"} and "f" in {left, right}):
        return "f"
    return None


def _column_kind(values: Any) -> str | None:
    """Numbers that arithmetic takes as they are: floats, bools, integers of at most 32 bits."""
    lists = flat(values)
    numbers = values if lists is None else lists[1]
    if not isinstance(numbers, np.ndarray) or numbers.ndim != 1:
        return None
    dtype = numbers.dtype
    if dtype.kind in "iu":
        return "i" if dtype.itemsize <= _SMALL else None
    return dtype.kind if dtype.kind in "fb" else None
