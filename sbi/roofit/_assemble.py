"""From channels to one pdf and one dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.roofit._data import make_data
from rootml.sbi.roofit._root import RootObject

if TYPE_CHECKING:
    from rootml.sbi.roofit._binned import BinnedChannel
    from rootml.sbi.roofit._factory import Factory

TOP = "model"
DATA = "data"
INDEX = "channel"


@dataclass(frozen=True)
class Events:
    """The unbinned channel.

    Attributes:
        name: Its name.
        pdf: The extended pdf.
        variables: Columns as RooRealVars, by key.
        arrays: Their values, by key.
        weights: Of the events.
    """

    name: str
    pdf: Any
    variables: Mapping[str, Any]
    arrays: Mapping[str, Float]
    weights: Float | None

    @property
    def number(self) -> int:
        """Number of events."""
        return len(next(iter(self.arrays.values())))


@dataclass(frozen=True)
class Assembled:
    """The pdf, the data, and the observables by name."""

    pdf: Any
    data: Any
    observables: Mapping[str, Any]


def extended(factory: Factory, name: str, density: Any, total: Any) -> RootObject:
    """``density`` as a pdf of integral 1 that expects `total` events."""
    title = "density over that of the reference, as a pdf"
    # the reference's density is a factor without parameters: the pdf is normalised as it is
    wrapped = factory.make("RooWrapperPdf", f"{name}_pdf", title, density, True)
    return factory.make("RooExtendPdf", name, f"extended {title}", wrapped, total)


def assemble(
    factory: Factory,
    events: Events | None,
    channels: Sequence[BinnedChannel],
    constraints: Sequence[tuple[Any, Any]],
) -> Assembled:
    """Pdf and data of all channels.

    Args:
        constraints: Pairs of parameter and pdf.
    """
    if events is not None and not channels:
        pdf = _constrained(factory, TOP, events.pdf, [pdf for _, pdf in constraints])
        data = make_data(factory, DATA, events.variables, events.arrays, events.weights)
        return Assembled(pdf, data, {v.GetName(): v for v in events.variables.values()})
    index = factory.owner.own(factory.root.RooCategory(factory.names(INDEX), "channel"))
    pdfs = {} if events is None else {events.name: events.pdf}
    pdfs |= {channel.name: channel.pdf for channel in channels}
    title = "all channels"
    top = factory.make("RooSimultaneous", TOP, title, index)
    left = list(constraints)
    for number, (name, pdf) in enumerate(pdfs.items()):
        mine = [c for parameter, c in constraints if pdf.dependsOn(parameter)]
        left = [(parameter, c) for parameter, c in left if not pdf.dependsOn(parameter)]
        if number == len(pdfs) - 1:
            mine += [c for _, c in left]
        state = factory.names(f"{name}_state").removesuffix("_state")
        index.defineType(state, number)
        top.addPdf(_constrained(factory, f"{state}_model", pdf, mine), state)
    variables, arrays, weights = _together(index, events, channels)
    data = make_data(factory, DATA, variables, arrays, weights)
    return Assembled(top, data, {v.GetName(): v for v in variables.values()})


def _constrained(factory: Factory, name: str, pdf: Any, constraints: Sequence[Any]) -> Any:
    """The product with constraints; under its own name without any, too."""
    if not constraints and name != TOP:
        return pdf
    title = "events and auxiliary measurements"
    return factory.make("RooProdPdf", name, title, factory.arguments([pdf, *constraints]))


def _together(
    index: Any, events: Events | None, channels: Sequence[BinnedChannel]
) -> tuple[dict[str, Any], dict[str, Float], Float]:
    """Columns of all channels under each other: bins are events whose weights are the counts.

    A column that a channel does not have is filled with a number that nobody reads.
    """
    sizes = [] if events is None else [events.number]
    sizes += [len(channel.counts) for channel in channels]
    starts = np.cumsum([0, *sizes])
    variables: dict[str, Any] = {} if events is None else dict(events.variables)
    arrays: dict[str, Float] = {}
    weights = np.ones(starts[-1])
    if events is not None:
        for key, values in events.arrays.items():
            arrays[key] = np.concatenate([values, np.ones(starts[-1] - len(values))])
        if events.weights is not None:
            weights[: events.number] = events.weights
    first = 0 if events is None else 1
    for place, channel in enumerate(channels, first):
        mine = slice(starts[place], starts[place + 1])
        key = f"bins of {channel.name}"
        variables[key] = channel.observable
        arrays[key] = np.full(starts[-1], 0.5)
        arrays[key][mine] = channel.centres
        weights[mine] = channel.counts
    variables["index"] = index
    arrays["index"] = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    return variables, arrays, weights
