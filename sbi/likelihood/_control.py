"""log Z of a part of the reference events, set right where it is anchored.

Far more events make Z(alpha) than are observed. How Z changes between two points of a fit, a part
of them tells as well; only what the part is off by must be known, and that hardly changes::

    log Z(alpha)  =  log Z_part(alpha)  +  l + s d + d C d / 2         d = alpha - anchor
    l, s, C       =  log Z - log Z_part with first and second derivatives, at the anchor

This is a control variate. Where the error of first or second order is all that is left, steps lead
nearly to the minimum; the whole sample then judges, and ``l`` and ``s`` are set right there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rootml._internal.types import Float
from rootml.errors import DensityError
from rootml.sbi.likelihood._layout import Plan
from rootml.sbi.likelihood._normaliser import Normaliser
from rootml.sbi.likelihood._store import Events

_GAIN = 0.6  # a part is worth it if no more than this share of all events is summed with it


@dataclass(frozen=True)
class Control:
    """``log Z`` near a point by a part of the events; has what a `Normaliser` has.

    Attributes:
        full: That of all events.
        part: That of some.
        anchor: Values of the parameters that shapes depend on, ``(shaper,)``.
        offset, slope, bend: l, ``(process,)``; s, ``(process, shaper)``; C, ``(process, shaper,
            shaper)``, or None.
    """

    full: Normaliser
    part: Normaliser
    anchor: Float
    offset: Float
    slope: Float
    bend: Float | None = None

    @classmethod
    def at(cls, full: Normaliser, plan: Plan, observed: int, *, second: bool) -> Control | None:
        """Equal to `full` at a point; None: the part would save little, or has no Z.

        Args:
            observed: How many events are summed besides.
            second: Also the second derivatives are equal.
        """
        try:
            part = full.part
        except DensityError:
            return None
        if part is None:
            return None
        every, some = (n.events.num_events for n in (full, part))
        if observed + some > _GAIN * (observed + every):
            return None
        anchor, bend = full.layout.values(plan), None
        shape = len(full.layout.processes), len(anchor)
        if second:
            bend = full.curves(full.hessian(plan)[2]) - full.curves(part.hessian(plan)[2])
        plain = cls(full, part, anchor, np.zeros(shape[0]), np.zeros(shape), bend)
        return plain.corrected(plan)

    def corrected(self, plan: Plan) -> Control:
        """The same with the value and the gradient of all events at another point."""
        moved = self.full.layout.values(plan) - self.anchor
        logs, slopes = self.full.gradient(plan)
        ours, our_slopes = self.gradient(plan)
        slope = (slopes - our_slopes)[:, self.full.layout.shapers]
        return replace(
            self, offset=self.offset + logs - ours - slope @ moved, slope=self.slope + slope
        )

    @property
    def events(self) -> Events:
        """All reference events."""
        return self.full.events

    def values(self, plan: Plan) -> Float:
        """``log Z``, ``(process,)``."""
        return self.part.values(plan) + self._added(plan)[0]

    def gradient(self, plan: Plan) -> tuple[Float, Float]:
        """``log Z`` and its derivatives, ``(process, parameter)``."""
        logs, gradient = self.part.gradient(plan)
        offset, slope = self._added(plan)
        gradient = gradient.copy()
        gradient[:, self.full.layout.shapers] += slope
        return logs + offset, gradient

    def hessian(self, plan: Plan) -> tuple[Float, Float, Float]:
        """``log Z``, gradient and second derivatives ``(process, parameter, parameter)``."""
        hessian, places = self.part.hessian(plan)[2], self.full.layout.shapers
        if self.bend is not None:
            hessian = hessian.copy()
            hessian[:, places[:, None], places] += self.bend
        return *self.gradient(plan), hessian

    def _added(self, plan: Plan) -> tuple[Float, Float]:
        """What is added to the part's value and to its derivatives by the shapers."""
        moved = self.full.layout.values(plan) - self.anchor
        slope = self.slope
        offset = self.offset + slope @ moved
        if self.bend is not None:
            more = self.bend @ moved
            offset, slope = offset + 0.5 * (more @ moved), slope + more
        return offset, slope
