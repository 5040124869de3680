"""Functions of numbers, applied to each element.

Arguments are NumPy arrays, or awkward lists where their lengths have to be broadcast; integers are
int64, floats float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np

from rootml._internal.optional import optional_import
from rootml._internal.types import EventValues
from rootml.errors import ExpressionError
from rootml.expressions._integers import (
    any_at_all,
    check_negative,
    check_overflow,
    check_whole_number,
    is_integer,
)

_EXACT_FLOAT = 1 << 24  # integers up to this are exact in single precision


def select(condition: Any, one: Any, other: Any) -> EventValues:
    """``condition ? one : other`` for each element."""
    if any(isinstance(each, ak.Array) for each in (condition, one, other)):
        return ak.where(*ak.broadcast_arrays(condition, one, other))
    return np.where(condition, one, other)


# --- angles and kinematics -----------------------------------------------------------------------


def phi_mpi_pi(angle: Any) -> EventValues:
    """The angle in [-pi, pi), as TVector2::Phi_mpi_pi."""
    angle = angle * 1.0
    return angle - 2 * np.pi * np.floor((angle + np.pi) / (2 * np.pi))


def phi_0_2pi(angle: Any) -> EventValues:
    """The angle in [0, 2 pi), as TVector2::Phi_0_2pi."""
    angle = angle * 1.0
    return angle - 2 * np.pi * np.floor(angle / (2 * np.pi))


def delta_phi(one: Any, other: Any) -> EventValues:
    """phi2 - phi1 in [-pi, pi], as ROOT::VecOps::DeltaPhi(phi1, phi2)."""
    difference = np.fmod(other * 1.0 - one, 2 * np.pi)
    below = select(difference < -np.pi, difference + 2 * np.pi, difference)
    return select(below > np.pi, below - 2 * np.pi, below)


def delta_r2(eta1: Any, phi1: Any, eta2: Any, phi2: Any) -> EventValues:
    """The square of `delta_r`."""
    deta, dphi = eta1 * 1.0 - eta2, delta_phi(phi1, phi2)
    return deta * deta + dphi * dphi


def delta_r(eta1: Any, phi1: Any, eta2: Any, phi2: Any) -> EventValues:
    """The distance in the order eta1, phi1, eta2, phi2; ROOT's spelling has another order."""
    return np.sqrt(delta_r2(eta1, phi1, eta2, phi2))


def invariant_masses(*arguments: Any) -> EventValues:
    """ROOT::VecOps::InvariantMasses(pt1, eta1, phi1, mass1, pt2, eta2, phi2, mass2)."""
    one, other = four_momentum(*arguments[:4]), four_momentum(*arguments[4:])
    return invariant_mass(*(a + b for a, b in zip(one, other, strict=True)))


def four_momentum(pt: Any, eta: Any, phi: Any, mass: Any) -> tuple[Any, Any, Any, Any]:
    """px, py, pz and energy."""
    pt = pt * 1.0
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return px, py, pz, np.sqrt(px * px + py * py + pz * pz + mass * mass * 1.0)


def invariant_mass(px: Any, py: Any, pz: Any, energy: Any) -> EventValues:
    """The mass of a momentum, NaN if it is space-like."""
    return np.sqrt(energy * energy - px * px - py * py - pz * pz)


# --- numbers -------------------------------------------------------------------------------------


def power(base: Any, exponent: Any) -> EventValues:
    return np.power(base * 1.0, exponent)


def absolute(number: Any) -> EventValues:
    check_negative("abs", number)
    return np.abs(number)


def square(number: Any) -> EventValues:
    if is_integer(number):
        check_overflow("*", number, number)
    return number * number


def round_(number: Any) -> EventValues:
    """Half away from zero, as C's ``round``."""
    number = number * 1.0
    whole = np.trunc(number)
    return whole + np.copysign(np.abs(number - whole) >= 0.5, number)


def rint(number: Any) -> EventValues:
    """Half to even, as C's ``rint``, NumPy's ``round`` and ``TMath::Nint``."""
    return np.rint(number * 1.0)


def clip(number: Any, lowest: Any, highest: Any) -> EventValues:
    """As `numpy.clip`: at least `lowest`, at most `highest`; NaN stays NaN."""
    return np.minimum(np.maximum(number, lowest), highest)


