"""Limits and significances beside hepstats, which fits the same densities with its own code.

hepstats needs no zfit for this (`hepstats_loss`). Its numbers are stored here, found with hepstats
0.10.1; where it is installed, a test finds them again.

References:
    https://github.com/scikit-hep/hepstats
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hepstats_loss import PROBLEM, Minuit, loss

from rootml import sbi

STORED: dict[int, dict[str, list[float]]] = {
    0: {
        "observed": [0.10596614, 0.02578466, 0.00484478],
        "expected_m1": [0.04512015, 0.00742886, 0.00093881],
        "expected": [0.14727967, 0.04124215, 0.00886742],
        "expected_p1": [0.38823684, 0.17699940, 0.06290618],
        "expected_p2": [0.72562002, 0.49487154, 0.27482895],
        "discovery": [0.5],
    },
    1: {
        "observed": [0.23335811, 0.03268510, 0.00183681],
        "expected_m1": [6.2695698e-4, 5.2059981e-6, 1.8976734e-8],
        "expected": [6.5211123e-3, 1.4948635e-4, 1.4634788e-6],
        "expected_p1": [0.05073262, 3.1138315e-3, 8.0552677e-5],
        "expected_p2": [0.24113799, 0.03742420, 2.4866515e-3],
        "discovery": [0.019490696],
    },
    2: {
        "observed": [0.5, 0.05594948, 7.2909431e-5],
        "discovery": [7.9491969e-14],
    },
}  # fmt: skip
"""p-values of hepstats by number of the data: CLs, its bands, and of the absence of a signal."""
STRENGTHS = [0.0, 0.3, 1.0]
TESTED = [[0.21, 0.3, 0.39], [0.42, 0.6, 0.78], [1.05, 1.5, 1.95]]
TOYS = 500
DISCOVERED, EXCLUDED = (0.014, TOYS), (0.108, TOYS)


@cache
def data(number: int) -> Any:
    return PROBLEM.draw(np.random.default_rng([3, number]), STRENGTHS[number])


@cache
def likelihood(number: int) -> sbi.Likelihood:
    signal, background = PROBLEM.yields
    model = sbi.Model(
        {"S": f"mu * {signal}", "B": f"n * {background}"},
        {"mu": sbi.Parameter(1.0, lower=-0.8, upper=5.0), "n": sbi.Parameter(1.0, 0.5, 2.0)},
    )

    def columns(x: Any) -> dict[str, Any]:
        found = PROBLEM.columns(x)
        return {"S": found["S"], "B": found["B"]["nominal"]}

    step = (PROBLEM.high - PROBLEM.low) / 2000
    x = np.asarray(PROBLEM.low + step * (np.arange(2000) + 0.5), np.float64)
    density = 0.1 * PROBLEM.signal(x) + 0.9 * PROBLEM.background(x)
    reference = sbi.RatioColumns(columns(x), density * step)
    return model.likelihood(columns(data(number)), reference=reference)


def found_by_hepstats(number: int) -> dict[str, list[float]]:
    """The same numbers as in STORED, from hepstats itself."""
    tests = pytest.importorskip("hepstats.hypotests")
    calculators = pytest.importorskip("hepstats.hypotests.calculators")
    parameters = pytest.importorskip("hepstats.hypotests.parameters")
    given = loss(data(number))
    mu = given.get_params()[0]
    tested = parameters.POIarray(mu, TESTED[number])
    calculator = calculators.AsymptoticCalculator(given, Minuit(), asimov_bins=2000)
    limit = tests.UpperLimit(calculator, tested, parameters.POI(mu, 0.0), qtilde=True)
    chances = limit.pvalues()
    fresh = loss(data(number))
    none = parameters.POI(fresh.get_params()[0], 0.0)
    calculator = calculators.AsymptoticCalculator(fresh, Minuit(), asimov_bins=2000)
    discovery = [tests.Discovery(calculator, none).result(printlevel=0)[0]]
    found = {name: chances[name] for name in STORED[number] if name.startswith("expected")}
    return {"observed": chances["cls"], **found, "discovery": discovery}


@pytest.mark.parametrize("number", STORED)
def test_stored_numbers_are_those_of_hepstats(number: int) -> None:
    found = found_by_hepstats(number)
    assert found.keys() == STORED[number].keys()
    for name, values in STORED[number].items():
        assert list(found[name]) == pytest.approx(values, rel=3e-5), name


@pytest.mark.parametrize("number", STORED)
def test_asymptotic_numbers(number: int) -> None:
    """CLs of three strengths with its bands, and the significance."""
    like, right = likelihood(number), STORED[number]
    found = [sbi.cls(like, "mu", mu) for mu in TESTED[number]]
    assert [each.observed for each in found] == pytest.approx(right["observed"], rel=1e-4)
    for place, band in enumerate(("expected_m1", "expected", "expected_p1", "expected_p2"), 1):
        if band in right:
            mine = [each.expected[place] for each in found]
            assert mine == pytest.approx(right[band], rel=1e-4), band
    assert sbi.discovery(like, "mu").p_value == pytest.approx(right["discovery"][0], rel=1e-3)


def apart(mine: float, toys: int, theirs: tuple[float, int]) -> float:
    """Difference of two p-values by toys, in its binomial error."""
    p, number = theirs
    together = (mine * toys + p * number) / (toys + number)
    return abs(mine - p) / math.sqrt(together * (1.0 - together) * (1.0 / toys + 1.0 / number))


def test_discovery_by_toys() -> None:
    like = likelihood(1)
    truth = sbi.fit(like, fixed={"mu": 0.0}).values
    toys = sbi.toys(
        like.model, like.reference, number=TOYS, seed=1, truth=truth, tests=[{"mu": 0.0}],
        progress=False,
    )  # fmt: skip
    found = sbi.discovery(like, "mu", toys_null=toys)
    assert apart(found.p_value, TOYS, DISCOVERED) < 3.5


def test_limit_by_toys() -> None:
    """CLs of mu = 0.5, whose null toys nearly all lie beyond the data."""
    found = sbi.limit_by_toys(
        likelihood(1), "mu", values=[0.3, 0.5, 0.9], number=200, seed=2, progress=False
    )
    assert apart(float(found.curves["observed"][1]), 200, EXCLUDED) < 3.5
