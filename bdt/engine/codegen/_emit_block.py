"""Emitter: the function that scores blocks of 512 events, from the kernels of all stages.

::

    blocks(model, work, job, first, stop):                             # predict: all of the job
        for each block of 512 events from `first` to `stop`:
            columns = the block's columns in the dtype of the thresholds   # `_emit_inputs`
            columns: values that count as missing -> NaN
            sums = base                                                    # or 0
            for each part of the forest:
                masks = one bit per event and distinct predicate           # `_emit_predicates`
                                 # meanwhile the next block's rows are fetched from memory
                sums += leaves, tree by tree                               # `_emit_trees`
            out = sums in the order of the events                          # divided, base added

All tables are data: a kernel serves every forest of the same `KernelShape`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootml.bdt.engine._target import Target
from rootml.bdt.engine.codegen._code import F32, F64, I32, I64, PTR, Code, Function, Type, Value
from rootml.bdt.engine.codegen._emit_inputs import (
    emit_column,
    emit_mark_missing,
    emit_rows,
    size_of,
)
from rootml.bdt.engine.codegen._emit_lanes import emit_lanes
from rootml.bdt.engine.codegen._emit_leaves import SumOrder
from rootml.bdt.engine.codegen._emit_predicates import (
    emit_categories,
    emit_category_bytes,
    emit_direct,
    emit_functions,
    emit_rank,
    emit_runs,
    emit_sets,
    emit_table,
    ranked_at_once,
)  # fmt: skip
from rootml.bdt.engine.codegen._emit_traversal import (
    emit_set_test,
    emit_traverse_block,
    emit_traverse_rows,
)
from rootml.bdt.engine.codegen._emit_trees import emit_full, emit_irregular
from rootml.bdt.engine.tables._predicates import MAX_FUNCTION_BYTES
from rootml.bdt.engine.tables._trees import IRREGULAR, LeafLayout

MODEL = (
    "features", "outputs", "parts", "num_parts", "used", "num_used", "base", "late", "divisor",
    "missing", "zero", "traversal_nodes", "traversal_words", "traversal_values",
    "traversal_depths", "traversal_together", "traversal_outputs", "trees", "width", "lanes",
)  # fmt: skip
"""Elements of the array `model`: numbers, and addresses of arrays."""
PART = (
    "groups", "num_groups", "heaps", "runs", "lows", "direct", "bitmaps", "set_offsets",
    "category_rows", "segments", "num_segments", "nodes", "leaves", "width",
)  # fmt: skip
WORK = (
    "columns",
    "planes",
    "table",
    "bytes",
    "functions",
    "masks",
    "sums",
    "slots",
    "ordered",
    "leaf",
)
"""Workspace of one thread; 64-byte aligned."""
JOB = ("count", "by_rows", "size", "x", "stride", "columns", "strides", "sizes", "out")
"""Input and output: rows of `size`-byte floats, or columns each with address, stride, size."""
FEW = ("model", "work", "x", "rows", "out", "outputs", "scale")
"""A call with few rows: addresses, counts, and a float: the scale of the link."""


@dataclass(frozen=True)
class KernelShape:
    """Which kernels a forest needs; two forests of the same shape share them."""

    input_dtype: np.dtype[Any]
    order: SumOrder
    leaves: LeafLayout
    levels: frozenset[int]
    kinds: frozenset[int]
    category_rule: str
    marks_missing: bool
    finish: bool
    traversal: bool
    rows: bool
    lanes: tuple[int, int] | None
    sets: bool
    link: tuple[str, str]
    vectors: bool
    numbered: bool

    @property
    def key(self) -> str:
        """The shape as text, for the cache."""
        values = dataclasses.asdict(self)
        values |= {name: sorted(values[name]) for name in ("levels", "kinds")}
        return repr(values)

    @property
    def kind(self) -> Type:
        """LLVM's type of thresholds."""
        return F32 if self.input_dtype.itemsize == 4 else F64


class _Record:
    """An array of 8-byte numbers and addresses, by name."""

    def __init__(self, code: Code, names: Sequence[str], pointer: Value) -> None:
        self._code, self._names, self._pointer = code, names, pointer

    def number(self, name: str) -> Value:
        return self._code.slot(self._pointer, self._names.index(name))

    def address(self, name: str) -> Value:
        return self._code.slot(self._pointer, self._names.index(name), PTR)


