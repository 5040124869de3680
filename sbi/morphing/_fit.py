"""From two datasets to a `Morph`: read, check, reweight, Gaussianise, train."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.devices import one_thread
from rootml._internal.loss_display import LossDisplay
from rootml._internal.progress import status
from rootml._internal.statistics import effective_events
from rootml._internal.validators import is_a
from rootml.dataset import Dataset
from rootml.errors import EmptySelectionError, UsageError
from rootml.sbi.morphing._settings import Settings
from rootml.sbi.morphing._uncertainty_band import Band, find_band
from rootml.sbi.morphing.files._generator_model import GeneratorModel
from rootml.sbi.morphing.files._model import Member, Morph
from rootml.sbi.morphing.flow._flow import (
    CouplingFlow,
    Flow,
    FlowSpec,
    UserFlow,
    coupling_spec,
)
from rootml.sbi.morphing.flow._leaves import State
from rootml.sbi.morphing.flow._training import (
    LossRecord,
    Schedule,
    Trainer,
    TrainingRows,
)
from rootml.sbi.morphing.inference._rows import (
    Rows,
    evenly_spaced,
    read_rows,
)
from rootml.sbi.morphing.preprocessing._atom_draws import VALIDATION, poisson_one, uniforms
from rootml.sbi.morphing.preprocessing._limits import Limits
from rootml.sbi.morphing.preprocessing._marginal_closure import close_marginals
from rootml.sbi.morphing.preprocessing._preprocess import (
    Conditions,
    Gaussianiser,
    Intervals,
    join_intervals,
)
from rootml.sbi.morphing.preprocessing._preprocess_fit import conditions as fit_conditions
from rootml.sbi.morphing.preprocessing._preprocess_fit import gaussianiser, limits_of
from rootml.sbi.morphing.preprocessing._relative_tables import relative_tables
from rootml.sbi.morphing.reweighting._reweight import cached_kinematics
from rootml.sbi.morphing.validation._training_events import Sketch

logger = logging.getLogger(__name__)

_DATA_STREAM = 8
MAX_VALIDATION_ROWS = 25_000
_CLOSURE_ROWS, _BAND_ROWS, _BAND_STREAM = 400_000, 200_000, 12


def fit(
    settings: Settings,
    sim: Dataset,
    data: Dataset,
    *,
    checkpoint: Path | None,
    progress: bool | None,
) -> Morph:
    """See `Morpher.fit`."""
    info: dict[str, Any] = {}
    samples = []
    for domain, dataset in (("simulation", sim), ("data", data)):
        rows, info[domain] = _read_sample(settings, dataset, domain, progress)
        samples.append(rows)
    # popped: `fit_rows` alone holds the rows, and lets go of what it does not use
    return fit_rows(settings, samples.pop(0), samples.pop(0), checkpoint, progress, info)


def _read_sample(
    settings: Settings, dataset: Dataset, domain: str, progress: bool | None
) -> tuple[Rows, dict[str, int]]:
    """The rows to train on, and how many there are, are used and are not finite.

    Raises:
        UsageError: Not a Dataset; a domain that `check_domain` refuses.
    """
    if not is_a(dataset, Dataset):
        message = (
            f"the {domain} must be a Dataset, as rootml.open(...) gives it, not a "
            f"{type(dataset).__name__}: write arrays to a file first"
        )
        raise UsageError(message)
    rows, total, bad = read_rows(
        dataset,
        settings.names,
        limit=settings.max_rows,
        seed=settings.seed,
        progress=progress,
        what=f"reading {domain}",
    )
    check_domain(rows, domain, f"{dataset}")
    return rows, {"rows": total, "used": len(rows), "not finite": bad}


def _flow_spec(settings: Settings, scaled: Conditions) -> FlowSpec | None:
    """The shape of our flow; None if the user gave one."""
    if settings.flow is not None:
        return None
    return coupling_spec(
        len(settings.names.features),
        scaled.columns,
        layers=settings.layers,
        hidden=settings.hidden,
        bins=settings.bins,
    )


def check_domain(rows: Rows, domain: str, where: str) -> None:
    """See that there is something to learn from.

    Raises:
        EmptySelectionError: No rows.
        UsageError: Weights that add up to nothing positive.
    """
    if not len(rows):
        message = f"the {domain} is empty: no row of {where} has finite features and conditions"
        raise EmptySelectionError(message)
    total = float(rows.weights.sum())
    if not total > 0:
        negative = int((rows.weights < 0).sum())
        message = (
            f"the weights of the {domain} add up to {total:g} ({negative:,} of {len(rows):,} rows "
            "have a negative weight); a positive sum is needed"
        )
        raise UsageError(message)


def common_range(sim: Rows, data: Rows, names: Sequence[str]) -> tuple[Any, Any]:
    """The range of each condition in which both domains have rows.

    Raises:
        UsageError: There is none; names the condition and both ranges.
    """
    ends = [
        (rows.conditions[used].min(axis=0), rows.conditions[used].max(axis=0))
        for rows, used in ((sim, sim.weights != 0), (data, data.weights != 0))
    ]
    low = np.maximum(ends[0][0], ends[1][0])
    high = np.minimum(ends[0][1], ends[1][1])
    for j, name in enumerate(names):
        if low[j] > high[j]:
            (a, b), (c, d) = ((end[0][j], end[1][j]) for end in ends)
            message = (
                f"condition {name!r} lies in [{a:g}, {b:g}] in the simulation and in "
                f"[{c:g}, {d:g}] in the data: they do not overlap, so nothing can be learned"
            )
            raise UsageError(message)
    return low, high


def _within(rows: Rows, ends: tuple[Any, Any], domain: str, names: Sequence[str]) -> Rows:
    inside = ((rows.conditions >= ends[0]) & (rows.conditions <= ends[1])).all(axis=1)
    kept = rows.take(inside)
    if not len(kept) or not kept.weights.sum() > 0:
        box = ", ".join(
            f"{name} in [{a:g}, {b:g}]" for name, a, b in zip(names, *ends, strict=True)
        )
        message = (
            f"no weight of the {domain} ({len(kept):,} of {len(rows):,} rows) lies where both "
            f"domains have conditions: {box}"
        )
        raise UsageError(message)
    if len(kept) < len(rows):
        dropped = len(rows) - len(kept)
        logger.info("%d rows of the %s lie outside the common conditions", dropped, domain)
    return kept


def fit_rows(
    settings: Settings,
    sim: Rows,
    data: Rows,
    checkpoint: Path | None,
    progress: bool | None,
    info: dict[str, Any],
) -> Morph:
    """The fit from rows in memory."""
    names = settings.names
    ends = common_range(sim, data, names.conditions)
    sim = _within(sim, ends, "simulation", names.conditions)
    data = _within(data, ends, "data", names.conditions)
    with status("learning kinematic weights", enabled=progress):
        kinematics = cached_kinematics(
            sim, data, names.conditions, method=settings.reweight, seed=settings.seed,
            path=None if checkpoint is None else checkpoint / "kinematics.checkpoint",
        )  # fmt: skip
    weighted = replace(sim, weights=sim.weights * kinematics.weights(sim.conditions))
    scaled = fit_conditions(
        np.concatenate([weighted.conditions, data.conditions]),
        np.concatenate([_half_sum(weighted.weights), _half_sum(data.weights)]),
        names.conditions,
        ends,
    )
    spec = _flow_spec(settings, scaled)
    events = min(effective_events(rows.weights) for rows in (weighted, data))
    schedule = settings.schedule.resolve(events)
    info = {**info, "training": {"effective events": events, **asdict(schedule)}}
    limits = limits_of(
        (sim.features, data.features), (sim.weights, data.weights), names.features, settings.bounds
    )
    members = tuple(
        _train_member(
            settings,
            schedule,
            spec,
            scaled,
            (weighted, data),
            limits,
            number,
            checkpoint,
            progress,
        )
        for number in range(settings.ensemble + 1)
    )
    made = Morph(
        names,
        scaled,
        kinematics,
        members,
        spec,
        settings.seed,
        settings.compiled,
        settings.flow,
        info=info,
        outside=settings.outside,
        trained_on={
            domain: Sketch.of(rows.features, rows.conditions)
            for domain, rows in (("simulation", sim), ("data", data))
        },
        device=settings.device,
    )
    with status("closing marginals", enabled=progress):
        closed = _close_marginals(settings, made, weighted)
        if settings.ensemble < 2:
            return closed
        return replace(closed, band=_band(settings, closed, members[0].data, weighted))


def _some(settings: Settings, rows: Rows, limit: int) -> Rows:
    """Evenly spaced ones, at most so many; fewer of them for a flow that may be slow."""
    limit = limit if settings.flow is None else limit // 8
    return rows.subsample(limit)


def _close_marginals(settings: Settings, made: Morph, sim: Rows) -> Morph:
    """With marginals that close, where kinematic factors say what they should be."""
    if settings.reweight == "none":
        return made
    rows = _some(settings, sim, _CLOSURE_ROWS)
    draws, context = made.draws(rows), made.conditions.context(rows.conditions)
    members = []
    for number, member in enumerate(made.members):
        boot = np.ones(len(rows))
        if number:
            boot = poisson_one(rows.events, seed=settings.seed, member=2 * number)
        z = made.flow_map(number)(member.sim.forward(rows.features, draws), context)
        members.append(replace(member, data=close_marginals(member.data, z, rows.weights * boot)))
    return replace(made, members=tuple(members))


def _band(settings: Settings, made: Morph, data: Gaussianiser, sim: Rows) -> Band:
    """Of the ensemble, on the normal scale of the data's own table."""
    rows = _some(settings, sim, _BAND_ROWS)
    draws = uniforms(rows.keys, len(made.names.features), seed=made.seed, stream=_BAND_STREAM)
    members = [partial(_values, made, rows, number) for number in range(1, len(made.members))]
    return find_band(
        _values(made, rows, 0), members, lambda x: data.forward(x, draws), rows.weights
    )


