"""False alarms and power of `diagnose` in full, second classifier and fit included (slow).

The reduced versions are `tests/sbi/diagnostics/test_exact_ratios.py` and `test_power.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
from sbi_diagnose_studies import FORMS, defect, exact, report, size_for, true_bias

from rootml.sbi.diagnostics._verdict import POWER

REPETITIONS = range(100)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_exact_ratios_pass_with_classifier_and_fit() -> None:
    """100 reports with a fit of 200 events: at most 6 % fail; no injected error is needed."""
    reports = [report(seed, exact, observed=200.0) for seed in REPETITIONS]
    trees = [report(seed, exact, classifier=True) for seed in REPETITIONS]
    for found in (reports, trees):
        print(sum(bool(r.failed) for r in found))  # noqa: T201
        assert sum(bool(r.failed) for r in found) <= 12
    assert sum(bool(r.failed) for r in (*reports, *trees)) <= 0.06 * 200


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("form", FORMS)
def test_power(form: str) -> None:
    """At 10,000 events: how many reports fail, and none passes where 0.5 sigma matters.

    The bar of 0.9 is 2 binomial errors above what 100 reports have to show.
    """
    power = np.mean([bool(report(seed, defect(form)).failed) for seed in REPETITIONS])
    print(form, power)  # noqa: T201
    assert power >= 0.9 - 2.0 * 0.03
    bias = true_bias(defect(form))
    observed = 1000.0 * (0.5 / bias) ** 2
    fitted = [report(seed, defect(form), observed=observed) for seed in REPETITIONS]
    assert np.mean([not r.failed and not r.gaps for r in fitted]) <= 1.0 - POWER
    if form != "no x y":  # which moves mu by too little for any size to matter
        size = size_for(form, 200.0, 0.5)
        small = [report(seed, defect(form, size), observed=200.0) for seed in REPETITIONS]
        assert np.mean([bool(r.failed) for r in small]) >= POWER
