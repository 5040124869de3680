"""Batches of samples for training and evaluation, and what is known of all their events."""

from __future__ import annotations

from typing import Any

import numpy as np

from rootml._internal.types import Float
from rootml.batching import BatchLoader
from rootml.dataset import Dataset
from rootml.errors import EmptySelectionError
from rootml.sbi.estimator.inputs._settings import TrainingPlan, TrainingSettings, plan_training

_ROWS = 8192  # per batch where nothing is trained


def make_loader(
    dataset: Dataset,
    settings: TrainingSettings,
    batch_size: int | None = None,
    *,
    shuffle: bool,
    inputs: Any = None,
    seed: int = 0,
    ids: bool = False,
) -> BatchLoader:
    """Batches of all events; a single one if there are few.

    Args:
        batch_size: None: any, since nothing is trained.
        ids: Carry the columns of `settings.by` beside, if they are integers.
    """
    rows = dataset.scan(threads=settings.loader["threads"]).num_rows
    if rows == 0:
        message = f"{dataset}: too few events to hold some of them out"
        raise EmptySelectionError(message)
    size = min(_ROWS if batch_size is None else batch_size, rows)
    chosen = list(dataset.columns) if inputs is None else inputs
    options = settings.loader if shuffle else {**settings.loader, "cache": None}
    observers = _integer_ids(dataset, settings) if ids else None
    return BatchLoader(
        dataset, size, shuffle=shuffle, seed=seed, inputs=chosen, observers=observers,
        weights=dataset.has_weight, progress=False, **options,
    )  # fmt: skip


def _integer_ids(dataset: Dataset, settings: TrainingSettings) -> list[str] | None:
    if settings.by is None:
        return None
    names = [settings.by] if isinstance(settings.by, str) else list(settings.by)
    types = dataset.select(names).types().values()
    integers = all(t.kind == "scalar" and np.dtype(t.dtype).kind in "biu" for t in types)
    return names if integers else None


def balance(dataset: Dataset) -> Float:
    """Factors on the weights: equal totals for all classes, and a mean weight of 1."""
    sums = dataset.scan().labels
    rows = sum(each.count for each in sums.values())
    return np.array([rows / len(sums) / each.sumw for _, each in sorted(sums.items())])


def plan_for(dataset: Dataset, settings: TrainingSettings) -> TrainingPlan:
    """The plan for a training with these events."""
    labels = dataset.scan().labels
    sums = list(labels.values()) if labels else [dataset.scan().total]
    rows = sum(each.count for each in sums)
    return plan_training(settings, rows, sum(each.effective for each in sums))
