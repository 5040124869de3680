"""Learning the ratios of samples: a classifier between all nominal densities, cross-fitted.

::

    for each member m of the ensemble, whose fold is f = m mod folds:      # here or on a cluster
        train on all folds but f;  stop by a part of fold f
        networks for log(variation / nominal) of each process with variations, see `_differences`
    evaluate each fold by one member  ->  one calibration curve per ratio
    the norms of each member, from its own fold
    the shapes that held-out events show

Inputs are streamed. Of held-out events the log ratios are on disk, labels and weights in memory.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rootml._internal.loss_display import LossDisplay
from rootml._internal.types import Array, Float
from rootml.dataset import Dataset
from rootml.sbi.estimator.graph._assemble import (
    Member,
    Outputs,
    Scale,
    class_graph,
    differences,
    member_output,
)
from rootml.sbi.estimator.graph._calibration import Fitted
from rootml.sbi.estimator.graph._graph import Graph
from rootml.sbi.estimator.graph._network import Layers
from rootml.sbi.estimator.graph._ramps import find_ramps
from rootml.sbi.estimator.inputs._loaders import balance, make_loader, plan_for
from rootml.sbi.estimator.inputs._samples import (
    Division,
    Samples,
    Sums,
    check_samples,
    check_sums,
    divide,
    parse_samples,
    sums_of,
)
from rootml.sbi.estimator.inputs._settings import TrainingSettings
from rootml.sbi.estimator.inputs._shape_decision import ShapeDecision
from rootml.sbi.estimator.learners._differences import (
    Differences,
    decide_shapes,
    train_differences,
)
from rootml.sbi.estimator.learners._held_out import (
    HeldOut,
    RatioMoments,
    calibrated,
    fit_curves,
    log_norms,
    shared_events,
)
from rootml.sbi.estimator.learners._inputs import (
    contrasts_of,
    fill_histograms,
    look_at_inputs,
    ramp_notes,
)
from rootml.sbi.estimator.learners._marginals import marginal_significances
from rootml.sbi.estimator.learners._residuals import MAX_INPUTS, Cells, Comparison, Residuals
from rootml.sbi.estimator.learners._shapes import SIGNIFICANCE
from rootml.sbi.estimator.ratios._ratios import Ratios
from rootml.sbi.estimator.ratios._record import Norm, TrainingRecord
from rootml.sbi.estimator.training._trainer import Trainer
from rootml.sbi.estimator.training._training import (
    History,
    Trained,
    networks_text,
    softmax_task,
    train_networks,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassNetworks:
    """The networks of one member of the ensemble.

    Attributes:
        nominal: Between the nominal densities; None: there is only one.
        differences: Of the variations, for each process that has some.
    """

    nominal: Trained | None
    differences: tuple[Trained, ...]


@dataclass(frozen=True)
class ClassJob:
    """The training of members of one fold, to be called here or on a worker."""

    samples: Samples
    scale: Scale
    settings: TrainingSettings

    def __call__(self, members: Sequence[int], display: LossDisplay) -> list[ClassNetworks]:
        """Train them."""
        count = range(len(members))
        nominal: Sequence[Trained | None] = [None for _ in count]
        if self.samples.nominal().targets:
            nominal = self._nominal(members, display)
        learned = [
            train_differences(group, self.scale, self.settings, members, display, number=number)
            for number, group in enumerate(self.samples.variations())
        ]
        return [ClassNetworks(nominal[k], tuple(each[k] for each in learned)) for k in count]

    def _nominal(self, members: Sequence[int], display: LossDisplay) -> list[Trained]:
        settings, scale = self.settings, self.scale
        parts = _divided(self.samples.nominal(), settings, settings.fold(members[0]))
        seeds = [settings.spawned_seed(1, member) for member in members]
        plan = plan_for(parts.train, settings)
        train = make_loader(parts.train, settings, plan.batch_size, shuffle=True, seed=seeds[0])
        stop = make_loader(parts.stop, settings, shuffle=False)
        task = softmax_task(scale, balance(parts.train))
        try:
            show = display.start(
                f"ratios: {networks_text(members, settings)}", plan.epochs * len(train)
            )
            return train_networks(task, train, stop, plan, settings, seeds=seeds, show=show)
        finally:
            train.close()
            stop.close()


@dataclass(frozen=True)
class Nominal:
    """The ratios of the nominal densities.

    Attributes:
        members: Their networks.
        matrix: From logits to log ratios; None: there is nothing but the reference.
        fitted: Calibration of each ratio.
        norms: For the record.
        notes: What is said of them.
    """

    members: tuple[Member, ...]
    matrix: Float | None
    fitted: tuple[Fitted, ...]
    norms: Mapping[str, Norm]
    notes: tuple[str, ...] = ()


def learn_classes(
    settings: TrainingSettings, given: Any, reference: Any, began: float, trainer: Trainer
) -> Ratios:
    """See `RatioEstimator.fit`."""
    samples, sums = check_samples(parse_samples(given, reference), settings.inputs)
    inputs = look_at_inputs(samples.union(), settings)
    histograms, contrasts = fill_histograms(samples, inputs, settings), contrasts_of(samples)
    scale = replace(inputs.scale, ramps=find_ramps(histograms, contrasts))
    networks = trainer.run(ClassJob(samples, scale, settings), settings, samples.datasets())
    layers = [n.nominal.layers for n in networks if n.nominal is not None]
    with trainer.scratch() as folder:
        nominal = assess_nominal(samples.nominal(), layers, scale, settings, folder)
        learned = [
            decide_shapes(
                group,
                [n.differences[k].layers for n in networks],
                scale,
                settings,
                folder,
                marginal_significances(histograms, [samples.densities.index(d) for d in group]),
            )
            for k, group in enumerate(samples.variations())
        ]
    outputs = output_names(samples)
    graph = _assembled(nominal, learned, samples, scale, settings)
    shapes = tuple(decision for each in learned for decision in each.decisions)
    first = tuple(n.nominal.history for n in networks if n.nominal is not None)
    more = [n.differences[k].history for k in range(len(learned)) for n in networks]
    alarming: tuple[str, ...] = (
        *notes_of(sums), *inputs.notes, *training_notes(first), *nominal.notes,
    )  # fmt: skip
    if settings.shapes is None:  # events that occur twice, as in a bootstrap, would look like both
        order = np.argsort(-histograms.separation(contrasts), kind="stable")
        cells = Cells(inputs.rows, [int(k) for k in order[:MAX_INPUTS]])
        residuals = held_out_residuals(samples, graph, cells, settings)
        alarming += _unlearned_notes(shapes)
        alarming += residuals.notes(samples.densities[0].dataset.columns)
        warn(alarming)
    record = TrainingRecord(
        sums, (*first, *more), nominal.norms, time.monotonic() - began,
        (*alarming, *ramp_notes(inputs, scale.ramps), *yield_notes(samples, sums),
         *_shape_notes(shapes)), shapes, inputs.ranges,
    )  # fmt: skip
    return Ratios(
        settings.inputs, samples.densities[0].dataset.columns, outputs,
        samples.densities[samples.reference].name, samples.tree, settings.ensemble, record, graph,
    )  # fmt: skip


def held_out_residuals(
    samples: Samples, graph: Graph, cells: Cells, settings: TrainingSettings
) -> Residuals:
    """Held-out events beside the ratios of the members that did not see them."""
    residuals = Residuals(cells, _comparisons(samples))
    for fold in range(min(settings.parts, settings.ensemble)):
        held = samples.map(lambda dataset, fold=fold: _held(dataset, fold, settings)).union()
        loader = make_loader(held, settings, shuffle=False)
        for batch in loader.iterate(epoch=0):
            assert isinstance(batch.x, np.ndarray)
            assert batch.y is not None
            name = member_output(fold)
            value = graph.run([name], x=batch.x)[name]
            residuals.add(batch.x, batch.y.astype(np.int64), batch.w, value)
        loader.close()
    return residuals


def _held(dataset: Dataset, fold: int, settings: TrainingSettings) -> Dataset:
    return dataset.folds(settings.parts, by=settings.by, seed=settings.seed)[fold][1]


def _comparisons(samples: Samples) -> list[Comparison]:
    """Each process with the reference, each variation with its nominal sample."""
    names, numbers = output_names(samples), {d.name: k for k, d in enumerate(samples.densities)}
    found = []
    for column, name in enumerate(names):
        density = samples.densities[numbers[name]]
        if density.nuisance is None:
            found.append(Comparison(name, numbers[name], samples.reference, column, None))
            continue
        nominal = names.index(density.process) if density.process in names else None
        of = numbers[density.process]
        found.append(Comparison(name, numbers[name], of, column, nominal))
    return found


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


def assess_nominal(
    samples: Samples, networks: Sequence[Layers], scale: Scale, settings: TrainingSettings,
    folder: Path,
) -> Nominal:  # fmt: skip
    """Calibrate and normalise classifiers between densities.

    Args:
        networks: Of all members.
        folder: For log ratios of held-out events: all of them once, and those of one more member.
    """
    if not samples.targets:
        empty = Member([], np.zeros(0))
        return Nominal((empty,) * settings.ensemble, None, (), {})
    matrix = differences(len(samples.densities), samples.reference)

    def held_out(number: int) -> HeldOut:
        identity = [Member(networks[number], np.zeros(len(samples.targets)))]
        raw = class_graph(scale, identity, matrix, (), settings.activation)
        parts = _divided(samples, settings, settings.fold(number))
        return HeldOut.of(_log_ratios(parts.held, raw, settings), folder)

    once = {number: held_out(number) for number in range(min(settings.parts, len(networks)))}
    fitted = fit_curves(
        list(once.values()), samples.targets, samples.reference, settings.calibration,
        settings.knots,
    )  # fmt: skip
    members, moments, shared = [], [], np.zeros(len(samples.targets))
    for number, layers in enumerate(networks):
        held = once.pop(number) if number in once else held_out(number)
        norm, found, common = normalised(
            held, fitted, samples.reference, settings.normalisation, folder
        )
        members.append(Member(layers, norm))
        if number < settings.parts:
            moments.append(found)
            shared += common
    total = sum(moments[1:], moments[0])
    norms, notes = norm_records(total, fitted, samples), overlap_notes(shared, samples)
    return Nominal(tuple(members), matrix, fitted, norms, notes)


def normalised(
    held: HeldOut, fitted: Sequence[Fitted], reference: int, how: str, folder: Path
) -> tuple[Float, RatioMoments, Float]:
    """The norms of one network, moments of its ratios, and `shared_events`.

    Its held-out values are deleted.
    """
    known = calibrated(held, fitted, folder)
    norm = log_norms(known, reference, how)
    moments = RatioMoments.of(known, norm, reference)
    shared = shared_events(known, norm, reference)
    known.remove()
    held.remove()
    return norm, moments, shared


def _log_ratios(
    dataset: Dataset, graph: Graph, settings: TrainingSettings
) -> Iterator[tuple[Array, Array, Float | None]]:
    loader = make_loader(dataset, settings, shuffle=False)
    for batch in loader.iterate(epoch=0):
        assert isinstance(batch.x, np.ndarray)
        assert batch.y is not None
        yield graph.run(["log_ratio"], x=batch.x)["log_ratio"], batch.y, batch.w
    loader.close()


def norm_records(
    moments: RatioMoments, fitted: Sequence[Fitted], samples: Samples
) -> dict[str, Norm]:
    """E_ref[r] of held-out events, and the calibration, by output."""
    mean, error = moments.mean, moments.error
    return {
        name: Norm(float(mean[j]), float(error[j]), f.gain, calibrated=not f.curve.is_identity)
        for j, (name, f) in enumerate(zip(output_names(samples), fitted, strict=True))
    }


def _divided(samples: Samples, settings: TrainingSettings, fold: int) -> Division:
    """The parts for members of one fold, each a labelled union of all samples."""
    by = settings.by
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


def warn(notes: Iterable[str]) -> None:
    """Log notes that nobody should miss."""
    for note in notes:
        logger.warning("%s", note)


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


_SHARED = 25.0


def overlap_notes(shared: Float, samples: Samples) -> tuple[str, ...]:
    """Which densities hardly overlap with the reference.

    Args:
        shared: See `shared_events`.
    """
    name = samples.densities[samples.reference].name
    return tuple(
        f"{target} and {name} hardly overlap: of the held-out events of {name}, "
        f"{max(found, 0.0):.2g} lie where both have events. The ratio is known from no more than "
        f"these: choose a reference nearer to {target}"
        for target, found in zip(output_names(samples), shared, strict=True)
        if found < _SHARED
    )


_YIELD = 0.005
_FAR = 2.0


def yield_notes(samples: Samples, sums: Mapping[str, Sums]) -> tuple[str, ...]:
    """Variations whose weights add up to something else: ratios do not hold that.

    Unweighted samples, and sums that differ by more than a factor of two, are of other numbers of
    generated events: nothing is said of them.
    """
    notes = []
    for nominal, *varied in samples.variations():
        for up, down in zip(varied[::2], varied[1::2], strict=True):
            if not all(each.dataset.has_weight for each in (nominal, up, down)):
                continue
            found = [_relative(sums[each.name], sums[nominal.name]) for each in (up, down)]
            far = any(not 1.0 / _FAR < ratio < _FAR for ratio, _ in found)
            if far or all(abs(ratio - 1.0) < max(_YIELD, 3.0 * error) for ratio, error in found):
                continue
            factors = f"({found[0][0]:.4g}, {found[1][0]:.4g})"
            notes.append(
                f"the weights of {nominal.name}.{up.nuisance} add up to {factors} of the nominal "
                "ones. Ratios hold shapes only: if that is its effect on the expected number, use "
                f"Nuisance(yields={{{nominal.name!r}: {factors}}})"
            )
    return tuple(notes)


def _relative(varied: Sums, nominal: Sums) -> tuple[float, float]:
    """The ratio of two sums of weights, and its error for independent events."""
    ratio = varied.sumw / nominal.sumw
    error = ratio * math.sqrt(1.0 / varied.effective_events + 1.0 / nominal.effective_events)
    return ratio, error


def _unlearned_notes(shapes: Sequence[ShapeDecision]) -> tuple[str, ...]:
    """Which changes of shape events show, but the networks do not."""
    names = ", ".join(f"{s.process}.{s.nuisance}" for s in shapes if _seen(s) and not s.kept)
    if not names:
        return ()
    note = (
        f"single inputs show a change of shape by {names} that the networks did not learn: it is "
        "dropped. More training events or epochs help"
    )
    return (note,)


def _seen(shape: ShapeDecision) -> bool:
    return shape.significance >= SIGNIFICANCE


def _shape_notes(shapes: Sequence[ShapeDecision]) -> tuple[str, ...]:
    """Which shapes were dropped because nothing shows them."""
    dropped = [s for s in shapes if not s.kept and not _seen(s)]
    if not dropped:
        return ()
    names = ", ".join(f"{s.process}.{s.nuisance}" for s in dropped)
    missed = max(s.missed for s in dropped)
    note = (
        f"held-out events show no change of shape by {names}: dropped; effects of up to "
        f"{100 * missed:.2g} % (RMS) may have been missed"
    )
    return (note,)
