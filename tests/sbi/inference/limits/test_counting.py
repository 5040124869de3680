"""Counts n = 0 to 20 over b = 0.5 to 100: exact Poisson probabilities and formulae."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sbi_counting import cls_of_formula, count, exact_tails, q_upper, significance_of_formula
from scipy import optimize, stats

from rootml import sbi
from rootml.errors import ConvergenceError

BACKGROUNDS = [0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0]


def check_formulae(background: float, observed: int) -> None:
    """q~, CLs and significance, asymptotic."""
    like = count(background, observed)
    for mu in np.array([1.0, 2.0, 4.0]) * (1.5 + math.sqrt(background)):
        found = sbi.cls(like, "mu", float(mu))
        right = cls_of_formula(observed, background, mu)
        assert found.observed == pytest.approx(right, rel=1e-3, abs=1e-6)
        assert found.q == pytest.approx(q_upper(observed, background, mu), rel=1e-6, abs=1e-6)
    discovered = sbi.discovery(like, "mu")
    right = significance_of_formula(observed, background)
    assert discovered.significance == pytest.approx(right, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("background", [0.5, 3.0, 20.0, 100.0])
@pytest.mark.parametrize("observed", [0, 1, 4, 20])
def test_asymptotic_numbers(background: float, observed: int) -> None:
    check_formulae(background, observed)


@pytest.mark.slow
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_asymptotic_numbers_of_all_counts(background: float) -> None:
    for observed in range(21):
        check_formulae(background, observed)
        right = optimize.brentq(
            lambda mu, n=observed: cls_of_formula(n, background, mu) - 0.05, 1e-3, 200.0
        )
        found = sbi.limit(count(background, observed), "mu", points=2).observed
        assert found == pytest.approx(right, rel=1e-3)


def check_toys(background: float, observed: list[int], number: int) -> None:
    """p-values by toys: within 4.5 binomial errors of the Poisson probabilities."""
    model = count(background, 1).model
    null = sbi.toys(
        model, number=number, seed=1, truth={"mu": 0.0}, tests=[{"mu": 0.0}], progress=False
    )
    for n in observed:
        exact = float(stats.poisson.sf(n - 1, background)) if n > background else 1.0
        found = sbi.discovery(count(background, n), "mu", toys_null=null)
        if found.bound:
            assert exact < found.p_value
        else:
            error = math.sqrt(exact * (1.0 - exact) / number)
            assert abs(found.p_value - exact) <= 4.5 * error + 1e-9


def check_cls_by_toys(background: float, observed: int, number: int) -> None:
    """The curve of CLs of `limit_by_toys`, between values that hold the limit."""
    limit = optimize.brentq(
        lambda mu: cls_of_formula(observed, background, mu) - 0.05, 1e-3, 200.0
    )
    values = [0.4 * limit, 3.0 * limit]
    options: Any = {"values": values, "number": number, "seed": observed + 1}
    if stats.poisson.cdf(observed, background) * number < 2:
        with pytest.raises(ConvergenceError, match="draw more toys"):
            sbi.limit_by_toys(count(background, observed), "mu", **options)
        return
    found = sbi.limit_by_toys(count(background, observed), "mu", **options)
    for mu, cls in zip(found.values, found.curves["observed"], strict=True):
        both, alone = exact_tails(observed, background, float(mu))
        relative = (1.0 - both) / (both * number) + (1.0 - alone) / (alone * number)
        # beyond the last toy there is a bound, which lies above: 1 - 0.05^(1/number) of a tail
        least = (1.0 - 0.05 ** (1.0 / number)) / alone
        tolerance = 4.5 * both / alone * math.sqrt(relative) + (least if both * number < 20 else 0)
        assert abs(cls - both / alone) <= tolerance + 1e-9


@pytest.mark.parametrize("background", [0.5, 10.0])
def test_toys(background: float) -> None:
    check_toys(background, [0, 1, 2, 4, 12, 20], 400)


def test_cls_by_toys() -> None:
    check_cls_by_toys(3.0, 2, 400)


def test_a_count_so_low_that_no_toy_has_it() -> None:
    """No event where 10 are expected: 4.5e-5 of the toys; CLs of 0 would exclude any signal."""
    with pytest.raises(ConvergenceError, match="draw more toys"):
        sbi.limit_by_toys(count(10.0, 0), "mu", values=[1.0, 8.0], number=300, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_toys_of_all_counts(background: float) -> None:
    check_toys(background, list(range(21)), 4_000)


@pytest.mark.slow
@pytest.mark.parametrize("background", [0.5, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("observed", [0, 1, 3, 8])
def test_cls_by_toys_of_counts(background: float, observed: int) -> None:
    check_cls_by_toys(background, observed, 2_000)
