"""Columns as a RooDataSet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.types import Float
from rootml.sbi.roofit._root import RootObject, quiet

if TYPE_CHECKING:
    from rootml.sbi.roofit._factory import Factory

WEIGHT = "weight"


def make_variable(factory: Factory, name: str, title: str, value: float = 1.0) -> RootObject:
    """A column: a RooRealVar without limits, so that no event can be out of range."""
    infinity = factory.root.RooNumber.infinity()
    return factory.make("RooRealVar", name, title, value, -infinity, infinity)


def make_data(
    factory: Factory,
    name: str,
    variables: Mapping[str, Any],
    arrays: Mapping[str, Float],
    weights: Float | None,
) -> RootObject:
    """A RooDataSet of columns; the same keys name variables and arrays.

    Raises:
        RuntimeError: RooFit took fewer events than it was given.
    """
    named = {variables[key].GetName(): np.ascontiguousarray(arrays[key]) for key in variables}
    number = len(next(iter(named.values())))
    weight_name = None
    if weights is not None:
        weight_name = factory.names(WEIGHT)
        named[weight_name] = np.ascontiguousarray(weights)
    everything = list(variables.values())
    if weight_name is not None:
        infinity = factory.root.RooNumber.infinity()
        everything.append(factory.root.RooRealVar(weight_name, "weight", 1.0, -infinity, infinity))
    with quiet() as root:
        data = root.RooDataSet.from_numpy(
            named, everything, name=factory.names(name), title="events", weight_name=weight_name
        )
    if data.numEntries() != number:
        message = f"RooFit took {data.numEntries():,} of {number:,} events"
        raise RuntimeError(message)
    return factory.owner.own(data)