def emit_predict(module: Any, target: Target, shape: KernelShape) -> Function:
    """See the module; gives ``blocks``."""
    fill = _emit_fill(module, target, shape)
    score = (
        _emit_traversal_block(module, target, shape)
        if shape.traversal
        else _emit_parts(module, target, shape)
    )
    begin = _emit_begin(module, target, shape)
    finish = _emit_finish(module, target, shape)
    code = Code(module, target, "blocks", [PTR, PTR, PTR, I64, I64]).private()
    b, (model_at, work_at, job_at, start, stop) = code.b, code.args
    job = _Record(code, JOB, job_at)
    with code.loop(b.sub(stop, start), code.block) as index:
        first = b.add(start, index)
        left = b.sub(stop, first)
        events = b.select(b.icmp_signed("<", left, I64(code.block)), left, I64(code.block))
        b.call(fill, [model_at, work_at, job_at, first, events])
        b.call(begin, [model_at, work_at])
        b.call(score, [model_at, work_at, *_ahead(code, job, model_at, first, stop)])
        b.call(finish, [model_at, work_at, job_at, first, events])
    blocks = code.end()
    code = Code(module, target, "predict", [PTR, PTR, PTR])
    job = _Record(code, JOB, code.args[2])
    code.b.call(blocks, [*code.args, I64(0), job.number("count")])
    code.end()
    return blocks


def scores_of(
    code: Code, model_at: Value, job_at: Value, first: Value, *, shape: KernelShape
) -> tuple[Value, Value]:
    """How many scores a row has, and the address of those of row `first`."""
    outputs = _Record(code, MODEL, model_at).number("outputs")
    place = code.b.mul(code.b.mul(first, outputs), I64(shape.order.dtype.itemsize))
    return outputs, code.at(_Record(code, JOB, job_at).address("out"), place)


def _ahead(
    code: Code, job: _Record, model_at: Value, first: Value, stop: Value
) -> tuple[Value, Value]:
    """Address and size of the rows of the next block; the size is 0 where there is no whole one,
    and where rows do not lie one behind the other.
    """
    b = code.b
    stride, then = job.number("stride"), b.add(first, I64(code.block))
    row = b.mul(_Record(code, MODEL, model_at).number("features"), job.number("size"))
    dense = b.and_(
        b.icmp_signed("==", stride, row), b.icmp_signed("!=", job.number("by_rows"), I64(0))
    )
    whole = b.icmp_signed("<=", b.add(then, I64(code.block)), stop)
    size = b.select(b.and_(dense, whole), b.mul(stride, I64(code.block)), I64(0))
    return code.at(job.address("x"), b.mul(then, stride)), size


def _emit_parts(module: Any, target: Target, shape: KernelShape) -> Any:
    """Masks and trees, part by part."""
    predicates = _emit_predicates(module, target, shape)
    trees = _emit_trees(module, target, shape)
    code = Code(module, target, "parts", [PTR, PTR, PTR, I64]).private()
    b, (model_at, work_at, ahead, size_ahead) = code.b, code.args
    model = _Record(code, MODEL, model_at)
    parts, number = model.address("parts"), model.number("num_parts")
    with code.loop(number) as i:
        part = code.at(parts, b.mul(i, I64(8 * len(PART))))
        b.call(predicates, [part, work_at, ahead, size_ahead])
        b.call(trees, [part, work_at])
    return code.end()


def _traversal_tables(model: _Record, depths: str) -> list[Value]:
    """Arguments that both traversals take from the model."""
    return [
        *(model.address(f"traversal_{name}") for name in ("nodes", "words", "values", depths)),
        model.number("trees"), model.address("traversal_outputs"), model.number("width"),
    ]  # fmt: skip


def _set_test(module: Any, target: Target, shape: KernelShape) -> Any:
    if not shape.sets:
        return None
    known = module.globals.get("set_test")
    return known or emit_set_test(module, target, shape.kind, shape.category_rule)


