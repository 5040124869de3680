"""Notes on shapes of nuisances that were dropped: how large an effect the data may hide."""

from __future__ import annotations

import math

from rootml._internal.types import Float
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood

_SHOWN = 6


def dropped_shapes(like: Fittable, theta: Float) -> list[str]:
    """One note for each mixture with dropped shapes, the largest possible effect first.

    An effect of size s (RMS of log(variation / nominal)) on N events of the process at the minimum
    is one of ``s sqrt(N)`` standard deviations.
    """
    if isinstance(like, CombinedLikelihood):
        places = {name: i for i, name in enumerate(like.parameters)}
        return [
            f"{name}: {note}"
            for name, part in like.parts.items()
            for note in dropped_shapes(part, theta[[places[key] for key in part.parameters]])
        ]
    if not isinstance(like, Likelihood) or like.unbinned is None:
        return []
    inner = theta[: len(like.model.all_parameters)]
    events = dict(zip(like.model.processes, like.model.yields().values(inner), strict=True))
    found = [
        (shape.missed * math.sqrt(max(events.get(shape.process, 0.0), 0.0)), shape)
        for shape in like.unbinned.events.origin.dropped
        if shape.nuisance in like.parameters and shape.process in events
    ]
    if not found:
        return []
    found.sort(key=lambda pair: -pair[0])
    shown = [f"{s.nuisance} in {s.process} ({size:.2g} sigma)" for size, s in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return [
        "shapes that were dropped, with the effect in these data that may have been missed: "
        + ", ".join(shown)
        + more
    ]
