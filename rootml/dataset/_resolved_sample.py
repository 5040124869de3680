"""From the texts of a sample to expressions over its columns, and their values for a partition.

Names are looked up in this order: definitions, columns of the files (with friends), other
spellings of columns. Definitions are evaluated when something needs them, once per partition, with
what they lack still marked: a missing element matters only where it ends up, so ``lead =
Jet_pt[0]`` may be defined before the cut that makes sure there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np

from rootml._internal.event_hash import unsplittable
from rootml.dataset._sample import Define, Filter, Number, Sample
from rootml.errors import (
    CastError,
    ExpressionError,
    MissingColumnError,
    MissingElementError,
    RootmlError,
    UnsupportedTypeError,
    UsageError,
    nearest,
)
from rootml.expressions import (
    Expression,
    expression_type,
    filled_lists,
    parse,
    resolve_names,
)
from rootml.expressions._nodes import Name
from rootml.expressions._split import with_members
from rootml.expressions._values import Value
from rootml.storage import Column, Columns, ColumnType


@dataclass(frozen=True, slots=True)
class Definition:
    """A derived column, resolved."""

    name: str
    expression: Expression
    missing: Number | None = None


class ResolvedSample:
    """What the files of a sample must give, and what is computed from it.

    Raises:
        MissingColumnError: A text needs a column that is not there.
        ExpressionError: A text that cannot be parsed, or definitions that go in a circle.
        UsageError: A definition that has the name of a column.
    """

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.where = sample.files.info(sample.files.reference()).where
        try:
            self._bind()
        except (MissingColumnError, ExpressionError):
            if not sample.files.follow_recorded_friends():
                raise
            self._bind()

    def _bind(self) -> None:
        """Look all names up."""
        self.columns: Columns = self.sample.files.columns
        self._types: dict[str, ColumnType] = {}
        self.definitions: dict[str, Definition] = {}
        self._versions: dict[str, list[Define]] = {}
        self.stored_names: dict[str, str] = {}
        for define in self.sample.definitions:
            self._check_new(define)
            self._versions.setdefault(define.name, []).append(define)
        names = {define.name for define in self.sample.definitions}
        self._known = frozenset([*self.columns, *self.columns.aliases, *names])
        self.varied: dict[str, str] = {}
        for define in self.sample.definitions:
            key = self._key(define)
            expression = self._resolve(define.text, define.name, define.level)
            self.definitions[key] = Definition(key, expression, define.missing)
        self._check_circles()
        self.outputs: Mapping[str, Expression] = self._outputs()
        self.cuts = [
            self._resolve(cut.text, None, cut.level) if isinstance(cut, Filter) else None
            for cut in self.sample.cuts
        ]
        self.ids = [
            None if isinstance(cut, Filter) else [self.resolve(text) for text in cut.by or ()]
            for cut in self.sample.cuts
        ]
        self._check_split_names()
        self.label = self._maybe(self.sample.label, self.sample.label_level)
        self.weight = self._maybe(self.sample.weight, self.sample.weight_level)
        self._check_suffixes()

    def _check_new(self, define: Define) -> None:
        if define.replaces:
            known = [*self.columns, *self._versions]
            if define.name not in known:
                message = (
                    f"{self.where}: redefine({define.name!r}): there is no such column yet; "
                    f"nearest: {nearest(define.name, known)}; a new one is made with define()"
                )
                raise UsageError(message)
        elif define.name in self.columns:
            message = (
                f"{self.where} already has a column {define.name!r} "
                f"({self.columns[define.name]}); choose another name for {define.text!r}, or "
                "replace the column with redefine()"
            )
            raise UsageError(message)

    def _check_split_names(self) -> None:
        """Splits tell events apart by columns that are never redefined: skims need them as is."""
        replaced = {define.name for define in self.sample.definitions if define.replaces}
        for expression in (e for each in self.ids if each is not None for e in each):
            changed = sorted(replaced & self._all_names(expression))
            if changed:
                message = (
                    f"{self.where}: {changed[0]!r} is redefined, and a split tells events apart "
                    f"by {expression}; define the new values under another name"
                )
                raise UsageError(message)

    def _all_names(self, expression: Expression) -> set[str]:
        """Names that an expression is made from, through all definitions."""
        found: set[str] = set()
        todo = [expression]
        while todo:
            new = todo.pop().names - found
            found |= new
            todo += [self.definitions[name].expression for name in new & self.definitions.keys()]
        return found

    def _check_circles(self) -> None:
        done: set[str] = set()

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                circle = " -> ".join([*path[path.index(name) :], name])
                message = f"definitions go in a circle: {circle}"
                raise ExpressionError(message)
            if name not in done:
                for inner in self.definitions[name].expression.names & self.definitions.keys():
                    visit(inner, (*path, name))
                done.add(name)

        for name in self.definitions:
            visit(name, ())

    def _outputs(self) -> Mapping[str, Expression]:
        texts = self.sample.outputs
        if texts is None:
            found = AllColumns(self)
            return {name: self.resolve(name) for name in found} if self.sample.suffixes else found
        return {text: self.resolve(text) for text in texts}

    def _maybe(self, value: Number | str | None, level: int) -> Expression | None:
        return self._resolve(value, None, level) if isinstance(value, str) else None

    # --- names --------------------------------------------------------------------------------

    def resolve(self, text: str) -> Expression:
        """The expression of a text, over listed columns and definitions."""
        return self._resolve(text, None, self.sample.level)

    def _resolve(self, text: str, defines: str | None, level: int) -> Expression:
        try:
            expression = parse(text, self._known)
        except ExpressionError as error:
            about = f"{defines} = {text}" if defines else text
            message = f"{error}" if text in str(error) else f"{about}: {error}"
            raise type(error)(message) from error
        expression = with_members(expression, self.columns)
        resolve_names(expression, self._known, self.where)
        return expression.rename({name: self._bound(name, level) for name in expression.names})

    def _bound(self, name: str, level: int) -> str:
        """What a name in a text of this level stands for: a definition, or a listed column."""
        name = self.columns.canonical(name) if name in self.columns else name
        versions = self._versions.get(name, [])
        seen = [each for each in versions if not each.replaces or each.level < level]
        if seen:
            return self._key(seen[-1])
        listed = self._listed(name)
        if listed not in self._versions:
            return listed
        before = f"{listed} (before it was redefined)"
        self.stored_names[before] = listed
        return before

    def _key(self, define: Define) -> str:
        """The name of a definition: those that were replaced by later ones get another."""
        versions = self._versions[define.name]
        number = versions.index(define)
        return define.name if define is versions[-1] else f"{define.name} (version {number + 1})"

    def _listed(self, name: str) -> str:
        """The listed name of a column, of its variation where there is one."""
        name = self.columns.canonical(name)
        for suffix in self.sample.suffixes:
            varied = name + suffix
            if varied in self.columns:
                self.varied[varied] = suffix
                return self.columns.canonical(varied)
        return name

    def _check_suffixes(self) -> None:
        """Variations are checked over all samples of a dataset; see `Dataset.vary`."""
        self.unused_suffixes = [
            suffix for suffix in self.sample.suffixes if suffix not in self.varied.values()
        ]

    def needs(self, expressions: Iterable[Expression | None]) -> list[str]:
        """The columns of the files behind `expressions`, in file order."""
        found: set[str] = set()
        todo = [expression for expression in expressions if expression is not None]
        while todo:
            for name in todo.pop().names:
                if name in self.definitions:
                    todo.append(self.definitions[name].expression)
                else:
                    found.add(self.stored_names.get(name, name))
        if len(found) > 1:
            return [name for name in self.columns if name in found]
        return list(found)

    def only_copied(self, copied: Iterable[Expression], others: Iterable[Expression]) -> set[str]:
        """The stored columns among `copied` that neither the rest of it nor `others` need."""
        columns, computed = set(), list(others)
        for expression in copied:
            if expression.column is None or expression.column in self.definitions:
                computed.append(expression)
            else:
                columns.add(self.stored_names.get(expression.column, expression.column))
        return columns.difference(self.needs(computed)) if columns else columns

    @property
    def cut_expressions(self) -> list[Expression]:
        """Everything that the selection is made from."""
        ids = [expression for each in self.ids if each is not None for expression in each]
        return [*(cut for cut in self.cuts if cut is not None), *ids]

    def signature(self, expressions: Iterable[Expression | None]) -> list[str]:
        """What determines the values of `expressions`, whatever the spelling."""
        texts = ["" if expression is None else str(expression) for expression in expressions]
        used: dict[str, str] = {}
        todo = [expression for expression in expressions if expression is not None]
        while todo:
            for name in todo.pop().names & self.definitions.keys() - used.keys():
                definition = self.definitions[name]
                used[name] = f"{name} = {definition.expression} or {definition.missing}"
                todo.append(definition.expression)
        return [*texts, *(used[name] for name in sorted(used))]

    # --- types --------------------------------------------------------------------------------

    def type_of(self, expression: Expression, what: str) -> ColumnType:
        """The type of an expression's values.

        Raises:
            UnsupportedTypeError: A column that cannot be read.
        """
        types = {name: self._name_type(name, what) for name in expression.names}
        try:
            return expression_type(expression, types)
        except ExpressionError as error:
            raise _placed(error, f"{self.where}, {what}") from error

    def _name_type(self, name: str, what: str) -> ColumnType:
        if name in self.definitions:
            return self._definition_type(self.definitions[name])
        name = self.stored_names.get(name, name)
        kind = self.columns[name]
        if kind.kind == "unsupported":
            message = f"{self.where}: column {name!r}, for {what}, cannot be read: {kind.text}"
            raise UnsupportedTypeError(message)
        return kind

    def _definition_type(self, definition: Definition) -> ColumnType:
        if definition.name not in self._types:
            kind = self.type_of(definition.expression, f"the definition of {definition.name!r}")
            if definition.missing is not None and kind.dtype is not None:
                dtype = np.result_type(kind.dtype, definition.missing)
                kind = replace(kind, dtype=dtype, text="")
            self._types[definition.name] = kind
        return self._types[definition.name]

    def output_types(self) -> dict[str, ColumnType]:
        """The types of the selected columns."""
        return {
            name: self.type_of(expression, f"column {name!r}")
            for name, expression in self.outputs.items()
        }

    def scalar_dtype(self, expression: Expression, what: str) -> np.dtype[Any]:
        """The dtype of an expression that must be one number per event.

        Raises:
            UnsupportedTypeError: It is something else.
        """
        kind = self.type_of(expression, what)
        if kind.kind != "scalar" or kind.dtype is None:
            message = (
                f"{self.where}: {what} must be one number per event, {expression} is "
                f"{kind} ({kind.kind})"
            )
            if kind.kind == "jagged":
                message += "; reduce it, e.g. with Sum$(...), or take an element with [0]"
            raise UnsupportedTypeError(message)
        return kind.dtype

    def check_ids(self) -> None:
        """Check that what `by=` names distinguishes the events.

        Raises:
            UnsupportedTypeError: A float, a list or a record.
        """
        for expression in (e for each in self.ids if each is not None for e in each):
            kind = self.type_of(expression, "by=")
            scalar = kind.kind == "scalar" and kind.dtype is not None and kind.dtype.kind in "biu"
            if not scalar and kind.kind != "string":
                raise unsplittable(kind, f"{expression} of {self.where}")


def _placed(error: RootmlError, where: str) -> RootmlError:
    """The same error with its file in front."""
    return type(error)(f"{where}: {error}")


class AllColumns(Mapping[str, Expression]):
    """Whatever can be read, where nothing is selected; looked at when somebody asks."""

    def __init__(self, resolved: ResolvedSample) -> None:
        self._sample = resolved

    @cached_property
    def _found(self) -> dict[str, Expression]:
        resolved = self._sample
        hidden = resolved.sample.files.recorded_names
        names = (name for name, kind in resolved.columns.items() if kind.kind != "unsupported")
        shown = (name for name in names if name not in hidden)
        return {name: Expression(Name(name)) for name in (*shown, *resolved._versions)}

    def __getitem__(self, name: str) -> Expression:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class Values(Mapping[str, Any]):
    """The columns of a partition, and what is derived from them when it is asked for."""

    def __init__(
        self, resolved: ResolvedSample, columns: Mapping[str, Column], num_events: int, where: str
    ) -> None:
        self._sample = resolved
        self._columns = columns
        self._derived: dict[str, Any] = {}
        self.num_events = num_events
        self.where = where

    def __getitem__(self, name: str) -> Any:  # a column as the reader gave it, or a `Value`
        definition = self._sample.definitions.get(name)
        if definition is None:
            return self.stored(name)
        if name not in self._derived:
            self._derived[name] = self._derive(definition)
        return self._derived[name]

    def stored(self, name: str) -> Column:
        """A column as it is in the files, also where it was redefined."""
        return self._columns[self._sample.stored_names.get(name, name)]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._columns, *self._sample.definitions])

    def __len__(self) -> int:
        return len(self._columns) + len(self._sample.definitions)

    def _derive(self, definition: Definition) -> Any:
        value = definition.expression.evaluate(self, self.num_events)
        if definition.missing is None:
            return value
        kind = self._sample._definition_type(definition)
        filled = _fill(value, definition.missing, kind.dtype, self.num_events)
        return replace(value, data=filled, there=None, known=None)

    def value(self, expression: Expression) -> Value:
        """What an expression is, with its missing elements marked (`expressions.Value`).

        Raises:
            ExpressionError: Operands that do not fit together.
        """
        try:
            return expression.evaluate(self, self.num_events)
        except (ExpressionError, UnsupportedTypeError) as error:
            raise _placed(error, self.where) from error

    def column(self, expression: Expression, name: str) -> Column:
        """The values of an expression for all events.

        Raises:
            MissingElementError: Some events lack an element.
        """
        if expression.column is not None and expression.column not in self._sample.definitions:
            return self.stored(expression.column)
        value = self.value(expression)
        if value.valid is not None and not value.valid.all():
            raise self._lacking(value.valid, expression, name)
        return _spread(value.data, self.num_events)

    def _lacking(self, valid: Any, expression: Expression, name: str) -> MissingElementError:
        lacking = np.flatnonzero(~valid)
        about = name if name == str(expression) else f"{name} = {expression}"
        message = (
            f"{self.where}: {about}: {len(lacking):,} of {self.num_events:,} events lack an "
            f"element (the first is number {int(lacking[0])} of them); cut them away, e.g. "
            "filter('Length$(...) > 0'), or say what they get: Alt$(x, 0) or "
            "define({...}, missing=0)"
        )
        return MissingElementError(message)

    def numbers(
        self, expression: Expression, name: str, among: Any = None
    ) -> np.ndarray[Any, Any]:
        """One number per event, `(num_events,)`.

        Args:
            among: Events that must have it, bool; others that lack an element get NaN. None: all.

        Raises:
            MissingElementError: One of them lacks an element.
        """
        if among is None:
            return np.asarray(self.column(expression, name))
        value = self.value(expression)
        if value.valid is not None and (among & ~value.valid).any():
            raise self._lacking(value.valid | ~among, expression, name)
        missing = 0 if value.valid is None else np.nan
        return np.asarray(_fill(value, missing, None, self.num_events))


def _spread(data: Any, num_events: int) -> Any:
    """A constant for every event; everything else as it is."""
    if isinstance(data, ak.Array) or data.ndim:
        return data
    if data.dtype.kind in "US":
        return ak.Array([str(data)])[np.zeros(num_events, np.int64)]
    return np.full(num_events, data[()])


def _fill(value: Any, missing: Number, dtype: np.dtype[Any] | None, num_events: int) -> Any:
    """The data of `value` with `missing` where there is none, in `dtype` (None: a float's)."""
    data = _spread(value.data, num_events)
    if isinstance(data, ak.Array):
        filled = data if value.valid is None else filled_lists(value, missing)
        return filled if dtype is None else ak.values_astype(filled, dtype)
    if dtype is None:
        dtype = np.result_type(data.dtype, missing)
    try:
        fill = np.array(missing).astype(dtype)
    except OverflowError:
        fill = None
    if fill is None or (fill != missing and missing == missing):  # noqa: PLR0124 - NaN
        message = f"missing={missing} does not fit into {dtype}"
        raise CastError(message)
    data = data.astype(dtype, copy=False)
    if value.valid is None:
        return data
    if value.known is not None:
        return filled_lists(value, missing).astype(dtype)
    return np.where(value.valid.reshape(-1, *(1,) * (data.ndim - 1)), data, fill)
