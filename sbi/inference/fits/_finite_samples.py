"""Rough alarms: what finite training samples and a finite reference may do to a fit.

::

    shift_m = -H^-1 (g_m - g_0)       g_m: gradient of -log L at the minimum, with the columns of
                                      member m; g_0: with those of the ensemble

at the events where `Ratios.columns` kept the members. What the choice of these events alone makes
the shifts spread by is estimated from tenths of them, and subtracted; a spread that this may
explain counts as none. The mean of n members moves by the spread over sqrt(n), of five at most:
members share their training events, and more of them have the same error in common. That is no
measurement of the training uncertainty: `training_uncertainty` is.
The reference is drawn again, event by event (Poisson bootstrap).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rootml._internal.statistics import effective_events
from rootml._internal.types import Float
from rootml.sbi.likelihood._columns import RatioColumns
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood
from rootml.sbi.likelihood._store import Events
from rootml.sbi.likelihood._unbinned import Unbinned

ALARM = 0.3  # of an error
_INDEPENDENT = 5  # members that average as if they were independent; 20 were found no better
_PARTS = 10  # of the events, for what their choice does
_REPLICAS = 25  # of the reference
_REFERENCE = 10_000  # events of the reference
_DATA = 2_000  # events of the data, for the reference
_SEED = 7


@dataclass(frozen=True)
class Spread:
    """By how much parameters may be off, ``(parameter,)``; and of what, in words."""

    sizes: Float
    cause: str
    cure: str


def spreads(like: Fittable, theta: Float, covariance: Float) -> Iterator[Spread]:
    """What the finite samples of a likelihood, or of its parts, may move the parameters by."""
    for name, part, index in _mixtures(like):
        if part.unbinned is None or part.unbinned.events.num_events == 0:
            continue
        rows = covariance[:, index]
        where = f" of {name}" if name else ""
        members = _members(part, part.unbinned, theta[index], rows)
        if members is not None:
            number = len(part.unbinned.events.origin.members)
            cause = f"the finite training samples{where} (spread of {number} networks)"
            yield Spread(members, cause, "sbi.training_uncertainty")
        if part.unbinned.normaliser is not None:
            events = part.unbinned.normaliser.events
            sizes = _reference(part, part.unbinned, events, theta[index], rows)
            cause = f"the finite reference sample{where} ({events.num_events:,} events)"
            yield Spread(sizes, cause, "sbi.sample_shifts with sbi.bootstrap_reference")


def _mixtures(like: Fittable) -> Iterator[tuple[str, Likelihood, list[int]]]:
    """Mixtures of columns, with names of parts and places of their parameters."""
    if isinstance(like, CombinedLikelihood):
        places = {name: i for i, name in enumerate(like.parameters)}
        for name, part in like.parts.items():
            if type(part) is Likelihood:
                yield name, part, [places[key] for key in part.parameters]
    elif type(like) is Likelihood:  # a ShiftedLikelihood knows of its samples already
        yield "", like, list(range(len(like.parameters)))


def _members(like: Likelihood, channel: Unbinned, theta: Float, rows: Float) -> Float | None:
    """What the spread of members says of their mean, ``(parameter,)``; None: not known."""
    events = channel.events
    chosen, members = events.origin.sampled, events.origin.members
    if len(members) < 2:
        return None
    known = None if channel.normaliser is None else channel.normaliser.events
    weights = np.ones(events.num_events) if events.weights is None else events.weights
    weights = weights[chosen] * (events.num_events / len(chosen))
    shifts = []
    for number, member in enumerate(members):
        other = None
        if known is not None and len(known.origin.members) == len(members):
            own = None if known.weights is None else known.weights[known.origin.sampled]
            other = RatioColumns(known.origin.members[number], own)
        shifts.append(_slopes(like, RatioColumns(member), other, weights, theta))
    moved = -np.stack(shifts) @ rows.T  # (member, part, parameter)
    spread = _between(moved, unseen=1.0 - len(chosen) / events.num_events)
    return np.asarray(spread / math.sqrt(min(len(members), _INDEPENDENT)))


def _slopes(
    like: Likelihood, columns: RatioColumns, reference: RatioColumns | None, weights: Float,
    theta: Float,
) -> Float:  # fmt: skip
    """Gradients of the events of each tenth of `columns`, ``(part, parameter)``."""
    made = like
    found = []
    number = columns.num_events
    parts = min(_PARTS, number)
    for part in range(parts):
        chosen = np.arange(part, number, parts)
        some = columns.take(chosen).with_weights(weights[chosen], asimov=True)
        made = made.with_columns(some, reference=reference)
        found.append(made.nll_gradient(theta)[1])
    return np.stack(found)


def _between(moved: Float, *, unseen: float) -> Float:
    """Standard deviation between members without that due to the choice of events.

    Args:
        moved: ``(member, part, parameter)``.
        unseen: The share of events that were not chosen.
    """
    apart = moved - moved.mean(axis=0)
    members, parts = apart.shape[:2]
    total = np.square(apart.sum(axis=1)).sum(axis=0) / (members - 1)
    if parts < 2:
        return np.asarray(np.sqrt(total))
    noise = unseen * parts * apart.var(axis=1, ddof=1).sum(axis=0) / (members - 1)
    most = noise * (1.0 + 2.0 * math.sqrt(2.0 / (members - 1)))  # two standard deviations of it
    return np.asarray(np.sqrt(np.where(total > most, total - noise, 0.0)))


def _reference(
    like: Likelihood, channel: Unbinned, reference: Events, theta: Float, rows: Float
) -> Float:
    """Standard deviations due to the reference's size."""
    rng = np.random.default_rng(_SEED)
    data = _some(channel, channel.events, _DATA, rng)
    events = _some(channel, reference, _REFERENCE, rng)
    assert events.weights is not None
    draws = rng.poisson(1.0, (_REPLICAS, events.num_events))
    weights = [events.weights, *(events.weights * draws)]
    slopes = [
        like.with_columns(data, reference=events.with_weights(w)).nll_gradient(theta)[1]
        for w in weights
    ]
    moved = -(np.stack(slopes[1:]) - slopes[0]) @ rows.T
    every = np.ones(reference.num_events) if reference.weights is None else reference.weights
    share = effective_events(events.weights) / max(effective_events(every), 1.0)
    return np.asarray(moved.std(axis=0, ddof=1) * math.sqrt(share))


def _some(channel: Unbinned, events: Events, size: int, rng: np.random.Generator) -> RatioColumns:
    """Columns of at most `size` random events, weighted to the sum of all."""
    number = events.num_events
    chosen = np.sort(rng.permutation(number)[:size])
    weights = np.ones(number) if events.weights is None else events.weights
    return channel.layout.columns(events.drawn(chosen)).with_weights(
        weights[chosen] * (number / max(len(chosen), 1)), asimov=True
    )


def alarms(
    found: Iterator[Spread], errors: Mapping[str, float], interesting: list[str]
) -> list[str]:
    """What is to be said of parameters that may be off by more than `ALARM` errors."""
    names = list(errors)
    texts = []
    for spread in found:
        parts = []
        for name in interesting:
            share = float(spread.sizes[names.index(name)]) / errors[name]
            if share > ALARM:
                parts.append(f"{name} by about {share:.1f} of its error")
        if parts:
            texts.append(
                f"rough alarm: {spread.cause} may move {', '.join(parts)}; {spread.cure} gives "
                "the figure"
            )
    return texts
