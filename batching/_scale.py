"""`Scale`: how the features of one input are transformed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootml._internal.types import Array, Float
from rootml.errors import SchemaError, UnsupportedTypeError


@dataclass(frozen=True, eq=False)
class Scale:
    """How the features of one input are transformed.

    Attributes:
        features: Their names.
        mean, std: `(features,)`, of the finite values; std is 1 where it would be 0.
        x, z: `(features, knots)`, only for "quantile": feature values and what they become, with
            straight lines between and constants outside.
    """

    features: tuple[str, ...]
    mean: Float
    std: Float
    x: Float | None = None
    z: Float | None = None

    def apply(self, values: Any) -> Array:
        """Transform an array whose last axis is the features; NaN stays NaN."""
        dtype = self._check(values)
        if self.x is None or self.z is None:
            result: Array = (values - self.mean) / self.std
        else:
            result = _interpolate(values, self.x, self.z)
        return result.astype(dtype)

    def invert(self, values: Any) -> Array:
        """Undo `apply`; values beyond the outermost knots come back as these."""
        dtype = self._check(values)
        if self.x is None or self.z is None:
            result: Array = values * self.std + self.mean
        else:
            result = _interpolate(values, self.z, self.x)
        return result.astype(dtype)

    def _check(self, values: Any) -> np.dtype[Any]:
        """The dtype of what comes out: that of floats, float64 for integers and bools."""
        if values.dtype.kind not in "biuf":
            message = f"numbers are needed; the array has dtype {values.dtype}"
            raise UnsupportedTypeError(message)
        if values.shape[-1:] != (len(self.features),):
            message = (
                f"expected {len(self.features)} features {list(self.features)} on the last axis, "
                f"the array is {values.shape}"
            )
            raise SchemaError(message)
        return values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)

    def to_json(self) -> dict[str, Any]:
        """As plain numbers."""
        arrays = {"mean": self.mean, "std": self.std, "x": self.x, "z": self.z}
        lists = {name: None if a is None else a.tolist() for name, a in arrays.items()}
        return {"features": list(self.features), **lists}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Scale:
        """The inverse of `to_json`."""
        arrays = {
            name: None if values[name] is None else np.array(values[name], dtype=np.float64)
            for name in ("mean", "std", "x", "z")
        }
        return cls(tuple(values["features"]), **arrays)  # type: ignore[arg-type]


def _interpolate(values: Any, x: Float, z: Float) -> Any:
    result = np.empty(values.shape)
    for j in range(len(x)):
        result[..., j] = np.interp(values[..., j], x[j], z[j])
    return result
