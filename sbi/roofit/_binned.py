"""Binned channels in the stock classes that HistFactory uses.

The observable of a channel counts its bins, ``[0, 1), [1, 2), ...``, so that every bin has width 1
and a RooHistFunc integrates to its counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.likelihood._binned_samples import Modifier, Sample
from rootml.sbi.roofit._effects import Effect, piecewise

if TYPE_CHECKING:
    from rootml.sbi.likelihood._binned import Binned
    from rootml.sbi.roofit._factory import Factory

_SHAPE_CODE = 4  # polynomial and linear, added to the nominal


@dataclass(frozen=True)
class BinnedChannel:
    """A channel of counts.

    Attributes:
        name: Its name in the model.
        observable: The RooRealVar that counts bins.
        counts: Observed, ``(bin,)``.
        pdf: The extended pdf.
    """

    name: str
    observable: Any
    counts: Float
    pdf: Any

    @property
    def centres(self) -> Float:
        """Centres of the bins."""
        return np.arange(len(self.counts), dtype=np.float64) + 0.5


def make_channels(
    factory: Factory, binned: Binned, parameters: Mapping[str, Any], more: Sequence[Any] = ()
) -> list[BinnedChannel]:
    """All channels of `binned`.

    Args:
        more: Factors of the first sample.
    """
    found: list[BinnedChannel] = []
    for name, counts in binned.observed.items():
        channel = _Channel(factory, name, len(counts), parameters)
        samples = [s for s in binned.samples if s.channel == name]
        found.append(channel.build(samples, counts, () if found else more))
    return found


class _Channel:
    """Makes the objects of one channel."""

    def __init__(
        self, factory: Factory, name: str, bins: int, parameters: Mapping[str, Any]
    ) -> None:
        self.factory, self.name, self.bins, self.parameters = factory, name, bins, parameters
        title = f"bins of {name}"
        self.x = factory.make("RooRealVar", f"bin_{name}", title, 0.5, 0.0, float(bins))
        self.x.setBins(bins)

    def build(
        self, samples: Sequence[Sample], counts: Float, more: Sequence[Any]
    ) -> BinnedChannel:
        """The channel with its samples, the first of them with more factors."""
        functions = [
            self._sample(sample, () if number else more) for number, sample in enumerate(samples)
        ]
        ones = [self.factory.constant(1.0)] * len(functions)
        pdf = self.factory.make(
            "RooRealSumPdf", self.name, f"counts of {self.name}",
            self.factory.arguments(functions), self.factory.arguments(ones), True,
        )  # fmt: skip
        pdf.setAttribute("BinnedLikelihood")
        return BinnedChannel(self.name, self.x, np.asarray(counts), pdf)

    def _sample(self, sample: Sample, more: Sequence[Any]) -> Any:
        label = f"{self.name}_{sample.name}"
        title = f"{sample.name} in {self.name}"
        shapes = [m for m in sample.modifiers if m.kind == "shape"]
        effects = [m for m in sample.modifiers if m.kind == "effect"]
        factors = [m for m in sample.modifiers if m.kind == "factor"]
        items = [self._counts(label, title, sample.nominal, shapes)]
        items += [self._factor(label, i, m) for i, m in enumerate(factors)]
        items += piecewise(
            self.factory, f"{label}_effects", title, list(map(self._effect, effects))
        )
        items += more
        # RooRealSumPdf takes functions of its observable, and no pdf without any
        return self.factory.make("RooProduct", label, title, self.factory.arguments(items))

    def _effect(self, modifier: Modifier) -> Effect:
        high, low = (
            self.factory.constant(float(modifier.high)),
            self.factory.constant(float(modifier.low)),
        )
        return Effect(self.parameters[modifier.names[0]], "code5", high, low)

    def _factor(self, label: str, place: int, modifier: Modifier) -> Any:
        chosen = [self.parameters[name] for name in modifier.names]
        if len(chosen) == 1:
            return chosen[0]
        title = f"a factor per bin of {label}"
        observables, factors = self.factory.arguments([self.x]), self.factory.arguments(chosen)
        return self.factory.make(
            "ParamHistFunc", f"{label}_bins{place}", title, observables, factors
        )

    def _counts(self, label: str, title: str, nominal: Float, shapes: Sequence[Modifier]) -> Any:
        plain = self._histogram(f"{label}_nominal", title, nominal)
        if not shapes:
            return plain
        pairs = [
            tuple(
                self._histogram(f"{label}_{modifier.names[0]}_{side}", f"{title}, {side}", values)
                for side, values in (("down", modifier.low), ("up", modifier.high))
            )
            for modifier in shapes
        ]
        alphas = [self.parameters[modifier.names[0]] for modifier in shapes]
        made = self.factory.make(
            "PiecewiseInterpolation", f"{label}_shape", title, plain,
            self.factory.arguments(low for low, _ in pairs),
            self.factory.arguments(high for _, high in pairs), self.factory.arguments(alphas),
        )  # fmt: skip
        made.setPositiveDefinite(False)
        made.setAllInterpCodes(_SHAPE_CODE)
        return made

    def _histogram(self, name: str, title: str, values: Float) -> Any:
        """Counts as a RooHistFunc."""
        factory = self.factory
        counts = factory.make("RooDataHist", f"{name}_counts", title, factory.arguments([self.x]))
        for i, value in enumerate(np.asarray(values, np.float64)):
            counts.set(i, float(value), 0.0)
        return factory.make("RooHistFunc", name, title, factory.set_of([self.x]), counts, 0)
