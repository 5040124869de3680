"""The compiled engine: tables of one forest, and calls of the kernels for its shape."""

from __future__ import annotations

import ctypes
import itertools
import math
from collections import deque
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from rootml.bdt._forest import Forest
from rootml.bdt._inputs import Table
from rootml.bdt.engine import _jit
from rootml.bdt.engine._code import BLOCK, ROW
from rootml.bdt.engine._emit_block import MODEL, PART, WORK, Shape, emit_predict
from rootml.bdt.engine._emit_links import emit_exp
from rootml.bdt.engine._emit_tests import PLANES_BYTES, TABLE_BYTES
from rootml.bdt.engine._emit_trees import leaves_of, order_of
from rootml.bdt.engine._target import Target, host_target
from rootml.bdt.engine._tests import Tests, distinct_tests, strict_nodes
from rootml.bdt.engine._trees import IRREGULAR, Program, make_program, tree_kinds

_SPARE = 4


class Memory:
    """Arrays that begin at a multiple of 64, as an array of their addresses."""

    def __init__(self, *sizes: int) -> None:
        starts = np.cumsum([0, *(-(-max(size, 1) // 64) * 64 for size in sizes)])
        raw = np.zeros(int(starts[-1]) + 64, np.uint8)
        first = -raw.ctypes.data % 64
        self._raw = raw
        self.parts = [raw[first + a : first + b] for a, b in itertools.pairwise(starts)]
        self.addresses = np.array([part.ctypes.data for part in self.parts], np.int64)
        self.pointer = self.addresses.ctypes.data


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """A copy that begins at a multiple of 64, at least one vector long."""
    raw = np.zeros(array.nbytes + 128, np.uint8)
    first = -raw.ctypes.data % 64
    made = raw[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    made[...] = array
    return made


class LlvmEngine:
    """Scores with compiled kernels; safe to call from several threads at once."""

    name = "llvm"

    def __init__(self, forest: Forest, *, isa: str | None = None) -> None:
        self.target = host_target(isa)
        self._forest = forest
        self._keep: list[Any] = []
        nodes = strict_nodes(forest)
        kinds = tree_kinds(forest)
        most_bits = int(np.where(kinds > IRREGULAR, 8, kinds).max(initial=1))
        self._order = order_of(self.target, forest.dtype, most_bits)
        leaves = leaves_of(self.target, forest.dtype, self._order.by_words)
        every = np.ones(len(nodes.index), np.bool_)
        tests = distinct_tests(forest, nodes, every)
        trees = np.arange(forest.num_trees)
        program = make_program(forest, nodes, tests.row, kinds, trees, leaves)
        self._parts = [(tests, program)]
        finish = forest.divisor != 1.0 or not forest.base_first
        blank = not math.isnan(forest.missing) or bool(forest.zero_missing.any())
        self.shape = Shape(
            forest.input_dtype, self._order, leaves, tests.levels, program.kinds,
            forest.category_rule if -1 in tests.levels else "", blank, finish,
        )  # fmt: skip
        self._model = self._tables()
        self._spare: deque[Memory] = deque(maxlen=_SPARE)
        library = _jit.load(kernel_ir(self.shape, self.target), self.target)
        self._predict = library.function("predict", None, *[ctypes.c_void_p] * 3)
        self._exp = library.function(
            "exp_many", None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64
        )

    # --- tables ----------------------------------------------------------------------------------

    def _address(self, array: NDArray[Any]) -> int:
        made = aligned(array)
        self._keep.append(made)
        return int(made.ctypes.data)

    def _record(self, names: tuple[str, ...], values: dict[str, int]) -> NDArray[np.int64]:
        return np.array([values[name] for name in names], np.int64)

    def _part(self, tests: Tests, program: Program) -> NDArray[np.int64]:
        arrays = {
            "groups": tests.groups, "heaps": tests.heaps, "runs": tests.runs, "lows": tests.lows,
            "direct": tests.direct, "bitmaps": tests.bitmaps,
            "category_rows": tests.category_rows, "segments": program.segments,
            "nodes": program.nodes, "leaves": program.leaves,
        }  # fmt: skip
        values = {name: self._address(array) for name, array in arrays.items()}
        values |= {"num_groups": len(tests.groups), "num_segments": len(program.segments)}
        return self._record(PART, values)

    def _tables(self) -> NDArray[np.int64]:
        forest = self._forest
        used = np.unique(np.concatenate([tests.groups[:, 0] for tests, _ in self._parts]))
        base, zeros = forest.base, np.zeros_like(forest.base)
        arrays = {
            "parts": np.stack([self._part(*part) for part in self._parts]),
            "used": used,
            "base": base if forest.base_first else zeros,
            "divisor": np.array([forest.divisor], forest.dtype),
            "missing": np.array([forest.missing], forest.input_dtype),
            "zero": forest.zero_missing.astype(np.int64),
        }
        arrays["late"] = np.full_like(base, -0.0) if forest.base_first else base
        values = {name: self._address(array) for name, array in arrays.items()}
        values |= {
            "features": forest.num_features, "outputs": forest.num_outputs,
            "num_parts": len(self._parts), "num_used": len(used),
        }  # fmt: skip
        model = self._record(MODEL, values)
        self._keep.append(model)
        return model

    def _memory(self) -> Memory:
        """Work space of one thread: an old one, or new."""
        try:
            return self._spare.pop()
        except IndexError:
            return self._new_memory()

    def _new_memory(self) -> Memory:
        forest = self._forest
        size = forest.dtype.itemsize * BLOCK
        sizes = {
            "columns": forest.num_features * BLOCK * forest.input_dtype.itemsize + 64 * 16,
            "planes": PLANES_BYTES,
            "table": TABLE_BYTES,
            "bytes": 2 * BLOCK + ROW,
            "masks": max(tests.num_rows for tests, _ in self._parts) * ROW,
            "sums": forest.num_outputs * size,
            "slots": max(program.slots for _, program in self._parts) * ROW,
            "ordered": size,
        }
        memory = Memory(*(sizes[name] for name in WORK))
        memory.parts[WORK.index("slots")][:ROW] = 255
        return memory

    # --- calls -----------------------------------------------------------------------------------

    def margins(self, table: Table, out: NDArray[Any]) -> None:
        """Margins of all rows into `out`, C-contiguous, shape (rows, outputs)."""
        memory = self._memory()
        job = table.job(out)
        self._predict(self._model.ctypes.data, memory.pointer, job.ctypes.data)
        self._spare.append(memory)

    def exp(self, x: NDArray[Any]) -> NDArray[Any]:
        """The C library's exponential of the forest's float type."""
        given = np.ascontiguousarray(x, self._forest.dtype)
        made = np.empty_like(given)
        self._exp(given.ctypes.data, made.ctypes.data, given.size)
        return made


def kernel_ir(shape: Shape, target: Target) -> str:
    """The module of kernels for a shape, as LLVM's assembly."""
    module = ir.Module("rootml.bdt")
    module.triple = target.triple
    emit_predict(module, target, shape)
    emit_exp(module, target, shape.order.kind.element)
    return str(module)
