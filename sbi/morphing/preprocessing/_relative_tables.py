"""The data's tables as smooth changes of the simulation's: what few events can tell.

A table of its own follows the fluctuations of every few dozen events of the data, and hands them
on. Where the ratio of data to simulation is smooth, far fewer numbers describe the data::

    u = F_sim(x)                      probability in the simulation, atoms spread by draws
    G(u)                              smooth distribution function of u in the data
    F_data(x) = G(F_sim(x))

G is found between the edges of large atoms, whose shares are those of the data: first a shift and
a width on the normal scale, then Legendre polynomials, all shrunk by what noise alone would give
(see `_marginal_closure`). What fluctuates in F_sim goes there and back, and cancels as far as the
change is small.

It is used for a feature only if the data have few events, if values, atoms, edges and gaps are the
same in both domains, and if u after G shows no structure that is left, by chi2 in bins of several
widths.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rootml._internal.statistics import effective_events
from rootml._internal.types import Float
from rootml.sbi.morphing.preprocessing._marginal_closure import quantile_map, table_edges
from rootml.sbi.morphing.preprocessing._normal import normal_probability, normal_quantile
from rootml.sbi.morphing.preprocessing._preprocess import Gaussianiser, Table
from rootml.sbi.morphing.preprocessing._preprocess_fit import monotone

MAX_EVENTS = 30_000
"""Effective events from which on a table of its own has as many knots as it can have."""
_FOREIGN = 0.002
"""Share of one domain's weight that may lie where the other has none."""
_BINS = (8, 16, 32, 64, 128)
_DEVIATIONS = 3.0


def relative_tables(
    sim: Gaussianiser,
    own: Gaussianiser,
    features: Float,
    weights: Float,
    draws: Float,
    *,
    sim_events: float,
) -> Gaussianiser:
    """For each feature the table relative to the simulation's, or the data's own.

    Args:
        sim, own: The tables of both domains.
        features, weights, draws: Rows of the data, uniform numbers `(rows, features)`.
        sim_events: Effective events behind `sim`.
    """
    if effective_events(weights) > MAX_EVENTS:
        return own
    columns = zip(sim.tables, own.tables, features.T, draws.T, strict=True)
    events = 1 / (1 / effective_events(weights) + 1 / sim_events)
    return Gaussianiser(tuple(_relative(*each, weights, events) for each in columns))


def _relative(
    sim: Table, own: Table, x: Float, draws: Float, weights: Float, events: float
) -> Table:
    if not _comparable(sim, own, x, weights):
        return own
    u = normal_probability(sim.forward(x, draws))
    edges = table_edges(sim)
    order = np.argsort(u)
    total = np.cumsum(weights[order])
    at = np.interp(edges, u[order], monotone(total / total[-1]), left=0.0, right=1.0)
    at[0], at[-1] = 0.0, 1.0
    share = events / effective_events(weights)
    moved = quantile_map(
        u, weights, observed=edges, expected=at, normal_start=True, events_share=share
    )
    if not _flat(moved(u), weights, events):
        return own
    return replace(
        sim,
        z=np.maximum.accumulate(normal_quantile(moved(normal_probability(sim.z)))),
        u_low=moved(sim.u_low) * (sim.u_high > 0),
        u_high=moved(sim.u_high) * (sim.u_high > 0),
        ends=own.ends,
    )


def _comparable(sim: Table, own: Table, x: Float, weights: Float) -> bool:
    """Whether both domains have the same kind of values, atoms, edges and gaps."""
    if sim.integer != own.integer:
        return False
    outside = ~sim.inside(x)
    for low, high in _gaps(sim):
        outside |= (x > low) & (x < high)
    shares = (
        weights[outside].sum() / weights.sum(),
        _mass_beyond(sim, own),
        sum(_mass_within(sim, *gap) for gap in _gaps(own)),
        _foreign(sim, own),
        _foreign(own, sim),
    )
    return bool(max(shares) < _FOREIGN)


def _gaps(table: Table) -> list[tuple[float, float]]:
    """Ends of the stretches where no value can be."""
    at = np.flatnonzero((np.diff(table.z) == 0) & (np.diff(table.x) > 0))
    return list(zip(table.x[at].tolist(), table.x[at + 1].tolist(), strict=True))


def _mass_within(table: Table, low: float, high: float) -> float:
    """The probability of values between two others, without these."""
    ends = table.forward(np.array([low, high]), np.array([1.0, 0.0]))
    below, above = normal_probability(ends)
    return max(0.0, float(above - below))


def _mass_beyond(sim: Table, own: Table) -> float:
    """Share of the simulation beyond the edges of the data."""
    ends = sim.forward(own.x[[0, -1]], np.array([0.0, 1.0]))
    below, above = normal_probability(ends)
    flat = own.slopes == 0
    return float(below * flat[0] + (1 - above) * flat[1])


def _foreign(one: Table, other: Table) -> float:
    """Share of the atoms of one that the other has not."""
    owned = one.u_high > one.u_low
    missing = ~np.isin(one.x[owned], other.atoms)
    return float((one.u_high - one.u_low)[owned][missing].sum())


def _flat(u: Float, weights: Float, events: float) -> bool:
    """Whether u `(rows,)` in [0, 1] has a flat distribution, at every resolution."""
    for bins in _BINS:
        if events < 20 * bins:
            break
        shares = np.histogram(u, bins, (0, 1), weights=weights)[0] / weights.sum()
        square = events * bins * float(((shares - 1 / bins) ** 2).sum())
        if square > bins + _DEVIATIONS * np.sqrt(2 * bins):
            return False
    return True
