"""Normalisation: factors that make learned ratios those of normalised densities.

Two methods, both on held-out events:

``"bridge"``
    Constants a_k such that, for samples of equal total weight, the predicted probabilities of each
    class add up to the fraction of that class::

        sum_j E_j[ r_k e^(a_k) / sum_m r_m e^(a_m) ] = 1      for all k

    This estimator of ratios of normalising constants uses samples of *both* densities (Bennett, J.
    Comput. Phys. 22 (1976) 245; Meng, Wong, Statistica Sinica 6 (1996) 831). Its terms lie between
    0 and 1, so tails cannot dominate it. For the true shape it is equivalent to E_ref[r] = 1.
``"reference"``
    ``a_k = -log E_ref[r_k]``. Its variance is that of r under the reference: with a signal in the
    tails of the reference a few events dominate it. (4-D mixture of the studies, three trainings
    with 100,000 events per sample: fits are biased by 0.1, 0.6, 0.7 standard deviations with
    10,000 more events of the reference, by 0.05, 0.26, 0.45 with "bridge" and as many events of
    each sample, by 0.02, 0.03, 0.19 with ten times as many.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np

from rootml._internal.types import Float, Int
from rootml.errors import ConvergenceError

Blocks: TypeAlias = "Callable[[], Iterable[tuple[Float, Float]]]"
"""A pass over events: log ratios and weights of blocks of them."""

_MAX_ITERATIONS = 60
_TOLERANCE = 1e-9


def class_weights(labels: Int, weights: Float, classes: int) -> Float:
    """The weights of each class scaled to a sum of one."""
    totals = np.bincount(labels, weights, minlength=classes)
    return np.asarray(weights / totals[labels])


def bridge(blocks: Blocks, classes: int, reference: int) -> Float:
    """The constants a_k, `(classes,)`, zero for the reference.

    Newton's method on a convex loss; each step is a pass over the events.

    Args:
        blocks: Called for each pass: log ratios `(events, classes)`, zero in the column of the
            reference, and weights `(events,)`, which add up to 1 for each class.

    Raises:
        ConvergenceError: There are no such constants, which can happen with negative weights.
    """
    free = np.array([k for k in range(classes) if k != reference])
    offsets = np.zeros(classes)
    for _ in range(_MAX_ITERATIONS):
        excess, hessian = _bridge_sums(blocks, offsets)
        if np.abs(excess[free]).max() < _TOLERANCE:
            return offsets
        step = np.linalg.solve(hessian[np.ix_(free, free)], excess[free])
        offsets[free] -= np.clip(step, -2.0, 2.0)
    left = excess[free].tolist()
    message = f"the normalisation of the ratios did not converge; remaining excess {left}"
    raise ConvergenceError(message)


def _bridge_sums(blocks: Blocks, offsets: Float) -> tuple[Float, Float]:
    """Predicted minus true fraction of each class, and its derivative by the offsets."""
    classes = len(offsets)
    excess, hessian = np.full(classes, -1.0), np.zeros((classes, classes))
    for log_ratio, weights in blocks():
        logits = log_ratio + offsets
        logits -= logits.max(axis=1, keepdims=True)
        probability = np.exp(logits)
        probability /= probability.sum(axis=1, keepdims=True)
        excess += weights @ probability
        weighted = probability * weights[:, None]
        hessian += np.diag(weighted.sum(axis=0)) - weighted.T @ probability
    return excess, hessian


def expectation(ratio: Float, weights: Float) -> tuple[Float, Float]:
    """The mean of ratios for weights with a sum of 1, and its standard error.

    Args:
        ratio: `(events, columns)`.

    >>> mean, error = expectation(np.array([[1.0], [3.0]]), np.array([0.5, 0.5]))
    >>> mean.tolist(), error.round(3).tolist()
    ([2.0], [0.707])
    """
    mean = weights @ ratio
    error = np.sqrt(np.square(weights) @ np.square(ratio - mean))
    return np.asarray(mean), np.asarray(error)
