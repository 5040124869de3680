"""Mean and width of every feature: what a wrong scale or a wrong resolution changes first."""

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
from rootml.sbi.diagnostics._score_checks import bias_of, probability_of, untested
from rootml.sbi.diagnostics._verdict import Finding, deviations_seen

_FARTHEST = 3.0
"""Where normal scores end: so the squares of a few events do not carry the test."""


def moments(pair: Pair, response: FitResponse | None) -> list[Finding]:
    """Do mean and width of every feature agree after reweighting? The worst feature counts.

    A test of two degrees of freedom per feature, its normal score and that squared, sees smooth
    errors that a chi squared of many bins does not. The probability is that of the worst feature,
    times the number of features. Nothing, if no feature has two values.
    """
    what = "chi2 of mean and width"
    if pair.effective_overlap < 2 * MIN_EVENTS:
        return [untested("closure", pair.name, what, "moments")]
    tests = [
        identity_test(pair, normal_scores(pair, j), centred=True)
        for j in range(len(pair.features))
    ]
    used = {f: test for f, test in zip(pair.features, tests, strict=True) if test.rank}
    if not used:
        return []
    chances = {feature: probability_of(test) for feature, test in used.items()}
    worst = min(chances, key=lambda feature: chances[feature])
    subject = f"{pair.name}: {worst}"
    check = Check(
        "closure", subject, what if len(used) == 1 else f"{what}, worst of {len(used)}",
        used[worst].chi2, None, float(used[worst].rank), min(1.0, len(used) * chances[worst]),
        remark="mean or width of this feature is not learned",
    )  # fmt: skip
    seen = None if response is None else _seen(pair, list(used.values()), response)
    return [Finding(check, smallest_seen=seen, kind="moments")]


def _seen(
    pair: Pair, tests: list[IdentityTest], response: FitResponse
) -> Callable[[float], float]:  # fmt: skip
    """From the threshold to the smallest bias that is seen, whatever feature it is of."""
    biases = [(test.rank, bias_of(pair, test, response) or 0.0) for test in tests]
    return lambda limit: max(
        deviations_seen(limit / len(tests), rank) * bias for rank, bias in biases
    )


def normal_scores(pair: Pair, feature: int) -> Directions:
    """The normal score of a feature's rank where the densities overlap, and its square."""
    stats = optional_import("scipy.stats", feature="diagnose", extra="sbi")
    rank = overlap_rank(pair, feature)

    def functions(x: Float, log_ratio: Float) -> Float:  # noqa: ARG001 - one of `Directions`
        level = 0.5 * (1.0 + rank(x[:, feature]))
        score = np.clip(stats.norm.ppf(level), -_FARTHEST, _FARTHEST)
        return np.stack([score, np.square(score)], axis=1)

    return functions
