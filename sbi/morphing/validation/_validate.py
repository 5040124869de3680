"""From events to a `ClosureReport`: before, after, and the floor.

Reading is that of `_rows`, so a row is here what it is to the morpher: an event, or one of the
elements of its lists.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml._internal.progress import status
from rootml._internal.types import Float
from rootml._internal.validators import check_choice, check_whole
from rootml.errors import EmptySelectionError, UnsupportedTypeError, UsageError
from rootml.sbi.morphing.inference._rows import (
    Names,
    Rows,
    check_present,
    event_keys,
    event_numbers,
    read_rows,
    rows_of,
)
from rootml.sbi.morphing.validation._metrics import correlation
from rootml.sbi.morphing.validation._metrics_frechet import scale_of
from rootml.sbi.morphing.validation._metrics_sample import Sample
from rootml.sbi.morphing.validation._metrics_support import Support
from rootml.sbi.morphing.validation._pairs import Pairs, compare_pairs, matching_rows
from rootml.sbi.morphing.validation._report import FLOOR, ClosureReport
from rootml.sbi.morphing.validation._training_events import Sketch
from rootml.sbi.morphing.validation._two_sample import Kind, TwoSample, two_sample
from rootml.sbi.morphing.validation._validate_compare import (
    Comparison,
    Options,
    ShowStatus,
    compare,
)

logger = logging.getLogger(__name__)

PairsBy = Literal["event"]
BEFORE, AFTER = "before", "after"
_REPLICAS, _REPLICA_ROWS = 5, 8_000
_KNOWN, _UNIQUE = 0.01, 0.9
_REASONS = {
    1: "have a condition outside of the range of the fit",
    2: "are not finite",
    3: "have a feature outside of the range of the fit",
}


class Kinematics(Protocol):
    """Factors on the weights of simulated rows."""

    def weights(self, conditions: Float) -> Float:
        """For `(rows, conditions)`, `(rows,)`."""


class Outcome(Protocol):
    """What became of simulated rows: features `(rows, features)`, and why some stayed."""

    @property
    def values(self) -> Float: ...
    @property
    def reason(self) -> npt.NDArray[np.uint8]: ...


class Correction(Protocol):
    """What is judged: `rootml.sbi.morphing.files._model.Morph`, or anything that does the same."""

    @property
    def names(self) -> Names: ...
    @property
    def kinematics(self) -> Kinematics: ...
    @property
    def trained_on(self) -> Mapping[str, Sketch]: ...
    def transform(self, rows: Rows) -> Outcome: ...


class Fitted(Protocol):
    """A `Morpher`, of which only the fitted map matters here."""

    @property
    def _morph(self) -> Correction: ...


def validate(
    morpher: Fitted,
    sim: Any,
    data: Any,
    *,
    max_rows: int = 200_000,
    bins: int = 30,
    slices: int = 5,
    folds: int = 2,
    classifier: Kind = "both",
    seed: int = 0,
    pairs: PairsBy | None = None,
    progress: bool | None = None,
) -> ClosureReport:
    """Compare simulation with data before and after the correction.

    Both times the simulation has the kinematic weights of the fit, so that features alone make the
    difference; "floor" is one half of the data beside the other, with an error from other halves.
    Rows that the morpher passes unchanged take part and are counted in the notes. Only events that
    the morpher was not trained on give the honest answer; a note says if there are others.

    Args:
        sim, data: Datasets, or columns in memory: a dict of arrays, an awkward array of records.
        max_rows: Of each domain; of more, a uniform random sample, which the notes state.
        bins: Of the histograms.
        slices: Of each condition.
        folds: Of the two-sample test: each event, with all rows of its lists, is tested by
            classifiers trained on others.
        classifier: "both" (most sensitive), "network" or "trees".
        seed: Of everything random.
        pairs: ``"event"``: compare event by event too, where `data` holds the same events as
            `sim`, as a full simulation does beside a fast one. Partners have the same `id`, and
            the same place in their lists. Classifiers are trained on one half of the events and
            tested on the other.
        progress: Show what is being done; None: on a terminal.

    Raises:
        UsageError: The morpher is not fitted, a feature is constant, the weights add up to
            nothing: it names the column and the numbers. With `pairs`: the morpher has no `id`,
            an id occurs twice, or hardly any event is in both.
        EmptySelectionError: A domain without a usable row.
        MissingColumnError: A column that is not there.
        MissingPackageError: scipy, scikit-learn (extra ``sbi``) or torch is not installed.
    """
    options = Options(bins=bins, slices=slices, folds=folds, classifier=classifier, seed=seed)
    _check(options, max_rows)
    return validate_correction(
        morpher._morph,
        sim,
        data,
        max_rows=max_rows,
        options=options,
        by_event=_by_event(pairs, morpher._morph.names),
        progress=progress,
    )


def _by_event(pairs: PairsBy | None, names: Names) -> bool:
    """Whether to compare event by event.

    Raises:
        UsageError: Another choice, or nothing that identifies an event.
    """
    if pairs is None:
        return False
    check_choice("pairs", pairs, ("event",))
    if not names.ids:
        message = (
            "pairs='event' needs columns that identify an event: Morpher(..., id=['run', 'event'])"
        )
        raise UsageError(message)
    return True


def validate_correction(
    correction: Correction,
    sim: Any,
    data: Any,
    *,
    max_rows: int,
    options: Options,
    by_event: bool = False,
    progress: bool | None = None,
) -> ClosureReport:
    """`validate` for anything that corrects rows."""
    names, notes = correction.names, list[str]()
    rows = {
        what: _read(source, names, what, max_rows, options.seed, progress, notes)
        for what, source in (("simulation", sim), ("data", data))
    }
    notes += _known_events(correction, rows)
    outcome = correction.transform(rows["simulation"])
    factors = correction.kinematics.weights(rows["simulation"].conditions)
    for number, why in _REASONS.items():
        count = int((outcome.reason == number).sum())
        if count:
            part = f"{count:,} of {len(outcome.reason):,} rows of the simulation"
            notes.append(f"{part} {why} and passed unchanged")
    samples = {
        BEFORE: _sample("simulation", names, rows["simulation"], None, factors),
        AFTER: _sample("corrected simulation", names, rows["simulation"], outcome.values, factors),
    }
    reference = _sample("data", names, rows["data"], None, None)
    sim_events, data_events = _events(names, rows)
    if by_event or any(len(np.unique(each)) < len(each) for each in (sim_events, data_events)):
        reference = replace(reference, events=data_events)
        samples = {name: replace(each, events=sim_events) for name, each in samples.items()}
    pairs = _paired(names, rows, outcome.values, notes) if by_event else None
    with status("comparing", enabled=progress) as show:
        report = make_report(
            reference,
            samples,
            features=names.features,
            conditions=names.conditions,
            options=options,
            notes=notes,
            show_status=lambda text: show(f"comparing {text}"),
        )
    return replace(report, pairs=pairs)


def _events(names: Names, rows: Mapping[str, Rows]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Which event each row of simulation and data belongs to; only ids say that one is in both."""
    sim, data = rows["simulation"].events, rows["data"].events
    if names.ids:
        return sim, data
    first = event_numbers(sim)
    return first, event_numbers(data) + first.max() + 1


