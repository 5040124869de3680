"""`CombinedLikelihood`: independent measurements that share parameters.

::

    nll(theta) = sum over parts of nll_part(theta of the part)
                 - constraints of shared nuisances, for every part but the first that has them
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.reprs import HtmlRepr, Part, facts_text
from rootml._internal.types import Float
from rootml._internal.validators import is_a
from rootml.errors import DensityError, MissingParameterError, UsageError, nearest
from rootml.sbi.likelihood._constraints import Constraints, Indices
from rootml.sbi.likelihood._fittable import (
    Fittable,
    anchored,
    check_fittable,
    is_weighted,
    nearby,
    subsample,
)
from rootml.sbi.likelihood._parameters import Nuisance, Parameter

if TYPE_CHECKING:
    from rootml.sbi.roofit import RooFitObjects
    from rootml.sbi.roofit._make import Route


@dataclass(frozen=True)
class _Part:
    """One of the likelihoods; the places of its parameters; constraints that others count."""

    name: str
    like: Fittable
    indices: Indices
    counted: Constraints


class CombinedLikelihood(HtmlRepr):
    """The product of likelihoods of independent events: channels, years, experiments.

    Parameters of the same name are one parameter, and must be declared the same in all parts; the
    constraint of a nuisance that several parts share counts once. What takes a `Fittable` takes
    this: `fit` with MINOS, profiles and contours, `impacts`, `discovery`, `to_roofit("nll")`; also
    `limit` and `toys`. Binned channels may as well be in the model of a part.

    Args:
        parts: Likelihoods by name.

    Raises:
        UsageError: No part, or a parameter that two parts declare differently.

    >>> from rootml.sbi import Model, Nuisance, Parameter, fit
    >>> strength, lumi = Parameter(1.0, lower=0.0), Nuisance(yields={"S": 1.1})
    >>> def channel(expected, events):
    ...     model = Model({"S": f"mu * {expected}"}, {"mu": strength}, {"lumi": lumi})
    ...     return model.likelihood({"S": [1.0] * events})
    >>> both = CombinedLikelihood({"ee": channel(40, 50), "mumu": channel(60, 70)})
    >>> round(fit(both).values["mu"], 4)                  # 120 events where 100 are expected
    1.2
    """

    def __init__(self, parts: Mapping[str, Fittable]) -> None:
        if not parts or not is_a(parts, Mapping):
            message = "CombinedLikelihood needs likelihoods by name, at least one"
            raise UsageError(message)
        self._parameters: dict[str, Parameter | Nuisance] = {}
        self._observed: dict[str, float] = {}
        owner: dict[str, str] = {}
        shared: dict[str, dict[str, Nuisance]] = {}
        for name, like in parts.items():
            check_fittable(like)
            shared[name] = {}
            for key, parameter in like.parameters.items():
                if key not in owner:
                    owner[key] = name
                    self._parameters[key] = parameter
                    continue
                self._check_same(key, parts[owner[key]], owner[key], like, name)
                if isinstance(parameter, Nuisance) and parameter.constraint != "none":
                    shared[name][key] = parameter
            self._observed |= like.observed
        names = list(self._parameters)
        self._parts = [
            _Part(
                name, like, np.array([names.index(key) for key in like.parameters], np.intp),
                Constraints(shared[name], list(like.parameters), like.observed),
            )
            for name, like in parts.items()
        ]  # fmt: skip

    @staticmethod
    def _check_same(key: str, first: Fittable, one: str, second: Fittable, other: str) -> None:
        left, right = (_facts(like, key) for like in (first, second))
        if left != right:
            differ = [what for what in left if left[what] != right.get(what)]
            message = (
                f"parameter {key!r} is not the same in {one!r} and {other!r}: "
                + ", ".join(f"{what} {left[what]} and {right.get(what)}" for what in differ)
                + "; give it another name in one of them if it is another parameter"
            )
            raise UsageError(message)

    # --- what it is made of --------------------------------------------------------------------

    @property
    def parts(self) -> Mapping[str, Fittable]:
        """The likelihoods by name."""
        return MappingProxyType({part.name: part.like for part in self._parts})

    @property
    def parameters(self) -> Mapping[str, Parameter | Nuisance]:
        """All parameters by name, in the order of theta: those of the first part come first."""
        return MappingProxyType(self._parameters)

    @property
    def observed(self) -> Mapping[str, float]:
        """Outcomes of the auxiliary measurements of all parts."""
        return MappingProxyType(self._observed)

    @property
    def weighted(self) -> bool:
        """Whether events of a part have weights that are not counts."""
        return any(is_weighted(part.like) for part in self._parts)

    @property
    def start(self) -> Float:
        """Start values, ``(parameter,)``."""
        return np.array([p.value for p in self._parameters.values()], np.float64)

    # --- by name -------------------------------------------------------------------------------

    def __call__(self, **values: float) -> float:
        """Minus log L at a point; every parameter needs a value."""
        return self.nll(self.theta(**values))

    def gradient(self, **values: float) -> dict[str, float]:
        """Derivatives by each parameter."""
        gradient = self.nll_gradient(self.theta(**values))[1]
        return dict(zip(self._parameters, gradient.tolist(), strict=True))

    def hessian(self, **values: float) -> Float:
        """Second derivatives, ``(parameter, parameter)``."""
        return self.nll_hessian(self.theta(**values))

    def theta(self, **values: float) -> Float:
        """An array in the order of `parameters`.

        Raises:
            MissingParameterError: One is missing or misspelt.
        """
        for name in values:
            if name not in self._parameters:
                message = f"no parameter {name!r}; available: {nearest(name, self._parameters)}"
                raise MissingParameterError(message)
        for name in self._parameters:
            if name not in values:
                message = f"no value for the parameter {name!r}"
                raise MissingParameterError(message)
        return np.array([values[name] for name in self._parameters], np.float64)

    # --- by position ---------------------------------------------------------------------------

    def nll(self, theta: Sequence[float] | Float, *, strict: bool = True) -> float:
        """Minus log L at `theta`, in the order of `parameters`.

        Args:
            strict: Raise where there is no value; otherwise return NaN.
        """
        point = self._point(theta)
        total = 0.0
        with np.errstate(all="ignore"):
            for part in self._parts:
                own = point[part.indices]
                total += part.like.nll(own, strict=strict) - part.counted.value(own)
        return total

    def nll_gradient(
        self, theta: Sequence[float] | Float, *, strict: bool = True
    ) -> tuple[float, Float]:
        """Minus log L and its gradient, ``(parameter,)``."""
        point = self._point(theta)
        total, gradient = 0.0, np.zeros(len(point))
        with np.errstate(all="ignore"):
            for part in self._parts:
                own = point[part.indices]
                value, rise = part.like.nll_gradient(own, strict=strict)
                total += value - part.counted.value(own)
                gradient[part.indices] += rise - part.counted.gradient(own)
        return total, gradient

    def nll_hessian(self, theta: Sequence[float] | Float) -> Float:
        """Second derivatives, ``(parameter, parameter)``."""
        point = self._point(theta)
        return self._summed([part.like.nll_hessian(point[part.indices]) for part in self._parts],
                            point)  # fmt: skip

    def subsample(self) -> CombinedLikelihood | None:
        """About the same function by a part of the events: see `Likelihood.subsample`."""
        return self._with_parts([subsample(part.like) for part in self._parts])

    def near(
        self, theta: Sequence[float] | Float, before: CombinedLikelihood | None = None
    ) -> CombinedLikelihood | None:
        """About the same function near a point, evaluated faster: see `Likelihood.near`."""
        point = self._point(theta)
        earlier = [None] * len(self._parts) if before is None else [p.like for p in before._parts]
        return self._with_parts([
            nearby(part.like, point[part.indices], like)
            for part, like in zip(self._parts, earlier, strict=True)
        ])  # fmt: skip

    def anchored(self, theta: Sequence[float] | Float) -> CombinedLikelihood:
        """The same function, of which `near` gives a better one: see `Likelihood.anchored`."""
        point = self._point(theta)
        found = self._with_parts([anchored(p.like, point[p.indices]) for p in self._parts])
        assert found is not None
        return found

    def _with_parts(self, found: Sequence[Fittable | None]) -> CombinedLikelihood | None:
        """With other likelihoods where they are not None; None: there are none."""
        if all(like is None for like in found):
            return None
        other = copy(self)
        other._parts = [
            part if like is None else replace(part, like=like)
            for part, like in zip(self._parts, found, strict=True)
        ]
        return other

    def score_covariance(self, theta: Sequence[float] | Float) -> Float:
        """What the gradient varies by for weighted events, ``(parameter, parameter)``."""
        point = self._point(theta)
        found = [part.like.score_covariance(point[part.indices]) for part in self._parts]
        return self._summed(found, point)

    def _summed(self, matrices: Sequence[Float], point: Float) -> Float:
        total = np.zeros((len(point), len(point)))
        for part, matrix in zip(self._parts, matrices, strict=True):
            twice = np.diag(part.counted.curvature(point[part.indices]))
            total[np.ix_(part.indices, part.indices)] += matrix - twice
        return total

    def constraint_excess(self, theta: Sequence[float] | Float) -> float:
        """The constraints' part of minus log L, above its value at the outcomes themselves."""
        point = self._point(theta)
        total = 0.0
        for part in self._parts:
            like, own = part.like, point[part.indices]
            total += like.constraint_excess(own) - part.counted.excess(own)  # type: ignore[attr-defined]
        return total

    def explain(self, point: Float) -> DensityError:
        """The error for a point without a likelihood, of the part that has none there."""
        for part in self._parts:
            own = np.asarray(point, np.float64)[part.indices]
            if not math.isfinite(part.like.nll(own, strict=False)):
                return DensityError(f"{part.name}: {part.like.explain(own)}")
        return DensityError(f"the likelihood is not a finite number at {list(point)}")

    def _point(self, theta: Sequence[float] | Float) -> Float:
        point = np.asarray(theta, np.float64)
        if point.shape != (len(self._parameters),):
            message = (
                f"{point.shape} values for the {len(self._parameters)} parameters "
                f"{list(self._parameters)}"
            )
            raise UsageError(message)
        return point

    def with_observed(self, **observed: float) -> CombinedLikelihood:
        """The same with other outcomes of auxiliary measurements, in all parts that have them."""
        for name in observed:
            if name not in self._observed:
                message = (
                    f"{name!r} has no auxiliary measurement; these have: "
                    f"{nearest(name, self._observed)}"
                )
                raise MissingParameterError(message)

        def moved(like: Any) -> Fittable:
            ours = {k: v for k, v in observed.items() if k in like.observed}
            return like.with_observed(**ours) if ours else like  # type: ignore[no-any-return]

        return CombinedLikelihood({part.name: moved(part.like) for part in self._parts})

    def to_roofit(self, route: Route = "nll") -> RooFitObjects:
        """RooFit's NLL of this likelihood: see `rootml.sbi.roofit.to_roofit`."""
        from rootml.sbi.roofit import to_roofit

        return to_roofit(self, route)

    # --- repr ----------------------------------------------------------------------------------

    def _lines(self) -> list[tuple[str, str]]:
        parts = [(part.name, ", ".join(part.like.parameters)) for part in self._parts]
        return [*parts, ("parameters", ", ".join(self._parameters))]

    def __repr__(self) -> str:
        return facts_text([("CombinedLikelihood", f"{len(self._parts)} parts"), *self._lines()])

    def _html_parts(self) -> list[Part]:
        return [self._lines()]


def _facts(like: Fittable, name: str) -> dict[str, Any]:
    """What must be the same in all parts that have a parameter."""
    parameter = like.parameters[name]
    facts: dict[str, Any] = {
        "value": parameter.value, "lower": parameter.lower, "upper": parameter.upper,
        "fixed": parameter.fixed, "constraint": "none",
    }  # fmt: skip
    if isinstance(parameter, Nuisance) and parameter.constraint != "none":
        observed = like.observed[name]
        facts |= {
            "constraint": parameter.constraint, "width": parameter.width, "observed": observed
        }  # fmt: skip
    return facts
