"""Sends containers of events through a `Morph`: in memory, of any kind, or file by file."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import awkward as ak
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rootml._internal.reprs import HtmlRepr, Part, facts_text, percent
from rootml.errors import (
    EmptySelectionError,
    SchemaError,
    UnsupportedTypeError,
    UsageError,
)
from rootml.output import as_column
from rootml.sbi.morphing.files._model import NOT_FINITE, Morph, Outcome, Which
from rootml.sbi.morphing.inference._rows import (
    Names,
    Rows,
    check_present,
    event_keys,
    rows_of,
    rows_of_block,
    unflatten,
)
from rootml.sbi.morphing.preprocessing._preprocess import Table
from rootml.storage import Column, type_of_values

if TYPE_CHECKING:
    from rootml.dataset import Dataset, EventBlock

logger = logging.getLogger(__name__)

Columns = dict[str, Column]
Variations = bool | Literal["members"] | None


@dataclass(frozen=True)
class Applied(HtmlRepr):
    """What `Morpher.apply` did.

    Attributes:
        paths: The friend trees' files, in the order of the inputs.
        rows: Rows that were looked at.
        outside: For each condition the number of rows outside of its range.
        not_finite: Rows with NaN or infinity in a feature or condition.
        unchanged: Rows that passed unchanged for any reason.
        beyond: For each feature the number of rows outside of the range of the training.
    """

    paths: tuple[str, ...]
    rows: int
    outside: dict[str, int]
    not_finite: int
    unchanged: int
    beyond: dict[str, int]

    def _facts(self) -> list[tuple[str, str]]:
        facts = [
            ("files", f"{len(self.paths):,}"),
            ("rows", f"{self.rows:,}"),
            ("unchanged", f"{self.unchanged:,} ({percent(self.unchanged, self.rows)})"),
        ]
        both = (*self.outside.items(), *self.beyond.items())
        facts += [(f"{name} outside", f"{n:,}") for name, n in both if n]
        if self.not_finite:
            facts.append(("NaN or infinite", f"{self.not_finite:,}"))
        return facts

    def __repr__(self) -> str:
        return f"<Applied>\n{facts_text(self._facts())}"

    def _html_title(self) -> str:
        return "rootml.sbi.morphing.Applied"

    def _html_parts(self) -> tuple[Part]:
        return (self._facts(),)


@dataclass(frozen=True, slots=True)
class _Counts:
    """What became of some rows, in numbers: all that a worker has to tell of it."""

    rows: int
    unchanged: int
    not_finite: int
    outside: npt.NDArray[np.int64]
    beyond: npt.NDArray[np.int64]

    @classmethod
    def of(cls, outcome: Outcome) -> _Counts:
        reason = outcome.reason
        return cls(
            len(reason),
            int(np.count_nonzero(reason)),
            int(np.count_nonzero(reason == NOT_FINITE)),
            outcome.outside,
            outcome.beyond.sum(axis=0),
        )


class _Counter:
    """Counts over partitions."""

    def __init__(self, morph: Morph) -> None:
        self.conditions, self.features = morph.names.conditions, morph.names.features
        self.kept = morph.outside == "keep"
        self.rows = self.unchanged = self.not_finite = 0
        self.outside = np.zeros(len(self.conditions), np.int64)
        self.beyond = np.zeros(len(self.features), np.int64)

    def add(self, counts: _Counts) -> None:
        self.rows += counts.rows
        self.unchanged += counts.unchanged
        self.not_finite += counts.not_finite
        self.outside += counts.outside
        self.beyond += counts.beyond

    def by_condition(self) -> dict[str, int]:
        return dict(zip(self.conditions, self.outside.tolist(), strict=True))

    def by_feature(self) -> dict[str, int]:
        return dict(zip(self.features, self.beyond.tolist(), strict=True))

    def log(self) -> None:
        if self.unchanged:
            counts = {f"{n} outside": k for n, k in self.by_condition().items() if k}
            if self.kept:
                counts |= {f"{n} outside": k for n, k in self.by_feature().items() if k}
            if self.not_finite:
                counts["NaN or infinite"] = self.not_finite
            reasons = ", ".join(f"{name}: {count:,}" for name, count in counts.items())
            logger.warning(
                "%s of %s rows pass unchanged (%s)",
                f"{self.unchanged:,}",
                f"{self.rows:,}",
                reasons,
            )


# --- from rows to columns ------------------------------------------------------------------------


def _dtype(table: Table, kind: np.dtype[Any]) -> np.dtype[Any]:
    """Of a corrected column: as it was, if that holds every value that can come out."""
    if kind.kind == "f":
        return kind
    ends = np.array([table.x[0], table.x[-1]])
    bounded = table.integer and not table.slopes.any()
    fits = bounded and bool((ends.astype(kind) == ends).all())
    return kind if fits else np.dtype(np.float64)


def _feature_columns(
    morph: Morph, outcome: Outcome, rows: Rows, kinds: Mapping[str, np.dtype[Any]]
) -> Columns:
    found: Columns = {}
    for j, name in enumerate(morph.names.features):
        dtypes = {_dtype(member.data.tables[j], kinds[name]) for member in morph.members}
        dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float64)
        found[name] = unflatten(outcome.values[:, j].astype(dtype), rows.counts)
    return found


def _kinds(columns: Mapping[str, Column], names: Sequence[str]) -> dict[str, np.dtype[Any]]:
    return {name: type_of_values(columns[name]).dtype or np.dtype("f8") for name in names}


def _rows(names: Names, columns: Columns, where: str) -> Rows:
    """Rows of events in memory; without ids random numbers follow the position."""
    count = len(next(iter(columns.values())))
    keys = event_keys(columns, names, count)
    return rows_of(columns, names, keys, where=where)


# --- containers in memory ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Container:
    """A kind of container.

    Attributes:
        names: Its columns.
        get: One column.
        with_columns: A copy with columns replaced or added.
    """

    names: list[str]
    get: Callable[[str], Any]
    with_columns: Callable[[Columns], Any]


def _open(values: Any) -> _Container:
    """See what it is.

    Raises:
        UnsupportedTypeError: Nothing that we know.
    """
    if isinstance(values, Mapping):
        return _Container(
            list(values), lambda name: _plain(name, values[name]), lambda new: {**values, **new}
        )
    if isinstance(values, np.ndarray) and values.dtype.names and values.ndim == 1:
        return _Container(
            list(values.dtype.names),
            lambda name: values[name],
            lambda new: _structured(values, new),
        )
    if isinstance(values, (pa.Table, pa.RecordBatch)):
        return _Container(
            values.schema.names,
            lambda name: _from_arrow(name, values.column(name)),
            lambda new: _with_arrow_columns(values, new),
        )
    if isinstance(values, ak.Array) and ak.fields(values):
        return _Container(
            ak.fields(values),
            lambda name: _plain(name, values[name]),
            lambda new: _with_fields(values, new),
        )
    message = (
        f"cannot transform {type(values).__name__}: give a dict of arrays, a structured NumPy "
        "array, an Arrow table, an awkward array of records or a rootml Dataset"
    )
    raise UnsupportedTypeError(message)


def _structured(values: npt.NDArray[Any], new: Columns) -> npt.NDArray[Any]:
    kinds = {name: values.dtype.fields[name][0] for name in values.dtype.names or ()}  # type: ignore[index]
    kinds |= {name: np.asarray(column).dtype for name, column in new.items()}
    result = np.empty(len(values), list(kinds.items()))
    for name in kinds:
        result[name] = new[name] if name in new else values[name]
    return result


def _from_arrow(name: str, column: Any) -> Column:
    """Numbers, or lists of them, without nulls."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # no chunks, in older versions
            column = pa.concat_arrays(column.chunks)
    if column.null_count:
        message = f"column {name!r} has {column.null_count:,} nulls; fill them first"
        raise UnsupportedTypeError(message)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        offsets = column.offsets.to_numpy().astype(np.int64)
        content = _from_arrow(name, column.flatten())
        return ak.unflatten(ak.Array(content), np.diff(offsets))
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return ak.Array(column.to_pylist())
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _with_arrow_columns(values: Any, new: Columns) -> Any:
    for name, column in new.items():
        if isinstance(column, np.ndarray):
            array = pa.array(column)
        else:
            array = ak.to_arrow(ak.to_packed(column), extensionarray=False)
        at = values.schema.get_field_index(name)
        if at < 0:
            values = values.append_column(name, array)
        else:
            values = values.set_column(at, name, array)
    return values


