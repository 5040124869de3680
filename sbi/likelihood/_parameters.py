"""`Parameter` and `Nuisance`: what fits vary, with limits, constraints and effects on yields."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Literal, TypeAlias

from rootml._internal.validators import is_a, is_number
from rootml.errors import UsageError
from rootml.sbi.likelihood._interpolation import CODES

Constraint: TypeAlias = Literal["gaussian", "poisson", "lognormal", "none"]
Effect: TypeAlias = tuple[float, float]
CONSTRAINTS = ("gaussian", "poisson", "lognormal", "none")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter without a constraint: one of interest, or a free normalisation.

    Attributes:
        value: Where fits start, and the truth of an Asimov data set unless told otherwise.
        lower: Lower limit; None means unbounded.
        upper: Upper limit; None means unbounded.
        fixed: Kept at `value` by fits.

    >>> Parameter(1.0, lower=0.0)
    Parameter(value=1.0, lower=0.0, upper=None, fixed=False)
    """

    value: float
    lower: float | None = None
    upper: float | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        check_range(self.value, self.lower, self.upper)
        finite_limits(self)


@dataclass(frozen=True, slots=True)
class Nuisance:
    """A nuisance parameter: its constraint, and what it does to the yields.

    What it does to the shapes is in the columns of `Model.likelihood`; that needs no entry here.

    Attributes:
        constraint: The distribution of its auxiliary measurement (global observable) around it:
            ``"gaussian"`` of standard deviation `width`; ``"poisson"``, a count of mean
            ``width * parameter``; ``"lognormal"``, whose logarithm spreads by ``log(width)``;
            ``"none"``.
        yields: Per process the factor of its yield at +1 and at -1, e.g. ``(1.05, 0.96)``; one
            number ``k`` means ``(k, 1 / k)``.
        value: Where fits start; None: 0 for a Gaussian constraint, else 1.
        width: Width or size of the auxiliary measurement, see `constraint`.
        observed: Its outcome; None: what is expected at `value`.
        interpolation: Between the shapes at -1, 0, +1: ``"log-quadratic"`` (``exp(A a + C a^2)``),
            ``"code0"`` (piecewise linear), ``"code1"`` (piecewise exponential), ``"code4"``
            (sixth-order polynomial, linear outside +-1), ``"code5"`` (sixth-order polynomial,
            exponential outside): the numbers of ROOT's PiecewiseInterpolation. pyhf's names for
            the last two are code4p and code4.
        yield_interpolation: The same for `yields`.
        lower: Lower limit; None means unbounded (Gaussian), or just above 0.
        upper: Upper limit; None means unbounded.
        fixed: Kept at `value` by fits.

    >>> Nuisance(yields={"B": 1.25}).yields
    {'B': (1.25, 0.8)}
    """

    constraint: Constraint = "gaussian"
    yields: Mapping[str, Effect | float] = field(default_factory=dict)
    value: float | None = None
    width: float = 1.0
    observed: float | None = None
    interpolation: str = "log-quadratic"
    yield_interpolation: str = "code5"
    lower: float | None = None
    upper: float | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        _one_of(self.constraint, CONSTRAINTS, "constraint")
        _one_of(self.interpolation, CODES, "interpolation")
        _one_of(self.yield_interpolation, CODES, "yield_interpolation")
        positive = self.constraint in {"poisson", "lognormal"}
        set_ = object.__setattr__  # frozen: what was left out is filled in once, here
        if self.value is None:
            set_(self, "value", 1.0 if positive else 0.0)
        if positive and self.lower is None:
            set_(self, "lower", 1e-10)
        minimum = 1.0 if self.constraint == "lognormal" else 0.0
        if not (is_number(self.width) and self.width > minimum):
            message = f"the width of a {self.constraint} constraint must exceed {minimum:g}, not "
            message += f"{self.width}"
            raise UsageError(message)
        assert self.value is not None
        check_range(self.value, self.lower, self.upper)
        finite_limits(self)
        if self.observed is None:
            scale = self.width if self.constraint == "poisson" else 1.0
            set_(self, "observed", scale * self.value)
        _check_observed(self.observed, positive=positive, constraint=self.constraint)
        set_(self, "yields", {name: _effect(name, e) for name, e in self.yields.items()})


def _check_observed(observed: float | None, *, positive: bool, constraint: str) -> None:
    minimum = {"poisson": 0.0, "lognormal": 5e-324}.get(constraint, -math.inf)
    if observed is None or not math.isfinite(observed) or (positive and observed < minimum):
        message = f"the auxiliary measurement of a {constraint} constraint cannot be {observed}"
        raise UsageError(message)


def _one_of(word: str, words: Collection[str], what: str) -> None:
    if word not in words:
        message = f"{what} {word!r} must be one of {', '.join(map(repr, words))}"
        raise UsageError(message)


def _effect(process: str, effect: Effect | float) -> Effect:
    up = down = math.nan
    if is_number(effect):
        up = float(effect)  # type: ignore[arg-type]
        down = 1.0 / up if up else math.nan
    else:
        sides = list(effect) if isinstance(effect, Iterable) else []
        if len(sides) == 2 and all(map(is_number, sides)):
            up, down = map(float, sides)
    if not (math.isfinite(up) and math.isfinite(down) and up > 0.0 and down > 0.0):
        message = (
            f"the effect on the yield of {process!r} must be two positive factors (up, down), "
            f"e.g. (1.05, 0.96), not {effect}"
        )
        raise UsageError(message)
    return up, down


def finite_limits(parameter: Parameter | Nuisance) -> None:
    """Write an infinite limit as none."""
    for name in ("lower", "upper"):
        limit = getattr(parameter, name)
        if limit is not None and math.isinf(limit):
            object.__setattr__(parameter, name, None)


def check_range(value: float, lower: float | None, upper: float | None) -> None:
    """Refuse what is not a number, and a value that is not finite or lies outside its limits."""
    given = {"value": value, "lower": lower, "upper": upper}
    for what, number in given.items():
        if what != "value" and number is None:
            continue
        if is_a(number, bool) or not is_a(number, Real):
            message = f"{what}={number!r} of a parameter: a number is needed, not a "
            message += type(number).__name__
            raise UsageError(message)
    low = -math.inf if lower is None else lower
    high = math.inf if upper is None else upper
    if not (math.isfinite(value) and low <= value <= high and low < high):
        message = f"a parameter of value {value} does not fit the range [{lower}, {upper}]"
        raise UsageError(message)