def _paired(names: Names, rows: Mapping[str, Rows], corrected: Float, notes: list[str]) -> Pairs:
    """The events that are in both samples, before and after."""
    sim, data = rows["simulation"], rows["data"]
    first, second = matching_rows(sim, data)
    if len(first) < max(len(sim), len(data)):
        notes.append(
            f"pairs: {len(first):,} of {len(sim):,} rows of the simulation have a partner among "
            f"{len(data):,} of the data"
        )
    partners = data.features[second]
    before, after = (
        compare_pairs(names.features, values[first], partners)
        for values in (sim.features, corrected)
    )
    return Pairs(len(first), before, after)


def _known_events(correction: Correction, rows: Mapping[str, Rows]) -> Iterator[str]:
    """Notes about rows that the fit has seen."""
    for domain, sketch in correction.trained_on.items():
        share = sketch.known(rows[domain].features, rows[domain].conditions)
        if share < _KNOWN or sketch.unique < _UNIQUE:
            continue
        yield (
            f"{100 * share:.0f} % of the rows of the {domain} were in the training: the closure "
            "looks better than it is; validate on events that the fit has not seen"
        )


def _check(options: Options, max_rows: int) -> None:
    for what, value, lowest in (
        ("max_rows", max_rows, 1000),
        ("bins", options.bins, 2),
        ("slices", options.slices, 1),
    ):
        check_whole(what, value, minimum=lowest)


