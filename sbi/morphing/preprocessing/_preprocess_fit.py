"""Finds the tables of `_preprocess` from weighted samples: atoms, gaps, edges, tails, knots.

Weights may be negative; the distribution function, which may then fall here and there, is replaced
by the middle of its upper and lower monotone envelopes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.statistics import effective_events
from rootml._internal.types import Float
from rootml.errors import UsageError
from rootml.sbi.morphing.preprocessing._limits import (
    Bounds,
    Limits,
    check_values,
    find_limits,
)
from rootml.sbi.morphing.preprocessing._normal import normal_quantile
from rootml.sbi.morphing.preprocessing._preprocess import Conditions, Gaussianiser, Table

ATOM_SHARE = 0.005
"""Share of the weight above which a single value is an atom."""
CONSTANT_SHARE = 0.999
_ATOM_ROWS = 10
_DISCRETE = 1024
_DISCRETE_ROWS = 20
_KNOTS, _EVENTS_PER_KNOT, _TAIL_STEPS = (25, 500), 60, 40
_TAIL_ROWS = 500
_RARE, _NEAR, _SPACINGS = 0.01, 64, 10


def gaussianiser(
    features: Float,
    weights: Float,
    names: Sequence[str],
    *,
    domain: str,
    limits: Sequence[Limits] | None = None,
) -> Gaussianiser:
    """Tables for the columns of `features` `(rows, features)`.

    Args:
        limits: Where each feature can lie; None: edges are looked for in these values.

    Raises:
        UsageError: A feature that is constant; names it and the numbers.
    """
    used = weights != 0
    values, mass = features[used], weights[used]
    tables = []
    for j, name in enumerate(names):
        groups = _Groups(values[:, j], mass)
        _check_constant(groups, name, domain)
        known = _own_limits(groups) if limits is None else limits[j]
        tables.append(_table(groups, groups.atoms(known.sentinels), known))
    return Gaussianiser(tuple(tables))


def limits_of(
    features: Sequence[Float], weights: Sequence[Float], names: Sequence[str], bounds: Bounds
) -> list[list[Limits]]:
    """Where each feature lies, for simulation and data, or for one sample alone.

    Args:
        features, weights: `(rows, features)` and `(rows,)` of each.

    Raises:
        UsageError: Values beyond stated bounds.
    """
    domains = ("simulation", "data") if len(features) == 2 else ("sample",)
    found: list[list[Limits]] = [[] for _ in domains]
    for j, name in enumerate(names):
        columns = [x[w != 0, j] for x, w in zip(features, weights, strict=True)]
        if name in bounds:
            for values, domain in zip(columns, domains, strict=True):
                check_values(values, bounds[name], name, domain)
            pair = [bounds[name]] * len(domains)
        else:
            edges = [_edges(_Groups(values, np.ones(len(values)))) for values in columns]
            pair = find_limits(columns, edges)
        for limits, each in zip(found, pair, strict=True):
            limits.append(each)
    return found


def _own_limits(groups: _Groups) -> Limits:
    low, high = _edges(groups)
    return Limits(groups.x[0] if low else -math.inf, groups.x[-1] if high else math.inf)


def conditions(values: Float, weights: Float, names: Sequence[str], ranges: Any) -> Conditions:
    """The scale of the conditions `(rows, conditions)` of both domains together.

    Args:
        ranges: ``(low, high)``, each `(conditions,)`.
    """
    mass = np.abs(weights)
    used = mass > 0
    tables = []
    for j in range(len(names)):
        groups = _Groups(values[used, j], mass[used])
        tables.append(_table(groups, np.zeros(len(groups.x), bool), _own_limits(groups)))
    total = mass.sum()
    mean = (mass[:, None] * values).sum(axis=0) / total
    width = np.sqrt((mass[:, None] * (values - mean) ** 2).sum(axis=0) / total)
    width = np.where(width > 0, width, 1.0)
    return Conditions(tuple(names), tuple(tables), mean, width, *ranges)


def _check_constant(groups: _Groups, name: str, domain: str) -> None:
    share = groups.shares.max()
    if share > CONSTANT_SHARE:
        value = groups.x[int(np.argmax(groups.shares))]
        message = (
            f"feature {name!r} is constant in the {domain}: the value {value:g} has "
            f"{100 * share:.3f} % of the weight ({groups.rows:,} rows); leave it out of features="
        )
        raise UsageError(message)


class _Groups:
    """The distinct values of a column, ascending.

    Attributes:
        x: The values.
        counts: Rows of each.
        low, high: The distribution function before and after each, in [0, 1].
    """

    def __init__(self, values: Float, weights: Float) -> None:
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        self.rows = len(values)
        self.knots = int(np.clip(effective_events(weights) / _EVENTS_PER_KNOT, *_KNOTS))
        self.x = ordered[first]
        self.counts = np.diff(np.append(first, len(ordered)))
        total = np.cumsum(np.add.reduceat(weights[order], first))
        self.high = monotone(total / total[-1])
        self.low = np.append(0.0, self.high[:-1])

    @property
    def shares(self) -> Float:
        found: Float = self.high - self.low
        return found

    @property
    def middle(self) -> Float:
        found: Float = 0.5 * (self.low + self.high)
        return found

    def atoms(self, sentinels: Sequence[float] = ()) -> npt.NDArray[np.bool_]:
        """Which values are atoms: all, if there are few; else those with much weight.

        Sentinels always are.
        """
        discrete = len(self.x) <= min(_DISCRETE, self.rows / _DISCRETE_ROWS)
        if discrete:
            return self.shares > 0
        large = (self.shares > ATOM_SHARE) & (self.counts >= _ATOM_ROWS)
        return large | (np.isin(self.x, sentinels) & (self.shares > 0))


def monotone(cumulated: Float) -> Float:
    """Ascending, within [0, 1]; unchanged if it is so already."""
    upper = np.maximum.accumulate(cumulated)
    lower = np.minimum.accumulate(cumulated[::-1])[::-1]
    found = np.clip(0.5 * (upper + lower), 0.0, 1.0)
    found[-1] = 1.0
    return found


def _table(groups: _Groups, atoms: npt.NDArray[np.bool_], limits: Limits) -> Table:
    """Knots, in the order of x and then of probability."""
    count = len(groups.x)
    before, after = np.append(True, atoms[:-1]), np.append(atoms[1:], True)
    starts, ends = ~atoms & before, ~atoms & after  # of continuous runs
    edges = groups.x[0] <= limits.low, groups.x[-1] >= limits.high
    gap = _gaps(groups, atoms)
    # a run begins with the probability left by the atom before it, and at an edge with 0
    from_zero = starts & np.append(edges[0], np.ones(count - 1, bool))
    to_one = ends & np.append(np.ones(count - 1, bool), edges[1])
    after_gap, before_gap = np.append(False, gap), np.append(gap, False)
    lows = np.flatnonzero(atoms | from_zero | after_gap)
    highs = np.flatnonzero(atoms | to_one | before_gap)
    middles = np.flatnonzero(_chosen(groups, ~atoms) | starts | ends | after_gap | before_gap)
    index = np.concatenate([lows, middles, highs])
    u = np.concatenate([groups.low[lows], groups.middle[middles], groups.high[highs]])
    order = np.lexsort((u, index))
    index, u = index[order], u[order]
    x, z = groups.x[index], normal_quantile(u)
    # the last knot of a value that has several says where in its interval events of it go
    last = np.append(False, index[1:] == index[:-1]) & np.append(index[1:] != index[:-1], True)
    owned = atoms[index]
    u_low = np.where(last, np.where(owned, groups.low[index], groups.middle[index]), 0.0)
    u_high = np.where(last, np.where(owned, groups.high[index], groups.middle[index]), 0.0)
    kept = np.append(True, (np.diff(x) > 0) | (np.diff(z) > 0)) | last
    if kept.sum() < 2:  # one value that is no atom: a condition that is constant
        x, z, kept = np.append(x, x), np.append(z, z), np.array([True, True])
        u_low, u_high = np.zeros(2), np.zeros(2)
    flat = [
        bool(atoms[-side] or math.isfinite((limits.low, limits.high)[side])) for side in (0, 1)
    ]
    integer = bool((groups.x == np.rint(groups.x)).all())
    slopes = np.array([0.0 if flat[side] else _tail_slope(groups, side) for side in (0, 1)])
    knots = np.stack([each[kept] for each in (x, z, u_low, u_high)])
    knots = _with_bounds(knots, groups, atoms, limits)
    ends = _accepted(groups, atoms, limits, slopes)
    x, z, u_low, u_high = knots
    return Table(x, z, u_low, u_high, slopes, integer, ends, np.array(limits.sentinels))


def _with_bounds(
    knots: Float, groups: _Groups, atoms: npt.NDArray[np.bool_], limits: Limits
) -> Float:
    """Knots `(x, z, u_low, u_high)` with those at bounds that lie beyond the values."""
    regular = np.flatnonzero(limits.regular(groups.x))
    if not len(regular):
        return knots
    for k, bound, u in (
        (regular[0], limits.low, groups.low[regular[0]]),
        (regular[-1], limits.high, groups.high[regular[-1]]),
    ):
        if math.isfinite(bound) and bound != groups.x[k] and not atoms[k]:
            z = normal_quantile(np.array([u]))[0]
            at = int(np.searchsorted(knots[0], bound, "left" if bound < groups.x[k] else "right"))
            knots = np.insert(knots, at, [bound, z, 0.0, 0.0], axis=1)
    return knots


def _accepted(
    groups: _Groups, atoms: npt.NDArray[np.bool_], limits: Limits, slopes: Float
) -> Float:
    """The range in which values count as known, `(2,)`; see `_end`."""
    regular = limits.regular(groups.x)
    if not regular.any():
        return np.zeros(2)
    x, owned = groups.x[regular], atoms[regular]
    return np.array([_end(groups, x, owned, limits, slopes, side) for side in (0, 1)])


def _end(
    groups: _Groups,
    x: Float,
    atoms: npt.NDArray[np.bool_],
    limits: Limits,
    slopes: Float,
    side: int,
) -> float:
    """At a stated bound or an atom: there. At an edge that was found: a few spacings beyond.

    In a tail: where only one of a hundred samples of this size would have an event.
    """
    bound, end, sign = (limits.low, limits.high)[side], float(x[-side]), (-1.0, 1.0)[side]
    if limits.stated and math.isfinite(bound):
        return bound
    if atoms[-side]:
        return end
    if slopes[side] > 0:
        last, rare = normal_quantile(np.array([groups.middle[-side], _RARE / groups.rows]))
        return end + sign * max(0.0, float(-rare - sign * last) / float(slopes[side]))
    near = x[:_NEAR] if side == 0 else x[-_NEAR:]
    beyond = end + sign * _SPACINGS * float(near[-1] - near[0]) / len(near)
    if not math.isfinite(bound):
        return beyond
    return max(beyond, bound) if side else min(beyond, bound)


def _chosen(groups: _Groups, among: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The values nearest to fixed probabilities, dense in the tails.

    Their number follows the effective events: 60 or more lie between two knots, as long as there
    are more than 25 knots, so that the density has an error of 13 per cent at most.
    """
    count = groups.knots
    tail = 0.5 / count * 10.0 ** -np.linspace(0, 3, _TAIL_STEPS)
    tail = tail[tail > 0.5 / groups.rows]
    wanted = np.concatenate([tail, (np.arange(count) + 0.5) / count, 1 - tail])
    middle = groups.middle
    found = np.ones(len(middle), bool)
    if len(middle) > 1:
        at = np.clip(np.searchsorted(middle, wanted), 1, len(middle) - 1)
        at = np.where(wanted - middle[at - 1] < middle[at] - wanted, at - 1, at)
        found[:] = False
        found[at] = True
    return found & among


