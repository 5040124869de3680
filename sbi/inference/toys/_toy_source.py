"""Where random data sets come from: one likelihood's events, counts and outcomes.

::

    reference events: N ~ Poisson(expectation), drawn with replacement by their expected weight
    a density source: M ~ Poisson(D) fresh events of the reference's density, each kept with the
                      probability d(x) / D, d the expected density over the reference's
    a function:       makes the events itself

The second is exact (thinning of a Poisson process, https://doi.org/10.1002/nav.3800260304) and is
not limited by a sample; D is the largest d at the events for Z(alpha). An event where d is larger
is kept d / D times on average, so that expectations stay exact.
"""

from __future__ import annotations

import hashlib
import importlib
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from rootml._internal.statistics import effective_events
from rootml._internal.types import Float
from rootml.errors import UsageError
from rootml.sbi.files._json import write
from rootml.sbi.inference.minimum._minimise import invert
from rootml.sbi.inference.toys._asimov import (
    expected_data,
    outcomes,
    reference_channel,
    refuse_negative,
)
from rootml.sbi.likelihood._binned import Binned
from rootml.sbi.likelihood._columns import RatioColumns, as_columns
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood, build
from rootml.sbi.likelihood._model import Model
from rootml.sbi.likelihood._unbinned import Unbinned

MIN_RATIO = 1.0  # effective number of reference events over expected events, at least
MIN_KEPT = 1e-4  # of the events of a density source, at least
_PILOT = 200_000  # events of a density source for Z(alpha), where no reference is given
_PIECE = 100_000  # events of a density source at a time
_SAMPLE = 1_000  # events of a density source that tell it from others
_PLACES = 2  # where second derivatives by a part of the reference events are compared
_AGREE = 5e-3  # relative difference of errors there, at most


@runtime_checkable
class DensitySource(Protocol):
    """What draws new events from the density of the reference: an object with this method.

    `toys` takes it as ``generator=``. For the number of events that a toy needs, it draws
    ``D ~ Poisson(largest expected density over the reference's)`` and keeps each with the
    probability that its density asks for, so that toys follow the model exactly where the events
    follow the reference. Asimov data of any size: ``asimov(model, source.reference(rng, 10**6))``.

    >>> import numpy as np
    >>> from rootml.sbi import Model, Parameter, toys
    >>> class Flat:                                       # a reference that is uniform in [0, 1]
    ...     def reference(self, rng, number):
    ...         x = rng.uniform(size=number)
    ...         return {"S": 2.0 * x, "B": np.ones(number)}
    >>> model = Model({"S": "mu * 100", "B": "400"}, {"mu": Parameter(1.0)})
    >>> results = toys(model, number=3, seed=1, generator=Flat(), truth={"mu": 2.0})
    >>> results.effective, bool(abs(results.values.mean() - 2.0) < 1.0)
    (inf, True)
    """

    def reference(self, rng: np.random.Generator, number: int) -> Any:
        """Columns of `number` independent events, without weights.

        Args:
            rng: All that is random comes from here.
        """
        ...


Function: TypeAlias = Callable[[np.random.Generator, Mapping[str, float]], Any]
Generator: TypeAlias = Function | DensitySource


class Toys(Protocol):
    """Data sets at one point."""

    truth: dict[str, float]

    @property
    def hessian(self) -> Float | None:
        """Second derivatives at the truth for the expected data; None: not known."""
        ...

    @property
    def effective(self) -> float:
        """The effective number of reference events behind the toys; infinite: fresh events."""
        ...

    def draw(self, rng: np.random.Generator) -> Fittable:
        """The likelihood of one random data set."""
        ...


