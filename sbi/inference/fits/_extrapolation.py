"""Notes on events that lie beyond the events of the training."""

from __future__ import annotations

from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood


def extrapolations(like: Fittable) -> list[str]:
    """One note for each mixture whose data leave the range of the training."""
    if isinstance(like, CombinedLikelihood):
        return [
            f"{name}: {note}" for name, part in like.parts.items() for note in extrapolations(part)
        ]
    if not isinstance(like, Likelihood) or like.unbinned is None:
        return []
    texts = [
        f"{each.name} ({each.events:,}, beyond {each.low:.5g} to {each.high:.5g})"
        for each in like.unbinned.events.origin.beyond
    ]
    if not texts:
        return []
    return [
        "events beyond the range of the training, where ratios are extrapolated: "
        + ", ".join(texts)
        + "; cut on these inputs, in training and data"
    ]
