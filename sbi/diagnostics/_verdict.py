"""Verdicts: what failed, what passed, and what could not have seen an error that matters.

A report raises a false alarm with at most the probability `FALSE_ALARMS`, however many checks it
has: their thresholds add up to it (Bonferroni). Each `Kind` of check has a share, most of it for
the commonest error of a network, a log r that is too flat or too steep: the samples hardly know
more of it than its threshold takes (docs/measured.md). Within a kind the variations of nuisances
have a quarter together, so that many of them do not hide what is wrong with a process.

With a fit, a check also knows the smallest bias that it sees with the probability `POWER`: chi
squared of f degrees of freedom needs the noncentrality L with ``P(chi2(f, L) > threshold) =
POWER``, so a distance of sqrt(L) standard deviations, and `IdentityTest.bias_per_deviation` says
what bias that may be.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, TypeAlias

from rootml._internal.optional import optional_import
from rootml.sbi.diagnostics._report import Check

Kind: TypeAlias = Literal["slope", "width", "curvature", "fit", "other"]
FALSE_ALARMS = 0.055
"""Probability that a report of right ratios has a check that failed, at most."""
SHARES: dict[Kind, float] = {
    "slope": 0.63, "width": 0.26, "curvature": 0.04, "other": 0.07, "fit": 0.25,
}  # fmt: skip
"""How false alarms are shared out among the kinds of check that a report has."""
_OF_VARIATIONS = 0.25
POWER = 0.9
"""Probability by which a check sees the smallest bias that it is said to see."""
MAX_BIAS = 0.5
"""A check that does not see a bias of so many sigma of the fit has not tested."""


@dataclass(frozen=True)
class Finding:
    """A number before its verdict.

    Attributes:
        check: The number, with its probability if it is a test.
        freedom: Degrees of freedom of the test; 0: it is none.
        bias_per_deviation: Largest bias of the fit, in sigma, by an error that moves the number by
            one standard deviation; None: not known.
        smallest_seen: From the threshold of the probability to the smallest bias seen, where it
            is found in another way.
        coarse: What to say if that is too large, with ``{seen}``; empty: that of a bias.
        kind: Whose share of the false alarms the check takes.
        variation: Whether it is one of a nuisance at +-1.
    """

    check: Check
    freedom: int = 0
    bias_per_deviation: float | None = None
    smallest_seen: Callable[[float], float] | None = None
    coarse: str = ""
    kind: Kind = "other"
    variation: bool = False

    @property
    def is_test(self) -> bool:
        """Whether it has a probability that a threshold is held against."""
        return self.check.probability is not None and self.check.tested


def judge(findings: Sequence[Finding]) -> list[Check]:
    """The checks with their verdicts."""
    limits = thresholds(findings)
    return [_judged(f, limits.get((f.kind, f.variation), 0.0)) for f in findings]


def thresholds(findings: Sequence[Finding]) -> dict[tuple[Kind, bool], float]:
    """The probability below which a check fails, by kind, and whether it is of a variation.

    >>> check = Check("calibration", "S", "chi2", 1.0, probability=0.5)
    >>> limits = thresholds([Finding(check, kind="slope"), *[Finding(check)] * 5])
    >>> {kind: round(limit, 4) for (kind, _), limit in limits.items()}
    {'slope': 0.0495, 'other': 0.0011}
    """
    counts = Counter((f.kind, f.variation) for f in findings if f.is_test)
    whole = sum(SHARES[kind] for kind in {kind for kind, _ in counts})
    return {
        (kind, variation): FALSE_ALARMS * SHARES[kind] / whole
        * _part(variation, (kind, not variation) in counts) / count
        for (kind, variation), count in counts.items()
    }  # fmt: skip


def _part(variation: bool, both: bool) -> float:
    """Of a kind's share, for variations or for the rest, if the kind has both."""
    if not both:
        return 1.0
    return _OF_VARIATIONS if variation else 1.0 - _OF_VARIATIONS


def _judged(finding: Finding, threshold: float) -> Check:
    check = finding.check
    probability = check.probability
    if probability is None or not check.tested:
        return check
    seen = None if finding.smallest_seen is None else finding.smallest_seen(threshold)
    if finding.bias_per_deviation is not None:
        seen = deviations_seen(threshold, finding.freedom) * finding.bias_per_deviation
    check = replace(check, threshold=threshold, sees=seen)
    if probability <= threshold:
        return replace(check, ok=False)
    if seen is None or seen <= MAX_BIAS:
        return replace(check, ok=True, remark="")
    return replace(check, ok=None, tested=False, remark=_too_coarse(seen, finding.coarse))


def _too_coarse(seen: float, text: str) -> str:
    if text:
        return text.format(seen=seen)
    if not math.isfinite(seen):
        return f"no error was found that would move the fit by {MAX_BIAS:g} sigma and be seen"
    return (
        f"a bias of the fit is seen from {seen:.2g} sigma on: {MAX_BIAS:g} sigma would need about "
        f"{(seen / MAX_BIAS) ** 2:,.0f} times the held-out events"
    )


@cache
def deviations_seen(threshold: float, freedom: int, power: float = POWER) -> float:
    """Standard deviations by which a chi squared test must be off to be seen.

    >>> round(deviations_seen(0.05, 1), 2)          # 1.96 + 1.28
    3.24
    """
    stats = optional_import("scipy.stats", feature="diagnose", extra="sbi")
    optimize = optional_import("scipy.optimize", feature="diagnose", extra="sbi")
    cut = float(stats.chi2.isf(threshold, freedom))
    high = 4.0 * (cut + 10.0)
    found = optimize.brentq(lambda x: stats.ncx2.sf(cut, freedom, x) - power, 1e-6, high)
    return math.sqrt(found)
