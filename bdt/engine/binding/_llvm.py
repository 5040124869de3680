"""The compiled engine: tables of one forest, and calls of the kernels for its shape."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import itertools
import math
import os
import threading
import time
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml._internal.machine_code import address
from rootml.bdt._forest import Forest
from rootml.bdt._inputs import Table
from rootml.bdt._links import predictions
from rootml.bdt._threads import call_helpers
from rootml.bdt.engine._target import SMALL_BLOCK, Target
from rootml.bdt.engine.binding import _jit
from rootml.bdt.engine.binding._host import host_target
from rootml.bdt.engine.codegen._emit_block import (
    FEW,
    JOB,
    MODEL,
    PART,
    WORK,
    KernelShape,
    emit_few,
    emit_predict,
    emit_rows_function,
    scores_of,
)
from rootml.bdt.engine.codegen._emit_lanes import LANES, lane_bytes, tree_lanes
from rootml.bdt.engine.codegen._emit_leaves import SumOrder, leaf_layout, sum_order
from rootml.bdt.engine.codegen._emit_links import emit_exp, emit_link
from rootml.bdt.engine.codegen._emit_predicates import PLANES, TABLE
from rootml.bdt.engine.codegen._emit_share import RANGE, SHARED, emit_share, emit_wait
from rootml.bdt.engine.codegen._ir import ir
from rootml.bdt.engine.tables._lanes import make_lanes
from rootml.bdt.engine.tables._plan import CACHE, Plan, make_plan
from rootml.bdt.engine.tables._predicates import MAX_FUNCTION_BYTES, Predicates, strict_nodes
from rootml.bdt.engine.tables._traversal import can_traverse, make_traversal
from rootml.bdt.engine.tables._trees import MAX_NUMBERED, LeafLayout, Program, make_program
from rootml.errors import UnsupportedModelError

_SPARE = max(4, os.cpu_count() or 1)
WORTH_A_THREAD = 50e-6
"""Seconds of work that are worth one more thread: one that waits begins after some 30 us."""
MEASURED = 4
"""Blocks by which the time of a row is measured."""
_LIBM = ("lightgbm", "xgboost")
"""Libraries that call the C library's exponential."""
MAX_WORKSPACE_BYTES = 1 << 31
"""Bytes of work space for a thread; offsets within are 32 bits wide."""
MAX_FEW_ROWS = 16
"""Up to this many rows, lanes are trees instead of events."""
MAX_SMALL_ROWS = 256
"""Up to this many rows, blocks are small."""
MAX_LOOKUPS = 1 << 14
"""Without lookups of 64 bytes, traversals are faster for one event where a tree of so many nodes
would be looked up in tables of so many entries (product of both; measured with AVX2)."""
_NONE = np.zeros(0, np.int64)


