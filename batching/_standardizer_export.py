"""A fitted scale as torch module, Keras layer, and ONNX model.

Quantile scales are written as a sum of ramps, one per interval between knots, which every
framework has::

    z(x) = z[0] + sum_k slope[k] * clip(x - x[k], 0, x[k + 1] - x[k])
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.onnx_graph import OnnxGraph
from rootml._internal.optional import optional_import

if TYPE_CHECKING:
    import keras
    from torch.nn import Module

    from rootml.batching._scale import Scale


def _ramps(scale: Scale) -> dict[str, Any]:
    """Constants of the formula, in float32, without intervals of no length."""
    if scale.x is None or scale.z is None:
        return {"mean": scale.mean.astype(np.float32), "std": scale.std.astype(np.float32)}
    width = np.diff(scale.x)
    rise = np.diff(scale.z)
    slope = np.where(width > 0, rise / np.where(width > 0, width, 1), 0)
    return {
        "start": scale.x[:, :-1].astype(np.float32),
        "width": width.astype(np.float32),
        "slope": slope.astype(np.float32),
        "base": scale.z[:, 0].astype(np.float32),
    }


def torch_module(scale: Scale) -> Module:
    """A torch module; NaN stays NaN."""
    torch = optional_import("torch", feature="Standardizer.to_torch()", extra="torch")
    module: Module = _torch_class(torch)(_ramps(scale))
    return module


@functools.cache
def _torch_class(torch: Any) -> Any:
    class Scaling(torch.nn.Module):  # type: ignore[misc]
        """A fitted `Standardizer`, its constants kept as buffers."""

        def __init__(self, constants: dict[str, Any]) -> None:
            super().__init__()
            for name, values in constants.items():
                self.register_buffer(name, torch.from_numpy(values))
            self.linear = "mean" in constants

        def forward(self, x: Any) -> Any:  # a tensor
            if self.linear:
                return (x - self.mean) / self.std
            ramps = (x[..., None] - self.start).clamp(min=0).minimum(self.width)
            return self.base + (ramps * self.slope).sum(dim=-1)

    return Scaling


def keras_layer(scale: Scale) -> keras.layers.Layer:
    """A Keras layer; NaN stays NaN."""
    keras = optional_import("keras", feature="Standardizer.to_keras()", extra="tensorflow")
    return _keras_class(keras)(_ramps(scale))


@functools.cache
def _keras_class(keras: Any) -> Any:
    @keras.saving.register_keras_serializable(package="rootml")
    class Scaling(keras.layers.Layer):  # type: ignore[misc]
        """A fitted `Standardizer`."""

        def __init__(self, constants: dict[str, Any], **options: Any) -> None:
            super().__init__(trainable=False, **options)
            self.constants = {
                name: np.asarray(values, dtype=np.float32) for name, values in constants.items()
            }

        def call(self, x: Any) -> Any:  # a tensor
            c, ops = self.constants, keras.ops
            if "mean" in c:
                return (x - c["mean"]) / c["std"]
            ramps = ops.minimum(ops.maximum(x[..., None] - c["start"], 0), c["width"])
            return c["base"] + ops.sum(ramps * c["slope"], axis=-1)

        def get_config(self) -> dict[str, Any]:
            lists = {name: values.tolist() for name, values in self.constants.items()}
            return {**super().get_config(), "constants": lists}

    return Scaling


def write_onnx(scale: Scale, path: Path) -> None:
    """Write an ONNX model of opset 17, input ``x`` and output ``z`` `(rows, features)` float32."""
    graph = OnnxGraph(feature="Standardizer.to_onnx()")
    c = {name: graph.constant(values, name=name) for name, values in _ramps(scale).items()}
    if "mean" in c:
        graph.op("Div", graph.op("Sub", "x", c["mean"]), c["std"], output="z")
    else:
        last = graph.constant([-1], np.int64)
        beyond = graph.op("Sub", graph.op("Unsqueeze", "x", last), c["start"])
        above = graph.op("Max", beyond, graph.constant(0, np.float32))
        rises = graph.op("Mul", graph.op("Min", above, c["width"]), c["slope"])
        rise = graph.op("ReduceSum", rises, last, keepdims=0)
        graph.op("Add", rise, c["base"], output="z")
    shape: list[int | str] = ["rows", len(scale.features)]
    model = graph.model("standardizer", {"x": (np.float32, shape)}, {"z": (np.float32, shape)})
    path.write_bytes(model.SerializeToString())
