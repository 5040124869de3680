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
    "tensor(int8)": np.int8, "tensor(int16)": np.int16, "tensor(int32)": np.int32,
    "tensor(int64)": np.int64, "tensor(uint8)": np.uint8, "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32, "tensor(uint64)": np.uint64, "tensor(bool)": np.bool_,
}  # fmt: skip

_ALONE = 4
"""Rows that are scored alone too: a score must not depend on the other rows."""


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
                f"{path}: {tensor.name} is stored in another file; save the model as one file, in "
                "torch by torch.onnx.export(..., external_data=False)"
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
        self._checked = False  # that rows are scored one by one

    def _input(self, node: Any) -> Input:
        shape, dtype = node.shape, _DTYPES.get(node.type)
        problem = None
        if dtype is None:
            problem = "numbers are wanted, of a type that NumPy has"
        elif not 1 <= len(shape) <= 2:
            problem = (
                "rows of numbers are wanted, (rows, columns) or (rows,); score padded lists with "
                "data.batches(..., inputs={name: Padded(...)}).predict(function) and write_friend"
            )
        elif isinstance(shape[0], int):
            problem = (
                "any number of rows is wanted: export it with a free first axis, in torch by "
                "dynamic_shapes= or dynamic_axes="
            )
        elif len(shape) == 2 and not (isinstance(shape[1], int) and shape[1] > 0):
            problem = "the number of columns must be fixed"
        if dtype is None or problem is not None:
            message = (
                f"{self.path}: the input {node.name!r} is {node.type} of the shape {shape}; "
                f"{problem}"
            )
            raise UnsupportedModelError(message)
        return Input(node.name, np.dtype(dtype), shape[1] if len(shape) == 2 else 0)

    def _output(self, node: Any) -> str:
        if node.type not in _DTYPES:
            message = (
                f"{self.path}: the output {node.name!r} is {node.type}, not numbers; export "
                "classifiers of scikit-learn with zipmap=False, or keep other outputs by "
                "onnx.utils.extract_model(file, new_file, inputs, outputs)"
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
            CastError: A number that the dtype of an input does not hold.
            UnsupportedModelError: Scores of a row depend on other rows.
            ModelError: onnxruntime stops.
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
        values = self._run(feed, max(rows, 1))
        if rows > 1 and not self._checked:
            self._check_alone(feed, values)
            self._checked = True
        return self._named({key: value[:rows] for key, value in values.items()}, name)

    def _run(self, feed: Mapping[str, Array], rows: int) -> dict[str, Array]:
        """The outputs for some rows, one row each."""
        try:
            found = self._session.run(None, dict(feed))
        except Exception as error:  # noqa: BLE001 - it has a class for each code, of no base
            message = f"{self.path}: onnxruntime stops at {rows:,} rows: {error}"
            raise ModelError(message) from None
        values: dict[str, Array] = dict(zip(self.outputs, found, strict=True))
        for output, value in values.items():
            if value.shape[:1] != (rows,) or value.ndim > 2:
                message = f"{self.path}: the output {output!r} is {value.shape} for {rows} rows"
                raise SchemaError(message)
        return values

    def _check_alone(self, feed: Mapping[str, Array], values: Mapping[str, Array]) -> None:
        """See that rows have the scores that they have alone, but for rounding."""
        for row in range(min(_ALONE, len(next(iter(feed.values()))))):
            alone = self._run({name: x[row : row + 1] for name, x in feed.items()}, 1)
            for output, value in values.items():
                if value.dtype.kind != "f":
                    continue
                size = np.abs(value[:_ALONE], dtype=np.float64)
                scale = size.max(where=np.isfinite(size), initial=0)
                if not np.allclose(
                    alone[output][0], value[row], rtol=0, atol=0.01 * scale, equal_nan=True
                ):
                    message = (
                        f"{self.path}: the output {output!r} of a row is {value[row]} among "
                        f"{len(value):,} rows and {alone[output][0]} alone; a score must depend "
                        "on its own row only: export the network in evaluation mode (in torch "
                        "model.eval()), and take no sums over rows"
                    )
                    raise UnsupportedModelError(message)

    def _named(self, values: Mapping[str, Array], name: str) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for output, value in values.items():
            full = name if len(values) == 1 else f"{name}_{output}"
            if value.ndim == 1 or value.shape[1] == 1:
                columns = {full: value.reshape(len(value))}
            else:
                columns = {f"{full}_{n}": value[:, n] for n in range(value.shape[1])}
            for column, scores in columns.items():
                if column in found:
                    message = f"{self.path}: two outputs give scores called {column!r}"
                    raise SchemaError(message)
                half = scores.dtype == np.float16  # which trees do not hold
                found[column] = scores.astype(np.float32) if half else scores
        return found


def _cast(column: Array, to: Input) -> Array:
    """A column in the dtype of an input; integers have to be exact in it.

    Raises:
        CastError: They are not, or a number is too large.
    """
    if column.dtype.kind == "f" and to.dtype.kind != "f":
        how = "compare, as x > 0" if to.dtype.kind == "b" else "write int(...)"
        message = f"the input {to.name!r} takes {to.dtype}, not {column.dtype}: {how}"
        raise CastError(message)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = column.astype(to.dtype)
        if column.dtype.kind == "f":
            lost = np.isfinite(column) & ~np.isfinite(cast)
        else:
            lost = cast.astype(column.dtype) != column
            if to.dtype.kind in "iu":  # of which -1 and 2**64 - 1 have the same bits
                lost |= cast != column
    if lost.any():
        value = column[lost][0].item()
        message = f"the input {to.name!r} takes {to.dtype}, which does not hold {value!r}"
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
