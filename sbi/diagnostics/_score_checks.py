"""What checks that are score tests share: the probability, and how large a bias they would see."""

from __future__ import annotations

import math

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.diagnostics._binned import survival_hotelling
from rootml.sbi.diagnostics._fit_response import FitResponse
from rootml.sbi.diagnostics._identity import IdentityTest
from rootml.sbi.diagnostics._pairs import TOO_FEW, Pair
from rootml.sbi.diagnostics._report import Check
from rootml.sbi.diagnostics._verdict import Finding, Kind

CONSTANT = 1e-9
"""Below that, differences are rounding."""


def untested(topic: str, subject: str, what: str, kind: Kind = "other") -> Finding:
    """A check for which there are too few events."""
    return Finding(
        Check(topic, subject, what, math.nan, remark=TOO_FEW, tested=False), kind=kind
    )  # fmt: skip


def probability_of(test: IdentityTest) -> float:
    """How often a right ratio gives a chi squared as large."""
    if test.rank == 0:  # nothing fluctuates: both sides are equal, or the ratio is wrong
        return float(np.abs(test.apart).max(initial=0.0) < CONSTANT)
    return survival_hotelling(test.chi2, test.rank, test.effective)


def bias_of(pair: Pair, test: IdentityTest, response: FitResponse | None) -> float | None:
    """Largest bias of any parameter of interest per standard deviation of a test."""
    if response is None:
        return None
    biases = response.biases(pair.name, test.directions)
    return max((test.bias_per_deviation(each) for each in biases.T), default=0.0)


def less_line(x: Float, y: Float, weights: Float) -> tuple[float, float] | None:
    """Constant and slope of the straight line in y(x); None: there is nothing else in y.

    >>> x = np.array([-1.0, 0.0, 1.0])
    >>> [round(c, 9) for c in less_line(x, x**2 + 3.0 * x, np.ones(3))]
    [0.666666667, 3.0]
    >>> less_line(x, 2.0 - x, np.ones(3)) is None
    True
    """
    root = np.sqrt(weights)
    line = np.stack([np.ones(len(x)), x], axis=1)
    fitted = np.linalg.lstsq(root[:, None] * line, root * y, rcond=None)[0]
    if np.abs(root * (y - line @ fitted)).max() <= CONSTANT * np.abs(root * y).max():
        return None
    return float(fitted[0]), float(fitted[1])
