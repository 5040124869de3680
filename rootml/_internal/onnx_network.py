"""A network in an ONNX file, run by onnxruntime on the columns of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from rootml._internal.optional import optional_import
from rootml._internal.types import Array
from rootml.errors import CastError, ModelError, SchemaError, UnsupportedModelError

Scores = dict[str, Any]

_DTYPES = {
    "tensor(float16)": np.float16, "tensor(float)": np.float32, "tensor(double)": np.float64,
    "tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_,
}  # fmt: skip


def is_forest(path: Path) -> bool:
    """Whether an ONNX file holds a decision forest, and not a network.

    Raises:
        ModelError: It is no ONNX file.
        UnsupportedModelError: Parts of it are in other files.
    """
    onnx = optional_import("onnx", feature="reading ONNX files", extra="onnx")
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - protobuf has no base class for its errors
        message = f"{path}: this is no ONNX file ({type(error).__name__})"
        raise ModelError(message) from None
    for tensor in model.graph.initializer:
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            message = (
                f"{path}: {tensor.name} is stored in another file; save the model as one file"
            )
            raise UnsupportedModelError(message)
    return any(node.op_type.startswith("TreeEnsemble") for node in model.graph.node)


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a network: a matrix `(rows, width)`, or a vector `(rows,)` of width 0."""

    name: str
    dtype: np.dtype[Any]
    width: int


class Network:
    """Scores rows of columns; safe to call from several threads.

    Attributes:
        inputs: What it takes.
        outputs: Names of what it gives.

    Raises:
        ModelError: onnxruntime cannot read it.
        UnsupportedModelError: Inputs or outputs that are no numbers per row.
    """

    def __init__(self, path: Path) -> None:
        runtime = optional_import("onnxruntime", feature="running a network", extra="onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1  # partitions are scored beside one another
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 - it has a class for each code, of no base
            message = f"{path}: onnxruntime cannot load it: {error}"
            raise ModelError(message) from None
        self.path = path
        self.inputs = [self._input(each) for each in self._session.get_inputs()]
        self.outputs = [self._output(each) for each in self._session.get_outputs()]

    def _input(self, node: Any) -> Input:
        shape, dtype = node.shape, _DTYPES.get(node.type)
        whole = all(isinstance(size, int) and size > 0 for size in shape[1:])
        if dtype is None or not 1 <= len(shape) <= 2 or not whole or isinstance(shape[0], int):
            message = (
                f"{self.path}: the input {node.name!r} is {node.type} of the shape {shape}; "
                "rows of numbers are wanted, (rows, columns) or (rows,), and any number of rows"
            )
            raise UnsupportedModelError(message)
        return Input(node.name, np.dtype(dtype), shape[1] if len(shape) == 2 else 0)

    def _output(self, node: Any) -> str:
        if node.type not in _DTYPES:
            message = (
                f"{self.path}: the output {node.name!r} is {node.type}, not numbers; export "
                "classifiers of scikit-learn with zipmap=False"
            )
            raise UnsupportedModelError(message)
        return str(node.name)

    @property
    def features(self) -> list[str] | None:
        """Names of the features, if the inputs say them: one input for each."""
        one_each = all(each.width <= 1 for each in self.inputs)
        if one_each and len(self.inputs) > 1:
            return [each.name for each in self.inputs]
        return None

    @property
    def num_features(self) -> int:
        """Columns that it takes, over all inputs."""
        return sum(max(1, each.width) for each in self.inputs)

    def scores(self, columns: Sequence[Array], name: str) -> dict[str, Array]:
        """Scores by name, of rows of `columns` in the order of the features.

        Raises:
            SchemaError: An output that has not one row per row.
            CastError: An integer that the dtype of an input does not hold.
        """
        rows = len(columns[0])
        feed, at = {}, 0
        for each in self.inputs:
            width = max(1, each.width)
            parts = [_cast(column, each) for column in columns[at : at + width]]
            stacked = np.stack(parts, axis=1) if each.width else parts[0]
            # some operators refuse empty inputs: then one row is scored, and dropped
            feed[each.name] = stacked if rows else np.zeros((1, *stacked.shape[1:]), each.dtype)
            at += width
        values = dict(zip(self.outputs, self._session.run(None, feed), strict=True))
        return self._named({key: value[:rows] for key, value in values.items()}, rows, name)

    def _named(self, values: Mapping[str, Array], rows: int, name: str) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for output, value in values.items():
            if value.shape[:1] != (rows,) or value.ndim > 2:
                message = f"{self.path}: the output {output!r} is {value.shape} for {rows} rows"
                raise SchemaError(message)
            full = name if len(values) == 1 else f"{name}_{output}"
            if value.ndim == 2 and value.shape[1] != 1:
                found |= {f"{full}_{number}": value[:, number] for number in range(value.shape[1])}
            else:
                found[full] = value.reshape(rows)
        return found


def _cast(column: Array, to: Input) -> Array:
    """A column in the dtype of an input; integers have to be exact in it."""
    cast = column.astype(to.dtype)
    if column.dtype.kind in "biu" and not np.array_equal(cast, column):
        message = f"integers for the input {to.name!r} that {to.dtype} does not hold"
        raise CastError(message)
    if column.dtype.kind == "f" and to.dtype.kind != "f":
        message = f"the input {to.name!r} takes {to.dtype}, not {column.dtype}: write int(...)"
        raise CastError(message)
    return cast


@dataclass(frozen=True, slots=True)
class ElementScores:
    """Scores of events, or of the elements of lists: flattened, scored, and put into lists again.

    Attributes:
        score: From columns of one number per row to named scores.
        names: Columns, in the order that `score` takes.
    """

    score: Callable[[Sequence[Array]], Scores]
    names: Sequence[str]

    def __call__(self, columns: Mapping[str, Any]) -> Scores:
        """Scores of the events of a partition.

        Raises:
            SchemaError: Lists of different lengths in one event.
        """
        lists = [name for name in self.names if isinstance(columns[name], ak.Array)]
        if not lists:
            return self.score([columns[name] for name in self.names])
        counts = ak.to_numpy(ak.num(columns[lists[0]], axis=1))
        flat = [self._flat(columns[name], name, counts, lists[0]) for name in self.names]
        return {name: ak.unflatten(each, counts) for name, each in self.score(flat).items()}

    def _flat(self, column: Any, name: str, counts: Array, first: str) -> Array:
        if not isinstance(column, ak.Array):
            return np.repeat(column, counts)
        mine = ak.to_numpy(ak.num(column, axis=1))
        different = np.flatnonzero(mine != counts)
        if len(different):
            event = different[0]
            message = (
                f"{name!r} has {mine[event]} elements where {first!r} has {counts[event]}: the "
                "features of one score must be lists of the same lengths, or numbers"
            )
            raise SchemaError(message)
        return np.asarray(ak.flatten(column, axis=1))
