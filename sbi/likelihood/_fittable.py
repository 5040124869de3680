"""What fits need of a likelihood, whatever it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from rootml._internal.types import Float
from rootml.errors import DensityError, UsageError
from rootml.sbi.likelihood._parameters import Nuisance, Parameter


class Fittable(Protocol):
    """A function to minimise, with its derivatives: what `rootml.sbi.fit` takes.

    `Likelihood`, `ShiftedLikelihood`, `RatioLikelihood` and `CombinedLikelihood` are such; so is
    any object with these, for likelihoods of your own. theta is an array in the order of
    `parameters`; functions must be able to take any value within the parameters' limits. An
    attribute `weighted` that is true says that events have weights that are not counts.

    >>> import numpy as np, rootml
    >>> from rootml import sbi
    >>> class Parabola:                                   # two measurements of one number
    ...     parameters = {"m": sbi.Parameter(0.0)}
    ...     observed = {}
    ...     start = np.zeros(1)
    ...     def nll(self, theta, *, strict=True):
    ...         return float((theta[0] - 1) ** 2 / 2 + (theta[0] - 3) ** 2 / 2)
    ...     def nll_gradient(self, theta, *, strict=True):
    ...         return self.nll(theta), np.array([2 * theta[0] - 4.0])
    ...     def nll_hessian(self, theta):
    ...         return np.array([[2.0]])
    ...     def score_covariance(self, theta):
    ...         return self.nll_hessian(theta)
    ...     def explain(self, point):
    ...         return rootml.errors.DensityError(f"no likelihood at {point}")
    >>> result = sbi.fit(Parabola())
    >>> round(result.values["m"], 6), round(result.errors["m"], 6)
    (2.0, 0.707107)
    """

    @property
    def parameters(self) -> Mapping[str, Parameter | Nuisance]:
        """All parameters by name, in the order of theta."""
        ...

    @property
    def observed(self) -> Mapping[str, float]:
        """Outcomes of the auxiliary measurements of constrained nuisances, by name."""
        ...

    @property
    def start(self) -> Float:
        """Start values, ``(parameter,)``."""
        ...

    def nll(self, theta: Sequence[float] | Float, *, strict: bool = True) -> float:
        """Minus log L with its constraints; where there is none NaN, or an error if strict."""
        ...

    def nll_gradient(
        self, theta: Sequence[float] | Float, *, strict: bool = True
    ) -> tuple[float, Float]:
        """Minus log L and its gradient, ``(parameter,)``."""
        ...

    def nll_hessian(self, theta: Sequence[float] | Float) -> Float:
        """Second derivatives, ``(parameter, parameter)``."""
        ...

    def score_covariance(self, theta: Sequence[float] | Float) -> Float:
        """What the gradient varies by for weighted events, ``(parameter, parameter)``."""
        ...

    def explain(self, point: Float) -> DensityError:
        """The error for a point without a likelihood."""
        ...


def check_fittable(like: object) -> None:
    """Refuse what is no likelihood.

    Raises:
        UsageError: Says what would be one.
    """
    if all(hasattr(like, name) for name in ("parameters", "nll_gradient", "nll_hessian")):
        return
    instead = "make one of a model by model.likelihood(columns)"
    if hasattr(like, "like"):
        instead = "a fit has it as its .like"
    message = f"a likelihood is needed, not a {type(like).__name__}: {instead}"
    raise UsageError(message)


def subsample(like: Fittable) -> Fittable | None:
    """About the same likelihood by a part of its events; None: it has none that is cheaper."""
    find = getattr(type(like), "subsample", None)  # of the class: wrappers hand on the rest
    found: Fittable | None = None if find is None else find(like)
    return found


def nearby(like: Fittable, theta: Float, before: Fittable | None = None) -> Fittable | None:
    """About the same likelihood near a point, evaluated faster; None: none is.

    Args:
        before: One from near another point.
    """
    find = getattr(type(like), "near", None)
    found: Fittable | None = None if find is None else find(like, theta, before)
    return found


def anchored(like: Fittable, theta: Float) -> Fittable:
    """The same likelihood, of which `nearby` gives one that is exact to second order here."""
    find = getattr(type(like), "anchored", None)
    found: Fittable = like if find is None else find(like, theta)
    return found


def is_weighted(like: Fittable) -> bool:
    """Whether events have weights that are not counts, so that plain errors are wrong."""
    return bool(getattr(like, "weighted", False))
