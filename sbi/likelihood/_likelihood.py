"""The likelihood: unbinned channel, binned channels and constraints, with derivatives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from numbers import Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.reprs import HtmlRepr, Part, facts_text
from rootml._internal.types import Float
from rootml._internal.validators import check_whole
from rootml.errors import DensityError, MissingParameterError, UsageError, nearest
from rootml.sbi.likelihood._binned import Binned
from rootml.sbi.likelihood._columns import RatioColumns, as_columns
from rootml.sbi.likelihood._constraints import Constraints
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._model import Model
from rootml.sbi.likelihood._parameters import Nuisance, Parameter
from rootml.sbi.likelihood._unbinned import Unbinned

if TYPE_CHECKING:
    from rootml.sbi.roofit import RooFitObjects
    from rootml.sbi.roofit._make import Route


class Likelihood(HtmlRepr):
    """Minus the logarithm of a likelihood, as a function of the parameters; in float64.

    Made by `Model.likelihood`. ``like(mu=1.0, jes=0.0)`` is the value at a point given by name,
    `nll` and its relatives take an array in the order of `parameters`, as minimisers do.

    Attributes:
        model: What it is made of.
        columns: The observed events; None: only binned channels. Of many events only rows of
            float32 are kept, and the columns are made of these each time.
        reference: The reference events behind Z(alpha), likewise; None: no shape changes.
        observed: Outcomes of the auxiliary measurements, by parameter.
        engine: ``"auto"``, ``"compiled"`` or ``"numpy"``.

    >>> from rootml.sbi import Model, Parameter
    >>> model = Model({"S": "mu * 3", "B": "7"}, {"mu": Parameter(1.0, lower=0.0)})
    >>> like = model.likelihood({"S": [2.0, 0.5], "B": [1.0, 1.0]})
    >>> like.gradient(mu=1.0)
    {'mu': 2.361...}
    >>> like.hessian(mu=1.0).shape
    (1, 1)
    """

    def __init__(
        self,
        model: Model,
        unbinned: Unbinned | None,
        *,
        observed: Mapping[str, float] | None = None,
        engine: str = "auto",
    ) -> None:
        self.model = model
        self.engine = engine
        self.unbinned = unbinned
        self.binned: Binned | None = model.binned  # type: ignore[assignment]
        self._parameters = model.all_parameters
        self._names = list(self._parameters)
        self._limits = [_limits(p) for p in self._parameters.values()]
        nuisances = {k: v for k, v in self._parameters.items() if isinstance(v, Nuisance)}
        self.observed: dict[str, float] = _observed(nuisances, observed or {})
        self._constraints = Constraints(nuisances, self._names, self.observed)
        self._binned = None if self.binned is None else self.binned.bind(self._names)

    # --- what it is made of --------------------------------------------------------------------

    @property
    def parameters(self) -> Mapping[str, Parameter | Nuisance]:
        """All parameters by name, in the order of theta."""
        return MappingProxyType(self._parameters)

    @property
    def columns(self) -> RatioColumns | None:
        """The observed events."""
        return None if self.unbinned is None else self.unbinned.columns

    @property
    def reference(self) -> RatioColumns | None:
        """The reference events."""
        return None if self.unbinned is None else self.unbinned.reference

    @property
    def weighted(self) -> bool:
        """Whether the observed events have weights that are not counts."""
        return self.unbinned is not None and self.unbinned.events.weighted

    @property
    def start(self) -> Float:
        """Start values of all parameters, ``(parameter,)``."""
        return np.array([p.value for p in self._parameters.values()], np.float64)

    def theta(self, **values: float) -> Float:
        """An array in the order of `parameters`, each of which must have a value within limits.

        Raises:
            MissingParameterError: One is missing or misspelt.
            UsageError: A value that is not a number, or outside the parameter's limits.
        """
        for name in values:
            if name not in self._parameters:
                message = (
                    f"the likelihood has no parameter {name!r}; it has "
                    f"{nearest(name, self._parameters)}"
                )
                raise MissingParameterError(message)
        missing = [name for name in self._names if name not in values]
        if missing:
            message = (
                f"no value for {', '.join(map(repr, missing[:8]))}; give one to each of "
                f"{nearest(missing[0], self._names)}"
            )
            raise MissingParameterError(message)
        for name, (low, high) in zip(self._names, self._limits, strict=True):
            if not isinstance(values[name], Real):  # else an array of one number may do
                array = np.asarray(values[name])
                if array.ndim or array.dtype.kind not in "iuf":
                    message = f"{name} = {values[name]!r}: one number is needed for a parameter"
                    raise UsageError(message)
            if not low <= values[name] <= high:
                message = f"{name} = {values[name]} is outside of its range [{low}, {high}]"
                raise UsageError(message)
        return np.array([values[name] for name in self._names], np.float64)

    def with_columns(self, columns: Any, *, reference: Any = None) -> Likelihood:
        """The same model and auxiliary measurements with other events."""
        return build(
            self.model, columns, reference=reference, engine=self.engine, observed=self.observed,
            share=self.unbinned,
        )  # fmt: skip

    def with_observed(self, **observed: float) -> Likelihood:
        """The same with other outcomes of auxiliary measurements (global observables)."""
        return Likelihood(
            self.model, self.unbinned, observed={**self.observed, **observed}, engine=self.engine
        )

    # --- by name -------------------------------------------------------------------------------

    def __call__(self, **values: float) -> float:
        """Minus log L, up to a constant, at a point; every parameter needs a value.

        Raises:
            DensityError: The total density is not positive for some events.
        """
        return self.nll(self.theta(**values))

    def gradient(self, **values: float) -> dict[str, float]:
        """Derivatives by each parameter."""
        return dict(
            zip(self._names, self.nll_gradient(self.theta(**values))[1].tolist(), strict=True)
        )

    def hessian(self, **values: float) -> Float:
        """Second derivatives, ``(parameter, parameter)`` in the order of `parameters`."""
        return self.nll_hessian(self.theta(**values))

    # --- by position ---------------------------------------------------------------------------

    def nll(self, theta: Sequence[float] | Float, *, strict: bool = True) -> float:
        """Minus log L at `theta`, in the order of `parameters`; limits are not checked.

        Args:
            strict: Raise where a density is not positive; else return NaN.
        """
        point = self._point(theta)
        if not np.isfinite(point).all():
            return self._undefined(point, strict=strict)
        with np.errstate(all="ignore"):
            value = self._constraints.value(point)
            if self.unbinned is not None:
                value += self.unbinned.value(point)
            if self._binned is not None:
                value += self._binned.value(point)
        if strict and not math.isfinite(value):
            raise self.explain(point)
        return value

    def nll_gradient(
        self, theta: Sequence[float] | Float, *, strict: bool = True
    ) -> tuple[float, Float]:
        """Minus log L and its gradient, ``(parameter,)``."""
        point = self._point(theta)
        if not np.isfinite(point).all():
            return self._undefined(point, strict=strict), np.full(len(point), np.nan)
        with np.errstate(all="ignore"):
            value = self._constraints.value(point)
            gradient = self._constraints.gradient(point)
            for part in (self.unbinned, self._binned):
                if part is not None:
                    more, rise = part.gradient(point)
                    value, gradient = value + more, gradient + rise
        if strict and not math.isfinite(value):
            raise self.explain(point)
        return value, gradient

    def nll_hessian(self, theta: Sequence[float] | Float) -> Float:
        """Second derivatives, ``(parameter, parameter)``."""
        point = self._point(theta)
        if not np.isfinite(point).all():
            self._undefined(point, strict=True)
        with np.errstate(all="ignore"):
            value = self._constraints.value(point)
            if self._binned is not None:
                value += self._binned.value(point)
            if not math.isfinite(value):
                raise self.explain(point)
            total = np.diag(self._constraints.curvature(point))
            if self.unbinned is not None:
                total = total + self.unbinned.hessian(point)
            if self._binned is not None:
                total = total + self._binned.hessian(point)
        return total

    def subsample(self) -> Likelihood | None:
        """About the same function, by an eighth of the events where there are many; None: not.

        A fit goes from its minimum to that of all events.
        """
        unbinned = None if self.unbinned is None else self.unbinned.subsample()
        if unbinned is None:
            return None
        other = copy(self)
        other.unbinned = unbinned
        return other

    def near(
        self, theta: Sequence[float] | Float, before: Likelihood | None = None
    ) -> Likelihood | None:
        """About the same function near a point, by an eighth of the reference events.

        Value and gradient are equal at the point. Fits step with it, and are judged by this one.

        Args:
            before: What this gave near another point.

        Returns:
            None: it would save little.
        """
        if self.unbinned is None:
            return None
        with np.errstate(all="ignore"):
            unbinned = self.unbinned.near(
                self._point(theta), None if before is None else before.unbinned
            )
        if unbinned is None:
            return None
        other = copy(self)
        other.unbinned = unbinned
        return other

    def anchored(self, theta: Sequence[float] | Float) -> Likelihood:
        """The same function, of which `near` gives one that is exact to second order here."""
        if self.unbinned is None:
            return self
        other = copy(self)
        with np.errstate(all="ignore"):
            other.unbinned = self.unbinned.anchored(self._point(theta))
        return other

    def _undefined(self, point: Float, *, strict: bool) -> float:
        """NaN for a point that is not finite, or an error."""
        if strict:
            bad = self._names[int(np.flatnonzero(~np.isfinite(point))[0])]
            message = f"{bad} = {point[self._names.index(bad)]} is not a number"
            raise UsageError(message)
        return math.nan

    def _point(self, theta: Sequence[float] | Float) -> Float:
        point = np.asarray(theta, np.float64)
        if point.shape != (len(self._names),):
            message = f"{point.shape} values for the {len(self._names)} parameters {self._names}"
            raise UsageError(message)
        return point

    def constraint_excess(self, theta: Sequence[float] | Float) -> float:
        """The constraints' part of minus log L, above its value at the outcomes themselves."""
        return self._constraints.excess(self._point(theta))

    def score_covariance(self, theta: Sequence[float] | Float) -> Float:
        """What the gradient varies by for weighted events: ``sum w^2 s s^T``, and constraints."""
        point = self._point(theta)
        with np.errstate(all="ignore"):
            total = np.diag(self._constraints.curvature(point))
            if self.unbinned is not None:
                total = total + self.unbinned.score_covariance(point)
            if self._binned is not None:
                total = total + self._binned.hessian(point)
        return total

    def explain(self, point: Float) -> DensityError:
        """The error for a point without a likelihood: which process, how many events, where."""
        if self.unbinned is not None:
            with np.errstate(all="ignore"):
                broken = not math.isfinite(self.unbinned.value(point))
            if broken:
                return self.unbinned.explain(point)
        if self._binned is not None:
            return self._binned.explain(point)
        return DensityError(f"a constraint is not a finite number at {point.tolist()}")

    def to_roofit(
        self, route: Route = "columns", *, tolerance: float = 1e-3, reach: float = 5.0
    ) -> RooFitObjects:
        """RooFit objects of this likelihood: see `rootml.sbi.roofit.to_roofit`."""
        from rootml.sbi.roofit import to_roofit

        return to_roofit(self, route, tolerance=tolerance, reach=reach)

    # --- repr ----------------------------------------------------------------------------------

    def _facts(self) -> list[tuple[str, str]]:
        facts = []
        if self.unbinned is not None:
            events = self.unbinned.events
            facts.append(("events", f"{events.num_events:,}"))
            if events.weights is not None:
                facts.append(("sum of weights", f"{events.sum_of_weights:,.6g}"))
            if self.unbinned.has_reference:
                number = self.unbinned.num_reference_events
                facts.append(("reference events", f"{number:,}"))
        facts.append(("processes", ", ".join(self.model.processes)))
        facts.append(("parameters", ", ".join(self._names)))
        if self.binned is not None:
            facts.append(("binned channels", ", ".join(self.binned.channels)))
        return facts

    def __repr__(self) -> str:
        return facts_text([("Likelihood", ""), *self._facts()])

    def _html_title(self) -> str:
        return "rootml.sbi.Likelihood"

    def _html_parts(self) -> list[Part]:
        return [self._facts()]


