"""Writes friend trees: values of selected events, beside the entries that they belong to.

One file per input, with all of its entries in their order. What was not selected is filled (NaN,
0, false, an empty list) and marked by ``<name>_valid = false``. Each file records which input it
was made for, so that it is never joined to another one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml.dataset import Dataset, SelectedPartition
from rootml.dataset._columns import concatenate
from rootml.errors import SchemaError, UsageError
from rootml.execution import Cost, map_tasks
from rootml.files._origin import Origin, record
from rootml.output._friend_values import Apply, FileKey, Source, Values, source_of
from rootml.output._output_files import begin_job, check_format, refuse_existing
from rootml.partitions import Partition
from rootml.storage import Column, ColumnType, Writer, open_writer

Rows = npt.NDArray[np.intp]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Part:
    """A dataset whose selected events get values from one source.

    Attributes:
        occurrences: For each input file the samples and files that it is, with their entries.
    """

    data: Dataset
    source: Source
    occurrences: dict[Key, list[Partition]]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Entries that one source has values for."""

    part: int
    selected: SelectedPartition

    @property
    def file_key(self) -> FileKey:
        """Which file of which sample of its dataset."""
        return self.selected.partition.sample, self.selected.partition.file

    def rows(self, start: int) -> Rows:
        """The selected ones, counted from entry `start` of the file."""
        first, mask = self.selected.partition.start - start, self.selected.mask
        if mask is None:
            return np.arange(first, first + self.selected.partition.num_entries)
        return np.flatnonzero(mask) + first


@dataclass(frozen=True, slots=True)
class _Range:
    """Entries ``[start, stop)`` of an input file, and who has values for them."""

    key: Key
    start: int
    stop: int
    pieces: tuple[_Piece, ...]

    @property
    def where(self) -> str:
        """For messages."""
        return Partition(0, 0, *self.key, self.start, self.stop).where

    @property
    def cost(self) -> Cost:
        """What reading the selected events is expected to take."""
        return Cost.total(piece.selected.cost for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class _Compute:
    """Computes what can be computed for a range, here or on a cluster."""

    tasks: tuple[Apply | None, ...]

    def __call__(self, each: _Range) -> list[Values | None]:
        pieces = [(self.tasks[piece.part], piece.selected) for piece in each.pieces]
        return [None if task is None else task(selected) for task, selected in pieces]


def write_friend(
    data: Dataset,
    folder: str | os.PathLike[str],
    values: Any,
    *,
    tree: str,
    format: str | None,  # noqa: A002 - the word users know
    overwrite: bool,
    progress: bool | None,
    threads: int | None,
) -> list[str]:
    """See `Dataset.write_friend`."""
    files = _files(data)
    firsts = [occurrences[0] for occurrences in files.values()]
    formats = [data.samples[each.sample].files.info(each.file).format for each in firsts]
    kind = check_format(format, formats)
    refuse_existing(folder, list(files), format=kind, overwrite=overwrite)
    given = _pairs(data, values)
    parts = []
    for subset, each in given:
        occurrences = _files(subset, within=files, whole=data)
        order = [(p.sample, p.file) for key in files for p in occurrences.get(key, ())]
        in_order = order == sorted(order)
        source = source_of(subset, each, in_order=in_order, executor=data.executor)
        parts.append(_Part(subset, source, occurrences))
    _check_cover(data, parts, files)
    types = _output_types(parts)
    paths, manifest = begin_job(
        "friends",
        folder,
        list(files),
        format=kind,
        key=[data.fingerprint, tree, [[p.data.fingerprint, p.source.digest] for p in parts]],
        overwrite=overwrite,
    )
    certain = all(part.source.certain for part in parts)
    if not certain:  # nobody knows whether the values were those of the events
        manifest.forget()
        manifest.begin()
    tasks = tuple(part.source.task for part in parts)
    work = partial(
        map_tasks,
        _Compute(tasks),
        threads=threads,
        progress=progress,
        what="writing friends",
        executor=data.executor if any(tasks) else None,
    )
    write = partial(open_writer, format=kind, tree=tree, columns=types)
    try:
        todo = [
            (path, occurrence, _ranges(data, parts, key, occurrence))
            for path, key, occurrence in zip(paths, files, firsts, strict=True)
            if not manifest.has(path)
        ]
        results = work([each for *_, ranges in todo for each in ranges])
        with closing(results):  # type: ignore[type-var]  # a generator
            for path, occurrence, ranges in todo:
                origin = Origin.of(data.samples[occurrence.sample].files.table(occurrence.file))
                note = record(origin, names=sorted(parts[0].source.types))
                with write(path, metadata=note) as writer:
                    for each in ranges:
                        _write(writer, parts, each, next(results), types)
                    if path == paths[-1]:
                        for part in parts:
                            part.source.finish()
                manifest.add(path)
    except BaseException:
        if certain:
            manifest.give_up()
        else:
            manifest.forget()
        raise
    manifest.end()
    return paths


def _pairs(data: Dataset, values: Any) -> list[tuple[Dataset, Any]]:
    """The datasets and their values: usually one, several for scores out of fold."""
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)):
        return [(data, values)]
    pairs = [isinstance(each, tuple) and len(each) == 2 for each in values]
    if not all(pairs) or not values:
        return [(data, values)]
    for part, _ in values:
        if not isinstance(part, Dataset):
            message = f"values are pairs (Dataset, values), not ({type(part).__name__}, ...)"
            raise UsageError(message)
    return list(values)


