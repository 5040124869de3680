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
    observer_key,
)
from rootml.errors import UnsupportedTypeError, UsageError

if TYPE_CHECKING:
    from rootml.dataset import Dataset
    from rootml.storage import ColumnType

Inputs: TypeAlias = "Sequence[str] | Mapping[str, Sequence[str] | Padded | Ragged] | None"
Targets: TypeAlias = "str | Sequence[str] | Padded | Ragged | None"
Observers: TypeAlias = "Sequence[str] | Mapping[str, str | Padded | Ragged] | None"


@dataclass(frozen=True, slots=True)
class Request:
    """What a batch shall consist of, as the user said it."""

    inputs: Inputs
    targets: Targets
    observers: Observers
    weights: bool | None
    dtype: np.dtype[Any]
    nonfinite: NonFinite
    batch_size: int
    drop_last: bool


@dataclass(frozen=True, slots=True)
class _Names:
    """The names of a request, resolved to output columns of the dataset."""

    inputs: dict[str, tuple[str, ...] | Padded | Ragged]
    single: bool
    targets: tuple[str, ...] | Padded | Ragged
    vector: bool
    observers: dict[str, str | Padded | Ragged]

    @property
    def target_columns(self) -> tuple[str, ...]:
        return self.targets if isinstance(self.targets, tuple) else self.targets.columns


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
    observers, observed_lists = compiler.observers(names.observers)
    exact = compiler.exact_dtype
    has_weight = _has_weight(dataset, request, class_weights, target=target is not None)
    y_width = None
    if isinstance(target, FlatField) and not target.vector:
        y_width = len(target.features)
    spec = BatchSpec(
        inputs=tuple(specs),
        single=names.single,
        targets=("label",) if label else (names.target_columns or None),
        y_dtype=exact,
        y_width=y_width,
        has_weight=has_weight,
        w_dtype=exact,
        observers={field.name: field.dtype for field in observers},
        observer_shapes={field.name: field.shape for field in observers},
        target_names=_target_names(target, label=label),
        target_list=_list_spec("y", target) if isinstance(target, ListField) else None,
        observed_lists=tuple(_list_spec(name, field) for name, field in observed_lists.items()),
        batch_size=request.batch_size,
        drop_last=request.drop_last,
    )
    lists += observed_lists.values()
    if isinstance(target, ListField):
        lists.append(target)
    elif target is not None:
        flat.append(target)
    factors = class_weights if has_weight else None
    layout = Layout(
        spec, tuple(flat), tuple(lists), observers, label, has_weight, exact, factors,
        any_order=_only_copied(flat, lists, observers, types),
    )  # fmt: skip
    return dataset, layout


def _only_copied(
    flat: Sequence[FlatField],
    lists: Sequence[ListField],
    observers: Sequence[RawField],
    types: Mapping[str, ColumnType],
) -> frozenset[str]:
    """Columns of scalars that go into rows as they are, and nowhere else."""
    used = {(feature.column, field.dtype) for field in flat for feature in field.features}
    copied = {name for name, dtype in used if name in types and types[name].dtype == dtype}
    changed = {name for name, dtype in used if name not in types or types[name].dtype != dtype}
    changed |= {name for field in lists for name in field.read}
    changed |= {field.column for field in observers}
    return frozenset(copied - changed)


def _has_weight(
    dataset: Dataset,
    request: Request,
    class_weights: Mapping[float, float] | None,
    *,
    target: bool,
) -> bool:
    """Whether batches have a weight: without a target only if it was asked for."""
    if request.weights and not dataset.has_weight and class_weights is None:
        message = f"{dataset}: weights=True needs a weight: open the samples with weight="
        raise UsageError(message)
    if request.weights is False and class_weights is not None:
        message = "balance='weights' balances by the weights: it cannot go with weights=False"
        raise UsageError(message)
    wanted = target if request.weights is None else request.weights
    return wanted and (dataset.has_weight or class_weights is not None)


def _list_spec(name: str, field: ListField) -> InputSpec:
    kind: Literal["padded", "ragged"] = "ragged" if field.length is None else "padded"
    return InputSpec(name, kind, field.columns, field.length, field.dtype)


def _target_names(target: FlatField | ListField | None, *, label: bool) -> tuple[str, ...]:
    if target is None:
        return ()
    if isinstance(target, ListField):
        return target.columns
    return ("label",) if label else tuple(feature.name for feature in target.features)


def _resolve(dataset: Dataset, request: Request) -> tuple[Dataset, _Names]:
    """Turn texts into column names; texts that are not an output column become new ones."""
    vector = isinstance(request.targets, str)
    targets = [request.targets] if vector else request.targets or []
    target_texts = _texts_of(targets, "targets")
    observers = _named_observers(request.observers)
    observer_texts = [
        text for value in observers.values() for text in _texts_of(value, "observers")
    ]
    texts = [*_texts(request.inputs), *target_texts, *observer_texts]
    new = [text for text in dict.fromkeys(texts) if text not in dataset.columns]
    renamed: dict[str, str] = {}
    if new:
        before = dataset.columns
        dataset = dataset.select([*before, *new])
        renamed = dict(zip(new, dataset.columns[len(before) :], strict=True))
    used = {renamed.get(text, text) for text in [*target_texts, *observer_texts]}

    def named(items: Sequence[str]) -> tuple[str, ...]:
        return tuple(renamed.get(text, text) for text in items)

    def resolved(value: Any, what: str) -> Any:  # of the kind of `value`
        if not isinstance(value, (Padded, Ragged)):
            return named(_listed(value, what))
        return value.renamed(renamed)

    inputs: dict[str, tuple[str, ...] | Padded | Ragged] = {}
    single = not isinstance(request.inputs, Mapping)
    if request.inputs is None:
        used |= dataset.reserved  # the label and the weight are not inputs unless they are named
        inputs["x"] = tuple(c for c in dataset.columns if c not in used and c not in new)
    elif not isinstance(request.inputs, Mapping):
        inputs["x"] = named(_listed(request.inputs, "inputs"))
    else:
        for key, value in request.inputs.items():
            inputs[key] = resolved(value, f"inputs[{key!r}]")
    observed = {
        renamed.get(name, name): renamed.get(value, value)
        if isinstance(value, str)
        else value.renamed(renamed)
        for name, value in observers.items()
    }
    names = _Names(inputs, single, resolved(targets, "targets"), vector, observed)
    _check_inputs(dataset, names)
    _check_lists(names.inputs, "inputs")
    _check_lists(names.observers, "observers")
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
            "target": names.target_columns,
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
    if both := [column for column in names.target_columns if column in columns]:
        message = (
            f"{dataset}: {both} cannot be inputs and targets at the same time: the model would "
            "be told the answer"
        )
        raise UsageError(message)


