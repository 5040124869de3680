"""From events to rows and back: what is morphed is a row, an event or an element of its lists.

If any of the columns is a list per event (one number per photon, jet, ...), all features have to
be, all lists of an event have one length, and the event's own numbers are repeated for each.

A row has a *key*, 64 bits from the event's id (or its position) and the number of the element; its
random numbers are functions of that and of the seed, see `_draws`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float
from rootml.dataset import hash_ids, hash_text
from rootml.errors import (
    CastError,
    MissingColumnError,
    NonFiniteError,
    SchemaError,
    UnsupportedTypeError,
    nearest,
)
from rootml.sbi.morphing.preprocessing._atom_draws import SAMPLE, Keys, uniforms
from rootml.storage import Column, type_of_values

if TYPE_CHECKING:
    from rootml.dataset import Dataset, EventBlock

logger = logging.getLogger(__name__)

Counts = npt.NDArray[np.int64]

_EXACT = 2**53


@dataclass(frozen=True, slots=True)
class Names:
    """The columns that a morpher deals with.

    Attributes:
        features: Those that are changed.
        conditions: Those that the change depends on.
        ids: Those that identify an event; empty: its position does.
    """

    features: tuple[str, ...]
    conditions: tuple[str, ...]
    ids: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """All of them, each once."""
        return list(dict.fromkeys((*self.features, *self.conditions, *self.ids)))


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one domain in memory.

    Attributes:
        features: float64 `(rows, features)`.
        conditions: float64 `(rows, conditions)`.
        weights: float64 `(rows,)`.
        keys: uint64 `(rows,)`.
        events: uint64 `(rows,)`, the key of the event that a row belongs to.
        counts: int64 `(events,)`, rows of each event; None: one each.
    """

    features: Float
    conditions: Float
    weights: Float
    keys: Keys
    events: Keys
    counts: Counts | None = None

    def __len__(self) -> int:
        return len(self.weights)

    def take(self, rows: Any) -> Rows:
        """Some of the rows."""
        return Rows(
            self.features[rows],
            self.conditions[rows],
            self.weights[rows],
            self.keys[rows],
            self.events[rows],
        )

    def subsample(self, limit: int) -> Rows:
        """At limit so many, evenly spaced: files may be sorted, the first rows unlike the rest."""
        return self if len(self) <= limit else self.take(evenly_spaced(len(self), limit))

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        """Rows without NaN or infinity in a feature or a condition."""
        groups = (self.features, self.conditions)
        return np.logical_and(*(np.asarray(np.isfinite(each).all(axis=1)) for each in groups))


def evenly_spaced(count: int, limit: int) -> npt.NDArray[np.intp]:
    """Numbers of all rows, or of `limit` evenly spaced ones."""
    return np.linspace(0, max(0, count - 1), min(count, limit)).astype(np.intp)


def event_numbers(events: Keys) -> npt.NDArray[np.intp]:
    """For each row the number of its event, `(rows,)`: 0, 1, 2, ... as they come.

    A division of rows into training and test is one of events: rows of one event share the
    conditions that are one number per event, so that a classifier that has seen one of them knows
    where the others belong.

    >>> event_numbers(np.array([7, 7, 3], np.uint64))
    array([0, 0, 1])
    """
    _, first, places = np.unique(events, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[places], np.intp)


def concatenate_rows(parts: Sequence[Rows]) -> Rows:
    """Rows of several parts; counts are lost."""
    return Rows(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("features", "conditions", "weights", "keys", "events")
        )
    )


def rows_of(
    columns: Mapping[str, Column], names: Names, events: Keys, weights: Any = None, *, where: str
) -> Rows:
    """Rows of events in memory.

    Args:
        events: Keys of the events.
        weights: `(events,)`; None: 1.

    Raises:
        SchemaError: Lists of different lengths, or lists beside features that are none.
        UnsupportedTypeError: A column that is neither a number nor a list of numbers per event.
        CastError: An integer that float64 does not hold.
    """
    used = {name: columns[name] for name in (*names.features, *names.conditions)}
    counts = _counts(used, names, where)
    index = None if counts is None else np.repeat(np.arange(len(counts)), counts)
    flat = {name: _numbers(name, column, index, where) for name, column in used.items()}
    number = len(events) if index is None else len(index)
    mass = np.ones(len(events)) if weights is None else np.asarray(weights, np.float64)
    keys = events
    if counts is not None and index is not None:
        events, mass = events[index], mass[index]
        element = np.arange(number) - np.repeat(np.cumsum(counts) - counts, counts)
        keys = hash_ids([events, element], number, seed=0)
    return Rows(
        _matrix([flat[name] for name in names.features], number),
        _matrix([flat[name] for name in names.conditions], number),
        mass,
        keys,
        events,
        counts,
    )


def _matrix(columns: Sequence[Float], rows: int) -> Float:
    result = np.empty((rows, len(columns)))
    for j, column in enumerate(columns):
        result[:, j] = column
    return result


def _counts(columns: Mapping[str, Column], names: Names, where: str) -> Counts | None:
    """Rows of each event; None: no lists at all."""
    lists: dict[str, Counts] = {}
    for name, column in columns.items():
        kind = type_of_values(column)
        if kind.kind == "jagged" and kind.depth == 1 and not kind.shape:
            lists[name] = np.asarray(ak.num(column, axis=1), np.int64)
        elif kind.kind != "scalar" or kind.dtype is None or kind.dtype.kind not in "biuf":
            message = (
                f"{where}: column {name!r} is of type {kind}; morphing takes one number, or one "
                "list of numbers, per event"
            )
            raise UnsupportedTypeError(message)
    if not lists:
        return None
    alone = [name for name in names.features if name not in lists]
    first, counts = next(iter(lists.items()))
    if alone:
        message = (
            f"{where}: feature {alone[0]!r} is one number per event, {first!r} is a list: "
            "features are all lists, or none is and no condition either"
        )
        raise SchemaError(message)
    for name, other in lists.items():
        if not np.array_equal(other, counts):
            event = int(np.flatnonzero(other != counts)[0])
            message = (
                f"{where}: in event {event:,} {first!r} has {counts[event]} elements, {name!r} "
                f"has {other[event]}: the lists of one event have to be of one length"
            )
            raise SchemaError(message)
    return counts


