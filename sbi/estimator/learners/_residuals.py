"""Do held-out events agree with the ratios, in bins of one input and of two? What was not learned.

::

    for each density:    its own events  <->  events of its denominator, weighted by the ratio
                         (a process and the reference; a variation and its nominal sample)
        chi2 of both histograms in quantile bins, by the member that held the events out
        fast waves in fine bins of each input, see `_waves`

The noise of a training is no reason for an alarm: the held-out events are a fixed part of all, so
they see what is far beyond that noise, for small samples and for large ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rootml._internal.types import Array, Float, Float32, Int
from rootml.sbi.estimator.learners import _waves
from rootml.sbi.estimator.learners._waves import NO_WAVE, Wave, clearest_wave, middles

BINS, PAIR_BINS = 24, 8
MAX_INPUTS, MAX_PAIRED = 12, 4
"""Inputs that are looked at, and of how many of them all pairs; those that separate most."""
CHANCE = 1e-3
_EXCESS = 2.0
"""chi2 per degree of freedom below which there is no alarm, however significant it is."""
_PRECISE = 0.05
"""Relative error of the content of a bin that counts as precise."""
_MIN_EVENTS = 20.0
"""Effective events of a bin, on both sides."""


@dataclass(frozen=True)
class Comparison:
    """Two densities and the columns of log ratios between them.

    Attributes:
        name: Of the ratio.
        density, denominator: Their numbers.
        ratio: Column of the log ratio.
        nominal: Column that is subtracted; None: none.
    """

    name: str
    density: int
    denominator: int
    ratio: int
    nominal: int | None


class Cells:
    """Bins of inputs and of pairs of inputs.

    Args:
        rows: Random events, which decide on the bins, `(events, inputs)`.
        inputs: Inputs to look at, the most important first.
    """

    def __init__(self, rows: Float, inputs: Sequence[int]) -> None:
        self.inputs = tuple(inputs)
        places = np.linspace(0.0, 1.0, BINS + 1)[1:-1]
        cut = np.quantile(rows[:, list(inputs)], places, axis=0, method="higher")
        self.edges = [np.unique(column) for column in cut.T.astype(np.float32)]
        paired = range(min(MAX_PAIRED, len(inputs)))
        self.groups: list[tuple[int, ...]] = [(k,) for k in range(len(inputs))]
        self.groups += [(j, k) for k in paired for j in range(k)]
        fine = np.linspace(0.0, 1.0, _waves.BINS + 1)[1:-1]
        cut = np.quantile(rows[:, list(inputs)], fine, axis=0, method="higher")
        self.fine = [np.unique(column) for column in cut.T.astype(np.float32)]
        self.bins = max(BINS, PAIR_BINS**2, _waves.BINS)

    def of(self, x: Array) -> Int:
        """Numbers of the bins in each group and in fine bins, `(events, groups + inputs)`."""
        each, fine = (
            np.stack(
                [
                    np.searchsorted(edges, x[:, column], side="right")
                    for column, edges in zip(self.inputs, all_edges, strict=True)
                ],
                axis=1,
            )
            for all_edges in (self.edges, self.fine)
        )
        wide = each * PAIR_BINS // BINS
        found = [
            each[:, group[0]]
            if len(group) == 1
            else wide[:, group[0]] * PAIR_BINS + wide[:, group[1]]
            for group in self.groups
        ]
        return np.concatenate([np.stack(found, axis=1), fine], axis=1)


class Residuals:
    """Histograms of both sides of each comparison."""

    def __init__(self, cells: Cells, comparisons: Sequence[Comparison]) -> None:
        self._cells, self._comparisons = cells, comparisons
        shape = (len(cells.groups) + len(cells.inputs), cells.bins, len(comparisons))
        self._own, self._own2, self._other, self._other2 = np.zeros((4, *shape))

    def add(self, x: Float32, label: Int, weights: Float | None, log_ratio: Array) -> None:
        """Held-out events with the log ratios of the member that did not see them."""
        w = np.ones(len(x)) if weights is None else weights.astype(np.float64)
        cells = self._cells.of(x)
        for density in {c.density for c in self._comparisons}:
            mine = np.flatnonzero(label == density)
            which = [n for n, c in enumerate(self._comparisons) if c.density == density]
            ones = np.repeat(w[mine, None], len(which), axis=1)
            self._fill((self._own, self._own2), cells[mine], ones, which)
        for density in {c.denominator for c in self._comparisons}:
            mine = np.flatnonzero(label == density)
            which = [n for n, c in enumerate(self._comparisons) if c.denominator == density]
            logs = log_ratio[mine].astype(np.float64)
            chosen = [self._comparisons[n] for n in which]
            moved = logs[:, [c.ratio for c in chosen]]
            for place, c in enumerate(chosen):
                if c.nominal is not None:
                    moved[:, place] -= logs[:, c.nominal]
            self._fill(
                (self._other, self._other2), cells[mine], w[mine, None] * np.exp(moved), which
            )

    def _fill(
        self, totals: tuple[Float, Float], cells: Int, weights: Float, which: Sequence[int]
    ) -> None:
        """Add weights `(events, comparisons)` and their squares in the bins of each group."""
        if not len(cells):
            return
        both = np.concatenate([weights, weights**2], axis=1)
        for group, cell in enumerate(cells.T):
            order = np.argsort(cell, kind="stable")
            first = np.flatnonzero(np.diff(cell[order], prepend=-1))
            sums = np.add.reduceat(both[order], first, axis=0)
            for total, part in zip(totals, np.split(sums, 2, axis=1), strict=True):
                total[group][np.ix_(cell[order][first], which)] += part

    def notes(self, names: Sequence[str]) -> tuple[str, ...]:
        """What held-out events contradict; of each ratio the clearest case.

        Args:
            names: Of all inputs.
        """
        tests = len(self._comparisons) * len(self._cells.groups)
        bar = float(np.sqrt(2.0 * np.log(max(tests, 1) / CHANCE)))
        texts = []
        for number, comparison in enumerate(self._comparisons):
            results = [self._test(group, number) for group in range(len(self._cells.groups))]
            group = max(range(len(results)), key=lambda g: results[g].significance)
            k, wave = self._clearest_wave(number)
            if wave.chi2 > max(results[group].chi2, self._wave_bar()):
                texts.append(_wave_text(comparison.name, names[self._cells.inputs[k]], wave))
            elif results[group].significance > bar and results[group].excess > _EXCESS:
                inputs = [names[self._cells.inputs[k]] for k in self._cells.groups[group]]
                texts.append(_text(comparison.name, inputs, results[group]))
        return tuple(texts)

    def _clearest_wave(self, number: int) -> tuple[int, Wave]:
        """Of a comparison, and the number of its input among those that are looked at."""
        waves = [self._wave(k, number) for k in range(len(self._cells.inputs))]
        best = max(range(len(waves)), key=lambda k: waves[k].chi2)
        return best, waves[best]

    def _wave_bar(self) -> float:
        """chi2 of a wave that is far beyond the noise of a training."""
        looks = len(self._comparisons) * len(self._cells.inputs) * len(_waves.PERIODS)
        return float(_EXCESS * 2.0 * np.log(looks / CHANCE))

    def _test(self, group: int, number: int) -> _Result:
        found = self._sides(group, number)
        if found is None or len(found.apart) < 2:
            return _Result(0.0, 0.0, 0.0, 0.0)
        apart, variance = found.apart, found.variance
        freedom = len(apart) - 1
        chi2 = float((apart**2 / variance).sum())
        return _Result(_normal(chi2, freedom), chi2, chi2 / freedom, _size(found))

    def _wave(self, k: int, number: int) -> Wave:
        found = self._sides(len(self._cells.groups) + k, number)
        if found is None:
            return NO_WAVE
        places, span = middles(self._cells.fine[k])
        place = places[found.bins]
        return clearest_wave(found.apart, found.variance, found.expected, place, span)

    def _sides(self, group: int, number: int) -> _Sides | None:
        """Both histograms of a comparison in the bins of a group that hold enough events."""
        own, own2, other, other2 = (
            total[group, :, number] for total in (self._own, self._own2, self._other, self._other2)
        )
        if own.sum() <= 0.0 or other.sum() <= 0.0:
            return None
        used = (own > 0.0) & (other > 0.0)
        used &= (own**2 > _MIN_EVENTS * own2) & (other**2 > _MIN_EVENTS * other2)
        bins = np.flatnonzero(used)
        apart = own / own.sum() - other / other.sum()
        variance = own2 / own.sum() ** 2 + other2 / other.sum() ** 2
        return _Sides(bins, apart[bins], variance[bins], (other / other.sum())[bins])


@dataclass(frozen=True)
class _Sides:
    """Two histograms, each divided by its sum.

    Attributes:
        bins: Numbers of the bins.
        apart: Differences.
        variance: Their variances.
        expected: The histogram of the denominator, weighted by the ratio.
    """

    bins: Int
    apart: Float
    variance: Float
    expected: Float


@dataclass(frozen=True)
class _Result:
    """A comparison in the bins of a group.

    Attributes:
        significance: In standard deviations.
        chi2: Of the bins.
        excess: chi2 per degree of freedom.
        size: RMS of the relative deviation, without the part of statistics.
    """

    significance: float
    chi2: float
    excess: float
    size: float


def _size(sides: _Sides) -> float:
    """RMS of the relative deviation; of precise bins where the others hide it in their noise."""
    square = sides.apart**2 - sides.variance
    precise = sides.variance < (_PRECISE * sides.expected) ** 2
    for bins in (np.ones(len(square), np.bool_), precise):
        known = float((square[bins] / sides.expected[bins]).sum())
        if known > 0.0:
            return float((known / sides.expected[bins].sum()) ** 0.5)
    return 0.0


def _normal(chi2: float, freedom: int) -> float:
    """chi2 in standard deviations (E. B. Wilson, M. M. Hilferty, 10.1073/pnas.17.12.684)."""
    part = 2.0 / (9.0 * freedom)
    return float(((chi2 / freedom) ** (1.0 / 3.0) - 1.0 + part) / part**0.5)


def _text(name: str, inputs: Sequence[str], result: _Result) -> str:
    return (
        f"the ratio {name} is not learned well in {' and '.join(inputs)}: held-out events differ "
        f"from it by {100.0 * result.size:.2g} % (RMS, {result.significance:.0f} standard "
        "deviations). Use an input that tells this apart, more epochs, wider networks or more "
        "training events; sbi.diagnose(..., fit=) says what it does to a fit"
    )


def _wave_text(name: str, of: str, wave: Wave) -> str:
    return (
        f"the ratio {name} is not learned well in {of}: held-out events differ from it by a wave "
        f"of {100.0 * wave.size:.2g} % (RMS) with a period of about {wave.length:.3g}, too fast "
        f"for the networks. Give functions of {of} that follow it as inputs, such as sine and "
        "cosine of this period; sbi.diagnose(..., fit=) says what it does to a fit"
    )
