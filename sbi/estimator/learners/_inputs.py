"""What the training events say of the inputs: their ranges, and which a network cannot resolve.

Networks see inputs in float32, scaled to mean 0 and width 1. They learn little of an input whose
width is that of a few far events (a marker such as -999, a long tail), or that has a very narrow
peak: many of its values lie within a small part of a width. They learn nothing of one whose values
float32 does not tell apart, and of one that never changes.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootml._internal.types import Float
from rootml.batching import Batch, BatchLoader, Standardizer
from rootml.dataset import Dataset
from rootml.sbi.estimator.graph._assemble import Scale
from rootml.sbi.estimator.graph._ramps import Contrast, Histograms, Ramp
from rootml.sbi.estimator.inputs._event_sample import EventSample
from rootml.sbi.estimator.inputs._loaders import make_loader
from rootml.sbi.estimator.inputs._samples import Samples
from rootml.sbi.estimator.inputs._settings import TrainingSettings

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
        scale: Means and widths, ignoring weights.
        ranges: Lowest and highest value of each column, by name.
        rows: Random events, `(events, columns)`.
    """

    scale: Scale
    ranges: Mapping[str, tuple[float, float]]
    rows: Float

    @property
    def notes(self) -> tuple[str, ...]:
        """What users should know of the columns as inputs of a network."""
        return input_notes(list(self.ranges), self.rows, self.scale, list(self.ranges.values()))

    def parts(self, count: int) -> tuple[Inputs, Inputs]:
        """The first columns, and the others."""
        names = list(self.ranges)
        found = []
        for part in slice(count), slice(count, None):
            scale = Scale(self.scale.mean[part], self.scale.width[part])
            ranges = {name: self.ranges[name] for name in names[part]}
            found.append(Inputs(scale, ranges, self.rows[:, part]))
        return found[0], found[1]


class _Watched:
    """What `Standardizer` reads of a loader; ranges and a sample of the events that went by."""

    def __init__(self, loader: BatchLoader) -> None:
        self._loader, self.spec = loader, loader.spec
        self.sample = EventSample()
        width = len(loader.spec.inputs[0].features)
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)

    def iterate(self, *, epoch: int) -> Generator[Batch, None, None]:
        """The batches."""
        for batch in self._loader.iterate(epoch=epoch):
            x = np.asarray(batch.x, np.float64)
            self.low = np.minimum(self.low, x.min(axis=0))
            self.high = np.maximum(self.high, x.max(axis=0))
            self.sample.add(x)
            yield batch


def look_at_inputs(dataset: Dataset, settings: TrainingSettings) -> Inputs:
    """Scales, ranges and a sample of all columns; NaN is an error."""
    loader = make_loader(dataset, settings, shuffle=False)
    watched = _Watched(loader)
    source: Any = watched
    scale = Standardizer(weighted=False).fit(source).scale()
    loader.close()
    ends = zip(dataset.columns, watched.low, watched.high, strict=True)
    return Inputs(
        Scale(scale.mean, scale.std),
        {name: (float(low), float(high)) for name, low, high in ends},
        watched.sample.result()[1],
    )


def fill_histograms(samples: Samples, inputs: Inputs, settings: TrainingSettings) -> Histograms:
    """All events in fine bins of each input, by density."""
    histograms = Histograms(inputs.rows, len(samples.densities))
    loader = make_loader(samples.union(), settings, shuffle=False)
    for batch in loader.iterate(epoch=0):
        assert isinstance(batch.x, np.ndarray)
        assert batch.y is not None
        histograms.add(batch.x, batch.y, batch.w)
    loader.close()
    return histograms


def contrasts_of(samples: Samples) -> list[Contrast]:
    """Processes and the reference; up and down, and both and the nominal sample."""
    densities = samples.densities
    found: list[Contrast] = [
        ([k], [samples.reference]) for k in samples.targets if densities[k].nuisance is None
    ]
    for nominal, *varied in samples.variations():
        first = densities.index(nominal)
        for up, down in zip(varied[::2], varied[1::2], strict=True):
            both = [densities.index(up), densities.index(down)]
            found += [(both[:1], both[1:]), (both, [first])]
    return found


def ramp_notes(inputs: Inputs, ramps: Sequence[Ramp]) -> tuple[str, ...]:
    """Where densities change so fast that networks got further inputs."""
    names = list(inputs.ranges)
    texts = [
        f"{name} at " + ", ".join(f"{r.high:.4g}" for r in ramps if r.column == column)
        for column, name in enumerate(names)
        if any(r.column == column for r in ramps)
    ]
    if not texts:
        return ()
    return (f"densities change fast at {'; '.join(texts)}: the networks see on which side",)


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
