"""Forward and backward through all layers of a flow as one operation of torch's autograd.

What torch would do in some hundred small operations is written out: dense layers by its matrix
products, everything between them by the kernels of `_compiled_spline`. The gradient, in words::

    for each layer, from the last:
        g[moved], g_raw = spline backward
        for each dense layer, from the last:
            g_weights = inputs^T g;  g_bias = sum of g;  g = (g weights^T) where the ReLU was open
        g[kept] += g

Arrays are `(columns, rows)` within: all lanes of a kernel read what lies side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootml.sbi.morphing.flow import _compiled_spline as kernels
from rootml.sbi.morphing.flow._leaves import import_torch
from rootml.sbi.morphing.flow._spline import MAX_INPUT

_LIMIT = np.float32(MAX_INPUT)


@dataclass(slots=True)
class _Values:
    """What one pass forward leaves for the pass back.

    Attributes:
        x: Before each layer, and after the last, `(features, rows)`.
        layers: For each layer its inputs, hidden values and the numbers of its splines.
        places: For each layer the bins of its splines.
        owner: The number of the pass.
    """

    x: list[Any]
    layers: list[list[Any]]
    places: list[Any]
    owner: int


class FlowGradient:
    """The layers of a flow; `make` gives the operation.

    Args:
        kept, moved: For each layer the features that it looks at, and that it transforms.
        widths: For each layer the sizes of its network, from input to output.
        bins: Of the splines.
    """

    def __init__(
        self,
        kept: Sequence[Sequence[int]],
        moved: Sequence[Sequence[int]],
        widths: Sequence[Sequence[int]],
        *,
        bins: int,
    ) -> None:
        self._torch = import_torch()
        self._widths, self._bins = widths, bins
        self._depth = len(widths[0]) - 1
        self._features = len(kept[0]) + len(moved[0])
        self._kept = [np.array(each, np.int64) for each in kept]
        self._moved = [np.array(each, np.int64) for each in moved]
        self._spare: _Values | None = None
        self._passes = 0

    def forward(self, x: Any, context: Any, leaves: Sequence[Any], *, keep: bool) -> Any:
        """z, the sums of log slopes, and what `backward` needs (with `keep`).

        Args:
            leaves: For each layer its weights and biases in turn.
        """
        values = self._values(len(x), keep=keep)
        values.x[0].copy_(x.t())
        logs, context = self._torch.zeros(len(x)), context.t().contiguous()
        for layer, held in enumerate(values.layers):
            raw = self._network(layer, values.x[layer], context, held, leaves)
            ends = values.x[layer].numpy(), values.x[layer + 1].numpy()
            kernels.forward(
                ends[0], self._moved[layer], raw.numpy(), self._bins, ends[1], logs.numpy(),
                values.places[layer],
            )  # fmt: skip
        return values.x[-1].t().contiguous(), logs, values

    def _network(self, layer: int, x: Any, context: Any, held: list[Any], leaves: Any) -> Any:
        kept = self._kept[layer]
        kernels.gather(x.numpy(), kept, _LIMIT, held[0].numpy())
        held[0][len(kept) :].copy_(context)
        for k in range(self._depth):
            weights, bias = self._leaves_of(leaves, layer, k)
            self._torch.addmm(bias[:, None], weights.t(), held[k], out=held[k + 1])
            if k < self._depth - 1:
                held[k + 1].relu_()
        return held[-1]

    def _leaves_of(self, leaves: Sequence[Any], layer: int, k: int) -> Sequence[Any]:
        at = 2 * (layer * self._depth + k)
        return leaves[at : at + 2]

    def backward(self, values: _Values, gz: Any, gl: Any, leaves: Sequence[Any]) -> list[Any]:
        """Gradients by x and by each of the leaves."""
        torch = self._torch
        g, gl = gz.t().clone(memory_format=torch.contiguous_format), gl.contiguous()
        found = [torch.empty_like(leaf) for leaf in leaves]
        for layer in reversed(range(len(values.layers))):
            x, held = values.x[layer].numpy(), values.layers[layer]
            raw = torch.empty_like(held[-1])
            kernels.backward(
                x, self._moved[layer], held[-1].numpy(), values.places[layer], self._bins,
                g.numpy(), gl.numpy(), raw.numpy(),
            )  # fmt: skip
            inputs = self._through_network(layer, held, raw, leaves, found)
            if inputs is not None:
                kernels.scatter(x, self._kept[layer], _LIMIT, inputs.numpy(), g.numpy())
        self._spare = values
        return [g.t(), *found]

    def _through_network(
        self, layer: int, held: list[Any], g: Any, leaves: Any, found: list[Any]
    ) -> Any:
        """The gradients by the kept features; None: there are none."""
        torch = self._torch
        for k in reversed(range(self._depth)):
            weights, _ = self._leaves_of(leaves, layer, k)
            by_weights, by_bias = self._leaves_of(found, layer, k)
            if k < self._depth - 1:
                kernels.through_relu(held[k + 1].numpy(), g.numpy(), by_bias.numpy())
            else:
                torch.sum(g, 1, out=by_bias)
            torch.mm(held[k], g.t(), out=by_weights)
            if not k:
                weights = weights[: len(self._kept[layer])]
            g = torch.mm(weights, g) if len(weights) else None
        return g

    def _values(self, rows: int, *, keep: bool) -> _Values:
        """Those of an earlier step, if there are as many rows; else new ones."""
        self._passes += 1
        spare, count = self._spare, len(self._kept)
        if keep and spare is not None and spare.x[0].shape[1] == rows:
            self._spare = None
            spare.owner = self._passes
            return spare
        new = self._torch.empty
        x = [new(self._features, rows) for _ in range(count + 1)]
        layers = [[new(width, rows) for width in self._widths[layer]] for layer in range(count)]
        places = [np.empty((7 * len(moved), rows), np.float32) for moved in self._moved]
        return _Values(x, layers, places, self._passes)

    def make(self) -> Any:  # a function of torch
        """``(x, context, *leaves) -> (z, sums of log slopes)``, with gradients."""
        whole, torch = self, self._torch

        class WholeFlow(torch.autograd.Function):  # type: ignore[misc, name-defined]
            @staticmethod
            def forward(ctx: Any, x: Any, context: Any, *leaves: Any) -> tuple[Any, Any]:
                keep = any(ctx.needs_input_grad)
                z, logs, values = whole.forward(x, context, leaves, keep=keep)
                if keep:
                    ctx.values, ctx.owner = values, values.owner
                    ctx.save_for_backward(*leaves)
                return z, logs

            @staticmethod
            def backward(ctx: Any, gz: Any, gl: Any) -> tuple[Any, ...]:
                if ctx.values.owner != ctx.owner:
                    message = "the values of this pass are gone: another one came between"
                    raise RuntimeError(message)
                g, *found = whole.backward(ctx.values, gz, gl, ctx.saved_tensors)
                return (g, None, *found)

        return WholeFlow.apply
