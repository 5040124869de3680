"""Squares and products of the features: what correlations and widths are made of."""

from __future__ import annotations

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.diagnostics._pairs import MIN_EVENTS, Directions, Pair

_MAX_KNOTS = 2001


def products(pair: Pair) -> Directions | None:
    """Functions of an event: every feature, and every product of two, of their ranks.

    A feature enters by its rank among the events of both samples, from -1 to 1: so tails weigh no
    more than the rest, and errors can be trusted. None: there are fewer than `MIN_EVENTS`
    effective events for each of the functions.
    """
    count = pair.numerator.x.shape[1]
    rows, columns = np.triu_indices(count)
    if pair.effective_overlap < MIN_EVENTS * (count + len(rows)):
        return None
    both = np.concatenate([pair.numerator.x, pair.reference.x])
    knots = [_knots(both[:, j]) for j in range(count)]

    def functions(x: Float, log_ratio: Float) -> Float:  # noqa: ARG001 - one of `Directions`
        ranks = np.stack([_rank(x[:, j], knots[j]) for j in range(count)], axis=1)
        return np.concatenate([ranks, ranks[:, rows] * ranks[:, columns]], axis=1)

    return functions


def _knots(values: Float) -> Float:
    size = min(len(values), _MAX_KNOTS)
    return np.asarray(np.quantile(values, np.linspace(0.0, 1.0, size)))


def _rank(values: Float, knots: Float) -> Float:
    """From -1 to 1; equal values have the middle of their ranks."""
    below = np.searchsorted(knots, values, side="left")
    above = np.searchsorted(knots, values, side="right")
    return np.asarray((below + above) / len(knots) - 1.0)
