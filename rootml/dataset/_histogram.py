"""Histograms of a dataset, filled partition by partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from rootml._internal.optional import optional_import
from rootml._internal.types import Array, Float
from rootml.dataset._reader import EventBlock
from rootml.errors import EmptySelectionError, NonFiniteError, UnsupportedTypeError, UsageError

if TYPE_CHECKING:
    import hist

Bins = int | Sequence[float]


@dataclass(frozen=True, slots=True)
class Fill:
    """Fills an empty copy of a histogram with the events of a block."""

    column: str
    empty: Any

    def __call__(self, block: EventBlock) -> hist.Hist[Any]:
        filled: hist.Hist[Any] = self.empty.copy()
        values, counts = flat(block, self.column)
        weight = None if block.weight is None else repeated(block.weight, counts)
        if block.label is None:
            filled.fill(values, weight=weight)
            return filled
        labels = repeated(block.label, counts)
        for label in np.unique(labels):
            mine = labels == label
            filled.fill(
                f"{label:g}", values[mine], weight=None if weight is None else weight[mine]
            )
        return filled


@dataclass(frozen=True, slots=True)
class Extent:
    """The smallest and the largest value of a block."""

    column: str

    def __call__(self, block: EventBlock) -> tuple[float, float]:
        values, _ = flat(block, self.column)
        if not len(values):
            return np.inf, -np.inf
        return float(values.min()), float(values.max())


def flat(block: EventBlock, name: str) -> tuple[Float, Any]:
    """All numbers of a column, and how many each event has (None: one each).

    Raises:
        UnsupportedTypeError: Not numbers.
        NonFiniteError: NaN or infinity, which no bin holds.
    """
    column, counts = block.columns[name], None
    if isinstance(column, ak.Array) or column.ndim > 1:
        array = ak.Array(column)
        if array.ndim > 1:
            numbers = ak.num(array, axis=-1)
            while numbers.ndim > 1:
                numbers = ak.sum(numbers, axis=-1)
            counts = np.asarray(numbers)
        column = ak.flatten(array, axis=None) if array.ndim > 1 else array
    try:
        values = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        message = f"{name!r} has no numbers to put into a histogram: {error}"
        raise UnsupportedTypeError(message) from error
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        message = f"{name!r}: {bad:,} values are NaN or infinite; cut them away with isfinite(...)"
        raise NonFiniteError(message)
    return values, counts


def repeated(values: Any, counts: Any) -> Array:
    """One value per event, for each number that the event has."""
    return values if counts is None else np.repeat(values, counts)


def empty_histogram(name: str, edges: Any, labels: Sequence[float]) -> hist.Hist[Any]:
    """A `hist.Hist` without entries: a category axis if there are labels, then the quantity."""
    package = optional_import("hist", feature="Dataset.hist()", extra="plot")
    axes = (
        []
        if not labels
        else [package.axis.StrCategory([f"{label:g}" for label in labels], name="label")]
    )
    kind = package.axis.Regular if isinstance(edges, tuple) else package.axis.Variable
    axis = kind(*edges, name="value") if isinstance(edges, tuple) else kind(edges, name="value")
    axis.label = name
    empty: hist.Hist[Any] = package.Hist(*axes, axis, storage=package.storage.Weight())
    return empty


def check_bins(bins: Any, span: Any) -> tuple[int, float, float] | Float | None:
    """Edges, or ``(number, low, high)``; None: the range has to be found.

    Raises:
        UsageError: Not bins.
    """
    if isinstance(bins, (int, np.integer)) and not isinstance(bins, bool) and bins > 0:
        if span is None:
            return None
        low, high = span
        if np.isfinite([low, high]).all() and low < high:
            return int(bins), float(low), float(high)
        message = f"range={span!r}: expected (low, high) with low < high"
        raise UsageError(message)
    edges = np.asarray(bins, dtype=np.float64) if np.iterable(bins) else np.zeros(0)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        message = f"bins={bins!r}: expected a number of bins, or rising edges"
        raise UsageError(message)
    if span is not None:
        message = "range= goes with a number of bins, edges have one already"
        raise UsageError(message)
    return edges


def span_of(extents: Sequence[tuple[float, float]], where: str) -> tuple[float, float]:
    """The range that holds all values, the largest too.

    Raises:
        EmptySelectionError: There are none.
    """
    low = min((each[0] for each in extents), default=np.inf)
    high = max((each[1] for each in extents), default=-np.inf)
    if low > high:
        message = f"{where}: there is no value to put into a histogram"
        raise EmptySelectionError(message)
    if low == high:
        return low - 0.5, high + 0.5
    return low, float(np.nextafter(high, np.inf)) + 1e-12 * (high - low)
