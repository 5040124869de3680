"""Whether the mean or the width of an input changes: beside scipy, and how often by chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rootml.sbi.estimator.graph._ramps import Histograms
from rootml.sbi.estimator.learners._marginals import marginal_significances


def filled(samples: list[np.ndarray], weights: list[np.ndarray] | None = None) -> Histograms:
    """Of nominal, up and down of each nuisance."""
    rows = np.concatenate(samples)
    histograms = Histograms(rows[np.random.default_rng(0).permutation(len(rows))[:10_000]], 5)
    for k, x in enumerate(samples):
        label = np.full(len(x), k)
        histograms.add(x.astype(np.float32), label, None if weights is None else weights[k])
    return histograms


def after_looks(deviation: float, looks: int) -> float:
    return float(stats.norm.isf(looks * 2.0 * stats.norm.sf(deviation)))


def test_a_shift_beside_the_t_test() -> None:
    """Normal inputs: their normal scores are themselves."""
    rng = np.random.default_rng(1)
    samples = [rng.normal(size=(8000, 2)) for _ in range(5)]
    samples[3][:, 1] += 0.04
    samples[4][:, 1] -= 0.04
    null, real = marginal_significances(filled(samples), range(5))
    t = abs(stats.ttest_ind(samples[3][:, 1], samples[4][:, 1]).statistic)
    assert real[0] == pytest.approx(after_looks(t, 8), abs=0.15)
    assert max(*null, real[1]) < 3.0


def test_both_wider_is_an_even_part() -> None:
    rng = np.random.default_rng(2)
    samples = [rng.normal(size=(8000, 2)) * (1.0 if k < 3 else 1.06) for k in range(5)]
    null, real = marginal_significances(filled(samples), range(5))
    assert real[1] > 3.0
    assert max(*null, real[0]) < 3.0


def test_weights_count_by_their_effective_events() -> None:
    rng = np.random.default_rng(3)
    samples = [rng.normal(size=(6000, 1)) + 0.06 * (k == 3) - 0.06 * (k == 4) for k in range(5)]
    plain = marginal_significances(filled(samples), range(5))
    same = marginal_significances(filled(samples, [np.full(6000, 7.0)] * 5), range(5))
    np.testing.assert_allclose(same, plain)
    signs = [np.where(rng.uniform(size=6000) < 0.25, -1.0, 1.0) for _ in range(5)]
    signed = marginal_significances(filled(samples, signs), range(5))
    assert signed[1][0] < 0.8 * plain[1][0]


def test_chances_without_an_effect() -> None:
    """The larger of both parts is above each level as often as a normal deviation."""
    rng = np.random.default_rng(4)
    found = [
        max(pair)
        for _ in range(300)
        for pair in marginal_significances(
            filled([rng.normal(size=(400, 2)) for _ in range(5)]), range(5)
        )
    ]
    for level in (1.0, 2.0):
        chance = stats.norm.sf(level)
        allowed = 3.0 * np.sqrt(chance / len(found))
        assert np.mean(np.array(found) > level) == pytest.approx(chance, abs=allowed)
    assert np.mean(np.array(found) > 3.0) < 0.01