def _read(
    source: Any,
    names: Names,
    what: str,
    limit: int,
    seed: int,
    progress: bool | None,
    notes: list[str],
) -> Rows:
    """Rows of a Dataset or of columns in memory, at most `limit`."""
    from rootml.dataset import Dataset

    if isinstance(source, Dataset):
        rows, total, bad = read_rows(
            source, names, limit=limit, seed=seed, progress=progress, what=f"reading {what}"
        )
    else:
        rows = _from_memory(source, names, what)
        bad = int((~rows.finite).sum())
        rows = rows.take(rows.finite)
        total = len(rows)
        if total > limit:
            chosen = np.random.default_rng(seed).choice(total, limit, replace=False)
            rows = rows.take(np.sort(chosen))
    if not len(rows):
        message = f"{what}: no row has finite features and conditions ({bad:,} have not)"
        raise EmptySelectionError(message)
    if total > len(rows):
        notes.append(f"{len(rows):,} of {total:,} rows of the {what} drawn, seed {seed}")
    if bad:
        notes.append(f"{bad:,} of {total + bad:,} rows of the {what} are not finite and left out")
    return rows


def _from_memory(source: Any, names: Names, what: str) -> Rows:
    """Columns of a mapping or of an awkward array of records; all weights are 1."""
    if isinstance(source, Mapping):
        columns = dict(source)
    elif isinstance(source, ak.Array) and source.fields:
        columns = {name: source[name] for name in source.fields}
    else:
        message = (
            f"{what}: give a Dataset, a dict of arrays or an awkward array of records, not "
            f"{type(source).__name__}"
        )
        raise UnsupportedTypeError(message)
    check_present(list(columns), names, what)
    plain = {name: _column(columns[name]) for name in names.columns}
    count = len(next(iter(plain.values())))
    return rows_of(plain, names, event_keys(plain, names, count), where=what)


def _column(values: Any) -> Any:
    """NumPy where it is one number per event, awkward where it is a list."""
    if isinstance(values, ak.Array):
        return ak.to_numpy(values) if values.ndim == 1 else values
    return np.asarray(values)


def _sample(
    what: str, names: Names, rows: Rows, features: Float | None, factors: Float | None
) -> Sample:
    """As a matrix with names and weights."""
    x = rows.features if features is None else features
    columns = [*x.T, *rows.conditions.T]
    weights = rows.weights if factors is None else rows.weights * factors
    both = (*names.features, *names.conditions)
    return Sample.of(dict(zip(both, columns, strict=True)), weights, what=what)