class ToySource:
    """What data sets of one model are drawn from, at any point.

    Args:
        model: The model.
        reference: Columns at reference events, to draw from and for Z(alpha).
        generator: ``generator(rng, truth)`` returns columns of one data set, its number of events
            drawn by it too; or a `DensitySource`.
        engine: Of the likelihoods.
        min_ratio: Fewer effective reference events than this times the expected number are
            refused: toys would repeat events.

    Raises:
        UsageError: No reference events; ratios whose mean over them is not 1.
    """

    def __init__(
        self,
        model: Model,
        reference: Any = None,
        *,
        generator: Generator | None = None,
        engine: str = "auto",
        min_ratio: float = MIN_RATIO,
    ) -> None:
        self.model, self.engine, self.min_ratio = model, engine, min_ratio
        self.names = list(model.all_parameters)
        self.generator = generator if model.processes else None
        self.fresh = isinstance(self.generator, DensitySource)
        self._given = None if reference is None else as_columns(reference)
        self.channel: Unbinned | None = None
        self._factors: dict[str, float] = {}
        if self.generator is None or self.fresh:
            events = self._reference()
            self.channel = reference_channel(model, events, engine)
            if self.fresh and events is not None:  # as those of the channel
                self._factors = {name: 1.0 / mean for name, (mean, _) in events.means().items()}
        elif self._given is not None:
            share = build(model, self._given, reference=self._given, engine=engine)
            self.channel = share.unbinned

    def _reference(self) -> RatioColumns | None:
        if self._given is None and isinstance(self.generator, DensitySource):
            return self._sample(_PILOT)
        return self._given

    def _sample(self, number: int) -> RatioColumns:
        """The same events of a density source each time."""
        assert isinstance(self.generator, DensitySource)
        return as_columns(self.generator.reference(np.random.default_rng(0), number))

    def new_events(self, rng: np.random.Generator, number: int) -> RatioColumns:
        """New events of a density source, with ratios whose means over the reference are 1."""
        assert isinstance(self.generator, DensitySource)
        events = as_columns(self.generator.reference(rng, number))
        if events.weights is not None:
            message = "generator=: events of the reference's density must have no weights"
            raise UsageError(message)
        return events.scaled(self._factors)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_given": None}  # the rows are in the channel

    def header(self) -> dict[str, Any]:
        """What toys depend on, as JSON data."""
        sample = self._sample(_SAMPLE).sha256() if self.fresh else None
        return {
            "engine": self.engine,
            "generator": _name_of(self.generator),
            "model": _fingerprint(self.model),
            "reference": None if self._given is None else self._given.sha256(),
        } | ({} if sample is None else {"density source": sample})

    def point(self, values: Mapping[str, float]) -> dict[str, float]:
        """All parameter values; those left out have their start values."""
        return dict(zip(self.names, self.model.theta(**values), strict=True))

    def at(self, truth: Mapping[str, float]) -> ModelToys:
        """Data sets at a point; parameters left out have their start values."""
        return ModelToys(self, self.point(truth))


class ModelToys:
    """Data sets of one model at one point.

    Args:
        source: What they are drawn from.
        truth: All parameter values.

    Raises:
        UsageError: Too few effective reference events.
        DensityError: The expected density is negative somewhere.
    """

    def __init__(self, source: ToySource, truth: Mapping[str, float]) -> None:
        self._source, model = source, source.model
        self.truth = dict(truth)
        self._theta = np.array([truth[name] for name in source.names])
        self.expected_data: Likelihood | None = None
        self.effective = np.inf
        if source.generator is None or source.fresh:
            self.expected_data = expected_data(model, source.channel, self._theta, source.engine)
        if model.processes and self.expected_data is not None:
            self._prepare(self.expected_data)
        if model.binned is not None:
            assert isinstance(model.binned, Binned)
            self._rates = model.binned.bind(source.names).expected(self._theta)

    def _prepare(self, expected: Likelihood) -> None:
        assert expected.unbinned is not None
        weights = expected.unbinned.events.weights
        if weights is None:  # nothing is expected, and nothing will be drawn
            self._expected = self._most = 0.0
            self._cumulative = np.zeros(1)
            return
        self._expected = float(weights.sum())
        if self._source.fresh:
            self._prepare_fresh(weights)
            return
        self.effective = float(effective_events(weights))
        least = self._source.min_ratio
        if self.effective < least * self._expected:
            message = (
                f"{self.effective:,.0f} effective reference events are too few to draw toys of "
                f"{self._expected:,.0f} events from (at least {least:g} times as many): they "
                "would repeat each other; use more reference events, a generator=, or min_ratio="
            )
            raise UsageError(message)
        self._cumulative = np.cumsum(weights)

    def _prepare_fresh(self, weights: Float) -> None:
        channel = self._source.channel
        assert channel is not None
        own = channel.events.weights
        filled = np.ones(len(weights), bool) if own is None else own > 0.0
        self._most = float(channel.densities(self._theta)[filled].max())
        if self._expected < MIN_KEPT * self._most:
            message = (
                f"of the events of generator= only {self._expected / self._most:.1g} would be "
                f"kept at {self.truth} (at least {MIN_KEPT:g}): the reference has hardly any "
                "events there; use a reference that is nearer"
            )
            raise UsageError(message)

    @cached_property
    def hessian(self) -> Float | None:
        """Second derivatives at the truth for the expected data; fits of toys start with them."""
        return None if self.expected_data is None else self.expected_data.nll_hessian(self._theta)

    @cached_property
    def _channel(self) -> Unbinned | None:
        """The channel with the reference events, log Z known to second order at the truth.

        Where toys are likely to end, an eighth of these events gives its second derivatives: they
        do for toys if errors agree with those of all events there.
        """
        channel, hessian = self._source.channel, self.hessian
        if channel is None or hessian is None:
            return channel
        anchored = channel.anchored(self._theta)
        if anchored.control is not None:
            anchored.rough = self._agree(anchored, hessian)
        return anchored

    def _agree(self, channel: Unbinned, hessian: Float) -> bool:
        """Whether errors agree with those by all reference events, about the truth."""
        parameters = self._source.model.all_parameters.values()
        free = np.flatnonzero([not p.fixed for p in parameters])
        covariance = invert(hessian[np.ix_(free, free)])
        if covariance is None:
            return False
        spread, rng = np.linalg.cholesky(covariance), np.random.default_rng(0)
        for _ in range(_PLACES):
            theta = self._theta.copy()
            theta[free] += spread @ rng.standard_normal(len(free))
            wrong = channel.control_error(theta)[np.ix_(free, free)]
            change = np.diag(covariance @ wrong @ covariance) / np.diag(covariance)
            if not np.abs(0.5 * change).max(initial=0.0) < _AGREE:
                return False
        return True

    def draw(self, rng: np.random.Generator) -> Likelihood:
        """The likelihood of one random data set."""
        model, source = self._source.model, self._source
        observed = outcomes(model, self.truth, rng)
        if model.binned is not None:
            assert isinstance(model.binned, Binned)
            counts = {name: rng.poisson(rates) for name, rates in self._rates.items()}
            model = model.with_binned(model.binned.with_observed(counts))
        if not model.processes:
            return Likelihood(model, None, observed=observed, engine=source.engine)
        if source.generator is None:
            unbinned = self._drawn(rng)
            return Likelihood(model, unbinned, observed=observed, engine=source.engine)
        if isinstance(source.generator, DensitySource):
            columns = self._thinned(rng)
        else:
            columns = as_columns(source.generator(rng, self.truth), may_be_empty=True)
        return build(model, columns, engine=source.engine, observed=observed, share=self._channel)

    def _drawn(self, rng: np.random.Generator) -> Unbinned:
        """Reference events, drawn by their weights from the rows that are there."""
        channel = self._channel
        assert channel is not None
        number = max(int(rng.poisson(self._expected)), 0)
        chosen = np.searchsorted(
            self._cumulative, rng.uniform(0.0, self._cumulative[-1], number), side="right"
        )
        chosen = np.minimum(chosen, len(self._cumulative) - 1)
        return channel.with_events(channel.events.drawn(chosen))

    def _thinned(self, rng: np.random.Generator) -> RatioColumns:
        """New events, kept by their expected density."""
        left = int(rng.poisson(self._most))
        pieces: list[RatioColumns] = []
        while left > 0 or not pieces:
            number = min(left, _PIECE)
            pieces.append(self._kept(self._source.new_events(rng, number), rng))
            left -= number
        return pieces[0] if len(pieces) == 1 else joined(pieces)

    def _kept(self, events: RatioColumns, rng: np.random.Generator) -> RatioColumns:
        channel = self._source.channel
        assert channel is not None
        density = channel.densities(self._theta, events)
        refuse_negative(density, "the expected density")
        times = density / self._most + rng.uniform(size=events.num_events)
        return events.take(np.repeat(np.arange(events.num_events), times.astype(np.int64)))


