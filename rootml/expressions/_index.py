"""``x[i]``: elements, slices and selections of the list of each event.

A literal index counts as in Python: ``[-1]`` is the last. A computed one does not: the -1 of
``Muon_pt[Jet_muonIdx1[0]]`` says that there is none, so a negative index, like one past the end,
gives a missing element.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import awkward as ak
import numpy as np

from rootml.errors import ExpressionError
from rootml.expressions._nodes import (
    Binary,
    Boolean,
    Call,
    Comparison,
    Index,
    Name,
    Node,
    Number,
    Slice,
    Unary,
)
from rootml.expressions._values import (
    Data,
    Mask,
    Value,
    align,
    as_logical,
    as_number,
    both,
    is_strings,
    leaf_dtype,
    spread,
)


def is_literal(index: Node) -> bool:
    """Whether an index is a number as written."""
    if isinstance(index, Unary) and index.operator == "-":
        index = index.operand
    return isinstance(index, Number)


def check_indexable(value: Value) -> None:
    """Check that there are lists.

    Raises:
        ExpressionError: One value per event.
    """
    if is_strings(value.data) or not value.lists:
        message = "an index needs a list; this is one value per event"
        raise ExpressionError(message)
    if isinstance(value.data, ak.Array) and ak.to_layout(value.data).is_record:
        message = "an index needs a list; this is a record: write x.member[i], or x[i].member"
        raise ExpressionError(message)


def sliced(value: Value, part: Slice) -> Value:
    """``x[start:stop:step]`` of each event."""
    where = slice(part.start, part.stop, part.step)
    known = None if value.known is None else value.known[:, where]
    return Value(value.data[:, where], value.there, known)


Role = Literal["condition", "positions", "ambiguous"]


def role_of(index: Node, columns: Mapping[str, Any]) -> Role:
    """What a list of integers in ``x[...]`` is: by its spelling, since languages differ.

    Bits (``flags & 4``) and products with a condition select where they are not zero, as in
    RDataFrame. ``argsort``, ``local_index`` and ``argmax(..., keepdims=True)`` are Python's
    positions. Any other list of integers selects in RDataFrame and is positions in Python.
    """
    match index:
        case Binary("&" | "|" | "*" | "+", left, right):
            bits = index.operator in {"&", "|"}
            sides = [_is_condition(side, columns) for side in (left, right)]
            if bits or all(sides) or (any(sides) and index.operator == "*"):
                return "condition"
        case Call("argsort" | "local_index" | "as_list"):
            return "positions"
        case Index(inner, _):
            return role_of(inner, columns)
    return "ambiguous"


def _is_condition(node: Node, columns: Mapping[str, Any]) -> bool:
    match node:
        case Comparison() | Boolean() | Unary("!") | Binary("&&" | "||"):
            return True
        case Binary("&" | "|" | "*", left, right):
            return _is_condition(left, columns) and _is_condition(right, columns)
        case Name(name):
            column = columns[name]
            data = column.data if isinstance(column, Value) else column
            return not is_strings(data) and leaf_dtype(data).kind == "b"
        case Call("bool" | "isnan" | "isfinite" | "isinf"):
            return True
        case Index(operand, _):
            return _is_condition(operand, columns)
    return False


def indexed(value: Value, index: Value, num_events: int, *, literal: bool, role: Role) -> Value:
    """``x[i]``: an element, a mask's selection, or the elements at a list of positions.

    Args:
        literal: Whether the index is a number as written: -1 is the last element then.
        role: What a list of integers means; see `role_of`.

    Raises:
        ExpressionError: An index that is neither bool nor whole numbers, or that means one thing
            in ROOT and another one in Python.
    """
    if not index.lists and leaf_dtype(index.data).kind == "b":
        message = (
            "a condition with one value per event selects nothing in a list: C++ would take "
            "element 0 or 1, awkward events; write where(condition, x, ...), or filter the events"
        )
        raise ExpressionError(message)
    if index.lists and leaf_dtype(index.data).kind in "iu":
        if role == "ambiguous":
            message = (
                "a list of whole numbers in [...] selects where it is not zero in RDataFrame, and "
                "gives positions in Python; write x[i != 0] for the one, or Take(x, i) for the "
                "other"
            )
            raise ExpressionError(message)
        if role == "condition":
            index = replace(index, data=as_logical(index.data))
    kind = leaf_dtype(index.data).kind
    if kind not in "biu":
        what = "bool or whole numbers" if index.lists else "a whole number"
        message = f"an index must be {what}, this one is {leaf_dtype(index.data)}"
        raise ExpressionError(message)
    there = both(value.there, index.valid)
    known = None if value.known is None else spread(value.known, value.data)
    if kind == "b":
        selected = None if known is None else _selected(known, index.data)
        return Value(_selected(value.data, index.data), there, selected)
    if index.lists:
        return gathered(value, index)
    position = np.broadcast_to(as_number(index.data), (num_events,))
    return _element(value.data, known, position, there, literal=literal)


def _element(
    data: Data, known: Data | None, position: Any, there: Mask | None, *, literal: bool
) -> Value:
    """One element per event; events that do not have it are not there."""
    content, starts, counts = _flat(data)
    if literal:
        position = np.where(position < 0, position + counts, position)
    found = (position >= 0) & (position < counts)
    flat = np.where(found, starts + position, 0)
    chosen = _taken(content, flat)
    there = both(there, None if found.all() else found)
    if known is None:
        return Value(chosen, there)
    elements = _taken(_flat(known)[0], flat)
    if elements.ndim > 1:
        return Value(chosen, there, elements)
    return Value(chosen, both(there, elements))


def gathered(value: Value, index: Value) -> Value:
    """The elements at a list of positions; those outside of the list are not known.

    Raises:
        ExpressionError: Not one list of whole numbers in each event.
    """
    if value.data.ndim < 2 or is_strings(value.data):
        message = "an element needs a list; this is one value per event"
        raise ExpressionError(message)
    if leaf_dtype(index.data).kind not in "iu" or index.data.ndim != 2:
        message = "a list of positions must be one list of whole numbers per event"
        raise ExpressionError(message)
    known = None if value.known is None else spread(value.known, value.data)
    positions = ak.from_regular(ak.Array(index.data), axis=1)
    content, starts, counts = _flat(value.data)
    number = np.asarray(ak.num(positions, axis=1))
    flat = as_number(ak.to_numpy(ak.flatten(positions)))
    event = np.repeat(np.arange(len(number)), number)
    found = (flat >= 0) & (flat < counts[event])
    if index.known is not None:
        found &= ak.to_numpy(ak.flatten(spread(index.known, positions)))
    flat = np.where(found, starts[event] + flat, 0)
    chosen = ak.unflatten(ak.Array(_taken(content, flat)), number)
    elements = None if found.all() else ak.unflatten(ak.Array(found), number)
    if known is not None:
        inner = ak.unflatten(ak.Array(_taken(_flat(known)[0], flat)), number)
        elements = inner if elements is None else elements & inner
    return Value(chosen, both(value.there, index.there), elements)


def _flat(data: Data) -> tuple[Any, Any, Any]:
    """All elements one after another, and where the list of each event starts and its length."""
    if not isinstance(data, ak.Array):
        starts = np.arange(len(data)) * data.shape[1]
        return data.reshape(-1, *data.shape[2:]), starts, np.full(len(data), data.shape[1])
    layout = ak.to_layout(data).to_ListOffsetArray64(True)
    offsets = np.asarray(layout.offsets.data)
    return ak.Array(layout.content), offsets[:-1], np.diff(offsets)


def _taken(content: Any, positions: Any) -> Any:
    """Elements of flat `content`; without any, something to point at that is not looked at."""
    if not len(content):
        content = _padded(content)
    data = content[positions]
    if isinstance(data, ak.Array) and ak.to_layout(data).is_numpy and data.ndim == 1:
        return ak.to_numpy(data)
    return data


def _padded(content: Any) -> Any:
    if not isinstance(content, ak.Array):
        return np.zeros((1, *content.shape[1:]), content.dtype)
    layout = ak.to_layout(content)
    if layout.is_numpy:
        return ak.Array(np.zeros(1, layout.dtype))
    return ak.Array(layout.form.length_one_array(highlevel=False))


def _selected(data: Data, chosen: Data) -> Data:
    """Elements by a list of bools, or whole lists by a bool per event."""
    lists = ak.Array(data)
    if chosen.ndim < 2:
        chosen = ak.broadcast_arrays(lists, np.broadcast_to(chosen, (len(lists),)))[1]
    else:
        align(lists, chosen)
        chosen = ak.Array(chosen)
    return lists[ak.from_regular(chosen)]
