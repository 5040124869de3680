"""Shapes of nuisances: what a dropped one may hide, and whether a kept one is noise.

A distortion of a process of N expected events with the RMS delta moves no parameter by more than
``delta sqrt(N)`` of its error (the information about the distortion itself). So a dropped shape is
harmless if what could have been missed, times sqrt(N), is small.

A kept shape constrains its nuisance with the information ``I = N Var(log(up / down) / 2)``, beside
1 of its Gaussian constraint. If a part of the shape is noise, held-out events of "up" and "down"
follow only a share of it: the slope of their log ratio in the learned one, 1 for a true shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.diagnostics._fit_response import FitResponse
from rootml.sbi.diagnostics._pairs import Events, Pair
from rootml.sbi.diagnostics._recalibration import slope_check
from rootml.sbi.diagnostics._report import Check
from rootml.sbi.diagnostics._verdict import MAX_BIAS, Finding, deviations_seen
from rootml.sbi.estimator.inputs._shape_decision import ShapeDecision

SHAPE = "shapes"
_SHARES = (
    "the shape is larger than what was learned",
    "a part of the shape is noise, which constrains its nuisance: more events of its variations",
)


def dropped_check(decision: ShapeDecision, response: FitResponse | None) -> Finding:
    """What may have been missed, as a bias of the fit at a nuisance of 1; without a fit, its RMS.

    Only a dropped shape has a verdict: of a kept one the effect is in the fit.
    """
    subject = f"{decision.process}.{decision.nuisance}"
    kept = "kept" if decision.kept else "dropped"
    if response is None:
        return Finding(Check(SHAPE, subject, f"{kept}, could miss (RMS)", decision.missed))
    bias = decision.missed * float(np.sqrt(max(response.expected(decision.process), 0.0)))
    what = f"{kept}, could miss x sqrt(N)"
    if decision.kept:
        return Finding(Check(SHAPE, subject, what, bias))
    tested = bias <= MAX_BIAS
    remark = (
        f"its shape was dropped, and an effect of up to {100 * decision.missed:.2g} % may have "
        f"been missed, up to {bias:.2g} sigma of the fit: more events of its variations"
    )
    return Finding(
        Check(
            SHAPE, subject, what, bias, ok=True if tested else None, tested=tested,
            remark="" if tested else remark,
        )
    )  # fmt: skip


def kept_check(
    decision: ShapeDecision,
    features: tuple[str, ...],
    up: tuple[Events, Float],
    down: tuple[Events, Float],
    response: FitResponse | None,
) -> Finding:
    """Is the learned shape that of held-out events, or is a part of its constraint noise?

    Args:
        up, down: Held-out events of both sides, with the learned log(up / down).
    """
    subject = f"{decision.process}.{decision.nuisance}"
    pair = Pair(subject, features, up[0], down[0], up[1], down[1])
    what = "share of the shape that is real"
    slope = slope_check(pair, None, topic=SHAPE, what=what, remarks=_SHARES)
    found = replace(slope, variation=True)
    if response is None or not found.check.tested:
        return found
    shape = 0.5 * np.concatenate([up[1], down[1]])
    mass = 0.5 * np.concatenate([up[0].mass, down[0].mass])
    variance = float(mass @ np.square(shape - mass @ shape))
    information = max(response.expected(decision.process), 0.0) * variance
    noise = (found.check.error or 0.0) * information / (1.0 + information)
    return replace(
        found, smallest_seen=lambda limit: deviations_seen(limit, 1) * noise,
        coarse="noise might make {seen:.0%} of the constraint of this nuisance unseen: more "
        "held-out events of its variations",
    )  # fmt: skip


def shape_findings(
    decisions: tuple[ShapeDecision, ...],
    features: tuple[str, ...],
    variations: Mapping[str, tuple[Events, Float]],
    response: FitResponse | None,
) -> list[Finding]:
    """The checks of all shapes that were learned.

    Args:
        variations: Held-out events by name of the variation, with the learned log(up / down).
    """
    found = []
    for decision in decisions:
        found.append(dropped_check(decision, response))
        names = [f"{decision.process}.{decision.nuisance}.{side}" for side in ("up", "down")]
        if decision.kept and all(name in variations for name in names):
            up, down = (variations[name] for name in names)
            found.append(kept_check(decision, features, up, down, response))
    return found
