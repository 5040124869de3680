"""What `diagnose` sees: wrong ratios that move a fit do not pass, right ones do."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from sbi_diagnose_studies import (
    FORMS,
    OTHERS,
    defect,
    exact,
    power_of_the_best_test,
    report,
    size_for,
    true_bias,
)

from rootml.sbi.diagnostics._report import SHIFT
from rootml.sbi.diagnostics._verdict import FALSE_ALARMS, POWER, deviations_seen

SEEDS = range(12)
FEW_OBSERVED = 200.0  # so few that 10,000 held-out events see 0.5 sigma


def test_deviations_seen_are_those_of_scipy() -> None:
    """A shifted normal variable beyond its threshold, and a noncentral chi squared."""
    normal = scipy.stats.norm
    shift = deviations_seen(0.01, 1)
    cut = normal.isf(0.005)
    assert normal.sf(cut - shift) + normal.cdf(-cut - shift) == pytest.approx(POWER, abs=1e-9)
    draws = scipy.stats.chi2.isf(0.01, 20)
    seen = scipy.stats.ncx2.sf(draws, 20, deviations_seen(0.01, 20) ** 2)
    assert seen == pytest.approx(POWER, abs=1e-9)


def test_exact_ratios_pass_with_a_fit() -> None:
    """Nothing fails in 15 reports but by chance (5.5 % each), nothing is too coarse but chi2."""
    reports = [report(seed, exact, observed=FEW_OBSERVED) for seed in range(15)]
    assert sum(bool(r.failed) for r in reports) <= 3
    assert not any(r.gaps for r in reports)
    pulls = [c.value / c.error for r in reports for c in r.checks if c.what == SHIFT and c.error]
    assert scipy.stats.kstest(pulls[::2], "norm").pvalue > 1e-3  # those of mu and n are equal


@pytest.mark.parametrize("form", [*FORMS[:3], *FORMS[4:], "a wrong tail"])
def test_errors_of_half_a_sigma_are_seen(form: str) -> None:
    """A defect that moves mu by 0.5 sigma fails where every check that matters was tested."""
    size = size_for(form, FEW_OBSERVED, 0.5)
    reports = [report(seed, defect(form, size), observed=FEW_OBSERVED) for seed in SEEDS]
    assert not any(r.gaps for r in reports)
    assert np.mean([bool(r.failed) for r in reports]) >= POWER


@pytest.mark.parametrize("form", [*FORMS[:3], *FORMS[4:], *OTHERS])
def test_no_report_passes_where_the_bias_matters(form: str) -> None:
    """The defects as they are, and as many observed events as give 0.5 sigma."""
    wrong = defect(form)
    observed = 1000.0 * (0.5 / true_bias(wrong)) ** 2
    reports = [report(seed, wrong, observed=observed) for seed in SEEDS[:6]]
    assert sum(not r.failed and not r.gaps for r in reports) == 0


@pytest.mark.parametrize(("form", "power"), [
    ("r x 1.05", 0.9), ("r x 1.02", 0.9), ("0.2 sin(10 x)", 0.9), ("no x y", 0.9),
    ("log r x 0.9", 0.75), ("smeared", 0.75),
])  # fmt: skip
def test_power_at_10000_events(form: str, power: float) -> None:
    """As defined, whatever they do to a fit; some .9 of the reports fail for the last two.

    0.75 is what 12 reports show of a power of 0.9, but for one case in 40; tests/sbi/studies has
    more of them.
    """
    reports = [report(seed, defect(form)) for seed in SEEDS]
    assert np.mean([bool(r.failed) for r in reports]) >= power


def test_the_samples_know_hardly_more_of_the_slope() -> None:
    """The best test with as many false alarms as a report finds log r x 0.9 in 93 % of cases."""
    best = {
        form: power_of_the_best_test(form, false_alarms=FALSE_ALARMS)
        for form in ("log r x 0.9", "smeared", "r x 1.02")
    }
    assert best["log r x 0.9"] == pytest.approx(0.926, abs=0.005)
    assert best["smeared"] == pytest.approx(0.985, abs=0.005)
    assert best["r x 1.02"] > 0.999  # both densities are normalised, and nearly equal


def test_the_slope_is_found() -> None:
    """For log r times 0.8 it is 1.25 within its error, in the mean."""
    slopes = [
        check.value
        for seed in range(10)
        for check in report(seed, lambda x: 0.8 * exact(x)).checks
        if check.what == "slope of log r"
    ]
    assert np.mean(slopes) == pytest.approx(1.25, abs=0.03)


def test_what_is_too_coarse_has_not_passed() -> None:
    found = report(1, exact, events=2000, observed=10_000.0)
    assert found.gaps
    assert all(check.sees is not None and check.sees > 0.5 for check in found.untested)
    assert "sigma on: too few held-out events" in str(found)
