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

from rootml._internal.optional import optional_import

if TYPE_CHECKING:
    from rootml.batching._standardizer import Scale


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


def torch_module(scale: Scale) -> Any:
    """A torch module; NaN stays NaN."""
    torch = optional_import("torch", feature="Standardizer.to_torch()", extra="torch")
    return _torch_class(torch)(_ramps(scale))


@functools.cache
def _torch_class(torch: Any) -> Any:
    class Scaling(torch.nn.Module):  # type: ignore[misc]
        """A fitted `Standardizer`, its constants kept as buffers."""

        def __init__(self, constants: dict[str, Any]) -> None:
            super().__init__()
            for name, values in constants.items():
                self.register_buffer(name, torch.from_numpy(values))
            self.linear = "mean" in constants

        def forward(self, x: Any) -> Any:
            if self.linear:
                return (x - self.mean) / self.std
            ramps = (x[..., None] - self.start).clamp(min=0).minimum(self.width)
            return self.base + (ramps * self.slope).sum(dim=-1)

    return Scaling


def keras_layer(scale: Scale) -> Any:
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

        def call(self, x: Any) -> Any:
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
    onnx = optional_import("onnx", feature="Standardizer.to_onnx()", extra="onnx")
    make, float32 = onnx.helper, onnx.TensorProto.FLOAT
    constants = _ramps(scale)
    if "mean" in constants:
        nodes = [
            make.make_node("Sub", ["x", "mean"], ["shifted"]),
            make.make_node("Div", ["shifted", "std"], ["z"]),
        ]
    else:
        constants |= {"zero": np.zeros((), np.float32)}
        constants |= {"last": np.array([-1], dtype=np.int64)}
        nodes = [
            make.make_node("Unsqueeze", ["x", "last"], ["column"]),
            make.make_node("Sub", ["column", "start"], ["beyond"]),
            make.make_node("Max", ["beyond", "zero"], ["above"]),
            make.make_node("Min", ["above", "width"], ["ramps"]),
            make.make_node("Mul", ["ramps", "slope"], ["rises"]),
            make.make_node("ReduceSum", ["rises", "last"], ["rise"], keepdims=0),
            make.make_node("Add", ["rise", "base"], ["z"]),
        ]
    shape = ["rows", len(scale.features)]
    graph = make.make_graph(
        nodes,
        "standardizer",
        [make.make_tensor_value_info("x", float32, shape)],
        [make.make_tensor_value_info("z", float32, shape)],
        [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
