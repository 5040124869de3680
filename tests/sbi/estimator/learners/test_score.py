"""The norm by the score: exact where the mean score is, and right fits where a network is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from rootml.sbi.estimator.graph._assemble import monomials
from rootml.sbi.estimator.learners._score import score_norm


@dataclass
class Held:
    """Held-out events in batches, as a `PairLoader` gives them."""

    x: np.ndarray
    theta: np.ndarray
    w: np.ndarray
    size: int = 300

    def iterate(self, *, epoch: int) -> Any:
        assert epoch == 0
        for k in range(0, len(self.x), self.size):
            part = slice(k, k + self.size)
            yield Held(self.x[part], self.theta[part], self.w[part])


def slopes_of(theta: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Derivatives of a polynomial in theta, by central differences: exact to second order."""
    step = 1e-3
    moves = [(monomials(theta + e) - monomials(theta - e)) @ c / (2 * step)
             for e in step * np.eye(theta.shape[1])]  # fmt: skip
    return np.stack(moves, axis=1)


def events(size: int, rows: int = 1000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Observables on both sides of theta, so that the mean of any linear score is zero."""
    rng = np.random.default_rng(seed)
    theta = np.repeat(rng.normal(size=(rows, size)), 2, axis=0)
    noise = np.repeat(rng.normal(size=(rows, size)), 2, axis=0)
    return theta + noise * np.tile([[1.0], [-1.0]], (rows, 1)), theta


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("signed", [False, True])
def test_a_wrong_norm_is_found(size: int, signed: bool) -> None:
    """The score of a normal distribution and the slope of a polynomial: that is given back."""
    x, theta = events(size)
    rng = np.random.default_rng(2)
    inverse = np.linalg.inv(0.7 * np.eye(size) + 0.3)
    wrong = rng.normal(size=int(monomials(theta[:1]).shape[1]))
    w = np.repeat(rng.uniform(0.1, 2.0, len(x) // 2), 2)
    w[:200] *= -1.0 if signed else 1.0

    def scores(x: Any, theta: Any) -> Any:
        return (x - theta) @ inverse + slopes_of(theta, wrong)

    halves = [Held(x[:900], theta[:900], w[:900]), Held(x[900:], theta[900:], w[900:])]
    found = score_norm(scores, halves).coefficients  # type: ignore[arg-type]
    assert found[0] == 0.0
    np.testing.assert_allclose(found[1:], wrong[1:], atol=1e-8)


def test_scores_are_weighted_by_their_covariance() -> None:
    """Least squares of scores that are made independent and of unit width, by NumPy."""
    x, theta = events(2, seed=3)
    x = x + np.random.default_rng(4).normal(size=x.shape) * [3.0, 0.2]
    inverse = np.linalg.inv(np.array([[1.0, 0.8], [0.8, 1.0]]))

    def scores(x: Any, theta: Any) -> Any:
        return (x - theta) @ inverse + theta**3

    held: Any = [Held(x, theta, np.ones(len(x)))]
    found = score_norm(scores, held).coefficients
    s = scores(x, theta)
    white = np.linalg.cholesky(np.linalg.inv(s.T @ s / len(s)))
    rows = np.stack([slopes_of(theta, unit) for unit in np.eye(6)[1:]], axis=2)  # event, j, term
    design = np.einsum("jk,ejt->ekt", white, rows).reshape(-1, 5)
    oracle = np.linalg.lstsq(design, (s @ white).reshape(-1), rcond=None)[0]
    np.testing.assert_allclose(found[1:], oracle, atol=1e-8)


def test_a_parameter_that_nothing_depends_on() -> None:
    """Its norm is flat, and that of the other one is found."""
    x, theta = events(2, seed=5)

    def scores(x: Any, theta: Any) -> Any:
        return np.stack([x[:, 0] - theta[:, 0] + 0.5, np.zeros(len(x))], axis=1)

    held: Any = [Held(x, theta, np.ones(len(x)))]
    found = score_norm(scores, held).coefficients
    np.testing.assert_allclose(found, [0.0, 0.5, 0.0, 0.0, 0.0, 0.0], atol=1e-9)
