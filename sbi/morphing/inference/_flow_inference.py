"""The fitted flow, in float32: compiled as a whole (`_compiled_flow`), in NumPy, or by torch.

The compiled one gives a row the same bits wherever it stands; NumPy's matrix products give it
other last bits in another batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float32
from rootml.sbi.morphing.flow._flow import CouplingFlow, Flow, FlowSpec
from rootml.sbi.morphing.flow._leaves import import_torch
from rootml.sbi.morphing.flow._spline import MAX_INPUT, spline

State = Mapping[str, npt.NDArray[Any]]

_BLOCK, _TORCH_ROWS = 2048, 16_384


class FlowInference(Protocol):
    """Both directions of a fitted flow."""

    def morph(self, z: Float32, context: Float32) -> Float32:
        """z' `(rows, features)` of z and of the context, whose switch is ignored."""

    def generate(self, z: Float32, context: Float32) -> Float32:
        """x `(rows, features)` of normal z and of the context; the switch counts as 1."""


class NumpyFlow:
    """Matrix products and splines by NumPy, in blocks that stay in the cache."""

    def __init__(self, spec: FlowSpec, state: State) -> None:
        self._layers = []
        for layer, kept in enumerate(spec.kept):
            dense = [
                tuple(np.asarray(state[f"{layer}.{name}{k}"], np.float32) for name in "wb")
                for k in range(len(spec.hidden) + 1)
            ]
            self._layers.append((list(kept), list(spec.moved(layer)), dense))

    def morph(self, z: Float32, context: Float32) -> Float32:
        """z' `(rows, features)` of z and of the context, whose switch is ignored."""
        return self._blocks(z, context, forward=True)

    def generate(self, z: Float32, context: Float32) -> Float32:
        """x `(rows, features)` of normal z and of the context; the switch counts as 1."""
        return self._blocks(z, context, forward=False)

    def _blocks(self, z: Float32, context: Float32, *, forward: bool) -> Float32:
        result = np.array(z, np.float32, order="C")
        for start in range(0, len(z), _BLOCK):
            x = result[start : start + _BLOCK]
            c = context[start : start + _BLOCK].copy()
            if forward:
                c[:, -1] = 0
                self._run(x, c, inverse=False)
            c[:, -1] = 1
            self._run(x, c, inverse=True)
        return result

    def _run(self, x: Float32, context: Float32, *, inverse: bool) -> None:
        """Transform a block in place."""
        for kept, moved, dense in reversed(self._layers) if inverse else self._layers:
            h = np.concatenate([x[:, kept].clip(-MAX_INPUT, MAX_INPUT), context], axis=1)
            for k, (matrix, bias) in enumerate(dense):
                h = h @ matrix
                h += bias
                if k < len(dense) - 1:
                    np.maximum(h, 0, out=h)
            raw = h.reshape(len(x), len(moved), -1)
            x[:, moved] = spline(x[:, moved], raw, inverse=inverse)


class CompiledFlow:
    """Everything in one compiled function.

    Raises:
        MissingPackageError: numba is not installed.
    """

    def __init__(self, spec: FlowSpec, state: State) -> None:
        from rootml.sbi.morphing.inference import _compiled_flow, _dense_tile

        self._kernel = _compiled_flow.morph
        self._bins = spec.bins
        self._packed = _pack(spec, state, _dense_tile.BLOCK)

    def morph(self, z: Float32, context: Float32) -> Float32:
        """z' `(rows, features)` of z and of the context, whose switch is ignored."""
        return self._call(z, context, 0)

    def generate(self, z: Float32, context: Float32) -> Float32:
        """x `(rows, features)` of normal z and of the context; the switch counts as 1."""
        return self._call(z, context, 1)

    def _call(self, z: Float32, context: Float32, first: int) -> Float32:
        result = np.empty(z.shape, np.float32)
        packed = self._packed
        self._kernel(
            np.ascontiguousarray(z, np.float32),
            np.ascontiguousarray(context, np.float32),
            packed.flat,
            packed.layout,
            packed.orders,
            packed.kept,
            self._bins,
            int(packed.layout[..., 2:].max()),
            first,
            result,
        )
        return result


class TorchFlow:
    """Both directions by torch's operations, on one of its devices.

    Args:
        device: None: the CPU.
    """

    def __init__(self, flow: Flow, device: str | None) -> None:
        self._torch, self._flow, self._device = import_torch(), flow, device or "cpu"

    def morph(self, z: Float32, context: Float32) -> Float32:
        """z' `(rows, features)` of z and of the context, whose switch is ignored."""
        return self._blocks(z, context, forward=True)

    def generate(self, z: Float32, context: Float32) -> Float32:
        """x `(rows, features)` of normal z and of the context; the switch counts as 1."""
        return self._blocks(z, context, forward=False)

    def _blocks(self, z: Float32, context: Float32, *, forward: bool) -> Float32:
        result: Float32 = np.empty_like(z, dtype=np.float32)
        for start in range(0, len(z), _TORCH_ROWS):
            rows = slice(start, start + _TORCH_ROWS)
            result[rows] = self._block(z[rows], context[rows], forward)
        return result

    def _block(self, z: Float32, context: Float32, forward: bool) -> Float32:
        torch = self._torch
        y, c = (torch.tensor(part, device=self._device) for part in (z, context))
        with torch.no_grad():
            if forward:
                c[:, -1] = 0
                y, _ = self._flow.forward(y, c)
            c[:, -1] = 1
            found: Float32 = self._flow.inverse(y, c).cpu().numpy()
        return found


def make_inference(
    spec: FlowSpec, state: State, *, compiled: bool, device: str | None
) -> FlowInference:
    """The fitted flow: on a device of torch if one is given, else compiled or in NumPy."""
    if device is not None:
        return TorchFlow(CouplingFlow(spec, state, compiled=False, device=device), device)
    return CompiledFlow(spec, state) if compiled else NumpyFlow(spec, state)


@dataclass(frozen=True, slots=True)
class _Packed:
    """Parameters as `_compiled_flow.morph` takes them."""

    flat: Float32
    layout: npt.NDArray[np.int64]
    orders: npt.NDArray[np.int64]
    kept: npt.NDArray[np.int64]


def _pack(spec: FlowSpec, state: State, block: int) -> _Packed:
    """Weights `(block of outputs, in, block)` padded with zeros, then biases, by layer."""
    flat: list[Float32] = []
    layout = np.zeros((len(spec.kept), len(spec.hidden) + 1, 4), np.int64)
    offset = 0
    for layer in range(len(spec.kept)):
        for k in range(len(spec.hidden) + 1):
            weights, bias = state[f"{layer}.w{k}"], state[f"{layer}.b{k}"]
            inputs, outputs = weights.shape[0], -(-weights.shape[1] // block) * block
            padded = np.zeros((inputs, outputs), np.float32)
            padded[:, : weights.shape[1]] = weights
            blocks = padded.reshape(inputs, -1, block).transpose(1, 0, 2)
            added = np.zeros(outputs, np.float32)
            added[: len(bias)] = bias
            layout[layer, k] = offset, offset + padded.size, inputs, outputs
            flat += [blocks.ravel(), added]
            offset += padded.size + added.size
    orders = [[*kept, *spec.moved(layer)] for layer, kept in enumerate(spec.kept)]
    kept = np.array([len(each) for each in spec.kept], np.int64)
    return _Packed(np.concatenate(flat), layout, np.array(orders, np.int64), kept)
