"""Closes means, widths and correlations of the conditions after a network.

A network that stops early leaves a little in the tails, where rows are few. With s the conditions
on a standard scale, no further than 6 from the mean, its margin m is tilted::

    phi = s_i,  s_i s_j  (i <= j)
    margin = m + beta . phi

such that the mean of phi over the simulation, with weights w exp(margin), is that over the data:
the smallest change (in relative entropy) that does so. The equations for beta are solved by
Newton's method; with few events they would hand on fluctuations of the data.

References:
    Csiszar: Ann. Probab. 3 (1975) 146; Hainmueller: Political Analysis 20 (2012) 25.
"""

from __future__ import annotations

import numpy as np

from rootml._internal.statistics import effective_events
from rootml._internal.types import Float

_FURTHEST = 6.0
EVENTS_PER_COEFFICIENT = 5000
_ITERATIONS, _CLOSE, _LARGEST = 20, 1e-9, 0.5


def coefficients(conditions: int) -> int:
    """How many there are, the constant not among them."""
    return conditions + conditions * (conditions + 1) // 2


def moments(standard: Float) -> Float:
    """phi `(rows, coefficients)` of conditions on a standard scale `(rows, conditions)`."""
    s = np.clip(standard, -_FURTHEST, _FURTHEST)
    first, second = np.triu_indices(s.shape[1])
    return np.concatenate([s, s[:, first] * s[:, second]], axis=1)


def enough(weights: tuple[Float, Float], conditions: int) -> bool:
    """Whether samples with these weights say what the moments are."""
    events = min(effective_events(each) for each in weights)
    return bool(events >= EVENTS_PER_COEFFICIENT * coefficients(conditions))


def closing(sim: Float, weights: Float, margin: Float, data: Float, data_weights: Float) -> Float:
    """The constant and beta, `(1 + coefficients,)`; zeros if there is no solution.

    Args:
        sim, weights, margin: phi of the simulation, its weights, and what a network says.
        data, data_weights: The same of the data.
    """
    target = data_weights @ data / data_weights.sum()
    beta = np.zeros(sim.shape[1])
    for _ in range(_ITERATIONS):
        factors = np.exp(margin + sim @ beta)
        tilted = weights * factors
        total = float(tilted.sum())
        if not total > 0:
            break
        mean = tilted @ sim / total
        missing = target - mean
        if np.abs(missing).max() < _CLOSE:
            constant = -np.log(total / weights.sum())
            return np.concatenate([[constant], beta])
        covariance = (sim * tilted[:, None]).T @ sim / total - np.outer(mean, mean)
        move = np.linalg.lstsq(covariance, missing, rcond=1e-10)[0]
        beta = beta + move * min(1.0, _LARGEST / max(np.abs(move).max(), 1e-300))
    return np.zeros(1 + len(beta))