def range_(lowest: Any, highest: Any, number: Any) -> EventValues:
    """TMath::Range(lb, ub, x): `number`, but not below `lowest` and not above `highest`."""
    return select(number < lowest, lowest, select(number > highest, highest, number))


def modulo(one: Any, other: Any) -> EventValues:
    """`numpy.mod`: the remainder with the sign of the divisor."""
    if is_integer(one) and is_integer(other) and any_at_all(other == 0):
        message = "np.mod divides integers by zero"
        raise ExpressionError(message)
    return np.mod(one, other)


def remainder(one: Any, other: Any) -> EventValues:
    """C's and Python's ``remainder``: of the quotient rounded to the nearest, ties to even.

    Without rounding, as in Sun's fdlibm (https://www.netlib.org/fdlibm/e_remainder.c).
    """
    one, divisor = one * 1.0, np.abs(other * 1.0)
    left = np.abs(np.fmod(one, 2 * divisor))
    once = left - divisor
    once = select(once >= divisor / 2, once - divisor, once)
    left = select(left > divisor / 2, once, left)
    return select(np.signbit(one), -left, left)


def fdim(one: Any, other: Any) -> EventValues:
    """C's ``fdim``: how much `one` is above `other`, else 0."""
    return select(one > other, one * 1.0 - other, (one * 1.0 - other) * 0.0)


def even(number: Any) -> EventValues:
    check_whole_number("TMath::Even", number)
    return (number & 1) == 0


def odd(number: Any) -> EventValues:
    check_whole_number("TMath::Odd", number)
    return (number & 1) == 1


def probability(chi2: Any, ndf: Any) -> EventValues:
    """TMath::Prob(chi2, ndf): of a chi2 above `chi2`; 0 without degrees of freedom."""
    value = special("gammaincc")(ndf * 0.5, select(chi2 > 0, chi2, chi2 * 0) * 0.5)
    return select((ndf <= 0) | (chi2 < 0), value * 0.0, value)


def poisson(number: Any, mean: Any) -> EventValues:
    """TMath::Poisson(x, mean), for any x from 0."""
    number = number * 1.0
    value = np.exp(special("xlogy")(number, mean) - mean - special("gammaln")(number + 1))
    return select(number < 0, value * 0.0, select(mean < 0, np.nan, value))


def binomial(number: Any, chosen: Any) -> EventValues:
    """TMath::Binomial(n, k), NaN without such a choice."""
    there = (number >= 0) & (chosen >= 0) & (chosen <= number)
    return select(there, special("binom")(number, chosen), np.nan)


def factorial(number: Any) -> EventValues:
    """TMath::Factorial(n): 1 below 1."""
    check_whole_number("TMath::Factorial", number)
    return special("gamma")(select(number > 0, number, number * 0) + 1)


def nan_to_num(number: Any, nan: Any) -> EventValues:
    """`number`, and `nan` instead of NaN."""
    return select(np.isnan(number * 1.0), nan, number)


