"""Checks of an ONNX graph as a whole: what ONNX Runtime refuses must not lose its meaning here."""

from __future__ import annotations

from typing import Any

from rootml.errors import ModelError, UnsupportedModelError, nearest


def check_graph(onnx: Any, model: Any) -> None:
    """Every value must come from somewhere, every operator and attribute must be one of ONNX's.

    Raises:
        ModelError: A value or output of the graph that no node gives, a set of operators that is
            not imported.
        UnsupportedModelError: An attribute that the operator does not have.
    """
    versions = {_plain(one.domain): int(one.version) for one in model.opset_import}
    graph = model.graph
    known = {str(one.name) for one in (*graph.input, *graph.initializer)}
    known |= {str(name) for node in graph.node for name in node.output}
    for node in graph.node:
        _check_values(node.input, known, f"an input of {node.op_type}")
        if _plain(node.domain) not in versions:
            message = (
                f"{node.op_type} belongs to {node.domain or 'ai.onnx'!r}, which the model "
                f"does not import; it imports {nearest(node.domain, versions)}"
            )
            raise ModelError(message)
        _check_attributes(onnx, node, versions[_plain(node.domain)])
    _check_values([one.name for one in graph.output], known, "an output of the graph")


def _plain(domain: str) -> str:
    """ONNX's own operators have two names."""
    return "" if domain == "ai.onnx" else str(domain)


def _check_values(names: Any, known: set[str], what: str) -> None:
    for name in map(str, names):
        if name and name not in known:  # "" stands for an input that is left out
            message = f"{what} is {name!r:.40}, which nothing gives: {nearest(name, known)}"
            raise ModelError(message)


def _check_attributes(onnx: Any, node: Any, version: int) -> None:
    try:
        schema = onnx.defs.get_schema(node.op_type, version, _plain(node.domain))
    except (onnx.defs.SchemaError, TypeError):  # readers refuse operators by their names
        return
    for one in node.attribute:
        if one.name not in schema.attributes:
            message = (
                f"{node.op_type} has the attribute {one.name!r:.40}, which it does not have in "
                f"ONNX: {nearest(str(one.name), schema.attributes)}"
            )
            raise UnsupportedModelError(message)
