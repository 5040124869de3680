"""Data that a model expects: weighted events (Asimov), and random ones (toys)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml._internal.statistics import effective_events
from rootml.errors import DensityError, UsageError
from rootml.sbi.likelihood._binned import Binned
from rootml.sbi.likelihood._columns import RatioColumns, as_columns, offending
from rootml.sbi.likelihood._interpolation import Array
from rootml.sbi.likelihood._likelihood import Likelihood, build
from rootml.sbi.likelihood._model import Model
from rootml.sbi.likelihood._parameters import Nuisance
from rootml.sbi.likelihood._unbinned import Unbinned

Generator: TypeAlias = Callable[[np.random.Generator, Mapping[str, float]], Any]
_MIN_DEVIATION = 0.01  # of a mean from 1, to be worth an error
_MIN_RATIO = 1.0  # effective number of reference events over expected events, at least


def asimov(
    model: Model, reference: Any = None, *, engine: str = "auto", **truth: float
) -> Likelihood:
    """The likelihood of the data that the model expects at a point, without fluctuations.

    The reference events, weighted to the expected density; bins with their expected counts; and
    auxiliary measurements with their expected outcomes. (arXiv 1007.1727.) Each process's ratios
    are divided by their mean over the reference, which is 1 but for its statistical error, so
    that the data are exactly what the model expects.

    Args:
        reference: Columns at reference events, weighted as they are normalised; they also make
            Z(alpha). None: the model has only binned channels.
        truth: Parameter values; those left out have their start values.

    Raises:
        DensityError: The expected density is negative at some reference events.
        UsageError: Ratios whose mean over the reference is not 1 within its error.

    >>> from rootml.sbi import Model, Parameter
    >>> import numpy as np
    >>> x = np.linspace(0.005, 0.995, 100)
    >>> model = Model({"S": "mu * 50", "B": "50"}, {"mu": Parameter(1.0)})
    >>> like = asimov(model, {"S": 2.0 * x, "B": np.ones(100)}, mu=1.5)
    >>> round(like.columns.sum_of_weights, 6), abs(like.gradient(mu=1.5)["mu"]) < 1e-9
    (125.0, True)
    """
    theta = np.asarray(model.theta(**truth))
    names = list(model.all_parameters)
    expected = _expected_model(model, theta)
    observed = outcomes(expected, dict(zip(names, theta.tolist(), strict=True)))
    if not model.processes:
        return build(expected, None, engine=engine, observed=observed)
    if reference is None:
        message = "Asimov data of an unbinned channel needs reference events: pass reference="
        raise UsageError(message)
    events = _normalised(as_columns(reference))
    like = build(expected, events, reference=events, engine=engine, observed=observed)
    assert like.unbinned is not None
    data = like.unbinned.events.reweighted(_weights(like, events, theta), asimov=True)
    unbinned = like.unbinned.with_events(data)
    return Likelihood(expected, unbinned, observed=observed, engine=engine)


def _expected_model(model: Model, theta: Array) -> Model:
    """The model with binned counts as expected at theta."""
    if model.binned is None:
        return model
    assert isinstance(model.binned, Binned)
    term = model.binned.bind(list(model.all_parameters))
    return model.with_binned(model.binned.with_observed(term.expected(theta)))


def outcomes(
    model: Model, truth: Mapping[str, float], rng: np.random.Generator | None = None
) -> dict[str, float]:
    """Auxiliary measurements at a point: expected ones, or drawn."""
    found = {}
    for name, nuisance in model.all_parameters.items():
        if not isinstance(nuisance, Nuisance) or nuisance.constraint == "none":
            continue
        value = truth[name]
        if nuisance.constraint == "poisson":
            mean = nuisance.width * value
            found[name] = mean if rng is None else float(rng.poisson(mean))
        elif nuisance.constraint == "lognormal":
            spread = 0.0 if rng is None else math.log(nuisance.width) * rng.standard_normal()
            found[name] = value * math.exp(spread)
        else:
            spread = 0.0 if rng is None else nuisance.width * rng.standard_normal()
            found[name] = value + spread
    return found


def _normalised(events: RatioColumns) -> RatioColumns:
    means = events.means()
    for process, (mean, error) in means.items():
        if abs(mean - 1.0) > max(5.0 * error, _MIN_DEVIATION):
            message = (
                f"the ratios of process {process!r} have the mean {mean:.4g} +- {error:.2g} over "
                "the reference events, and a density ratio has 1: are they ratios to this "
                "reference, and its weights right?"
            )
            raise UsageError(message)
    return events.scaled({process: 1.0 / mean for process, (mean, _) in means.items()})


def _weights(like: Likelihood, events: RatioColumns, theta: Array) -> Array:
    """Weights that turn the reference events into the expected density, ``(event,)``."""
    assert like.unbinned is not None
    own = np.ones(events.num_events) if events.weights is None else events.weights
    weights = like.unbinned.densities(theta) * own / own.sum()
    bad = np.flatnonzero(~(weights >= 0.0))
    if len(bad):
        what = "the expected density times the event's weight is negative"
        raise DensityError(offending(bad, weights, what, len(weights)))
    return np.asarray(weights)


class Toys:
    """Draws data sets from a model.

    Unbinned events are drawn with replacement from the reference events, each with a probability
    proportional to its expected weight; the number of events is Poisson. That is only as good as
    the reference is large: events are repeated once the expected number comes near the effective
    number of reference events, so a smaller one than `min_ratio` times the expectation is
    refused. Or a `generator` makes events, and the model only its columns.

    Args:
        model: The model.
        reference: Columns at reference events.
        generator: ``generator(rng, truth)`` returns Columns of one data set, its number of events
            drawn by it too.
        truth: Parameter values; those left out have their start values.
        min_ratio: See above.
    """

    def __init__(
        self,
        model: Model,
        reference: Any = None,
        *,
        generator: Generator | None = None,
        truth: Mapping[str, float] | None = None,
        engine: str = "auto",
        min_ratio: float = _MIN_RATIO,
    ) -> None:
        self.model = model
        self.engine = engine
        self.generator = generator
        names = list(model.all_parameters)
        self.theta = np.asarray(model.theta(**(truth or {})))
        self.truth = dict(zip(names, self.theta.tolist(), strict=True))
        self._share: Unbinned | None = None
        self._reference = None if reference is None else as_columns(reference)
        self._cumulative: npt.NDArray[np.float64] | None = None
        self.expected_data: Likelihood | None = None
        if generator is None or not model.processes:
            self.expected_data = asimov(model, reference, engine=engine, **self.truth)
        if model.processes and self.expected_data is not None:
            self._prepare(self.expected_data, min_ratio)
        if model.binned is not None:
            assert isinstance(model.binned, Binned)
            self._rates = model.binned.bind(names).expected(self.theta)

    def _prepare(self, expected: Likelihood, min_ratio: float) -> None:
        assert expected.unbinned is not None
        weights = expected.unbinned.events.weights
        assert weights is not None
        self._share = expected.unbinned
        self.expected = float(weights.sum())
        self.effective = effective_events(weights)
        if self.effective < min_ratio * self.expected:
            message = (
                f"{self.effective:,.0f} effective reference events are too few to draw toys of "
                f"{self.expected:,.0f} events from: they would repeat each other; use more "
                "reference events, a generator=, or min_ratio="
            )
            raise UsageError(message)
        self._cumulative = np.cumsum(weights)

    @cached_property
    def hessian(self) -> Array | None:
        """Second derivatives at the truth for the expected data; fits of toys start with them."""
        return None if self.expected_data is None else self.expected_data.nll_hessian(self.theta)

    def draw(self, rng: np.random.Generator) -> Likelihood:
        """The likelihood of one random data set."""
        observed = outcomes(self.model, self.truth, rng)
        model = self.model
        if model.binned is not None:
            assert isinstance(model.binned, Binned)
            counts = {name: rng.poisson(rates) for name, rates in self._rates.items()}
            model = model.with_binned(model.binned.with_observed(counts))
        if model.processes and self._cumulative is not None:
            unbinned = self._drawn(rng)
            return Likelihood(model, unbinned, observed=observed, engine=self.engine)
        columns = None
        if model.processes:
            assert self.generator is not None
            columns = as_columns(self.generator(rng, self.truth))
        first = self._share is None and model.processes
        like = build(
            model, columns, reference=self._reference if first else None,
            engine=self.engine, observed=observed, share=self._share,
        )  # fmt: skip
        self._share = like.unbinned
        return like

    def _drawn(self, rng: np.random.Generator) -> Unbinned:
        """Reference events, drawn by their weights from the rows that are there."""
        assert self._cumulative is not None
        assert self._share is not None
        number = max(int(rng.poisson(self.expected)), 0)
        chosen = np.searchsorted(
            self._cumulative, rng.uniform(0.0, self._cumulative[-1], number), side="right"
        )
        chosen = np.minimum(chosen, len(self._cumulative) - 1)
        return self._share.with_events(self._share.events.drawn(chosen))
