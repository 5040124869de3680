"""Sends containers and datasets through a `GeneratorModel`: draws, and their density."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.reprs import HtmlRepr, Part, facts_text, percent
from rootml._internal.types import Bool, Float
from rootml._internal.validators import check_whole
from rootml.dataset import hash_ids
from rootml.errors import EmptySelectionError, SchemaError, UsageError
from rootml.sbi.morphing.files._generator_model import GeneratorModel
from rootml.sbi.morphing.inference._apply import Columns, load_rows
from rootml.sbi.morphing.inference._rows import Names, Rows, rows_of_block, unflatten

if TYPE_CHECKING:
    from rootml.dataset import Dataset, EventBlock

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Generated(HtmlRepr):
    """What `Generator.apply` did.

    Attributes:
        paths: The friend trees' files, in the order of the inputs.
        rows: Rows that were looked at.
        unknown: Rows with a condition that is not finite or outside of the range of the training:
            nothing was drawn for them.
    """

    paths: tuple[str, ...]
    rows: int
    unknown: int

    def _facts(self) -> list[tuple[str, str]]:
        unknown = f"{self.unknown:,} ({percent(self.unknown, self.rows)})"
        return [("files", f"{len(self.paths):,}"), ("rows", f"{self.rows:,}"),
                ("not drawn", unknown)]  # fmt: skip

    def __repr__(self) -> str:
        return f"<Generated>\n{facts_text(self._facts())}"

    def _html_title(self) -> str:
        return "rootml.sbi.morphing.Generated"

    def _html_parts(self) -> tuple[Part]:
        return (self._facts(),)


def _inputs(names: Names) -> Names:
    """What a draw needs of an event."""
    return replace(names, features=())


def _warn(unknown: int, rows: int) -> None:
    if unknown:
        logger.warning(
            "nothing is drawn for %s of %s rows: a condition is not finite or outside of the "
            "range of the training",
            f"{unknown:,}",
            f"{rows:,}",
        )


def _drawn_columns(names: Names, values: Float, known: Bool, rows: Rows, suffix: str) -> Columns:
    """The features, and whether they were drawn."""
    found: Columns = {
        f"{name}{suffix}": unflatten(values[:, j], rows.counts)
        for j, name in enumerate(names.features)
    }
    return {**found, f"drawn{suffix}": unflatten(known, rows.counts)}


def sample(model: GeneratorModel, conditions: Any, *, seed: int, ids: Any) -> Any:  # as given
    """See `Generator.sample`."""
    container, _, rows = load_rows(_inputs(model.names), conditions)
    keys = rows.keys if ids is None else _keys(rows, ids)
    known = model.known(rows.conditions)
    _warn(int((~known).sum()), len(rows))
    values = model.draw(rows.conditions, keys, seed=seed)
    return container.with_columns(_drawn_columns(model.names, values, known, rows, ""))


def _keys(rows: Rows, ids: Any) -> Any:
    """Keys of rows from one integer for each event.

    Raises:
        SchemaError: Another number of ids.
        UsageError: No integers.
    """
    numbers = np.asarray(ids)
    counts = np.ones(len(rows), np.int64) if rows.counts is None else rows.counts
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
        message = f"ids= has shape {numbers.shape} and type {numbers.dtype}: give one integer each"
        raise UsageError(message)
    if len(numbers) != len(counts):
        message = f"{len(numbers):,} ids for {len(counts):,} events"
        raise SchemaError(message)
    element = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return hash_ids([np.repeat(numbers, counts), element], len(rows), seed=0)


def log_prob(model: GeneratorModel, events: Any, *, points: int) -> Float:
    """See `Generator.log_prob`."""
    check_whole("points", points, minimum=1)
    _, _, rows = load_rows(model.names, events)
    return model.log_prob(rows.features, rows.conditions, rows.keys, points=points)


def apply(
    model: GeneratorModel,
    dataset: Dataset,
    folder: str | os.PathLike[str],
    *,
    seed: int,
    suffix: str,
    options: dict[str, Any],
    progress: bool | None,
) -> Generated:
    """See `Generator.apply`."""
    if not suffix:
        message = "suffix= is empty: the drawn columns need names of their own"
        raise UsageError(message)
    counts: list[tuple[int, int]] = []
    values = _stream(model, dataset, seed, suffix, counts, progress)
    paths = dataset.write_friend(folder, values, progress=False, **options)
    rows, unknown = (sum(each[k] for each in counts) for k in (0, 1))
    _warn(unknown, rows)
    return Generated(tuple(paths), rows, unknown)


def _stream(
    model: GeneratorModel,
    dataset: Dataset,
    seed: int,
    suffix: str,
    counts: list[tuple[int, int]],
    progress: bool | None,
) -> Iterator[Columns]:
    """Drawn columns, partition by partition, in order."""
    if not dataset.scan(progress=progress).num_rows:
        message = f"{dataset}: no event is selected, so there is nothing to draw for"
        raise EmptySelectionError(message)
    columns = dataset.select(_inputs(model.names).columns)
    results = columns.map_partitions(
        _Draw(model, seed, suffix), ids=True, progress=progress, what="drawing"
    )
    with closing(results):  # type: ignore[type-var]  # a generator
        for drawn, count in results:
            counts.append(count)
            yield drawn


@dataclass(frozen=True, slots=True)
class _Draw:
    """Draws features for blocks of events, here or on a cluster."""

    model: GeneratorModel
    seed: int
    suffix: str

    def __call__(self, block: EventBlock) -> tuple[Columns, tuple[int, int]]:
        rows = rows_of_block(block, _inputs(self.model.names))
        known = self.model.known(rows.conditions)
        values = self.model.draw(rows.conditions, rows.keys, seed=self.seed)
        columns = _drawn_columns(self.model.names, values, known, rows, self.suffix)
        return columns, (len(rows), int((~known).sum()))
