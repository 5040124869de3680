"""Emitter: 64 bytes looked up at once in a table of 16 to 256 bytes, with what a target has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rootml.bdt.engine.codegen._code import BYTES, I8, I32, Code, Value, splat, vector
from rootml.bdt.engine.codegen._ir import ir

_SHUFFLES = {
    "avx512": ("llvm.x86.avx512.pshuf.b.512", 64),
    "avx2": ("llvm.x86.avx2.pshuf.b", 32),
    "x86-64": ("llvm.x86.ssse3.pshuf.b.128", 16),
}
"""Look up 16 bytes within each 16: the instruction, and how many indices at once."""


class ByteTable:
    """A table of bytes; call it with 64 indices, all below `entries`.

    ::

        avx512vbmi       64 entries at once; 128; 256 by a selection
        others of x86    16 at once; further 16s by differences: a byte with its sign bit set gives
                         0, so that the first tables up to the right one add up (exclusive or)
        neon             64 at once, more by lookups that keep what is out of range
        otherwise        one by one
    """

    def __init__(self, code: Code, table: Value, entries: int) -> None:
        self._code, self._table = code, table
        name = code.target.name
        if name == "avx512vbmi":
            self._parts = [code.load(BYTES, table, at) for at in range(0, entries, 64)]
        elif name == "neon" or name in _SHUFFLES:
            self._parts = [code.load(vector(I8, 16), table, at) for at in range(0, entries, 16)]
        if name in _SHUFFLES:
            again = [i % 16 for i in range(_SHUFFLES[name][1])]
            parts = self._parts
            for first in range(0, len(parts), 8):  # 128 entries: signed bytes count that far
                run = parts[first : first + 8]
                parts[first : first + 8] = [run[0], *(code.b.xor(*two) for two in pairwise(run))]
            self._parts = [code.shuffle(part, part, again) for part in parts]

    def __call__(self, index: Value) -> Value:
        name = self._code.target.name
        if name == "avx512vbmi":
            return self._vbmi(index)
        if name == "neon":
            return self._in_pieces(index, 16)
        if name in _SHUFFLES:
            return self._in_pieces(index, _SHUFFLES[name][1])
        return self._one_by_one(index)

    def _vbmi(self, index: Value) -> Value:
        code, parts = self._code, self._parts
        if len(parts) == 1:
            return code.call("llvm.x86.avx512.permvar.qi.512", BYTES, parts[0], index)
        found = [
            code.call("llvm.x86.avx512.vpermi2var.qi.512", BYTES, low, index, high)
            for low, high in zip(parts[::2], parts[1::2], strict=True)
        ]
        return select_by_bits(code, found, index, 128)

    def _in_pieces(self, index: Value, width: int) -> Value:
        code = self._code
        look = self._neon if code.target.name == "neon" else self._shuffled
        pieces = [
            look(code.shuffle(index, index, list(range(at, at + width))))
            for at in range(0, 64, width)
        ]
        while len(pieces) > 1:
            both = list(range(2 * pieces[0].type.count))
            pieces = [
                code.shuffle(pieces[i], pieces[i + 1], both) for i in range(0, len(pieces), 2)
            ]
        return pieces[0]

    def _shuffled(self, index: Value) -> Value:
        code, b, kind = self._code, self._code.b, index.type
        name = _SHUFFLES[code.target.name][0]
        halves = []
        for first in range(0, len(self._parts), 8):
            at = b.sub(index, splat(kind, 128 - 256)) if first else index
            made = code.call(name, kind, self._parts[first], at)
            for part in self._parts[first + 1 : first + 8]:
                at = b.sub(at, splat(kind, 16))
                made = b.xor(made, code.call(name, kind, part, at))
            halves.append(made)
        return select_by_bits(code, halves, index, 128)

    def _neon(self, index: Value) -> Value:
        code, kind = self._code, index.type
        first = self._parts[:4]
        found = code.call(f"llvm.aarch64.neon.tbl{len(first)}.v16i8", kind, *first, index)
        for start in range(4, len(self._parts), 4):
            index = code.b.sub(index, splat(kind, 64))
            more = self._parts[start : start + 4]
            found = code.call("llvm.aarch64.neon.tbx4.v16i8", kind, found, *more, index)
        return found

    def _one_by_one(self, index: Value) -> Value:
        code = self._code
        found = ir.Constant(BYTES, ir.Undefined)
        for i in range(64):
            at = code.b.extract_element(index, I32(i))
            found = code.b.insert_element(found, code.load(I8, self._table, at), I32(i))
        return found


def select_by_bits(code: Code, found: Sequence[Value], index: Value, bit: int) -> Value:
    """Of what several tables gave the one that the index names, by its bits from `bit` on."""
    b, kind = code.b, index.type
    while len(found) > 1:
        value = bit - (1 << kind.element.width) if bit >> (kind.element.width - 1) else bit
        masked = b.and_(index, splat(kind, value))
        high = b.icmp_unsigned("!=", masked, splat(kind, 0))
        found = [b.select(high, found[i + 1], found[i]) for i in range(0, len(found), 2)]
        bit *= 2
    return found[0]
