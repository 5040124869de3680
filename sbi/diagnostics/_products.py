"""Squares and products of the features: what correlations and widths are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.diagnostics._pairs import MIN_EVENTS, Directions, Pair

_MAX_KNOTS = 2001


def products(pair: Pair) -> Directions | None:
    """Functions of an event: every feature, and every product of two, of their ranks.

    A feature enters by its rank where the densities overlap, from -1 to 1: so tails weigh no more
    than the rest, and errors can be trusted. None: there are fewer than `MIN_EVENTS`
    effective events for each of the functions.
    """
    count = pair.numerator.x.shape[1]
    rows, columns = np.triu_indices(count)
    if pair.effective_overlap < MIN_EVENTS * (count + len(rows)):
        return None
    rank = [overlap_rank(pair, j) for j in range(count)]

    def functions(x: Float, log_ratio: Float) -> Float:  # noqa: ARG001 - one of `Directions`
        ranks = np.stack([rank[j](x[:, j]) for j in range(count)], axis=1)
        return np.concatenate([ranks, ranks[:, rows] * ranks[:, columns]], axis=1)

    return functions


def overlap_rank(pair: Pair, feature: int) -> Callable[[Float], Float]:
    """The rank of a feature among the events where both densities overlap."""
    values = np.concatenate([pair.numerator.x[:, feature], pair.reference.x[:, feature]])
    return rank_among(values, np.abs(np.concatenate(pair.overlap())))


def rank_among(values: Float, weights: Float) -> Callable[[Float], Float]:
    """The rank among weighted values, from -1 to 1; equal values have the middle of their ranks.

    >>> rank = rank_among(np.array([1.0, 2.0, 2.0, 5.0]), np.ones(4))
    >>> rank(np.array([0.0, 2.0, 9.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    size = min(len(values), _MAX_KNOTS)
    order = np.argsort(values)
    level = np.cumsum(weights[order])
    middles = (np.arange(size) + 0.5) * (level[-1] / size)
    knots = values[order][np.minimum(np.searchsorted(level, middles), len(values) - 1)]

    def rank(x: Float) -> Float:
        below = np.searchsorted(knots, x, side="left")
        above = np.searchsorted(knots, x, side="right")
        return np.asarray((below + above) / size - 1.0)

    return rank