def joined(pieces: list[RatioColumns]) -> RatioColumns:
    """Events of several columns of the same processes and nuisances, one after the other."""
    first = pieces[0]
    ratios: dict[str, dict[str, Any]] = {}
    for process in first:
        ratios[process] = {"nominal": np.concatenate([p.ratio(process) for p in pieces])}
        for nuisance in first.nuisances(process):
            sides = zip(*(p.variation(process, nuisance) for p in pieces), strict=True)
            ratios[process][nuisance] = tuple(np.concatenate(side) for side in sides)
    return RatioColumns(ratios, may_be_empty=True)


def as_generator(given: Generator | str | None) -> Generator | None:
    """A generator, or the function of the name ``"package.module:function"``.

    Raises:
        UsageError: There is no such function, or it is neither of the two.
    """
    if isinstance(given, str):
        return _named_function(given)
    known: Any = given
    if known is None or callable(known) or isinstance(known, DensitySource):
        return given
    message = (
        "generator= takes a function (rng, truth) -> columns, its name 'module:function', or an "
        f"object with reference(rng, number) -> columns, not a {type(given).__name__}"
    )
    raise UsageError(message)


def _named_function(name: str) -> Function:
    module, colon, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function) if colon else None
    except (ImportError, AttributeError) as error:
        message = f"no function {name!r}: {error}"
        raise UsageError(message) from error
    if not callable(found):
        message = f"{name!r} does not name a function as 'package.module:function'"
        raise UsageError(message)
    return found  # type: ignore[no-any-return]


def _name_of(generator: Generator | None) -> str | None:
    if generator is None:
        return None
    named = generator if hasattr(generator, "__qualname__") else type(generator)
    return f"{named.__module__}:{getattr(named, '__qualname__', '?')}"


def _fingerprint(model: Model) -> str:
    with tempfile.TemporaryDirectory() as folder:
        text = write(Path(folder) / "model.json", model, {}).read_bytes()
    return hashlib.sha256(text).hexdigest()