class Workspace:
    """Arrays that begin at a multiple of 64, as an array of their addresses.

    Attributes:
        few: Input and scores of up to `MAX_FEW_ROWS` rows, with their dtypes and shapes.
        few_job: Record of `FEW` for a call with few rows.
        few_pointer: Its address.
        few_rows: The number of rows in it.
        few_views: The parts of `few` for so many rows; scores of one output have one dimension.
        job: Record of `JOB` for a call with few rows.
        job_pointer: Its address.
    """

    def __init__(self, *sizes: int) -> None:
        starts = np.cumsum([0, *(-(-max(size, 1) // 64) * 64 for size in sizes)])
        raw = np.zeros(int(starts[-1]) + 64, np.uint8)
        first = -raw.ctypes.data % 64
        self._raw = raw
        self.few: tuple[NDArray[Any], ...] = ()
        self.few_job = np.zeros(len(FEW), np.int64)
        self.few_pointer = self.few_job.ctypes.data
        self.few_rows = 0
        self.few_views: tuple[NDArray[Any], ...] = ()
        self.parts = [raw[first + a : first + b] for a, b in itertools.pairwise(starts)]
        self.addresses = np.array([part.ctypes.data for part in self.parts], np.int64)
        self.pointer = self.addresses.ctypes.data
        self.job = np.zeros(len(JOB), np.int64)
        self.job_pointer = self.job.ctypes.data


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

    def __init__(
        self,
        forest: Forest,
        *,
        isa: str | None = None,
        method: str | None = None,
        parts: int = 0,
        block: int = 0,
    ) -> None:
        self._options: dict[str, Any] = {"isa": isa, "method": method, "parts": parts}
        self._small: LlvmEngine | None = None
        self._small_lock = threading.Lock()
        target = host_target(isa)
        self.target = dataclasses.replace(target, block=block or target.best_block)
        self.prepare(forest, method, parts, only_blocks=block > 0)
        self._model = self._tables()
        self._model_pointer = self._model.ctypes.data
        self._spare: deque[Workspace] = deque([self._new_memory()], maxlen=_SPARE)
        library = _jit.load(
            lambda: kernel_ir(self.shape, self.target), self.shape.key, self.target
        )
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self._predict = library.function("predict", None, pointer, pointer, pointer)
        self._share = library.function("share", number, *[pointer] * 3, number)
        self._seconds_per_row = 1e-8 + 1e-10 * forest.num_trees
        self._wait = library.function("wait", number, pointer, number)
        self._exp = library.function("exp_many", None, pointer, pointer, number)
        self._features, self._outputs = forest.num_features, forest.num_outputs
        self._dtype, self._input_dtype = forest.dtype, forest.input_dtype
        self._linked = forest.link != "identity"
        self._link = None
        if self._has_link:
            real = ctypes.c_float if forest.dtype.itemsize == 4 else ctypes.c_double
            self._link = library.function("link", None, pointer, number, number, real)
        self._scale = forest.link_scale
        self._score_few = self._predict_few = None
        if self.shape.rows:
            self._score_few = library.function("score_few", None, pointer)
            if self._has_link:
                self._predict_few = library.function("predict_few", None, pointer)

    def prepare(
        self, forest: Forest, method: str | None, parts: int = 0, *, only_blocks: bool = False
    ) -> None:
        """The plan, the tables and the shape of the kernels; runs no machine code."""
        self._forest = forest
        self._alive: list[Any] = []
        nodes = strict_nodes(forest)
        plan = make_plan(forest, nodes, method, parts)
        self._traversal = None
        if can_traverse(forest) and not (only_blocks and plan.parts):
            self._traversal = make_traversal(forest, nodes)
        self._lanes = None
        if plan.parts and not only_blocks:
            most = None if self.target.vbmi else MAX_LOOKUPS
            self._lanes = make_lanes(forest, nodes, tree_lanes(self.target), most)
        order, leaves = self._layout(plan)
        numbered = self._has_numbers(plan)
        program = functools.partial(
            make_program, leaves=leaves, mask_bytes=self.target.block // 8, numbered=numbered
        )
        self._parts = [
            (tests, program(forest, nodes, tests.row, plan.kinds, trees))
            for trees, tests in plan.parts
        ]
        self.shape = self._shape(order, leaves, numbered=numbered)

    def _has_numbers(self, plan: Plan) -> bool:
        """Whether nodes name masks by numbers: 6 % faster where reads bound the trees, as masks
        and tables do not fit the second-level cache together; up to 1 % slower where they do, and
        with AVX2, which is bound by its arithmetic.
        """
        rows = max((tests.num_rows for _, tests in plan.parts), default=0)
        size = rows * self.target.block // 8 + 4 * self._forest.num_nodes
        return self.target.avx512 and size > CACHE and rows <= MAX_NUMBERED

    def _layout(self, plan: Plan) -> tuple[SumOrder, LeafLayout]:
        dtype = self._forest.dtype
        if not plan.parts:
            return SumOrder(
                dtype, by_words=False, block=self.target.block, gfni=False, natural=True
            ), LeafLayout(dtype, 0, 16)
        order = sum_order(self.target, dtype, plan.max_bits)
        return order, leaf_layout(self.target, dtype, order.by_words)

    def _shape(self, order: SumOrder, leaves: LeafLayout, *, numbered: bool) -> KernelShape:
        forest = self._forest
        tests = [tests for tests, _ in self._parts]
        return KernelShape(
            input_dtype=forest.input_dtype,
            order=order,
            leaves=leaves,
            levels=frozenset().union(*(each.levels for each in tests)),
            kinds=frozenset().union(*(program.kinds for _, program in self._parts)),
            category_rule=forest.category_rule if forest.has_categories else "",
            marks_missing=not math.isnan(forest.missing) or bool(forest.zero_missing.any()),
            finish=forest.divisor != 1.0 or not forest.base_first,
            traversal=not self._parts,
            rows=self._traversal is not None,
            lanes=(self._lanes.depth, self._lanes.entries) if self._lanes else None,
            sets=forest.has_categories,
            vectors=forest.leaf_width > 1,
            numbered=numbered,
            link=(forest.link, forest.library) if self._has_link else ("", ""),
        )

    @property
    def _has_link(self) -> bool:
        return self._forest.link in {"sigmoid", "softmax"} and self._forest.library in _LIBM

    # --- tables ----------------------------------------------------------------------------------

    def _address(self, array: NDArray[Any]) -> int:
        made = aligned(array)
        self._alive.append(made)
        return int(made.ctypes.data)

    def _record(self, names: tuple[str, ...], values: dict[str, int]) -> NDArray[np.int64]:
        return np.array([values[name] for name in names], np.int64)

    def _part(self, tests: Predicates, program: Program) -> NDArray[np.int64]:
        row = self.target.block // 8
        offsets = tests.bitmaps[:, :MAX_FUNCTION_BYTES].astype(np.uint16) * np.uint16(row)
        arrays = {
            "groups": tests.groups, "heaps": tests.heaps, "runs": tests.runs, "lows": tests.lows,
            "direct": tests.direct, "bitmaps": tests.bitmaps, "set_offsets": offsets,
            "category_rows": tests.category_rows, "segments": program.segments,
            "nodes": program.nodes, "leaves": program.leaves,
        }  # fmt: skip
        values = {name: self._address(array) for name, array in arrays.items()}
        values |= {"num_groups": len(tests.groups), "num_segments": len(program.segments)}
        values["width"] = self._forest.leaf_width
        return self._record(PART, values)

    def _tables(self) -> NDArray[np.int64]:
        forest = self._forest
        used = np.unique(forest.feature[forest.feature >= 0]).astype(np.int64)
        base, zeros = forest.base, np.zeros_like(forest.base)
        arrays = {
            "parts": np.concatenate([_NONE, *(self._part(*part) for part in self._parts)]),
            "used": used,
            "base": base if forest.base_first else zeros,
            "divisor": np.array([forest.divisor], forest.dtype),
            "missing": np.array([forest.missing], forest.input_dtype),
            "zero": forest.zero_missing.astype(np.int64),
        }
        arrays["late"] = np.full_like(base, -0.0) if forest.base_first else base
        if self._traversal is not None:
            arrays |= {f"traversal_{field.name}": getattr(self._traversal, field.name)
                       for field in dataclasses.fields(self._traversal)}  # fmt: skip
        values = dict.fromkeys(MODEL, 0)
        values |= {name: self._address(array) for name, array in arrays.items()}
        values |= {
            "trees": forest.num_trees, "width": forest.leaf_width,
            "features": forest.num_features, "outputs": forest.num_outputs,
            "num_parts": len(self._parts), "num_used": len(used),
        }  # fmt: skip
        if self._lanes is not None:
            tables = {name: self._address(getattr(self._lanes, name)) for name in LANES[:-1]}
            record = self._record(LANES, {**tables, "num_entries": len(self._lanes.columns)})
            values["lanes"] = self._address(record)
        model = self._record(MODEL, values)
        self._alive.append(model)
        return model

    def _memory(self, *, last: bool = True) -> Workspace:
        """Work space of one thread: a spare one (the last or the first), or a new one."""
        try:
            return self._spare.pop() if last else self._spare.popleft()
        except IndexError:
            return self._new_memory()

    def _new_memory(self) -> Workspace:
        forest, block = self._forest, self.target.block
        row, size = block // 8, forest.dtype.itemsize * block
        sizes = {
            "columns": forest.num_features * block * forest.input_dtype.itemsize + 64 * 16,
            "planes": PLANES * row,
            "table": TABLE * row,
            "bytes": 2 * block + row,
            "functions": 256 * row if forest.has_categories else 0,
            "masks": max((tests.num_rows for tests, _ in self._parts), default=0) * row,
            "sums": forest.num_outputs * size,
            "slots": max((program.slots for _, program in self._parts), default=1) * row,
            "ordered": size,
            "leaf": lane_bytes(self._lanes.depth) if self._lanes else 8 * (forest.num_trees + 8),
        }
        if sum(sizes.values()) > MAX_WORKSPACE_BYTES:
            message = (
                f"{self._forest.num_features:,} features, {self._forest.num_outputs:,} outputs: "
                f"each thread would need {sum(sizes.values()) / 1e9:.0f} GB; engine='numpy' may do"
            )
            raise UnsupportedModelError(message)
        few = MAX_FEW_ROWS * forest.num_features * forest.input_dtype.itemsize
        memory = Workspace(
            *(sizes[name] for name in WORK),
            few,
            MAX_FEW_ROWS * forest.num_outputs * forest.dtype.itemsize,
        )
        memory.parts[WORK.index("slots")][:row] = 255
        memory.few = tuple(
            part.view(dtype)[: MAX_FEW_ROWS * width].reshape(MAX_FEW_ROWS, width)
            for part, dtype, width in zip(
                memory.parts[-2:],
                (forest.input_dtype, forest.dtype),
                (forest.num_features, forest.num_outputs),
                strict=True,
            )
        )
        given, made = memory.addresses[-2:].tolist()
        job = (self._model_pointer, memory.pointer, given, 0, made, forest.num_outputs, 0)
        memory.few_job[:] = job
        memory.few_job[-1:].view(forest.dtype)[0] = forest.link_scale
        return memory

    # --- calls -----------------------------------------------------------------------------------

    def margins(self, table: Table, out: NDArray[Any]) -> None:
        """Margins of all rows into `out`, C-contiguous, shape (rows, outputs)."""
        if table.num_rows <= MAX_SMALL_ROWS and self.target.block > SMALL_BLOCK and self._parts:
            self._small_engine().margins(table, out)
            return
        memory = self._memory()
        job = table.job(out)
        self._predict(self._model_pointer, memory.pointer, job.ctypes.data)
        self._spare.append(memory)

    def can_share(self, *, link: bool) -> bool:
        """Whether `share` can make margins, or with `link` predictions."""
        return not link or self._link is not None

    def share(self, table: Table, out: NDArray[Any], *, threads: int, link: bool) -> None:
        """Margins, or with `link` predictions, of all rows into `out`, in up to `threads` threads.

        Returns when all is done. Threads that wake too late find nothing to do.
        """
        rows, clock = table.num_rows, time.perf_counter
        threads = max(1, min(threads, int(rows * self._seconds_per_row / WORTH_A_THREAD)))
        raw = np.zeros(len(SHARED) + RANGE * threads + 8, np.int64)
        shared_at = -(-address(raw) // 64) * 64
        shared = raw[(shared_at - address(raw)) // 8 :]
        shared[: len(JOB)] = table.job(out)
        shared[len(JOB) : len(JOB) + 2] = threads, link
        shared[len(JOB) + 2 : len(JOB) + 3].view(self._dtype)[0] = self._scale

        def work(own: int) -> None:
            memory = self._memory(last=own == 0)  # which is in its core's cache
            start = clock()
            done = self._share(self._model_pointer, memory.pointer, shared_at, own)
            if done > MEASURED * self.target.block:
                self._seconds_per_row = (clock() - start) / done
            (self._spare.append if own == 0 else self._spare.appendleft)(memory)
            _ = table, out, raw  # kept until here

        finish = call_helpers(work, threads - 1)
        work(0)
        if self._wait(shared_at, rows) < rows:
            finish()

    def _small_engine(self) -> LlvmEngine:
        """The same with smaller blocks, compiled when it is needed first."""
        with self._small_lock:
            if self._small is None:
                self._small = LlvmEngine(self._forest, block=SMALL_BLOCK, **self._options)
            return self._small

    def score_few(self, data: Any, link: bool) -> NDArray[Any] | None:
        """Scores of a few rows without the checks that other inputs need.

        Rows are lanes up to 16 rows, a small block up to 256. None for more rows, and for all but
        arrays of the forest's input dtype.
        """
        if type(data) is not np.ndarray or data.dtype != self._input_dtype or data.ndim != 2:
            return None
        rows, features = data.shape
        if features != self._features or not 0 < rows <= MAX_SMALL_ROWS:
            return None
        if rows > MAX_FEW_ROWS or self._score_few is None:
            return self._score_small(data, rows, link) if self._parts else None
        memory = self._memory()
        if memory.few_rows != rows:
            self._expect(memory, rows)
        x, scores = memory.few_views
        x[...] = data
        score = self._predict_few if link and self._predict_few else self._score_few
        score(memory.few_pointer)
        made: NDArray[Any] = scores.copy()
        self._spare.append(memory)
        if link and self._linked and self._predict_few is None:
            return self._shaped(made.reshape(rows, -1), link=True)
        return made

    def _expect(self, memory: Workspace, rows: int) -> None:
        """Make the record and the views of a work space fit a number of rows."""
        memory.few_rows = memory.few_job[FEW.index("rows")] = rows
        x, scores = memory.few
        memory.few_views = x[:rows], scores[:rows, 0] if self._outputs == 1 else scores[:rows]

    def _score_small(self, data: NDArray[Any], rows: int, link: bool) -> NDArray[Any] | None:
        size, (stride, step) = data.itemsize, data.strides
        if step != size or stride < size:
            return None
        engine = self._small_engine() if self.target.block > SMALL_BLOCK else self
        made = np.empty((rows, self._outputs), self._dtype)
        out = made.ctypes.data
        memory = engine._memory()
        job = (rows, 1, size, data.ctypes.data, stride, 0, 0, 0, out)
        memory.job[:] = job
        engine._predict(engine._model_pointer, memory.pointer, memory.job_pointer)
        engine._spare.append(memory)
        if link and self._link is not None:
            self._link(out, rows, self._outputs, self._scale)
        return self._shaped(made, link=link and self._link is None)

    def _shaped(self, margins: NDArray[Any], *, link: bool) -> NDArray[Any]:
        """Shape (rows,) for one output; predictions where kernels have no link for them."""
        if link and self._linked:
            margins = predictions(margins, self._forest, self.exp)
        return margins[:, 0] if margins.shape[1] == 1 else margins

    def predictions(self, margins: NDArray[Any]) -> NDArray[Any]:
        """From margins, shape (rows, outputs), which may be overwritten."""
        if self._link is None:
            return predictions(margins, self._forest, self.exp)
        self._link(margins.ctypes.data, *margins.shape, self._scale)
        return margins

    def exp(self, x: NDArray[Any]) -> NDArray[Any]:
        """The C library's exponential of the forest's float type."""
        given = np.ascontiguousarray(x, self._forest.dtype)
        made = np.empty_like(given)
        self._exp(given.ctypes.data, made.ctypes.data, given.size)
        return made


def kernel_ir(shape: KernelShape, target: Target) -> str:
    """The module of kernels for a shape, as LLVM's assembly."""
    module = ir.Module("rootml.bdt")
    module.triple = target.triple
    blocks = emit_predict(module, target, shape)
    rows = emit_rows_function(module, target, shape) if shape.rows else None
    emit_exp(module, target, shape.order.kind.element)
    link = None
    if shape.link[0]:
        link = emit_link(module, target, shape.order.kind.element, *shape.link)
    emit_share(module, target, blocks, link, functools.partial(scores_of, shape=shape))
    emit_wait(module, target)
    if rows is not None:
        emit_few(module, target, shape, rows, None)
        if link is not None:
            emit_few(module, target, shape, rows, link)
    return str(module)
