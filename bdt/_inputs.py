"""What users hand to a model, as columns that an engine reads where they lie.

Nothing is copied that is float32 or float64 in native byte order, whatever its strides. Integers
become floats where every value stays what it is; where one would change, that is an error naming
column and value. Casting float64 to float32 is what XGBoost itself does with its input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from rootml._internal.machine_code import address
from rootml._internal.reprs import shorten
from rootml.bdt._forest import ZERO, CategoryRule, Forest
from rootml.errors import (
    CastError,
    MissingColumnError,
    SchemaError,
    UnsupportedTypeError,
    UsageError,
    nearest,
)  # fmt: skip

_MAX_CATEGORY = 2.0**31 - 128
"""The largest float32 below 2**31; no category set has members above."""
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


_NUMBERS_AS_THEY_ARE = {"catboost": "iu", "sklearn": "iuf"}
"""The types of the categories that a library tests as they are, not by their positions."""


# --- columns as engines see them -----------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """Rows of features: a matrix, or columns.

    Attributes:
        matrix: float32 or float64, shape (rows, features), any strides; or None.
        columns: Otherwise one array per feature, float32 or float64 each, shape (rows,).
    """

    matrix: NDArray[Any] | None = None
    columns: tuple[NDArray[Any], ...] = ()
    _kept: list[Any] = field(default_factory=list, repr=False)

    @property
    def num_rows(self) -> int:
        """Rows."""
        if self.matrix is not None:
            return len(self.matrix)
        return len(self.columns[0]) if self.columns else 0

    def rows(self, start: int, stop: int) -> Table:
        """A part, without a copy."""
        if self.matrix is not None:
            return Table(self.matrix[start:stop])
        return Table(columns=tuple(column[start:stop] for column in self.columns))

    def block(self, start: int, stop: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """A copy of some rows as a matrix; too large for float32 gives infinity."""
        with np.errstate(over="ignore"):
            if self.matrix is not None:
                return self.matrix[start:stop].astype(dtype, order="F")
            made = np.empty((stop - start, len(self.columns)), dtype, order="F")
            for i, column in enumerate(self.columns):
                made[:, i] = column[start:stop]
            return made

    def job(self, out: NDArray[Any]) -> NDArray[np.int64]:
        """Numbers and addresses in the order of `engine._emit_block.JOB`.

        They hold as long as this object and `out`.
        """
        x, to = self.matrix, address(out)
        if x is not None and (x.strides[1] == x.itemsize or x.shape[1] == 1):
            values = [len(x), 1, x.itemsize, address(x), x.strides[0], 0, 0, 0, to]
            return np.array(values, np.int64)
        if x is not None:
            starts = x.ctypes.data + x.strides[1] * np.arange(x.shape[1])
            strides = np.full(x.shape[1], x.strides[0])
            sizes = np.full(x.shape[1], x.itemsize)
        else:
            starts = np.array([column.ctypes.data for column in self.columns], np.int64)
            strides = np.array([column.strides[0] for column in self.columns], np.int64)
            sizes = np.array([column.itemsize for column in self.columns], np.int64)
        arrays = [np.ascontiguousarray(each, np.int64) for each in (starts, strides, sizes)]
        self._kept[:] = arrays
        pointers = [array.ctypes.data for array in arrays]
        return np.array([self.num_rows, 0, 0, 0, 0, *pointers, to], np.int64)

    def check_nan(self, names: Sequence[str]) -> None:
        """For models that refuse NaN.

        Raises:
            CastError: A value is NaN; the message names the column.
        """
        columns = self.columns if self.matrix is None else self.matrix.T
        for name, column in zip(names, columns, strict=True):
            found = np.isnan(column)
            if found.any():
                row = int(np.argmax(found))
                message = (
                    f"column {name!r} is NaN in row {row:,}; the model was trained by a library "
                    "that refuses NaN"
                )
                raise CastError(message)


def blanked(x: NDArray[Any], forest: Forest) -> NDArray[Any]:
    """Replace the values that count as missing by NaN, in place."""
    if not math.isnan(forest.missing):
        x[x == x.dtype.type(forest.missing)] = np.nan
    if forest.zero_missing.any():
        x[(np.abs(x) <= ZERO) & forest.zero_missing] = np.nan
    return x


def category_codes(x: NDArray[Any], rule: CategoryRule) -> NDArray[Any]:
    """The category that each value is, -1 for none; NaN stays."""
    with np.errstate(invalid="ignore"):
        valid = x <= _MAX_CATEGORY
        valid &= x > -1 if rule == "truncate" else x >= 0
        whole = np.trunc(x)
        if rule == "exact":
            valid &= whole == x
    return np.where(np.isnan(x), x, np.where(valid, whole, -1)).astype(x.dtype)


@dataclass(frozen=True)
class Input:
    """A table, and how values per row go back into the structure of the user's object."""

    table: Table
    restore: Callable[[NDArray[Any]], Any] = lambda values: values


