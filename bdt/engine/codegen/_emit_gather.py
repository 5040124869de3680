"""Emitter: values of a table at many places at once, by the instruction for it or one by one."""

from __future__ import annotations

from typing import Any

from rootml.bdt.engine.codegen._code import F32, F64, I1, I32, I64, Code, Value, splat, vector
from rootml.bdt.engine.codegen._ir import ir

_AVX512 = {F32: ("dps", 16), I32: ("dpi", 16), F64: ("dpd", 8)}


def gather(code: Code, kind: Any, table: Value, index: Value, scale: int | None = None) -> Value:
    """``table[index]``; `scale` bytes from one place to the next, if not the size of a value."""
    b = code.b
    element = kind.element
    size = 8 if element in {F64, I64} else 4
    scale = scale or size
    if code.target.avx512 and element in _AVX512 and kind.count == _AVX512[element][1]:
        narrow = vector(I32, kind.count)
        if index.type != narrow:
            index = b.trunc(index, narrow)
        name = f"llvm.x86.avx512.mask.gather.{_AVX512[element][0]}.512"
        every = splat(vector(I1, kind.count), 1)
        nothing = splat(kind, 0)
        return code.call(name, kind, nothing, table, index, every, I32(scale))
    found = ir.Constant(kind, ir.Undefined)
    for i in range(kind.count):
        at = b.extract_element(index, I32(i))
        at = b.zext(at, I64) if at.type.width < 64 else at
        value = code.load(element, table, b.mul(at, I64(scale)), align=1)
        found = b.insert_element(found, value, I32(i))
    return found


def gather_by_memory(code: Code, kind: Any, table: Value, index: Value) -> Value:
    """``table[index]``; indices go through memory, which costs less than extracting each."""
    b, size = code.b, 8 if kind.element is F64 else 4
    place = code.stack(64)
    code.store(index, place, 0, 32)
    found = ir.Constant(kind, ir.Undefined)
    for i in range(kind.count):
        at = b.zext(code.load(I32, place, 4 * i, align=4), I64)
        value = code.load(kind.element, table, b.mul(at, I64(size)), align=4)
        found = b.insert_element(found, value, I32(i))
    return found
