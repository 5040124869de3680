"""Ratios from existing classifiers: scores, calibrated and normalised."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Array, Float
from rootml.errors import SchemaError, UsageError, nearest
from rootml.sbi.estimator.graph._assemble import score_graph
from rootml.sbi.estimator.inputs._events import chunks
from rootml.sbi.estimator.inputs._samples import Samples, check_samples, parse_samples
from rootml.sbi.estimator.inputs._settings import Calibrate
from rootml.sbi.estimator.learners._held_out import HeldOut, fit_curves
from rootml.sbi.estimator.learners._learn import (
    norm_records,
    normalised,
    notes_of,
    output_names,
    overlap_notes,
)
from rootml.sbi.estimator.ratios._ratios import Ratios, Scores, check_scores
from rootml.sbi.estimator.ratios._record import TrainingRecord
from rootml.sbi.estimator.training._trainer import scratch_folder

Score = Callable[[npt.NDArray[np.float32]], Any]


def learn_scores(
    classifier: Any,
    given: Mapping[str, Any],
    reference: Any,
    inputs: tuple[str, ...],
    kind: str,
    calibration: Calibrate,
    knots: int,
    normalisation: str,
    progress: bool | None,
) -> Ratios:
    """See `RatioEstimator.from_classifier`."""
    began = time.monotonic()
    samples, sums = check_samples(parse_samples(given, reference), inputs)
    names = output_names(samples)
    scores = scores_of(classifier, names, kind)
    columns = samples.densities[0].dataset.columns
    with scratch_folder() as folder:
        held = HeldOut.of(_log_ratios(samples, columns, names, scores, progress), folder)
        fitted = fit_curves([held], samples.targets, samples.reference, calibration, knots)
        norm, moments, shared = normalised(held, fitted, samples.reference, normalisation, folder)
    record = TrainingRecord(
        sums, (), norm_records(moments, fitted, samples), time.monotonic() - began,
        (*notes_of(sums), *overlap_notes(shared, samples)),
    )  # fmt: skip
    graph = score_graph(tuple(each.curve for each in fitted), norm)
    return Ratios(
        inputs, columns, names, samples.densities[samples.reference].name, samples.tree, 1,
        record, graph, scores,
    )  # fmt: skip


def scores_of(classifier: Any, names: Sequence[str], kind: str) -> Scores:
    """A function from inputs to the log ratios of all outputs."""
    if not isinstance(classifier, Mapping):
        if len(names) != 1:
            message = f"one classifier for {list(names)}: give {{name: classifier}}, one for each"
            raise UsageError(message)
        classifier = {names[0]: classifier}
    for name in (*names, *classifier):
        if name not in classifier or name not in names:
            message = (
                f"classifiers are given for {sorted(classifier)}, ratios are {list(names)}: "
                f"{name!r} is not in both; nearest: {nearest(name, classifier)}"
            )
            raise SchemaError(message)
    functions = [_function(name, classifier[name]) for name in names]

    def scores(x: Float) -> Float:
        rounded = x.astype(np.float32)
        columns = [
            _one_each(name, function(rounded), len(x))
            for name, function in zip(names, functions, strict=True)
        ]
        return _log_ratio(np.stack(columns, axis=1), kind)

    return scores


def _function(name: str, classifier: Any) -> Score:
    predict = getattr(classifier, "predict", None)
    if callable(predict):
        return predict  # type: ignore[no-any-return]
    if callable(classifier):
        return classifier  # type: ignore[no-any-return]
    message = (
        f"classifier {name!r}: {type(classifier).__name__} is no function and has no predict()"
    )
    raise UsageError(message)


def _one_each(name: str, given: Any, rows: int) -> Float:
    values = np.asarray(given, np.float64)
    if values.shape == (rows, 1):
        values = values[:, 0]
    if values.shape != (rows,):
        message = (
            f"classifier {name!r} gave {values.shape}; expected one score per event, ({rows},)"
        )
        raise SchemaError(message)
    return values


def _log_ratio(scores: Float, kind: str) -> Float:
    if kind == "logit":
        return scores
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "ratio":
            return np.asarray(np.log(scores))
        return np.asarray(np.log(scores) - np.log1p(-scores))


def _log_ratios(
    samples: Samples,
    columns: Sequence[str],
    names: Sequence[str],
    scores: Scores,
    progress: bool | None,
) -> Iterator[tuple[Array, Array, Float | None]]:
    for number, density in enumerate(samples.densities):
        for x, w in chunks(density.dataset, columns, columns, progress=progress):
            yield check_scores(scores(x), x, names), np.full(len(x), number), w
