"""Fast waves: what changes many times within the range of an input, and networks do not learn.

The difference of two histograms in fine bins of an input, relative to what is expected there, is
compared with cosine and sine of each number of periods within the range of the input::

    t = sum_b u_b d_b (cos, sin)(omega v_b),   u_b = expected_b / variance_b,   chi2 = t' C^-1 t
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rootml._internal.types import Float, Float32

BINS = 192
SLOWEST, FASTEST = 4.0, 48.0
"""Periods within the range of an input; slower ones show in wide bins, networks learn them."""
PERIODS = np.arange(SLOWEST, FASTEST + 0.25, 0.5)
_FEWEST = 16
"""Bins below which there is no test."""


@dataclass(frozen=True)
class Wave:
    """The clearest wave.

    Attributes:
        chi2: Of two degrees of freedom.
        periods: Within the range of the input.
        length: Of a period, in units of the input.
        size: RMS of the relative deviation.
    """

    chi2: float
    periods: float
    length: float
    size: float


NO_WAVE = Wave(0.0, 0.0, 0.0, 0.0)


def middles(edges: Float32) -> tuple[Float, float]:
    """Middles of bins, `(bins,)`, as parts of the range of an input, and this range.

    The range is that of all but 5 % of the events.

    >>> middles(np.linspace(0.0, 2.0, 5, dtype=np.float32))
    (array([0.   , 0.125, 0.375, 0.625, 0.875, 1.   ]), 2.0)
    """
    value = np.concatenate([edges[:1], 0.5 * (edges[1:] + edges[:-1]), edges[-1:]]).astype(float)
    low, high = np.quantile(edges, [0.02, 0.98]) if len(edges) > _FEWEST else edges[[0, -1]]
    span = max(float(high - low), float(np.finfo(np.float32).tiny))
    return np.asarray((value - float(low)) / span), span


def clearest_wave(
    apart: Float, variance: Float, expected: Float, places: Float, span: float
) -> Wave:
    """The wave with the largest chi2.

    Args:
        apart: Difference of two normalised histograms, `(bins,)`.
        variance: Its variance.
        expected: What is expected in the bins.
        places, span: `middles` of the bins.
    """
    if len(apart) < _FEWEST:
        return NO_WAVE
    weight = expected / variance
    phase = 2.0 * np.pi * PERIODS[:, None] * places
    both = np.stack([np.cos(phase), np.sin(phase)], axis=1)  # (periods, 2, bins)
    t = both @ (weight * apart)
    covariance = np.einsum("pib,b,pjb->pij", both, weight**2 * variance, both, optimize=True)
    solved = np.linalg.solve(covariance, t[:, :, None])[:, :, 0]
    chi2 = (t * solved).sum(axis=1)
    best = int(np.argmax(chi2))
    size = (chi2[best] / (weight * expected).sum()) ** 0.5
    periods = float(PERIODS[best])
    return Wave(float(chi2[best]), periods, span / periods, float(size))
