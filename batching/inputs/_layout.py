"""How events become rows: which columns go where in a batch, and with which type.

A `Layout` is made once per loader. Its *dense* fields have one fixed-size row per event and live
in arrays that are allocated for many rows at a time; *ragged* fields have values and offsets.
Columns arrive one by one and rows leave one by one, so filling is a transposition (`_rows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Allocate
from rootml._internal.types import Array
from rootml.batching.inputs._batch import Batch, BatchSpec, InputSpec, PaddedArray, RaggedArray
from rootml.batching.inputs._cast import NonFinite, all_finite, apply_nonfinite, check_cast
from rootml.batching.inputs._rows import Part, Strips, tile_rows, write
from rootml.batching.kernels._pad import pad
from rootml.batching.kernels._pad_columns import pad_columns
from rootml.batching.kernels._transpose import Columns
from rootml.errors import NonFiniteError, SchemaError

if TYPE_CHECKING:
    from rootml.dataset import EventBlock

Dense = dict[str, Array]
Ragged = dict[str, RaggedArray]

_BEHIND = 1 << 40
"""A place behind all elements; clipped, it becomes the last one."""
_MAX_TABLED = 128

WEIGHT, TARGET = "w", "y"


@dataclass(frozen=True, slots=True)
class Feature:
    """One number per event: a scalar column, or one element of a fixed array column."""

    column: str
    element: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        """As shown to the user, e.g. ``"matrix[0][1]"``."""
        return self.column + "".join(f"[{i}]" for i in self.element or ())

    def of(self, columns: Mapping[str, Any]) -> Array:
        """Its values, `(events,)`."""
        values: Array = columns[self.column]
        if self.element is None:
            return values
        index: tuple[Any, ...] = (slice(None), *self.element)
        part: Array = values[index]
        return part


@dataclass(frozen=True, slots=True)
class FlatField:
    """A matrix `(rows, feature)`, or a vector if `vector`."""

    key: str
    features: tuple[Feature, ...]
    dtype: np.dtype[Any]
    nonfinite: NonFinite
    vector: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return () if self.vector else (len(self.features),)


@dataclass(frozen=True, slots=True)
class ListField:
    """Jagged columns with common counts: padded to `length`, or ragged if that is None."""

    key: str
    columns: tuple[str, ...]
    dtype: np.dtype[Any]
    nonfinite: NonFinite
    length: int | None
    value: float = 0.0
    order_by: str | None = None
    descending: bool = True

    @property
    def read(self) -> tuple[str, ...]:
        """The columns to read for it."""
        return self.columns if self.order_by is None else (*self.columns, self.order_by)

    @property
    def mask_key(self) -> str:
        """Key of the mask that goes with the values."""
        return _mask_key(self.key)


@dataclass(frozen=True, slots=True)
class RawField:
    """An observer: as it is in the file."""

    key: str
    column: str
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lists:
    """The columns of a ListField over the events of a unit: common offsets, all elements."""

    offsets: npt.NDArray[np.int64]
    strips: Strips

    def elements(self, field: ListField, start: int, out: Array, where: str) -> None:
        """Write elements from `start` on to `out`, `(elements, columns)`.

        Raises:
            NonFiniteError: NaN or infinity, policy "error".
        """

        def mend(rows: Array) -> None:
            for name, values in zip(field.columns, rows.T, strict=True):
                what = f"{where}, column {name!r}"
                apply_nonfinite(values, field.nonfinite, what, is_input=field.key != TARGET)

        write([Part(self.strips, out, None if field.nonfinite == "keep" else mend)], start)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A unit's events, checked, cast where a plain assignment would not do, ready to be filled."""

    where: str
    num_rows: int
    flat: dict[str, Strips]
    lists: dict[str, Lists]
    raw: Dense