def _plain(name: str, values: Any) -> Column:
    """A column of a dict or of an awkward array: NumPy where it is one number per event."""
    if not isinstance(values, ak.Array):
        array = values if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
        return ak.from_numpy(array) if array.dtype.kind in "SU" else as_column(name, array)
    kind = str(ak.type(values))
    if "?" in kind or "option" in kind:
        if any(ak.any(ak.is_none(values, axis=axis), axis=None) for axis in (0, -1)):
            message = f"column {name!r} has missing values; fill them first"
            raise UnsupportedTypeError(message)
        values = ak.drop_none(values, axis=-1)
    if "unknown" in kind:  # nothing but empty lists
        values = ak.unflatten(np.zeros(0), ak.num(values)) if values.ndim > 1 else np.zeros(0)
    if values.ndim == 1 and "string" not in kind:
        return ak.to_numpy(values)
    return ak.to_packed(values)


def _with_fields(values: ak.Array, new: Columns) -> ak.Array:
    for name, column in new.items():
        values = ak.with_field(values, column, name)
    return values


def load_rows(names: Names, values: Any) -> tuple[_Container, Columns, Rows]:
    """A container, its columns of these names, and the rows that they make.

    Raises:
        UnsupportedTypeError: A container that we do not know.
        MissingColumnError: A column that is not there.
        SchemaError: Columns of different lengths.
    """
    container = _open(values)
    what = f"the {type(values).__name__} to transform"
    check_present(container.names, names, what)
    columns = {name: container.get(name) for name in names.columns}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        message = f"{what}: columns of different lengths: {lengths}"
        raise SchemaError(message)
    return container, columns, _rows(names, columns, what)


