"""The operators behind the trees of an ONNX graph, followed from the scores to the outputs.

Each operator is understood, or the model is refused. A path from the scores to an output of the
graph is a sequence of steps, and the whole sequence is one link::

    scores -> Identity -> Softmax(axis=-1) -> output                  "softmax"
    scores -> Neg -> Exp -> Add(1) -> Reciprocal -> output            "sigmoid"
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt._forest import Link
from rootml.errors import ModelError, UnsupportedModelError

_LINKS: dict[tuple[str, ...], Link] = {
    (): "identity",
    ("ArgMax", "Cast"): "argmax",
    ("Exp",): "exp",
    ("Greater 0", "Cast"): "hinge",
    ("Neg", "Exp", "Add 1", "Reciprocal"): "sigmoid",
    ("Sigmoid",): "sigmoid",
    ("Softmax",): "softmax",
    ("Softplus",): "softplus",
    ("Tanh",): "tanh",
}
OPERATORS = {
    "Add", "ArgMax", "Cast", "Exp", "Greater", "Identity", "Mul", "Neg", "Reciprocal", "Sigmoid",
    "Softmax", "Softplus", "Sum", "Tanh", "ZipMap",
}  # fmt: skip
"""Names of the operators that may follow the trees."""
_UNARY = {"Exp", "Neg", "Reciprocal", "Sigmoid", "Softplus", "Tanh"}
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}


@dataclass
class _Tail:
    """The graph behind the node that evaluates the trees."""

    onnx: Any
    graph: Any
    opset: int
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        self.outputs = {str(one.name) for one in self.graph.output}
        self.constants = {str(one.name): one for one in self.graph.initializer}
        self.users: dict[str, list[Any]] = {}
        for node in self.graph.node:
            for name in set(node.input):
                self.users.setdefault(str(name), []).append(node)

    def paths(self, scores: str) -> Iterator[tuple[str, ...]]:
        """The steps from `scores` to each output that depends on them."""
        waiting: list[tuple[str, tuple[str, ...]]] = [(scores, ())]
        for _ in range(len(self.graph.node) + 1):  # each node takes one value and gives one
            if not waiting:
                return
            name, steps = waiting.pop()
            if name in self.outputs:
                yield steps
            for node in self.users.get(name, ()):
                step = self.step(node, name, steps)
                waiting.append((str(node.output[0]), (*steps, step) if step else steps))
        message = "an ONNX graph in which a value depends on itself"
        raise ModelError(message)

    def step(self, node: Any, value: str, before: tuple[str, ...]) -> str:
        """A node as a step; "" where it changes nothing."""
        kind = str(node.op_type)
        if node.domain not in _DOMAINS or len(node.output) != 1:
            message = f"the operator {kind} of {node.domain or 'ONNX'} behind the trees"
            raise UnsupportedModelError(message)
        others = [str(name) for name in node.input if name != value]
        if kind in {"Identity", "ZipMap"} and not others:
            return ""
        if kind == "Cast":
            return self.cast(node, before)
        if kind in _UNARY and len(node.input) == 1:
            return kind
        if kind in {"Softmax", "ArgMax"}:
            return self.along_rows(node)
        if kind in {"Add", "Greater", "Mul"} and len(others) == 1 and len(node.input) == 2:
            number = self.number(others[0])
            if kind == "Mul" and number == 1:
                return ""
            if number is not None and (kind != "Greater" or node.input[0] == value):
                return f"{kind} {number:.17g}"
        message = (
            f"the operator {kind} behind the trees of an ONNX graph is not supported; "
            f"supported: {', '.join(sorted(OPERATORS))}, Add, Greater and Mul with constants"
        )
        raise UnsupportedModelError(message)

    def cast(self, node: Any, before: tuple[str, ...]) -> str:
        to = {one.name: one.i for one in node.attribute}.get("to")
        floats = {
            self.onnx.TensorProto.FLOAT: np.dtype(np.float32),
            self.onnx.TensorProto.DOUBLE: np.dtype(np.float64),
        }
        if before and before[-1] in {"ArgMax", "Greater 0"} and to in floats:
            return "Cast"
        if floats.get(to) == self.dtype:
            return ""
        message = f"a Cast behind the trees of an ONNX graph to another type than {self.dtype}"
        raise UnsupportedModelError(message)

    def along_rows(self, node: Any) -> str:
        """Softmax and ArgMax go along the outputs of an event, the last axis of two."""
        given = {one.name: one.i for one in node.attribute}
        kind = str(node.op_type)
        default = 0 if kind == "ArgMax" else 1 if self.opset < 13 else -1
        axis = given.get("axis", default)
        plain = given.get("keepdims", 1) == 1 and given.get("select_last_index", 0) == 0
        if axis not in {1, -1} or not plain:
            message = f"{kind} behind the trees with {given or {'axis': axis}}: axis must be 1"
            raise UnsupportedModelError(message)
        return kind

    def number(self, name: str) -> float | None:
        """The number in a constant; None if it does not hold exactly one."""
        found = self.constants.get(name)
        if found is None or found.external_data:
            return None
        try:
            values: NDArray[Any] = self.onnx.numpy_helper.to_array(found)
        except Exception as error:
            message = f"the constant {name!r:.40} is a damaged tensor"
            raise ModelError(message) from error
        return (
            float(values.ravel()[0]) if values.size == 1 and values.dtype.kind in "fiu" else None
        )


@dataclass(frozen=True)
class Behind:
    """What the operators behind the trees do: ``link(scores * factor + summand)``."""

    factor: float
    summand: float
    link: Link


def summed(graph: Any, scores: list[str]) -> str:
    """The value that is the sum of the scores of all ensembles, each of them once.

    Raises:
        UnsupportedModelError: No value is, or a part of the sum is used elsewhere.
    """
    parts = {name: frozenset([name]) for name in scores}
    inside = set()
    for node in graph.node:
        names = [str(name) for name in node.input]
        if len(scores) == 1 or node.op_type not in {"Add", "Sum"} or not set(names) <= set(parts):
            continue
        found = frozenset().union(*(parts[name] for name in names))
        if len(found) == sum(len(parts[name]) for name in names):
            parts[str(node.output[0])] = found
            inside |= set(names)
    whole = [name for name, each in parts.items() if len(each) == len(scores)]
    users = [str(name) for node in graph.node for name in node.input]
    shown = {str(one.name) for one in graph.output}
    if len(whole) != 1 or any(users.count(name) > 1 or name in shown for name in inside):
        message = f"{len(scores)} tree ensembles whose scores are not one sum"
        raise UnsupportedModelError(message)
    return whole[0]


def behind(onnx: Any, model: Any, scores: str, dtype: np.dtype[Any]) -> Behind:
    """What the operators behind the trees do with the scores.

    Args:
        model: The ModelProto.
        scores: Name of the scores.
        dtype: Of the scores.

    Raises:
        UnsupportedModelError: An operator or a sequence of operators that is not understood, or
            outputs that differ.
    """
    opset = max([one.version for one in model.opset_import if not one.domain], default=13)
    tail = _Tail(onnx, model.graph, opset, dtype)
    scaled, links = set(), set()
    for steps in tail.paths(scores):
        factor, summand, rest = _scaled(steps)
        if rest not in _LINKS:
            message = f"{', '.join(steps)} behind the trees of an ONNX graph is not supported"
            raise UnsupportedModelError(message)
        scaled.add((factor, summand))
        links.add(_LINKS[rest])
    links -= {"identity"}
    if len(links) > 1 or len(scaled) > 1:
        message = f"an ONNX graph whose outputs have different links: {', '.join(sorted(links))}"
        raise UnsupportedModelError(message)
    if not scaled:
        message = "the scores of the trees reach no output of the ONNX graph"
        raise ModelError(message)
    return Behind(*scaled.pop(), links.pop() if links else "identity")


def _scaled(steps: tuple[str, ...]) -> tuple[float, float, tuple[str, ...]]:
    """Factor and summand of the first steps, and the steps that remain."""
    factor, summand = 1.0, 0.0
    for i, step in enumerate(steps):
        kind, _, number = step.partition(" ")
        if kind not in {"Add", "Mul"}:
            return factor, summand, steps[i:]
        if kind == "Add":
            summand += float(number)
            continue
        if not np.isfinite(float(number)) or not float(number):
            message = f"scores that are multiplied by {number}"
            raise UnsupportedModelError(message)
        factor, summand = factor * float(number), summand * float(number)
    return factor, summand, ()
