"""Width of every feature: what another resolution than that of the training changes first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rootml._internal.optional import optional_import
from rootml._internal.types import Float
from rootml.sbi.diagnostics._fit_response import FitResponse
from rootml.sbi.diagnostics._identity import IdentityTest, identity_test
from rootml.sbi.diagnostics._pairs import MIN_EVENTS, Directions, Pair
from rootml.sbi.diagnostics._products import overlap_rank
from rootml.sbi.diagnostics._report import Check
from rootml.sbi.diagnostics._score_checks import bias_of, less_line, probability_of, untested
from rootml.sbi.diagnostics._verdict import Finding, deviations_seen

_FARTHEST = 3.0
"""Where normal scores end: so the squares of a few events do not carry the test."""


def widths(pair: Pair, response: FitResponse | None) -> list[Finding]:
    """Does the width of every feature agree after reweighting? The worst feature counts.

    One degree of freedom per feature, the square of its normal score, sees a wrong resolution that
    a chi squared of many bins does not. The probability is that of the worst feature, times the
    number of features. Nothing, if no feature has three values.
    """
    what = "chi2 of the width"
    if pair.effective_overlap < 2 * MIN_EVENTS:
        return [untested("closure", pair.name, what, "width")]
    tests = [
        identity_test(pair, squared_score(pair, j), centred=True)
        for j in range(len(pair.features))
    ]
    used = {f: test for f, test in zip(pair.features, tests, strict=True) if test.rank}
    if not used:
        return []
    chances = {feature: probability_of(test) for feature, test in used.items()}
    worst = min(chances, key=lambda feature: chances[feature])
    check = Check(
        "closure", f"{pair.name}: {worst}",
        what if len(used) == 1 else f"{what}, worst of {len(used)}",
        used[worst].chi2, None, 1.0, min(1.0, len(used) * chances[worst]),
        remark="the width of this feature is not learned, or is another one",
    )  # fmt: skip
    seen = None if response is None else _seen(pair, list(used.values()), response)
    return [Finding(check, smallest_seen=seen, kind="width")]


def _seen(
    pair: Pair, tests: list[IdentityTest], response: FitResponse
) -> Callable[[float], float]:  # fmt: skip
    """From the threshold to the smallest bias that is seen, whatever feature it is of."""
    bias = max(bias_of(pair, test, response) or 0.0 for test in tests)
    return lambda limit: deviations_seen(limit / len(tests), 1) * bias


def squared_score(pair: Pair, feature: int) -> Directions:
    """The square of a feature's normal score, less its straight line in the score.

    The score is that of its rank where the densities overlap. Without the line, a shift of the
    feature, which the slope of log r and the closure see, is no part of the width.
    """
    stats = optional_import("scipy.stats", feature="diagnose", extra="sbi")
    rank = overlap_rank(pair, feature)

    def score(x: Float) -> Float:
        level = 0.5 * (1.0 + rank(x[:, feature]))
        return np.asarray(np.clip(stats.norm.ppf(level), -_FARTHEST, _FARTHEST))

    both = np.concatenate([score(pair.numerator.x), score(pair.reference.x)])
    square = less_line(both, np.square(both), np.abs(np.concatenate(pair.overlap())))
    if square is None:
        return lambda x, log_ratio: np.zeros((len(x), 1))  # noqa: ARG005
    constant, slope = square

    def function(x: Float, log_ratio: Float) -> Float:  # noqa: ARG001 - one of `Directions`
        found = score(x)
        return np.asarray(np.square(found) - constant - slope * found)[:, None]

    return function