def _emit_traversal_block(module: Any, target: Target, shape: KernelShape) -> Any:
    """Traversers through all trees."""
    sums = shape.order.kind.element
    traverse = emit_traverse_block(
        module, target, shape.kind, sums, _set_test(module, target, shape)
    )
    code = Code(module, target, "traversal", [PTR, PTR, PTR, I64]).private()
    b, (model_at, work_at, _, _) = code.b, code.args
    model, work = _Record(code, MODEL, model_at), _Record(code, WORK, work_at)
    tables = _traversal_tables(model, "depths")
    b.call(traverse, [work.address("columns"), *tables, work.address("sums")])
    return code.end()


def emit_rows_function(module: Any, target: Target, shape: KernelShape) -> Function:
    """Few rows: ``score_rows(model, work, x, rows, out)``; x contiguous, of the input's dtype."""
    sums = shape.order.kind.element
    code = Code(module, target, "score_rows", [PTR, PTR, PTR, I64, PTR])
    b, (model_at, work_at, x, rows, out) = code.b, code.args
    model, work = _Record(code, MODEL, model_at), _Record(code, WORK, work_at)
    if shape.lanes is not None:
        lanes = emit_lanes(module, target, shape.kind, sums, *shape.lanes)
        b.call(
            lanes,
            [x, rows, model.number("features"), model.address("lanes"), model.number("trees"),
             model.address("traversal_outputs"), model.address("base"), model.number("outputs"),
             work.address("leaf"), out],
        )  # fmt: skip
        return code.end()
    traverse = emit_traverse_rows(
        module, target, shape.kind, sums, _set_test(module, target, shape)
    )
    b.call(
        traverse,
        [x, rows, model.number("features"), *_traversal_tables(model, "together"),
         model.address("base"), model.number("outputs"), work.address("leaf"), out],
    )  # fmt: skip
    return code.end()


def emit_few(
    module: Any, target: Target, shape: KernelShape, rows_function: Function, link: Function | None
) -> Function:
    """Few rows by one argument, which is called faster: ``score_few(job)``, ``predict_few(job)``.

    ::

        score_few(job):   score_rows(job.model, job.work, job.x, job.rows, job.out)
        predict_few(job): the same, then link(job.out, job.rows, job.outputs, job.scale)
    """
    code = Code(module, target, "predict_few" if link else "score_few", [PTR])
    job = _Record(code, FEW, code.args[0])
    rows, out = job.number("rows"), job.address("out")
    arguments = [job.address(name) for name in ("model", "work", "x")]
    code.b.call(rows_function, [*arguments, rows, out])
    if link is not None:
        scale = code.slot(code.args[0], FEW.index("scale"), shape.order.kind.element)
        code.b.call(link, [out, rows, job.number("outputs"), scale])
    return code.end()


def _emit_fill(module: Any, target: Target, shape: KernelShape) -> Any:
    """The block's columns: whole blocks of rows by transposition, all else column by column."""
    kind = shape.kind
    rows = {size: emit_rows(module, target, given, kind) for size, given in ((4, F32), (8, F64))}
    column = {
        size: emit_column(module, target, given, kind) for size, given in ((4, F32), (8, F64))
    }
    blank = emit_mark_missing(module, target, kind) if shape.marks_missing else None
    code = Code(module, target, "fill", [PTR, PTR, PTR, I64, I64]).private()
    b, (model_at, work_at, job_at, first, events) = code.b, code.args
    model, job = _Record(code, MODEL, model_at), _Record(code, JOB, job_at)
    columns = _Record(code, WORK, work_at).address("columns")
    used, number = model.address("used"), model.number("num_used")
    wide = code.block * size_of(kind)

    def by_size(size: Value, functions: dict[int, Any], arguments: list[Value]) -> None:
        with b.if_else(b.icmp_signed("==", size, I64(4))) as (then, otherwise):
            with then:
                b.call(functions[4], arguments)
            with otherwise:
                b.call(functions[8], arguments)

    with b.if_else(b.icmp_signed("!=", job.number("by_rows"), I64(0))) as (then, otherwise):
        with then:
            size, stride = job.number("size"), job.number("stride")
            x = code.at(job.address("x"), b.mul(first, stride))
            with b.if_else(b.icmp_signed("==", events, I64(code.block))) as (whole, rest):
                with whole:
                    by_size(size, rows, [x, stride, model.number("features"), columns])
                with rest, code.loop(number) as i:
                    feature = code.load(I64, used, b.mul(i, I64(8)), align=8)
                    into = code.at(columns, b.mul(feature, I64(wide)))
                    start = code.at(x, b.mul(feature, size))
                    by_size(size, column, [start, stride, events, into])
        with otherwise, code.loop(number) as i:
            feature = code.load(I64, used, b.mul(i, I64(8)), align=8)
            into = code.at(columns, b.mul(feature, I64(wide)))
            place = b.mul(feature, I64(8))
            start = code.load(PTR, job.address("columns"), place, align=8)
            stride = code.load(I64, job.address("strides"), place, align=8)
            size = code.load(I64, job.address("sizes"), place, align=8)
            start = code.at(start, b.mul(first, stride))
            by_size(size, column, [start, stride, events, into])
    if blank is not None:
        missing = code.load(kind, model.address("missing"), align=8)
        zeros = model.address("zero")
        with code.loop(number) as i:
            feature = code.load(I64, used, b.mul(i, I64(8)), align=8)
            zero = code.load(I64, zeros, b.mul(feature, I64(8)), align=8)
            b.call(blank, [code.at(columns, b.mul(feature, I64(wide))), missing, zero])
    return code.end()