# --- from what users have ------------------------------------------------------------------------


def as_input(data: Any, forest: Forest) -> Input:
    """The columns of the features, in the order of the model.

    Named columns (mapping, DataFrame, Arrow, awkward records, structured array) are found by the
    names of the features; other columns are ignored. A model without names takes the columns in
    their order, one for each of its features.

    Raises:
        MissingColumnError: A feature is not among the named columns.
        UsageError: The number of columns is wrong, the array does not have two dimensions, a
            column is a single number, or its numbers may be categories or their positions.
        SchemaError: Columns of different lengths.
        UnsupportedTypeError: The columns do not hold numbers.
        CastError: An integer cannot be written exactly in the model's input type, or a category
            of pandas is none of the model's.
    """
    if type(data) is np.ndarray and data.dtype in _FLOATS and data.ndim == 2:
        return Input(_from_floats(data, forest))
    kind = type(data).__module__.partition(".")[0]
    if isinstance(data, ak.Array):
        return _from_awkward(data, forest)
    if kind == "pyarrow":
        return Input(_from_arrow(data, forest))
    if kind == "pandas":
        return Input(_from_pandas(data, forest))
    if isinstance(data, Mapping):
        wanted = {name: data[name] for name in _wanted(list(data), forest)}
        _check_rows_of(wanted)
        if any(isinstance(column, ak.Array) for column in wanted.values()):
            return _from_awkward(_zipped(wanted), forest)
        return Input(_from_named(list(data), data.__getitem__, forest))
    if isinstance(data, (list, tuple)):
        if any(isinstance(column, ak.Array) for column in data):
            _check_count(len(data), forest)
            return _from_awkward(_zipped(dict(zip(forest.names, data, strict=True))), forest)
        return Input(_from_columns(data, forest))
    return Input(_from_array(data, forest))


def _from_array(data: Any, forest: Forest) -> Table:
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        message = "a masked array with masked values; fill them: x.filled(numpy.nan) for missing"
        raise UnsupportedTypeError(message)
    if hasattr(data, "tocsr"):
        message = (
            f"a sparse {type(data).__name__}: convert it yourself, since absent values may "
            "mean 0 or missing"
        )
        raise UnsupportedTypeError(message)
    x = _array(data, "the input")
    if x.dtype.names is not None:
        return _from_named(list(x.dtype.names), x.__getitem__, forest)
    if x.ndim != 2:
        hint = "; for one event give x[None, :]" if x.ndim == 1 else ""
        message = (
            f"an array of shape {x.shape}; (rows, {forest.num_features} features) is needed{hint}"
        )
        raise UsageError(message)
    return _from_floats(as_float(x, forest, forest.names), forest)


def _from_floats(x: NDArray[Any], forest: Forest) -> Table:
    _check_count(x.shape[1], forest)
    return Table(x if x.flags.aligned else x.copy())


def _from_columns(data: Sequence[Any], forest: Forest) -> Table:
    if data and all(isinstance(each, (int, float, np.number)) for each in data):
        message = "a list of numbers; give an array per feature, or one of shape (1, features)"
        raise UsageError(message)
    if any(isinstance(each, (list, tuple)) for each in data):
        message = (
            "a list of lists, which may be events or columns; give numpy.array(events) for "
            "events, or a list of arrays, one per feature"
        )
        raise UsageError(message)
    _check_count(len(data), forest)
    names = forest.names
    columns = [_column(each, name, forest) for each, name in zip(data, names, strict=True)]
    return _table(columns, names)


