"""Moments of the conditions that close after a network, beside exact density ratios."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rootml.errors import StateError
from rootml.sbi.morphing.inference._rows import Rows
from rootml.sbi.morphing.reweighting._moments import (
    EVENTS_PER_COEFFICIENT,
    closing,
    coefficients,
    enough,
    moments,
)


def _normal(rows: int, mean: float, width: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.multivariate_normal([mean, 0], [[width**2, 0.3 * mean], [0.3 * mean, 1]], rows)


@pytest.mark.parametrize("signed", [False, True])
def test_of_normal_variables_the_ratio_is_exact(signed: bool) -> None:
    """The logarithm of their ratio is a polynomial of second degree: nothing else is needed."""
    rows = 400_000
    sim, data = _normal(rows, 0.0, 1.0, 0), _normal(rows, 0.2, 0.9, 1)
    weights = np.ones(rows)
    if signed:
        weights[np.random.default_rng(2).random(rows) < 0.1] = -1
    phi, target = moments(sim), moments(data)
    found = closing(phi, weights, np.zeros(rows), target, np.ones(rows))
    margin = found[0] + phi @ found[1:]
    covariances = np.eye(2), np.array([[0.81, 0.06], [0.06, 1.0]])
    truth = stats.multivariate_normal([0.2, 0], covariances[1]).logpdf(sim)
    truth -= stats.multivariate_normal([0, 0], covariances[0]).logpdf(sim)
    assert np.sqrt(np.mean((margin - truth) ** 2)) < 0.02
    tilted = weights * np.exp(margin)
    np.testing.assert_allclose(tilted @ phi / tilted.sum(), target.mean(axis=0), atol=1e-8)
    np.testing.assert_allclose(tilted.sum(), weights.sum(), rtol=1e-9)


def test_what_cannot_be_reached_changes_nothing() -> None:
    """A mean outside of the simulation's range."""
    sim, data = np.linspace(0, 1, 100)[:, None], np.full((100, 1), 3.0)
    found = closing(moments(sim), np.ones(100), np.zeros(100), moments(data), np.ones(100))
    np.testing.assert_array_equal(found, np.zeros(1 + coefficients(1)))


@pytest.mark.parametrize(("conditions", "count"), [(1, 2), (3, 9), (5, 20)])
def test_few_events_are_not_followed(conditions: int, count: int) -> None:
    assert coefficients(conditions) == count
    events = EVENTS_PER_COEFFICIENT * count
    assert enough((np.ones(events), np.ones(events)), conditions)
    assert not enough((np.ones(events - 1), np.ones(10 * events)), conditions)
    assert not enough((np.where(np.arange(events) % 5, 1.0, -1.0), np.ones(events)), conditions)


def _rows(values: np.ndarray) -> Rows:
    events = np.arange(len(values), dtype=np.uint64)
    return Rows(np.zeros((len(values), 0)), values, np.ones(len(values)), events, events)


def test_networks_keep_what_closes_the_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the rows of the training, in which nothing lies further than six widths."""
    pytest.importorskip("torch")
    from rootml.sbi.morphing.reweighting._reweight_network import RatioNetwork, fit_network

    monkeypatch.setattr("rootml.sbi.morphing.reweighting._moments.EVENTS_PER_COEFFICIENT", 500)
    rng = np.random.default_rng(3)
    sides = [rng.normal(mean, width, (2_000, 1)) for mean, width in ((0.0, 1.0), (0.1, 0.9))]
    train = _rows(sides[0][:1_500]), _rows(sides[1][:1_500])
    held = _rows(sides[0][1_500:]), _rows(sides[1][1_500:])
    found = fit_network(train, held, seed=(0, 0))
    assert found.closing.any()
    again = RatioNetwork.from_arrays(found.arrays())
    factors = np.exp(again.margin(train[0].conditions))
    for power in (1, 2):
        ours = np.average(train[0].conditions[:, 0] ** power, weights=factors)
        assert ours == pytest.approx((train[1].conditions ** power).mean(), abs=1e-6)
    with pytest.raises(StateError, match="damaged"):
        RatioNetwork.from_arrays({**found.arrays(), "closing": np.zeros(2)})
