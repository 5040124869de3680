"""A `Forest` as our own JSON; `readers/_forest_json` describes the format."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Forest
from rootml.bdt.readers._forest_json import FORMAT, VERSION


def write_forest_json(forest: Forest) -> str:
    """The text of a forest."""
    made: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    made |= {"input_dtype": str(forest.input_dtype), "dtype": str(forest.dtype)}
    for name in (field.name for field in dataclasses.fields(Forest)):
        value = getattr(forest, name)
        if isinstance(value, np.ndarray):
            value = _plain(value)
        elif isinstance(value, float):
            value = _plain(np.array([value]))[0]
        made[name] = value
    return json.dumps(made, separators=(",", ":"), allow_nan=False)


def _plain(array: NDArray[Any]) -> list[Any]:
    """A list that JSON can hold; flags as 0 and 1."""
    flat = array.ravel()
    if flat.dtype.kind == "b":
        return list(flat.astype(np.int64).tolist())
    values = list(flat.tolist())
    if flat.dtype.kind == "f" and not np.all(np.isfinite(flat)):
        return [value if math.isfinite(value) else str(value) for value in values]
    return values
