"""What a correction of `wide` has left, by kind, on the scale of the relative entropy.

Given the conditions, ten of the twelve features of the data (all but those with atoms) are known
functions of normal variables with known means and covariances. So those of a corrected simulation
are whitened with the truth of the data, `e`, and should be standard normal whatever the conditions
are. Each mean of a product of orthonormal functions of e and of the conditions should be 0; half
the sum of their squares is, to second order, the relative entropy in nats.

A parameter that is found from n events of each domain costs ``1/n`` nats: the error of a
difference of two means has a variance of 2/n. That is the least that a method can leave which does
not know more than the form of the dependence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness_morphing.wide import CONDITIONS, FEATURES, numbers, scaled_conditions

SMOOTH = (0, 1, 2, 3, 6, 7, 8, 9, 10, 11)
"""Features without atoms."""
_FURTHEST = 6.0


@dataclass(frozen=True, slots=True)
class Part:
    """Of one kind.

    Attributes:
        nats: Relative entropy, less what the finite sample itself gives.
        parameters: How many squares were added.
    """

    nats: float
    parameters: int


def residuals(columns: dict[str, Any]) -> dict[str, Part]:
    """Of all kinds, of corrected simulation whose conditions are spread as those of the data."""
    e = np.clip(whitened(columns), -_FURTHEST, _FURTHEST)
    one, linear, square = powers(columns)
    i, j = np.triu_indices(e.shape[1], 1)
    widths, pairs = (e**2 - 1) / np.sqrt(2), e[:, i] * e[:, j]
    third = (e**3 - 3 * e) / np.sqrt(6)
    return {
        "means": _part(one, e),
        "means, linear in the conditions": _part(linear, e),
        "means, of second degree": _part(square, e),
        "widths": _part(one, widths),
        "widths, linear in the conditions": _part(linear, widths),
        "correlations": _part(one, pairs),
        "correlations, linear in the conditions": _part(linear, pairs),
        "correlations, of second degree": _part(square, pairs),
        "skewness": _part(one, third),
    }


def whitened(columns: dict[str, Any]) -> Any:
    """Standard normal variables if these are data, `(events, 10)`."""
    x = np.stack([columns[name] for name in FEATURES], 1).astype(np.float64)
    x[:, :4] = np.log(np.maximum(x[:, :4], 1e-12)) / 0.4
    share = np.clip(x[:, 6], 1e-12, 1 - 1e-12)
    x[:, 6] = np.log(share / (1 - share))
    scaled = scaled_conditions(*(columns[name] for name in CONDITIONS))
    mixing, change, slopes, moves = numbers()
    centred = (x - scaled @ (slopes + moves[:5]) - moves[5]) / (1 + 0.1 * scaled[:, [0]])
    full = np.eye(12) + mixing + change
    covariance = (full.T @ full)[np.ix_(SMOOTH, SMOOTH)]
    return np.linalg.solve(np.linalg.cholesky(covariance), centred[:, SMOOTH].T).T


def powers(columns: dict[str, Any]) -> list[Any]:
    """Orthonormal functions of the conditions: 1, linear ones, those of second degree."""
    scaled = scaled_conditions(*(columns[name] for name in CONDITIONS))
    s = (scaled - scaled.mean(axis=0)) / scaled.std(axis=0)
    first, second = np.triu_indices(s.shape[1])
    every = np.concatenate([np.ones((len(s), 1)), s, s[:, first] * s[:, second]], axis=1)
    ortho = np.linalg.qr(every)[0] * np.sqrt(len(s))
    return [ortho[:, :1], ortho[:, 1:6], ortho[:, 6:]]


def _part(functions: Any, values: Any) -> Part:
    means = functions.T @ values / len(values)
    noise = functions.shape[1] * values.var(axis=0).sum() / len(values)
    return Part(0.5 * float((means**2).sum() - noise), means.size)
