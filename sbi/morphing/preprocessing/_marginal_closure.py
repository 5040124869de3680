"""Closure of the marginal distributions: corrects the data's tables for what the flow misses.

After the flow, each feature of the reweighted simulation is nearly, but not exactly, a standard
normal variable. The difference is estimated on the probability scale, u = Phi(z), separately
between the edges of large atoms (values with a share of their own), where the distribution may
have corners::

    edges:    the observed quantile of u at the edge
    between:  density of u = 1 + sum_k c_k sqrt(2k + 1) P_k(2u - 1),   k = 1 ... 32

With n effective events each coefficient c_k, a mean of Legendre polynomials, has a variance of
1/n if there is nothing to correct (Neyman's smooth test: Skand. Aktuarietidskr. 20 (1937) 149).
Blocks of neighbouring coefficients are shrunk by what noise alone would give (Efromovich and
Pinsker, Problems Inf. Transm. 20 (1984) 97): real shifts are removed, and fluctuations of the
simulation are not passed on to every corrected sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rootml._internal.statistics import effective_events
from rootml._internal.types import Float
from rootml.sbi.morphing.preprocessing._normal import normal_probability, normal_quantile
from rootml.sbi.morphing.preprocessing._preprocess import Gaussianiser, Table
from rootml.sbi.morphing.preprocessing._preprocess_fit import monotone

_BLOCKS = ((1, 4), (5, 8), (9, 16), (17, 32))
_EVENTS_PER_SQUARE = 50
"""Effective events for each square of the highest degree, which is how fast its ends swing."""
_LARGE = 0.02
"""An atom with more than this share of the weight has its edges corrected separately."""
MIN_EVENTS = 200
MIN_DENSITY = 0.2
"""Lowest density in one pass; larger differences take several passes."""
_PASSES = 8
_GROUPS = 4096
_TAIL = np.geomspace(1e-9, 0.01, 200)
_NODES = np.concatenate(
    [[0.0], _TAIL[:-1], np.linspace(0.01, 0.99, 981), (1 - _TAIL[:-1])[::-1], [1.0]]
)


def close_marginals(
    tables: Gaussianiser, z: npt.NDArray[np.float32], weights: Float
) -> Gaussianiser:
    """The data's tables, corrected for z `(rows, features)` as the flow gives them.

    The result is for `inverse` only. Weights may be negative; with fewer than 200 effective
    events the tables are returned unchanged.
    """
    if effective_events(weights) < MIN_EVENTS:
        return tables
    closed = []
    for j, table in enumerate(tables.tables):
        moved = _closing_map(
            normal_probability(z[:, j].astype(np.float64)), weights, table_edges(table)
        )
        at = normal_quantile(moved.inverse(normal_probability(table.z)))
        # beyond the nodes there is nothing to learn from: the tail is carried along
        ends = normal_quantile(_TAIL[:1]).item(), normal_quantile(1 - _TAIL[:1]).item()
        new = np.where((table.z > ends[0]) & (table.z < ends[1]), at, table.z)
        closed.append(replace(table, z=np.maximum.accumulate(new)))
    return Gaussianiser(tuple(closed))


def table_edges(table: Table) -> Float:
    """The edges of large atoms on the probability scale, with 0 and 1."""
    large = table.u_high - table.u_low > _LARGE
    found = np.concatenate([[0.0, 1.0], table.u_low[large], table.u_high[large]])
    return np.unique(found.clip(0.0, 1.0))


@dataclass(frozen=True, slots=True)
class QuantileMap:
    """A distribution function: piecewise linear, `(nodes,)` each, ascending."""

    observed: Float
    expected: Float

    def __call__(self, u: Float) -> Float:
        """Its values."""
        result: Float = np.interp(u, self.observed, self.expected)
        return result

    def inverse(self, u: Float) -> Float:
        """The quantiles."""
        result: Float = np.interp(u, self.expected, self.observed)
        return result


def _closing_map(u: Float, weights: Float, edges: Float) -> QuantileMap:
    """The distribution function of u `(rows,)`, which should be flat."""
    order = np.argsort(u)
    total = np.cumsum(weights[order])
    observed = np.interp(edges, monotone(total / total[-1]), u[order])
    observed[0], observed[-1] = 0.0, 1.0
    return quantile_map(u, weights, observed=observed, expected=edges)


def quantile_map(
    u: Float,
    weights: Float,
    *,
    observed: Float,
    expected: Float,
    normal_start: bool = False,
    events_share: float = 1.0,
) -> QuantileMap:
    """The smooth distribution function of u `(rows,)` in [0, 1].

    Args:
        observed, expected: Edges between which it is smooth, and its values there.
        normal_start: Whether a shift and a width on the normal scale come first.
        events_share: Of the effective events: u may have a fluctuation of its own.
    """
    across, up = [], []
    for k in range(len(observed) - 1):
        low, high = observed[k], observed[k + 1]
        inside = (u >= low) & (u < high)
        nodes = _NODES
        if high > low:
            mass = weights[inside]
            nodes = _smooth_distribution(
                (u[inside] - low) / (high - low),
                mass,
                events=effective_events(mass) * events_share,
                normal_start=normal_start,
            )
        across.append(low + _NODES * (high - low))
        up.append(expected[k] + nodes * (expected[k + 1] - expected[k]))
    return QuantileMap(*(np.maximum.accumulate(np.concatenate(part)) for part in (across, up)))


def _smooth_distribution(v: Float, weights: Float, *, events: float, normal_start: bool) -> Float:
    """The smooth distribution function of v `(rows,)` in [0, 1] at the nodes, `(nodes,)`."""
    degree = int(min(_BLOCKS[-1][1], np.sqrt(events / _EVENTS_PER_SQUARE)))
    if degree < 1:
        return _NODES
    made, (middle, mass) = _NODES, _group_rows(v, weights)
    if normal_start:
        made = _moved_normal(middle, mass, events)
    for _ in range(_PASSES):
        where = np.interp(middle, _NODES, made)
        coefficients = _shrink(_legendre(where, degree).T @ mass / mass.sum(), events)
        if not coefficients.any():
            break
        density = 1 + _legendre(_NODES, degree) @ coefficients
        share = min(1.0, (1 - MIN_DENSITY) / max(1e-9, 1 - float(density.min())))
        made = np.interp(made, _NODES, _cumulative(share * coefficients))
    return made


def _moved_normal(v: Float, mass: Float, events: float) -> Float:
    """The distribution function at the nodes if v `(rows,)` is normal on the normal scale."""
    z = normal_quantile(v)
    mean = float(mass @ z / mass.sum())
    width = math.sqrt(max(0.05, float(mass @ (z - mean) ** 2 / mass.sum())))
    square = events * (mean**2 + 2 * math.log(width) ** 2)
    kept = max(0.0, 1 - 2 / square) if square > 0 else 0.0
    made: Float = normal_probability((normal_quantile(_NODES) - kept * mean) / width**kept)
    made[0], made[-1] = 0.0, 1.0
    return made


def _group_rows(v: Float, weights: Float) -> tuple[Float, Float]:
    """The middles of groups of neighbouring rows, and the weight of each."""
    order = np.argsort(v)
    starts = np.unique(np.linspace(0, len(v), min(_GROUPS, len(v)), endpoint=False).astype(int))
    sizes = np.diff(np.append(starts, len(v)))
    mass = np.add.reduceat(weights[order], starts)
    return np.add.reduceat(v[order], starts) / sizes, mass


def _shrink(coefficients: Float, events: float) -> Float:
    """Each block times the share of its square that noise does not explain."""
    result = np.zeros_like(coefficients)
    for first, last in _BLOCKS:
        block = coefficients[first - 1 : last]
        square = events * float(block @ block)
        if square > len(block):
            result[first - 1 : last] = block * (1 - len(block) / square)
    return result


def _legendre(v: Float, degree: int) -> Float:
    """Orthonormal on [0, 1], without the constant: `(v, degree)`."""
    values = np.polynomial.legendre.legvander(2 * v - 1, degree)[:, 1:]
    return np.asarray(values * np.sqrt(2 * np.arange(1, degree + 1) + 1), np.float64)


def _cumulative(coefficients: Float) -> Float:
    """The distribution function at the nodes, `(nodes,)`: integrals of the polynomials."""
    degree = len(coefficients)
    values = np.polynomial.legendre.legvander(2 * _NODES - 1, degree + 1)
    each = values[:, 2:] - values[:, :-2]
    norms = 2 * np.sqrt(2 * np.arange(1, degree + 1) + 1)
    return monotone(_NODES + each @ (coefficients / norms))