# --- which files and entries ------------------------------------------------------------------


def _files(
    data: Dataset, within: dict[Key, Any] | None = None, whole: Dataset | None = None
) -> dict[Key, list[Partition]]:
    """Input files in the order of the dataset, and where in its samples each of them is.

    Raises:
        SchemaError: A file that is not among `within`, those of the dataset `whole`.
    """
    found: dict[Key, list[Partition]] = {}
    for number, sample in enumerate(data.samples):
        infos = sample.files.infos()
        ranges = {file: (start, stop) for file, start, stop in sample.file_ranges(infos)}
        for file, info in enumerate(infos):
            key = (info.path, info.tree)
            if within is not None and key not in within:
                message = f"values are given for {info.where}, which is not a file of {whole}"
                raise SchemaError(message)
            occurrences = found.setdefault(key, [])
            occurrences.append(Partition(number, file, *key, *ranges.get(file, (0, 0))))
    return found


def _mask(data: Dataset, occurrence: Partition, start: int, stop: int) -> npt.NDArray[np.bool_]:
    """Which of the entries ``[start, stop)`` of a file a dataset selects there."""
    mask = np.zeros(stop - start, bool)
    first, last = max(start, occurrence.start), min(stop, occurrence.stop)
    if first < last:
        inner = Partition(
            occurrence.sample, occurrence.file, occurrence.path, occurrence.tree, first, last
        )
        found = data.scan().mask_of(inner)
        mask[first - start : last - start] = True if found is None else found
    return mask


def _ranges(
    data: Dataset, parts: Sequence[_Part], key: Key, occurrence: Partition
) -> list[_Range]:
    """All entries of a file, in ranges of a bounded size that are cheap to read."""
    return [
        _Range(key, each.start, each.stop, tuple(_pieces(parts, key, each.start, each.stop)))
        for each in data.file_partitions(occurrence.sample, occurrence.file)
    ]


def _check_cover(data: Dataset, parts: Sequence[_Part], files: dict[Key, list[Partition]]) -> None:
    """See that each selected event gets exactly one value.

    Raises:
        SchemaError: An event with several values, with none, or one that is not selected.
    """
    for key, occurrences in files.items():
        file = data.samples[occurrences[0].sample].files
        total = file.info(occurrences[0].file).num_entries
        where = file.info(occurrences[0].file).where
        wanted = np.zeros(total, bool)
        for occurrence in occurrences:
            wanted |= _mask(data, occurrence, 0, total)
        given = np.zeros(total, np.int8)
        for part in parts:
            for occurrence in part.occurrences.get(key, ()):
                given += _mask(part.data, occurrence, 0, total)
        for entries, problem in (
            (given > 1, "are selected more than once, so that several values are given for them"),
            (wanted & (given == 0), "are selected, and no values are given for them"),
            (~wanted & (given > 0), "are given values, and are not selected"),
        ):
            if entries.any():
                message = (
                    f"{where}: {np.count_nonzero(entries):,} entries {problem}; the first is "
                    f"entry {int(np.flatnonzero(entries)[0]):,}"
                )
                raise SchemaError(message)


