"""Learning the ratios of samples: a classifier between all nominal densities, cross-fitted.

::

    for each member m of the ensemble, whose fold is f = m mod folds:
        train on all folds but f;  stop by a part of fold f;  evaluate fold f
    one calibration curve per ratio, from the held-out events of the members
    the norms of each member, from its own fold
    for each process with variations: networks for log(variation / nominal), see `_differences`

Inputs are streamed. Of held-out events the log ratios, labels and weights are kept in memory.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rootml._internal.loss_display import LossDisplay
from rootml._internal.types import Float, Int
from rootml.dataset import Dataset
from rootml.sbi.estimator._assemble import Member, Outputs, Scale, class_graph, differences
from rootml.sbi.estimator._calibration import Fitted, fit_curve
from rootml.sbi.estimator._differences import Differences, learn_differences
from rootml.sbi.estimator._graph import Graph
from rootml.sbi.estimator._loaders import balance, fit_scale, make_loader, plan_for
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
    sums_of,
)
from rootml.sbi.estimator._settings import Calibrate, TrainingSettings
from rootml.sbi.estimator._shape_decision import ShapeDecision
from rootml.sbi.estimator._training import (
    History,
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


@dataclass(frozen=True)
class Nominal:
    """The ratios of the nominal densities.

    Attributes:
        members: Their networks.
        matrix: From logits to log ratios; None: there is nothing but the reference.
        fitted: Calibration of each ratio.
        norms: For the record.
        histories: Losses of the networks.
    """

    members: tuple[Member, ...]
    matrix: Float | None
    fitted: tuple[Fitted, ...]
    norms: Mapping[str, Norm]
    histories: tuple[History, ...]


def learn_classes(settings: TrainingSettings, given: Any, reference: Any, began: float) -> Ratios:
    """See `RatioEstimator.fit`."""
    samples, sums = check_samples(parse_samples(given, reference), settings.inputs)
    scale = fit_scale(samples.union(), settings)
    display = LossDisplay(enabled=settings.progress)
    with display.showing():
        nominal = learn_nominal(samples.nominal(), scale, settings, display)
        learned = [
            learn_differences(group, scale, settings, display, number=number)
            for number, group in enumerate(samples.variations())
        ]
    outputs = output_names(samples)
    graph = _assembled(nominal, learned, samples, scale, settings)
    shapes = tuple(decision for each in learned for decision in each.decisions)
    histories = (*nominal.histories, *(h for each in learned for h in each.histories))
    record = TrainingRecord(
        sums, histories, nominal.norms, time.monotonic() - began,
        (*notes_of(sums), *training_notes(nominal.histories), *_shape_notes(shapes)), shapes,
    )  # fmt: skip
    return Ratios(
        settings.inputs, samples.densities[0].dataset.columns, outputs,
        samples.densities[samples.reference].name, samples.tree, settings.ensemble, record, graph,
    )  # fmt: skip


def output_names(samples: Samples) -> tuple[str, ...]:
    """Names of the ratios."""
    return tuple(samples.densities[k].name for k in samples.targets)


def _assembled(
    nominal: Nominal,
    learned: Sequence[Differences],
    samples: Samples,
    scale: Scale,
    settings: TrainingSettings,
) -> Graph:
    """Everything as one graph."""
    names = output_names(samples)
    columns = {name: j for j, name in enumerate(output_names(samples.nominal()))}
    processes = [samples.densities[k].process for k in samples.targets]
    places = {
        each.process: tuple(
            names.index(f"{each.process}.{nuisance}.{side}")
            for nuisance in each.nuisances
            for side in ("up", "down")
        )
        for each in learned
        if each.nuisances
    }
    members = [
        replace(member, differences={d.process: d.layers[m] for d in learned if d.nuisances})
        for m, member in enumerate(nominal.members)
    ]
    curves = tuple(each.curve for each in nominal.fitted)
    outputs = Outputs(tuple(columns.get(process) for process in processes), places)
    return class_graph(scale, members, nominal.matrix, curves, settings.activation, outputs)


def learn_nominal(
    samples: Samples, scale: Scale, settings: TrainingSettings, display: LossDisplay
) -> Nominal:
    """Train a classifier between densities, calibrate and normalise its ratios."""
    if not samples.targets:
        empty = Member([], np.zeros(0))
        return Nominal((empty,) * settings.ensemble, None, (), {}, ())
    matrix = differences(len(samples.densities), samples.reference)
    layers: list[Layers] = []
    histories: list[History] = []
    held: list[HeldOut] = []
    for number in range(settings.ensemble):
        parts = _divided(samples, settings, number)
        network, history = _train(parts, scale, settings, number, display)
        layers.append(network)
        histories.append(history)
        identity = [Member(network, np.zeros(len(samples.targets)))]
        raw = class_graph(scale, identity, matrix, (), settings.activation)
        held.append(_log_ratios(parts.held, raw, settings))
    once = held[: settings.parts]  # each event at most once
    fitted = fit_curves(once, samples, settings.calibration, settings.knots)
    norms = [log_norms(h, fitted, samples.reference, settings.normalisation) for h in held]
    members = [Member(n, norm) for n, norm in zip(layers, norms, strict=True)]
    return Nominal(
        tuple(members), matrix, fitted, norm_records(once, norms, fitted, samples),
        tuple(histories),
    )  # fmt: skip


def _divided(samples: Samples, settings: TrainingSettings, number: int) -> Division:
    """The parts for one member, each a labelled union of all samples."""
    fold, by = settings.fold(number), settings.by
    parts = [
        divide(d.dataset, settings.parts, fold, by=by, seed=settings.seed)
        for d in samples.densities
    ]
    named = []
    for what, group in (
        ("training", [p.train for p in parts]),
        ("early stopping", [p.stop for p in parts]),
        ("normalisation", [p.held for p in parts]),
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
    display: LossDisplay,
) -> tuple[Layers, History]:
    seed = settings.spawned_seed(1, number)
    plan = plan_for(parts.train, settings)
    train = make_loader(parts.train, settings, plan.batch_size, shuffle=True, seed=seed)
    stop = make_loader(parts.stop, settings, shuffle=False)
    task = TrainingTask(
        softmax_loss((scale.mean, scale.width), balance(parts.train)),
        len(scale.mean), len(parts.train.scan().labels),
    )  # fmt: skip
    try:
        show = display.start(
            f"ratios: network {number + 1} of {settings.ensemble}", plan.epochs * len(train)
        )
        return train_network(
            task, train, stop, plan, learning_rate=settings.learning_rate,
            network=settings.hidden, activation=settings.activation, seed=seed, show=show,
        )  # fmt: skip
    finally:
        train.close()
        stop.close()


def _log_ratios(dataset: Dataset, graph: Graph, settings: TrainingSettings) -> HeldOut:
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
    for each, norm in zip(held, norms, strict=False):
        mine = each.labels == samples.reference
        parts.append((np.exp(calibrated(each, fitted)[mine] - norm), each.weights[mine]))
    ratio = np.concatenate([r for r, _ in parts])
    weights = np.concatenate([w for _, w in parts])
    mean, error = expectation(ratio, weights / weights.sum())
    return {
        name: Norm(float(mean[j]), float(error[j]), f.gain, calibrated=not f.curve.is_identity)
        for j, (name, f) in enumerate(zip(output_names(samples), fitted, strict=True))
    }


def notes_of(sums: Mapping[str, Sums]) -> tuple[str, ...]:
    """What users should know about these samples."""
    notes = []
    for name, each in sums.items():
        if each.negative:
            notes.append(
                f"{name}: {100 * each.negative_fraction:.1f} % of its weights are negative; "
                f"the {each.events:,} events have the precision of {each.effective_events:,.0f} "
                f"unweighted ones"
            )
        if each.effective_events < FEW_EVENTS:
            notes.append(
                f"{name}: {each.effective_events:,.0f} effective events are too few to learn a "
                f"density ratio well"
            )
    return tuple(notes)


FEW_STEPS = 300
FEW_EVENTS = 1000


def training_notes(histories: Sequence[History]) -> tuple[str, ...]:
    """Whether networks made too few steps."""
    steps = min((h.steps for h in histories), default=FEW_STEPS)
    if steps >= FEW_STEPS:
        return ()
    note = (
        f"a network made only {steps} steps, too few to converge (about {FEW_STEPS} are needed, "
        f"thousands are better): use more epochs or a smaller batch_size, or leave both out"
    )
    return (note,)


def _shape_notes(shapes: Sequence[ShapeDecision]) -> tuple[str, ...]:
    """Which shapes were dropped."""
    dropped = [s for s in shapes if not s.kept]
    if not dropped:
        return ()
    names = ", ".join(f"{s.process}.{s.nuisance}" for s in dropped)
    missed = max(s.missed for s in dropped)
    note = (
        f"held-out events show no change of shape by {names}: dropped; effects of up to "
        f"{100 * missed:.2g} % (RMS) may have been missed"
    )
    return (note,)
