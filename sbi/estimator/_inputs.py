"""What the training events say of the inputs: their ranges, and which a network cannot resolve.

Networks see inputs in float32, scaled to mean 0 and width 1. They learn little of an input whose
width is that of a few far events (a marker such as -999, a long tail), or that has a very narrow
peak: many of its values lie within a small part of a width. They learn nothing of one whose values
float32 does not tell apart, and of one that never changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rootml._internal.types import Float
from rootml.dataset import Dataset
from rootml.sbi.estimator._assemble import Scale
from rootml.sbi.estimator._event_sample import EventSample
from rootml.sbi.estimator._loaders import make_loader
from rootml.sbi.estimator._settings import TrainingSettings

SQUEEZED = 0.03
"""Width of the densest part of an input over its standard deviation, below which a note is made.

A resonance of 0.05 of the width is learned from 50,000 events as well as its arcsinh.
"""
_COARSE = 0.05
"""Distance of neighbouring float32 numbers, over the width."""
_ATOM = 0.01
"""Part of the events that must have the same value for it to count as an atom."""
_SPREAD = 0.2
"""Part of the events beside the atoms from which on their width is looked at."""
_QUARTER = 0.3186
"""A quarter of a normal distribution is within so many standard deviations of its mean."""


@dataclass(frozen=True)
class Inputs:
    """What a pass over all training events found.

    Attributes:
        ranges: Lowest and highest value of each input, by name.
        notes: What users should know of them, in words.
    """

    ranges: Mapping[str, tuple[float, float]]
    notes: tuple[str, ...]


def look_at_inputs(dataset: Dataset, scale: Scale, settings: TrainingSettings) -> Inputs:
    """Ranges of the inputs of all events, and notes."""
    loader = make_loader(dataset, settings, shuffle=False)
    sample = EventSample()
    low, high = (np.full(len(scale.mean), end) for end in (np.inf, -np.inf))
    for batch in loader.iterate(epoch=0):
        x = np.asarray(batch.x, np.float64)
        low, high = np.minimum(low, x.min(axis=0)), np.maximum(high, x.max(axis=0))
        sample.add(x)
    loader.close()
    names = dataset.columns
    ends = {n: (float(a), float(b)) for n, a, b in zip(names, low, high, strict=True)}
    return Inputs(ends, input_notes(names, sample.result()[1], scale, list(ends.values())))


def input_notes(
    names: Sequence[str], rows: Float, scale: Scale, ends: Sequence[tuple[float, float]]
) -> tuple[str, ...]:
    """A note for each input that a network cannot resolve.

    Args:
        rows: Random events, `(events, inputs)`.
        ends: Lowest and highest value of each input, over all events.
    """
    widths = [
        0.0 if low == high else float(width)
        for (low, high), width in zip(ends, scale.width, strict=True)
    ]
    found = [
        _note(name, values, width, max(map(abs, both)))
        for name, values, width, both in zip(names, rows.T, widths, ends, strict=True)
    ]
    return tuple(note for note in found if note)


def _note(name: str, values: Float, width: float, largest: float) -> str:
    if width == 0.0:
        return f"{name} is {values[0]:.6g} in all events: it tells nothing, leave it out"
    step = float(np.spacing(np.float32(largest)))
    if step > _COARSE * width:
        return (
            f"{name}: values near {largest:.4g} are {step:.2g} apart in float32, and its width is "
            f"only {width:.2g}: subtract a constant from it"
        )
    rest = beside_atoms(values)
    if len(rest) < _SPREAD * len(values):
        return ""
    middle, half = densest(rest)
    if half >= SQUEEZED * width:
        return ""
    return (
        f"{name}: its width is {width:.3g}, but many values are within {half:.2g} of "
        f"{middle:.4g}, which the network hardly resolves: use asinh(({name} - {middle:.4g}) / "
        f"{half:.2g}) or a logarithm, and instead of a marker such as -999 a value near the "
        "others, with an input that says so"
    )


def densest(values: Float) -> tuple[float, float]:
    """Middle of the shortest interval with a quarter of the values, and a width.

    The width is the standard deviation of a normal distribution with such an interval.

    >>> middle, width = densest(np.random.default_rng(1).normal(5.0, 2.0, 100_000))
    >>> abs(middle - 5.0) < 0.5, round(width, 1)
    (True, 2.0)
    """
    ordered = np.sort(values)
    number = math.ceil(0.25 * len(ordered))
    lengths = ordered[number - 1 :] - ordered[: len(ordered) - number + 1]
    first = int(np.argmin(lengths))
    middle = 0.5 * (ordered[first] + ordered[first + number - 1])
    return float(middle), float(0.5 * lengths[first] / _QUARTER)


def beside_atoms(values: Float) -> Float:
    """Values without those that many events share.

    >>> beside_atoms(np.array([0.0, 0.0, 0.0, 1.5, 2.5]))
    array([1.5, 2.5])
    """
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(values[count[group] <= max(1.0, _ATOM * len(values))])
