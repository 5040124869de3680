"""Functions of one variable as polynomials in pieces, and as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from rootml._internal.types import Float
from rootml.sbi.roofit._formulas import number

_DEGREES = (2, 4, 6, 8, 10, 12, 14)
_CHECKS = 41


@dataclass(frozen=True)
class PiecewisePolynomial:
    """Polynomials between ascending `edges`; the outer ones also hold beyond.

    >>> polynomials = np.array([0.0, -1.0]), np.array([0.0, 1.0])
    >>> halves = PiecewisePolynomial((-1.0, 0.0, 1.0), polynomials)
    >>> halves(np.array([-0.5, 0.25])), halves.text("x[0]")
    (array([0.5 , 0.25]), '(x[0] < 0.0 ? x[0]*(-1.0) : x[0]*1.0)')
    """

    edges: tuple[float, ...]
    coefficients: tuple[Float, ...]  # of powers 0, 1, 2, ... per piece

    def __call__(self, x: Float) -> Float:
        """Values, of the shape of `x`."""
        place = np.searchsorted(self.edges[1:-1], x, side="right")
        values = np.zeros_like(x)
        for i, coefficients in enumerate(self.coefficients):
            values[place == i] = np.polynomial.polynomial.polyval(x[place == i], coefficients)
        return values

    def text(self, x: str) -> str:
        """C++ for the value at `x`."""
        shown = _horner(self.coefficients[-1], x)
        for edge, coefficients in zip(
            reversed(self.edges[1:-1]), reversed(self.coefficients[:-1]), strict=True
        ):
            shown = f"({x} < {number(edge)} ? {_horner(coefficients, x)} : {shown})"
        return shown


def _horner(coefficients: Float, x: str) -> str:
    """``x*(c1 + x*(c2 + ...))`` for coefficients of ascending powers."""
    significant = np.flatnonzero(coefficients)
    if not len(significant):
        return "0.0"
    *lower, shown = [number(float(c)) for c in coefficients[: significant[-1] + 1]]
    for c in reversed(lower):
        shown = f"{x}*{shown}" if c == "0.0" else f"({c} + {x}*{shown})"
    return shown


def interpolate(
    function: Callable[[Float], Float], edges: Sequence[float], tolerance: Callable[[Float], Float]
) -> PiecewisePolynomial:
    """Interpolate a function that is smooth between `edges`.

    It is met exactly at all edges, and at 0 where that is the middle of a piece; the degree grows
    until the error is within `tolerance` of x, or up to the largest number that is tried.
    """
    pieces = [_one(function, low, high, tolerance) for low, high in pairwise(edges)]
    return PiecewisePolynomial(tuple(map(float, edges)), tuple(pieces))


def _one(
    function: Callable[[Float], Float],
    low: float,
    high: float,
    tolerance: Callable[[Float], Float],
) -> Float:
    checks = np.linspace(low, high, _CHECKS)
    truth, allowed = function(checks), tolerance(checks)
    coefficients = np.zeros(1)
    for degree in _DEGREES:
        coefficients = _through(function, low, high, degree)
        found = np.polynomial.polynomial.polyval(checks, coefficients)
        if np.all(np.abs(found - truth) <= allowed):
            break
    return coefficients


def _through(function: Callable[[Float], Float], low: float, high: float, degree: int) -> Float:
    """The polynomial through the extrema of a Chebyshev polynomial, which include both ends."""
    nodes = 0.5 * (low + high) - 0.5 * (high - low) * np.cos(
        np.pi * np.arange(degree + 1) / degree
    )
    nodes[0], nodes[-1] = low, high
    if low == -high:
        nodes[degree // 2] = 0.0
    values = function(nodes)
    fitted = Chebyshev.fit(nodes, values, degree, domain=(low, high))
    coefficients = np.asarray(fitted.convert(kind=Polynomial).coef, np.float64)
    if low <= 0.0 <= high:  # 0 is a node of every piece that holds it
        coefficients[0] = function(np.zeros(1))[0]
    return coefficients
