"""The norm by scores and pairs together: right where both are, by pairs where they contradict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats

from rootml.sbi.estimator.graph._assemble import monomials
from rootml.sbi.estimator.learners._norm import theta_norm
from rootml.sbi.estimator.learners._pairs import Pairs, Side, network_share, pair_norm
from rootml.sbi.estimator.learners._score import NormEstimate, score_norm


def pairs(rng: np.random.Generator, width: float, shift: float, norm: np.ndarray) -> Pairs:
    """x = theta + noise, theta uniform from -1 to 1; log r with x displaced, and a wrong norm."""
    theta = rng.uniform(-1.0, 1.0, 5000)
    x = theta + width * rng.normal(size=len(theta))

    def side(label: float, t: np.ndarray) -> Side:
        near = x - shift  # the density of all x is the mean over theta
        pool = 0.5 * (
            stats.norm.cdf(near + 1.0, scale=width) - stats.norm.cdf(near - 1.0, scale=width)
        )
        log_ratio = stats.norm.logpdf(near, t, width) - np.log(np.maximum(pool, 1e-300))
        value = log_ratio + monomials(t[:, None]) @ norm
        return Side(label, value, value, t[:, None], np.ones(len(x)))

    return Pairs(side(1.0, theta), side(0.0, rng.permutation(theta)))


def by_score(
    given: Pairs, width: float, shift: float, norm: np.ndarray, seed: int = 3
) -> NormEstimate:
    """What the mean score of as many events says, from its derivative by hand."""

    class Held:
        theta = given.matched.theta
        x = theta + width * np.random.default_rng(seed).normal(size=theta.shape)
        w = np.ones(len(x))

        def iterate(self, *, epoch: int) -> list[Held]:
            del epoch
            return [self]

    def scores(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
        return np.asarray((x - shift - theta) / width**2 + norm[1] + 2.0 * norm[2] * theta)

    return score_norm(scores, [Held()])  # type: ignore[list-item]


def test_pairs_give_the_minimum_of_scipy() -> None:
    """The cross entropy of both kinds and a parabola for what is known, minimised by BFGS."""
    found = pairs(np.random.default_rng(1), 1.0, 0.0, np.array([0.3, 0.5, -0.4]))
    known = NormEstimate(np.array([0.0, 2.0, 0.1]), np.diag([0.0, 50.0, 300.0]))

    def loss(c: np.ndarray) -> float:
        total = 0.5 * (c - known.coefficients) @ known.information @ (c - known.coefficients)
        for side in found.sides:
            sign = 1.0 - 2.0 * side.label
            total += np.logaddexp(0.0, sign * (side.value - monomials(side.theta) @ c)).sum()
        return float(total)

    best = optimize.minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-3})
    np.testing.assert_allclose(pair_norm(found, known).coefficients, best.x, atol=1e-4)


def test_far_from_the_minimum() -> None:
    """Log ratios that are wrong by tens: full steps of Newton would run away."""
    wrong = np.array([0.0, 30.0, -20.0])
    found = pairs(np.random.default_rng(1), 0.1, 0.0, wrong)
    norm = pair_norm(found, NormEstimate(np.zeros(3), 1e-3 * np.eye(3)))
    np.testing.assert_allclose(norm.coefficients, wrong, atol=1.5)


def test_share_of_ratios_that_reach_far() -> None:
    """log r of mismatched pairs is -4,000 (RMS); a network 25 % too steep."""
    found = pairs(np.random.default_rng(1), 0.01, 0.0, np.zeros(3))
    steep = [replace(s, value=1.25 * s.value, network=1.25 * s.value) for s in found.sides]
    assert np.sqrt(np.mean(steep[1].network ** 2)) > 3000.0
    assert network_share(Pairs(*steep)) == pytest.approx(0.8, abs=0.05)


def test_both_agree_where_the_shape_is_right() -> None:
    wrong = np.array([0.3, 0.5, -0.4])
    found = pairs(np.random.default_rng(1), 1.0, 0.0, wrong)
    norm = theta_norm(found, by_score(found, 1.0, 0.0, wrong))
    assert norm.contradiction == 0.0
    np.testing.assert_allclose(norm.coefficients, wrong, atol=0.1)


def test_pairs_decide_where_a_sharp_shape_is_wrong() -> None:
    """A ridge displaced by half its width: the score would turn posteriors by exp(25 theta)."""
    width, none = 0.02, np.zeros(3)
    found = pairs(np.random.default_rng(1), width, 0.5 * width, none)
    score = by_score(found, width, 0.5 * width, none)
    assert abs(score.coefficients[1]) == pytest.approx(25.0, rel=0.1)
    norm = theta_norm(found, score)
    assert norm.contradiction == pytest.approx(25.0 / 3.0**0.5, rel=0.1)
    np.testing.assert_allclose(norm.coefficients[1:], 0.0, atol=0.3)
