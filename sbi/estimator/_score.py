"""The norm of a ratio that depends on parameters: fits must be right in the mean.

For the right density the mean of the score is zero, at each theta::

    E[ d log r(x | theta) / d theta ] = 0        for x of p(x | theta)

and where it is not, a fit to events of theta is off by (mean score) / (information). So the norm
c(theta) = c . (1, theta, theta theta') is the one whose slope is the mean score of held-out events
at the theta they were generated at: a linear regression, weighted by the inverse covariance of the
scores. Each event tells of the theta it belongs to, to full efficiency; whether pairs belong
together (the bridge estimator of `_pairs`, which gives the constant) tells little more of the norm
than the spread of theta allows. (Five means of a normal distribution, 600,000 events, fits to
10,000: off by 0.82, 0.47, 0.03, 0.56, 0.23 standard deviations with slopes by the bridge, by 0.20,
0.04, 0.12, 0.37, 0.09 with slopes by the score.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml.sbi.estimator._assemble import Scale
from rootml.sbi.estimator._graph import Graph

if TYPE_CHECKING:
    from rootml.sbi.estimator._learn_parametric import PairLoader

Float: TypeAlias = npt.NDArray[np.float64]
Scores: TypeAlias = "Callable[[Float, Float], Float]"


def scores_of(graph: Graph, scales: tuple[Scale, Scale]) -> Scores:
    """Derivatives of the log ratio by scaled parameters, `(events, parameters)`."""
    x_scale, theta_scale = scales

    def scores(x: Float, theta: Float) -> Float:
        given = {
            "x": (x * x_scale.width + x_scale.mean).astype(np.float32),
            "theta": (theta * theta_scale.width + theta_scale.mean).astype(np.float32),
        }
        slopes = graph.slopes("log_ratio", "theta", **given)[1]
        return np.asarray(slopes[:, :, 0].T * theta_scale.width)

    return scores


def score_norm(scores: Scores, held_out: Iterable[PairLoader]) -> Float:
    """Coefficients of `monomials(theta)` by which log ratios must be lowered; of 1 it is zero.

    Args:
        scores: Of log ratios that are not normalised yet.
        held_out: Events with their theta.
    """
    total: tuple[Float, Float, Float] | None = None
    for loader in held_out:
        for batch in loader.iterate(epoch=0):
            theta = batch.theta.astype(np.float64)
            one = np.concatenate([np.ones((len(theta), 1)), theta], axis=1)
            score = scores(batch.x, batch.theta)
            mass = batch.w.astype(np.float64)[:, None]
            parts = (one.T @ (mass * one), score.T @ (mass * one), score.T @ (mass * score))
            total = parts if total is None else _added(total, parts)
    assert total is not None  # a part without events was refused before
    return _solved(*total)


def _added(
    left: tuple[Float, Float, Float], right: tuple[Float, Float, Float]
) -> tuple[Float, Float, Float]:
    return left[0] + right[0], left[1] + right[1], left[2] + right[2]


def _solved(design: Float, moved: Float, spread: Float) -> Float:
    """The regression from its sums: of (1, theta) squared, of scores by it, of scores squared."""
    size = len(spread)
    slope = _slopes(size)
    metric = _metric(spread / design[0, 0])
    curvature = np.einsum("jam,jk,ab,kbn->mn", slope, metric, design, slope, optimize=True)
    target = np.einsum("jam,jk,ka->m", slope, metric, moved, optimize=True)
    return np.asarray(np.linalg.lstsq(curvature, target, rcond=1e-12)[0])


def _metric(covariance: Float) -> Float:
    """Its inverse; where weights of both signs make it no covariance, all parameters count alike.

    Any metric gives the same norm in the end, some need more events.
    """
    spectrum = np.linalg.eigvalsh(covariance)
    if not spectrum[0] > -1e-9 * abs(spectrum[-1]):
        return np.eye(len(covariance))
    return np.asarray(np.linalg.pinv(covariance, rcond=1e-9, hermitian=True))


def _slopes(size: int) -> Float:
    """The slope of each monomial in terms of (1, theta): `(parameter, 1 + parameters, terms)`.

    >>> _slopes(1)[0].tolist()         # of 1, theta, theta^2: 0, 1, 2 theta
    [[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]]
    """
    left, right = np.triu_indices(size)
    slopes = np.zeros((size, 1 + size, 1 + size + len(left)))
    for j in range(size):
        slopes[j, 0, 1 + j] = 1.0
        for term, (a, b) in enumerate(zip(left, right, strict=True), start=1 + size):
            slopes[j, 1 + b, term] += float(j == a)
            slopes[j, 1 + a, term] += float(j == b)
    return slopes