def _from_named(names: Sequence[Any], get: Callable[[Any], Any], forest: Forest) -> Table:
    wanted = _wanted(names, forest)
    columns = [_named_column(get(name), str(name), forest) for name in wanted]
    return _table(columns, [str(name) for name in wanted])


def _wanted(names: Sequence[Any], forest: Forest) -> Sequence[Any]:
    """Names of the columns that hold the features."""
    if forest.feature_names is None:
        _check_count(len(names), forest)
        return names
    available = {str(name): name for name in names}
    missing = [name for name in forest.feature_names if name not in available]
    if missing:
        message = (
            f"no column {missing[0]!r}"
            + (f" (nor {len(missing) - 1} more of the model's features)" if missing[1:] else "")
            + f"; available: {nearest(missing[0], available)}"
        )
        raise MissingColumnError(message)
    return [available[name] for name in forest.feature_names]


def _check_count(count: int, forest: Forest) -> None:
    if count != forest.num_features:
        message = (
            f"{count} columns; the model has {forest.num_features} features: "
            f"{nearest('', forest.names)}"
        )
        if forest.feature_names is None:
            message += (
                "; it knows no names: give the columns in the order of the training, or set the "
                "names, forest.replace(feature_names=(...))"
            )
        raise UsageError(message)


def _table(columns: list[NDArray[Any]], names: Sequence[str]) -> Table:
    lengths = {name: len(column) for name, column in zip(names, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        message = f"columns of different lengths: {lengths}"
        raise SchemaError(message)
    return Table(columns=tuple(columns))


def _array(values: Any, what: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # the last: torch, of a gradient
        message = f"{what}: a {type(values).__name__} that is not an array of numbers: {error}"
        raise UnsupportedTypeError(message) from error


def _column(values: Any, name: str, forest: Forest) -> NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        message = f"column {name!r} is masked; fill it: x.filled(numpy.nan) for missing values"
        raise UnsupportedTypeError(message)
    x = _array(values, f"column {name!r}")
    if x.ndim != 1:
        message = f"column {name!r} has the shape {x.shape}; one number per event is needed"
        raise UsageError(message)
    return as_float(x, forest, (name,))


def _named_column(values: Any, name: str, forest: Forest) -> NDArray[Any]:
    """A column of numbers that was found by its name.

    Raises:
        UsageError: Its categories are other numbers than 0, 1, ..., so that it may hold these or
            their positions; XGBoost refuses it too.
    """
    if (names := _odd_numbers(name, forest)) is not None:
        message = (
            f"column {name!r} holds numbers, and the model was trained on a category column of "
            f"{names}: they may be these numbers or their positions. Give a DataFrame with a "
            "column of the type category; or positions, to "
            "forest.replace(feature_categories=None)"
        )
        raise UsageError(message)
    return _column(values, name, forest)


def _odd_numbers(name: str, forest: Forest) -> str | None:
    """The categories of a column, shortened, if they are numbers but not 0, 1, ..."""
    names = _category_names(name, forest) or ()
    if list(names) == list(range(len(names))) or any(isinstance(n, str) for n in names):
        return None
    return shorten([str(n) for n in names])


def as_float(x: NDArray[Any], forest: Forest, names: Sequence[str]) -> NDArray[Any]:
    """As float32 or float64 in native byte order: `x` itself if it is, else an exact cast."""
    if x.dtype in _FLOATS and x.flags.aligned:
        return x
    if x.dtype.kind not in "fiub" or x.dtype.itemsize > 8:
        what = f"column {names[0]!r}" if len(names) == 1 else "the array"
        message = f"{what} has the dtype {x.dtype}; numbers are needed (float, int, bool)"
        raise UnsupportedTypeError(message)
    dtype = forest.input_dtype if x.dtype.kind in "iub" else np.dtype(f"f{max(4, x.itemsize)}")
    made = x.astype(dtype)
    if x.dtype.kind in "iu" and x.dtype.itemsize * 8 > np.finfo(dtype).nmant:
        _check_integers(x, made, names)
    return made


def _check_integers(x: NDArray[Any], made: NDArray[Any], names: Sequence[str]) -> None:
    # cast there and back; from the largest integer on, the cast back is undefined
    info = np.iinfo(x.dtype)
    inside = made < float(info.max)
    changed = ~inside
    changed[inside] = made[inside].astype(x.dtype) != x[inside]
    if changed.any():
        index = np.unravel_index(int(np.argmax(changed)), x.shape)
        name = names[int(index[1])] if x.ndim == 2 else names[0]
        message = (
            f"column {name!r}: the integer {x[index]} (row {index[0]:,}) cannot be stored as "
            f"{made.dtype}, the "
            "type of the model's inputs; cast it yourself to accept the nearest float"
        )
        raise CastError(message)


# --- pandas, Arrow, awkward ----------------------------------------------------------------------


def _from_pandas(frame: Any, forest: Forest) -> Table:
    if frame.ndim != 2:
        message = f"a pandas {type(frame).__name__}; a DataFrame is needed"
        raise UsageError(message)
    wanted = _wanted(list(frame.columns), forest)
    in_order = len(wanted) == len(frame.columns) and list(wanted) == list(frame.columns)
    if in_order and forest.feature_categories is None:
        dtypes = set(map(str, frame.dtypes))
        if dtypes in ({"float32"}, {"float64"}):
            return Table(frame.to_numpy())
    return _table(
        [_series(frame[name], str(name), forest) for name in wanted], [str(n) for n in wanted]
    )


def _check_rows_of(columns: Mapping[Any, Any]) -> None:
    """Refuse columns of pandas whose rows are others, or in another order."""
    indices = {
        name: column.index
        for name, column in columns.items()
        if type(column).__module__.partition(".")[0] == "pandas" and hasattr(column, "index")
    }
    first = next(iter(indices), None)
    for name, index in indices.items():
        if not index.equals(indices[first]):
            message = (
                f"columns {first!r} and {name!r} of pandas have different indices; make a "
                "DataFrame of them, which brings their rows together, or give arrays"
            )
            raise SchemaError(message)


def _series(series: Any, name: str, forest: Forest) -> NDArray[Any]:
    if series.ndim != 1:
        message = f"several columns are named {name!r}"
        raise UsageError(message)
    if series.dtype.kind == "O" and _category_names(name, forest) is not None:
        series = series.astype("category")
    if str(series.dtype) == "category":
        return _category_codes(series, name, forest)
    if not isinstance(series.dtype, np.dtype) and series.dtype.kind in "iufb":
        values = series.to_numpy(np.float64, na_value=np.nan) if series.hasnans else series
        return _named_column(values, name, forest)
    return _named_column(series.to_numpy(), name, forest)


def _category_names(name: str, forest: Forest) -> tuple[str | int | float, ...] | None:
    """Names of the categories of a column, if the model holds them."""
    names = forest.feature_categories
    return dict(zip(forest.names, names, strict=True)).get(name) if names is not None else None


def _category_codes(series: Any, name: str, forest: Forest) -> NDArray[Any]:
    """Numbers of the model's own categories, for a column of the type category."""
    known = _category_names(name, forest)
    if known is None:
        if series.cat.categories.dtype.kind in _NUMBERS_AS_THEY_ARE.get(forest.library, ""):
            return _column(series.to_numpy(np.float64, na_value=np.nan), name, forest)
        message = (
            f"column {name!r} is a pandas category, and the model does not hold the names of its "
            "categories; give the numbers that the training used"
        )
        if forest.library == "xgboost":
            message += f" (frame[{name!r}].cat.codes, if the categories are the same)"
        raise UnsupportedTypeError(message)
    number: dict[Any, int] = {category: i for i, category in enumerate(known)}
    # CatBoost compares texts: one that the model does not know equals none of those that it does,
    # and "nan" is the text of a missing one
    unknown = -1
    if forest.library == "catboost":
        unknown, number["nan"] = len(known), -2
    codes = np.array([number.get(each, unknown) for each in series.cat.categories] + [-2])
    found = codes[series.cat.codes.to_numpy()]
    if (found == -1).any():
        value = series.iloc[int(np.argmax(found == -1))]
        message = f"column {name!r}: the model knows no category {value!r}; it knows " + nearest(
            str(value), map(str, known)
        )
        raise CastError(message)
    return np.where(found == -2, np.nan, found).astype(forest.input_dtype)


def _from_arrow(data: Any, forest: Forest) -> Table:
    import pyarrow as pa

    if not isinstance(data, (pa.Table, pa.RecordBatch)):
        message = f"a pyarrow {type(data).__name__}; a Table or RecordBatch is needed"
        raise UnsupportedTypeError(message)
    names = list(data.schema.names)
    if len(set(names)) != len(names):
        message = f"several columns have the same name: {names}"
        raise UsageError(message)
    return _from_named(names, lambda name: _arrow_values(data.column(name), name), forest)


def _arrow_values(column: Any, name: str) -> NDArray[Any]:
    """As NumPy, without a copy if the column is one piece and has no nulls. Nulls become NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        message = f"column {name!r} is of the Arrow type {kind}; numbers are needed"
        raise UnsupportedTypeError(message)
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], kind)
    if column.null_count:
        if not pa.types.is_floating(kind):
            column = column.cast(pa.float64())  # an integer that would change is an error there
        column = pc.fill_null(column, float("nan"))
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8() if not pa.types.is_floating(column.type) else column.type)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _zipped(data: Mapping[Any, Any]) -> Any:
    try:
        return ak.zip({str(name): column for name, column in data.items()}, depth_limit=None)
    except ValueError as error:
        message = f"columns whose lists differ in length: {', '.join(map(str, data))}"
        raise SchemaError(message) from error


def _from_awkward(data: ak.Array, forest: Forest) -> Input:
    """Records, or lists of records (jets of events), at any depth; None counts as missing."""
    if not data.fields:
        if data.ndim == 2 and not ak.is_tuple(data):
            return Input(_from_array(_plain(data, "the array"), forest))
        message = f"an awkward array of type {data.type}; records with named fields are needed"
        raise UnsupportedTypeError(message)
    wanted = [str(name) for name in _wanted(data.fields, forest)]
    columns = [data[name] for name in wanted]
    deep = max(column.ndim for column in columns)
    if any(column.ndim != deep for column in columns):  # event quantities beside those of jets
        columns = list(ak.broadcast_arrays(*columns))
    lists: list[Any] = []
    while columns[0].ndim > 1:
        counts = ak.num(columns[0], axis=1)
        if any(ak.any(ak.num(column, axis=1) != counts) for column in columns[1:]):
            message = f"the lists of {', '.join(wanted)} differ in length"
            raise SchemaError(message)
        lists.append(_plain(counts, "the list of a row"))
        columns = [ak.flatten(column, axis=1) for column in columns]
    table = _table(
        [
            _named_column(_awkward_values(column, name), name, forest)
            for column, name in zip(columns, wanted, strict=True)
        ],
        wanted,
    )

    def restore(values: NDArray[Any]) -> Any:  # an array, or lists of awkward
        result: Any = values
        for counts in reversed(lists):
            result = ak.unflatten(result, counts)
        return result

    return Input(table, restore)


def _awkward_values(column: ak.Array, name: str) -> NDArray[Any]:
    if "?" in str(column.type) or "option" in str(column.type):
        column = ak.fill_none(column, np.nan)
    return _plain(column, f"column {name!r}")


def _plain(column: Any, what: str) -> NDArray[Any]:
    try:
        return np.asarray(ak.to_numpy(column, allow_missing=False))
    except (ValueError, TypeError) as error:
        message = f"{what} is of type {getattr(column, 'type', column)}; numbers are needed"
        raise UnsupportedTypeError(message) from error
