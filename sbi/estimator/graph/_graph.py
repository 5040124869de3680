"""A small computation graph: trained ratios are one, evaluated by NumPy and saved as ONNX.

::

    for node in nodes:                                # in order: all inputs are known
        values[node.output] = OPERATORS[node.op](*[values[name] for name in node.inputs])

Only operators that ROOT's SOFIE parses are used. All arrays are `(rows, columns)`; an input of one
row is broadcast, so parameters need not be repeated for each event.

Derivatives are computed forward: a tangent is `(direction, rows, columns)`, or None for zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from rootml._internal.types import Array
from rootml.errors import CorruptFileError, UsageError

Tangent: TypeAlias = "Array | None"


@dataclass(frozen=True, slots=True)
class Node:
    """One step: ``output = op(*inputs)``."""

    op: str
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class Graph:
    """A computation, its nodes in order.

    Attributes:
        inputs: Number of columns of each input, by name.
        outputs: Number of columns of each output, by name.
        nodes: The steps.
        constants: float64 arrays by name; saved as float32.

    Raises:
        CorruptFileError: An unknown operator, or a value that is used before it is computed.
    """

    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]

    def __post_init__(self) -> None:
        known = {*self.inputs, *self.constants}
        for node in self.nodes:
            if node.op not in OPERATORS:
                message = f"operator {node.op!r} is not one of {', '.join(sorted(OPERATORS))}"
                raise CorruptFileError(message)
            lost = [name for name in node.inputs if name not in known]
            if lost or len(node.inputs) != OPERATORS[node.op].arity:
                message = (
                    f"{node.op} of {node.inputs} for {node.output!r}: unknown or too few inputs"
                )
                raise CorruptFileError(message)
            if node.op == "MatMul" and node.inputs[1] not in self.constants:
                message = f"MatMul computes {node.output!r} with a matrix that is not a constant"
                raise CorruptFileError(message)
            if node.output in known:
                message = f"{node.output!r} is computed twice"
                raise CorruptFileError(message)
            known.add(node.output)
        if missing := [name for name in self.outputs if name not in known]:
            message = f"no node computes the outputs {missing}"
            raise CorruptFileError(message)

    def run(self, outputs: Sequence[str] | None = None, /, **inputs: Array) -> dict[str, Array]:
        """Values of `outputs` (default: all), computed in the dtype of the inputs."""
        dtype = np.result_type(*inputs.values())
        values = self._start(inputs, dtype)
        wanted = list(self.outputs) if outputs is None else list(outputs)
        nodes = self._needed(wanted)
        last = self._last_uses(nodes, wanted)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for number, node in enumerate(nodes):
                arguments = [values[name] for name in node.inputs]
                values[node.output] = OPERATORS[node.op].value(*arguments)
                for name in last.get(number, ()):
                    del values[name]
        return {name: values[name] for name in wanted}

    def slopes(self, output: str, by: str, /, **inputs: Array) -> tuple[Array, Array]:
        """An output and its derivatives by each column of the input `by`.

        Returns:
            `(rows, columns)` and `(columns of by, rows, columns)`.
        """
        dtype = np.result_type(*inputs.values())
        values = self._start(inputs, dtype)
        width = self.inputs[by]
        tangents: dict[str, Tangent] = dict.fromkeys(values)
        tangents[by] = np.eye(width, dtype=dtype)[:, None, :]
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for node in self._needed([output]):
                operator = OPERATORS[node.op]
                arguments = [values[name] for name in node.inputs]
                moves = [tangents[name] for name in node.inputs]
                result = operator.value(*arguments)
                values[node.output] = result
                moved = any(move is not None for move in moves)
                tangents[node.output] = (
                    operator.tangent(result, arguments, moves) if moved else None
                )
        tangent = tangents[output]
        value = values[output]
        if tangent is None:
            tangent = np.zeros((width, *value.shape), dtype)
        return value, np.broadcast_to(tangent, (width, *value.shape))

    def _start(self, inputs: Mapping[str, Array], dtype: np.dtype[Any]) -> dict[str, Array]:
        if set(inputs) != set(self.inputs):
            message = f"inputs {sorted(inputs)} were given, expected {sorted(self.inputs)}"
            raise UsageError(message)
        for name, width in self.inputs.items():
            if inputs[name].ndim != 2 or inputs[name].shape[1] != width:
                message = f"input {name!r} is {inputs[name].shape}, expected (rows, {width})"
                raise UsageError(message)
        values = {name: array.astype(dtype, copy=False) for name, array in inputs.items()}
        return values | {
            name: array.astype(dtype, copy=False) for name, array in self.constants.items()
        }

    def _needed(self, wanted: Sequence[str]) -> list[Node]:
        """The nodes that the wanted outputs depend on, in order."""
        needed, nodes = set(wanted), []
        for node in reversed(self.nodes):
            if node.output in needed:
                needed.update(node.inputs)
                nodes.append(node)
        return nodes[::-1]

    def _last_uses(self, nodes: Sequence[Node], wanted: Sequence[str]) -> dict[int, list[str]]:
        """Values that can be freed after each node, by its number."""
        last: dict[str, int] = {}
        for number, node in enumerate(nodes):
            last.update(dict.fromkeys(node.inputs, number))
        keep = {*wanted, *self.inputs, *self.constants}
        free: dict[int, list[str]] = {}
        for name, number in last.items():
            if name not in keep:
                free.setdefault(number, []).append(name)
        return free


# --- operators: values and tangents --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Operator:
    """A value, and its tangent from (value, arguments, tangents of the arguments)."""

    arity: int
    value: Callable[..., Array]
    tangent: Callable[[Array, Sequence[Array], Sequence[Tangent]], Tangent]


def _plus(left: Tangent, right: Tangent) -> Tangent:
    if left is None or right is None:
        return right if left is None else left
    return np.asarray(left + right)


def _times(move: Tangent, factor: Array) -> Tangent:
    return None if move is None else np.asarray(move * factor)


def _matmul(move: Tangent, matrix: Array) -> Tangent:
    return None if move is None else np.asarray(move @ matrix)


def _minus(move: Tangent) -> Tangent:
    return None if move is None else -move


def _sigmoid(z: Array) -> Array:
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + small), small / (1 + small)).astype(z.dtype, copy=False)


def _product(_: Array, a: Sequence[Array], d: Sequence[Tangent]) -> Tangent:
    return _plus(_times(d[0], a[1]), _times(d[1], a[0]))


def _quotient(value: Array, a: Sequence[Array], d: Sequence[Tangent]) -> Tangent:
    return _plus(_times(d[0], 1 / a[1]), _minus(_times(d[1], value / a[1])))


OPERATORS: dict[str, Operator] = {
    "Add": Operator(2, np.add, lambda _, _a, d: _plus(d[0], d[1])),
    "Div": Operator(2, np.divide, _quotient),
    "Exp": Operator(1, np.exp, lambda value, _a, d: _times(d[0], value)),
    "Identity": Operator(1, np.asarray, lambda _, _a, d: d[0]),
    "Log": Operator(1, np.log, lambda _, a, d: _times(d[0], 1 / a[0])),
    "MatMul": Operator(2, np.matmul, lambda _, a, d: _matmul(d[0], a[1])),
    "Mul": Operator(2, np.multiply, _product),
    "Neg": Operator(1, np.negative, lambda _, _a, d: _minus(d[0])),
    "Relu": Operator(1, lambda z: np.maximum(z, 0), lambda _, a, d: _times(d[0], a[0] > 0)),
    "Sigmoid": Operator(1, _sigmoid, lambda value, _a, d: _times(d[0], value * (1 - value))),
    "Sub": Operator(2, np.subtract, lambda _, _a, d: _plus(d[0], _minus(d[1]))),
    "Tanh": Operator(1, np.tanh, lambda value, _a, d: _times(d[0], 1 - value * value)),
}


class Builder:
    """Builds a graph, node by node.

    >>> build = Builder(x=2)
    >>> doubled = build.add("Mul", "x", build.constant(np.array([[2.0, 3.0]])))
    >>> build.graph(y=(doubled, 2)).run(x=np.ones((1, 2)))
    {'y': array([[2., 3.]])}
    """

    def __init__(self, **inputs: int) -> None:
        self._inputs = inputs
        self._nodes: list[Node] = []
        self._constants: dict[str, Array] = {}

    @classmethod
    def extending(cls, graph: Graph) -> tuple[Builder, dict[str, str]]:
        """A builder that extends `graph`, and the names of the values behind its outputs."""
        build = cls(**graph.inputs)
        build._nodes = [node for node in graph.nodes if node.output not in graph.outputs]
        build._constants = dict(graph.constants)
        ends = [node for node in graph.nodes if node.output in graph.outputs]
        return build, {node.output: node.inputs[0] for node in ends}

    def include(self, graph: Graph, outputs: Sequence[str]) -> list[str]:
        """Add the nodes of another graph of the same inputs; names of the values of `outputs`."""
        names = {name: name for name in self._inputs}
        for node in graph._needed(list(outputs)):
            for name in node.inputs:
                if name not in names:
                    names[name] = self.constant(graph.constants[name])
            given = [names[name] for name in node.inputs]
            names[node.output] = given[0] if node.op == "Identity" else self.add(node.op, *given)
        return [names[name] for name in outputs]

    def width(self, name: str) -> int:
        """Number of columns of an input."""
        return self._inputs[name]

    def constant(self, values: Any) -> str:
        """Add an array, rounded to float32 (1-D arrays become one row); returns its name."""
        array = np.ascontiguousarray(np.atleast_2d(values), np.float32)
        name = f"c{len(self._constants)}"
        self._constants[name] = array.astype(np.float64)
        return name

    def add(self, op: str, *inputs: str) -> str:
        """Add a node; returns the name of its output."""
        name = f"v{len(self._nodes)}"
        self._nodes.append(Node(op, inputs, name))
        return name

    def linear(self, x: str, matrix: Array, offset: Array | None = None) -> str:
        """``x @ matrix + offset``."""
        product = self.add("MatMul", x, self.constant(matrix))
        return product if offset is None else self.add("Add", product, self.constant(offset))

    def softplus(self, x: str) -> str:
        """``log(1 + exp(x))`` without overflow: ``relu(x) + log(1 + exp(-|x|))``."""
        up, down = self.add("Relu", x), self.add("Relu", self.add("Neg", x))
        small = self.add("Exp", self.add("Neg", self.add("Add", up, down)))
        return self.add("Add", up, self.add("Log", self.add("Add", small, self.constant(1.0))))

    def graph(self, **outputs: tuple[str, int]) -> Graph:
        """The graph; outputs are given as (name of a value, number of columns)."""
        nodes = [Node("Identity", (value,), name) for name, (value, _) in outputs.items()]
        widths = {name: width for name, (_, width) in outputs.items()}
        return Graph(self._inputs, widths, (*self._nodes, *nodes), self._constants)
