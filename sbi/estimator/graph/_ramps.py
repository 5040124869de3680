"""Ramps: further inputs, where densities change within a small part of an input's range.

Networks of inputs of width 1 are smooth. They hardly learn a step, such as an efficiency that
changes at a cut, or a narrow peak. There the networks get further inputs: ramps, which are -1
below `low` and 1 above `high` of an input. They are looked for in fine bins of each input::

    for each contrast (a process and the reference, up and down, both and the nominal sample):
        logistic regression between both sides in smooth functions of the input
        score test of every ramp that could be added;  add the best while it is significant

The test knows how many ramps it looks at: one is added by chance in `CHANCE` of all trainings.

Sources: ramps are the piecewise linear encoding of Y. Gorishniy, I. Rubachev, A. Babenko,
https://arxiv.org/abs/2203.05556, at places that the events decide on; the score test is that of
C. R. Rao, https://doi.org/10.1017/S0305004100023987.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from rootml._internal.types import Array, Float, Float32

CHANCE = 1e-3
BINS = 1024
_PER_BIN = 8
"""Events of the sample that decides on the bins, per bin."""
_NUMBERS = 2**22
"""Largest number of bins of all inputs and densities together."""
WIDTHS = (1, 16, 64, 256)
"""Widths of ramps that are looked at, in steps of 1/1024 of the events."""
MOST = 12
"""Ramps of an input."""
_SMOOTH = 2
"""Intervals of the smooth functions, in the rank of an input and in its value."""
_FEW = 16
_DISCRETE = 24
"""Number of bins below which an input is taken to have single values."""
_MIN_INFORMATION = 4.0
_ITERATIONS = 30
_LONGEST = 3.0
"""Largest change of a log ratio in an iteration."""
_SMALL = 1e-3
"""Part of the largest singular value below which a combination of functions is left out."""


@dataclass(frozen=True)
class Ramp:
    """A function of one input: -1 below `low`, 1 above `high`, linear between them.

    Attributes:
        column: Number of the input.
    """

    column: int
    low: float
    high: float


def ramp_values(x: Array, ramps: Sequence[Ramp]) -> Float32:
    """Values of ramps, `(events, ramps)`.

    >>> ramp_values(np.array([[0.0], [1.5], [3.0]]), [Ramp(0, 1.0, 2.0)])[:, 0].tolist()
    [-1.0, 0.0, 1.0]
    """
    low, high = ramp_ends(ramps)
    part = (x[:, [ramp.column for ramp in ramps]] - low) / (high - low)
    return np.asarray(2.0 * np.clip(part, 0.0, 1.0) - 1.0, np.float32)


def ramp_ends(ramps: Sequence[Ramp]) -> tuple[Float32, Float32]:
    """Lower and upper ends, each `(ramps,)`."""
    low, high = np.array([(ramp.low, ramp.high) for ramp in ramps], np.float32).T
    return low, high


class Histograms:
    """Weights of each density in fine bins of each input.

    Args:
        rows: Random events that decide on the bins, `(events, inputs)`.
        densities: Number of densities.
    """

    def __init__(self, rows: Float, densities: int) -> None:
        inputs = rows.shape[1]
        bins = min(BINS, len(rows) // _PER_BIN, _NUMBERS // (densities * inputs))
        places = np.linspace(0.0, 1.0, max(bins, 2) + 1)[1:-1]
        ordered = np.quantile(rows, places, axis=0, method="higher").astype(np.float32)
        self.edges = [np.unique(column) for column in ordered.T]
        self.bins = max(map(len, self.edges)) + 1
        self.sums, self.squares = np.zeros((2, densities, inputs, self.bins))

    def add(self, x: Array, label: Array, weights: Array | None) -> None:
        """Fill in events."""
        w = np.ones(len(x)) if weights is None else weights.astype(np.float64)
        densities, _, bins = self.sums.shape
        first = label.astype(np.int64) * bins
        for column, edges in enumerate(self.edges):
            cell = first + np.searchsorted(edges, x[:, column], side="right")
            for total, values in (self.sums, w), (self.squares, w * w):
                filled = np.bincount(cell, values, minlength=densities * bins)
                total[:, column] += filled.reshape(densities, bins)

    def side(self, densities: Sequence[int], column: int) -> tuple[Float, Float]:
        """Weights of densities, each as its effective events, and their squares, in bins."""
        both = []
        for k in densities:
            total, squares = self.sums[k, column], self.squares[k, column]
            scale = total.sum() / squares.sum()
            both.append((total * scale, squares * scale**2))
        count = 1 + len(self.edges[column])
        sums, variances = (np.sum(each, axis=0)[:count] for each in zip(*both, strict=True))
        return sums, variances

    def separation(self, contrasts: Sequence[Contrast]) -> Float:
        """How much each input alone tells of the contrasts: sums of chi2 in a few bins."""
        return np.array([
            sum(_separation(self.side(plus, column), self.side(minus, column))
                for plus, minus in contrasts)
            for column in range(len(self.edges))
        ])  # fmt: skip


Contrast: TypeAlias = "tuple[Sequence[int], Sequence[int]]"
"""Numbers of the densities on both sides of a comparison."""


def find_ramps(histograms: Histograms, contrasts: Sequence[Contrast]) -> tuple[Ramp, ...]:
    """The ramps that networks need to tell the sides of the contrasts from each other."""
    looks = len(contrasts) * sum(len(WIDTHS) * len(e) for e in histograms.edges)
    bar = 2.0 * np.log(max(looks, 1) / CHANCE)
    found: list[Ramp] = []
    for column, edges in enumerate(histograms.edges):
        if len(edges) < 2:
            continue
        smooth = _smooth_functions(edges)
        windows: list[tuple[int, int]] = []
        for plus, minus in contrasts:
            sides = histograms.side(plus, column), histograms.side(minus, column)
            _add_windows(windows, sides, smooth, bar)
        found += [_ramp(column, edges, *window) for window in sorted(windows)]
    return tuple(found)


def _separation(plus: tuple[Float, Float], minus: tuple[Float, Float]) -> float:
    """chi2 between the shapes of two histograms and their variances."""
    starts = np.unique(np.linspace(0, len(plus[0]), _FEW, endpoint=False).astype(int))
    (a, a2), (b, b2) = ([np.add.reduceat(v, starts) for v in side] for side in (plus, minus))
    apart = a / a.sum() - b / b.sum()
    variance = a2 / a.sum() ** 2 + b2 / b.sum() ** 2
    return float(np.divide(apart**2, variance, out=np.zeros(len(a)), where=variance > 0.0).sum())


def _ramp(column: int, edges: Float32, first: int, width: int) -> Ramp:
    """The ramp of the steps at `width` edges; a single one is a step at its edge."""
    high = float(edges[first + width - 1])
    if width > 1:
        return Ramp(column, float(edges[first]), high)
    before = float(edges[max(first - 1, 0)])
    least = 4.0 * float(np.spacing(np.float32(max(abs(high), abs(before)))))
    return Ramp(column, float(np.float32(high - max(1e-3 * (high - before), least))), high)


def _smooth_functions(edges: Float32) -> Float:
    """Orthogonal combinations of cubic splines in the rank and in the value of an input.

    Of an input with a few values, such as a number of jets: a short polynomial, since splines
    would describe everything.
    """
    bins = len(edges) + 1
    value = np.concatenate([edges[:1], 0.5 * (edges[1:] + edges[:-1]), edges[-1:]]).astype(float)
    low, high = np.quantile(value, [0.02, 0.98])
    value = np.clip((value - low) / max(high - low, np.finfo(np.float32).tiny), -0.2, 1.2)
    if bins < _DISCRETE:
        return np.vander(value, min(max(bins // 2, 2), 4), increasing=True)
    rank = (np.arange(bins) + 0.5) / bins
    basis, size, _ = np.linalg.svd(
        np.concatenate([_splines(rank), _splines(value)], axis=1), full_matrices=False
    )
    return np.asarray(basis[:, size > _SMALL * size[0]])


def _splines(part: Float) -> Float:
    """Cubic splines with knots at equal distances from -0.2 to 1.2."""
    knots = np.arange(-3, _SMOOTH + 4)
    far = np.abs(part[:, None] * _SMOOTH - knots)
    wide, narrow = (np.maximum(width - far, 0.0) ** 3 for width in (2.0, 1.0))
    return np.asarray((wide - 4.0 * narrow) / 6.0)


Sides: TypeAlias = "tuple[tuple[Float, Float], tuple[Float, Float]]"


def _add_windows(windows: list[tuple[int, int]], sides: Sides, smooth: Float, bar: float) -> None:
    """Add the edges of significant ramps, as (first, number of edges)."""
    edges = len(smooth) - 1
    while len(windows) < MOST:
        known = [_ramp_in_bins(edges, *window)[:, None] for window in windows]
        design = np.concatenate([smooth, *known], axis=1)
        residual, variance = _residuals(sides, design)
        best = max(
            (_best(residual, variance, design, width), width) for width in WIDTHS if width <= edges
        )
        (gain, first), width = best
        if gain < bar or (first, width) in windows:
            return
        windows.append((first, width))


def _ramp_in_bins(edges: int, first: int, width: int) -> Float:
    return np.asarray(np.clip((np.arange(edges + 1) - first) / width, 0.0, 1.0))


def _residuals(sides: Sides, design: Float) -> tuple[Float, Float]:
    """Residuals of a logistic regression in each bin, and their variances."""
    (plus, plus2), (minus, minus2) = sides
    positive = np.maximum(plus + minus, 0.0)
    c = np.zeros(design.shape[1])
    for _ in range(_ITERATIONS):
        probability = 0.5 * (1.0 + np.tanh(0.5 * np.clip(design @ c, -30.0, 30.0)))
        residual = plus * (1.0 - probability) - minus * probability
        spread = probability * (1.0 - probability)
        normal = design.T @ (design * (spread * positive)[:, None])
        normal[np.diag_indices(len(c))] += 1e-6 * normal.trace() / len(c)
        step = np.linalg.solve(normal, design.T @ residual)
        change = np.abs(design @ step).max()
        if change < 1e-4:
            break
        c += step * min(1.0, _LONGEST / change)
    seen = plus2 * (1.0 - probability) ** 2 + minus2 * probability**2
    return residual, np.maximum(seen, spread * (plus2 + minus2))


def _best(residual: Float, variance: Float, design: Float, width: int) -> tuple[float, int]:
    """Largest squared significance of the ramps of one width, and its first edge.

    A ramp is the mean of steps, so its sums are moving means of those of steps.
    """
    weighted = variance[:, None] * design
    beyond = [np.cumsum(v[::-1], axis=0)[::-1][1:] for v in (residual, variance, weighted)]
    score = _moving(beyond[0], np.ones(width) / width)
    own = _moving(beyond[1], (2.0 * np.arange(width) + 1.0) / width**2)
    shared = np.apply_along_axis(_moving, 0, beyond[2], np.ones(width) / width)
    inverse = np.linalg.pinv(design.T @ weighted, rcond=1e-8, hermitian=True)
    information = own - np.einsum("ta,ab,tb->t", shared, inverse, shared, optimize=True)
    usable = information > np.maximum(_MIN_INFORMATION, 1e-6 * own)
    gain = np.divide(score**2, information, out=np.zeros_like(score), where=usable)
    place = int(np.argmax(gain))
    return float(gain[place]), place


def _moving(values: Float, weights: Float) -> Float:
    """Weighted sums of neighbours, the first weight for the first of them."""
    return np.convolve(values, weights[::-1], mode="valid")