@dataclass(frozen=True, slots=True)
class Flags:
    """Names of boolean columns to add; None: none.

    Attributes:
        morphed: Whether the row was changed.
        outside: Whether a feature lies outside of the range of the training.
    """

    morphed: str | None
    outside: str | None

    @property
    def names(self) -> list[str]:
        """Those that are wanted."""
        return [name for name in (self.morphed, self.outside) if name is not None]

    def columns(self, outcome: Outcome, rows: Rows) -> Columns:
        """The columns of these rows."""
        outside = np.asarray(outcome.beyond.any(axis=1))
        pairs = (self.morphed, outcome.morphed), (self.outside, outside)
        return {name: unflatten(flag, rows.counts) for name, flag in pairs if name is not None}


def transform(
    morph: Morph, values: Any, *, which: Which, flags: Flags, folder: Any = None
) -> Any:  # of the kind of `values`; of a Dataset: one
    """See `Morpher.transform`."""
    from rootml.dataset import Dataset

    if isinstance(values, Dataset):
        return _transform_dataset(morph, values, which=which, flags=flags, folder=folder)
    if folder is not None:
        message = "folder= is for a Dataset, whose corrected columns are written to files"
        raise UsageError(message)
    container, columns, rows = load_rows(morph.names, values)
    for name in flags.names:
        if name in container.names:
            message = f"flag={name!r} is the name of a column already"
            raise UsageError(message)
    outcome = morph.transform(rows, which)
    counter = _Counter(morph)
    counter.add(_Counts.of(outcome))
    counter.log()
    new = _feature_columns(morph, outcome, rows, _kinds(columns, morph.names.features))
    return container.with_columns(new | flags.columns(outcome, rows))


def draws(morph: Morph, values: Any) -> npt.NDArray[np.float64]:
    """See `Morpher.draws`."""
    return morph.draws(load_rows(morph.names, values)[2])


# --- files ---------------------------------------------------------------------------------------


def apply(
    morph: Morph,
    dataset: Dataset,
    folder: str | os.PathLike[str],
    *,
    suffix: str,
    variations: Variations,
    options: dict[str, Any],
    progress: bool | None,
) -> Applied:
    """See `Morpher.apply`."""
    if not suffix:
        message = "suffix= is empty: the corrected columns need names of their own"
        raise UsageError(message)
    nominal: dict[str, Which] = {suffix: "nominal"}
    wanted = nominal | _variations(morph, suffix, variations)
    flags = Flags(f"morphed{suffix}", f"outside{suffix}")
    return _write(morph, dataset, folder, wanted, flags, options, progress)


def _variations(morph: Morph, suffix: str, variations: Variations) -> dict[str, Which]:
    """The ends of the names of more columns, and which map gives them."""
    if variations is None:
        variations = morph.band is not None
    if variations == "members":
        if len(morph.members) < 2:
            message = "variations='members': this morpher has no ensemble; fit with ensemble=10"
            raise UsageError(message)
        return {f"{suffix}_member{k}": k for k in range(1, len(morph.members))}
    if variations not in {True, False}:
        message = f"variations={variations!r}: expected True, False, 'members' or None"
        raise UsageError(message)
    return {f"{suffix}_up": "up", f"{suffix}_down": "down"} if variations else {}


