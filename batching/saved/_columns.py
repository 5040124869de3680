"""Batches as named columns, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from rootml._internal.types import Array
from rootml.batching.inputs._batch import Batch, BatchSpec, InputSpec, PaddedArray, RaggedArray

Columns: TypeAlias = dict[str, "Array | RaggedArray"]
"""`(rows, ...)` arrays, or lists whose values are `(elements,)`."""


def groups(spec: BatchSpec) -> Iterator[tuple[str, InputSpec]]:
    """All inputs, and targets and observers that are lists, each with its role."""
    for item in spec.inputs:
        yield "input", item
    if spec.target_list is not None:
        yield "target", spec.target_list
    for item in spec.observed_lists:
        yield "observer", item


def column_names(spec: BatchSpec) -> dict[tuple[str, ...], str]:
    """The column of each part of a batch; a name that is taken gets its role before it."""
    names: dict[tuple[str, ...], str] = {}
    taken: set[str] = set()

    def add(key: tuple[str, ...], name: str) -> None:
        while name in taken:
            name = f"{key[0]}_{name}"
        taken.add(name)
        names[key] = name

    for role, item in groups(spec):
        for feature in item.features:
            add((role, item.name, feature), feature)
        if item.kind == "padded":
            add((role, item.name), f"{item.name}_mask")
    if spec.targets and spec.target_list is None:
        for name in spec.target_names:
            add(("target", name), name)
    if spec.has_weight:
        add(("weight",), "weight")
    for name in spec.observers:
        add(("observer", name), name)
    return names


def to_columns(spec: BatchSpec, batch: Batch) -> Columns:
    """The columns of a batch."""
    names, columns = column_names(spec), Columns()
    for role, item in groups(spec):
        value: Any = _part(batch, role, item.name)
        for j, feature in enumerate(item.features):
            name = names[role, item.name, feature]
            if isinstance(value, RaggedArray):
                columns[name] = RaggedArray(value.values[:, j], value.offsets)
            elif isinstance(value, PaddedArray):
                columns[name] = value.values[:, :, j]
            else:
                columns[name] = value[:, j]
        if isinstance(value, PaddedArray):
            columns[names[role, item.name]] = value.mask
    if spec.targets and spec.target_list is None:
        y = batch.y if batch.y.ndim == 2 else batch.y[:, None]
        columns |= {names["target", name]: y[:, j] for j, name in enumerate(spec.target_names)}
    if batch.w is not None:
        columns[names["weight",]] = batch.w
    for name in spec.observers:
        columns[names["observer", name]] = (batch.observers or {})[name]
    return columns


def from_columns(spec: BatchSpec, columns: Mapping[str, Any], rows: int) -> Batch:
    """The inverse of `to_columns`."""
    names = column_names(spec)
    found: dict[str, dict[str, Any]] = {"input": {}, "target": {}, "observer": {}}
    for role, item in groups(spec):
        parts = [columns[names[role, item.name, feature]] for feature in item.features]
        mask = columns[names[role, item.name]] if item.kind == "padded" else None
        found[role][item.name] = _joined(parts, mask)
    y = found["target"].get("y")
    if spec.targets and y is None:
        parts = [columns[names["target", name]] for name in spec.target_names]
        y = parts[0] if spec.y_width is None else np.stack(parts, axis=1)
    inputs = found["input"]
    observers = {name: columns[names["observer", name]] for name in spec.observers}
    return Batch(
        x=next(iter(inputs.values())) if spec.single else inputs or None,
        y=y,
        w=columns[names["weight",]] if spec.has_weight else None,
        observers={**observers, **found["observer"]} or None,
        num_rows=rows,
    )


def _part(batch: Batch, role: str, name: str) -> Any:
    if role == "target":
        return batch.y
    if role == "observer":
        return (batch.observers or {})[name]
    return batch.x[name] if isinstance(batch.x, dict) else batch.x


def _joined(parts: list[Any], mask: Array | None) -> Any:
    if isinstance(parts[0], RaggedArray):
        values = np.stack([part.values for part in parts], axis=1)
        return RaggedArray(values, parts[0].offsets)
    values = np.stack(parts, axis=-1)
    return values if mask is None else PaddedArray(values, mask)


def map_columns(columns: Columns, function: Callable[[Any], Any]) -> Columns:
    """Each column changed by `function`."""
    return {name: function(values) for name, values in columns.items()}


def slice_columns(columns: Columns, start: int, stop: int) -> Columns:
    """Rows ``[start, stop)`` of all columns."""

    def cut(values: Any) -> Any:  # of the kind of `values`
        if not isinstance(values, RaggedArray):
            return values[start:stop]
        offsets = values.offsets[start : stop + 1]
        return RaggedArray(values.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    return map_columns(columns, cut)


def join_columns(parts: list[Columns]) -> Columns:
    """The rows of all parts, one after the other."""
    joined = Columns()
    for name in parts[0]:
        values: list[Any] = [part[name] for part in parts]
        if isinstance(values[0], RaggedArray):
            counts = np.concatenate([np.diff(each.offsets) for each in values])
            offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
            joined[name] = RaggedArray(np.concatenate([v.values for v in values]), offsets)
        else:
            joined[name] = np.concatenate(values)
    return joined