# --- from values of selected events to columns of all entries -----------------------------------


def _output_types(parts: Sequence[_Part]) -> dict[str, ColumnType]:
    """The columns of the friend: values, and whether they are valid.

    Raises:
        SchemaError: Parts with other names or types, or a name that is taken twice.
    """
    types = parts[0].source.types
    for part in parts[1:]:
        mine = part.source.types
        if mine.keys() != types.keys() or not all(mine[n].same_as(types[n]) for n in types):
            message = (
                f"values of {parts[0].data} are { {n: str(t) for n, t in types.items()} }, "
                f"those of {part.data} { {n: str(t) for n, t in mine.items()} }"
            )
            raise SchemaError(message)
    flags = {f"{name}_valid": ColumnType("scalar", np.dtype(bool)) for name in types}
    twice = sorted(flags.keys() & types.keys())
    if twice:
        message = f"{twice[0]!r} would say whether another column is valid; choose another name"
        raise SchemaError(message)
    return {
        column: kind
        for pair in zip(types.items(), flags.items(), strict=True)
        for column, kind in pair
    }


def _pieces(parts: Sequence[_Part], key: Key, start: int, stop: int) -> Iterator[_Piece]:
    """What each source has for a range of entries."""
    for number, part in enumerate(parts):
        index = part.data.scan()
        for occurrence in part.occurrences.get(key, ()):
            first, last = max(start, occurrence.start), min(stop, occurrence.stop)
            if first < last:
                partition = Partition(occurrence.sample, occurrence.file, *key, first, last)
                selected = index.select(partition)
                if selected.num_rows:
                    yield _Piece(number, selected)


def _write(
    writer: Writer,
    parts: Sequence[_Part],
    each: _Range,
    computed: Sequence[Values | None],
    types: dict[str, ColumnType],
) -> None:
    """Append a range of entries."""
    count = each.stop - each.start
    targets = [piece.rows(each.start) for piece in each.pieces]
    values = [
        parts[piece.part].source.take(piece.file_key, len(rows)) if found is None else found
        for piece, rows, found in zip(each.pieces, targets, computed, strict=True)
    ]
    rows = np.concatenate([np.zeros(0, np.intp), *targets])
    valid = np.zeros(count, bool)
    valid[rows] = True
    columns: dict[str, Column] = {}
    for name in parts[0].source.types:
        columns[name] = _spread([each[name] for each in values], rows, count, types[name])
        columns[f"{name}_valid"] = valid
    writer.write(columns)


def _spread(parts: Sequence[Column], rows: Rows, count: int, kind: ColumnType) -> Column:
    """Values at `rows` of `count` entries, the rest filled."""
    assert kind.dtype is not None
    if kind.kind != "jagged":
        fill = np.nan if kind.dtype.kind == "f" else 0
        column = np.full((count, *kind.shape), fill, kind.dtype)
        if parts:
            column[rows] = np.concatenate([np.asarray(part) for part in parts])
        return column
    nothing = ak.Array(_empty_lists(kind, 1))
    everything = concatenate([*parts, nothing])
    where = np.full(count, len(everything) - 1)
    where[rows] = np.arange(len(rows))
    return ak.to_packed(everything[where])


def _empty_lists(kind: ColumnType, count: int) -> Any:
    """Lists of the type of a column with nothing in them."""
    layout: Any = ak.contents.NumpyArray(np.zeros(0, kind.dtype))
    for depth in range(kind.depth):
        length = count if depth == kind.depth - 1 else 0
        layout = ak.contents.ListOffsetArray(
            ak.index.Index64(np.zeros(length + 1, np.int64)), layout
        )
    return layout
