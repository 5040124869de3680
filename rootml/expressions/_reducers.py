"""Reducers: from the list of each event to one number.

Each takes lists of one level, ``(events, list)``, and gives the results and which events have one
(None: all of them). What the list of an event lacks, and what of it is unknown, is not seen here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np

from rootml._internal.types import EventValues
from rootml.errors import ExpressionError
from rootml.expressions._integers import check_product, check_sum
from rootml.expressions._values import (
    Data,
    Mask,
    Value,
    as_logical,
    as_number,
    both,
    spread,
)


def counts(data: Data) -> EventValues:
    """The length of the list of each event."""
    return np.asarray(ak.num(data, axis=1)).astype(np.int64)


def sum_(data: Data) -> tuple[Any, Mask | None]:
    numbers = as_number(data)
    check_sum(numbers)
    return np.asarray(ak.sum(numbers, axis=1)), None


def product(data: Data) -> tuple[Any, Mask | None]:
    numbers = as_number(data)
    check_product(numbers)
    return np.asarray(ak.prod(numbers, axis=1)), None


def count(data: Data) -> tuple[Any, Mask | None]:
    return counts(data), None


def any_(data: Data) -> tuple[Any, Mask | None]:
    return np.asarray(ak.any(as_logical(data), axis=1)), None


def all_(data: Data) -> tuple[Any, Mask | None]:
    return np.asarray(ak.all(as_logical(data), axis=1)), None


def _filled(reduced: Any, data: Data) -> tuple[Any, Mask | None]:
    """A result that empty lists do not have."""
    filled = np.asarray(ak.fill_none(reduced, 0))
    return filled, counts(data) > 0


def _extreme(reducer: Callable[..., Any], data: Data) -> tuple[Any, Mask | None]:
    """The largest or smallest; NaN if there is a NaN, wherever in the list, as NumPy."""
    numbers = as_number(data)
    reduced, there = _filled(reducer(numbers, axis=1), data)
    if reduced.dtype.kind == "f":
        reduced = np.where(np.asarray(ak.any(np.isnan(numbers), axis=1)), np.nan, reduced)
    return reduced, there


def max_(data: Data) -> tuple[Any, Mask | None]:
    return _extreme(ak.max, data)


def min_(data: Data) -> tuple[Any, Mask | None]:
    return _extreme(ak.min, data)


def _position(reducer: Callable[..., Any], data: Data) -> tuple[Any, Mask | None]:
    """Where the largest or smallest is; the first NaN if there is one, as NumPy."""
    numbers = as_number(data)
    position, there = _filled(reducer(numbers, axis=1), data)
    unordered = np.isnan(numbers * 1.0)
    first = np.asarray(ak.fill_none(ak.argmax(unordered, axis=1), 0))
    return np.where(np.asarray(ak.any(unordered, axis=1)), first, position), there


def argmax(data: Data) -> tuple[Any, Mask | None]:
    return _position(ak.argmax, data)


def argmin(data: Data) -> tuple[Any, Mask | None]:
    return _position(ak.argmin, data)


def mean(data: Data) -> tuple[Any, Mask | None]:
    number = counts(data)
    return np.asarray(ak.sum(as_number(data) * 1.0, axis=1)) / np.maximum(number, 1), number > 0


def _squares(data: Data) -> Any:
    """The sum of squared deviations from the mean."""
    deviation = as_number(data) * 1.0 - mean(data)[0]
    return np.asarray(ak.sum(deviation * deviation, axis=1))


def var(data: Data) -> tuple[Any, Mask | None]:
    """Population variance, as `numpy.var`."""
    number = counts(data)
    return _squares(data) / np.maximum(number, 1), number > 0


def std(data: Data) -> tuple[Any, Mask | None]:
    """Population standard deviation, as `numpy.std`."""
    variance, there = var(data)
    return np.sqrt(variance), there


def root_mean(data: Data) -> tuple[Any, Mask | None]:
    """ROOT::VecOps::Mean: of an empty list 0."""
    return mean(data)[0], None


def root_var(data: Data) -> tuple[Any, Mask | None]:
    """ROOT::VecOps::Var: divided by n - 1; of fewer than two numbers 0."""
    number = counts(data)
    return np.where(number > 1, _squares(data) / np.maximum(number - 1, 1), 0.0), None


def root_std(data: Data) -> tuple[Any, Mask | None]:
    """ROOT::VecOps::StdDev: the root of `root_var`."""
    return np.sqrt(root_var(data)[0]), None


def draw_max(data: Data) -> tuple[Any, Mask | None]:
    """``Max$`` as TTree::Draw has it: of an empty list 0."""
    return max_(data)[0], None


def draw_min(data: Data) -> tuple[Any, Mask | None]:
    """``Min$`` as TTree::Draw has it: of an empty list 0."""
    return min_(data)[0], None


def masked(reducer: Callable[[Data], tuple[Any, Mask | None]]) -> Callable[..., Value]:
    """A reducer of the elements whose condition holds."""

    def apply(value: Value, condition: Value) -> Value:
        """MaxIf$(x, c): over the elements whose condition holds."""
        if not value.lists or not condition.lists:
            message = "MaxIf$ and MinIf$ need two lists of equal lengths"
            raise ExpressionError(message)
        chosen = ak.from_regular(ak.Array(as_logical(condition.data)))
        reduced, there = reducer(ak.Array(value.data)[chosen])
        if value.known is not None:
            known = ak.Array(spread(value.known, value.data))[chosen]
            there = both(there, np.asarray(ak.all(known, axis=1)))
        return Value(reduced, both(there, both(value.there, condition.valid)))

    return apply
