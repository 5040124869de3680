"""Types of arrays, each written once."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""Any NumPy array."""
Bool: TypeAlias = npt.NDArray[np.bool_]
Float: TypeAlias = npt.NDArray[np.float64]
Float32: TypeAlias = npt.NDArray[np.float32]
Int: TypeAlias = npt.NDArray[np.int64]
Weights: TypeAlias = Float | None
"""One weight per event; None: every event counts once."""

EventValues: TypeAlias = Any
"""One value per event (NumPy), or lists of values (`awkward.Array`). `Any` for the type checker:
NumPy's functions and operators take both, but are typed for arrays of their own alone."""
