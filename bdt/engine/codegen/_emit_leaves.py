"""Emitters: numbers of leaves become values that are added to the sums.

Sums stay in the order of events that `_emit_leaf_numbers` leaves behind. `SumOrder` applies the
same shuffles to event numbers, so that the last step can undo them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt.engine._target import Target
from rootml.bdt.engine.codegen._code import BYTES, F32, I32, Code, Type, Value, splat, vector
from rootml.bdt.engine.codegen._emit_gather import gather
from rootml.bdt.engine.codegen._emit_leaf_numbers import index_events, zip_bytes
from rootml.bdt.engine.codegen._emit_lookup import ByteTable, select_by_bits
from rootml.bdt.engine.codegen._ir import ir
from rootml.bdt.engine.tables._trees import LeafLayout

# --- how leaves are looked up, and the resulting order -------------------------------------------


@dataclass(frozen=True)
class SumOrder:
    """In which register and lane the sum of each event of a block is.

    Attributes:
        dtype: Of the sums.
        by_words: Whether index bytes are taken out of 32-bit words (AVX-512, small trees), or
            looked up as bytes.
        block: Events of a block.
        gfni: Which transposition `index_bytes` uses.
        natural: Whether the events keep their order, as in traversals.
    """

    dtype: np.dtype[Any]
    by_words: bool
    block: int
    gfni: bool
    natural: bool = False

    @property
    def kind(self) -> Type:
        """A register of sums."""
        return vector(F32, 16) if self.dtype.itemsize == 4 else vector(ir.DoubleType(), 8)

    @property
    def lanes(self) -> int:
        """Sums in a register."""
        return 64 // self.dtype.itemsize

    @cached_property
    def bytes_of(self) -> NDArray[np.int64]:
        """Which of 64 index bytes belongs to which lane, shape (registers, lanes)."""
        size = self.dtype.itemsize
        if self.by_words:
            return np.arange(64).reshape(16, 4).T
        return np.arange(64).reshape(4, size, 16 // size).transpose(1, 0, 2).reshape(size, -1)

    @cached_property
    def events(self) -> NDArray[np.int64]:
        """Which event each sum belongs to, shape (block / 64, registers, lanes)."""
        if self.natural:
            return np.arange(self.block).reshape(self.block // 64, -1, self.lanes)
        return index_events(self.block, gfni=self.gfni)[:, self.bytes_of]


def leaf_layout(target: Target, dtype: np.dtype[Any], by_words: bool) -> LeafLayout:
    """The memory layout of leaf tables for a target."""
    planes = 0
    if not by_words:
        planes = {"avx512vbmi": 8, "avx2": 6, "x86-64": 6, "neon": 8}.get(target.name, 0)
    return LeafLayout(dtype, planes, 64 if planes and target.vbmi else 16)


def sum_order(target: Target, dtype: np.dtype[Any], max_bits: int) -> SumOrder:
    """Words where permutations of floats are cheaper: up to 32 leaves, or without VBMI."""
    words = target.avx512 and dtype.itemsize == 4 and (max_bits <= 5 or not target.vbmi)
    return SumOrder(dtype, words, target.block, target.gfni)


# --- leaves --------------------------------------------------------------------------------------


class Index:
    """Index bytes of a block, 64 of them in each register."""

    def __init__(self, code: Code, parts: Sequence[Value]) -> None:
        self._code, self._parts = code, parts

    def part(self, part: int) -> Value:
        """64 index bytes."""
        return self._parts[part]

    def words(self, part: int, byte: int) -> Value:
        """The same as 16 words of 32 bits, moved down so that this byte is the lowest."""
        words = self._code.b.bitcast(self._parts[part], vector(I32, 16))
        return self._code.b.lshr(words, splat(words.type, 8 * byte)) if byte else words


class StoredIndex(Index):
    """Index bytes in memory. A word is moved by reading it from a later byte on: the units that
    shift are the ones that add. They must have been stored a while ago: a processor cannot hand
    on what two stores wrote before it is in the cache.
    """

    def __init__(self, code: Code, place: Value) -> None:
        super().__init__(code, ())
        self._place = place

    @staticmethod
    def size(code: Code) -> int:
        """Bytes that are stored, and read beyond them."""
        return code.block + 64

    def store(self, parts: Sequence[Value]) -> None:
        """Put them there."""
        for number, bytes_of in enumerate(parts):
            self._code.store(bytes_of, self._place, 64 * number, 64)

    def part(self, part: int) -> Value:
        return self._code.load(BYTES, self._place, 64 * part, align=64)

    def words(self, part: int, byte: int) -> Value:
        align = 1 if byte else 64
        return self._code.load(vector(I32, 16), self._place, 64 * part + byte, align=align)


class Lookup:
    """Leaf values of one tree for 64 index bytes, in registers, ordered as in `SumOrder`."""

    def __init__(
        self, code: Code, order: SumOrder, leaves: LeafLayout, table: Value, bits: int
    ) -> None:
        self._code, self._order, self._leaves = code, order, leaves
        self._table, self._bits = table, bits
        self._planes = bits <= leaves.plane_bits
        if order.by_words:
            count = max(1, (1 << bits) // 16)
            self._words = [code.load(order.kind, table, 64 * i) for i in range(count)]
        elif self._planes:
            self._tables = [self.look_in_plane(i) for i in range(order.dtype.itemsize)]

    def __call__(self, index: Index, part: int) -> list[Value]:
        if self._order.by_words:
            return [self._permute(index.words(part, byte)) for byte in range(4)]
        if self._planes:
            return self._from_planes(index.part(part))
        return self._gathered(index.part(part))

    def _permute(self, index: Value) -> Value:
        code, kind = self._code, self._order.kind
        if len(self._words) == 1:
            return code.call("llvm.x86.avx512.permvar.sf.512", kind, self._words[0], index)
        found = [
            code.call("llvm.x86.avx512.vpermi2var.ps.512", kind, low, index, high)
            for low, high in zip(self._words[::2], self._words[1::2], strict=True)
        ]
        return select_by_bits(code, found, index, 32)

    def _from_planes(self, index: Value) -> list[Value]:
        return self.joined([look(index) for look in self._tables])

    def look_in_plane(self, plane: int) -> ByteTable:
        """The table of byte number `plane` of the values."""
        entries = self._leaves.entries(self._bits)
        return ByteTable(self._code, self._code.at(self._table, entries * plane), entries)

    def joined(self, planes: list[Value]) -> list[Value]:
        """The bytes of 64 values, plane by plane, to registers of values."""
        width = 1
        while width < self._order.dtype.itemsize:  # bytes to 16-bit words, those to floats, ...
            planes = self._zip_pairs(planes, width)
            width *= 2
        return [self._code.b.bitcast(x, self._order.kind) for x in planes]

    def _zip_pairs(self, planes: list[Value], width: int) -> list[Value]:
        """Interleave pieces of `width` bytes with those that follow them in the value.

        The list holds the registers of the first piece, of the second, and so on.
        """
        parts = self._order.dtype.itemsize // width
        each = len(planes) // parts
        made = []
        for piece in range(0, parts, 2):
            for i in range(each):
                low, high = planes[piece * each + i], planes[(piece + 1) * each + i]
                made += [self._code.shuffle(low, high, zip_bytes(width, h)) for h in (0, 1)]
        return made

    def _gathered(self, index: Value) -> list[Value]:
        code, order = self._code, self._order
        found = []
        for places in order.bytes_of:
            few = code.shuffle(index, index, places.tolist())
            wide = code.b.zext(few, vector(I32, order.lanes))
            found.append(gather(code, order.kind, self._table, wide))
        return found


def add_leaves(
    code: Code, order: SumOrder, indices: Sequence[Index], lookups: Sequence[Lookup],
    sums: Value,
) -> Generator[None, None, None]:  # fmt: skip
    """Add the leaves of some trees, one after the other, to the sums of a block; pauses after
    each register of sums.

    ::

        for 64 events at a time:
            for each tree: sum += leaf[index byte]     # looked up in registers
    """
    size = order.dtype.itemsize
    for part in range(code.block // 64):
        values = [look(index, part) for look, index in zip(lookups, indices, strict=True)]
        for register in range(size):
            at = 64 * (part * size + register)
            total = code.load(order.kind, sums, at, align=64)
            for each in values:
                total = code.b.fadd(total, each[register])
            code.store(total, sums, at, 64)
            yield


def add_by_planes(
    code: Code, order: SumOrder, index: Index, look: Lookup, sums: Value, work: Value
) -> Generator[None, None, None]:
    """The same for one tree whose tables fill the registers: byte by byte, by way of memory.

    ::

        for each byte of a value, for 64 events at a time: work = that byte of the leaves
        for 64 events at a time: sum += the bytes, joined
    """
    size, parts = order.dtype.itemsize, code.block // 64
    for plane in range(size):
        table = look.look_in_plane(plane)
        for part in range(parts):
            code.store(table(index.part(part)), work, 64 * (plane * parts + part), 64)
            yield
    for part in range(parts):
        places = [64 * (plane * parts + part) for plane in range(size)]
        values = look.joined([code.load(BYTES, work, at, align=64) for at in places])
        for register, value in enumerate(values):
            at = 64 * (part * size + register)
            total = code.load(order.kind, sums, at, align=64)
            code.store(code.b.fadd(total, value), sums, at, 64)
        yield
