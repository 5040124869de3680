"""Functions that make a list of each event: sorted, taken, joined, combined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np

from rootml.errors import ExpressionError
from rootml.expressions._index import gathered
from rootml.expressions._reducers import counts
from rootml.expressions._values import (
    Data,
    Value,
    as_logical,
    as_number,
    both,
    is_strings,
    leaf_dtype,
    spread,
)


def _list_of(value: Value, name: str, *, known: bool = True) -> Data:
    """The awkward lists of one level of each event; `known`: refuse unknown elements.

    Raises:
        ExpressionError: Something else.
    """
    if is_strings(value.data) or not value.lists or value.data.ndim != 2:
        message = f"{name} needs one list of numbers in each event"
        raise ExpressionError(message)
    if known and value.known is not None and not bool(ak.all(value.known, axis=None)):
        message = (
            f"{name} of a list with missing elements; give a value for them with fill_none(x, "
            "value), or select the others"
        )
        raise ExpressionError(message)
    return ak.from_regular(ak.Array(value.data))


def _whole(value: Value, name: str) -> int:
    """A constant integer argument."""
    if value.data.ndim or leaf_dtype(value.data).kind != "i":
        message = f"{name} takes a whole number here, the same for all events"
        raise ExpressionError(message)
    return int(value.data)


def sort(value: Value, ascending: Value | None = None) -> Value:
    """Numbers in ascending order, or in descending order."""
    up = ascending is None or bool(ascending.data)
    return Value(ak.sort(_list_of(value, "sort"), axis=1, ascending=up), value.there)


def argsort(value: Value, ascending: Value | None = None) -> Value:
    """The positions of the numbers in order; those of equal numbers stay in order."""
    up = ascending is None or bool(ascending.data)
    lists = _list_of(value, "argsort")
    return Value(ak.argsort(lists, axis=1, ascending=up, stable=True), value.there)


def reverse(value: Value) -> Value:
    known = None if value.known is None else spread(value.known, value.data)[:, ::-1]
    return Value(_list_of(value, "Reverse", known=False)[:, ::-1], value.there, known)


def nonzero(value: Value) -> Value:
    """The positions of what is not zero."""
    lists = _list_of(value, "Nonzero")
    return Value(ak.local_index(lists, axis=1)[as_logical(lists)], value.there)


def local_index(value: Value) -> Value:
    """0, 1, 2, ... for the elements of the list."""
    return Value(ak.local_index(ak.from_regular(ak.Array(value.data)), axis=1), value.there)


def concatenate(*values: Value) -> Value:
    """The lists of each event, one behind the other."""
    lists = [_list_of(value, "Concatenate", known=False) for value in values]
    there = None
    for value in values:
        there = both(there, value.there)
    known = None
    if any(value.known is not None for value in values):
        masks = [
            spread(np.array(True) if value.known is None else value.known, data)
            for value, data in zip(values, lists, strict=True)
        ]
        known = ak.concatenate(masks, axis=1)
    return Value(ak.concatenate(lists, axis=1), there, known)


def take(value: Value, index: Value, default: Value | None = None) -> Value:
    """ROOT::VecOps::Take(x, positions) and Take(x, n): the first n, or the last -n.

    Raises:
        ExpressionError: ``Take(x, n)`` of a shorter list without a default.
    """
    if index.lists:
        found = gathered(value, index)
    else:
        found = _first(value, _whole(index, "Take"), padded=default is not None)
    if default is None:
        return found
    return fill(found, default)


def _first(value: Value, number: int, *, padded: bool) -> Value:
    lists = ak.from_regular(ak.Array(value.data))
    size = counts(lists)
    if not padded and bool(np.any(size < abs(number))):
        message = (
            f"Take(x, {number}) of a list of {int(size.min())} elements is an error in ROOT; "
            f"write x[{':' + str(number) if number >= 0 else str(number) + ':'}] for at most so "
            f"many, or Take(x, {number}, default)"
        )
        raise ExpressionError(message)
    start = np.zeros(len(size), np.int64) if number >= 0 else size + number
    positions = start[:, None] + np.arange(abs(number))
    if padded and number < 0:  # ROOT fills at the front
        positions = np.where(positions < 0, -1, positions)
    return gathered(value, Value(ak.from_regular(ak.Array(positions))))


def fill(value: Value, default: Value) -> Value:
    """`value` with `default` for its unknown elements."""
    if value.known is None:
        return value
    data, known = as_number(value.data), spread(value.known, value.data)
    other = as_number(default.data)
    return Value(ak.where(known, *ak.broadcast_arrays(data, other)), value.there)


def pad_none(value: Value, length: Value, clip: Value | None = None) -> Value:
    """At least `length` elements, the new ones unknown; with `clip` exactly so many."""
    target = _whole(length, "pad_none")
    size = counts(value.data)
    wanted = np.full(len(size), target) if clip is not None and bool(clip.data) else None
    wanted = np.maximum(size, target) if wanted is None else wanted
    positions = ak.local_index(ak.unflatten(np.zeros(int(wanted.sum()), np.int8), wanted), axis=1)
    return gathered(value, Value(positions))


def drop_none(value: Value) -> Value:
    """The elements that are known."""
    if value.known is None:
        return value
    known = ak.from_regular(ak.Array(spread(value.known, value.data)))
    return Value(ak.from_regular(ak.Array(value.data))[known], value.there)


def is_none(value: Value) -> Value:
    """Whether the event, or the element, is missing."""
    if not value.lists:
        size = len(value.data) if value.data.ndim else ()
        return Value(np.zeros(size, bool) if value.there is None else ~value.there)
    known = np.array(True) if value.known is None else value.known
    return Value(~spread(known, value.data), value.there)


def as_list(value: Value) -> Value:
    """A list of the one number of each event, as ``keepdims=True`` makes it."""
    size = np.ones(len(value.data), np.int64)
    known = None if value.there is None else ak.unflatten(value.there, size)
    return Value(ak.unflatten(value.data, size), None, known)


def combinations(one: Value, other: Value) -> Value:
    """ROOT::VecOps::Combinations: lists of positions.

    ``Combinations(x, n)``: all sets of n elements, n lists. ``Combinations(x, y)``: all pairs of
    an element of each, two lists.
    """
    if other.lists:
        lists = [_list_of(each, "Combinations", known=False) for each in (one, other)]
        pairs = ak.argcartesian(lists, axis=1)
    else:
        number = _whole(other, "Combinations")
        pairs = ak.argcombinations(_list_of(one, "Combinations", known=False), number, axis=1)
    fields = [pairs[field] for field in pairs.fields]
    positions = ak.concatenate([field[:, np.newaxis] for field in fields], axis=1)
    return Value(ak.from_regular(positions, axis=1), both(one.there, other.there))


def flatten(value: Value) -> Value:
    """Lists of lists as one list, ``ak.flatten(x, axis=2)``."""
    if value.data.ndim < 3:
        message = "flatten(x, axis=2) needs a list of lists in each event"
        raise ExpressionError(message)
    known = None if value.known is None else ak.flatten(spread(value.known, value.data), axis=2)
    return Value(ak.flatten(ak.from_regular(ak.Array(value.data)), axis=2), value.there, known)


def like(number: float) -> Callable[[Value], Value]:
    """Lists of the same lengths with one number."""

    def apply(value: Value) -> Value:
        data: Any = as_number(value.data) * 0 + number
        return Value(data, value.there, value.known)

    return apply