def _check_lists(named: Mapping[str, Any], what: str) -> None:
    """Outputs put masks and offsets of lists beside them, under names of their own."""
    for name, value in named.items():
        if not isinstance(value, (Padded, Ragged)):
            continue
        beside = f"{name}_mask" if isinstance(value, Padded) else f"{name}_offsets"
        if beside in named:
            message = (
                f"{what}: {beside!r} is what belongs to the lists {name!r} in batches; call one "
                "of the two something else"
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
        texts += _texts_of(value, f"inputs[{key!r}]")
    return texts


def _texts_of(value: Any, what: str) -> list[str]:
    """The columns that something named by a user reads."""
    if isinstance(value, (Padded, Ragged)):
        order_by = [] if value.order_by is None else [value.order_by]
        return [*_listed(value.columns, what), *order_by]
    return [value] if isinstance(value, str) and what == "observers" else _listed(value, what)


def _named_observers(observers: Any) -> dict[str, str | Padded | Ragged]:
    if not isinstance(observers, Mapping):
        return {name: name for name in _listed(observers or [], "observers")}
    for name, value in observers.items():
        if not isinstance(name, str) or not isinstance(value, (str, Padded, Ragged)):
            message = f"observers={{{name!r}: {value!r}}}: expected a column, Padded or Ragged"
            raise UsageError(message)
    return dict(observers)


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
            lists.append(self._list(input_key(name), value, dtype, self.request.nonfinite))
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

    def _list(
        self, key: str, value: Padded | Ragged, dtype: np.dtype[Any], nonfinite: NonFinite
    ) -> ListField:
        order_by = [] if value.order_by is None else [value.order_by]
        for column in (*value.columns, *order_by):
            kind = self.types[column]
            if kind.kind != "jagged" or kind.depth != 1:
                raise self._unsupported(column, "a list of numbers per event")
        length = value.length if isinstance(value, Padded) else None
        fill = value.value if isinstance(value, Padded) else 0.0
        check_fill(fill, dtype, f"{key}: value")
        return ListField(
            key,
            tuple(value.columns),
            dtype,
            nonfinite,
            length,
            fill,
            value.order_by,
            value.descending,
        )

    @property
    def exact_dtype(self) -> np.dtype[Any]:
        """Of targets and weights: half precision is for inputs."""
        dtype = self.request.dtype
        return np.dtype(np.float32) if dtype.itemsize < 4 else dtype

    def target(self, names: _Names, *, label: bool) -> FlatField | ListField | None:
        if not isinstance(names.targets, tuple):
            return self._list(TARGET, names.targets, self.exact_dtype, "error")
        if label:
            features: tuple[Feature, ...] = (Feature(LABEL_COLUMN),)
        elif names.targets:
            features = tuple(f for column in names.targets for f in self._features(column))
        else:
            return None
        vector = label or (names.vector and len(features) == 1)
        return FlatField(TARGET, features, self.exact_dtype, "error", vector)

    def observers(
        self, observers: Mapping[str, str | Padded | Ragged]
    ) -> tuple[tuple[RawField, ...], dict[str, ListField]]:
        """The observers that have a fixed shape, and those that are lists."""
        raw: list[RawField] = []
        lists: dict[str, ListField] = {}
        for name, value in observers.items():
            if isinstance(value, str) and self.types[value].kind != "jagged":
                raw.append(self._raw(name, value))
                continue
            listed = Ragged([value]) if isinstance(value, str) else value
            dtype = self._common_dtype(name, listed.columns)
            lists[name] = self._list(observer_key(name), listed, dtype, "keep")
        return tuple(raw), lists

    def _raw(self, name: str, column: str) -> RawField:
        kind = self.types[column]
        if kind.dtype is None or kind.kind not in {"scalar", "fixed"}:
            raise self._unsupported(column, "a number, a fixed array or a list per event")
        return RawField(observer_key(name), column, name, kind.dtype, kind.shape)

    def _common_dtype(self, name: str, columns: Sequence[str]) -> np.dtype[Any]:
        """The dtype that the columns of one observer have in common."""
        found = {column: self.types[column].dtype for column in columns}
        dtypes = set(found.values())
        if len(dtypes) == 1 and (dtype := dtypes.pop()) is not None:
            return dtype
        message = (
            f"{self.where}: observer {name!r} needs columns of one type, they are "
            + ", ".join(f"{column}: {dtype}" for column, dtype in found.items())
            + "; make each one an observer of its own"
        )
        raise UnsupportedTypeError(message)

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
