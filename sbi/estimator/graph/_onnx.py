"""Graphs as ONNX files and back: float32, opset 17, standard operators only.

The file holds everything from the observables to the ratio: scaling, networks, calibration,
normalisation, average. JSON in its metadata describes the columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rootml._internal.atomic import check_target
from rootml._internal.onnx_graph import OnnxGraph, Values
from rootml._internal.optional import optional_import
from rootml._internal.provenance import KEY as PROVENANCE
from rootml._internal.provenance import stamp
from rootml._internal.types import Array
from rootml.errors import CorruptFileError, MissingFileError, StateError
from rootml.sbi.estimator.graph._graph import Graph, Node

KEY, FORMAT, VERSION = "rootml", "rootml.sbi.ratios", 1
OPSET, IR_VERSION = 17, 8


def write_onnx(path: Path, graph: Graph, facts: Mapping[str, Any], *, rows: int | None) -> None:
    """Write a graph and its metadata.

    Args:
        rows: Fixed number of rows; None: any.
    """
    made = OnnxGraph(feature="saving ratios")
    for node in graph.nodes:
        made.op(node.op, *node.inputs, output=node.output)
    for name, values in graph.constants.items():
        made.constant(values, np.float32, name=name)
    text = json.dumps({"format": FORMAT, "version": VERSION, **facts}, sort_keys=True)
    model = made.model(
        "ratios",
        _shapes(graph.inputs, rows),
        _shapes(graph.outputs, rows),
        opset=OPSET,
        ir_version=IR_VERSION,
        properties={KEY: text, PROVENANCE: json.dumps(stamp(), sort_keys=True)},
    )
    check_target(path).write_bytes(model.SerializeToString())


def _shapes(widths: Mapping[str, int], rows: int | None) -> Values:
    # theta may have one row for all events: give its rows another symbol
    symbols = {"theta": "points"}
    return {
        name: (np.float32, [symbols.get(name, "rows") if rows is None else rows, width])
        for name, width in widths.items()
    }


def read_onnx(path: Path) -> tuple[Graph, dict[str, Any]]:
    """The graph and the metadata of a file.

    Raises:
        MissingFileError: No such file.
        CorruptFileError: Not an ONNX file, or one with operators, types or outside data that
            `write_onnx` never writes.
        StateError: An ONNX file without our facts, or of another version.
    """
    onnx = optional_import("onnx", feature="loading ratios", extra="onnx")
    if not path.is_file():
        message = f"{path}: no such file"
        raise MissingFileError(message)
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except Exception as error:  # protobuf has errors of its own
        message = f"{path}: not an ONNX file: {error}"
        raise CorruptFileError(message) from error
    facts = _facts(path, model)
    try:
        return _graph(path, onnx, model.graph), facts
    except CorruptFileError as error:
        message = f"{path}: {error}"
        raise CorruptFileError(message) from error


def _facts(path: Path, model: Any) -> dict[str, Any]:
    texts = {entry.key: entry.value for entry in model.metadata_props}
    try:
        facts = json.loads(texts[KEY])
        kind, version = facts["format"], facts["version"]
    except (KeyError, TypeError, ValueError) as error:
        message = f"{path}: an ONNX file, but not one with ratios that rootml saved"
        raise StateError(message) from error
    if (kind, version) != (FORMAT, VERSION):
        message = f"{path}: {kind} version {version}, expected {FORMAT} version {VERSION}"
        raise StateError(message)
    return dict(facts)


def _graph(path: Path, onnx: Any, graph: Any) -> Graph:
    constants: dict[str, Array] = {}
    for tensor in graph.initializer:
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            message = f"{path}: {tensor.name!r} refers to another file; everything must be inside"
            raise CorruptFileError(message)
        try:
            values = onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError) as error:
            message = f"constant {tensor.name!r} is damaged: {error}"
            raise CorruptFileError(message) from error
        if values.dtype != np.float32 or values.ndim != 2 or not np.isfinite(values).all():
            message = f"constant {tensor.name!r}: {values.dtype}{values.shape}, or not finite"
            raise CorruptFileError(message)
        constants[tensor.name] = values.astype(np.float64)
    nodes = []
    for node in graph.node:
        if node.attribute or len(node.output) != 1 or node.domain:
            message = f"a node {node.op_type} with attributes or several outputs"
            raise CorruptFileError(message)
        nodes.append(Node(node.op_type, tuple(node.input), node.output[0]))
    return Graph(_widths(graph.input), _widths(graph.output), tuple(nodes), constants)


def _widths(values: Any) -> dict[str, int]:
    widths = {}
    for value in values:
        shape = value.type.tensor_type.shape.dim
        if len(shape) != 2 or shape[1].dim_value < 1:
            message = f"{value.name!r} is not (rows, columns)"
            raise CorruptFileError(message)
        widths[value.name] = int(shape[1].dim_value)
    return widths
