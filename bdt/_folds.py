"""Scores of datasets: streamed, and out of fold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rootml.dataset._tasks import ReadTask, SelectedPartition, select_partition
from rootml.errors import EmptySelectionError, RootmlError, UsageError
from rootml.execution._threads import map_partitions

if TYPE_CHECKING:
    from rootml.bdt._model import Model
    from rootml.dataset import Dataset


@dataclass(frozen=True, slots=True)
class _Score:
    """Reads partitions and scores their selected events, here or on a cluster."""

    read: ReadTask
    model: Model
    threads: int
    margin: bool

    def __call__(self, chosen: SelectedPartition) -> Any:
        columns = self.read(chosen).columns
        try:
            return self.model._scores(columns, self.threads, margin=self.margin)
        except RootmlError as error:
            message = f"{chosen.where}: {error}"
            raise type(error)(message) from error


def score_dataset(
    model: Model, data: Dataset, *, threads: int, margin: bool, progress: bool | None = None
) -> Any:
    """One score per selected event, in the order of the dataset.

    Here one partition is read and scored after the other, by `threads`; on a cluster several are
    under way, each scored by `threads` of its worker, which compiles the model for itself.

    Raises:
        EmptySelectionError: No event is selected.
    """
    index = data.scan(progress=progress)
    numbers = np.flatnonzero(index.counts)
    if not len(numbers):
        message = f"{data}: no event is selected, so there is nothing to score"
        raise EmptySelectionError(message)
    found = list(
        map_partitions(
            _Score(ReadTask(data._reader, _features(model, data)), model, threads, margin),
            [select_partition(index, index.partitions[int(number)]) for number in numbers],
            threads=1,
            progress=progress,
            what="scoring",
            executor=data._reader.executor,
        )
    )
    if isinstance(found[0], np.ndarray):
        return np.concatenate(found)
    import awkward as ak

    return ak.concatenate(found)


def _features(model: Model, data: Dataset) -> tuple[str, ...] | None:
    """The columns that the model looks at; None: all, for scoring to say what is missing."""
    names = model.forest.feature_names
    return names if names is not None and set(names) <= set(data.columns) else None


def write_friend(
    model: Model, data: Dataset, folder: str | os.PathLike[str], *, name: str, margin: bool,
    **options: Any,
) -> list[str]:  # fmt: skip
    """See `Model.write_friend`."""
    _check_name(name)
    return data.write_friend(folder, _scorer(model, name, margin=margin), **options)


def write_out_of_fold(
    models: Sequence[Model],
    folds: Sequence[tuple[Dataset, Dataset]],
    data: Dataset,
    folder: str | os.PathLike[str],
    *,
    name: str = "score",
    margin: bool = False,
    **options: Any,
) -> list[str]:
    """Score each event with the model that did not see it, into friend trees.

    Args:
        models: One per fold, each trained on the first side of the fold with its number.
        folds: What ``data.folds(...)`` gave.
        data: The whole dataset, whose files get friends.
        folder, name, margin, options: As `Model.write_friend`.

    Returns:
        Paths of the files.

    Raises:
        UsageError: Not as many models as folds, or models with different numbers of outputs.
    """
    _check_name(name)
    _check_models(models, folds)
    values = [
        (test, _scorer(model, name, margin=margin))
        for model, (_, test) in zip(models, folds, strict=True)
    ]
    return data.write_friend(folder, values, **options)


def predict_out_of_fold(
    models: Sequence[Model],
    folds: Sequence[tuple[Dataset, Dataset]],
    *,
    margin: bool = False,
    threads: int | None = None,
) -> list[NDArray[Any]]:
    """For each fold the scores of its test side by the model that did not see it, in its order."""
    _check_models(models, folds)
    score = [model.predict_margin if margin else model.predict for model in models]
    return [each(test, threads=threads) for each, (_, test) in zip(score, folds, strict=True)]


def _check_models(models: Sequence[Model], folds: Sequence[tuple[Dataset, Dataset]]) -> None:
    if len(models) != len(folds):
        message = f"{len(models)} models for {len(folds)} folds; each fold needs its own"
        raise UsageError(message)
    outputs = {(model.forest.num_outputs, model.forest.link) for model in models}
    if len(outputs) > 1:
        message = f"models of different kinds (outputs, link): {sorted(outputs)}"
        raise UsageError(message)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        message = f"name={name!r}: the name of the score, as text"
        raise UsageError(message)


def _scorer(model: Model, name: str, *, margin: bool) -> Any:
    """A function of columns that gives named scores."""

    def scores(columns: dict[str, Any]) -> dict[str, Any]:
        found = model._scores(columns, 1, margin=margin)
        if getattr(found, "ndim", 1) == 2 and isinstance(found, np.ndarray):
            return {f"{name}_{i}": found[:, i] for i in range(found.shape[1])}
        return {name: found}

    return scores