def _emit_predicates(module: Any, target: Target, shape: KernelShape) -> Any:
    """All masks of a part, group by group."""
    kind = shape.kind
    code = Code(module, target, "predicates", [PTR, PTR, PTR, I64]).private()
    b, (part_at, work_at, ahead, size_ahead) = code.b, code.args
    part, work = _Record(code, PART, part_at), _Record(code, WORK, work_at)
    groups, masks = part.address("groups"), work.address("masks")
    columns, planes = work.address("columns"), work.address("planes")
    made: dict[str, Any] = {}
    steps = code.block // ranked_at_once(target, kind)
    lines = b.lshr(b.add(size_ahead, I64(63)), I64(6))
    all_steps = b.or_(b.mul(part.number("num_groups"), I64(steps)), I64(1))  # never 0
    share = b.udiv(b.add(lines, all_steps), all_steps)
    share = b.select(b.icmp_signed("==", lines, I64(0)), I64(0), share)

    def kernel(name: str, emit: Any, *arguments: Any) -> Function:
        if name not in made:
            made[name] = emit(module, target, *arguments)
        return made[name]

    with code.loop(part.number("num_groups")) as i:
        group = code.at(groups, b.mul(i, I64(64)))
        feature, levels, start, row, first, count, last, extra = (
            code.slot(group, j) for j in range(8)
        )
        x = code.at(columns, b.mul(feature, I64(code.block * size_of(kind))))
        out = code.at(masks, b.mul(row, I64(code.row)))
        after = b.append_basic_block("next")
        switch = b.switch(levels, after)
        for level in sorted(shape.levels):
            with code.case(switch, level, after):
                if level > 0:
                    tree = code.at(part.address("heaps"), b.mul(start, I64(size_of(kind))))
                    table = work.address("table")
                    times = b.lshr(b.add(last, I64((1 << level) - 1)), I64(level))
                    rank = kernel(f"rank{level}", emit_rank, kind, level)
                    place = code.at(ahead, b.mul(i, b.mul(share, I64(64 * steps))))
                    b.call(rank, [x, tree, planes, out, times, place, share])
                    b.call(kernel(f"table{level}", emit_table, level), [planes, table])
                    run = code.at(part.address("runs"), b.mul(first, I64(16)))
                    lows = code.at(part.address("lows"), b.mul(row, I64(2)))
                    b.call(kernel("runs", emit_runs), [run, count, lows, table, out])
                elif level == 0:
                    values = code.at(part.address("direct"), b.mul(start, I64(size_of(kind))))
                    right = kernel("right", emit_direct, kind, False)
                    left = kernel("left", emit_direct, kind, True)
                    b.call(right, [x, values, count, out])
                    values = code.at(values, b.mul(count, I64(size_of(kind))))
                    below = code.at(out, b.mul(count, I64(code.row)))
                    b.call(left, [x, values, last, below])
                else:
                    places = work.address("bytes")
                    make = kernel("bytes", emit_category_bytes, kind, shape.category_rule)
                    b.call(make, [x, first, places])
                    at = start
                    functions = work.address("functions")
                    if level < -1:
                        b.call(kernel("functions", emit_functions), [places, functions])
                    for then, number in (("right", count), ("left", last), ("more", extra)):
                        bitmaps = code.at(part.address("bitmaps"), b.mul(at, I64(64)))
                        rows = code.at(part.address("category_rows"), b.mul(at, I64(4)))
                        if level < -1:
                            call = kernel(f"sets{level}_{then}", emit_sets, -1 - level, then)
                            size = I64(2 * MAX_FUNCTION_BYTES)
                            offsets = code.at(part.address("set_offsets"), b.mul(at, size))
                            b.call(call, [offsets, rows, number, places, functions, masks])
                        else:
                            call = kernel(f"categories_{then}", emit_categories, then)
                            b.call(call, [bitmaps, rows, number, places, masks])
                        at = b.add(at, number)
        b.position_at_end(after)
    return code.end()


