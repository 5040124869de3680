"""Interpolation between what was simulated at -1, 0 and +1 of a nuisance parameter.

Each code writes the factor by which a density (or a yield) changes in one of two forms, whose
weights depend on the parameter alone and whose columns depend on the event alone::

    exponential    f(alpha; x) = exp( sum_j g_j(alpha) X_j(x) )
    polynomial     f(alpha; x) = 1 + sum_j w_j(alpha) B_j(x)

so that an evaluation is a few multiplications per event. With u = up / nominal,
d = down / nominal, U = log u, D = log d:

=============  ===============================================================================
log-quadratic  exponential: X = ((U - D) / 2, (U + D) / 2), g = (a, a^2)
code1          exponential: X = (U, D), g = (a, 0) for a >= 0, (0, -a) below
code0          polynomial: B = (u - 1, d - 1), w = (a, 0) for a >= 0, (0, -a) below
code4          polynomial of sixth order within +-1, linear outside; B = (u - 1, d - 1)
code5          polynomial of sixth order within +-1, code1 outside;
               B = (u - 1, d - 1, u U, d D, u U^2, d D^2)
=============  ===============================================================================

The numbers are those of ROOT's PiecewiseInterpolation; the polynomials match value, first and
second derivative at +-1 (CERN-OPEN-2012-016, and flexibleInterpSingle in RooFit). With several
nuisance parameters the factors multiply, for every code. Only log-quadratic is smooth to all
orders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float

# Rows: powers 1..6 of alpha. Columns: the basis (A0, S0 - 1, S1, A1, A2, S2) of code 5.
_CODE5_SPLIT = np.array(
    [
        [15 / 8, 0, -7 / 8, 0, 1 / 8, 0],
        [0, 3, 0, -9 / 8, 0, 1 / 8],
        [-5 / 4, 0, 5 / 4, 0, -1 / 4, 0],
        [0, -3, 0, 7 / 4, 0, -1 / 4],
        [3 / 8, 0, -3 / 8, 0, 1 / 8, 0],
        [0, 1, 0, -5 / 8, 0, 1 / 8],
    ]
)
# From that basis to the columns B: A0 = (u - d) / 2, S0 = (u + d) / 2, S1 = (u U - d D) / 2, ...
_CODE5_BASIS = np.array(
    [
        [0.5, -0.5, 0, 0, 0, 0],
        [0.5, 0.5, 0, 0, 0, 0],
        [0, 0, 0.5, -0.5, 0, 0],
        [0, 0, 0.5, 0.5, 0, 0],
        [0, 0, 0, 0, 0.5, -0.5],
        [0, 0, 0, 0, 0.5, 0.5],
    ]
)
_CODE5 = _CODE5_SPLIT @ _CODE5_BASIS
# ROOT's code 4: (u - d) a / 2 + (u + d - 2) (15 a^2 - 10 a^4 + 3 a^6) / 16.
_CODE4 = np.array(
    [[0.5, -0.5], [15 / 16, 15 / 16], [0, 0], [-10 / 16, -10 / 16], [0, 0], [3 / 16, 3 / 16]]
)


def _with_derivatives(table: Float) -> Float:
    """Coefficients of the powers 0 to 6, from those of 1 to 6: ``(3, power, column)``."""
    powers = np.arange(7.0)[:, None]
    found = np.zeros((3, 7, table.shape[1]))
    found[0, 1:] = table
    for order in (1, 2):
        found[order, :-1] = (powers * found[order - 1])[1:]
    return found


_CODE4, _CODE5 = _with_derivatives(_CODE4), _with_derivatives(_CODE5)


def _polynomial(table: Float, alpha: Float) -> Float:
    """Weights and their two derivatives, ``(3, alpha, column)``."""
    powers = np.ones((len(alpha), 7))
    for power in range(1, 7):
        np.multiply(powers[:, power - 1], alpha, out=powers[:, power])
    return np.asarray(powers @ table)


def _sided(alpha: Float) -> Float:
    """``(a, 0)`` for a >= 0 and ``(0, -a)`` below, with derivatives."""
    above = alpha >= 0.0
    table = np.zeros((3, len(alpha), 2))
    table[0, :, 0] = np.where(above, alpha, 0.0)
    table[0, :, 1] = np.where(above, 0.0, -alpha)
    table[1, :, 0] = above
    table[1, :, 1] = above - 1.0
    return table


def _quadratic(alpha: Float) -> Float:
    table = np.zeros((3, len(alpha), 2))
    table[0, :, 0] = alpha
    table[0, :, 1] = alpha * alpha
    table[1, :, 0] = 1.0
    table[1, :, 1] = 2.0 * alpha
    table[2, :, 1] = 2.0
    return table


def _within(alpha: Float) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = np.abs(alpha) < 1.0
    return inside


def _code4(alpha: Float) -> Float:
    # sides swap: outside, u - 1 has weight a above and d - 1 has -a below
    inside = _within(alpha)[None, :, None]
    return np.where(inside, _polynomial(_CODE4, alpha), _sided(alpha))


def _code5_inside(alpha: Float) -> Float:
    inside = _within(alpha)
    return np.asarray(inside[None, :, None] * _polynomial(_CODE5, np.where(inside, alpha, 0.0)))


def _code5_outside(alpha: Float) -> Float:
    outside = ~_within(alpha)
    return np.asarray(outside[None, :, None] * _sided(alpha))


Weights: TypeAlias = Callable[[Float], Float]


@dataclass(frozen=True, slots=True)
class Code:
    """One way to interpolate.

    Attributes:
        exponential: Weights g and their first and second derivatives, from values of shape
            ``(alpha,)`` to ``(3, alpha, column)``; None: no such columns.
        polynomial: The same for w. Where a code has both, one of them is all zero.
        exponential_columns: From u and d to X, ``(column, event)``.
        polynomial_columns: From u and d to B.
        sides: Back from X and B to u and d.
    """

    exponential: Weights | None
    polynomial: Weights | None
    exponential_columns: Callable[[Float, Float], Float] | None
    polynomial_columns: Callable[[Float, Float], Float] | None
    sides: Callable[[Float, Float], tuple[Float, Float]]


def _logs(up: Float, down: Float) -> Float:
    return np.stack([np.log(up), np.log(down)])


def _halves(up: Float, down: Float) -> Float:
    log_up, log_down = np.log(up), np.log(down)
    return np.stack([0.5 * (log_up - log_down), 0.5 * (log_up + log_down)])


def _shifts(up: Float, down: Float) -> Float:
    return np.stack([up - 1.0, down - 1.0])


def _six(up: Float, down: Float) -> Float:
    log_up, log_down = np.log(up), np.log(down)
    first, second = up * log_up, down * log_down
    return np.stack([up - 1.0, down - 1.0, first, second, first * log_up, second * log_down])


def _of_logs(exponential: Float, _polynomial: Float) -> tuple[Float, Float]:
    return np.exp(exponential[0]), np.exp(exponential[1])


def _of_halves(exponential: Float, _polynomial: Float) -> tuple[Float, Float]:
    slope, bend = exponential
    return np.exp(bend + slope), np.exp(bend - slope)


def _of_shifts(_exponential: Float, polynomial: Float) -> tuple[Float, Float]:
    return 1.0 + polynomial[0], 1.0 + polynomial[1]


CODES: dict[str, Code] = {
    "log-quadratic": Code(_quadratic, None, _halves, None, _of_halves),
    "code0": Code(None, _sided, None, _shifts, _of_shifts),
    "code1": Code(_sided, None, _logs, None, _of_logs),
    "code4": Code(None, _code4, None, _shifts, _of_shifts),
    "code5": Code(_code5_outside, _code5_inside, _logs, _six, _of_logs),
}


def takes_logarithms(code: str) -> bool:
    """Whether variations must have the sign of the nominal: their ratio is put in a logarithm."""
    return CODES[code].exponential is not None


class Factors:
    """Factors of one code for fixed scalars up and down, as functions of the parameters.

    Args:
        code: Its name.
        up: At +1, ``(n,)``.
        down: At -1, ``(n,)``.
    """

    def __init__(self, code: str, up: Float, down: Float) -> None:
        self._kind = kind = CODES[code]
        self._polynomial = self._exponential = np.empty((len(up), 0))
        if kind.polynomial_columns is not None:
            self._polynomial = kind.polynomial_columns(up, down).T
        if kind.exponential_columns is not None:
            self._exponential = kind.exponential_columns(up, down).T

    def __call__(self, alpha: Float) -> tuple[Float, Float, Float]:
        """Factor and its two derivatives, each ``(n,)``."""
        value, first, second = np.ones_like(alpha), np.zeros_like(alpha), np.zeros_like(alpha)
        if self._kind.polynomial is not None:
            sums = np.einsum("kac,ac->ka", self._kind.polynomial(alpha), self._polynomial)
            value, first, second = value + sums[0], sums[1], sums[2]
        weights = None if self._kind.exponential is None else self._kind.exponential(alpha)
        if weights is not None and weights.any():  # else its factor is 1
            sums = np.einsum("kac,ac->ka", weights, self._exponential)
            grown, slope = np.exp(sums[0]), sums[1]  # of the factor that is not 1, or times it
            second = grown * (second + 2.0 * first * slope + value * (slope**2 + sums[2]))
            first = grown * (first + value * slope)
            value = value * grown
        return value, first, second


def factors(code: str, alpha: Float, up: Float, down: Float) -> tuple[Float, Float, Float]:
    """Factor and its two derivatives by alpha, for scalars up and down: all of shape ``(n,)``.

    >>> value, slope, _ = factors("code5", np.array([1.0]), np.array([1.2]), np.array([0.9]))
    >>> float(value[0]).__round__(12), float(slope[0]).__round__(6)
    (1.2, 0.218786)
    """
    return Factors(code, up, down)(alpha)