@dataclass(frozen=True)
class Layout:
    """The fields of a batch, and the columns that a dataset must deliver for them.

    Attributes:
        label: Whether the target is the dataset's label.
        weight: Whether rows have a weight.
        class_weights: Factors on the weight per label value, for ``balance="weights"``.
        any_order: Columns that are only copied into rows: their byte order does not matter.
    """

    spec: BatchSpec
    flat: tuple[FlatField, ...]
    lists: tuple[ListField, ...]
    raw: tuple[RawField, ...]
    label: bool
    weight: bool
    weight_dtype: np.dtype[Any]
    class_weights: Mapping[float, float] | None = None
    any_order: frozenset[str] = frozenset()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns to read, each once."""
        names = [feature.column for field in self.flat for feature in field.features]
        names += [column for field in self.lists for column in field.read]
        names += [field.column for field in self.raw]
        return tuple(name for name in dict.fromkeys(names) if name != LABEL_COLUMN)

    @property
    def needs_label(self) -> bool:
        """Whether the labels must be read."""
        return self.label or self.class_weights is not None

    @property
    def ragged(self) -> tuple[ListField, ...]:
        """The list fields that are not padded."""
        return tuple(field for field in self.lists if field.length is None)

    def inputs_only(self) -> Layout:
        """The same batches without targets, weights and observers."""
        spec = replace(
            self.spec,
            targets=None,
            y_width=None,
            has_weight=False,
            observers={},
            observer_shapes={},
            target_names=(),
            target_list=None,
            observed_lists=(),
        )
        keys = {input_key(item.name) for item in spec.inputs}
        return replace(
            self,
            spec=spec,
            flat=tuple(field for field in self.flat if field.key in keys),
            lists=tuple(field for field in self.lists if field.key in keys),
            raw=(),
            label=False,
            weight=False,
            class_weights=None,
        )

    def dense_row(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """Type and shape of one row of every dense field."""
        row: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        for field in self.flat:
            row[field.key] = (field.dtype, field.shape)
        for padded in self.lists:
            if padded.length is not None:
                row[padded.key] = (padded.dtype, (padded.length, len(padded.columns)))
                row[padded.mask_key] = (np.dtype(bool), (padded.length,))
        for raw in self.raw:
            row[raw.key] = (raw.dtype, raw.shape)
        if self.weight:
            row[WEIGHT] = (self.weight_dtype, ())
        return row

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of all dense fields."""
        return sum(
            dtype.itemsize * int(np.prod(shape, dtype=np.int64))
            for dtype, shape in self.dense_row().values()
        )

    def allocate(self, rows: int, allocate: Allocate = np.empty) -> Dense:
        """Uninitialised arrays for `rows` rows of the dense fields."""
        return {
            key: allocate((rows, *shape), dtype)
            for key, (dtype, shape) in self.dense_row().items()
        }

    def prepare(self, block: EventBlock, where: str) -> Prepared:
        """Check the values of a unit that was read.

        Raises:
            CastError: A value that would change in the dtype of its field.
            NonFiniteError: NaN or infinity in a weight.
            SchemaError: Lists of different lengths in one padded or ragged input.
        """
        columns: dict[str, Any] = dict(block.columns)
        if self.label:
            columns[LABEL_COLUMN] = block.label
        flat = {
            field.key: _strips(
                [
                    check_cast(
                        feature.of(columns), field.dtype, f"{where}, column {feature.name!r}"
                    )
                    for feature in field.features
                ]
            )
            for field in self.flat
        }
        lists = {field.key: _lists(field, columns, where) for field in self.lists}
        raw: Dense = {field.key: columns[field.column] for field in self.raw}
        if self.weight:
            raw[WEIGHT] = self._weights(block, where)
        return Prepared(where, block.num_rows, flat, lists, raw)

    def _weights(self, block: EventBlock, where: str) -> Array:
        weights = np.ones(block.num_rows) if block.weight is None else block.weight
        if not all_finite(weights):
            apply_nonfinite(weights, "error", f"{where}, weight", is_input=False)
        if self.class_weights is not None:
            assert block.label is not None
            weights = weights * _lookup(block.label, self.class_weights)
        return check_cast(weights, self.weight_dtype, f"{where}, weight")

    def fill(self, unit: Prepared, start: int, stop: int, dense: Dense, at: int) -> None:
        """Write rows ``[start, stop)`` of the unit to rows ``at ...`` of the dense arrays.

        Raises:
            NonFiniteError: NaN or infinity in a feature or padded list, policy "error".
        """
        whole = slice(at, at + stop - start)
        padded = [
            field
            for field in self.lists
            if field.length is not None
            and not _compiled_padding(
                field, unit, start, stop, dense[field.key][whole], dense[field.mask_key][whole]
            )
        ]
        step = tile_rows(self.row_bytes) if padded else max(1, stop - start)
        for first in range(start, stop, step):
            last = min(stop, first + step)
            tile = slice(at + first - start, at + last - start)
            rows = {key: values[tile] for key, values in dense.items()}
            for field in padded:  # first what is widest: rows may be records in memory
                _fill_padded(field, unit, first, last, rows[field.key], rows[field.mask_key])
            self._fill_flat(unit, first, last, rows)

    def _fill_flat(self, unit: Prepared, first: int, last: int, rows: Dense) -> None:
        parts = [_part(field, unit, rows[field.key]) for field in self.flat]
        raw = dict(unit.raw)
        if self.weight and raw[WEIGHT].dtype == self.weight_dtype:
            parts.append(Part((raw.pop(WEIGHT)[None],), rows[WEIGHT][:, None], None))
        write(parts, first, spare=len(parts) == len(rows))
        for key, values in raw.items():
            rows[key][:] = values[first:last]

    def ragged_rows(self, unit: Prepared, start: int, stop: int) -> Ragged:
        """Rows ``[start, stop)`` of the ragged fields."""
        result: Ragged = {}
        for field in self.ragged:
            lists = unit.lists[field.key]
            offsets = lists.offsets[start : stop + 1]
            first, last = int(offsets[0]), int(offsets[-1])
            values = np.empty((last - first, len(field.columns)), field.dtype)
            lists.elements(field, first, values, unit.where)
            result[field.key] = RaggedArray(values, offsets - offsets[0])
        return result

    def batch(self, dense: Dense, ragged: Ragged, start: int, stop: int) -> Batch:
        """Rows ``[start, stop)`` as a batch (views of the dense arrays)."""
        rows = slice(start, stop)
        inputs: dict[str, Any] = {}
        for spec in self.spec.inputs:
            inputs[spec.name] = _lists_of(input_key(spec.name), dense, ragged, start, stop)
        x = next(iter(inputs.values())) if self.spec.single else inputs or None
        observers: dict[str, Any] = {field.name: dense[field.key][rows] for field in self.raw}
        for spec in self.spec.observed_lists:
            observers[spec.name] = _lists_of(observer_key(spec.name), dense, ragged, start, stop)
        has_target = self.spec.targets is not None
        return Batch(
            x=x,
            y=_lists_of(TARGET, dense, ragged, start, stop) if has_target else None,
            w=dense[WEIGHT][rows] if self.weight else None,
            observers=observers or None,
            num_rows=stop - start,
        )


