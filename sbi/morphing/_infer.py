"""The flow without torch: matrix products by NumPy, splines compiled or in NumPy, in float32.

Rows go through in blocks that stay in the cache, both directions one after the other::

    for each block:  z, c  ->  x = z;  c.switch = 0
        layers forward:   h = [kept, c]; h = relu(h W + b) ...; raw = h W + b; x_moved = spline
        c.switch = 1
        layers backward:  the same with the inverse spline
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml.sbi.morphing._flow import FlowSpec
from rootml.sbi.morphing._spline import spline

Array = npt.NDArray[np.float32]

_BLOCK = 2048


class FusedFlow:
    """Carries z from simulation to data.

    Args:
        compiled: Splines by numba; otherwise by NumPy.
    """

    def __init__(
        self, spec: FlowSpec, state: Mapping[str, npt.NDArray[Any]], *, compiled: bool
    ) -> None:
        self._spec = spec
        self._compiled = compiled
        self._layers = []
        for layer, kept in enumerate(spec.kept):
            dense = [
                (
                    np.ascontiguousarray(state[f"{layer}.w{k}"], np.float32),
                    np.ascontiguousarray(state[f"{layer}.b{k}"], np.float32),
                )
                for k in range(len(spec.hidden) + 1)
            ]
            columns = (np.array(kept, np.int64), np.array(spec.moved(layer), np.int64))
            self._layers.append((*columns, dense))

    def morph(self, z: Array, context: Array) -> Array:
        """z' `(rows, features)` of z and of the context, whose switch is ignored."""
        result = np.array(z, np.float32, order="C")
        for start in range(0, len(z), _BLOCK):
            x = result[start : start + _BLOCK]
            c = context[start : start + _BLOCK].copy()
            c[:, -1] = 0
            self._run(x, c, inverse=False)
            c[:, -1] = 1
            self._run(x, c, inverse=True)
        return result

    def run(self, x: Array, context: Array, *, inverse: bool) -> Array:
        """One direction; the switch as it stands in `context`."""
        result = np.array(x, np.float32, order="C")
        for start in range(0, len(x), _BLOCK):
            rows = slice(start, start + _BLOCK)
            self._run(result[rows], np.ascontiguousarray(context[rows]), inverse=inverse)
        return result

    def _run(self, x: Array, context: Array, *, inverse: bool) -> None:
        """Transform a block in place."""
        for kept, moved, dense in reversed(self._layers) if inverse else self._layers:
            h = np.concatenate([x[:, kept], context], axis=1)
            for k, (matrix, bias) in enumerate(dense):
                h = h @ matrix
                h += bias
                if k < len(dense) - 1:
                    np.maximum(h, 0, out=h)
            self._spline(x, moved, h, inverse=inverse)

    def _spline(self, x: Array, moved: Any, raw: Array, *, inverse: bool) -> None:
        if self._compiled:
            from rootml.sbi.morphing import _spline_compiled as kernels

            kernels.transform(x, moved, raw, self._spec.bins, inverse)
        else:
            shaped = raw.reshape(len(x), len(moved), -1)
            x[:, moved] = spline(x[:, moved], shaped, inverse=inverse)