def make_report(
    data: Sample,
    samples: Mapping[str, Sample],
    *,
    features: Sequence[str],
    conditions: Sequence[str] = (),
    options: Options | None = None,
    notes: Sequence[str] = (),
    show_status: ShowStatus = logger.info,
) -> ClosureReport:
    """Compare samples with data, and one random half of the data with the other.

    Args:
        samples: By name. The last one's conditions go into the test of the conditions alone.
        notes: To be shown with the report.

    Raises:
        UsageError: No sample, or no feature, or a constant feature.
        MissingColumnError: A sample lacks a column.

    >>> rng = np.random.default_rng(0)
    >>> data = Sample.of({"x": rng.normal(size=1000)}, what="data")
    >>> sim = Sample.of({"x": rng.normal(0.5, 1, size=1000)}, what="simulation")
    >>> quick = Options(classifier="trees")
    >>> report = make_report(data, {"before": sim}, features=["x"], options=quick)
    >>> report.before.classifier.auc > report.floor.classifier.auc
    True
    """
    names, given = tuple(features), tuple(conditions)
    if not names or not samples or FLOOR in samples:
        message = (
            f"features {list(names)}, samples {list(samples)}: expected at least one of each, "
            f"and no sample called {FLOOR!r}"
        )
        raise UsageError(message)
    options = Options() if options is None else options
    data = data.select((*names, *given))
    for each in (data, *samples.values()):
        each.select(names).check_varies()
    supports = {name: Support.of(data.column(name)) for name in names}
    scale = scale_of(data.select(names).values)

    def measured(name: str, reference: Sample, sample: Sample) -> Comparison:
        return compare(
            name,
            reference,
            sample,
            features=names,
            conditions=given,
            supports=supports,
            options=options,
            scale=scale,
            show_status=show_status,
        )

    comparisons = {name: measured(name, data, sample) for name, sample in samples.items()}
    floor = measured(FLOOR, *_halves(data, options.seed))
    show_status(f"{FLOOR}: error from replicas")
    error = max(floor.classifier.error, floor_error(data, options))
    comparisons[FLOOR] = replace(floor, classifier=replace(floor.classifier, error=error))
    return ClosureReport(
        features=names,
        conditions=given,
        rows=data.rows,
        effective_rows=data.effective,
        correlations=correlation(data.values, data.weights),
        supports=supports,
        comparisons=comparisons,
        conditions_only=_conditions_only(data, list(samples.values())[-1], given, options),
        options=options,
        notes=tuple(notes),
    )


def floor_error(data: Sample, options: Options) -> float:
    """The standard deviation of the area under the ROC curve of equal samples.

    From random halves of the data, with at most 4,000 rows each: classifiers that were trained
    on one sample share its fluctuations, which the error of a given classifier does not contain.
    """
    some = data.take(np.random.default_rng(options.seed).permutation(data.rows)[:_REPLICA_ROWS])
    kind: Kind = "network" if options.classifier == "network" else "trees"
    areas = []
    for seed in range(_REPLICAS):
        a, b = _halves(some, options.seed + 1 + seed)
        test = two_sample(
            a.values,
            b.values,
            a.weights,
            b.weights,
            kind=kind,
            folds=options.folds,
            seed=seed,
            events=(a.events, b.events),
        )
        areas.append(test.auc - 0.5)
    rms = float(np.sqrt(np.mean(np.square(areas))))
    return rms * float(np.sqrt(some.effective / data.effective))


def _halves(data: Sample, seed: int) -> tuple[Sample, Sample]:
    """Random halves; all rows of an event are in one of them."""
    numbers = np.arange(data.rows) if data.events is None else event_numbers(data.events)
    total = int(numbers.max()) + 1
    first = np.zeros(total, bool)
    first[np.random.default_rng(seed).permutation(total)[: total // 2]] = True
    return data.take(np.flatnonzero(first[numbers])), data.take(np.flatnonzero(~first[numbers]))


def _conditions_only(
    data: Sample, sample: Sample, conditions: tuple[str, ...], options: Options
) -> TwoSample | None:
    if not conditions:
        return None
    a, b = data.select(conditions), sample.select(conditions)
    return two_sample(
        a.values,
        b.values,
        a.weights,
        b.weights,
        kind=options.classifier,
        folds=options.folds,
        seed=options.seed,
        events=(a.events, b.events),
    )
