"""Densities of features from those of their Gaussianised values; atoms count as probabilities.

With z = T(x), piecewise linear, and q the density of z that the flow knows::

    no atoms:  log p(x) = log q(z) + sum_j log dz_j/dx_j
    atoms:     P = integral of q over the intervals of z that the atoms own
                 = product of their probabilities under a normal z * mean of q(z) / phi(z_atoms)

with the mean over z drawn from normal variables within the intervals, which is what `Table`
makes of a uniform number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.morphing.preprocessing._atom_draws import Keys, uniforms
from rootml.sbi.morphing.preprocessing._preprocess import Gaussianiser, Table

LogProb = Callable[[Float, Any], Float]
_STREAM = 22
_SLACK = 0.05
"""A value in a gap, no further from its end than this fraction of the interval of the table beside
it (some ten spacings of events), counts as part of that interval: its end is not known better."""
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def log_densities(
    tables: Gaussianiser,
    features: Float,
    keys: Keys,
    flow: LogProb,
    context: Any,
    *,
    points: int,
) -> Float:
    """``log p(x | c)`` of `(rows, features)`, `(rows,)`.

    Args:
        flow: ``log q(z | context)`` of `(rows, features)` and the context of these rows.
        points: Of the average over the intervals of atoms.
    """
    slopes, atoms = _parts(tables, features)
    any_atom = (atoms > 0).any(axis=1)
    found = np.empty(len(features))
    for rows, count in ((~any_atom, 1), (any_atom, points)):
        if rows.any():
            found[rows] = _averaged(
                tables, features[rows], keys[rows], atoms[rows] > 0, flow, context[rows], count
            )
    with np.errstate(divide="ignore"):
        found += np.log(np.where(atoms > 0, atoms, slopes)).sum(axis=1)
    return found


def _averaged(
    tables: Gaussianiser,
    features: Float,
    keys: Keys,
    owned: Any,
    flow: LogProb,
    context: Any,
    count: int,
) -> Float:
    """The logarithm of the mean of ``q(z) / phi(z of atoms)`` over points within the atoms."""
    shift = uniforms(keys, features.shape[1], seed=0, stream=_STREAM)
    golden = np.sqrt(np.arange(2, 2 + features.shape[1])) % 1  # a lattice, shifted for each row
    logs = np.empty((len(features), count))
    for k in range(count):
        z = tables.forward(features, (shift + k * golden) % 1).astype(np.float64)
        normal = np.where(owned, -0.5 * z * z - _HALF_LOG_2PI, 0.0).sum(axis=1)
        logs[:, k] = flow(z, context) - normal
    highest = logs.max(axis=1)
    mean = np.exp(logs - highest[:, None]).mean(axis=1)
    found: Float = highest + np.log(mean)
    return found


def _parts(tables: Gaussianiser, features: Float) -> tuple[Float, Float]:
    """dz/dx of all values, and the probabilities that atoms own (0: no atom)."""
    slopes, atoms = np.empty(features.shape), np.zeros(features.shape)
    for j, table in enumerate(tables.tables):
        slopes[:, j] = table_slopes(table, features[:, j])
        at = table.atom(features[:, j])
        owned = table.u_high > table.u_low
        widths = np.append((table.u_high - table.u_low)[owned], 0.0)
        atoms[:, j] = np.where(at >= 0, widths[at], 0.0)
    return slopes, atoms


def table_slopes(table: Table, x: Float) -> Float:
    """dz/dx of a table at values `(rows,)`; 0 where no value can be."""
    width, rise = np.diff(table.x), np.diff(table.z)
    steep = np.divide(rise, width, where=width > 0, out=np.zeros_like(width))
    steep = np.concatenate([[table.slopes[0]], steep, [table.slopes[1]]])  # with both ends
    width = np.concatenate([[0.0], width, [0.0]])
    k = np.searchsorted(table.x, x, side="right")
    found = steep[k]
    for side in (-1, 1):  # the nearest interval with events below, and above
        beside = _nearest_interval(steep, side)[k]
        end = table.x[np.clip(beside - (side > 0), 0, len(table.x) - 1)]
        near = (beside >= 0) & (np.abs(x - end) <= _SLACK * width[beside])
        found = np.where((found == 0) & near, steep[beside], found)
    return found


def _nearest_interval(steep: Float, side: int) -> Any:
    """For each interval the next one with events, below (-1) or above (1); -1: none."""
    numbers = np.where(steep > 0, np.arange(len(steep)), -1)
    if side < 0:
        return np.maximum.accumulate(numbers)
    last = len(steep)
    found = np.minimum.accumulate(np.where(numbers < 0, last, numbers)[::-1])[::-1]
    return np.where(found == last, -1, found)
