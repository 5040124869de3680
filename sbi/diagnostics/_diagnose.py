"""`diagnose`: can these ratios be trusted? Numbers with verdicts, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rootml._internal.types import Float
from rootml.dataset import Dataset
from rootml.errors import MissingColumnError, UsageError, nearest
from rootml.sbi.diagnostics._checks import Events, Pair, all_checks, norm_of_alpha
from rootml.sbi.diagnostics._fits import check_fits
from rootml.sbi.diagnostics._report import Check, Report
from rootml.sbi.estimator import ParametricRatios, Ratios
from rootml.sbi.estimator._events import chunks
from rootml.sbi.estimator._samples import Density, parse_samples
from rootml.sbi.inference._samples import SampleShifts
from rootml.sbi.inference._toy_task import ToyResults


def diagnose(
    ratios: Ratios | ParametricRatios,
    samples: Mapping[str, Any],
    *,
    reference: Any = None,
    toys: ToyResults | None = None,
    exact: ToyResults | None = None,
    shifts: SampleShifts | None = None,
    classifier: bool = True,
    max_events: int = 100_000,
    seed: int = 0,
    progress: bool | None = None,
) -> Report:
    """Test learned ratios on events that they have not seen.

    Per ratio: calibration; closure of every input and against a second classifier (boosted trees);
    E_ref[r]; Z(alpha) of each shape variation; effective number of events and tails. Of fits, if
    given: bias, width of pulls, coverage, shifts against exact fits.

    Args:
        ratios: What is tested.
        samples: As in `RatioEstimator.fit`, other events. For `ParametricRatios`: ``{"mu = 1":
            (Dataset, {"mu": 1.0})}``, events at some points.
        reference: A Dataset of the reference, if it is none of the samples.
        toys: Fits of toys with these ratios, by `rootml.sbi.toys`.
        exact: Fits of the same toys with a known likelihood.
        shifts: Of the fit, by `rootml.sbi.training_uncertainty`.
        classifier: Whether to train the second classifier (scikit-learn).
        max_events: Events of each sample that are used, a random subset if there are more.
        seed: Of that choice, and of the classifier.
        progress: Show a bar; None: on a terminal.

    Raises:
        MissingColumnError: No events of the reference, or of a ratio.
        UsageError: Arguments that do not fit together.

    >>> import numpy as np, pyarrow as pa, pyarrow.parquet, rootml
    >>> from rootml import sbi
    >>> rng = np.random.default_rng(1)
    >>> for name, mean in ("sig", 1.0), ("bkg", 0.0):
    ...     table = pa.table({"x": rng.normal(mean, 1.0, 8000)})
    ...     pa.parquet.write_table(table, f"{name}.parquet")
    >>> samples = {name: rootml.open(f"{name}.parquet") for name in ("sig", "bkg")}
    >>> known = lambda x: x[:, 0] - 0.5                       # the logarithm of the ratio
    >>> ratios = sbi.RatioEstimator.from_classifier(
    ...     known, samples, reference="bkg", inputs=["x"], kind="logit", calibration="auto")
    >>> report = sbi.diagnose(ratios, samples, classifier=False)
    >>> report.failed
    ()
    """
    if isinstance(ratios, ParametricRatios):
        pairs, notes = _parametric_pairs(ratios, samples, reference, max_events, seed, progress)
        base: dict[str, Float] = {}
    else:
        pairs, base, notes = _pairs(ratios, samples, reference, max_events, seed, progress)
    checks: list[Check] = []
    curves: dict[str, Any] = {}
    for pair in pairs:
        for topic, found, picture in all_checks(pair, classifier=classifier, seed=seed):
            checks += found
            if picture:
                curves[f"{topic} {pair.name}"] = (topic, pair.name, picture)
    if isinstance(ratios, Ratios):
        for found, name, picture in _alpha_checks(ratios, pairs, base):
            checks += found
            curves[f"alpha {name}"] = ("alpha", name, picture)
    found, pictures = check_fits(toys, exact, shifts)
    checks += found
    curves |= pictures
    return Report(tuple(checks), tuple(notes), curves)


def _thinned(data: Any, max_events: int, seed: int) -> tuple[Any, str]:
    """At most about so many events, and a note if they are fewer than there are."""
    if isinstance(data, Dataset):
        rows = data.scan().num_rows
        if rows > max_events:
            return data.split(test=max_events / rows, seed=seed)[
                1
            ], f"about {max_events:,} of {rows:,} events"
    return data, ""


def _read(
    data: Any, ratios: Any, max_events: int, seed: int, progress: bool | None, name: str
) -> tuple[Events, str]:
    chosen, note = _thinned(data, max_events, seed)
    parts = list(chunks(chosen, ratios.inputs, ratios.names, progress=progress))
    x = np.concatenate([x for x, _ in parts])
    weights = [np.ones(len(x)) if w is None else w for x, w in parts]
    mass = np.concatenate(weights)
    if not mass.sum() > 0:
        message = f"the weights of {len(mass):,} events of {name!r} add up to {mass.sum():.6g}"
        raise UsageError(message)
    events = Events(x, mass / mass.sum())
    return events, f"{name}: {note or f'{len(x):,} events'}, effective {events.effective:,.0f}"


def _densities(ratios: Ratios, samples: Any, reference: Any) -> tuple[list[Density], Density]:
    """The densities given, and that of the reference among them."""
    known = reference if isinstance(reference, Dataset) else ratios.reference
    if not isinstance(reference, Dataset) and ratios.reference not in samples:
        message = (
            f"no events of the reference {ratios.reference!r}: give reference=Dataset, or it "
            f"among the samples, which are {nearest(ratios.reference, samples)}"
        )
        raise MissingColumnError(message)
    parsed = parse_samples(samples, known)
    base = parsed.densities[parsed.reference]
    given = [d for d in parsed.densities if d.name != base.name]
    for density in given:
        if density.name not in ratios.outputs:
            message = (
                f"no ratio {density.name!r}; available: {nearest(density.name, ratios.outputs)}"
            )
            raise MissingColumnError(message)
    return given, base


def _pairs(
    ratios: Ratios, samples: Any, reference: Any, max_events: int, seed: int, progress: bool | None
) -> tuple[list[Pair], dict[str, Float], list[str]]:
    """Every ratio with events, and the log ratios of the reference's events by output."""
    given, base = _densities(ratios, samples, reference)
    known, note = _read(base.dataset, ratios, max_events, seed, progress, base.name)
    notes = [f"reference {note}"]
    logs = dict(zip(ratios.outputs, ratios.log_ratio(known.x).T, strict=True))
    pairs = []
    for density in given:
        events, note = _read(density.dataset, ratios, max_events, seed, progress, density.name)
        notes.append(note)
        own = ratios.log_ratio(events.x)[:, ratios.outputs.index(density.name)]
        pairs.append(Pair(density.name, ratios.names, events, known, own, logs[density.name]))
    return pairs, logs, notes


