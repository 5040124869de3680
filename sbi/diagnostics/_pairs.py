"""Events of samples with their log ratios: what the checks take.

With s = r / (1 + r), a right ratio obeys for any function g of an event

    E_p[(1 - s) g] = E_ref[s g] ,

since both sides are the integral of g p p_ref / (p + p_ref). Unlike E_p[g] = E_ref[r g] this has
bounded weights, so its statistical error can be trusted whatever the tails of r.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from rootml._internal.statistics import effective_events
from rootml._internal.types import Float

Directions: TypeAlias = Callable[[Float, Float], Float]
"""Errors of log r, ``(event, direction)``, as functions of x ``(event, feature)`` and of log r."""
MIN_EVENTS = 25.0
"""Effective events of both samples that a number must come from to be tested."""
TOO_FEW = "too few held-out events where the densities overlap: give more, or a nearer reference"


@dataclass(frozen=True)
class Events:
    """Events of one sample.

    Attributes:
        x: `(events, features)`.
        mass: Weights, adding up to one.
    """

    x: Float
    mass: Float

    @property
    def effective(self) -> float:
        """Effective number of events."""
        return float(1.0 / np.square(self.mass).sum())


@dataclass(frozen=True)
class Pair:
    """A numerator's events and the reference's, with log r of both.

    Attributes:
        name: Of the ratio.
        features: Names of the columns of x.
    """

    name: str
    features: tuple[str, ...]
    numerator: Events
    reference: Events
    log_numerator: Float
    log_reference: Float

    def overlap(self) -> tuple[Float, Float]:
        """Weights that give both the density p p_ref / (p + p_ref), if the ratio is right."""
        return (
            self.numerator.mass * chance(-self.log_numerator),
            self.reference.mass * chance(self.log_reference),
        )

    @property
    def effective_overlap(self) -> float:
        """Effective number of events where the densities overlap, of the smaller sample."""
        return min(map(effective_events, self.overlap()))

    def values(self, directions: Directions) -> tuple[Float, Float]:
        """The directions for both samples, each ``(event, direction)``."""
        return (
            directions(self.numerator.x, self.log_numerator),
            directions(self.reference.x, self.log_reference),
        )


def chance(logit: Float) -> Float:
    """``r / (1 + r)`` of log r."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logit)))