def build(
    model: Model,
    columns: Any,
    *,
    reference: Any = None,
    engine: str = "auto",
    observed: Mapping[str, float] | None = None,
    share: Unbinned | None = None,
    threads: int | None = None,
) -> Likelihood:
    """See `Model.likelihood`.

    Args:
        share: A channel whose reference events are used if there are no others.
        threads: None: those of `share`, or 1.
    """
    if threads is None:
        threads = 1 if share is None else share.threads
    threads = check_whole("threads", threads, minimum=1)
    names = list(model.all_parameters)
    unbinned = None
    if model.processes:
        known = None if reference is None else as_columns(reference)
        same = known is not None and columns is reference
        given = known if same else as_columns(columns)
        assert given is not None
        unbinned = Unbinned(model, given, known, names, engine, share=share, threads=threads)
    elif columns is not None:
        message = "the model has only binned channels: their counts are in it, pass columns=None"
        raise UsageError(message)
    return Likelihood(model, unbinned, observed=observed, engine=engine)


def mixture_of(like: Fittable, what: str) -> Likelihood:
    """The same, known to be a mixture of columns with a model.

    Args:
        what: The function that needs one, for the error.

    Raises:
        UsageError: Another kind of likelihood.
    """
    if isinstance(like, Likelihood):
        return like
    message = (
        f"{what} needs a model's expectation for its events, so a likelihood of "
        f"Model.likelihood(...), not a {type(like).__name__}"
    )
    raise UsageError(message)


def _limits(parameter: Parameter | Nuisance) -> tuple[float, float]:
    low = -math.inf if parameter.lower is None else parameter.lower
    high = math.inf if parameter.upper is None else parameter.upper
    return low, high


def _observed(nuisances: Mapping[str, Nuisance], given: Mapping[str, float]) -> dict[str, float]:
    constrained = {k: v for k, v in nuisances.items() if v.constraint != "none"}
    for name, value in given.items():
        if name not in constrained:
            message = (
                f"{name!r} has no auxiliary measurement; these have: {nearest(name, constrained)}"
            )
            raise MissingParameterError(message)
        if not math.isfinite(value):
            message = f"the auxiliary measurement of {name!r} cannot be {value}"
            raise UsageError(message)
    return {k: float(given.get(k, v.observed)) for k, v in constrained.items()}  # type: ignore[arg-type]