def _numbers(name: str, column: Column, index: Any, where: str) -> Float:
    """A column as float64, lists joined, an event's number repeated for its rows."""
    if isinstance(column, np.ndarray):
        values = column if index is None else column[index]
    else:
        values = ak.to_numpy(ak.flatten(column, axis=1))
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8 and len(values):
        largest = max(abs(int(values.max())), abs(int(values.min())))
        if largest > _EXACT:
            message = (
                f"{where}: column {name!r} has the value {largest}, which float64 does not hold"
            )
            raise CastError(message)
    return values.astype(np.float64)


def event_keys(
    columns: Mapping[str, Column], names: Names, count: int, entries: Any = None, file: str = ""
) -> Keys:
    """Keys of events, from their ids or, without, from their position.

    Args:
        entries: Position of each event in `file`; None: 0, 1, 2, ...
    """
    if names.ids:
        for name in names.ids:
            _check_id(name, columns[name], file)
        return hash_ids([columns[name] for name in names.ids], count, seed=0)
    position = np.arange(count) if entries is None else entries
    text = np.full(count, hash_text(Path(file).name) if file else 0, np.uint64)
    return hash_ids([text, position], count, seed=0)


def _check_id(name: str, column: Column, file: str) -> None:
    kind = type_of_values(column)
    whole = kind.kind == "scalar" and kind.dtype is not None and kind.dtype.kind in "biu"
    if not whole and kind.kind != "string":
        message = (
            f"{file or 'the events'}: {name!r} is of type {kind}; an id is one integer or string "
            "per event, as in id=['run', 'event']"
        )
        raise UnsupportedTypeError(message)


# --- reading -------------------------------------------------------------------------------------


def rows_of_block(block: EventBlock, names: Names) -> Rows:
    """The rows of a block that was read with its entry numbers."""
    place = block.partition
    keys = event_keys(block.columns, names, block.num_rows, block.entries, place.path)
    return rows_of(block.columns, names, keys, block.weight, where=place.where)


@dataclass(frozen=True, slots=True)
class _FiniteRows:
    """Rows that can be used, and how many cannot: what `read_rows` wants of a partition."""

    names: Names

    def __call__(self, block: EventBlock) -> tuple[Rows, int]:
        rows = rows_of_block(block, self.names)
        bad = int(np.count_nonzero(~np.isfinite(rows.weights)))
        if bad:
            where = block.partition.where
            message = f"{where}: {bad:,} rows have a weight that is NaN or infinite"
            raise NonFiniteError(message)
        good = rows.finite
        return rows.take(good), int((~good).sum())


def read_rows(
    dataset: Dataset,
    names: Names,
    *,
    limit: int,
    seed: int = 0,
    progress: bool | None = None,
    what: str = "reading",
) -> tuple[Rows, int, int]:
    """Rows with finite features and conditions: all, or a uniform random sample of `limit`.

    The sample is of whole rows, the same for any order of the files; memory does not grow beyond
    twice its size.

    Returns:
        The rows, how many finite ones there are in all, and how many are not finite.

    Raises:
        NonFiniteError: A weight that is NaN or infinite.
    """
    parts: list[Rows] = []
    kept = total = bad = 0
    found = dataset.select(names.columns).map_partitions(
        _FiniteRows(names), weight=True, ids=True, progress=progress, what=what
    )
    for rows, lost in found:
        parts.append(rows)
        total, bad = total + len(rows), bad + lost
        kept += len(parts[-1])
        if kept > 2 * limit:
            parts = [_subsample(parts, limit, seed)]
            kept = limit
    if not parts:
        empty = np.zeros(0)
        none = np.zeros(0, np.uint64)
        shape = (0, len(names.features)), (0, len(names.conditions))
        return Rows(np.zeros(shape[0]), np.zeros(shape[1]), empty, none, none), 0, 0
    if bad:
        logger.warning(
            "%s: %d of %d rows have NaN or infinity in a feature or condition and are left out",
            dataset,
            bad,
            total + bad,
        )
    return _subsample(parts, limit, seed), total, bad


def _subsample(parts: Sequence[Rows], limit: int, seed: int) -> Rows:
    rows = concatenate_rows(parts)
    if len(rows) <= limit:
        return rows
    order = uniforms(rows.keys, 1, seed=seed, stream=SAMPLE)[:, 0]
    first = np.sort(np.argpartition(order, limit)[:limit])
    return rows.take(first)


# --- back ----------------------------------------------------------------------------------------


def unflatten(values: npt.NDArray[Any], counts: Counts | None) -> Column:
    """A column of rows as one of events."""
    return values if counts is None else ak.unflatten(ak.Array(values), counts)


def check_present(columns: Sequence[str], names: Names, where: str) -> None:
    """See that all columns are there.

    Raises:
        MissingColumnError: One is not.
    """
    for name in names.columns:
        if name not in columns:
            message = f"{where}: has no column {name!r}; nearest: {nearest(name, columns)}"
            raise MissingColumnError(message)
