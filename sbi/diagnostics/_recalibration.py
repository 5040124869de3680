"""Logistic recalibration: which function of log r would be the right log r?

``log r -> log r + a + b log r + c (log r)^2``: all three coefficients are 0 for a right ratio. The
check of the norm tests a, the slope of log r is 1 + b, its curvature c. Each is a score test, with
one step of Newton's method for the value and sandwich errors (`_identity`); among the tests of
samples whose densities are not known, none sees such an error more often (Neyman and Pearson).
"""

from __future__ import annotations

import math

import numpy as np

from rootml._internal.statistics import weighted_quantiles
from rootml._internal.types import Float
from rootml.sbi.diagnostics._fit_response import FitResponse
from rootml.sbi.diagnostics._identity import identity_test
from rootml.sbi.diagnostics._pairs import MIN_EVENTS, Directions, Pair
from rootml.sbi.diagnostics._report import Check
from rootml.sbi.diagnostics._score_checks import (
    CONSTANT,
    bias_of,
    less_line,
    probability_of,
    untested,
)
from rootml.sbi.diagnostics._verdict import Finding, Kind

_EDGE = 0.005
_SLOPES = "log r is too flat", "log r is too steep"
_CURVATURES = (
    "log r is too small at both its ends, or too large between",
    "log r is too large at both its ends, or too small between",
)


def slope_check(
    pair: Pair,
    response: FitResponse | None,
    *,
    topic: str = "calibration",
    what: str = "slope of log r",
    remarks: tuple[str, str] = _SLOPES,
) -> Finding:
    """Is log r too steep or too flat? The number is the factor of log r that would be right.

    A log r that is the same for all events, as that of a dropped shape, has no slope: it is shown
    itself.

    Args:
        remarks: For a number above 1, and below.
    """
    if pair.effective_overlap < MIN_EVENTS:
        return untested(topic, pair.name, what, "slope")
    both = np.concatenate([pair.log_numerator, pair.log_reference])
    if np.ptp(both) < CONSTANT:
        return Finding(Check(topic, pair.name, "log r of all events", float(both[0])))

    def log_ratio_itself(x: Float, log_ratio: Float) -> Float:  # noqa: ARG001
        return log_ratio[:, None]

    check = Check(topic, pair.name, what, 1.0, expected=1.0)
    return _coefficient(pair, log_ratio_itself, check, remarks, "slope", response)


def curvature_check(pair: Pair, response: FitResponse | None) -> list[Finding]:
    """Does log r bend? The number is what (log r)^2 times it would have to be added.

    Nothing, where log r has two values at most: a straight line goes through them.
    """
    what = "curvature of log r"
    if pair.effective_overlap < MIN_EVENTS:
        return [untested("calibration", pair.name, what, "curvature")]
    if (bend := _bend(pair)) is None:
        return []
    check = Check("calibration", pair.name, what, 0.0, expected=0.0)
    return [_coefficient(pair, bend, check, _CURVATURES, "curvature", response)]


def _coefficient(
    pair: Pair, direction: Directions, check: Check, remarks: tuple[str, str], kind: Kind,
    response: FitResponse | None,
) -> Finding:  # fmt: skip
    """The coefficient of one function of log r that should be 0, added to the check's value."""
    test = identity_test(pair, direction, centred=True)
    information = max(float(test.response[0, 0]), 1e-300)
    off = float(test.apart[0]) / information
    found = Check(
        check.topic, check.subject, check.what, check.value + off,
        math.sqrt(float(test.covariance[0, 0])) / information, check.expected,
        probability_of(test), remark=remarks[0] if off > 0.0 else remarks[1],
    )  # fmt: skip
    return Finding(found, 1, bias_of(pair, test, response), kind=kind)


def _bend(pair: Pair) -> Directions | None:
    """(log r)^2 less its straight line, by least squares where the densities overlap.

    So the slope of log r, which has a check of its own, does not enter. Beyond the quantiles
    0.005 and 0.995 of the overlap it does not rise: so a few events do not carry the test.
    """
    logs = np.concatenate([pair.log_numerator, pair.log_reference])
    weights = np.abs(np.concatenate(pair.overlap()))
    levels = np.array([_EDGE, 0.5, 1.0 - _EDGE])
    low, middle, high = weighted_quantiles(logs, levels, weights)
    away = np.clip(logs, low, high) - middle
    line = less_line(away, np.square(away), weights)
    if line is None:
        return None
    constant, slope = line

    def bend(x: Float, log_ratio: Float) -> Float:  # noqa: ARG001 - one of `Directions`
        away = np.clip(log_ratio, low, high) - middle
        return np.asarray(away**2 - constant - slope * away)[:, None]

    return bend