LABEL_COLUMN = "the label of the dataset"
"""Stands for the label among the columns; no branch can have this name, it is never read."""


def input_key(name: str) -> str:
    """Key of the array of an input."""
    return f"input {name}"


def observer_key(name: str) -> str:
    """Key of the array of an observer."""
    return f"observer {name}"


def _mask_key(key: str) -> str:
    return f"mask of {key}"


def _lists_of(key: str, dense: Dense, ragged: Ragged, start: int, stop: int) -> Any:
    """Rows of a field: a `RaggedArray`, a `PaddedArray` if it has a mask, or else an array."""
    if key in ragged:
        return slice_ragged(ragged[key], start, stop)
    values = dense[key][start:stop]
    mask = dense.get(_mask_key(key))
    return values if mask is None else PaddedArray(values, mask[start:stop])


def _lookup(labels: Array, factors: Mapping[float, float]) -> npt.NDArray[np.float64]:
    keys = np.array(sorted(factors), dtype=np.float64)
    values = np.array([factors[key] for key in sorted(factors)])
    index = np.minimum(np.searchsorted(keys, labels), len(keys) - 1)
    return np.where(keys[index] == labels, values[index], np.nan)


def _part(field: FlatField, unit: Prepared, rows: Array) -> Part:
    """The columns of a field, and what is done if some of its numbers are not finite."""

    def mend(rows: Array) -> None:
        for feature, values in zip(field.features, rows.T, strict=True):
            what = f"{unit.where}, column {feature.name!r}"
            apply_nonfinite(values, field.nonfinite, what, is_input=field.key != TARGET)

    matrix = rows[:, None] if field.vector else rows
    return Part(unit.flat[field.key], matrix, None if field.nonfinite == "keep" else mend)