def _write(
    morph: Morph,
    dataset: Dataset,
    folder: str | os.PathLike[str],
    wanted: dict[str, Which],
    flags: Flags,
    options: dict[str, Any],
    progress: bool | None,
) -> Applied:
    """Friend trees with the columns for each suffix of `wanted`, and flags."""
    for which in wanted.values():
        morph.member(which)
    counter = _Counter(morph)
    values = _stream(morph, dataset, wanted, flags, counter, progress)
    paths = dataset.write_friend(folder, values, progress=False, **options)
    counter.log()
    return Applied(
        tuple(paths),
        counter.rows,
        counter.by_condition(),
        counter.not_finite,
        counter.unchanged,
        counter.by_feature(),
    )


def _stream(
    morph: Morph,
    dataset: Dataset,
    wanted: dict[str, Which],
    flags: Flags,
    counter: _Counter,
    progress: bool | None,
) -> Iterator[Columns]:
    """Corrected columns, partition by partition, in order; computed in threads or on a cluster."""
    if not dataset.scan(progress=progress).num_rows:
        message = f"{dataset}: no event is selected, so there is nothing to morph"
        raise EmptySelectionError(message)
    results = dataset.select(morph.names.columns).map_partitions(
        _Correct(morph, tuple(wanted.items()), flags), ids=True, progress=progress, what="morphing"
    )
    with closing(results):  # type: ignore[type-var]  # a generator
        for corrected, counts in results:
            counter.add(counts)
            yield corrected


@dataclass(frozen=True, slots=True)
class _Correct:
    """Corrects the features of the selected events of a partition, here or on a cluster.

    Attributes:
        wanted: The end of the new columns' names, and which map gives them.
        flags: Of the first map.
    """

    morph: Morph
    wanted: tuple[tuple[str, Which], ...]
    flags: Flags

    def __call__(self, block: EventBlock) -> tuple[Columns, _Counts]:
        rows = rows_of_block(block, self.morph.names)
        suffixes, maps = zip(*self.wanted, strict=True)
        outcomes = self.morph.transform_all(rows, maps)
        kinds = _kinds(block.columns, self.morph.names.features)
        columns: Columns = {}
        for suffix, outcome in zip(suffixes, outcomes, strict=True):
            new = _feature_columns(self.morph, outcome, rows, kinds)
            columns |= {f"{name}{suffix}": column for name, column in new.items()}
        columns |= self.flags.columns(outcomes[0], rows)
        return columns, _Counts.of(outcomes[0])


_SUFFIX = "_morphed"


def _transform_dataset(
    morph: Morph, dataset: Dataset, *, which: Which, flags: Flags, folder: Any
) -> Dataset:
    """The dataset with friends beside it, from which the features are read."""
    _check_cuts(morph, dataset)
    if folder is None:
        folder = tempfile.mkdtemp(prefix="rootml-morphed-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    written = flags if flags.morphed else replace(flags, morphed=f"is{_SUFFIX}")
    done = _write(morph, dataset, folder, {_SUFFIX: which}, written, {}, None)
    there = dataset.with_friends(done.paths)
    missing = [name for name in flags.names if name not in there.columns]
    if missing:
        there = there.select([*there.columns, *missing])
    return there.vary("morphed", suffix=_SUFFIX)


def _check_cuts(morph: Morph, dataset: Dataset) -> None:
    """See that events and weights will be the same, and that features can be exchanged.

    Raises:
        UsageError: A cut on a feature, a weight made of it, or a feature that is computed.
    """
    features = set(morph.names.features)
    for needs in dataset.dependencies():
        sample = needs.sample
        cut = sorted(set(needs.cuts) & features)
        if cut:
            message = (
                f"{sample}: a cut uses the feature {cut[0]!r}. It selects by the value before the "
                "correction, and in the result the same words would mean the value after it. For "
                "the latter, transform() the dataset without this cut and filter() the result; "
                "for the former, write corrected columns beside the events with apply()"
            )
            raise UsageError(message)
        weight = sorted(set(needs.weight) & features)
        if weight:
            message = (
                f"{sample}: the weight is made of the feature {weight[0]!r} and would change with "
                "it, while an event keeps its weight; write corrected columns beside the events "
                "with apply()"
            )
            raise UsageError(message)
        computed = [name for name in morph.names.features if name not in needs.columns]
        if computed:
            message = (
                f"{sample}: feature {computed[0]!r} is computed, not a column of the file; use "
                "apply(), which writes corrected columns beside the events"
            )
            raise UsageError(message)
