"""A thin layer over llvmlite's builder: vectors by width, addresses in bytes, loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rootml.bdt.engine._target import Target
from rootml.bdt.engine.codegen._ir import ir

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
PTR = ir.PointerType()

Function = Any
"""A function of llvmlite's IR. The package llvmlite is not typed; these are names for readers."""
Type = Any
"""A type of llvmlite's IR."""
Value = Any
"""A value of llvmlite's IR."""


def vector(element: Type, count: int) -> Type:
    """The type of `count` elements."""
    return ir.VectorType(element, count)


BYTES = vector(I8, 64)
"""Index bytes of 64 events."""


def splat(kind: Any, value: Any) -> Value:
    """A constant vector of equal elements."""
    return ir.Constant(kind, [value] * kind.count)


@dataclass
class Carried:
    """What a loop hands on from round to round: set it in the loop, read it behind."""

    value: Value


class Code:
    """Emits one function.

    Attributes:
        block: Events that are evaluated at once.
        row: Bytes of a mask.
        mask: Its type: one bit for each event of a block.
    """

    def __init__(
        self, module: Any, target: Target, name: str, arguments: Sequence[Any], result: Any = None
    ) -> None:
        self.module, self.target = module, target
        self.block, self.row = target.block, target.block // 8
        self.mask = vector(I64, target.block // 64)
        kind = ir.FunctionType(result or ir.VoidType(), list(arguments))
        self.function = ir.Function(module, kind, name)
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.args = self.function.args

    def private(self) -> Code:
        """Only called from within the module, and not inlined: one copy of each kernel."""
        self.function.linkage = "internal"
        self.function.attributes.add("noinline")
        return self

    # --- memory ----------------------------------------------------------------------------------

    def at(self, pointer: Value, offset: Value | int) -> Value:
        """`pointer` + `offset` bytes."""
        if isinstance(offset, int):
            if not offset:
                return pointer
            offset = I64(offset)
        elif offset.type.width < 64:
            offset = self.b.zext(offset, I64)
        return self.b.gep(pointer, [offset], source_etype=I8)

    def load(self, kind: Any, pointer: Value, offset: Value | int = 0, *, align: int = 1) -> Value:
        """A value of `kind` at `pointer` + `offset` bytes."""
        return self.b.load(self.at(pointer, offset), typ=kind, align=align)

    def store(self, value: Value, pointer: Value, offset: Value | int = 0, align: int = 1) -> None:
        """Put `value` there."""
        self.b.store(value, self.at(pointer, offset), align=align)

    def fetch(self, place: Value, *, write: bool = False, level: int = 1) -> None:
        """Bring a line of memory into the first or second-level cache."""
        options = [I32(int(write)), I32(4 - level), I32(1)]
        self.call("llvm.prefetch.p0", ir.VoidType(), place, *options)

    def pause(self) -> None:
        """Tell the processor that a loop only waits."""
        if self.target.triple.startswith(("x86_64", "i686")):
            self.call("llvm.x86.sse2.pause", ir.VoidType())

    def slot(self, table: Value, index: int, kind: Any = I64) -> Value:
        """Element `index` of an array of 8-byte integers or addresses."""
        return self.load(kind, table, 8 * index, align=8)

    def stack(self, size: int) -> Value:
        """`size` bytes on the stack, aligned for vectors."""
        with self.b.goto_entry_block():
            place = self.b.alloca(I8, I64(size))
            place.align = 64
            place.type = PTR  # llvmlite makes a typed one
        return place

    # --- values ----------------------------------------------------------------------------------

    def spread(self, kind: Any, value: Value) -> Value:
        """A scalar in every element."""
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.b.insert_element(undefined, value, I32(0))
        return self.b.shuffle_vector(first, undefined, splat(vector(I32, kind.count), 0))

    def shuffle(self, x: Value, y: Value, index: Sequence[int]) -> Value:
        """Elements of `x` and, counted on, of `y`."""
        return self.b.shuffle_vector(x, y, ir.Constant(vector(I32, len(index)), list(index)))

    def call(self, name: str, result: Any, *values: Value) -> Value:
        """An intrinsic of LLVM."""
        function = self.module.globals.get(name)
        if function is None:
            kind = ir.FunctionType(result, [value.type for value in values])
            function = ir.Function(self.module, kind, name)
        return self.b.call(function, values)

    def bits(self, truth: Value) -> Value:
        """A vector of truth values as an integer, the first in the lowest bit."""
        return self.b.bitcast(truth, ir.IntType(truth.type.count))

    def either(self, choose: Value, yes: Value, no: Value) -> Value:
        """Bit by bit ``choose ? yes : no``; with AVX-512 one instruction."""
        return self.b.xor(no, self.b.and_(choose, self.b.xor(yes, no)))

    # --- control ---------------------------------------------------------------------------------

    @contextmanager
    def loop(self, count: Value | int, step: int = 1) -> Iterator[Value]:
        """``for i in range(0, count, step)``."""
        with self.carrying(count, None, step) as (index, _):
            yield index

    @contextmanager
    def carrying(
        self, count: Value | int, start: Value | None, step: int = 1
    ) -> Iterator[tuple[Value, Carried]]:
        """The same with a value that rounds hand on, in a register."""
        b = self.b
        before = b.block
        head, body, after = (b.append_basic_block(name) for name in ("head", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(I64(0), before)
        kept = None if start is None else b.phi(start.type)
        carried = Carried(kept)
        count = I64(count) if isinstance(count, int) else count
        b.cbranch(b.icmp_signed("<", index, count), body, after)
        b.position_at_end(body)
        yield index, carried
        index.add_incoming(b.add(index, I64(step)), b.block)
        if kept is not None:
            kept.add_incoming(start, before)
            kept.add_incoming(carried.value, b.block)
            carried.value = kept
        b.branch(head)
        b.position_at_end(after)

    @contextmanager
    def case(self, switch: Value, number: int, after: Value) -> Iterator[None]:
        """One case of a switch; goes on at `after`."""
        block = self.b.append_basic_block(f"case{number}")
        switch.add_case(I64(number), block)
        self.b.position_at_end(block)
        yield
        self.b.branch(after)

    def end(self, value: Value | None = None) -> Function:
        """Return; gives the function."""
        if value is None:
            self.b.ret_void()
        else:
            self.b.ret(value)
        return self.function