def _strips(columns: Sequence[Array]) -> Strips:
    """Join columns that lie side by side in memory, at equal distances.

    Columns decoded together usually do. A strip is transposed by one call that runs over whole
    rows: twice as fast as column by column, and the lock of the interpreter is let go once per
    tile instead of once per column.
    """
    runs: list[tuple[list[Array], int]] = []
    for column in columns:
        step = _distance(runs[-1][0][-1], column) if runs else 0
        if step and runs[-1][1] in {0, step}:
            runs[-1] = ([*runs[-1][0], column], step)
        else:
            runs.append(([column], 0))
    return tuple(
        np.lib.stride_tricks.as_strided(
            run[0], (len(run), len(run[0])), (step, run[0].itemsize), writeable=False
        )
        if len(run) > 1
        else run[0][None]
        for run, step in runs
    )


def _distance(one: Array, other: Array) -> int:
    """Bytes from `one` to `other` behind it in the same buffer; 0: they are no neighbours."""
    same = (
        one.base is not None
        and one.base is other.base
        and one.dtype == other.dtype
        and one.shape == other.shape
        and one.flags.c_contiguous
        and other.flags.c_contiguous
    )
    step = other.ctypes.data - one.ctypes.data if same else 0
    return step if step >= one.nbytes else 0


def _lists(field: ListField, columns: Mapping[str, Any], where: str) -> Lists:
    offsets: npt.NDArray[np.int64] | None = None
    contents: list[Array] = []
    equal: list[Array] = []
    for name in field.read:
        mine, content = _offsets_and_content(columns[name])
        if offsets is None:
            offsets, equal = mine, [mine]
        elif not any(_one_array(each, mine) for each in equal):
            if not np.array_equal(offsets, mine):
                raise _different_counts(field.columns[0], name, offsets, mine, where)
            equal.append(mine)  # alive, so no other array comes to lie there
        contents.append(content)
    assert offsets is not None
    if field.order_by is not None:
        order = _order_within(offsets, contents.pop(), descending=field.descending)
        contents = [content[order] for content in contents]
    checked = [
        check_cast(content, field.dtype, f"{where}, column {name!r}")
        for name, content in zip(field.columns, contents, strict=True)
    ]
    return Lists(offsets, _strips(checked))


def _one_array(one: Array, other: Array) -> bool:
    """Whether these are the same numbers in memory, as columns of one counter share them."""
    return one.ctypes.data == other.ctypes.data and one.shape == other.shape


def _order_within(offsets: Array, values: Array, *, descending: bool) -> npt.NDArray[np.intp]:
    """The order that sorts each list by `values`; stable, NaN last."""
    if descending:  # ~k is -k-1: it turns integers round without overflow
        values = -values if values.dtype.kind == "f" else ~values
    lists = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return np.lexsort((values, lists))


def _offsets_and_content(column: ak.Array) -> tuple[npt.NDArray[np.int64], Array]:
    layout = column.layout
    if not _is_plain(layout):
        layout = layout.to_ListOffsetArray64(True)  # True: offsets start at zero
    numbers = layout.content
    content = numbers.data if numbers.is_numpy else ak.to_numpy(numbers)
    offsets = np.asarray(layout.offsets.data, dtype=np.int64)
    return offsets, content[: offsets[-1]]


def _is_plain(layout: Any) -> bool:
    """Whether it has 64-bit offsets from zero on; awkward would copy them, which others share."""
    if not isinstance(layout, ak.contents.ListOffsetArray):
        return False
    offsets = layout.offsets.data
    return bool(offsets.dtype == np.int64 and offsets[0] == 0)


def _different_counts(one: str, other: str, mine: Array, theirs: Array, where: str) -> SchemaError:
    counts, others = np.diff(mine), np.diff(theirs)
    row = int(np.flatnonzero(counts != others)[0]) if len(counts) == len(others) else 0
    message = (
        f"{where}: {one!r} and {other!r} cannot be in one input, because their lists have "
        f"different lengths: {counts[row]} and {others[row]} in row {row}"
    )
    return SchemaError(message)


