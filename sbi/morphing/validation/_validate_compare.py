"""Everything that is measured between a reference and a sample: `Comparison`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.morphing.validation._metrics import (
    ChiSquare,
    Kolmogorov,
    binning,
    chi_square,
    correlation,
    histogram,
    kolmogorov,
    moments,
    separation,
    wasserstein,
)
from rootml.sbi.morphing.validation._metrics_frechet import Distance, fpd
from rootml.sbi.morphing.validation._metrics_kernel import kpd, mmd
from rootml.sbi.morphing.validation._metrics_sample import Sample
from rootml.sbi.morphing.validation._metrics_support import Support
from rootml.sbi.morphing.validation._slices import Slice, compare_slices, slice_edges
from rootml.sbi.morphing.validation._two_sample import Kind, TwoSample, two_sample

ShowStatus = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How finely to compare.

    Attributes:
        bins: Of histograms.
        slices: Of each condition.
        folds, classifier: Of the two-sample test; see `_two_sample`.
        seed: Of everything that is drawn.
    """

    bins: int = 30
    slices: int = 5
    folds: int = 2
    classifier: Kind = "both"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Histogram:
    """Fractions of the weight per bin of both samples, with errors; `(bins,)` and `(bins + 1,)`.

    The outer bins hold what lies beyond.
    """

    edges: Float
    reference: Float
    reference_error: Float
    sample: Float
    sample_error: Float


@dataclass(frozen=True, eq=False)
class FeatureResult:
    """One feature of both samples.

    Attributes:
        chi_square: Of the histogram, for its shape.
        ks: Kolmogorov-Smirnov.
        wasserstein: In standard deviations of the reference.
        separation: TMVA's separation power.
        leakage: Fraction of the sample's weight outside the support of the reference.
    """

    name: str
    chi_square: ChiSquare
    ks: Kolmogorov
    wasserstein: float
    separation: float
    leakage: float
    histogram: Histogram


@dataclass(frozen=True, eq=False)
class Comparison:
    """A sample beside the reference.

    Attributes:
        name: E.g. ``"after"``.
        rows, effective_rows: Of the sample.
        negative: Fraction of rows with negative weight.
        features: One result each.
        correlations: Linear correlations of all columns, sample less reference,
            `(columns, columns)`.
        correlation_errors: Their standard deviations, for normal distributions.
        slices: Each feature in slices of each condition.
        classifier: The two-sample test on features and conditions.
        fpd, kpd, mmd: Distances over the features.
    """

    name: str
    rows: int
    effective_rows: float
    negative: float
    features: tuple[FeatureResult, ...]
    correlations: Float
    correlation_errors: Float
    slices: tuple[Slice, ...]
    classifier: TwoSample
    fpd: Distance
    kpd: Distance
    mmd: Distance

    @property
    def correlation_differences(self) -> Float:
        """Absolute differences above the diagonal, those with a feature; `(pairs,)`."""
        upper = np.triu(np.ones(self.correlations.shape, bool), 1)
        upper[len(self.features) :] = False
        found: Float = np.abs(self.correlations[upper])
        return found

    @property
    def slice_distances(self) -> Float:
        """Kolmogorov-Smirnov distances in the slices that have events; `(slices,)`."""
        found = np.array([part.ks for part in self.slices])
        present: Float = found[np.isfinite(found)]
        return present

    @property
    def worst_chi_square(self) -> float:
        """The largest chi-square per degree of freedom."""
        return max(feature.chi_square.per_ndf for feature in self.features)


def compare(
    name: str,
    reference: Sample,
    sample: Sample,
    *,
    features: tuple[str, ...],
    conditions: tuple[str, ...] = (),
    supports: dict[str, Support],
    options: Options,
    scale: Float | None = None,
    show_status: ShowStatus = lambda _: None,
) -> Comparison:
    """Measure everything.

    Args:
        scale: What FPD and KPD divide the features by.
        show_status: Told what is being done.
    """
    show_status(f"{name}: histograms, correlations, slices")
    columns = (*features, *conditions)
    a, b = reference.select(columns), sample.select(columns)
    differences, errors = _correlations(a, b)
    x, y = a.select(features).values, b.select(features).values
    wa, wb, seed = a.weights, b.weights, options.seed
    results = tuple(_feature(n, a, b, supports[n], options) for n in features)
    slices = _slices(a, b, features, conditions, options)
    show_status(f"{name}: distances")
    far = (
        fpd(x, y, wa, wb, scale=scale, seed=seed),
        kpd(x, y, wa, wb, scale=scale, seed=seed),
        mmd(x, y, wa, wb, seed=seed),
    )
    show_status(f"{name}: two-sample test")
    test = two_sample(
        a.values,
        b.values,
        wa,
        wb,
        kind=options.classifier,
        folds=options.folds,
        seed=seed,
        events=(a.events, b.events),
    )
    negative = float((wb < 0).mean())
    return Comparison(
        name, b.rows, b.effective, negative, results, differences, errors, slices, test, *far
    )


def _feature(name: str, a: Sample, b: Sample, support: Support, options: Options) -> FeatureResult:
    x, y, wa, wb = a.column(name), b.column(name), a.weights, b.weights
    edges = binning(x, wa, bins=options.bins)
    (pa, va), (pb, vb) = histogram(x, edges, wa), histogram(y, edges, wb)
    width = float(np.sqrt(moments(x[:, None], wa)[1][0, 0]))
    return FeatureResult(
        name,
        chi_square(x, y, wa, wb, edges=edges),
        kolmogorov(x, y, wa, wb),
        wasserstein(x, y, wa, wb) / width,
        separation(x, y, wa, wb, edges=edges),
        support.leakage(y, wb),
        Histogram(edges, pa, np.sqrt(va), pb, np.sqrt(vb)),
    )


def _correlations(a: Sample, b: Sample) -> tuple[Float, Float]:
    first, second = correlation(a.values, a.weights), correlation(b.values, b.weights)
    errors = [(1 - r**2) / np.sqrt(s.effective) for r, s in ((first, a), (second, b))]
    return second - first, np.hypot(*errors)


def _slices(
    a: Sample,
    b: Sample,
    features: tuple[str, ...],
    conditions: tuple[str, ...],
    options: Options,
) -> tuple[Slice, ...]:
    found: list[Slice] = []
    for condition in conditions:
        edges = slice_edges(a.column(condition), a.weights, slices=options.slices)
        for feature in features:
            sides = [(s.column(condition), s.column(feature), s.weights) for s in (a, b)]
            found += compare_slices(condition, feature, edges, sides[0], sides[1])
    return tuple(found)
