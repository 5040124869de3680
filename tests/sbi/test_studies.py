"""Seeded studies beside the analytic likelihood: `make studies` runs 1000 toys, CI fewer.

Coverage is held to 3 sqrt(p (1 - p) / n) of n toys, and with 1000 toys to the bars as well.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sbi_problems import OffShell, SignalBackground, many_nuisances
from scipy import optimize

from rootml import sbi

TOYS = int(os.environ.get("ROOTML_TOYS", "60"))
SEED = 20
LEVEL = 0.6826894921370859


def tolerance(p: float, number: int) -> float:
    """Three standard deviations of a fraction."""
    return 3.0 * math.sqrt(p * (1.0 - p) / number)


@dataclass
class Fits:
    """Fitted values and errors, ``(toy, parameter)``, of ours and of the analytic likelihood."""

    values: np.ndarray
    errors: np.ndarray
    exact: np.ndarray
    exact_errors: np.ndarray

    def coverage(self, truth: Any) -> Any:
        """Per parameter."""
        return (np.abs(self.values - truth) < self.errors).mean(axis=0)

    def shift(self) -> Any:
        """(ours - analytic) / analytic error: mean and rms over the same toys."""
        pull = (self.values - self.exact) / self.exact_errors
        return pull.mean(axis=0), pull.std(axis=0)


def minimise(function: Any, start: Any, bounds: Any, steps: Any) -> tuple[Any, Any]:
    """An independent minimum and errors: scipy, and differences of the analytic function."""
    found = optimize.minimize(function, start, method="L-BFGS-B", bounds=bounds,
                              options={"ftol": 1e-13, "gtol": 1e-7})  # fmt: skip
    best, n = found.x, len(start)
    bends = np.empty((n, n))
    h = np.diag(steps)
    for i in range(n):
        for j in range(i, n):
            corners = [
                (a * b) * function(best + a * h[i] + b * h[j]) for a in (1, -1) for b in (1, -1)
            ]
            bends[i, j] = bends[j, i] = sum(corners) / (4.0 * steps[i] * steps[j])
    return best, np.sqrt(np.diag(np.linalg.inv(bends)))


def signal_background(number: int) -> Fits:
    """Toys at mu = 1, jes = 0.5, auxiliary measurements drawn too."""
    problem = SignalBackground()
    model, reference = problem.model(), problem.reference()
    base, rows = None, []
    for child in np.random.SeedSequence(SEED).spawn(number):
        rng = np.random.default_rng(child)
        x = problem.draw(rng, 1.0, 0.5)
        outcome = float(rng.normal(0.5, 1.0))
        columns = sbi.RatioColumns(problem.columns(x))
        base = (
            model.likelihood(columns, reference=reference)
            if base is None
            else base.with_columns(columns)
        )
        result = sbi.fit(base.with_observed(jes=outcome)).require_valid()

        def analytic(theta: Any, x: Any = x, outcome: float = outcome) -> float:
            return problem.analytic(x, theta[0], theta[1], outcome)

        exact = minimise(analytic, [1.0, 0.5], [(0.0, 5.0), (-5.0, 5.0)], [0.02, 0.04])
        rows.append((result.theta, list(result.errors.values()), *exact))
    return Fits(*(np.array([row[i] for row in rows]) for i in range(4)))


@pytest.fixture(scope="module")
def fits() -> Fits:
    return signal_background(TOYS)


def test_signal_and_background_cover(fits: Fits) -> None:
    coverage = fits.coverage([1.0, 0.5])
    assert coverage == pytest.approx([LEVEL] * 2, abs=tolerance(LEVEL, TOYS))
    if TOYS >= 1000:
        assert coverage == pytest.approx([0.68] * 2, abs=0.05)


def test_signal_and_background_equal_the_analytic_fit(fits: Fits) -> None:
    """The nuisance's error within 1 %, and no shift: the interpolation is all that differs."""
    ratio = (fits.errors / fits.exact_errors).mean(axis=0)
    assert ratio == pytest.approx([1.0, 1.0], abs=0.01)
    mean, rms = fits.shift()
    assert np.abs(mean).max() < 0.02
    assert rms.max() < 0.05


