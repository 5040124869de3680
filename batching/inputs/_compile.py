"""From the columns a user names to the layout of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from rootml.batching.inputs._batch import BatchSpec, InputSpec
from rootml.batching.inputs._cast import NonFinite, check_fill
from rootml.batching.inputs._inputs import Padded, Ragged
from rootml.batching.inputs._layout import (
    LABEL_COLUMN,
    TARGET,
    Feature,
    FlatField,
    Layout,
    ListField,
    RawField,
    input_key,
)
from rootml.errors import UnsupportedTypeError, UsageError

if TYPE_CHECKING:
    from rootml.dataset import Dataset
    from rootml.storage import ColumnType

Inputs: TypeAlias = "Sequence[str] | Mapping[str, Sequence[str] | Padded | Ragged] | None"
Targets: TypeAlias = "str | Sequence[str] | None"


@dataclass(frozen=True, slots=True)
class Request:
    """What a batch shall consist of, as the user said it."""

    inputs: Inputs
    targets: Targets
    observers: Sequence[str] | None
    dtype: np.dtype[Any]
    nonfinite: NonFinite
    batch_size: int
    drop_last: bool


@dataclass(frozen=True, slots=True)
class _Names:
    """The names of a request, resolved to output columns of the dataset."""

    inputs: dict[str, tuple[str, ...] | Padded | Ragged]
    single: bool
    targets: tuple[str, ...]
    vector: bool
    observers: tuple[str, ...]


def compile_layout(
    dataset: Dataset, request: Request, class_weights: Mapping[float, float] | None
) -> tuple[Dataset, Layout]:
    """The layout, and the dataset extended by columns that were named but not selected.

    Raises:
        UnsupportedTypeError: A column that cannot be used as asked, e.g. a jagged one as scalar.
        UsageError: No inputs, targets or observers at all, or a name used twice.
        MissingColumnError: No such column.
    """
    dataset, names = _resolve(dataset, request)
    types = dataset.types()
    compiler = _Compiler(types, request, str(dataset))
    label = not names.targets and dataset.has_label
    flat, lists, specs = compiler.inputs(names.inputs)
    target = compiler.target(names, label=label)
    observers = tuple(compiler.observer(name) for name in names.observers)
    weight_dtype = request.dtype
    has_weight = dataset.has_weight or class_weights is not None
    spec = BatchSpec(
        inputs=tuple(specs),
        single=names.single,
        targets=("label",) if label else (names.targets or None),
        y_dtype=request.dtype,
        y_width=None if label or names.vector or target is None else len(target.features),
        has_weight=has_weight,
        w_dtype=weight_dtype,
        observers={field.column: field.dtype for field in observers},
        observer_shapes={field.column: field.shape for field in observers},
        target_names=_target_names(target, label=label),
        batch_size=request.batch_size,
        drop_last=request.drop_last,
    )
    flat += [target] if target is not None else []
    layout = Layout(
        spec, tuple(flat), tuple(lists), observers, label, has_weight, weight_dtype, class_weights
    )
    return dataset, layout


def _target_names(target: FlatField | None, *, label: bool) -> tuple[str, ...]:
    if target is None:
        return ()
    return ("label",) if label else tuple(feature.name for feature in target.features)


def _resolve(dataset: Dataset, request: Request) -> tuple[Dataset, _Names]:
    """Turn texts into column names; texts that are no output column become new ones."""
    vector = isinstance(request.targets, str)
    targets = _listed([request.targets] if vector else request.targets or [], "targets")
    observers = _listed(request.observers or [], "observers")
    texts = [*_texts(request.inputs), *targets, *observers]
    new = [text for text in dict.fromkeys(texts) if text not in dataset.columns]
    renamed: dict[str, str] = {}
    if new:
        before = dataset.columns
        dataset = dataset.select([*before, *new])
        renamed = dict(zip(new, dataset.columns[len(before) :], strict=True))
    used = {renamed.get(text, text) for text in [*targets, *observers]}

    def named(items: Sequence[str]) -> tuple[str, ...]:
        return tuple(renamed.get(text, text) for text in items)

    inputs: dict[str, tuple[str, ...] | Padded | Ragged] = {}
    single = not isinstance(request.inputs, Mapping)
    if request.inputs is None:
        used |= dataset.reserved  # the label and the weight are no inputs unless they are named
        inputs["x"] = tuple(c for c in dataset.columns if c not in used and c not in new)
    elif not isinstance(request.inputs, Mapping):
        inputs["x"] = named(_listed(request.inputs, "inputs"))
    else:
        for key, value in request.inputs.items():
            if isinstance(value, Padded):
                inputs[key] = Padded(named(value.columns), length=value.length, value=value.value)
            elif isinstance(value, Ragged):
                inputs[key] = Ragged(named(value.columns))
            else:
                inputs[key] = named(_listed(value, f"inputs[{key!r}]"))
    names = _Names(inputs, single, named(targets), vector, named(observers))
    _check_inputs(dataset, names)
    return dataset, names


def _check_inputs(dataset: Dataset, names: _Names) -> None:
    """There must be inputs, and none of them the target."""
    columns = [
        column
        for value in names.inputs.values()
        for column in (value if isinstance(value, tuple) else value.columns)
    ]
    if not columns:
        taken = {
            "target": names.targets,
            "observer": names.observers,
            "label or weight": sorted(dataset.reserved),
        }
        reasons = [f"{what}: {', '.join(used)}" for what, used in taken.items() if used]
        message = (
            f"{dataset}: no input is left of the columns {list(dataset.columns)}"
            + (f" ({'; '.join(reasons)})" if reasons else "")
            + "; select more columns, or name them by inputs=[...]"
        )
        raise UsageError(message)
    if both := [column for column in names.targets if column in columns]:
        message = (
            f"{dataset}: {both} cannot be inputs and targets at the same time: the model would "
            "be told the answer"
        )
        raise UsageError(message)


def _texts(inputs: Inputs) -> list[str]:
    if inputs is None:
        return []
    if not isinstance(inputs, Mapping):
        return _listed(inputs, "inputs")
    texts: list[str] = []
    named: Mapping[Any, Any] = inputs
    for key, value in named.items():
        if not isinstance(key, str) or not key:
            message = f"inputs={{{key!r}: ...}}: expected {{name: columns}}, a name is a text"
            raise UsageError(message)
        columns = value.columns if isinstance(value, (Padded, Ragged)) else value
        texts += _listed(columns, f"inputs[{key!r}]")
    return texts


def _listed(names: Any, what: str) -> list[str]:
    if isinstance(names, str):
        message = f"{what}={names!r}: expected a list of names, [{names!r}]"
        raise UsageError(message)
    found = list(names) if isinstance(names, Iterable) else [names]
    for name in found:
        if not isinstance(name, str):
            message = f"{what}: expected a list of names, not {name!r}"
            raise UsageError(message)
    if len(set(found)) != len(found):
        message = f"{what}: duplicate names in {found}"
        raise UsageError(message)
    return found


@dataclass(frozen=True)
class _Compiler:
    types: Mapping[str, ColumnType]
    request: Request
    where: str

    def inputs(
        self, inputs: Mapping[str, tuple[str, ...] | Padded | Ragged]
    ) -> tuple[list[FlatField], list[ListField], list[InputSpec]]:
        flat: list[FlatField] = []
        lists: list[ListField] = []
        specs: list[InputSpec] = []
        dtype = self.request.dtype
        for name, value in inputs.items():
            if isinstance(value, tuple):
                field = self._flat(name, value)
                features = tuple(feature.name for feature in field.features)
                flat.append(field)
                specs.append(InputSpec(name, "flat", features, None, dtype))
                continue
            lists.append(self._list(name, value))
            padded = isinstance(value, Padded)
            kind: Literal["padded", "ragged"] = "padded" if padded else "ragged"
            length = value.length if isinstance(value, Padded) else None
            specs.append(InputSpec(name, kind, tuple(value.columns), length, dtype))
        return flat, lists, specs

    def _flat(self, name: str, columns: Sequence[str]) -> FlatField:
        features = tuple(feature for column in columns for feature in self._features(column))
        if not features:
            message = f"{self.where}: input {name!r} has no columns"
            raise UsageError(message)
        return FlatField(input_key(name), features, self.request.dtype, self.request.nonfinite)

    def _features(self, column: str) -> list[Feature]:
        kind = self.types[column]
        if kind.kind == "scalar":
            return [Feature(column)]
        if kind.kind == "fixed":
            return [Feature(column, index) for index in np.ndindex(*kind.shape)]
        raise self._unsupported(column, "one number per event")

    def _list(self, name: str, value: Padded | Ragged) -> ListField:
        for column in value.columns:
            kind = self.types[column]
            if kind.kind != "jagged" or kind.depth != 1:
                raise self._unsupported(column, "a list of numbers per event")
        length = value.length if isinstance(value, Padded) else None
        fill = value.value if isinstance(value, Padded) else 0.0
        request = self.request
        check_fill(fill, request.dtype, f"inputs[{name!r}]: value")
        return ListField(
            input_key(name), tuple(value.columns), request.dtype, request.nonfinite, length, fill
        )

    def target(self, names: _Names, *, label: bool) -> FlatField | None:
        if label:
            features: tuple[Feature, ...] = (Feature(LABEL_COLUMN),)
        elif names.targets:
            features = tuple(f for column in names.targets for f in self._features(column))
        else:
            return None
        vector = label or (names.vector and len(features) == 1)
        return FlatField(TARGET, features, self.request.dtype, "error", vector)

    def observer(self, column: str) -> RawField:
        kind = self.types[column]
        if kind.dtype is None or kind.kind not in {"scalar", "fixed"}:
            raise self._unsupported(column, "a number or a fixed array per event")
        return RawField(f"observer {column}", column, kind.dtype, kind.shape)

    def _unsupported(self, column: str, wanted: str) -> UnsupportedTypeError:
        kind = self.types[column]
        message = f"{self.where}: column {column!r} is {kind} ({kind.kind}), {wanted} is needed"
        if kind.kind == "jagged":
            message += (
                f"; take one element ('{column}[0]'), reduce it ('Sum$({column})'), or declare "
                f"inputs={{..., 'name': rootml.batching.Padded(['{column}'], length=8)}}; "
                "name the columns you want with .select([...])"
            )
        elif kind.kind == "string":
            message += f"; define a number from it, e.g. \"{column} == 'value'\""
        return UnsupportedTypeError(message)