def _edges(groups: _Groups) -> tuple[bool, bool]:
    """Whether the support ends at the smallest and at the largest value.

    The distance from the end to the k-th value grows as k where the density is finite at an edge,
    as its root where it vanishes there, and as the logarithm or less in a tail.
    """
    near = 32 if groups.rows >= 20_000 else 8
    far = min(64 * near, groups.rows // 20)
    if far < 8 * near:
        return False, False
    found = []
    for x, counts in ((groups.x, groups.counts), (groups.x[::-1], groups.counts[::-1])):
        ranks = np.cumsum(counts)
        a = abs(x[int(np.searchsorted(ranks, near))] - x[0])
        b = abs(x[int(np.searchsorted(ranks, far))] - x[0])
        found.append(bool(a == 0 or np.log(b / a) > 0.45 * np.log(far / near)))
    return found[0], found[1]


def _gaps(groups: _Groups, atoms: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Between which neighbours, both no atoms, no event can be: `(values - 1,)`.

    Within a stretch of m values the largest of m spacings is below ``(log m + 14) / m`` of it in
    all but a millionth of cases if the density is flat; three times that, and a third of the
    stretch, is taken for a gap.
    """
    count = len(groups.x)
    found = np.zeros(max(0, count - 1), bool)
    size = max(128, count // _KNOTS[1])
    spacing = np.diff(groups.x)
    for shift in (0, size // 2):
        stretches = (count - 1 - shift) // size
        if stretches < 3:
            return found
        inner = spacing[shift : shift + stretches * size].reshape(stretches, size)
        position = inner.argmax(axis=1)
        largest = inner.max(axis=1)
        total = inner.sum(axis=1)
        limit = max(1 / 3, 3 * (np.log(size) + 14) / size)
        wide = np.flatnonzero(largest > limit * total)
        wide = wide[(wide > 0) & (wide < stretches - 1)]  # the ends are tails
        found[shift + wide * size + position[wide]] = True
    return found & ~atoms[:-1] & ~atoms[1:]


def _tail_slope(groups: _Groups, side: int) -> float:
    """dz/dx in a tail: a straight line through order statistics, some of each octave of ranks."""
    count = int(np.clip(groups.rows // 100, 4, _TAIL_ROWS))
    ranks = np.unique(np.geomspace(1, count, 24).astype(int)) - 1
    every = np.cumsum(groups.counts)
    wanted = ranks if side == 0 else groups.rows - 1 - ranks
    at = np.clip(np.searchsorted(every, wanted, side="right"), 0, len(groups.x) - 1)
    x, z = groups.x[at], normal_quantile(groups.middle[at])
    run, rise = z - z.mean(), x - x.mean()
    stretch = float(run @ rise) / max(float(run @ run), 1e-300)
    return 1.0 / stretch if np.isfinite(stretch) and stretch > 1e-300 else 0.0
