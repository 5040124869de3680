"""`diagnose`: can these ratios be trusted? Numbers with verdicts, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from rootml._internal.progress import long_step
from rootml._internal.types import Float
from rootml.dataset import Dataset
from rootml.errors import MissingColumnError, UsageError, nearest
from rootml.sbi.diagnostics._causes import with_causes
from rootml.sbi.diagnostics._checks import all_checks, norm_of_alpha
from rootml.sbi.diagnostics._fit_response import FitResponse, HeldOut
from rootml.sbi.diagnostics._fit_shift import shift_checks
from rootml.sbi.diagnostics._fits import check_fits
from rootml.sbi.diagnostics._null_shapes import shape_findings
from rootml.sbi.diagnostics._pairs import Events, Pair
from rootml.sbi.diagnostics._report import Report
from rootml.sbi.diagnostics._verdict import MAX_BIAS, POWER, Finding, judge
from rootml.sbi.estimator import ParametricRatios, Ratios
from rootml.sbi.estimator.inputs._events import chunks
from rootml.sbi.estimator.inputs._samples import Density, parse_samples
from rootml.sbi.inference._samples import SampleShifts
from rootml.sbi.inference.fits._fit import FitResult
from rootml.sbi.inference.fits._fit import fit as fit_likelihood
from rootml.sbi.inference.toys._toy_task import ToyResults
from rootml.sbi.likelihood._fittable import Fittable


@long_step("diagnosing")
def diagnose(
    ratios: Ratios | ParametricRatios,
    samples: Mapping[str, Any],
    *,
    fit: FitResult | Fittable | None = None,
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

    Per ratio: calibration, with slope and curvature of log r; closure of every input, of their
    widths, of squares and products, and against a second classifier (boosted trees); E_ref[r];
    Z(alpha) of each shape variation; effective number of events and tails. Of fits, if given:
    bias, width of pulls, coverage, shifts against exact fits.

    All checks together fail for right ratios in at most 5.5 % of reports: `Check.threshold` is the
    share of each. The slope of log r has the largest, being the commonest error of a network.

    With ``fit=`` every check of a ratio says the smallest bias it sees (`Check.sees`): an error of
    the form that it measures, e.g. any function of log r that is constant in its bins, fails in at
    least 90 % of cases if it moves a parameter of interest by more than so many sigma. A check
    that does not see 0.5 sigma is not tested: it has not passed. Errors become biases by the
    linear response of the fit, its covariance times the derivative of the mean gradient, with the
    held-out events weighted to what the fit expects; for the second classifier an error is
    injected. Also, the bias of the fit by all errors together is measured on these events.

    Args:
        ratios: What is tested.
        samples: As in `RatioEstimator.fit`, other events. For `ParametricRatios`: ``{"mu = 1":
            (Dataset, {"mu": 1.0})}``, events at some points.
        fit: The fit that the ratios are for, or its likelihood (which is fitted then); its
            unbinned channels have processes named as the ratios are. Only for `Ratios`.
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
        ConvergenceError: The fit is not valid.
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
    response = None
    base: dict[str, Float] = {}
    if isinstance(ratios, ParametricRatios):
        _refuse_fit(fit)
        pairs, notes = _parametric_pairs(ratios, samples, reference, max_events, seed, progress)
    else:
        pairs, base, held_out, variations, notes = _pairs(
            ratios, samples, reference, max_events, seed, progress
        )
        if fit is not None:
            response = FitResponse(_fitted(fit), ratios, held_out)
    notes += _fit_notes(response)
    findings: list[Finding] = []
    curves: dict[str, Any] = {}
    for pair in pairs:
        for topic, found, picture in all_checks(
            pair, classifier=classifier, seed=seed, response=response
        ):
            findings += found
            if picture:
                curves[f"{topic} {pair.name}"] = (topic, pair.name, picture)
    if isinstance(ratios, Ratios):
        for found, name, picture in _alpha_checks(ratios, pairs, base, response):
            findings += found
            curves[f"alpha {name}"] = ("alpha", name, picture)
        findings += shape_findings(ratios.record.shapes, ratios.names, variations, response)
    if response is not None:
        findings += shift_checks(response)
    checks, pictures = check_fits(toys, exact, shifts)
    judged = with_causes(judge(findings), pairs, ratios.record)
    return Report((*judged, *checks), tuple(notes), curves | pictures)


def _refuse_fit(fit: Any) -> None:
    if fit is not None:
        message = (
            "fit= is for ratios of samples (RatioEstimator without parameters=): how an error at "
            "one point of the parameters moves a fit of parametric ratios is not known"
        )
        raise UsageError(message)


def _fitted(fit: FitResult | Fittable) -> FitResult:
    result = fit if isinstance(fit, FitResult) else fit_likelihood(fit)
    return result.require_valid()


def _fit_notes(response: FitResponse | None) -> list[str]:
    """What the numbers in the column "sees" are, or that they are missing."""
    if response is None:
        return [
            "no fit= was given: how large a bias of a fit would have passed unseen is not known"
        ]
    names = ", ".join(response.parameters)
    notes = [
        (
            f"sees: smallest bias of {names}, in sigma of the fit, that is seen in "
            f"{100 * POWER:.0f} % of cases; not tested, if above {MAX_BIAS:g}"
        )
    ]
    if response.replaced:
        notes.append(
            f"no events of {', '.join(response.replaced)}: the reference, weighted by the ratio, "
            "stands for them in the response of the fit"
        )
    return notes


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
) -> tuple[
    list[Pair], dict[str, Float], dict[str, HeldOut], dict[str, tuple[Events, Float]], list[str]
]:
    """Every ratio with events, log ratios of the reference's events, held-out events by name.

    The fourth are those of variations, with log(up / down).
    """
    given, base = _densities(ratios, samples, reference)
    known, note = _read(base.dataset, ratios, max_events, seed, progress, base.name)
    notes = [f"reference {note}"]
    logs = _logs(ratios, known)
    held_out = {
        process: HeldOut(known.x, _weighted(known.mass, logs[process]), lambda: logs, own=False)
        for process in ratios.tree
    }
    held_out[ratios.reference] = HeldOut(known.x, known.mass, lambda: logs, own=True)
    pairs, variations = [], {}
    for density in given:
        events, note = _read(density.dataset, ratios, max_events, seed, progress, density.name)
        notes.append(note)
        own = _logs(ratios, events)
        pairs.append(
            Pair(
                density.name, ratios.names, events, known, own[density.name], logs[density.name]
            )
        )  # fmt: skip
        stem = density.name.rpartition(".")[0]
        if stem and f"{stem}.up" in own and f"{stem}.down" in own:
            variations[density.name] = events, own[f"{stem}.up"] - own[f"{stem}.down"]
        again = partial(_logs, ratios, events)  # variations are too many to keep all their ratios
        kept = cache(again) if density.name in ratios.tree else again
        held_out[density.name] = HeldOut(events.x, events.mass, kept, own=True)
    return pairs, logs, held_out, variations, notes


def _logs(ratios: Ratios, events: Events) -> dict[str, Float]:
    """log r by name, that of the reference is 0."""
    found = dict(zip(ratios.outputs, ratios.log_ratio(events.x).T, strict=True))
    return {ratios.reference: np.zeros(len(events.x)), **found}


def _weighted(mass: Float, log_ratio: Float) -> Float:
    weights = mass * np.exp(log_ratio)
    return np.asarray(weights / weights.sum())


def _alpha_checks(
    ratios: Ratios,
    pairs: Sequence[Pair],
    logs: Mapping[str, Float],
    response: FitResponse | None,
) -> list[tuple[list[Finding], str, dict[str, Any]]]:
    found = []
    mass = pairs[0].reference.mass
    for process, nuisances in ratios.tree.items():
        nominal = logs.get(process, np.zeros(len(mass)))  # the reference itself: log 1
        for nuisance in nuisances:
            up, down = (logs[f"{process}.{nuisance}.{side}"] for side in ("up", "down"))
            findings, picture = norm_of_alpha(
                process, nuisance, mass, nominal, up, down, response=response
            )
            found.append((findings, f"{process}.{nuisance}", picture))
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