def test_without_z_the_nuisance_does_not_cover() -> None:
    """What Z(alpha) is for: the same columns, code 5, and a reference that says Z = 1."""
    problem = SignalBackground(events=10_000.0)
    truth, inside = 0.5, {"with": 0, "without": 0}
    number = 40
    model = problem.model(interpolation="code5")
    for child in np.random.SeedSequence(SEED).spawn(number):
        rng = np.random.default_rng(child)
        x = problem.draw(rng, 1.0, truth)
        like = model.likelihood(problem.columns(x), reference=problem.reference(500))
        for name in inside:
            assert like.unbinned is not None
            if name == "without":
                like.unbinned.normaliser = None
            result = sbi.fit(like.with_observed(jes=float(rng.normal(truth, 1.0))))
            error = result.errors["jes"]
            inside[name] += abs(result.values["jes"] - truth) < error
    assert inside["with"] / number == pytest.approx(LEVEL, abs=tolerance(LEVEL, number))
    assert inside["without"] / number < LEVEL - tolerance(LEVEL, number)


def off_shell_fits(number: int) -> tuple[Fits, Any]:
    """mu by exact ratios of S, SBI, B; by the analytic density; and by six bins of mass."""
    problem = OffShell()
    model = problem.model()
    edges = np.array([200.0, 260.0, 320.0, 400.0, 500.0, 650.0, 1000.0])
    place = np.digitize(problem.mass, edges) - 1
    bins = [np.bincount(place, part, 6) for part in (problem.S, problem.I, problem.B)]
    rows, binned = [], []
    for child in np.random.SeedSequence(SEED).spawn(number):
        cells = problem.draw(np.random.default_rng(child))
        result = sbi.fit(model.likelihood(problem.columns(cells))).require_valid()

        def analytic(theta: Any, cells: Any = cells) -> float:
            rates = problem.expected(theta[0])
            return float(rates.sum() - np.log(rates[cells]).sum())

        counts = np.bincount(place[cells], minlength=6)

        def counted(theta: Any, counts: Any = counts) -> float:
            rates = theta[0] * bins[0] + math.sqrt(theta[0]) * bins[1] + bins[2]
            return float(rates.sum() - (counts * np.log(rates)).sum())

        exact = minimise(analytic, [1.0], [(1e-3, 20.0)], [0.01])
        binned.append(minimise(counted, [1.0], [(1e-3, 20.0)], [0.01])[1][0])
        rows.append((result.theta, list(result.errors.values()), *exact))
    return Fits(*(np.array([row[i] for row in rows]) for i in range(4))), np.array(binned)


def test_off_shell_interference() -> None:
    number = max(TOYS // 4, 15)
    fits, binned = off_shell_fits(number)
    assert (fits.errors / fits.exact_errors).mean() == pytest.approx(1.0, abs=0.002)
    mean, rms = fits.shift()
    assert abs(mean[0]) < 0.002
    assert rms[0] < 0.002
    assert np.median(fits.errors) < np.median(binned)  # better than bins of mass
    expected = sbi.fit(sbi.asimov(OffShell().model(), _off_shell_reference())).errors["mu"]
    assert np.median(fits.errors[:, 0]) == pytest.approx(expected, rel=0.15)


def _off_shell_reference() -> sbi.RatioColumns:
    problem = OffShell()
    cells = np.arange(len(problem.B))
    return sbi.RatioColumns(problem.columns(cells), problem.B)


def test_twenty_nuisances_have_one_minimum() -> None:
    """10k events, with and without the gradient: same minimum, a fraction of the work.

    Timing is for the benchmark; a gradient costs at most three values here, so calls bound it.
    """
    model, columns, reference = many_nuisances(10_000 if TOYS >= 1000 else 1500, 20)
    like = model.likelihood(columns, reference=reference)
    with_gradient = sbi.fit(like)
    without = sbi.fit(like, gradient=False, strategy=1)
    sigma = np.array(list(with_gradient.errors.values()))
    assert with_gradient.valid
    assert np.abs((with_gradient.theta - without.theta) / sigma).max() < 1e-3
    values, gradients = with_gradient.calls
    assert values + 3 * gradients < without.calls[0] / 4
