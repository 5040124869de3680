"""`Sample`: a matrix of finite numbers with names and weights; the checks are made here, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.statistics import effective_events
from rootml._internal.types import Float
from rootml.errors import (
    CastError,
    EmptySelectionError,
    MissingColumnError,
    NonFiniteError,
    SchemaError,
    UnsupportedTypeError,
    UsageError,
    nearest,
)

_CONSTANT = 0.999


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows (events, or objects of events) of one domain.

    Attributes:
        what: What it is called in messages, e.g. ``"data"``.
        names: Of the columns.
        values: `(rows, columns)` float64, finite.
        weights: `(rows,)` float64, adding up to something positive; single ones may be negative.
        events: `(rows,)` integers, the same for rows of one event, in other samples too: a
            classifier is never tested on an event that it was trained on. None: all differ.
    """

    what: str
    names: tuple[str, ...]
    values: Float
    weights: Float
    events: npt.NDArray[Any] | None = None

    @classmethod
    def of(
        cls, columns: Mapping[str, Any], weights: Any = None, *, what: str, events: Any = None
    ) -> Sample:
        """Check columns `{name: (rows,)}`, weights and events `(rows,)`.

        Raises:
            EmptySelectionError: No rows.
            SchemaError: Columns of different lengths.
            UnsupportedTypeError: A column that is not one number per row.
            NonFiniteError: NaN or infinity.
            CastError: An integer that float64 cannot hold.
            UsageError: Weights that add up to nothing or less.

        >>> Sample.of({"pt": [1.0, 2.0]}, [1.0, -0.5], what="data").effective
        0.2
        """
        arrays = {name: _numbers(what, name, values) for name, values in columns.items()}
        lengths = {name: len(array) for name, array in arrays.items()}
        if weights is not None:
            arrays_w = _numbers(what, "weight", weights)
            lengths["weight"] = len(arrays_w)
        if events is not None:
            events = np.asarray(events)
            if events.dtype.kind not in "iu" or events.ndim != 1:
                message = f"{what}: events has type {events.dtype}: expected one integer per row"
                raise UnsupportedTypeError(message)
            lengths["events"] = len(events)
        if len(set(lengths.values())) > 1:
            message = f"{what}: columns of different lengths: {lengths}"
            raise SchemaError(message)
        rows = next(iter(lengths.values()), 0)
        if not rows:
            message = f"{what}: there are no events to compare"
            raise EmptySelectionError(message)
        w = np.ones(rows) if weights is None else arrays_w
        if not w.sum() > 0:
            negative = int((w < 0).sum())
            message = (
                f"{what}: the weights of {rows:,} rows add up to {w.sum():g} ({negative:,} are "
                "negative): expected more than 0"
            )
            raise UsageError(message)
        return cls(what, tuple(arrays), np.column_stack(list(arrays.values())), w, events)

    @property
    def effective(self) -> float:
        """``(sum w)**2 / sum w**2``."""
        return effective_events(self.weights)

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.values)

    def column(self, name: str) -> Float:
        """One column, `(rows,)`."""
        return self.select([name]).values[:, 0]

    def select(self, names: Iterable[str]) -> Sample:
        """The columns of these names, in this order.

        Raises:
            MissingColumnError: There is none of that name.
        """
        chosen = tuple(names)
        for name in chosen:
            if name not in self.names:
                message = f"{self.what}: no column {name!r}; nearest: {nearest(name, self.names)}"
                raise MissingColumnError(message)
        indices = [self.names.index(name) for name in chosen]
        return Sample(self.what, chosen, self.values[:, indices], self.weights, self.events)

    def take(self, rows: npt.NDArray[Any]) -> Sample:
        """Some rows: numbers or a mask."""
        events = None if self.events is None else self.events[rows]
        return Sample(self.what, self.names, self.values[rows], self.weights[rows], events)

    def weighted(self, factors: Any) -> Sample:
        """The same rows with weights multiplied.

        Raises:
            UsageError: As `of`.
        """
        factors = _numbers(self.what, "kinematic weight", factors)
        columns = dict(zip(self.names, self.values.T, strict=True))
        return Sample.of(columns, self.weights * factors, what=self.what, events=self.events)

    def check_varies(self) -> None:
        """Refuse a column of which one value has more than 99.9 % of the weight.

        Raises:
            UsageError: It names the column, the value and the fraction.
        """
        size = np.abs(self.weights)
        for name, values in zip(self.names, self.values.T, strict=True):
            middle = np.median(values)
            part = float(size[values == middle].sum() / size.sum())
            if part > _CONSTANT:
                message = (
                    f"{self.what}: {name!r} is {middle:g} for {100 * part:.3f} % of the weight "
                    f"({self.rows:,} rows): there is no shape to compare"
                )
                raise UsageError(message)


def _numbers(what: str, name: str, values: Any) -> Float:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        message = (
            f"{what}: {name!r} has shape {array.shape} and type {array.dtype}: expected one "
            "number per row"
        )
        raise UnsupportedTypeError(message)
    result: Float = array.astype(np.float64)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        wrong = (array > 2**53) | (array < -(2**53))
        if wrong.any():
            message = f"{what}: {name!r} has {array[wrong][0]}, which float64 cannot hold exactly"
            raise CastError(message)
    bad = ~np.isfinite(result)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        message = (
            f"{what}: {name!r} is not finite in {int(bad.sum()):,} of {len(result):,} rows, first "
            f"in row {first} ({result[first]}): cut these events, or give them a value"
        )
        raise NonFiniteError(message)
    return result