def _compiled_padding(
    field: ListField, unit: Prepared, first: int, last: int, values: Array, mask: Array
) -> bool:
    """Whether one call filled `values` and `mask`, and no number has to be looked at again."""
    lists = unit.lists[field.key]
    columns = Columns.of(lists.strips)
    if columns is None:
        return False
    finite = pad_columns(columns, lists.offsets[first : last + 1], field.value, values, mask)
    return finite is not None and (finite or field.nonfinite == "keep")


def _fill_padded(
    field: ListField, unit: Prepared, first: int, last: int, values: Array, mask: Array
) -> None:
    """Build the rows of all elements, and a last one of fill values; then gather them."""
    lists = unit.lists[field.key]
    offsets = lists.offsets[first : last + 1]
    begin, end = int(offsets[0]), int(offsets[-1])
    elements = np.empty((end - begin + 1, values.shape[2]), values.dtype)
    lists.elements(field, begin, elements[:-1], unit.where)
    elements[-1] = field.value
    if not pad(elements, offsets, values, mask):
        _pad_by_numpy(elements, offsets, values, mask)


def _pad_by_numpy(
    elements: Array, offsets: npt.NDArray[np.int64], values: Array, mask: Array
) -> None:
    length, width = values.shape[1:]
    places, filled = _places(np.diff(offsets), length)
    mask[:] = filled
    places += (offsets[:-1] - offsets[0])[:, None]
    whole = np.dtype((np.void, width * values.itemsize))  # one element of all columns at a time
    rows = elements.view(whole).reshape(-1)
    out = values if values.flags.c_contiguous else np.empty(values.shape, values.dtype)
    np.take(rows, places.reshape(-1), out=out.view(whole).reshape(-1), mode="clip")
    if out is not values:
        values[...] = out


def _places(
    counts: npt.NDArray[np.int64], length: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """`(rows, length)`: the number of each place in its list, `_BEHIND` and False past its end."""
    if length > _MAX_TABLED:
        places = np.arange(length)
        filled = places < counts[:, None]
        return np.where(filled, places, _BEHIND), filled
    places, filled = _tabled_places(length)
    rows = np.minimum(counts, length)
    return np.take(places, rows, axis=0), np.take(filled, rows, axis=0)


@lru_cache(maxsize=16)
def _tabled_places(length: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """`_places` of all counts up to `length`."""
    places = np.arange(length)
    filled = places < np.arange(length + 1)[:, None]
    return np.where(filled, places, _BEHIND), filled


def slice_ragged(array: RaggedArray, start: int, stop: int) -> RaggedArray:
    offsets = array.offsets[start : stop + 1]
    return RaggedArray(array.values[offsets[0] : offsets[-1]], offsets - offsets[0])


def concatenate_ragged(parts: Sequence[RaggedArray]) -> RaggedArray:
    """The rows of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return RaggedArray(np.concatenate([part.values for part in parts]), offsets)


def join_ragged(parts: Sequence[Ragged]) -> Ragged:
    """The rows of all parts, one after the other, field by field."""
    keys = parts[0].keys() if parts else ()
    return {key: concatenate_ragged([part[key] for part in parts]) for key in keys}


def take_ragged(array: RaggedArray, rows: npt.NDArray[np.integer[Any]]) -> RaggedArray:
    """The given rows, in the given order."""
    starts = array.offsets[rows]
    counts = array.offsets[rows + 1] - starts
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    return RaggedArray(array.values[np.repeat(starts, counts) + within], offsets)


__all__ = [
    "LABEL_COLUMN",
    "TARGET",
    "WEIGHT",
    "Dense",
    "Feature",
    "FlatField",
    "InputSpec",
    "Layout",
    "ListField",
    "NonFiniteError",
    "Prepared",
    "Ragged",
    "RawField",
    "concatenate_ragged",
    "input_key",
    "join_ragged",
    "observer_key",
    "slice_ragged",
    "take_ragged",
]
