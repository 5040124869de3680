"""Learning the ratios of samples: one classifier between all of them, cross-fitted.

::

    for each member m of the ensemble:
        train on all folds but m;  stop by a part of fold m;  logits of the rest of fold m
    curves from the logits of all members together (each event once, none seen in training)
    norms of each member from its own fold

Features are streamed; of held-out events the log ratios, labels and weights are kept.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rootml.batching import BatchLoader, Standardizer
from rootml.dataset import Dataset
from rootml.errors import EmptySelectionError
from rootml.sbi.estimator._assemble import Member, Scale, class_graph, differences
from rootml.sbi.estimator._calibration import Calibrate, Fitted, fit_curve
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
from rootml.sbi.estimator._training import (
    History,
    ProgressDisplay,
    Settings,
    TrainingTask,
    softmax_loss,
    train_network,
)

if TYPE_CHECKING:
    from rootml.sbi.estimator._estimator import RatioEstimator
    from rootml.sbi.estimator._network import Layers

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """Events that a network has not seen.

    Attributes:
        log_ratio: `(events, targets)`, before calibration.
        labels: `(events,)`, number of the density.
        weights: `(events,)`.
    """

    log_ratio: Float
    labels: npt.NDArray[np.int64]
    weights: Float


def learn_classes(estimator: RatioEstimator, given: Any, reference: Any, began: float) -> Ratios:
    """See `RatioEstimator.fit`."""
    samples = parse_samples(given, reference)
    samples, sums = check_samples(samples, estimator.inputs)
    scale = fit_scale(samples.union(), estimator.settings)
    layers: list[Layers] = []
    histories: list[History] = []
    held: list[HeldOut] = []
    matrix = differences(len(samples.densities), samples.reference)
    watch = ProgressDisplay(estimator.ensemble, estimator.progress)
    with watch.showing():
        for number in range(estimator.ensemble):
            parts = _divided(samples, estimator, number)
            network, history = _train(parts, scale, estimator, number, watch)
            layers.append(network)
            histories.append(history)
            identity = [Member(network, np.zeros(len(samples.targets)))]
            raw = class_graph(scale, identity, matrix, (), estimator.settings.activation)
            held.append(_logits(parts.rest, raw, estimator.settings))
    fitted = fit_curves(held, samples, estimator.calibration, estimator.knots)
    norms = [log_norms(h, fitted, samples.reference, estimator.normalisation) for h in held]
    members = [Member(n, norm) for n, norm in zip(layers, norms, strict=True)]
    curves = tuple(each.curve for each in fitted)
    graph = class_graph(scale, members, matrix, curves, estimator.settings.activation)
    record = TrainingRecord(
        sums, tuple(histories), norm_records(held, norms, fitted, samples),
        time.monotonic() - began, notes_of(sums, estimator.bootstrap),
    )  # fmt: skip
    return Ratios(
        estimator.inputs, samples.densities[0].dataset.columns, output_names(samples),
        samples.densities[samples.reference].name, samples.tree, estimator.ensemble, record, graph,
    )  # fmt: skip


def output_names(samples: Samples) -> tuple[str, ...]:
    """Names of the ratios."""
    return tuple(samples.densities[k].name for k in samples.targets)


def fit_scale(dataset: Dataset, settings: Settings, columns: Sequence[str] | None = None) -> Scale:
    """Means and widths of the columns of all events, each counted once; NaN is an error."""
    loader = make_loader(dataset, settings, shuffle=False, inputs=columns)
    scale = Standardizer(weighted=False).fit(loader).scale()
    loader.close()
    return Scale(scale.mean, scale.std)


def make_loader(
    dataset: Dataset, settings: Settings, *, shuffle: bool, inputs: Any = None, seed: int = 0
) -> BatchLoader:
    """Batches of all events; few events make one batch."""
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


def _divided(samples: Samples, estimator: RatioEstimator, number: int) -> Division:
    """The parts for one member, each a labelled union of all samples."""
    seed, by = estimator.settings.seed, estimator.by
    parts = [
        divide(d.dataset, estimator.ensemble, number, by=by, seed=seed) for d in samples.densities
    ]
    train = [part.train for part in parts]
    if estimator.bootstrap:
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
    parts: Division, scale: Scale, estimator: RatioEstimator, number: int, watch: ProgressDisplay
) -> tuple[Layers, History]:
    settings = estimator.settings
    seed = settings.seed + 7919 * (number + 1)
    train = make_loader(parts.train, settings, shuffle=True, seed=seed)
    stop = make_loader(parts.stop, settings, shuffle=False)
    lesson = TrainingTask(
        softmax_loss((scale.mean, scale.width), balance(parts.train)),
        len(scale.mean), len(parts.train.scan().labels),
    )  # fmt: skip
    try:
        show = watch.member(number, settings.epochs * len(train))
        return train_network(lesson, train, stop, settings, seed=seed, show=show)
    finally:
        train.close()
        stop.close()


def balance(dataset: Dataset) -> Float:
    """Factors that give all classes the same total weight, and events a mean weight of 1."""
    sums = dataset.scan().labels
    rows = sum(each.count for each in sums.values())
    return np.array([rows / len(sums) / each.sumw for _, each in sorted(sums.items())])


def _logits(dataset: Dataset, graph: Any, settings: Settings) -> HeldOut:
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
    """What the calibrated log ratios must be lowered by, `(targets,)`."""
    value = calibrated(held, fitted)
    if how == "none":
        return np.zeros(value.shape[1])
    if how == "reference":
        mine = held.labels == reference
        mass = held.weights[mine] / held.weights[mine].sum()
        return np.log(expectation(np.exp(value[mine]), mass)[0])
    full = np.insert(value, reference, 0.0, axis=1)
    mass = class_weights(held.labels, held.weights, full.shape[1])
    return -np.delete(bridge(full, mass, reference), reference)


def norm_records(
    held: Sequence[HeldOut], norms: Sequence[Float], fitted: Sequence[Fitted], samples: Samples
) -> dict[str, Norm]:
    """E_ref[r] of held-out events, and the calibration, by output."""
    parts = []
    for each, norm in zip(held, norms, strict=True):
        mine = each.labels == samples.reference
        parts.append((np.exp(calibrated(each, fitted)[mine] - norm), each.weights[mine]))
    ratio = np.concatenate([r for r, _ in parts])
    mass = np.concatenate([w for _, w in parts])
    mean, error = expectation(ratio, mass / mass.sum())
    return {
        name: Norm(float(mean[j]), float(error[j]), f.gain, calibrated=not f.curve.is_identity)
        for j, (name, f) in enumerate(zip(output_names(samples), fitted, strict=True))
    }


def notes_of(sums: Mapping[str, Sums], bootstrap: bool) -> tuple[str, ...]:
    """What a user should know of these samples."""
    notes = []
    for name, each in sums.items():
        if each.negative:
            notes.append(
                f"{name}: {100 * each.absolute:.1f} % of its events have negative weights; its "
                f"{each.events:,} events are worth {each.effective:,.0f} of weight one"
            )
    if bootstrap:
        notes.append("each network learned from its own Poisson replica of the samples")
    return tuple(notes)
