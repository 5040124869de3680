"""Building ONNX models node by node: names, constants and the finished file.

Whatever rootml writes as ONNX is built here, without an exporter and without a framework.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import DTypeLike

from rootml._internal.optional import optional_import

if TYPE_CHECKING:
    import onnx

Values = Mapping[str, tuple[DTypeLike, Sequence[int | str]]]
"""Names of inputs or outputs with their dtype and shape; a text is a symbol, as "rows"."""


class OnnxGraph:
    """Nodes and constants of a graph under construction.

    Args:
        feature: What the user asked for, for the message if the package onnx is missing.

    Attributes:
        onnx: The package.
        nodes: NodeProtos in the order of evaluation.
        constants: TensorProtos.

    Raises:
        MissingPackageError: The package onnx is not installed.

    >>> graph = OnnxGraph(feature="an example")
    >>> graph.op("Add", "x", graph.constant(1, "float32"), output="y")
    'y'
    >>> shape = ("float32", ["rows", 2])
    >>> model = graph.model("example", {"x": shape}, {"y": shape})
    >>> model.graph.node[0].op_type
    'Add'
    """

    def __init__(self, *, feature: str) -> None:
        self.onnx = optional_import("onnx", feature=feature, extra="onnx")
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._numbers = itertools.count()
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def constant(
        self, values: Any, dtype: DTypeLike | None = None, *, name: str | None = None
    ) -> str:
        """The name of a constant; equal ones without a `name` of their own are stored once."""
        array = np.asarray(values, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if name is None:
            if key in self._known:
                return self._known[key]
            name = self._known[key] = f"constant_{next(self._numbers)}"
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; the name of the output."""
        name = output or f"{kind.lower()}_{next(self._numbers)}"
        node = self.onnx.helper.make_node(kind, list(inputs), [name], name, **attributes)
        self.nodes.append(node)
        return name

    def cast(self, value: str, dtype: DTypeLike) -> str:
        """Add a node that casts `value` to a NumPy dtype."""
        return self.op("Cast", value, to=self.type_number(dtype))

    def type_number(self, dtype: DTypeLike) -> int:
        """ONNX's number of a NumPy dtype."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def tensor(self, values: Any, name: str) -> onnx.TensorProto:
        """A TensorProto, for an attribute."""
        made: onnx.TensorProto = self.onnx.numpy_helper.from_array(np.asarray(values), name)
        return made

    def model(
        self,
        name: str,
        inputs: Values,
        outputs: Values,
        *,
        opset: int = 17,
        ml_opset: int | None = None,
        ir_version: int = 8,
        properties: Mapping[str, str] | None = None,
        doc: str = "",
    ) -> onnx.ModelProto:
        """The finished ModelProto, checked.

        Args:
            name: Of the graph.
            inputs, outputs: See `Values`.
            opset: Version of the standard operators.
            ml_opset: Version of the operators of ``ai.onnx.ml``; None: none is used.
            ir_version: Version of the file format.
            properties: Metadata.
            doc: Text about the model.
        """
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.nodes, name, self._infos(inputs), self._infos(outputs), self.constants
        )
        opsets = [helper.make_opsetid("", opset)]
        if ml_opset is not None:
            opsets.append(helper.make_opsetid("ai.onnx.ml", ml_opset))
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=ir_version,
            producer_name="rootml",
            doc_string=doc,
        )
        if properties:
            helper.set_model_props(model, dict(properties))
        self.onnx.checker.check_model(model)
        return cast("onnx.ModelProto", model)

    def _infos(self, values: Values) -> list[Any]:
        make = self.onnx.helper.make_tensor_value_info
        return [
            make(name, self.type_number(dtype), list(shape))
            for name, (dtype, shape) in values.items()
        ]
