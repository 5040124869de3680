"""Constraints against scipy's distributions: differences of log probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from rootml import sbi

CASES: list[tuple[sbi.Nuisance, Any, tuple[float, float]]] = [
    (
        sbi.Nuisance(width=0.7, observed=0.4),
        lambda a: stats.norm.logpdf(0.4, a, 0.7), (-1.3, 2.0),
    ),
    (
        sbi.Nuisance("lognormal", width=1.2, observed=1.1),
        lambda a: stats.lognorm.logpdf(1.1, s=np.log(1.2), scale=a), (0.8, 1.3),
    ),
    (
        sbi.Nuisance("poisson", width=25.0, observed=31.0),
        lambda a: stats.poisson.logpmf(31, 25.0 * a), (0.7, 1.6),
    ),
    (
        sbi.Nuisance("poisson", width=25.0, observed=0.0),
        lambda a: stats.poisson.logpmf(0, 25.0 * a), (0.7, 1.6),
    ),
    (sbi.Nuisance("none", value=1.0), lambda a: 0.0, (0.7, 1.6)),
]  # fmt: skip


@pytest.mark.parametrize(("nuisance", "log_probability", "points"), CASES, ids=range(5))
def test_equals_scipy(
    nuisance: sbi.Nuisance, log_probability: Any, points: tuple[float, float]
) -> None:
    like = sbi.Model({"S": "9"}, {}, {"a": nuisance}).likelihood({"S": [1.0]})
    found = like(a=points[0]) - like(a=points[1])
    assert found == pytest.approx(log_probability(points[1]) - log_probability(points[0]))
    step = 1e-5
    slope = (log_probability(points[0] - step) - log_probability(points[0] + step)) / (2 * step)
    assert like.gradient(a=points[0])["a"] == pytest.approx(slope, rel=1e-7, abs=1e-9)
    h = 1e-3
    ends = [log_probability(points[0] + s) for s in (-h, 0.0, h)]
    bend = -(ends[0] - 2 * ends[1] + ends[2]) / h**2
    assert like.hessian(a=points[0])[0, 0] == pytest.approx(bend, rel=1e-4, abs=1e-7)