def _alpha_checks(
    ratios: Ratios, pairs: Sequence[Pair], logs: Mapping[str, Float]
) -> list[tuple[list[Check], str, dict[str, Any]]]:
    found = []
    mass = pairs[0].reference.mass
    for process, nuisances in ratios.tree.items():
        nominal = logs.get(process, np.zeros(len(mass)))  # the reference itself: log 1
        for nuisance in nuisances:
            up, down = (logs[f"{process}.{nuisance}.{side}"] for side in ("up", "down"))
            checks, picture = norm_of_alpha(process, nuisance, mass, nominal, up, down)
            found.append((checks, f"{process}.{nuisance}", picture))
    return found


def _parametric_pairs(
    ratios: ParametricRatios,
    samples: Any,
    reference: Any,
    max_events: int,
    seed: int,
    progress: bool | None,
) -> tuple[list[Pair], list[str]]:
    if reference is None:
        message = f"give reference=: events of {ratios.reference}, which the ratios divide by"
        raise MissingColumnError(message)
    known, note = _read(reference, ratios, max_events, seed, progress, "reference")
    pairs, notes = [], [note]
    for name, given in samples.items():
        if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Mapping)):
            message = f"sample {name!r}: give (Dataset, {{parameter: value}})"
            raise UsageError(message)
        data, theta = given
        events, note = _read(data, ratios, max_events, seed, progress, name)
        notes.append(note)
        own, other = (ratios.log_ratio(each.x, **theta) for each in (events, known))
        pairs.append(Pair(name, ratios.names, events, known, own, other))
    return pairs, notes
