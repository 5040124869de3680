"""A second classifier: can boosted trees tell the reweighted reference from the numerator?"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rootml._internal.linear_algebra import openmp_for
from rootml._internal.optional import optional_import
from rootml._internal.types import Float
from rootml.sbi.diagnostics._binned import BINS, one_hot, quantile_edges
from rootml.sbi.diagnostics._fit_response import FitResponse
from rootml.sbi.diagnostics._identity import identity_test
from rootml.sbi.diagnostics._pairs import MIN_EVENTS, TOO_FEW, Directions, Pair
from rootml.sbi.diagnostics._report import Check
from rootml.sbi.diagnostics._verdict import MAX_BIAS, Finding, deviations_seen

_DOUBLINGS = 5


def second_classifier(pair: Pair, seed: int, response: FitResponse | None) -> Finding:
    """Train on one half of the held-out events, judge on the other, and the other way round.

    The trees learn with the absolute values of the weights and are judged with the signed ones;
    the area under the curve is 0.5 whatever they learned, if the ratio is right.
    """
    what = "AUC of a second classifier"
    if pair.effective_overlap < 4 * MIN_EVENTS:
        return Finding(Check("closure", pair.name, what, math.nan, remark=TOO_FEW, tested=False))
    area, error = _area(pair, seed)
    probability = math.erfc(abs(area - 0.5) / error / math.sqrt(2.0))
    check = Check(
        "closure", pair.name, what, area, error, 0.5, probability,
        remark="boosted trees see what the network has not learned",
    )  # fmt: skip
    if response is None:
        return Finding(check)
    return Finding(check, smallest_seen=lambda limit: _smallest_seen(pair, seed, response, limit))


def _smallest_seen(pair: Pair, seed: int, response: FitResponse, threshold: float) -> float:
    """Smallest bias of some that the trees see when its error is injected; in sigma of the fit.

    The error is, of all functions of log r, the one that is hardest to see for its bias. It is
    added to log r and the trees are trained again, for a bias of `MAX_BIAS`, twice that, and so
    on; no training is needed where no test could see it.
    """
    edges = quantile_edges(np.concatenate([pair.log_numerator, pair.log_reference]), BINS)

    def bins(x: Float, log_ratio: Float) -> Float:  # noqa: ARG001 - one of `Directions`
        return one_hot(log_ratio, edges)

    test = identity_test(pair, bins, centred=False)
    biases = response.biases(pair.name, bins).T
    per_deviation, bias = max(
        ((test.bias_per_deviation(each), each) for each in biases), key=lambda pair: pair[0]
    )
    if per_deviation == 0.0:
        return 0.0
    deviations = deviations_seen(threshold, 1)
    error = test.hardest(bias) / per_deviation**2  # of bias 1
    for size in MAX_BIAS * 2.0 ** np.arange(_DOUBLINGS):
        if size >= deviations * per_deviation:
            area, spread = _area(_shifted(pair, bins, size * error), seed)
            if abs(area - 0.5) >= deviations * spread:
                return float(size)
    return math.inf


def _shifted(pair: Pair, functions: Directions, sizes: Float) -> Pair:
    """The pair with an error added to log r."""
    errors = [values @ sizes for values in pair.values(functions)]
    return replace(
        pair, log_numerator=pair.log_numerator + errors[0],
        log_reference=pair.log_reference + errors[1],
    )  # fmt: skip


def _area(pair: Pair, seed: int) -> tuple[float, float]:
    """Area under the curve and its error, the mean of both halves.

    For a right ratio both areas are the same product of the fluctuations of the two halves, so
    their mean has the error of one.
    """
    ensemble = optional_import("sklearn.ensemble", feature="diagnose", extra="sbi")
    up, down = pair.overlap()
    x = np.concatenate([pair.numerator.x, pair.reference.x])
    y = np.repeat([1, 0], [len(up), len(down)])
    mass = np.concatenate([up / up.sum(), down / down.sum()])
    half = np.random.default_rng(seed).permutation(len(y)) % 2
    areas, errors = [], []
    for side in (0, 1):
        train, test = half == side, half != side
        trees = ensemble.HistGradientBoostingClassifier(
            max_iter=60, learning_rate=0.1, max_leaf_nodes=15, random_state=seed
        )
        weight = np.abs(mass[train])
        with openmp_for(len(y), feature="diagnose"):
            trees.fit(x[train], y[train], sample_weight=weight / weight.mean())
            scores = trees.predict_proba(x[test])[:, 1]
        area, error = area_under_curve(scores, y[test], mass[test])
        areas.append(area)
        errors.append(error)
    return float(np.mean(areas)), float(np.mean(errors))


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