def _values(made: Morph, rows: Rows, number: int) -> Any:
    return made.transform(rows, number).values


def _half_sum(weights: Any) -> Any:
    """With a sum of 1/2."""
    return 0.5 * weights / weights.sum()


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one domain, made ready for a training.

    Attributes:
        boot: Weights of the bootstrap, `(rows,)`.
        held: Which rows are for validation.
    """

    domain: str
    tables: Gaussianiser
    z: Any
    context: Any
    atoms: Intervals | None
    weights: Any
    boot: Any
    held: Any


def _part(
    settings: Settings,
    scaled: Conditions,
    rows: Rows,
    limits: Sequence[Limits],
    *,
    domain: str,
    side: int,
    number: int,
    reference: _Part | None = None,
) -> _Part:
    """Of one domain; `reference` is the other, whose tables those of this may follow."""
    names, seed = settings.names.features, settings.seed
    held = uniforms(rows.events, 1, seed=seed, stream=VALIDATION)[:, 0] < settings.validation
    boot = np.ones(len(rows))
    if number:
        boot = poisson_one(rows.events, seed=seed, member=2 * number + side)
    tables = gaussianiser(rows.features, rows.weights * boot, names, domain=domain, limits=limits)
    draws = uniforms(rows.keys, len(names), seed=seed, stream=_DATA_STREAM * side)
    if reference is not None:
        tables = relative_tables(
            reference.tables,
            tables,
            rows.features,
            rows.weights * boot,
            draws,
            sim_events=effective_events(reference.weights * reference.boot),
        )
    z, atoms = tables.forward(rows.features, draws), tables.intervals(rows.features)
    context = scaled.context(rows.conditions)
    context[:, -1] = side
    return _Part(domain, tables, z, context, atoms, rows.weights, boot, held)


def _train_member(
    settings: Settings,
    schedule: Schedule,
    spec: FlowSpec | None,
    scaled: Conditions,
    domains: tuple[Rows, Rows],
    limits: Sequence[Sequence[Limits]],
    number: int,
    checkpoint: Path | None,
    progress: bool | None,
) -> Member:
    """Tables and flow of one member."""
    parts: list[_Part] = []
    sides = enumerate(zip(("simulation", "data"), domains, limits, strict=True))
    for side, (domain, rows, ends) in sides:
        parts.append(
            _part(
                settings,
                scaled,
                rows,
                ends,
                domain=domain,
                side=side,
                number=number,
                reference=parts[0] if parts else None,
            )
        )
    tables = [part.tables for part in parts]
    problems = _problems(parts)
    del parts  # their rows are in the problems now
    state, history = _train(
        settings, schedule, spec, scaled, problems, number, checkpoint, progress
    )
    return Member(tables[0], tables[1], state, history)


def _train(
    settings: Settings,
    schedule: Schedule,
    spec: FlowSpec | None,
    scaled: Conditions,
    problems: tuple[TrainingRows, TrainingRows],
    number: int,
    checkpoint: Path | None,
    progress: bool | None,
) -> tuple[State, tuple[LossRecord, ...]]:
    """The parameters of a flow, and its losses."""
    train, validation = problems
    flow = _new_flow(settings, spec, scaled, number)
    path = None if checkpoint is None else checkpoint / f"member_{number}.checkpoint"
    trainer = Trainer(
        flow,
        train,
        validation,
        schedule,
        seed=(settings.seed, number),
        checkpoint=path,
        identity={"problem": train.fingerprint() if path else "", "spec": repr(spec)},
    )
    what = f"training {number + 1} of {settings.ensemble + 1}"
    alone = nullcontext() if spec is None else one_thread()  # a flow of the user's may be large
    with alone, LossDisplay(enabled=progress).showing() as display:
        state, history = trainer.run(display.start(what, schedule.steps))
    logger.info("%s: validation loss %.5f", what, min(check.validation for check in history))
    if trainer.best_in_warm_up:
        logger.warning(
            "%s: the validation loss was smallest at step %d, before the learning rate of %g was "
            "reached: the flow learns fluctuations of the events. Fewer steps=, a smaller "
            "learning_rate=, smaller hidden= or more events will help",
            what, trainer.best_step, schedule.learning_rate,
        )  # fmt: skip
    return state, tuple(_checks(history))


def _checks(history: Sequence[LossRecord]) -> Sequence[LossRecord]:
    return [LossRecord(int(c.step), float(c.train), float(c.validation)) for c in history]


def _problems(parts: Sequence[_Part]) -> tuple[TrainingRows, TrainingRows]:
    """The rows to train on, and those to validate on."""
    return (
        _problem(parts, held=False, what="to train on"),
        _problem(parts, held=True, what="to validate on"),
    )


def _problem(parts: Sequence[_Part], *, held: bool, what: str) -> TrainingRows:
    """The rows of all domains on one side of the split, each domain with the same weight."""
    chosen = [_chosen_rows(part, held=held) for part in parts]
    weights = []
    for part, rows in zip(parts, chosen, strict=True):
        mine = part.weights[rows] if held else part.weights[rows] * part.boot[rows]
        if not mine.sum() > 0:
            message = (
                f"the {part.domain} has no weight {what}: {len(rows):,} rows with a sum of "
                f"weights of {mine.sum():g}"
            )
            raise UsageError(message)
        weights.append(_half_sum(mine))
    both = list(zip(parts, chosen, strict=True))
    atoms = [None if held or part.atoms is None else part.atoms.take(rows) for part, rows in both]
    return TrainingRows(
        np.concatenate([part.z[rows] for part, rows in both]),
        np.concatenate([part.context[rows] for part, rows in both]),
        np.concatenate(weights),
        join_intervals(atoms, [len(rows) for rows in chosen]),
    )


def _chosen_rows(part: _Part, *, held: bool) -> npt.NDArray[np.intp]:
    """Numbers of the rows to validate on, so many at most, or of those to train on."""
    if not held:
        return np.flatnonzero(~part.held & (part.boot * part.weights != 0))
    rows = np.flatnonzero(part.held)
    return rows[evenly_spaced(len(rows), MAX_VALIDATION_ROWS)]


def _new_flow(settings: Settings, spec: FlowSpec | None, scaled: Conditions, number: int) -> Flow:
    if spec is not None:
        rng = np.random.default_rng([settings.seed, number])
        return CouplingFlow(
            spec, spec.initial(rng), compiled=settings.compiled, device=settings.device
        )
    assert settings.flow is not None
    made = UserFlow.make(settings.flow, len(settings.names.features), scaled.columns)
    return made.to(settings.device)


def fit_generator(
    settings: Settings, sample: Dataset, *, checkpoint: Path | None, progress: bool | None
) -> GeneratorModel:
    """See `Generator.fit`."""
    names = settings.names
    rows, info = _read_sample(settings, sample, "sample", progress)
    used = rows.conditions[rows.weights != 0]
    ends = used.min(axis=0), used.max(axis=0)
    scaled = fit_conditions(rows.conditions, rows.weights, names.conditions, ends)
    spec = _flow_spec(settings, scaled)
    assert spec is not None  # a Generator has no flow=
    schedule = settings.schedule.resolve(effective_events(rows.weights))
    limits = limits_of((rows.features,), (rows.weights,), names.features, settings.bounds)[0]
    part = _part(settings, scaled, rows, limits, domain="sample", side=1, number=0)
    tables, problems = part.tables, _problems([part])
    del part
    state, history = _train(settings, schedule, spec, scaled, problems, 0, checkpoint, progress)
    return GeneratorModel(
        names,
        scaled,
        tables,
        state,
        spec,
        settings.compiled,
        history,
        {**info, **asdict(schedule)},
        settings.device,
    )
