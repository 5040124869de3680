"""Reads partitions of samples: from files through cuts to columns, label and weight.

A `Reader` is what is sent to threads, worker processes and clusters: samples, no open file.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.buffers import Allocate
from rootml._internal.event_hash import Hashes, hash_ids, hash_text
from rootml._internal.heap import warm_heap
from rootml.dataset._columns import cast, exact_type, packed, take_all
from rootml.dataset._resolved_sample import ResolvedSample, Values
from rootml.dataset._sample import Filter, Normalisation, Sample
from rootml.dataset._splits import Split
from rootml.dataset._weight_sums import Grouping, Steps, add_sums
from rootml.errors import (
    CastError,
    ExpressionError,
    MissingColumnError,
    SchemaError,
    UsageError,
    nearest,
)
from rootml.execution import Executor, map_ordered, map_tasks
from rootml.expressions import Expression
from rootml.expressions._staged import staged_mask
from rootml.partitions import DEFAULT_BYTES, Partition, join_clusters
from rootml.storage import Array, Column, ColumnType

Mask = npt.NDArray[np.bool_]
_STRING_BYTES = 24
_LARGE_CLUSTER = 1.5
_WIDEST = 8


@dataclass(frozen=True, slots=True)
class EventBlock:
    """The selected events of a partition, in the order of the file.

    Attributes:
        columns: Columns of `num_rows` rows each, in the order asked for.
        label: Label per row: int64 if it is an integer, else float64; None if not asked for.
        weight: float64 weight per row, with the sample's scale; None if not asked for. (A
            `ReadTask` that does not widen gives both as they are in the file.)
        entries: int64 entry number in the file per row; None if not asked for.
        num_rows: Rows.
        partition: Where they come from: file, tree, range of entries.
    """

    columns: dict[str, Column]
    label: Array | None
    weight: Array | None
    entries: npt.NDArray[np.int64] | None
    num_rows: int
    partition: Partition


@dataclass(frozen=True, slots=True)
class PartScan:
    """What a pass over a partition finds.

    Attributes:
        mask: Which entries pass, packed bits; None if there is nothing to pass.
        steps: For all events and after each cut: sums of weights by label.
    """

    mask: npt.NDArray[np.uint8] | None
    steps: Steps


class Reader:
    """Reads partitions of `samples`; safe to use from several threads, and picklable.

    Attributes:
        executor: Where passes over all partitions are made; None: in threads here. Not pickled.
    """

    def __init__(self, samples: Sequence[Sample], *, executor: Executor | None = None) -> None:
        self.samples = tuple(samples)
        self.executor = executor
        self._resolved: dict[int, ResolvedSample] = {}
        self._types: dict[str, ColumnType] | None = None
        self._casts: list[dict[str, np.dtype[Any]]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_resolved": {}, "executor": None}

    # --- names and types ----------------------------------------------------------------------

    def resolved_sample(self, sample: int) -> ResolvedSample:
        """What is computed for a sample; its first file is opened at the first call."""
        if sample not in self._resolved:
            self._resolved[sample] = ResolvedSample(self.samples[sample])
        return self._resolved[sample]

    def resolved_samples(self) -> list[ResolvedSample]:
        """Those of all samples.

        Raises:
            MissingColumnError: A systematic variation for which no sample has a column.
        """
        all_resolved = [self.resolved_sample(number) for number in range(len(self.samples))]
        unused = [
            set(resolved.unused_suffixes) for resolved in all_resolved if resolved.sample.suffixes
        ]
        for suffix in sorted(set.intersection(*unused) if unused else ()):
            names = {name for resolved in all_resolved for name in resolved.columns}
            message = (
                f"{all_resolved[0].where}: no column that is used has a variation ending in "
                f"{suffix!r}; nearest: {nearest(suffix, names)}"
            )
            raise MissingColumnError(message)
        return all_resolved

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the selected columns; without a selection those that all samples have."""
        first = self.samples[0].outputs
        if first is not None:
            return first
        all_resolved = self.resolved_samples()
        others = [resolved.outputs.keys() for resolved in all_resolved[1:]]
        return tuple(
            name for name in all_resolved[0].outputs if all(name in other for other in others)
        )

    def types(self) -> dict[str, ColumnType]:
        """The types of the selected columns, which all samples agree on or can be cast to.

        Raises:
            SchemaError: Samples whose columns do not fit together.
        """
        if self._types is None:
            self._types = self._common_types()
        return self._types

    def _common_types(self) -> dict[str, ColumnType]:
        types = [resolved.output_types() for resolved in self.resolved_samples()]
        common = {name: types[0][name] for name in self.columns}
        for number, other in enumerate(types[1:], 1):
            for name, kind in common.items():
                both = exact_type(kind, other[name])
                if both is None:
                    message = (
                        f"column {name!r} is {kind} in {self.samples[0]} and {other[name]} in "
                        f"{self.samples[number]}: these samples cannot be united; make them "
                        f"equal with define() before, or select other columns"
                    )
                    raise SchemaError(message)
                common[name] = both
        self._casts = [
            {
                name: dtype
                for name, kind in common.items()
                if (dtype := kind.dtype) is not None and mine[name].dtype != dtype
            }
            for mine in types
        ]
        return common

    def casts(self) -> list[dict[str, np.dtype[Any]]]:
        """For each sample the columns that are read in a wider dtype than its files have."""
        self.types()
        return self._casts

    # --- partitions ---------------------------------------------------------------------------

    def ranges(self, *, threads: int | None = None) -> list[list[tuple[int, int, int]]]:
        """``(file, start, stop)`` of each file within its sample's entry range; opens all files.

        Raises:
            UsageError: An entry range beyond the end.
        """
        return [sample.file_ranges(sample.files.infos(threads=threads)) for sample in self.samples]

    def partitions(
        self, target_bytes: int, *, scan: bool = False, threads: int | None = None
    ) -> tuple[Partition, ...]:
        """Ranges of entries of about `target_bytes` decoded, in the order of the files.

        Args:
            scan: For the columns that the selection needs, instead of those selected.
        """
        found: list[Partition] = []
        for number, sample in enumerate(self.samples):
            infos = sample.files.infos(threads=threads)
            files = sample.file_ranges(infos)
            if not files:
                continue
            max_entries = max(1, target_bytes // self._entry_bytes(number, scan=scan))
            divide = partial(self._divide, number, max_entries, fine=not scan)
            for (file, _, _), ranges in zip(
                files, map_ordered(divide, files, threads=threads), strict=True
            ):
                info = infos[file]
                found += [Partition(number, file, info.path, info.tree, *r) for r in ranges]
            sample.files.save_headers()
        return tuple(found)

    def file_partitions(self, sample: int, file: int) -> list[Partition]:
        """All entries of a file, selected or not, in ranges of about `DEFAULT_BYTES` decoded."""
        files = self.samples[sample].files
        info = files.info(file)
        if not info.num_entries:
            return []
        max_entries = max(1, DEFAULT_BYTES // self._entry_bytes(sample, scan=False))
        ranges = join_clusters(files.clusters(file), 0, info.num_entries, max_entries)
        return [Partition(sample, file, info.path, info.tree, *each) for each in ranges]

    def _divide(
        self, number: int, max_entries: int, file_range: tuple[int, int, int], *, fine: bool
    ) -> list[tuple[int, int]]:
        """Ranges of about `max_entries` entries; `fine`: cut large clusters where cheap."""
        file, start, stop = file_range
        if stop - start <= max_entries:
            return [(start, stop)]
        files = self.samples[number].files
        ranges = join_clusters(files.clusters(file), start, stop, max_entries)
        if not fine or all(last - first <= _LARGE_CLUSTER * max_entries for first, last in ranges):
            return ranges
        resolved = self.resolved_sample(number)
        wanted = [
            *(resolved.outputs[name] for name in self.columns),
            resolved.label,
            resolved.weight,
        ]
        names = resolved.needs(wanted)
        result: list[tuple[int, int]] = []
        for first, last in ranges:
            large = last - first > _LARGE_CLUSTER * max_entries
            cuts = (
                files.cheap_cuts(file, names, first, last, max_entries) if large and names else []
            )
            result += itertools.pairwise([first, *cuts, last])
        return result

    def _entry_bytes(self, number: int, *, scan: bool) -> int:
        """Decoded bytes of an entry, as the reference file has it: the same on every machine."""
        resolved = self.resolved_sample(number)
        outputs = [] if scan else [resolved.outputs[name] for name in self.columns]
        wanted = resolved.cut_expressions if scan else outputs
        wanted = [*wanted, *(e for e in (resolved.label, resolved.weight) if e is not None)]
        files = resolved.sample.files
        table = files.table(files.reference())
        size = 0.0
        for name in resolved.needs(wanted):
            kind = resolved.columns[name]
            if kind.dtype is not None and kind.kind in {"scalar", "fixed"}:
                size += kind.dtype.itemsize * float(np.prod(kind.shape))
            elif kind.kind != "unsupported":
                stored = table.stored_bytes([name]) / max(1, table.num_entries)
                size += _STRING_BYTES + 2 * stored  # lists: offsets, and values unpacked
        if not scan:
            size += sum(8 for expression in outputs if expression.column not in resolved.columns)
        return max(8, int(size))

    # --- reading ------------------------------------------------------------------------------

    def block(
        self,
        partition: Partition,
        columns: Sequence[str] | None = None,
        *,
        mask: Mask | None = None,
        select: bool = True,
        label: bool = False,
        weight: bool = False,
        ids: bool = False,
        allocate: Allocate = np.empty,
        raw: Collection[str] = (),
        widen: bool = True,
    ) -> EventBlock:
        """Selected rows of a partition.

        Args:
            columns: Names of selected columns; None: all of them.
            mask: Which entries pass, where it is known.
            select: If `mask` is None: whether to evaluate the cuts; otherwise all entries pass.
            raw: Columns that may come in the byte order of the file.
            widen: Whether labels and weights come as int64 and float64, or as they are if they are
                no wider.
        """
        whole = partition
        resolved = self.resolved_sample(partition.sample)
        wanted = self._wanted(resolved, columns)
        copied = [expression for name, expression in wanted.items() if name in raw]
        others = [expression for name, expression in wanted.items() if name not in raw]
        others += [resolved.label] if label and resolved.label is not None else []
        others += [resolved.weight] if weight and resolved.weight is not None else []
        needed = [*copied, *others]
        cut = mask is None and select and bool(resolved.cuts)
        if mask is not None and not mask.any():  # nothing is read where nothing passes
            partition, mask = replace(partition, stop=partition.start), None
        cuts = resolved.cut_expressions if cut else []
        unswapped = resolved.only_copied(copied, [*others, *cuts])
        values = self._load(partition, [*needed, *cuts], allocate, unswapped)
        if cut:
            mask = self._masks(partition, values)[-1]
        entries = np.arange(partition.start, partition.stop) if ids else None
        if mask is not None and not mask.all():
            rows = np.flatnonzero(mask)
            entries = partition.start + rows if ids else None
            kept = take_all(
                {name: values.stored(name) for name in resolved.needs(needed)}, rows, allocate
            )
            values = Values(resolved, kept, len(rows), values.where)
        casts = self.casts()[partition.sample] if len(self.samples) > 1 else {}
        return EventBlock(
            {
                name: cast(packed(values.column(expression, name)), casts.get(name))
                for name, expression in wanted.items()
            },
            self._labels(resolved, values, allocate, widen=widen) if label else None,
            self._weights(resolved, values, allocate=allocate, widen=widen) if weight else None,
            entries,
            values.num_events,
            whole,
        )

    def empty_block(self, *, label: bool = False, weight: bool = False) -> EventBlock:
        """A block without rows, with the columns and their types."""
        info = self.samples[0].files.info(0)
        nothing = Partition(0, 0, info.path, info.tree, 0, 0)
        return self.block(nothing, select=False, label=label, weight=weight)

    def _wanted(
        self, resolved: ResolvedSample, columns: Sequence[str] | None
    ) -> dict[str, Expression]:
        known = resolved.outputs
        wanted = {}
        for name in self.columns if columns is None else columns:
            if name not in known:
                message = (
                    f"{resolved.where}: {name!r} is not a selected column; "
                    f"nearest: {nearest(name, known)}"
                )
                raise MissingColumnError(message)
            wanted[name] = known[name]
        return wanted

    def _load(
        self,
        partition: Partition,
        expressions: Sequence[Expression],
        allocate: Allocate = np.empty,
        raw: Collection[str] = (),
    ) -> Values:
        """The columns behind `expressions`."""
        resolved = self.resolved_sample(partition.sample)
        files, names = resolved.sample.files, resolved.needs(expressions)
        files.check(partition.file, names)
        columns: dict[str, Column] = {}
        if names:
            table = files.table(partition.file)
            columns = table.read(
                names, partition.start, partition.stop, allocate=allocate, raw=raw
            )
        return Values(resolved, columns, partition.num_entries, partition.where)

    def _labels(
        self, resolved: ResolvedSample, values: Values, allocate: Allocate, *, widen: bool = True
    ) -> Array:
        label = resolved.sample.label
        if label is None:
            message = f"{resolved.sample}: has no label; open it with label=, or use with_label()"
            raise UsageError(message)
        if resolved.label is None:
            dtype: Any = np.int64 if isinstance(label, int) else np.float64
            return np.full(values.num_events, label, dtype)
        kind = resolved.scalar_dtype(resolved.label, f"the label {label!r}").kind
        found = values.numbers(resolved.label, "label")
        if not widen and found.dtype.kind in "iuf" and found.dtype.itemsize < _WIDEST:
            return found
        if kind == "f":
            return _as(found, np.float64, allocate)
        if found.dtype == np.uint64 and len(found) and found.max() > np.iinfo(np.int64).max:
            message = f"{values.where}: a label {int(found.max())} does not fit into int64"
            raise CastError(message)
        return _as(found, np.int64, allocate)

    def _weights(
        self,
        resolved: ResolvedSample,
        values: Values,
        among: Mask | None = None,
        *,
        allocate: Allocate = np.empty,
        widen: bool = True,
    ) -> Array:
        """Weights with the sample's scale; NaN where they are missing outside of `among`."""
        sample, scale = resolved.sample, self.scale(resolved.sample)
        if resolved.weight is None:
            value = 1.0 if sample.weight is None else float(sample.weight)
            return np.full(values.num_events, value * scale)
        resolved.scalar_dtype(resolved.weight, f"the weight {sample.weight!r}")
        weights = values.numbers(resolved.weight, "weight", among)
        if not widen and scale == 1.0 and weights.dtype.kind == "f":
            return weights
        weights = _as(weights, np.float64, allocate)
        return weights if scale == 1.0 else weights * scale

    # --- normalising --------------------------------------------------------------------------

    def scale(self, sample: Sample) -> float:
        """``cross_section * luminosity / sum_of_weights``, which multiplies every weight.

        Raises:
            UsageError: The sum of weights is zero or not finite.
        """
        if sample.normalisation is None:
            return 1.0
        key = (sample.files, sample.definitions, sample.weight, sample.normalisation)
        return sample.scales.find(key, partial(_scale, sample, sample.normalisation))

    def find_scales(self) -> None:
        """Compute the scales of all samples now; else each worker makes a pass of its own."""
        for sample in self.samples:
            self.scale(sample)

    # --- selecting ----------------------------------------------------------------------------

    def _masks(self, partition: Partition, values: Values) -> list[Mask]:
        """Which entries pass the cuts up to each one."""
        resolved = self.resolved_sample(partition.sample)
        resolved.check_ids()
        passed = np.ones(values.num_events, bool)
        masks = []
        hashes: dict[Any, Hashes] = {}
        cuts = zip(resolved.sample.cuts, resolved.cuts, resolved.ids, strict=True)
        for cut, condition, ids in cuts:
            if isinstance(cut, Filter):
                assert condition is not None
                passed = self._pass(condition, values, cut, passed)
            else:
                key = (cut.by, cut.seed, cut.stream)
                if key not in hashes:
                    hashes[key] = self._hashes(cut, ids or [], partition, values)
                passed = passed & cut.mask(hashes[key])
            masks.append(passed)
        return masks

    def _pass(self, condition: Expression, values: Values, cut: Filter, among: Mask) -> Mask:
        try:
            return staged_mask(condition, values, values.num_events, among=among)
        except ExpressionError as error:
            named = "" if cut.name == cut.text else f", cut {cut.name!r}"
            message = f"{values.where}{named}: {error}"
            raise ExpressionError(message) from error

    def _hashes(
        self, cut: Split, ids: Sequence[Expression], partition: Partition, values: Values
    ) -> Hashes:
        count = values.num_events
        if cut.by is None:
            file = np.full(count, hash_text(Path(partition.path).name), np.uint64)
            columns: list[Any] = [file, np.arange(partition.start, partition.stop)]
        else:
            columns = [values.column(expression, str(expression)) for expression in ids]
        return hash_ids(columns, count, seed=cut.seed, stream=cut.stream)

    def scan_partition(self, partition: Partition, *, sums_only: bool = False) -> PartScan:
        """Evaluate the cuts, and sum the weights of what passes up to each of them."""
        resolved = self.resolved_sample(partition.sample)
        sample = resolved.sample
        wanted = [] if sums_only else resolved.cut_expressions
        wanted = [*wanted, *(e for e in (resolved.label, resolved.weight) if e is not None)]
        values = self._load(partition, wanted)
        masks = [] if sums_only else self._masks(partition, values)
        everything = np.ones(values.num_events, bool)
        last = masks[-1] if masks else everything
        labels: Any = sample.label
        if resolved.label is not None:
            resolved.scalar_dtype(resolved.label, f"the label {sample.label!r}")
            labels = values.numbers(resolved.label, "label", last)
        weights = self._weights(resolved, values, last) if sample.weighted else None
        grouping = Grouping(labels, weights)
        bits = None if sums_only else np.packbits(last)
        return PartScan(bits, [grouping.sums(mask) for mask in (everything, *masks)])

    def scan_all(
        self,
        *,
        what: str,
        sums_only: bool = False,
        progress: bool | None = None,
        threads: int | None = None,
    ) -> Iterator[tuple[Partition, PartScan]]:
        """`scan_partition` for all of them, in order."""
        warm_heap()
        self.resolved_samples()
        self.find_scales()
        partitions = self.partitions(DEFAULT_BYTES, scan=True, threads=threads)
        task = partial(self.scan_partition, sums_only=sums_only)
        parts = map_tasks(
            task, partitions, threads=threads, progress=progress, what=what, executor=self.executor
        )
        try:
            yield from zip(partitions, parts, strict=True)
        finally:
            parts.close()  # type: ignore[attr-defined]  # a generator

    def count(
        self, *, what: str, progress: bool | None = None, threads: int | None = None
    ) -> list[Steps]:
        """Sums of weights of all events, per sample; as `PartScan.steps` without cuts."""
        plain = Reader(
            [replace(sample, cuts=()) for sample in self.samples], executor=self.executor
        )
        return plain.sum_up(
            plain.scan_all(what=what, sums_only=True, progress=progress, threads=threads)
        )

    def sum_up(self, parts: Iterable[tuple[Partition, PartScan]]) -> list[Steps]:
        """Sums per sample and step over partitions, in their order."""
        steps = self.no_sums()
        for partition, part in parts:
            mine = steps[partition.sample]
            for number, sums in enumerate(part.steps):
                mine[number] = add_sums(mine[number], sums)
        return steps

    def no_sums(self) -> list[Steps]:
        """What `sum_up` starts from: constant labels are there even without an event."""
        return [
            [
                {}
                if isinstance(sample.label, str)
                else Grouping(sample.label, None).sums(_NOTHING)
                for _ in (None, *sample.cuts)
            ]
            for sample in self.samples
        ]


_NOTHING: Mask = np.zeros(0, bool)


def _scale(sample: Sample, normalisation: Normalisation) -> float:
    """See `Reader.scale`."""
    total = normalisation.sum_of_weights
    if isinstance(total, str):
        steps = Reader((sample.to_sum(total),)).count(what="summing weights")
        total = steps[0][-1][None].sumw
    if not math.isfinite(total) or total == 0:
        message = f"{sample.title}: the sum of weights is {total}; it cannot normalise"
        raise UsageError(message)
    return normalisation.scale(total)


def _as(values: Array, dtype: npt.DTypeLike, allocate: Allocate) -> Array:
    """`values` in another dtype, themselves if they have it."""
    if values.dtype == dtype:
        return values
    cast = allocate(values.shape, dtype)
    np.copyto(cast, values, casting="unsafe")
    return cast