def _emit_trees(module: Any, target: Target, shape: KernelShape) -> Any:
    """All leaves of a part, segment by segment."""
    order, leaves = shape.order, shape.leaves
    vectors = shape.vectors
    kernels = {
        kind: emit_full(
            module, target, order, leaves, kind, vectors=vectors, numbered=shape.numbered
        )
        if kind <= IRREGULAR
        else emit_irregular(module, target, order, leaves, kind - IRREGULAR, vectors=vectors)
        for kind in sorted(shape.kinds)
    }
    code = Code(module, target, "trees", [PTR, PTR]).private()
    b, (part_at, work_at) = code.b, code.args
    part, work = _Record(code, PART, part_at), _Record(code, WORK, work_at)
    segments, masks, slots = part.address("segments"), work.address("masks"), work.address("slots")
    nodes_at, leaves_at, sums_at = (
        part.address("nodes"), part.address("leaves"), work.address("sums"),
    )  # fmt: skip
    width = part.number("width")
    with code.loop(part.number("num_segments")) as i:
        segment = code.at(segments, b.mul(i, I64(64)))
        kind, count, nodes, table, output, groups, zero, zeros = (
            code.slot(segment, j) for j in range(8)
        )
        nodes, table = code.at(nodes_at, nodes), code.at(leaves_at, table)
        sums = code.at(sums_at, b.mul(output, I64(code.block * order.dtype.itemsize)))
        after = b.append_basic_block("next")
        switch = b.switch(kind, after)
        for number, kernel in kernels.items():
            with code.case(switch, number, after):
                if number <= IRREGULAR:
                    b.call(kernel, [count, nodes, table, width, masks, sums])
                else:
                    arguments = [
                        nodes,
                        count,
                        table,
                        width,
                        groups,
                        zero,
                        zeros,
                        masks,
                        slots,
                        sums,
                    ]
                    b.call(kernel, arguments)
        b.position_at_end(after)
    return code.end()


def _emit_begin(module: Any, target: Target, shape: KernelShape) -> Any:
    """Sums begin with the base, or with 0."""
    kind = shape.order.kind
    size = shape.order.dtype.itemsize
    code = Code(module, target, "begin", [PTR, PTR]).private()
    b, (model_at, work_at) = code.b, code.args
    model, work = _Record(code, MODEL, model_at), _Record(code, WORK, work_at)
    base, sums = model.address("base"), work.address("sums")
    with code.loop(model.number("outputs")) as output:
        value = code.load(kind.element, base, b.mul(output, I64(size)), align=size)
        start = code.at(sums, b.mul(output, I64(code.block * size)))
        filled = code.spread(kind, value)
        for at in range(0, code.block * size, 64):
            code.store(filled, start, at, 64)
    return code.end()


