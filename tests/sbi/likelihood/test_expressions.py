"""Yield expressions: values and derivatives against mpmath, and what is refused."""

from __future__ import annotations

import math

import mpmath
import pytest

from rootml.errors import ExpressionError
from rootml.sbi import Formula

CASES = [
    ("mu * 300", lambda a, b: a * 300),
    ("(mu - sqrt(mu)) * 3.5e2", lambda a, b: (a - mpmath.sqrt(a)) * 350),
    ("-sqrt(mu) * 40 + k * k", lambda a, b: -mpmath.sqrt(a) * 40 + b * b),
    ("1 - mu**3 / (2 + k)", lambda a, b: 1 - a**3 / (2 + b)),
    ("pow(mu, -1.5) * exp(k / mu)", lambda a, b: mpmath.power(a, -1.5) * mpmath.exp(b / a)),
    ("log(mu) * tanh(k) - sin(mu * k)", lambda a, b: mpmath.log(a) * mpmath.tanh(b)
     - mpmath.sin(a * b)),
    ("TMath::Sqrt(mu) / cos(k)", lambda a, b: mpmath.sqrt(a) / mpmath.cos(b)),
    ("2 * -mu ** 2", lambda a, b: -2 * a**2),
    ("square(mu - k)", lambda a, b: (a - b) ** 2),
    ("7", lambda a, b: mpmath.mpf(7)),
]  # fmt: skip
POINTS = [(0.7, 0.4), (2.3, -1.1)]


@pytest.mark.parametrize(("text", "exact"), CASES, ids=[text for text, _ in CASES])
@pytest.mark.parametrize("point", POINTS)
def test_values_and_derivatives(text: str, exact: object, point: tuple[float, float]) -> None:
    mpmath.mp.dps = 40
    formula, names = Formula.parse(text), ["mu", "k"]
    assert callable(exact)
    assert formula.function(names)(point) == pytest.approx(float(exact(*point)), rel=1e-14)
    for order in ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2)):
        derived = formula
        for name, times in zip(names, order, strict=True):
            for _ in range(times):
                derived = derived.derivative(name)
        expected = float(mpmath.diff(exact, tuple(map(mpmath.mpf, point)), order))
        assert derived.function(names)(point) == pytest.approx(expected, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("text", [text for text, _ in CASES])
def test_prints_to_what_it_parses_from(text: str) -> None:
    formula = Formula.parse(text)
    assert Formula.parse(str(formula)) == formula


def test_undefined_points_are_nan() -> None:
    for text, value in (("sqrt(mu)", -1.0), ("1 / mu", 0.0), ("exp(mu)", 1e9), ("mu**-1", 0.0)):
        assert math.isnan(Formula.parse(text).function(["mu"])([value]))
    slope = Formula.parse("sqrt(mu)").derivative("mu").function(["mu"])([0.0])
    assert math.isnan(slope)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mu > 1", "not arithmetic"),
        ("mu ? 1 : 2", "not arithmetic"),
        ("abs(mu)", "no derivative"),
        ("Sum$(mu)", "no derivative"),
        ("mu ** k", "exponent"),
        ("mu[0]", "not arithmetic"),
        ("mu % 2", "not arithmetic"),
        ("'mu'", "not arithmetic"),
        ("mu *", "expected a value"),
        ("__import__('os')", "no function"),
        ("", "empty"),
    ],
)
def test_refuses(text: str, says: str) -> None:
    with pytest.raises(ExpressionError, match=says):
        Formula.parse(text)