def root_choice(keeps: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """TMath::Max and TMath::Min: the first if it compares so with the second, else the second.

    With NaN the second, whichever of them it is.
    """
    return lambda one, other: select(keeps(one, other), one, other)


def fold(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A function of two arguments as one of any number of them."""

    def folded(*arguments: Any) -> Any:  # of the kind of its arguments
        result = arguments[0]
        for argument in arguments[1:]:
            result = function(result, argument)
        return result

    return folded


def special(name: str) -> Callable[..., Any]:
    """A function of `scipy.special`, imported when it is used."""

    def apply(*arguments: Any) -> Any:  # of the kind of its arguments
        scipy = optional_import("scipy.special", feature=f"{name}() in expressions", extra="sbi")
        return getattr(scipy, name)(*(argument * 1.0 for argument in arguments))

    return apply


def gauss(number: Any, mean: Any = 0.0, sigma: Any = 1.0, norm: Any = False) -> EventValues:
    """TMath::Gaus(x, mean, sigma, norm)."""
    pull = (number * 1.0 - mean) / sigma
    value = select(np.abs(pull) > 39, pull * 0.0, np.exp(-0.5 * pull * pull))
    value = select(sigma == 0, value * 0.0 + 1e30, value)
    return select(norm == 0, value, value / (np.sqrt(2 * np.pi) * sigma))


def breit_wigner(number: Any, mean: Any = 0.0, gamma: Any = 1.0) -> EventValues:
    """TMath::BreitWigner(x, mean, gamma)."""
    away = number * 1.0 - mean
    return gamma / (away * away + gamma * gamma / 4) / (2 * np.pi)


# --- types ---------------------------------------------------------------------------------------


def to_integer(name: str) -> Callable[[Any], Any]:
    """A cast to an integer type: towards zero, as in C and Python.

    What the type cannot hold is an error; in C it is undefined or wraps around.
    """
    limits = np.iinfo(name)

    def cast(number: Any) -> Any:  # of the kind of `number`
        whole = np.trunc(number)
        outside = ~((whole >= limits.min) & (whole <= min(limits.max, np.iinfo(np.int64).max)))
        if any_at_all(outside):
            message = (
                f"a number does not fit into {name}; cut such events away, or use a wider one"
            )
            raise ExpressionError(message)
        if isinstance(whole, ak.Array):
            return ak.values_astype(whole, np.int64)
        return np.asarray(whole).astype(np.int64)

    return cast


def to_float32(number: Any) -> EventValues:
    """A cast to single precision, in a double."""
    if isinstance(number, ak.Array):
        return ak.values_astype(ak.values_astype(number, np.float32), np.float64)
    return np.asarray(number).astype(np.float32).astype(np.float64)


def to_float64(number: Any) -> EventValues:
    return number * 1.0


def to_bool(number: Any) -> EventValues:
    return number != 0


def float_(number: Any) -> EventValues:
    """``float(x)``: single precision in C++, double in Python. Both, where they agree.

    Raises:
        ExpressionError: They may not: a double, or an integer beyond 2**24.
    """
    if is_integer(number) and not any_at_all(abs(number) > _EXACT_FLOAT):
        return number * 1.0
    message = (
        "float(x) is single precision in C++ and double in Python, which differs here; write "
        "float32(x) or (float)x, or double(x)"
    )
    raise ExpressionError(message)


# --- as TTree::Draw has them ---------------------------------------------------------------------


def draw_divide(one: Any, other: Any) -> EventValues:
    """x / y, 0 for y = 0."""
    zero = other == 0
    return select(zero, (one + other) * 0.0, one * 1.0 / select(zero, other + 1, other))


def draw_modulo(one: Any, other: Any) -> EventValues:
    """x % y of the whole parts, with the sign of x."""
    one, other = to_integer("int64")(one), to_integer("int64")(other)
    if any_at_all(other == 0):
        message = "'%' by zero"
        raise ExpressionError(message)
    return np.fmod(one, other)


def draw_positive(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """log and log10 of TTree::Draw: 0 for what is not positive."""

    def apply(number: Any) -> Any:  # of the kind of its arguments
        return select(number > 0, function(select(number > 0, number, number * 0 + 1)), 0.0)

    return apply


def draw_within(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """acos and asin of TTree::Draw: 0 outside of [-1, 1]."""

    def apply(number: Any) -> Any:  # of the kind of its arguments
        inside = np.abs(number) <= 1
        return select(inside, function(select(inside, number, number * 0.0)), 0.0)

    return apply


def draw_sqrt(number: Any) -> EventValues:
    """sqrt of TTree::Draw: of the absolute value."""
    return np.sqrt(np.abs(number))


def draw_exp(number: Any) -> EventValues:
    """exp of TTree::Draw: of at most 700."""
    return np.exp(np.minimum(number, 700.0))


def draw_acosh(number: Any) -> EventValues:
    """acosh of TTree::Draw: 0 below 1."""
    return np.arccosh(select(number < 1, number * 0 + 1.0, number))


def draw_sign(number: Any) -> EventValues:
    """sign of TTree::Draw: 1 for 0."""
    return select(number < 0, -1, number * 0 + 1)


def draw_shift(function: Callable[[Any, Any], Any], operator: str) -> Callable[[Any, Any], Any]:
    """Shifts of TTree::Draw, which takes negative numbers as unsigned ones: refused here."""

    def apply(one: Any, other: Any) -> Any:  # of the kind of its arguments
        for side in (one, other):
            check_whole_number(f"'{operator}'", side)
        if any_at_all(one < 0):
            message = (
                f"TTree::Draw takes negative numbers as unsigned ones in '{operator}', 2**64 + x; "
                "multiply or divide by a power of 2"
            )
            raise ExpressionError(message)
        return function(one, other)

    return apply
