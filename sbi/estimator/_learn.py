"""Learning the ratios of samples: one classifier between all of them, cross-fitted.

::

    for each member m of the ensemble:
        train on all folds but m;  stop by a part of fold m;  evaluate the rest of fold m
    one calibration curve per ratio, from the held-out events of all members
    the norms of each member, from its own fold

Inputs are streamed. Of held-out events the log ratios, labels and weights are kept in memory.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootml._internal.types import Float, Int
from rootml.batching import BatchLoader, Standardizer
from rootml.dataset import Dataset
from rootml.errors import EmptySelectionError
from rootml.sbi.estimator._assemble import Member, Scale, class_graph, differences
from rootml.sbi.estimator._calibration import Fitted, fit_curve
from rootml.sbi.estimator._network import Layers
from rootml.sbi.estimator._normalisation import bridge, class_weights, expectation
from rootml.sbi.estimator._ratios import Ratios
from rootml.sbi.estimator._record import Norm, TrainingRecord
from rootml.sbi.estimator._samples import (
    Division,
    Samples,
    Sums,
    check_samples,
    check_sums,
    divide,
    parse_samples,
    poisson_copies,
    sums_of,
)
from rootml.sbi.estimator._settings import Calibrate, TrainingSettings
from rootml.sbi.estimator._training import (
    History,
    ProgressDisplay,
    TrainingTask,
    softmax_loss,
    train_network,
)


@dataclass(frozen=True)
class HeldOut:
    """Events that a network was not trained on.

    Attributes:
        log_ratio: `(events, targets)`, before calibration.
        labels: `(events,)`, number of the density.
        weights: `(events,)`.
    """

    log_ratio: Float
    labels: Int
    weights: Float


def learn_classes(settings: TrainingSettings, given: Any, reference: Any, began: float) -> Ratios:
    """See `RatioEstimator.fit`."""
    samples = parse_samples(given, reference)
    samples, sums = check_samples(samples, settings.inputs)
    scale = fit_scale(samples.union(), settings)
    layers: list[Layers] = []
    histories: list[History] = []
    held: list[HeldOut] = []
    matrix = differences(len(samples.densities), samples.reference)
    display = ProgressDisplay(settings.ensemble, settings.progress)
    with display.showing():
        for number in range(settings.ensemble):
            parts = _divided(samples, settings, number)
            network, history = _train(parts, scale, settings, number, display)
            layers.append(network)
            histories.append(history)
            identity = [Member(network, np.zeros(len(samples.targets)))]
            raw = class_graph(scale, identity, matrix, (), settings.activation)
            held.append(_logits(parts.rest, raw, settings))
    fitted = fit_curves(held, samples, settings.calibration, settings.knots)
    norms = [log_norms(h, fitted, samples.reference, settings.normalisation) for h in held]
    members = [Member(n, norm) for n, norm in zip(layers, norms, strict=True)]
    curves = tuple(each.curve for each in fitted)
    graph = class_graph(scale, members, matrix, curves, settings.activation)
    record = TrainingRecord(
        sums, tuple(histories), norm_records(held, norms, fitted, samples),
        time.monotonic() - began, notes_of(sums, settings.bootstrap),
    )  # fmt: skip
    return Ratios(
        settings.inputs, samples.densities[0].dataset.columns, output_names(samples),
        samples.densities[samples.reference].name, samples.tree, settings.ensemble, record, graph,
    )  # fmt: skip


def output_names(samples: Samples) -> tuple[str, ...]:
    """Names of the ratios."""
    return tuple(samples.densities[k].name for k in samples.targets)


def fit_scale(
    dataset: Dataset, settings: TrainingSettings, columns: Sequence[str] | None = None
) -> Scale:
    """Means and widths of the columns, ignoring weights; NaN is an error."""
    loader = make_loader(dataset, settings, shuffle=False, inputs=columns)
    scale = Standardizer(weighted=False).fit(loader).scale()
    loader.close()
    return Scale(scale.mean, scale.std)


def make_loader(
    dataset: Dataset,
    settings: TrainingSettings,
    *,
    shuffle: bool,
    inputs: Any = None,
    seed: int = 0,
) -> BatchLoader:
    """Batches of all events; a single one if there are few."""
    rows = dataset.scan(threads=settings.loader["threads"]).num_rows
    if rows == 0:
        message = f"{dataset}: too few events to hold some of them out"
        raise EmptySelectionError(message)
    size = min(settings.batch_size, rows)
    chosen = list(dataset.columns) if inputs is None else inputs
    options = settings.loader if shuffle else {**settings.loader, "cache": None}
    return BatchLoader(
        dataset, size, shuffle=shuffle, seed=seed, inputs=chosen, progress=False, **options
    )


def _divided(samples: Samples, settings: TrainingSettings, number: int) -> Division:
    """The parts for one member, each a labelled union of all samples."""
    seed, by = settings.seed, settings.by
    parts = [
        divide(d.dataset, settings.ensemble, number, by=by, seed=seed) for d in samples.densities
    ]
    train = [part.train for part in parts]
    if settings.bootstrap:
        draw = seed + 1000 * (number + 1)
        train = [poisson_copies(each, by=by, seed=draw) for each in train]
    named = []
    for what, group in (
        ("training", train),
        ("early stopping", [p.stop for p in parts]),
        ("normalisation", [p.rest for p in parts]),
    ):
        for density, dataset in zip(samples.densities, group, strict=True):
            check_sums(sums_of(dataset), f"the part of sample {density.name!r} for {what}")
        chosen = iter(group)
        named.append(samples.map(lambda _, chosen=chosen: next(chosen)).union())
    return Division(*named)


def _train(
    parts: Division,
    scale: Scale,
    settings: TrainingSettings,
    number: int,
    display: ProgressDisplay,
) -> tuple[Layers, History]:
    seed = settings.seed + 7919 * (number + 1)
    train = make_loader(parts.train, settings, shuffle=True, seed=seed)
    stop = make_loader(parts.stop, settings, shuffle=False)
    learning = TrainingTask(
        softmax_loss((scale.mean, scale.width), balance(parts.train)),
        len(scale.mean), len(parts.train.scan().labels),
    )  # fmt: skip
    try:
        show = display.member(number, settings.epochs * len(train))
        return train_network(learning, train, stop, settings, seed=seed, show=show)
    finally:
        train.close()
        stop.close()


def balance(dataset: Dataset) -> Float:
    """Factors on the weights: equal totals for all classes, and a mean weight of 1."""
    sums = dataset.scan().labels
    rows = sum(each.count for each in sums.values())
    return np.array([rows / len(sums) / each.sumw for _, each in sorted(sums.items())])


def _logits(dataset: Dataset, graph: Any, settings: TrainingSettings) -> HeldOut:
    loader = make_loader(dataset, settings, shuffle=False)
    values, labels, weights = [], [], []
    for batch in loader.iterate(epoch=0):
        assert isinstance(batch.x, np.ndarray)
        assert batch.y is not None
        values.append(graph.run(["log_ratio"], x=batch.x)["log_ratio"])
        labels.append(batch.y.astype(np.int64))
        weights.append(np.ones(batch.num_rows) if batch.w is None else batch.w.astype(np.float64))
    loader.close()
    return HeldOut(
        np.concatenate(values).astype(np.float64), np.concatenate(labels), np.concatenate(weights)
    )


def fit_curves(
    held: Sequence[HeldOut], samples: Samples, when: Calibrate, knots: int
) -> tuple[Fitted, ...]:
    """One calibration curve per ratio, from the held-out events of all members."""
    labels = np.concatenate([h.labels for h in held])
    weights = np.concatenate([h.weights for h in held])
    fitted = []
    for column, target in enumerate(samples.targets):
        used = (labels == target) | (labels == samples.reference)
        value = np.concatenate([h.log_ratio[:, column] for h in held])[used]
        numerator = (labels == target)[used]
        fitted.append(fit_curve(value, numerator, weights[used], knots=knots, when=when))
    return tuple(fitted)


def calibrated(held: HeldOut, fitted: Sequence[Fitted]) -> Float:
    """Log ratios of held-out events after calibration, `(events, targets)`."""
    return np.stack([f.curve(held.log_ratio[:, j]) for j, f in enumerate(fitted)], axis=1)


def log_norms(held: HeldOut, fitted: Sequence[Fitted], reference: int, how: str) -> Float:
    """What to subtract from the calibrated log ratios, `(targets,)`."""
    value = calibrated(held, fitted)
    if how == "none":
        return np.zeros(value.shape[1])
    if how == "reference":
        mine = held.labels == reference
        weights = held.weights[mine] / held.weights[mine].sum()
        return np.log(expectation(np.exp(value[mine]), weights)[0])
    full = np.insert(value, reference, 0.0, axis=1)
    weights = class_weights(held.labels, held.weights, full.shape[1])
    return -np.delete(bridge(full, weights, reference), reference)


def norm_records(
    held: Sequence[HeldOut], norms: Sequence[Float], fitted: Sequence[Fitted], samples: Samples
) -> dict[str, Norm]:
    """E_ref[r] of held-out events, and the calibration, by output."""
    parts = []
    for each, norm in zip(held, norms, strict=True):
        mine = each.labels == samples.reference
        parts.append((np.exp(calibrated(each, fitted)[mine] - norm), each.weights[mine]))
    ratio = np.concatenate([r for r, _ in parts])
    weights = np.concatenate([w for _, w in parts])
    mean, error = expectation(ratio, weights / weights.sum())
    return {
        name: Norm(float(mean[j]), float(error[j]), f.gain, calibrated=not f.curve.is_identity)
        for j, (name, f) in enumerate(zip(output_names(samples), fitted, strict=True))
    }


def notes_of(sums: Mapping[str, Sums], bootstrap: bool) -> tuple[str, ...]:
    """What users should know about these samples."""
    notes = []
    for name, each in sums.items():
        if each.negative:
            notes.append(
                f"{name}: {100 * each.negative_fraction:.1f} % of its weights are negative; "
                f"the {each.events:,} events have the precision of {each.effective_events:,.0f} "
                f"unweighted ones"
            )
    if bootstrap:
        notes.append("each network was trained on its own Poisson replica of the samples")
    return tuple(notes)
