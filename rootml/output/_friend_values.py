"""Values for the selected events of a dataset, in the forms in which a user may have them.

A `Source` gives them for one range of entries after another, in the order of the dataset: from
arrays for all events, from batches as they come, or by calling a function on the columns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import awkward as ak
import numpy as np
import xxhash

from rootml.dataset import Dataset, ReadTask, SelectedPartition
from rootml.dataset._columns import concatenate
from rootml.errors import EmptySelectionError, SchemaError, UnsupportedTypeError, UsageError
from rootml.execution import Executor, map_tasks
from rootml.storage import Column, ColumnType, type_of_values

Values = dict[str, Column]
FileKey = tuple[int, int]
"""Numbers of a sample and of a file in it."""


def as_column(name: str, values: Any) -> Column:
    """An array, tensor, series or list of the user's as a column.

    Raises:
        UnsupportedTypeError: Not numbers, or with missing ones.
        UsageError: A single number.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        message = f"{name!r}: is a masked array with masked values; fill them first"
        raise UnsupportedTypeError(message)
    column = _as_array(name, values)
    if isinstance(column, np.ndarray) and column.ndim == 0:
        message = f"{name!r}: give one value per selected event, not {values!r}"
        raise UsageError(message)
    kind = type_of_values(column)
    if kind.dtype is None or kind.kind not in {"scalar", "fixed", "jagged"}:
        message = f"{name!r}: values of type {kind} cannot be written; give numbers"
        raise UnsupportedTypeError(message)
    return column


def _as_array(name: str, values: Any) -> Any:
    if isinstance(values, ak.Array):
        return values
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(values, (list, tuple)):  # lists of different lengths
            with contextlib.suppress(TypeError, ValueError):
                return ak.Array(values)
        message = f"{name!r}: values of type {type(values).__name__} cannot be written: {error}"
        raise UnsupportedTypeError(message) from error


