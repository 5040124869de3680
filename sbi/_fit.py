"""Fits by iminuit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rootml._optional import optional_import
from rootml._repr import Grid, facts_text
from rootml.errors import ConvergenceError, MissingParameterError, UsageError, nearest
from rootml.sbi._likelihood import Likelihood
from rootml.sbi._model import Nuisance, Parameter
from rootml.sbi._morph import Array

_TOLERANCE = 1e-3  # of Minuit: an estimated distance of 1e-6, a thousandth of a standard deviation
_NEAR_LIMIT = 1e-3  # of the range or of the error: nearer than this is "at the limit"


class Objective:
    """What Minuit minimises: the likelihood with some parameters fixed, and a wall.

    Where a density is not positive the likelihood has no value. Minuit is told a number far above
    all that it saw, so that its line search turns back; `outside` counts how often.
    """

    def __init__(self, like: Likelihood) -> None:
        self.like = like
        self.outside = 0
        self._greatest = -math.inf
        self._least = math.inf

    def __call__(self, theta: Array) -> float:
        value = self.like.nll(theta, strict=False)
        if math.isfinite(value):
            self._greatest = max(self._greatest, value)
            self._least = min(self._least, value)
            return value
        self.outside += 1
        if not math.isfinite(self._least):
            self.like.nll(theta)  # the very first point: raises, and says why
        return self._greatest + max(1e3, 10.0 * (self._greatest - self._least))

    def gradient(self, theta: Array) -> Array:
        """The gradient; that of the wall is not known, so it is flat."""
        value, slopes = self.like.nll_gradient(theta, strict=False)
        if math.isfinite(value) and np.isfinite(slopes).all():
            return slopes
        self.outside += 1
        return np.zeros_like(theta)


@dataclass
class FitResult:
    """The outcome of a fit.

    Attributes:
        like: What was fitted.
        values: Parameter values at the minimum.
        errors: Their standard deviations by the second derivatives (0 for fixed ones).
        covariance: ``(parameter, parameter)`` in the order of ``like.parameters``; rows of fixed
            parameters are 0.
        nll: Minus log L at the minimum.
        valid: Whether Minuit found a minimum and the second derivatives make a covariance.
        problems: What is wrong or worth knowing, in words; empty if nothing.
        at_limit: Parameters that ended at one of their limits.
        fixed: Parameters that were not varied.
        calls: Evaluations of the likelihood, and of its gradient.
    """

    like: Likelihood
    values: dict[str, float]
    errors: dict[str, float]
    covariance: Array
    nll: float
    valid: bool
    problems: list[str]
    at_limit: list[str]
    fixed: list[str]
    calls: tuple[int, int]
    _minuit: Any = field(repr=False, default=None)

    @property
    def theta(self) -> Array:
        """The values in the order of ``like.parameters``."""
        return np.array(list(self.values.values()))

    @property
    def correlation(self) -> Array:
        """The correlation matrix; 0 for fixed parameters."""
        sigma = np.sqrt(np.diag(self.covariance))
        scale = np.where(sigma > 0.0, sigma, 1.0)
        return np.asarray(self.covariance / np.outer(scale, scale))

    def require_valid(self) -> FitResult:
        """Itself, if the fit converged.

        Raises:
            ConvergenceError: It did not; says how it ended.
        """
        if not self.valid:
            message = f"the fit did not converge: {'; '.join(self.problems)}"
            raise ConvergenceError(message)
        return self

    def minos(self, name: str, *, level: float = 0.682689492137) -> tuple[float, float]:
        """The interval in which -2 log L rises by less than the quantile of one parameter.

        Returns:
            Lower and upper end; an end beyond the parameter's limit is the limit.

        Raises:
            ConvergenceError: An end was not found.
        """
        self._check(name)
        self.require_valid()
        self._minuit.minos(name, cl=level)
        merror = self._minuit.merrors[name]
        value = self.values[name]
        low, high = _limits_of(self.like, name)
        ends = []
        for side, ok, at_limit, limit in (
            (merror.lower, merror.lower_valid, merror.at_lower_limit, low),
            (merror.upper, merror.upper_valid, merror.at_upper_limit, high),
        ):
            if at_limit:
                ends.append(limit)
            elif ok:
                ends.append(value + side)
            else:
                message = f"MINOS found no end of the interval of {name!r}: {merror}"
                raise ConvergenceError(message)
        return ends[0], ends[1]

    def _check(self, name: str) -> None:
        if name not in self.values:
            message = f"no parameter {name!r}; there is {nearest(name, self.values)}"
            raise MissingParameterError(message)
        if name in self.fixed:
            message = f"{name!r} was fixed in this fit"
            raise UsageError(message)

    def _grid(self) -> Grid:
        rows = []
        for name, value in self.values.items():
            note = "fixed" if name in self.fixed else "at limit" if name in self.at_limit else ""
            rows.append((name, f"{value:.6g}", f"{self.errors[name]:.3g}", note))
        return Grid(("parameter", "value", "error", ""), rows)

    def _facts(self) -> list[tuple[str, str]]:
        facts = [
            ("minimum", "valid" if self.valid else "INVALID"),
            ("-log L", f"{self.nll:.6f}"),
            ("calls", f"{self.calls[0]} values, {self.calls[1]} gradients"),
        ]
        return facts + [("note", problem) for problem in self.problems]

    def __repr__(self) -> str:
        return f"{facts_text(self._facts())}\n{self._grid()}"

    def _repr_html_(self) -> str:
        from rootml._repr import facts_html

        return facts_html(self._facts()) + self._grid().html()


def fit(
    like: Likelihood,
    *,
    fixed: Mapping[str, float] | None = None,
    start: Mapping[str, float] | None = None,
    gradient: bool = True,
    strategy: int = 1,
    calls: int | None = None,
) -> FitResult:
    """Maximise a likelihood.

    MIGRAD with the analytic gradient; the covariance is the inverse of the analytic Hessian, or
    Minuit's HESSE when a parameter is at its limit or the Hessian is not positive.

    Args:
        fixed: Parameters to hold, with their values.
        start: Start values other than the parameters' own.
        gradient: Use the analytic gradient; False: Minuit's finite differences.
        strategy: Minuit's strategy.
        calls: Most evaluations of the likelihood; None: Minuit's rule.

    Raises:
        MissingParameterError: `fixed` or `start` names no parameter.
        DensityError: The density is not positive at the start.

    >>> from rootml.sbi import Model, Parameter
    >>> model = Model({"S": "mu * 3"}, {"mu": Parameter(0.5, lower=0.0)})
    >>> result = fit(model.likelihood({"S": [1.0] * 6}))
    >>> round(result.values["mu"], 4), round(result.errors["mu"], 4)
    (1.9998, 0.8164)
    """
    minuit, objective = prepare(
        like, fixed=fixed or {}, start=start or {}, gradient=gradient, strategy=strategy
    )
    minuit.migrad(ncall=calls)
    return harvest(like, minuit, objective)


def prepare(
    like: Likelihood,
    *,
    fixed: Mapping[str, float],
    start: Mapping[str, float],
    gradient: bool,
    strategy: int,
) -> tuple[Any, Objective]:
    """A Minuit object of the likelihood."""
    iminuit = optional_import("iminuit", feature="sbi.fit", extra="sbi")
    names = list(like.parameters)
    for given in (fixed, start):
        for name in given:
            if name not in like.parameters:
                message = f"no parameter {name!r}; there is {nearest(name, names)}"
                raise MissingParameterError(message)
    values = {name: p.value for name, p in like.parameters.items()} | dict(start) | dict(fixed)
    objective = Objective(like)
    minuit = iminuit.Minuit(
        objective,
        np.array([values[name] for name in names], np.float64),
        grad=objective.gradient if gradient else None,
        name=names,
    )
    minuit.errordef = iminuit.Minuit.LIKELIHOOD
    minuit.strategy = strategy
    minuit.tol = _TOLERANCE
    for name, parameter in like.parameters.items():
        minuit.limits[name] = (parameter.lower, parameter.upper)
        minuit.errors[name] = _step(parameter)
        minuit.fixed[name] = parameter.fixed or name in fixed
    return minuit, objective


def _step(parameter: Parameter | Nuisance) -> float:
    if isinstance(parameter, Nuisance) and parameter.constraint == "gaussian":
        return parameter.width
    return max(0.1 * abs(parameter.value or 0.0), 0.01)


def harvest(like: Likelihood, minuit: Any, objective: Objective) -> FitResult:
    """The result of a minimisation, with an honest account of it."""
    names = list(like.parameters)
    theta = np.array(minuit.values, np.float64)
    fixed = [name for name in names if minuit.fixed[name]]
    problems = _problems(minuit, objective)
    covariance, certain = _covariance(like, minuit, theta, problems)
    sigma = np.sqrt(np.clip(np.diag(covariance), 0.0, None))
    at_limit = [
        name
        for name, value, error in zip(names, theta, sigma, strict=True)
        if name not in fixed and _is_at_limit(value, error, *_limits_of(like, name))
    ]
    problems += [f"{name} is at its limit: its error is not to be trusted" for name in at_limit]
    value = like.nll(theta, strict=False)
    if not math.isfinite(value):
        problems.append(str(like._explain(theta)))
    valid = bool(minuit.valid) and certain and math.isfinite(value)
    return FitResult(
        like, dict(zip(names, theta.tolist(), strict=True)),
        dict(zip(names, sigma.tolist(), strict=True)), covariance, value, valid, problems,
        at_limit, fixed, (int(minuit.nfcn), int(minuit.ngrad)), minuit,
    )  # fmt: skip


def _problems(minuit: Any, objective: Objective) -> list[str]:
    problems = []
    minimum = minuit.fmin
    if minimum is not None and not minuit.valid:
        if minimum.has_reached_call_limit:
            problems.append("MIGRAD reached its limit of calls")
        if minimum.is_above_max_edm:
            problems.append(f"the estimated distance to the minimum is {minimum.edm:.2g}")
        if not problems:
            problems.append("MIGRAD found no valid minimum")
    if objective.outside:
        problems.append(
            f"on its way the fit met points without a positive density {objective.outside} times"
        )
    return problems


def _covariance(
    like: Likelihood, minuit: Any, theta: Array, problems: list[str]
) -> tuple[Array, bool]:
    """Covariance of all parameters, and whether it is one."""
    names = list(like.parameters)
    covariance = np.zeros((len(names), len(names)))
    free = np.array([i for i, name in enumerate(names) if not minuit.fixed[name]], np.intp)
    if not len(free):
        return covariance, True
    try:
        hessian = like.nll_hessian(theta)[np.ix_(free, free)]
        factor = np.linalg.cholesky(hessian)
    except (ArithmeticError, ValueError, np.linalg.LinAlgError):
        problems.append("the second derivatives at the minimum are not positive definite")
        return covariance, False
    inverse = np.linalg.inv(factor)
    covariance[np.ix_(free, free)] = inverse.T @ inverse
    return covariance, True


def _limits_of(like: Likelihood, name: str) -> tuple[float, float]:
    parameter = like.parameters[name]
    low = -math.inf if parameter.lower is None else parameter.lower
    high = math.inf if parameter.upper is None else parameter.upper
    return low, high


def _is_at_limit(value: float, error: float, low: float, high: float) -> bool:
    near = _NEAR_LIMIT * error
    return value - low <= near or high - value <= near
