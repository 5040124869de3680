"""Results as cabinetry's containers, for its tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from rootml._internal.optional import optional_import
from rootml._internal.types import Float
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._parameters import Nuisance

CabinetryResults: TypeAlias = Any
"""A named tuple of cabinetry.fit, which it does not type."""


def container(kind: str, **content: Any) -> CabinetryResults:
    """One of cabinetry's named tuples.

    References:
        https://cabinetry.readthedocs.io/en/latest/api.html#module-cabinetry.fit
    """
    module = optional_import("cabinetry.fit", feature="to_cabinetry()", extra="exchange")
    return getattr(module, kind)(**content)


def in_widths(
    like: Fittable, values: Mapping[str, float], errors: Mapping[str, float]
) -> tuple[Float, Float]:
    """Values and errors, those of nuisances with a Gaussian constraint in its widths."""
    centre, width = np.zeros(len(values)), np.ones(len(values))
    for number, name in enumerate(values):
        parameter = like.parameters[name]
        if isinstance(parameter, Nuisance) and parameter.constraint == "gaussian":
            centre[number], width[number] = like.observed[name], parameter.width
    found = np.array(list(values.values())), np.array([errors[name] for name in values])
    return (found[0] - centre) / width, found[1] / width