def _emit_finish(module: Any, target: Target, shape: KernelShape) -> Any:
    """Sums, in the order of the events, into the output array.

    ::

        for each output:
            ordered = the sums, shuffled back (divided; late base added)
            out[event, output] = ordered[event]        # directly, where there is one output
    """
    order = shape.order
    size, kind = order.dtype.itemsize, order.kind
    code = Code(module, target, "finish", [PTR, PTR, PTR, I64, I64]).private()
    b, (model_at, work_at, job_at, first, events) = code.b, code.args
    model, work = _Record(code, MODEL, model_at), _Record(code, WORK, work_at)
    outputs = model.number("outputs")
    out = _Record(code, JOB, job_at).address("out")
    out = code.at(out, b.mul(b.mul(first, outputs), I64(size)))
    single = b.icmp_signed("==", outputs, I64(1))
    direct = b.and_(single, b.icmp_signed("==", events, I64(code.block)))
    ordered = b.select(direct, out, work.address("ordered"))
    stride = b.mul(outputs, I64(size))
    with code.loop(outputs) as output:
        place = b.mul(output, I64(size))
        sums = code.at(work.address("sums"), b.mul(output, I64(code.block * size)))
        late = divisor = None
        if shape.finish:
            value = code.load(kind.element, model.address("late"), place, align=size)
            late = code.spread(kind, value)
            value = code.load(kind.element, model.address("divisor"), align=size)
            divisor = code.spread(kind, value)
        for part in range(code.block // 64):
            registers = [
                code.load(kind, sums, 64 * (part * size + j), align=64) for j in range(size)
            ]
            if not _has_runs(order.events[part]):
                ordered_values = _one_by_one(code, order.events[part], registers)
            else:
                ordered_values = _in_order(code, order.events[part], registers)
            for event, value in ordered_values:
                if late is not None:
                    value = _finished(code, value, divisor, late)  # noqa: PLW2901
                code.store(value, ordered, event * size, size)
        target_at = code.at(out, place)
        with b.if_then(b.not_(direct)), code.loop(events) as event:
            value = code.load(kind.element, ordered, b.mul(event, I64(size)), align=size)
            code.store(value, code.at(target_at, b.mul(event, stride)), 0, size)
    return code.end()


def _finished(code: Code, value: Value, divisor: Value, late: Value) -> Value:
    """A sum, or a register of sums, divided, and the late base added."""
    b = code.b
    if value.type != late.type:
        divisor, late = (b.extract_element(each, I32(0)) for each in (divisor, late))
    return b.fadd(b.fdiv(value, divisor), late)


def _has_runs(events: Any) -> bool:
    """Whether the events of some registers are whole registers of consecutive events."""
    lanes = events.shape[-1]
    return bool(np.all(np.isin(np.arange(lanes), np.sort(events.reshape(-1)) - events.min())))


def _one_by_one(code: Code, events: Any, registers: list[Value]) -> list[tuple[int, Value]]:
    """The values of registers: (event, value)."""
    return [
        (int(event), code.b.extract_element(register, I32(lane)))
        for register, own in zip(registers, events, strict=True)
        for lane, event in enumerate(own)
    ]


def _in_order(code: Code, events: Any, registers: list[Value]) -> list[tuple[int, Value]]:
    """Runs of consecutive events out of the registers that hold them: (first event, values)."""
    lanes = registers[0].type.count
    place = {int(event): i for i, event in enumerate(events.reshape(-1))}
    found = []
    for first in sorted(event for event in place if event % lanes == 0):
        where = np.array([place[first + i] for i in range(lanes)])
        parts = [
            _pick(code, registers[j], registers[j + 1], where - j * lanes)
            for j in range(0, len(registers), 2)
        ]
        found.append((first, _merge(code, parts, where // (2 * lanes), lanes)))
    return found


def _pick(code: Code, x: Value, y: Value, where: Any) -> Value:
    lanes = x.type.count
    index = [int(i) if 0 <= i < 2 * lanes else int(n) for n, i in enumerate(where)]
    return code.shuffle(x, y, index)


def _merge(code: Code, parts: list[Value], which: Any, lanes: int) -> Value:
    """Lane by lane the value of part number `which`."""
    made = parts[0]
    for number, part in enumerate(parts[1:], start=1):
        made = code.shuffle(
            made, part, [n + lanes * int(w == number) for n, w in enumerate(which)]
        )
    return made
