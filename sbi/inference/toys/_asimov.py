"""Data that a model expects: weighted events (Asimov data), expected counts and outcomes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rootml._internal.types import Float
from rootml.errors import DensityError, UsageError
from rootml.sbi.likelihood._binned import Binned
from rootml.sbi.likelihood._columns import RatioColumns, as_columns, offending
from rootml.sbi.likelihood._likelihood import Likelihood, build
from rootml.sbi.likelihood._model import Model
from rootml.sbi.likelihood._parameters import Nuisance
from rootml.sbi.likelihood._unbinned import Unbinned

_MIN_DEVIATION = 0.01  # of a mean from 1, to be worth an error


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
        DensityError: The expected density, or a weight, is negative at some reference events.
        UsageError: Ratios whose mean over the reference is not 1 within its error.

    >>> from rootml.sbi import Model, Parameter
    >>> import numpy as np
    >>> x = np.linspace(0.005, 0.995, 100)
    >>> model = Model({"S": "mu * 50", "B": "50"}, {"mu": Parameter(1.0)})
    >>> like = asimov(model, {"S": 2.0 * x, "B": np.ones(100)}, mu=1.5)
    >>> round(like.columns.sum_of_weights, 6), abs(like.gradient(mu=1.5)["mu"]) < 1e-9
    (125.0, True)
    """
    channel = reference_channel(model, reference, engine)
    return expected_data(model, channel, np.asarray(model.theta(**truth)), engine)


def reference_channel(model: Model, reference: Any, engine: str) -> Unbinned | None:
    """The unbinned channel with the reference events as its data; None: the model has none.

    Raises:
        UsageError: No reference, or ratios whose mean over it is not 1 within its error.
    """
    if not model.processes:
        return None
    if reference is None:
        message = (
            "Asimov data of an unbinned channel need reference events: give reference= here or to "
            "Model.likelihood, e.g. ratios.columns(events of the reference sample)"
        )
        raise UsageError(message)
    events = _normalised(as_columns(reference))
    return build(model, events, reference=events, engine=engine).unbinned


def expected_data(model: Model, channel: Unbinned | None, theta: Float, engine: str) -> Likelihood:
    """The likelihood of the expected data at a point.

    Args:
        channel: See `reference_channel`; its rows are shared, not copied.
    """
    expected = _expected_model(model, theta)
    names = list(model.all_parameters)
    observed = outcomes(expected, dict(zip(names, theta.tolist(), strict=True)))
    if channel is not None:
        weights = _weights(channel, theta)
        data = channel.events.drawn(np.zeros(0, np.int64))  # where nothing is expected
        if weights.any():
            data = channel.events.reweighted(weights, asimov=True)
        channel = channel.with_events(data)
    return Likelihood(expected, channel, observed=observed, engine=engine)


def _expected_model(model: Model, theta: Float) -> Model:
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
                "reference, are its weights right, and were there enough events to learn from "
                "(ratios.record.notes)?"
            )
            raise UsageError(message)
    return events.scaled({process: 1.0 / mean for process, (mean, _) in means.items()})


def _weights(channel: Unbinned, theta: Float) -> Float:
    """Weights that turn the reference events into the expected density, ``(event,)``."""
    events = channel.events
    own = np.ones(events.num_events) if events.weights is None else events.weights
    negative = np.flatnonzero(own < 0.0)
    if len(negative):
        message = (
            f"{offending(negative, own, 'the weight is negative', len(own))}: what a model "
            "expects is made of reference events by their weights; give reference events of the "
            "same density without negative weights"
        )
        raise DensityError(message)
    weights = channel.densities(theta) * own / own.sum()
    refuse_negative(weights, "the expected density")
    return np.asarray(weights)


def refuse_negative(weights: Float, what: str) -> None:
    """Refuse densities from which no events can be drawn.

    Raises:
        DensityError: Some are negative or NaN; says of how many events, and which.
    """
    bad = np.flatnonzero(~(weights >= 0.0))
    if len(bad):
        raise DensityError(offending(bad, weights, f"{what} is negative", len(weights)))
