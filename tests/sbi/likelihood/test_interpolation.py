"""Interpolation codes against pyhf, and derivatives against mpmath."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pyhf
import pytest

from rootml.sbi.likelihood._interpolation import CODES, factors

ALPHAS = np.array([-2.7, -1.0, -0.6, 0.0, 0.3, 1.0, 1.9])
UP, DOWN = 1.23, 0.91


@pytest.mark.parametrize(
    ("ours", "theirs"), [("code0", 0), ("code1", 1), ("code4", "4p"), ("code5", 4)],

)  # fmt: skip
def test_equals_pyhf(ours: str, theirs: str | int) -> None:
    additive = ours in {"code0", "code4"}
    interpolate = pyhf.interpolators.get(theirs)([[[[DOWN], [1.0], [UP]]]])
    expected = np.asarray(interpolate(ALPHAS[None, :])).reshape(-1)
    value = factors(ours, ALPHAS, np.full(7, UP), np.full(7, DOWN))[0]
    assert value == pytest.approx(expected + 1.0 if additive else expected, rel=1e-13)


@pytest.mark.parametrize("code", CODES)
def test_passes_through_what_was_simulated(code: str) -> None:
    alpha, up, down = np.array([1.0, 0.0, -1.0]), np.full(3, UP), np.full(3, DOWN)
    assert factors(code, alpha, up, down)[0] == pytest.approx([UP, 1.0, DOWN], rel=1e-14)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("alpha", [-2.5, -0.7, 0.45, 3.1])
def test_derivatives(code: str, alpha: float) -> None:
    """By differences of our own value: a consistency test; the value is pyhf's above."""

    def value(a: float) -> Any:
        return factors(code, np.array([a]), np.array([UP]), np.array([DOWN]))[0][0]

    _, first, second = factors(code, np.array([alpha]), np.array([UP]), np.array([DOWN]))
    step = 1e-4
    slope = (value(alpha + step) - value(alpha - step)) / (2 * step)
    bend = (value(alpha + step) - 2 * value(alpha) + value(alpha - step)) / step**2
    assert first[0] == pytest.approx(slope, rel=1e-7)
    assert second[0] == pytest.approx(bend, rel=1e-5, abs=2e-7)


@pytest.mark.parametrize("code", ["code4", "code5"])
def test_is_smooth_at_one(code: str) -> None:
    near = np.array([1.0 - 1e-9, 1.0 + 1e-9, -1.0 - 1e-9, -1.0 + 1e-9])
    sides = factors(code, near, np.full(4, UP), np.full(4, DOWN))
    for values in sides:
        assert values[0] == pytest.approx(values[1], abs=1e-7)
        assert values[2] == pytest.approx(values[3], abs=1e-7)


def test_log_quadratic_is_exp_of_a_parabola() -> None:
    mpmath.mp.dps = 30
    a = (mpmath.log(UP) - mpmath.log(DOWN)) / 2
    c = (mpmath.log(UP) + mpmath.log(DOWN)) / 2

    def exact(alpha: Any) -> Any:
        return mpmath.exp(a * alpha + c * alpha**2)

    found = factors("log-quadratic", ALPHAS, np.full(7, UP), np.full(7, DOWN))
    for order, values in enumerate(found):
        expected = [float(mpmath.diff(exact, mpmath.mpf(x), order)) for x in ALPHAS]
        assert values == pytest.approx(expected, rel=1e-13)
