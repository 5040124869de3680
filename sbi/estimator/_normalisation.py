"""Normalisation: what a learned ratio must be multiplied by to be one of normalised densities.

Two ways, both on events that the network has not learned from:

``"bridge"``
    Constants a_k such that, among samples of equal weight, the probabilities that the ratios give
    to each class add up to that class's share::

        sum_j E_j[ r_k e^(a_k) / sum_m r_m e^(a_m) ] = 1      for all k

    This is the estimator of ratios of normalising constants that uses samples of *both* densities
    (Bennett, J. Comput. Phys. 22 (1976) 245; Meng, Wong, Statistica Sinica 6 (1996) 831). Its
    terms are between 0 and 1, so no tail can dominate it. For the right shape it is E_ref[r] = 1.
``"reference"``
    ``a_k = -log E_ref[r_k]``. Its variance is that of r under the reference: with a signal in the
    tails of the reference a few events decide. (4-D mixture of the studies, three trainings with
    100,000 events per sample: fits are off by 0.1, 0.6, 0.7 standard deviations with 10,000 more
    events of the reference, by 0.05, 0.26, 0.45 with "bridge" and as many of each sample, by
    0.02, 0.03, 0.19 with ten times as many.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rootml.errors import ConvergenceError

Float = npt.NDArray[np.float64]

_ROUNDS = 60
_CLOSE = 1e-9


def class_weights(labels: npt.NDArray[np.integer], weights: Float, classes: int) -> Float:
    """The weights of each class scaled to a sum of one."""
    totals = np.bincount(labels, weights, minlength=classes)
    return np.asarray(weights / totals[labels])


def bridge(log_ratio: Float, mass: Float, reference: int) -> Float:
    """The constants a_k, `(classes,)`, zero for the reference.

    Newton's method; the loss whose gradient this is, is convex.

    Args:
        log_ratio: `(events, classes)`, zero in the column of the reference.
        mass: Weights, each class adding up to one.

    Raises:
        ConvergenceError: No such constants, as can be with many negative weights.
    """
    classes = log_ratio.shape[1]
    free = np.array([k for k in range(classes) if k != reference])
    offsets = np.zeros(classes)
    for _ in range(_ROUNDS):
        logits = log_ratio + offsets
        logits -= logits.max(axis=1, keepdims=True)
        chance = np.exp(logits)
        chance /= chance.sum(axis=1, keepdims=True)
        excess = (mass @ chance - 1.0)[free]
        if np.abs(excess).max() < _CLOSE:
            return offsets
        weighted = chance[:, free] * mass[:, None]
        curvature = np.diag(weighted.sum(axis=0)) - weighted.T @ chance[:, free]
        step = np.linalg.solve(curvature, excess)
        offsets[free] -= np.clip(step, -2.0, 2.0)
    message = f"the normalisation of the ratios does not converge: off by {excess.tolist()}"
    raise ConvergenceError(message)


def expectation(ratio: Float, mass: Float) -> tuple[Float, Float]:
    """The mean of ratios under weights that add up to one, and its standard error.

    Args:
        ratio: `(events, columns)`.

    >>> mean, error = expectation(np.array([[1.0], [3.0]]), np.array([0.5, 0.5]))
    >>> mean.tolist(), error.round(3).tolist()
    ([2.0], [0.707])
    """
    mean = mass @ ratio
    error = np.sqrt(np.square(mass) @ np.square(ratio - mean))
    return np.asarray(mean), np.asarray(error)
