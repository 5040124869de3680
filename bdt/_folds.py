"""Out of fold: each event is scored by the model that did not see it."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from rootml._internal.validators import named_options
from rootml.bdt._dataset_scores import NamedScore
from rootml.bdt._model import Model
from rootml.dataset import Dataset
from rootml.errors import UsageError


@named_options
def write_out_of_fold(
    models: Sequence[Model],
    folds: Sequence[tuple[Dataset, Dataset]],
    data: Dataset,
    folder: str | os.PathLike[str],
    *,
    name: str = "score",
    margin: bool = False,
    tree: str = "Friends",
    format: str | None = None,  # noqa: A002 - the word users know
    overwrite: bool = False,
    progress: bool | None = None,
    threads: int | None = None,
) -> list[str]:
    """Score each event with the model that did not see it, into friend trees.

    Args:
        models: One per fold, each trained on the first side of the fold with its number.
        folds: What ``data.folds(...)`` gave.
        data: The whole dataset, whose files get friends.
        folder, name, margin: As `Model.write_friend`.
        tree, format, overwrite, progress, threads: As `Dataset.write_friend`.

    Returns:
        Paths of the files.

    Raises:
        UsageError: The numbers of models and folds differ, or the models have different outputs.
    """
    _check_models(models, folds)
    values = [
        (test, NamedScore(name, functools.partial(model._scores, threads=1, margin=margin)))
        for model, (_, test) in zip(models, folds, strict=True)
    ]
    return data.write_friend(
        folder, values, tree=tree, format=format, overwrite=overwrite, progress=progress,
        threads=threads,
    )  # fmt: skip


def predict_out_of_fold(
    models: Sequence[Model],
    folds: Sequence[tuple[Dataset, Dataset]],
    *,
    margin: bool = False,
    threads: int | None = None,
) -> list[NDArray[Any]]:
    """For each fold the scores of its test side by the model that did not see it, in its order.

    Raises:
        UsageError: The numbers of models and folds differ, or the models have different outputs.
    """
    _check_models(models, folds)
    score = [model.predict_margin if margin else model.predict for model in models]
    return [each(test, threads=threads) for each, (_, test) in zip(score, folds, strict=True)]


def _check_models(models: Sequence[Model], folds: Sequence[tuple[Dataset, Dataset]]) -> None:
    if len(models) != len(folds):
        message = f"{len(models)} models for {len(folds)} folds; give one model per fold"
        raise UsageError(message)
    outputs = {(model.forest.num_outputs, model.forest.link) for model in models}
    if len(outputs) > 1:
        message = f"the models differ in their outputs and links: {sorted(outputs)}"
        raise UsageError(message)