def as_columns(values: Any, what: str) -> Values:
    """A mapping of the user's as columns of equal length.

    Raises:
        UsageError: Not ``{name: values}``, or values of different lengths.
    """
    good = isinstance(values, Mapping) and values
    if not good or not all(isinstance(name, str) and name for name in values):
        message = f"{what}: give {{name: values}}, not {type(values).__name__}"
        raise UsageError(message)
    columns = {name: as_column(name, each) for name, each in values.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        message = f"{what}: columns of different lengths: {lengths}"
        raise UsageError(message)
    return columns


def _types(values: Values) -> dict[str, ColumnType]:
    return {name: type_of_values(column) for name, column in values.items()}


class Source:
    """Values for the selected events of one dataset.

    Attributes:
        types: What is given, by name.
        certain: Whether the values are known to belong to the events before all were taken.
        task: Computes the values for a range of entries; None: they have to be taken in order.
        digest: What tells these values from others, when an interrupted job goes on.
    """

    types: dict[str, ColumnType]
    certain = True
    task: Apply | None = None
    digest = ""

    def take(self, file_key: FileKey, count: int) -> Values:
        """The values for the next `count` selected events of a file."""
        raise NotImplementedError

    def finish(self) -> None:
        """See that nothing is left over."""


class ArraySource(Source):
    """Arrays with one value for each selected event."""

    def __init__(self, data: Dataset, values: Mapping[str, Any]) -> None:
        self._values = as_columns(values, "values")
        self.types = _types(self._values)
        self.digest = _digest(self._values)
        index = data.scan()
        for name, column in self._values.items():
            if len(column) != index.num_rows:
                message = (
                    f"{name!r} has {len(column):,} values, {index.num_rows:,} events of {data} "
                    "are selected: one value for each of them, in the order of the dataset"
                )
                raise UsageError(message)
        self._next: dict[FileKey, int] = {}
        at = 0
        for partition, count in zip(index.partitions, index.counts.tolist(), strict=True):
            self._next.setdefault((partition.sample, partition.file), at)
            at += count

    def take(self, file_key: FileKey, count: int) -> Values:
        start = self._next[file_key]
        self._next[file_key] = start + count
        return {name: column[start : start + count] for name, column in self._values.items()}


class StreamSource(Source):
    """Batches of values, of any length, in the order of the dataset."""

    certain = False

    def __init__(self, data: Dataset, batches: Iterable[Any]) -> None:
        self._where = str(data)
        self._batches: Iterator[Any] = iter(batches)
        self._left: Values = {}
        self._taken = 0
        if not self._pull():
            message = f"{data}: no values were given; {data.scan().num_rows:,} events are selected"
            raise UsageError(message)
        self.types = _types(self._left)

    def _pull(self) -> bool:
        """One more batch behind what is left; False at the end."""
        for batch in self._batches:
            columns = as_columns(batch, f"{self._where}, a batch of values")
            if self._left:
                _check_types(_types(columns), self.types, self._where)
                columns = {
                    name: concatenate([self._left[name], columns[name]]) for name in self._left
                }
            self._left = columns
            return True
        return False

    def take(self, file_key: FileKey, count: int) -> Values:
        del file_key  # the next one: they come in order
        while self._num_left < count:
            if not self._pull():
                message = (
                    f"{self._where}: the values end after {self._taken + self._num_left:,} "
                    f"events; more are selected"
                )
                raise UsageError(message)
        self._taken += count
        found = {name: column[:count] for name, column in self._left.items()}
        self._left = {name: column[count:] for name, column in self._left.items()}
        return found

    @property
    def _num_left(self) -> int:
        return len(next(iter(self._left.values())))

    def rest(self) -> Values:
        """All that is left."""
        parts = [self._left]
        self._left = {}
        for batch in self._batches:
            parts.append(as_columns(batch, f"{self._where}, a batch of values"))
            _check_types(_types(parts[-1]), self.types, self._where)
        return {name: concatenate([part[name] for part in parts]) for name in self.types}

    def finish(self) -> None:
        while not self._num_left and self._pull():
            pass
        if self._num_left:
            message = f"{self._where}: values are left over after {self._taken:,} selected events"
            raise UsageError(message)


@dataclass(frozen=True, slots=True)
class Apply:
    """Calls a function with the selected columns of a partition."""

    read: ReadTask
    function: Callable[[Values], Any]
    types: dict[str, ColumnType]

    def __call__(self, selected: SelectedPartition) -> Values:
        block = self.read(selected)
        columns = as_columns(self.function(block.columns), f"{selected.where}, the function")
        for name, column in columns.items():
            if len(column) != block.num_rows:
                message = (
                    f"{selected.where}: the function gives {len(column):,} values {name!r} for "
                    f"{block.num_rows:,} events"
                )
                raise UsageError(message)
        if self.types:
            _check_types(_types(columns), self.types, selected.where)
        return columns


class FunctionSource(Source):
    """A function of the selected columns, called partition by partition, in threads or there."""

    def __init__(
        self, data: Dataset, function: Callable[[Values], Any], executor: Executor | None
    ) -> None:
        selected = data.scan().selected()
        if not selected:
            message = f"{data}: no event is selected, so there is nothing to compute"
            raise EmptySelectionError(message)
        task = Apply(data.read_task(), function, {})
        (values,) = map_tasks(task, selected[:1], progress=False, what="trying", executor=executor)
        self.types = _types(values)
        self.digest = _digest(values)
        self.task = replace(task, types=self.types)


def _check_types(found: dict[str, ColumnType], known: dict[str, ColumnType], where: str) -> None:
    """See that all values of one name have one type.

    Raises:
        SchemaError: They have not.
    """
    same = found.keys() == known.keys() and all(
        found[name].same_as(kind) or "unknown" in found[name].text for name, kind in known.items()
    )
    if not same:
        first = {name: str(kind) for name, kind in known.items()}
        now = {name: str(kind) for name, kind in found.items()}
        message = f"{where}: the values were {first} at first and are {now} now"
        raise SchemaError(message)


def _digest(values: Values) -> str:
    """A checksum of values."""
    digest = xxhash.xxh3_128()
    for name, column in values.items():
        digest.update(name.encode())
        if isinstance(column, np.ndarray):
            digest.update(str((column.dtype, column.shape)).encode())
            digest.update(np.ascontiguousarray(column).view(np.uint8).data)
            continue
        form, length, buffers = ak.to_buffers(ak.to_packed(column))
        digest.update(f"{form.to_json()} {length}".encode())
        for key in sorted(buffers):
            digest.update(np.ascontiguousarray(buffers[key]).view(np.uint8).data)
    return digest.hexdigest()


def source_of(data: Dataset, values: Any, *, in_order: bool, executor: Executor | None) -> Source:
    """Whatever form `values` have.

    Args:
        executor: Where functions are called; None: in threads here.
        in_order: Whether they will be taken in the order of the dataset. They are not where one
            file is in several samples: then batches have to be collected first.

    Raises:
        UsageError: None that we know.
    """
    if isinstance(values, Mapping):
        return ArraySource(data, values)
    if callable(values):
        return FunctionSource(data, values, executor)
    lazy = isinstance(values, Iterable) and not hasattr(values, "columns")  # a pandas.DataFrame
    if lazy and not isinstance(values, (str, bytes, np.ndarray, ak.Array)):
        stream = StreamSource(data, values)
        return stream if in_order else ArraySource(data, stream.rest())
    message = (
        f"values are {{name: array}}, batches of such, or a function of the columns that gives "
        f"such; not {type(values).__name__}"
    )
    raise UsageError(message)
