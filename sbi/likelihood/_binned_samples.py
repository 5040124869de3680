"""What binned channels are made of: expected counts of samples, and what parameters do to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootml._internal.types import Float
from rootml.errors import SchemaError


@dataclass(frozen=True, slots=True)
class Modifier:
    """What parameters do to one sample.

    Attributes:
        kind: ``"factor"`` (the parameters themselves multiply), ``"effect"`` (a factor between
            `low` and `high`, polynomial and exponential as code 5), ``"shape"`` (`low` and `high`
            minus nominal added, polynomial and linear as code 4).
        names: One parameter for all bins, or one per bin.
        high: At +1: a factor, or counts ``(bin,)``.
        low: At -1.
    """

    kind: str
    names: tuple[str, ...]
    high: Any = None
    low: Any = None


@dataclass(frozen=True, slots=True)
class Sample:
    """Expected counts of one process in one channel, ``(bin,)``, and their modifiers."""

    channel: str
    name: str
    nominal: Float
    modifiers: tuple[Modifier, ...]


def check_counts(given: Any, channel: str, bins: int | None = None) -> Float:
    """Counts of a channel: finite, not negative, of the right number."""
    counts = np.asarray(given, np.float64)
    if counts.ndim != 1 or (bins is not None and len(counts) != bins):
        message = f"channel {channel!r}: counts of shape {counts.shape}, not ({bins},)"
        raise SchemaError(message)
    bad = [i for i, n in enumerate(counts) if not (math.isfinite(n) and n >= 0.0)]
    if bad:
        message = f"channel {channel!r}: {counts[bad[0]]} events observed in bin {bad[0]}"
        raise SchemaError(message)
    return counts
