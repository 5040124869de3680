"""The checks themselves, on arrays: each gives numbers and what a picture of them shows.

With s = r / (1 + r), a right ratio obeys for any function g of an event

    E_p[(1 - s) g] = E_ref[s g] ,

since both sides are the integral of g p p_ref / (p + p_ref). Unlike E_p[g] = E_ref[r g] this has
bounded weights, so its statistical error can be trusted whatever the tails of r; calibration and
closure are tested with it. Pictures show the plain reweighting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.optional import optional_import
from rootml._internal.statistics import effective_events
from rootml._internal.types import Float
from rootml.sbi.diagnostics._report import Check

SUSPECT = 1e-3
"""Probability below which a check is to be looked at."""
_BINS = 20
MIN_EVENTS = 25.0
"""Effective events of both samples that a number must come from to be tested."""
_MIN_TAIL = 100.0  # effective events of the reweighted reference that its tails are judged by
_TOO_FEW = "too few held-out events where the densities overlap: give more, or a nearer reference"


@dataclass(frozen=True)
class Events:
    """Events of one sample.

    Attributes:
        x: `(events, features)`.
        mass: Weights, adding up to one.
    """

    x: Float
    mass: Float

    @property
    def effective(self) -> float:
        """Effective number of events."""
        return float(1.0 / np.square(self.mass).sum())


@dataclass(frozen=True)
class Pair:
    """A numerator's events and the reference's, with log r of both.

    Attributes:
        name: Of the ratio.
        features: Names of the columns of x.
    """

    name: str
    features: tuple[str, ...]
    numerator: Events
    reference: Events
    log_numerator: Float
    log_reference: Float

    def overlap(self) -> tuple[Float, Float]:
        """Weights that give both the density p p_ref / (p + p_ref), if the ratio is right."""
        return (
            self.numerator.mass * _chance(-self.log_numerator),
            self.reference.mass * _chance(self.log_reference),
        )


def _chance(logit: Float) -> Float:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logit)))


def compare(
    left: Float, right: Float, left_mass: Float, right_mass: Float, bins: int = _BINS
) -> tuple[float, int]:
    """Chi squared between two weighted samples, and the number of bins it is the sum of.

    Bins of equal content are merged until each has the effective number of events `MIN_EVENTS` of
    both samples: a bin that one of them hardly enters has a spread that is not known, and a chi
    squared that means nothing. 0 bins: there are too few events to compare.
    """
    edges = quantile_edges(np.concatenate([left, right]), bins)
    first, second = np.searchsorted(edges, left), np.searchsorted(edges, right)
    size = len(edges) + 1
    content = np.stack([
        np.bincount(place, mass, size)
        for place, mass in ((first, np.abs(left_mass)), (second, np.abs(right_mass)))
    ])  # fmt: skip
    squares = np.stack([
        np.bincount(place, mass**2, size)
        for place, mass in ((first, left_mass), (second, right_mass))
    ])  # fmt: skip
    group = _merged(content, squares)
    if group is None:
        return 0.0, 0
    apart = np.bincount(first, left_mass, size) - np.bincount(second, right_mass, size)
    apart, spread = np.bincount(group, apart), np.bincount(group, squares.sum(axis=0))
    return float((apart**2 / spread).sum()), len(spread)


def _merged(content: npt.NDArray[Any], squares: npt.NDArray[Any]) -> npt.NDArray[np.intp] | None:
    """Which group of neighbours each bin belongs to; None: not even all together have enough.

    Args:
        content, squares: Sums of absolute weights and of their squares, ``(sample, bin)``.
    """
    groups, number = np.zeros(content.shape[1], np.intp), 0
    sums = np.zeros((2, 2))
    for place in range(content.shape[1]):
        groups[place] = number
        sums += np.stack([content[:, place], squares[:, place]])
        if (sums[0] ** 2 >= MIN_EVENTS * sums[1]).all() and (sums[1] > 0.0).all():
            number, sums = number + 1, np.zeros((2, 2))
    if number == 0:
        return None
    return np.minimum(groups, number - 1)  # what is left over joins the last group


def quantile_edges(values: Float, bins: int) -> Float:
    """Inner edges of bins of equal content; fewer where values repeat."""
    inner = np.quantile(values, np.linspace(0.0, 1.0, bins + 1)[1:-1])
    return np.unique(inner)


def survival(chi2: float, bins: int) -> float:
    """The probability of a larger chi squared."""
    stats = optional_import("scipy.stats", feature="diagnose", extra="sbi")
    return float(stats.chi2.sf(chi2, bins))


def calibration(pair: Pair) -> tuple[list[Check], dict[str, Any]]:
    """Does the classifier r / (1 + r) mean the fraction that it says?"""
    up, down = pair.overlap()
    chi2, bins = compare(pair.log_numerator, pair.log_reference, up, down)
    edges = quantile_edges(np.concatenate([pair.log_numerator, pair.log_reference]), _BINS)
    curve = _calibration_curve(pair, edges)
    check = _chi2_check(
        "calibration", pair.name, chi2, bins,
        "the ratio is not calibrated: train with more events or steps, or calibration='always'",
    )  # fmt: skip
    worst = np.abs(curve["pull"]).max(initial=0.0)
    return [
        check,
        _slope(pair),
        Check("calibration", pair.name, "largest deviation in sigma", float(worst), None, None),
    ], curve


def _slope(pair: Pair) -> Check:
    """The identity with g = log r less its mean: sees a log r that is too steep or too flat."""
    masses = pair.overlap()
    own = pair.numerator.mass, pair.reference.mass
    logs = pair.log_numerator, pair.log_reference
    what = "sigma of the slope in log r"
    if min(map(effective_events, masses)) < MIN_EVENTS:
        return Check("calibration", pair.name, what, math.nan, remark=_TOO_FEW, tested=False)
    middle = sum(float(m @ v) for m, v in zip(masses, logs, strict=True)) / float(
        masses[0].sum() + masses[1].sum()
    )
    parts = [m * (v - middle) for m, v in zip(masses, logs, strict=True)]
    variance = sum(_variance_of_sum(part, mass) for part, mass in zip(parts, own, strict=True))
    pull = float(parts[0].sum() - parts[1].sum()) / math.sqrt(max(variance, 1e-300))
    probability = math.erfc(abs(pull) / math.sqrt(2.0))
    return Check(
        "calibration", pair.name, what, pull, 1.0, 0.0, probability, probability > SUSPECT,
        "log r is too steep or too flat: train with more events, or calibration='always'",
    )  # fmt: skip


def _chi2_check(topic: str, subject: str, chi2: float, bins: int, remark: str) -> Check:
    """The verdict on a chi squared of bins; without a bin there is none."""
    if bins == 0:
        return Check(topic, subject, "chi2", math.nan, remark=_TOO_FEW, tested=False)
    probability = survival(chi2, bins)
    return Check(
        topic, subject, f"chi2 of {bins} bins", chi2, None, float(bins), probability,
        probability > SUSPECT, remark,
    )  # fmt: skip


def _calibration_curve(pair: Pair, edges: Float) -> dict[str, Any]:
    size = len(edges) + 1
    places = [np.searchsorted(edges, v) for v in (pair.log_numerator, pair.log_reference)]
    masses = [pair.numerator.mass, pair.reference.mass]
    content = [np.bincount(p, m, size) for p, m in zip(places, masses, strict=True)]
    square = [np.bincount(p, m * m, size) for p, m in zip(places, masses, strict=True)]
    guess = [
        np.bincount(p, m * _chance(v), size)
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


def closure(pair: Pair) -> tuple[list[Check], dict[str, Any]]:
    """Does the reference, reweighted by r, look like the numerator, feature by feature?"""
    up, down = pair.overlap()
    checks, panels = [], {}
    for j, feature in enumerate(pair.features):
        left, right = pair.numerator.x[:, j], pair.reference.x[:, j]
        chi2, bins = compare(left, right, up, down)
        remark = "reweighted by the ratio, the reference does not look like the sample"
        checks.append(_chi2_check("closure", f"{pair.name}: {feature}", chi2, bins, remark))
        panels[feature] = _panel(pair, left, right)
    return checks, panels


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


def second_classifier(pair: Pair, *, seed: int) -> tuple[list[Check], dict[str, Any]]:
    """Can boosted trees tell the reweighted reference from the numerator?

    They learn with the absolute values of the weights on one half and are judged with the signed
    ones on the other; the area under the curve is 0.5 whatever they learned, if the ratio is
    right.
    """
    ensemble = optional_import("sklearn.ensemble", feature="diagnose", extra="sbi")
    up, down = pair.overlap()
    if min(effective_events(up), effective_events(down)) < 4 * MIN_EVENTS:
        what = "AUC of a second classifier"
        return [Check("closure", pair.name, what, math.nan, remark=_TOO_FEW, tested=False)], {}
    x = np.concatenate([pair.numerator.x, pair.reference.x])
    y = np.repeat([1, 0], [len(up), len(down)])
    mass = np.concatenate([up / up.sum(), down / down.sum()])
    scores = np.empty(len(y))
    half = np.random.default_rng(seed).permutation(len(y)) % 2
    for side in (0, 1):
        train, test = half == side, half != side
        trees = ensemble.HistGradientBoostingClassifier(
            max_iter=60, learning_rate=0.1, max_leaf_nodes=15, random_state=seed
        )
        weight = np.abs(mass[train])
        trees.fit(x[train], y[train], sample_weight=weight / weight.mean())
        scores[test] = trees.predict_proba(x[test])[:, 1]
    areas, errors = [], []
    for side in (0, 1):
        test = half != side
        area, error = area_under_curve(scores[test], y[test], mass[test])
        areas.append(area)
        errors.append(error)
    area, error = float(np.mean(areas)), math.sqrt(sum(e * e for e in errors)) / 2
    probability = math.erfc(abs(area - 0.5) / error / math.sqrt(2.0))
    check = Check(
        "closure", pair.name, "AUC of a second classifier", area, error, 0.5, probability,
        probability > SUSPECT, "boosted trees see what the network has not learned",
    )  # fmt: skip
    return [check], {}


def area_under_curve(
    scores: Float, labels: npt.NDArray[np.integer], mass: Float
) -> tuple[float, float]:
    """Weighted area under the ROC curve, ties counted half, and its error where it is 1/2.

    >>> area_under_curve(np.array([0.1, 0.4, 0.4, 0.9]), np.array([0, 0, 1, 1]), np.ones(4))[0]
    0.875
    """
    order = np.argsort(scores, kind="stable")
    _, group = np.unique(scores[order], return_inverse=True)
    size = int(group[-1]) + 1
    ones = labels[order] == 1
    up = np.bincount(group[ones], mass[order][ones], size)
    down = np.bincount(group[~ones], mass[order][~ones], size)
    below = np.cumsum(down) - down
    area = float((up * (below + 0.5 * down)).sum() / (up.sum() * down.sum()))
    worth = [
        float(np.square(m).sum() / m.sum() ** 2) for m in (mass[labels == 1], mass[labels == 0])
    ]
    return area, math.sqrt(sum(worth) / 12.0)


def normalisation(pair: Pair) -> tuple[list[Check], dict[str, Any]]:
    """E_ref[r] is 1; tested by ``E_p[1 - s] = E_ref[s]``, whose error has no unseen tail.

    The error of E_ref[r] itself, as the events show it, lacks the events that were not drawn and
    would have had the largest r: that number is shown without a verdict.
    """
    up, down = pair.overlap()
    sums = [(mass.sum(), _variance_of_sum(mass, own.mass)) for mass, own in
            ((up, pair.numerator), (down, pair.reference))]  # fmt: skip
    value = float(sums[1][0] / sums[0][0])
    error = value * math.sqrt(sum(variance / total**2 for total, variance in sums))
    tested = min(effective_events(up), effective_events(down)) >= MIN_EVENTS
    ratio = np.exp(pair.log_reference)
    mean = float(pair.reference.mass @ ratio)
    spread = float(np.sqrt(np.square(pair.reference.mass) @ np.square(ratio - mean)))
    shown = Check("normalisation", pair.name, "E_ref[r]", mean, spread, 1.0)
    if not tested:
        what = "E_ref[s] / E_p[1 - s]"
        missing = Check(
            "normalisation", pair.name, what, value, error, 1.0, remark=_TOO_FEW, tested=False
        )
        return [missing, shown], {}
    probability = math.erfc(abs(value - 1.0) / max(error, 1e-300) / math.sqrt(2.0))
    check = Check(
        "normalisation", pair.name, "E_ref[s] / E_p[1 - s]", value, error, 1.0, probability,
        probability > SUSPECT, "see Ratios.renormalised, and the tails of this ratio",
    )  # fmt: skip
    return [check, shown], {}


def _variance_of_sum(values: Float, mass: Float) -> float:
    """Of ``sum mass g``, given ``values = mass g`` and masses that add up to one."""
    total = values.sum()
    return float(np.square(values - mass * total).sum())


def tails(pair: Pair) -> tuple[list[Check], dict[str, Any]]:
    """How few events of the reference carry the reweighted sample."""
    weighted = pair.reference.mass * np.exp(pair.log_reference)
    effective = effective_events(weighted)
    share = float(np.abs(weighted).max() / abs(weighted.sum()))
    low, high = np.quantile(pair.log_reference, [0.001, 0.999])
    fraction = effective / pair.reference.effective
    enough = effective > _MIN_TAIL
    remark = "few events of the reference look like this sample: choose a reference nearer to it"
    checks = [
        Check(
            "tails",
            pair.name,
            "effective events",
            effective,
            ok=True if enough else None,
            remark=remark,
            tested=enough,
        ),
        Check("tails", pair.name, "fraction of the reference's", fraction),
        Check("tails", pair.name, "largest share of one event", share),
        Check("tails", pair.name, "log r, quantile 0.001", float(low)),
        Check("tails", pair.name, "log r, quantile 0.999", float(high)),
    ]
    both = np.concatenate([pair.log_numerator, pair.log_reference])
    low, high = (float(end) for end in np.quantile(both, [0.0005, 0.9995]))
    wide = high > low
    edges = np.linspace(low if wide else low - 0.5, high if wide else high + 0.5, 61)
    return checks, {
        "edges": edges,
        "sample": np.histogram(pair.log_numerator, edges, weights=pair.numerator.mass)[0],
        "reference": np.histogram(pair.log_reference, edges, weights=pair.reference.mass)[0],
    }


def norm_of_alpha(
    name: str, nuisance: str, mass: Float, nominal: Float, up: Float, down: Float
) -> tuple[list[Check], dict[str, Any]]:
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
    checks = []
    for alpha in (1.0, -1.0):
        k = int(np.argmin(np.abs(grid - alpha)))
        chance = math.erfc(abs(z[k] - 1.0) / max(error[k], 1e-300) / math.sqrt(2.0))
        checks.append(
            Check(
                "normalisation", subject, f"Z({alpha:+.0f}) / Z(0)", float(z[k]), float(error[k]),
                1.0, chance, chance > SUSPECT, "the variations have other norms than the nominal",
            )
        )  # fmt: skip
    inside = np.abs(grid) <= 2.0
    high = float(np.abs(np.log(z[inside])).max())
    what = "largest |log Z| for |alpha| <= 2"
    checks.append(Check("normalisation", subject, what, high, float(error[inside].max())))
    return checks, {"alpha": grid, "z": z, "error": error}


def all_checks(
    pair: Pair, *, classifier: bool, seed: int
) -> Sequence[tuple[str, list[Check], dict[str, Any]]]:
    """Every check of one ratio: topic, numbers, what the picture shows."""
    found = [
        ("calibration", *calibration(pair)),
        ("closure", *closure(pair)),
        ("normalisation", *normalisation(pair)),
        ("tails", *tails(pair)),
    ]
    if classifier:
        found.insert(2, ("classifier", *second_classifier(pair, seed=seed)))
    return found
