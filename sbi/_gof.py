"""Does the model describe the data? Counts in bins of the expected density, against the fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rootml._repr import facts_html, facts_text
from rootml.errors import UsageError
from rootml.sbi._fit import FitResult
from rootml.sbi._fittable import mixture_of
from rootml.sbi._morph import Array
from rootml.sbi._quantiles import chi2_tail


@dataclass(frozen=True)
class GoodnessOfFit:
    """A comparison of counts with their expectations at the fitted point.

    Attributes:
        observed: Counts per bin; first those of the unbinned channel, then binned channels.
        expected: What the fit expects there.
        deviance: ``2 sum (e - n + n log(n / e))``, plus the auxiliary measurements' part.
        degrees: Number of bins and auxiliary measurements less the fitted parameters.
        p_value: Probability of a greater deviance, by the chi^2 approximation.
    """

    observed: Array
    expected: Array
    deviance: float
    degrees: int
    p_value: float

    def _facts(self) -> list[tuple[str, str]]:
        return [
            ("deviance", f"{self.deviance:.2f} for {self.degrees} degrees of freedom"),
            ("p-value", f"{self.p_value:.4g}"),
            ("bins", f"{len(self.observed)}, least expectation {self.expected.min():.3g}"),
        ]

    def __repr__(self) -> str:
        return facts_text(self._facts())

    def _repr_html_(self) -> str:
        return facts_html(self._facts())


def goodness_of_fit(result: FitResult, *, bins: int = 20) -> GoodnessOfFit:
    """Test a fit by the saturated deviance.

    Unbinned events are counted in bins of the fitted density over that of the reference, whose
    edges are quantiles of the expectation; the expectation comes from the reference events. (The
    value of an unbinned likelihood itself does not tell how well a model fits: Heinrich,
    physics/0310167.) The test sees what that ratio sees; `sbi`'s reweighting closure looks at
    features.

    Args:
        bins: For the unbinned channel.

    Raises:
        UsageError: An unbinned channel without reference events; no mixture of columns.
        ConvergenceError: The fit is not valid.
    """
    result.require_valid()
    like, theta = mixture_of(result.like, "goodness_of_fit"), result.theta
    observed, expected = [np.empty(0)], [np.empty(0)]
    if like.unbinned is not None:
        if like.reference is None or like.columns is None:
            message = "goodness_of_fit needs reference events: pass reference= to likelihood()"
            raise UsageError(message)
        counts = _unbinned(result, bins)
        observed.append(counts[0])
        expected.append(counts[1])
    if like.binned is not None:
        term = like.binned.bind(list(like.parameters))
        observed.append(term.counts)
        expected.append(term.rates(theta))
    n, e = np.concatenate(observed), np.concatenate(expected)
    full = n > 0.0
    deviance = 2.0 * float((e - n).sum() + (n[full] * np.log(n[full] / e[full])).sum())
    deviance += 2.0 * like.constraint_excess(theta)
    free = len(result.values) - len(result.fixed)
    degrees = len(n) + like.num_constraints - free
    if degrees < 1:
        message = f"{len(n)} bins cannot test {free} fitted parameters; use more bins"
        raise UsageError(message)
    return GoodnessOfFit(n, e, deviance, degrees, chi2_tail(deviance, degrees))


def _unbinned(result: FitResult, bins: int) -> tuple[Array, Array]:
    like = mixture_of(result.like, "goodness_of_fit")
    unbinned, reference, columns = like.unbinned, like.reference, like.columns
    assert unbinned is not None
    assert reference is not None
    assert columns is not None
    own = np.ones(reference.num_events) if reference.weights is None else reference.weights
    density = unbinned.densities(result.theta, reference)
    weights = density * own * (unbinned.yields.values(result.theta).sum() / (density @ own))
    order = np.argsort(density)
    cumulative = np.cumsum(weights[order])
    places = np.searchsorted(cumulative, cumulative[-1] * np.arange(1, bins) / bins)
    edges = np.unique(density[order][np.minimum(places, len(order) - 1)])
    expected = np.bincount(np.digitize(density, edges), weights, len(edges) + 1)
    ours = np.digitize(unbinned.densities(result.theta), edges)
    weight = np.ones(columns.num_events) if columns.weights is None else columns.weights
    counts = np.bincount(ours, weight, len(edges) + 1)
    return np.asarray(counts, np.float64), np.asarray(expected, np.float64)
