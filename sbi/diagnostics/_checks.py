"""The checks themselves, on arrays: each gives numbers and what a picture of them shows.

Calibration, closure and norm are tests of an identity (`_pairs`) whose errors can be trusted
whatever the tails of r. Pictures show the plain reweighting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rootml._internal.statistics import effective_events
from rootml._internal.types import Float
from rootml.sbi.diagnostics._binned import (
    BINS,
    compare,
    one_hot,
    quantile_edges,
    survival,
)
from rootml.sbi.diagnostics._fit_response import FitResponse
from rootml.sbi.diagnostics._identity import identity_test
from rootml.sbi.diagnostics._pairs import MIN_EVENTS, Directions, Pair, chance
from rootml.sbi.diagnostics._products import products
from rootml.sbi.diagnostics._recalibration import curvature_check, slope_check
from rootml.sbi.diagnostics._report import Check
from rootml.sbi.diagnostics._score_checks import bias_of, probability_of, untested
from rootml.sbi.diagnostics._second_classifier import second_classifier
from rootml.sbi.diagnostics._verdict import Finding
from rootml.sbi.diagnostics._widths import widths

_MIN_TAIL = 100.0  # effective events of the reweighted reference that its tails are judged by


def calibration(pair: Pair, response: FitResponse | None) -> tuple[list[Finding], dict[str, Any]]:
    """Does the classifier r / (1 + r) mean the fraction that it says?"""
    up, down = pair.overlap()
    chi2, edges = compare(pair.log_numerator, pair.log_reference, up, down)

    def bins(x: Float, log_ratio: Float) -> Float:  # noqa: ARG001 - one of `Directions`
        return one_hot(log_ratio, np.empty(0) if edges is None else edges)

    remark = "the ratio is not calibrated"
    both = np.concatenate([pair.log_numerator, pair.log_reference])
    curve = _calibration_curve(pair, quantile_edges(both, BINS))
    worst = np.abs(curve["pull"]).max(initial=0.0)
    return [
        _binned(pair, "calibration", pair.name, chi2, edges, bins, remark, response),
        slope_check(pair, response),
        *curvature_check(pair, response),
        Finding(Check("calibration", pair.name, "largest deviation in sigma", float(worst))),
    ], curve


def _binned(
    pair: Pair, topic: str, subject: str, chi2: float, edges: Float | None, bins: Directions,
    remark: str, response: FitResponse | None,
) -> Finding:  # fmt: skip
    """A chi squared of bins; without a bin there is none."""
    if edges is None:
        return untested(topic, subject, "chi2")
    number = len(edges) + 1
    test = None if response is None else identity_test(pair, bins, centred=False)
    return Finding(
        Check(
            topic, subject, f"chi2 of {number} bins", chi2, None, float(number),
            survival(chi2, number), remark=remark,
        ),
        number, None if test is None else bias_of(pair, test, response),
    )  # fmt: skip


def _calibration_curve(pair: Pair, edges: Float) -> dict[str, Any]:
    size = len(edges) + 1
    places = [np.searchsorted(edges, v) for v in (pair.log_numerator, pair.log_reference)]
    masses = [pair.numerator.mass, pair.reference.mass]
    content = [np.bincount(p, m, size) for p, m in zip(places, masses, strict=True)]
    square = [np.bincount(p, m * m, size) for p, m in zip(places, masses, strict=True)]
    guess = [
        np.bincount(p, m * chance(v), size)
        for p, m, v in zip(places, masses, (pair.log_numerator, pair.log_reference), strict=True)
    ]
    total = content[0] + content[1]
    total = np.where(total > 0, total, np.nan)
    observed = content[0] / total
    error = np.sqrt(square[0] * content[1] ** 2 + square[1] * content[0] ** 2) / total**2
    said = (guess[0] + guess[1]) / total
    used = np.isfinite(observed) & (error > 0)
    return {
        "said": said[used], "observed": observed[used], "error": error[used],
        "pull": (observed[used] - said[used]) / error[used],
    }  # fmt: skip


def closure(pair: Pair, response: FitResponse | None) -> tuple[list[Finding], dict[str, Any]]:
    """Does the reference, reweighted by r, look like the numerator, feature by feature?"""
    up, down = pair.overlap()
    found, panels = [], {}
    remark = "reweighted by the ratio, the reference does not look like the sample"
    for j, feature in enumerate(pair.features):
        left, right = pair.numerator.x[:, j], pair.reference.x[:, j]
        chi2, edges = compare(left, right, up, down)
        bins = _bins_of(j, np.empty(0) if edges is None else edges)
        subject = f"{pair.name}: {feature}"
        found.append(_binned(pair, "closure", subject, chi2, edges, bins, remark, response))
        panels[feature] = _panel(pair, left, right)
    return found, panels


def _bins_of(feature: int, edges: Float) -> Directions:
    def bins(x: Float, log_ratio: Float) -> Float:  # noqa: ARG001
        return one_hot(x[:, feature], edges)

    return bins


def correlations(pair: Pair, response: FitResponse | None) -> tuple[list[Finding], dict[str, Any]]:
    """Do all squares and products of features agree after reweighting?"""
    what = "chi2 of squares and products"
    functions = products(pair)
    if functions is None:
        return [untested("closure", pair.name, what)], {}
    test = identity_test(pair, functions, centred=True)
    freedom, chi2 = test.rank, test.chi2
    if freedom == 0:
        return [], {}
    check = Check(
        "closure", pair.name, what, chi2, None, float(freedom), probability_of(test),
        remark="a correlation or a width of the features is not learned",
    )  # fmt: skip
    return [Finding(check, freedom, bias_of(pair, test, response))], {}


def _panel(pair: Pair, left: Float, right: Float) -> dict[str, Any]:
    """Histograms of a feature: numerator, reference, reference reweighted."""
    low, high = np.quantile(np.concatenate([left, right]), [0.001, 0.999])
    edges = np.linspace(low, high if high > low else low + 1.0, 41)
    weighted = pair.reference.mass * np.exp(pair.log_reference)
    found = {"edges": edges}
    for name, values, mass in (
        ("sample", left, pair.numerator.mass),
        ("reference", right, pair.reference.mass),
        ("reweighted", right, weighted),
    ):
        found[name] = np.histogram(values, edges, weights=mass)[0]
        found[f"{name} error"] = np.sqrt(np.histogram(values, edges, weights=mass**2)[0])
    return found


def normalisation(
    pair: Pair, response: FitResponse | None
) -> tuple[list[Finding], dict[str, Any]]:
    """E_ref[r] is 1; tested by ``E_p[1 - s] = E_ref[s]``, whose error has no unseen tail.

    The error of E_ref[r] itself, as the events show it, lacks the events that were not drawn and
    would have had the largest r: that number is shown without a verdict.
    """
    ratio = np.exp(pair.log_reference)
    mean = float(pair.reference.mass @ ratio)
    spread = float(np.sqrt(np.square(pair.reference.mass) @ np.square(ratio - mean)))
    shown = Finding(Check("normalisation", pair.name, "E_ref[r]", mean, spread, 1.0))
    what = "E_ref[s] / E_p[1 - s]"
    if pair.effective_overlap < MIN_EVENTS:
        return [untested("normalisation", pair.name, what), shown], {}

    def one(x: Float, log_ratio: Float) -> Float:  # noqa: ARG001
        return np.ones((len(x), 1))

    up, down = (float(mass.sum()) for mass in pair.overlap())
    test = identity_test(pair, one, centred=False)
    value = down / up
    error = value * math.sqrt(float(test.covariance[0, 0])) / up
    check = Check(
        "normalisation", pair.name, what, value, error, 1.0, probability_of(test),
        remark="see Ratios.renormalised, and the tails of this ratio",
    )  # fmt: skip
    return [Finding(check, 1, bias_of(pair, test, response)), shown], {}


def tails(pair: Pair) -> tuple[list[Finding], dict[str, Any]]:
    """How few events of the reference carry the reweighted sample."""
    weighted = pair.reference.mass * np.exp(pair.log_reference)
    effective = effective_events(weighted)
    share = float(np.abs(weighted).max() / abs(weighted.sum()))
    low, high = np.quantile(pair.log_reference, [0.001, 0.999])
    fraction = effective / pair.reference.effective
    enough = effective > _MIN_TAIL
    remark = "few events of the reference look like this sample: choose a reference nearer to it"
    enough_check = Check(
        "tails", pair.name, "effective events", effective, ok=True if enough else None,
        remark="" if enough else remark, tested=enough,
    )  # fmt: skip
    numbers = {
        "fraction of the reference's": fraction,
        "largest share of one event": share,
        "log r, quantile 0.001": float(low),
        "log r, quantile 0.999": float(high),
    }
    shown = [Check("tails", pair.name, what, value) for what, value in numbers.items()]
    both = np.concatenate([pair.log_numerator, pair.log_reference])
    low, high = (float(end) for end in np.quantile(both, [0.0005, 0.9995]))
    wide = high > low
    edges = np.linspace(low if wide else low - 0.5, high if wide else high + 0.5, 61)
    return [Finding(check) for check in (enough_check, *shown)], {
        "edges": edges,
        "sample": np.histogram(pair.log_numerator, edges, weights=pair.numerator.mass)[0],
        "reference": np.histogram(pair.log_reference, edges, weights=pair.reference.mass)[0],
    }


def norm_of_alpha(
    name: str,
    nuisance: str,
    mass: Float,
    nominal: Float,
    up: Float,
    down: Float,
    *,
    response: FitResponse | None = None,
) -> tuple[list[Finding], dict[str, Any]]:
    """Z(alpha) = E_ref[r exp(A alpha + C alpha^2)], relative to Z(0).

    A fit divides by it. How far it is from one says what not dividing would do; its error, whether
    there are enough events of the reference.

    Args:
        mass: Weights of the reference's events, adding up to one.
        nominal, up, down: log r at 0, +1, -1.
    """
    grid = np.linspace(-3.0, 3.0, 25)
    first, second = 0.5 * (up - down), 0.5 * (up + down) - nominal
    base = np.exp(nominal)
    norm = float(mass @ base)
    values, errors = [], []
    for alpha in grid:
        ratio = base * np.exp(first * alpha + second * alpha**2)
        value = float(mass @ ratio) / norm
        values.append(value)
        errors.append(float(np.sqrt(np.square(mass) @ np.square(ratio - value * base))) / norm)
    z, error = np.array(values), np.array(errors)
    subject = f"{name}.{nuisance}"
    checks: list[Finding] = []
    for alpha in (1.0, -1.0):
        k = int(np.argmin(np.abs(grid - alpha)))
        probability = math.erfc(abs(z[k] - 1.0) / max(error[k], 1e-300) / math.sqrt(2.0))
        check = Check(
            "normalisation", subject, f"Z({alpha:+.0f}) / Z(0)", float(z[k]), float(error[k]), 1.0,
            probability, remark="the variations have other norms than the nominal sample",
        )  # fmt: skip
        # a fit with reference= divides by Z(alpha): a wrong norm of a variation moves nothing
        checks.append(Finding(check, 1, None if response is None else 0.0, variation=True))
    inside = np.abs(grid) <= 2.0
    high = float(np.abs(np.log(z[inside])).max())
    what = "largest |log Z| for |alpha| <= 2"
    checks.append(Finding(Check("normalisation", subject, what, high, float(error[inside].max()))))
    return checks, {"alpha": grid, "z": z, "error": error}


def all_checks(
    pair: Pair, *, classifier: bool, seed: int, response: FitResponse | None = None
) -> Sequence[tuple[str, list[Finding], dict[str, Any]]]:
    """Every check of one ratio: topic, numbers without verdict, what the picture shows."""
    found = [
        ("calibration", *calibration(pair, response)),
        ("closure", *closure(pair, response)),
        ("widths", widths(pair, response), {}),
        ("correlations", *correlations(pair, response)),
        ("normalisation", *normalisation(pair, response)),
        ("tails", *tails(pair)),
    ]
    if classifier:
        found.insert(2, ("classifier", [second_classifier(pair, seed, response)], {}))
    if "." not in pair.name:
        return found
    return [(topic, [replace(f, variation=True) for f in each], p) for topic, each, p in found]
