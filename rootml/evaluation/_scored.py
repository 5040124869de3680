"""Scores, labels and weights of the selected events, read partition by partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rootml._internal.types import Float
from rootml.dataset import Dataset, EventBlock
from rootml.errors import (
    EmptySelectionError,
    NonFiniteError,
    RootmlError,
    UnsupportedTypeError,
    UsageError,
)

_ROWS = 8192  # of a batch that a model scores at a time


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores, labels and weights of the events of one dataset, float64 `(event,)` each.

    Attributes:
        score, label, weight: Of the selected events, in their order.
        columns: Other quantities of the same events, by name.
    """

    score: Float
    label: Float
    weight: Float
    columns: dict[str, Float] = field(default_factory=dict)

    @property
    def arrays(self) -> tuple[Float, Float, Float]:
        """As the functions of `rootml.plot` take them."""
        return self.score, self.label, self.weight


def read(
    data: Dataset, score: str | None, model: Any, by: Sequence[str], progress: bool | None
) -> Scored:
    """The scores of the selected events with label, weight and the columns `by`.

    Raises:
        NonFiniteError: A score, a weight or a value of `by` is NaN or infinite: says where.
        EmptySelectionError: No event is selected.
        UsageError: The model gives something other than one number per event.
    """
    wanted = list(dict.fromkeys([*by] if score is None else [score, *by]))
    columns = data.select(wanted) if wanted else data
    names = list(columns.columns) if wanted else []
    parts = list(
        columns.map_partitions(
            Read(tuple(names)), columns=names, label=True, weight=True, ids=True,
            progress=progress, what="evaluating",
        )
    )  # fmt: skip
    if not parts:
        message = f"{data}: no event is selected, so there is nothing to evaluate"
        raise EmptySelectionError(message)
    label, weight, *values = (np.concatenate(each) for each in zip(*parts, strict=True))
    known = dict(zip(wanted, values, strict=True))
    first = known[score] if score is not None else _predicted(data, model, len(label))
    return Scored(first, label, weight, {name: known[name] for name in by})


@dataclass(frozen=True, slots=True)
class Read:
    """Labels, weights and numbers of a block, float64 `(event,)` each; picklable."""

    names: tuple[str, ...]

    def __call__(self, block: EventBlock) -> tuple[Float, ...]:
        columns = [self._numbers(block, name) for name in self.names]
        label = np.asarray(block.label, np.float64)
        weight = np.asarray(block.weight, np.float64)
        _check_finite("weights", weight, block, "look at the branch that holds them")
        return (label, weight, *columns)

    def _numbers(self, block: EventBlock, name: str) -> Float:
        try:
            values = np.asarray(block.columns[name], np.float64)
        except (TypeError, ValueError) as error:
            message = f"{name!r} is not one number per event: {error}"
            raise UnsupportedTypeError(message) from error
        if values.ndim != 1:
            message = f"{name!r} has the shape {values.shape}, expected one number per event"
            raise UnsupportedTypeError(message)
        advice = (
            f"cut them away, .filter('isfinite({name})'); a friend tree has NaN where the "
            "selection that it was written with fails"
        )
        _check_finite(f"scores ({name})", values, block, advice)
        return values


def _check_finite(what: str, values: Float, block: EventBlock, advice: str) -> None:
    bad = np.flatnonzero(~np.isfinite(values))
    if not len(bad):
        return
    assert block.entries is not None
    message = (
        f"{len(bad):,} of {len(values):,} {what} are NaN or infinite, first {values[bad[0]]} in "
        f"entry {block.entries[bad[0]]}: {advice}"
    )
    raise NonFiniteError(message)


def name_of(model: Any) -> str:
    """What a model is called in tables and messages."""
    name = getattr(model, "__name__", type(model).__name__)
    return "function" if name == "<lambda>" else str(name)


def _predicted(data: Dataset, model: Any, number: int) -> Float:
    values = np.asarray(_scores(data, model), dtype=np.float64)
    if values.shape != (number,):
        message = (
            f"{data}: {name_of(model)} gave scores of shape {values.shape} for {number:,} "
            "selected events: expected one number per event"
        )
        raise UsageError(message)
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        message = (
            f"{data}: {bad:,} of {number:,} scores of {name_of(model)} are NaN or infinite: does "
            "it know all inputs?"
        )
        raise NonFiniteError(message)
    return values


def _scores(data: Dataset, model: Any) -> Any:
    """What the model says of the selected events, in their order.

    Raises:
        UsageError: It is no model, or one whose ``predict`` does not take a dataset.
    """
    if not hasattr(model, "predict"):
        if callable(model):
            return data.batches(_ROWS).predict(model)
        message = (
            f"model= is a {type(model).__name__}: expected a torch module, a function of the "
            "inputs (event, column), or an object with predict(dataset), such as a compiled forest"
        )
        raise UsageError(message)
    try:
        return model.predict(data)
    except RootmlError:
        raise
    except Exception as error:
        first, *_ = str(error).splitlines() or [""]
        message = (
            f"{type(model).__name__}.predict(dataset) failed: {type(error).__name__}: {first} "
            "(for a model of arrays give a function: model=lambda x: m.predict_proba(x)[:, 1])"
        )
        raise UsageError(message) from error
