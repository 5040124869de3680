"""Emitters: masks become leaf indices, and leaf indices become values that are added to the sums.

The shuffles below change the order of the events of a block, and the sums stay in that order.
`SumOrder` applies the same shuffles to event numbers, so that the last step can undo them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rootml.bdt.engine._target import Target
from rootml.bdt.engine.codegen._code import (
    BYTES,
    F32,
    I8,
    I16,
    I32,
    I64,
    PTR,
    Code,
    Function,
    Type,
    Value,
    splat,
    vector,
)
from rootml.bdt.engine.codegen._emit_gather import gather
from rootml.bdt.engine.codegen._emit_lookup import ByteTable, select_by_bits
from rootml.bdt.engine.codegen._ir import ir
from rootml.bdt.engine.tables._trees import LeafLayout

Made = TypeVar("Made")

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


# --- from masks to index bytes -------------------------------------------------------------------


def _zip(width: int, high: int, size: int = 64) -> list[int]:
    """Interleave elements of `width` bytes of the low or high half of each 16 bytes of x and y,
    registers of `size` bytes.
    """
    index: list[int] = []
    for lane in range(size // 16):
        for element in range(8 // width):
            for source in (0, size):
                first = source + 16 * lane + 8 * high + element * width
                index += range(first, first + width)
    return index


_PAIRS = ((0, 1), (2, 3), (4, 5), (6, 7))


def _transpose_bytes(planes: Sequence[Any], shuffle: Any, size: int) -> list[Any]:
    """8 vectors of `size` bytes: byte p of all eight become one 64-bit word."""

    def zipped(x: Value, y: Value, width: int, high: int) -> Value:
        return shuffle(x, y, _zip(width, high, size))

    s = [zipped(planes[i], planes[j], 1, h) for i, j in _PAIRS for h in (0, 1)]
    t = [zipped(s[i], s[i + 2], 2, h) for g in (0, 4) for i in (g, g + 1) for h in (0, 1)]
    return [zipped(t[i], t[4 + i], 4, h) for i in range(4) for h in (0, 1)]


def _concatenated(parts: Sequence[Any], shuffle: Any, size: int) -> list[Any]:
    """Vectors of `size` bytes joined to vectors of 64."""
    parts = list(parts)
    while size < 64:
        both = list(range(2 * size))
        parts = [shuffle(parts[i], parts[i + 1], both) for i in range(0, len(parts), 2)]
        size *= 2
    return parts


def index_events(block: int = 512, *, gfni: bool = False) -> NDArray[np.int64]:
    """Which event each index byte belongs to, shape (block / 64, 64)."""
    size = block // 8

    def shuffle(x: Value, y: Value, index: list[int]) -> Value:
        return np.concatenate([x, y])[index]

    if gfni:
        words = _transpose_bytes([np.arange(size) for _ in range(8)], shuffle, size)
        parts = [8 * word + np.arange(size) % 8 for word in words]
    else:
        parts = [8 * np.arange(size) + event for event in range(8)]
    return np.stack(_concatenated(parts, shuffle, size))


def index_bytes(code: Code, bits: Sequence[Value]) -> list[Value]:
    """Masks of the bits of an index, the highest first, to vectors of 64 index bytes.

    ::

        with GFNI:
            byte p of eight masks -> one 64-bit word       # three rounds of interleaving
            8 x 8 bits of each word transposed             # gf2p8affineqb
        otherwise, with plane[k] = mask of bit k:
            for s in 4, 2, 1:                              # byte p of plane[e]: event 8 p + e
                for each pair of planes k and k + s:
                    swap bits of plane[k] with those of plane[k + s] that are s lower
    """
    b, size, wide = code.b, code.row, vector(I8, code.row)
    low_first = [b.bitcast(bit, wide) for bit in reversed(bits)]
    low_first += [splat(wide, 0)] * (8 - len(bits))
    if code.target.gfni:
        words = _transpose_bytes(low_first[::-1], code.shuffle, size)
        words = _concatenated(words, code.shuffle, size)
        unit = b.bitcast(splat(vector(I64, 8), 0x8040201008040201), BYTES)
        name = "llvm.x86.vgf2p8affineqb.512"
        return [code.call(name, BYTES, unit, word, I8(0)) for word in words]
    planes: list[Any] = [b.bitcast(bit, code.mask) for bit in reversed(bits)]
    planes += [None] * (8 - len(bits))
    for step, keep in ((4, 0x0F0F0F0F0F0F0F0F), (2, 0x3333333333333333), (1, 0x5555555555555555)):
        for k in range(8):
            if not k & step:
                planes[k], planes[k + step] = _swap_bits(
                    code, planes[k], planes[k + step], step, keep
                )
    zero = splat(code.mask, 0)
    made = [b.bitcast(zero if plane is None else plane, wide) for plane in planes]
    return _concatenated(made, code.shuffle, size)


def _swap_bits(code: Code, low: Value, high: Value, step: int, keep: int) -> tuple[Value, Value]:
    """Planes with blocks of `step` bits swapped between them; None is a plane of zeros."""
    if low is None and high is None:
        return None, None
    b, distance, kept = code.b, splat(code.mask, step), splat(code.mask, keep)
    if high is None:
        moved = b.and_(b.lshr(low, distance), kept)
        return b.and_(low, kept), moved
    swap = b.and_(b.xor(b.lshr(low, distance), high), kept)
    return b.xor(low, b.shl(swap, distance)), b.xor(high, swap)


def choose_leaf(code: Code, mask_of: Callable[[int], Value], depth: int) -> list[Value]:
    """Bits of the leaf's number in a full tree: see `leaf_choice`."""
    return finished(leaf_choice(code, mask_of, depth))


def leaf_choice(
    code: Code, mask_of: Callable[[int], Value], depth: int
) -> Generator[None, None, list[Value]]:
    """Bits of the leaf's number in a full tree: a multiplexer over the masks of its nodes.

    `mask_of` loads the mask of a node. Pauses after each node, so that other work can be put
    between; returns the bits.

    ::

        bit[0] = mask of the root
        bit[l] = mask of the one node of level l that bit[0] .. bit[l - 1] lead to:
                 2**l masks, halved by bit[0], by bit[1], ...:  chosen = bit ? first : second

    The newest bit comes last, so that a level waits for the one before it in one place only.
    """
    bits: list[Value] = []

    def chosen(level: int, known: int, place: int) -> Generator[None, None, Value]:
        """Among the nodes of a level whose numbers end with these `known` bits."""
        if known == level:
            mask = mask_of((1 << level) - 1 + place)
            yield
            return mask
        yes = yield from chosen(level, known + 1, place + (1 << known))
        no = yield from chosen(level, known + 1, place)
        return code.either(bits[level - known - 1], yes, no)

    for level in range(depth):
        bit = yield from chosen(level, 0, 0)
        bits.append(bit)
    return bits


def finished(steps: Generator[None, None, Made]) -> Made:
    """What a generator of steps returns in the end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: Made = end.value
            return made


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
                made += [self._code.shuffle(low, high, _zip(width, h)) for h in (0, 1)]
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


def _side_by_side(
    main: Generator[None, None, None], steps: int, other: Generator[None, None, Made], number: int
) -> Made:
    """Emit two pieces of work, the `number` steps of the other spread over the `steps` of one.

    One needs shuffles and the other loads and logic: a processor does them at once if they stand
    close to each other.
    """
    done = 0
    for step, _ in enumerate(main, start=1):
        while done < number * step // steps:
            next(other)
            done += 1
    return finished(other)


MAX_IN_REGISTERS = 7
"""Depth of trees whose leaves fit registers beside the masks of the next tree."""
MAX_SHARED = 4
"""Depth of trees that share index bytes."""

# --- kernels -------------------------------------------------------------------------------------


def _outputs(
    code: Code, order: SumOrder, width: Value | None, sums: Value
) -> Iterator[tuple[Value, Value]]:
    """Sums of each output in turn with its number: of one, or of all where leaves are vectors."""
    if width is None:
        yield I64(0), sums
        return
    with code.loop(width) as output:
        yield output, code.at(sums, code.b.mul(output, I64(code.block * order.dtype.itemsize)))


def emit_full(
    module: Any, target: Target, order: SumOrder, leaves: LeafLayout, depth: int,
    *, vectors: bool,
) -> Function:  # fmt: skip
    """A kernel: a segment of full trees of one depth.

    ::

        full(count, offsets, tables, width, masks, sums):
            next = numbers of the leaves of the first tree     # `leaf_choice`, `index_bytes`
            for each tree but the last:
                index = next
                sums += leaves[index]                          # and in between:
                next = numbers of the leaves of the tree behind it
            sums += leaves of the last tree

        with leaves looked up by words (small trees):
            for each 2 trees (4 of depth 1 or 2), then each of the rest:
                index = numbers of their leaves     # up to depth 4 made a pass before, by sharing
                sums += first tree's leaves; sums += second's; ...

        with vectors as leaves, and for the deepest trees without VBMI:
            for each tree:
                index = numbers of the leaves
                for each output: sums += leaves[index]
    """
    code = Code(module, target, f"full{depth}", [I64, PTR, PTR, I64, PTR, PTR]).private()
    full = _Full(code, order, leaves, depth)
    if vectors or (depth > MAX_IN_REGISTERS and not target.vbmi):
        full.emit_one_by_one()
    elif order.by_words and depth <= MAX_SHARED:
        full.emit_together()
    elif order.by_words:
        full.emit_pairs()
    else:
        full.emit_overlapped()
    return code.end()


class _Full:
    """See `emit_full`."""

    def __init__(self, code: Code, order: SumOrder, leaves: LeafLayout, depth: int) -> None:
        self._code, self._order, self._leaves, self._depth = code, order, leaves, depth
        self._nodes = (1 << depth) - 1
        self._count, self._offsets, self._tables, self._width, self._masks, self._sums = code.args

    def emit_overlapped(self) -> None:
        code, b = self._code, self._code.b
        index = StoredIndex(code, code.stack(StoredIndex.size(code)))
        work = code.stack(code.block * self._order.dtype.itemsize)
        index.store(self._index(I64(0)))
        last = b.sub(self._count, I64(1))
        with code.loop(last) as i:
            adding, steps = self._adding(i, index, work)
            bits = _side_by_side(adding, steps, self._choice(b.add(i, I64(1))), self._nodes)
            index.store(index_bytes(code, bits))
        finished(self._adding(last, index, work)[0])

    def _adding(
        self, tree: Value, index: Index, work: Value
    ) -> tuple[Generator[None, None, None], int]:
        """The addition of one tree's leaves, and its number of steps."""
        code, size = self._code, self._order.dtype.itemsize
        parts = code.block // 64
        if self._depth <= MAX_IN_REGISTERS:
            kept = Index(code, [index.part(part) for part in range(parts)])
            return self._add([tree], [kept], self._sums), parts * size
        look = self._lookup(tree)
        return add_by_planes(code, self._order, index, look, self._sums, work), parts * (size + 1)

    def emit_pairs(self) -> None:
        b = self._code.b
        whole = b.and_(self._count, I64(-2))
        for begin, end, step in ((I64(0), whole, 2), (whole, self._count, 1)):
            with self._code.loop(b.sub(end, begin), step) as i:
                trees = [b.add(b.add(begin, i), I64(k)) for k in range(step)]
                self._add_each(trees)

    def _add_each(self, trees: list[Value]) -> None:
        indices = [Index(self._code, self._index(tree)) for tree in trees]
        finished(self._add(trees, indices, self._sums))

    def emit_together(self) -> None:
        """Several trees for each pass over the sums; their index bytes are made a pass before."""
        code, b = self._code, self._code.b
        size, number = StoredIndex.size(code), min(4, 8 // self._depth)
        places = code.stack(2 * number * size)
        rest = b.urem(self._count, I64(number))
        whole = b.sub(self._count, rest)
        last = b.sub(whole, I64(number))

        def indices(first: Value) -> list[StoredIndex]:
            odd = b.and_(b.udiv(first, I64(number)), I64(1))
            start = code.at(places, b.mul(odd, I64(number * size)))
            return [StoredIndex(code, code.at(start, k * size)) for k in range(number)]

        with b.if_then(b.icmp_signed(">=", last, I64(0))):
            self._store_together(I64(0), indices(I64(0)))
        with code.loop(whole, number) as i:
            following = b.add(i, I64(number))
            with b.if_then(b.icmp_signed("<=", following, last)):
                self._store_together(following, indices(following))
            trees = [b.add(i, I64(k)) for k in range(number)]
            finished(self._add(trees, indices(i), self._sums))
        with code.loop(rest) as i:
            self._add_each([b.add(whole, i)])

    def _store_together(self, first: Value, indices: list[StoredIndex]) -> None:
        """Leaf numbers of some trees from `first` on, side by side in the index bytes that are
        made: four bits are read of a byte, and tables of fewer bits repeat.
        """
        trees = [self._code.b.add(first, I64(k)) for k in range(len(indices))]
        bits = [bit for tree in trees[::-1] for bit in finished(self._choice(tree))]
        parts = index_bytes(self._code, bits)
        for k, index in enumerate(indices):
            index.store([self._moved(part, self._depth * k) for part in parts])

    def _moved(self, index: Value, bits: int) -> Value:
        """Bytes moved down by some bits; what comes from the byte above is not read."""
        b, wide = self._code.b, vector(I16, 32)
        if not bits:
            return index
        return b.bitcast(b.lshr(b.bitcast(index, wide), splat(wide, bits)), BYTES)

    def emit_one_by_one(self) -> None:
        code, b = self._code, self._code.b
        with code.loop(self._count) as i:
            index = Index(code, self._index(i))
            with code.loop(self._width) as output:
                size = code.block * self._order.dtype.itemsize
                into = code.at(self._sums, b.mul(output, I64(size)))
                table = b.add(b.mul(i, self._width), output)
                finished(self._add([table], [index], into))

    def _choice(self, tree: Value) -> Generator[None, None, list[Value]]:
        start = self._code.at(self._offsets, self._code.b.mul(tree, I64(4 * self._nodes)))
        return leaf_choice(self._code, partial(self._mask, start), self._depth)

    def _mask(self, offsets: Value, node: int) -> Value:
        """The events that pass the test of a node."""
        code = self._code
        at = code.load(I32, offsets, 4 * node, align=4)
        return code.load(code.mask, self._masks, at, align=code.row)

    def _index(self, tree: Value) -> list[Value]:
        return index_bytes(self._code, finished(self._choice(tree)))

    def _add(
        self, tables: list[Value], indices: Sequence[Index], sums: Value
    ) -> Generator[None, None, None]:
        looks = [self._lookup(table) for table in tables]
        return add_leaves(self._code, self._order, indices, looks, sums)

    def _lookup(self, table: Value) -> Lookup:
        code, size = self._code, self._leaves.size(self._depth)
        place = code.at(self._tables, code.b.mul(table, I64(size)))
        return Lookup(code, self._order, self._leaves, place, self._depth)


def emit_irregular(
    module: Any, target: Target, order: SumOrder, leaves: LeafLayout, bits: int, *, vectors: bool
) -> Function:
    """A kernel: one tree of any shape.

    ::

        irregular(steps, count, table, width, groups, zero, zeros, masks, slots, sums):
            slots[zero .. zero + zeros] = no event
            for each step:                             # a node; parents before children
                slots[left]  = slots[at] & masks[mask]
                slots[right] = slots[at] & ~masks[mask]
            for each group of leaves:
                bit j of the index = events in any leaf whose number has bit j
                for each output of vectors: sums += leaves
    """
    arguments = [PTR, I64, PTR, I64, I64, I64, I64, PTR, PTR, PTR]
    code = Code(module, target, f"irregular{bits}", arguments).private()
    b = code.b
    steps, count, table, width, groups, zero, zeros, masks, slots, sums = code.args
    with code.loop(zeros) as i:
        place = b.mul(b.add(zero, i), I64(code.row))
        code.store(splat(code.mask, 0), code.at(slots, place), 0, code.row)
    with code.loop(count) as i:
        step = code.at(steps, b.mul(i, I64(16)))
        mask, at, left, right = (code.load(I32, step, 4 * j, align=4) for j in range(4))
        here, test = (
            code.load(code.mask, slots, at, align=code.row),
            code.load(code.mask, masks, mask, align=code.row),
        )
        code.store(b.and_(here, test), code.at(slots, left), 0, code.row)
        code.store(b.and_(here, b.not_(test)), code.at(slots, right), 0, code.row)
    with code.loop(groups) as i:
        leaf = code.at(slots, b.mul(i, I64(code.row << bits)))
        planes = _number_bits(code, leaf, bits, 0)[1]
        index = Index(code, index_bytes(code, planes[::-1]))
        for output, into in _outputs(code, order, width if vectors else None, sums):
            which = b.add(b.mul(i, width), output)
            place = code.at(table, b.mul(which, I64(leaves.size(bits))))
            look = Lookup(code, order, leaves, place, bits)
            finished(add_leaves(code, order, [index], [look], into))
    return code.end()


def _number_bits(code: Code, slots: Value, bits: int, first: int) -> tuple[Value, list[Value]]:
    """Events in any of 2**bits leaves, and for each bit of a leaf's number, the lowest first,
    those in a leaf that has it. Leaf 0 is nowhere.
    """
    if bits == 0:
        empty = first == 0
        mask = (
            splat(code.mask, 0)
            if empty
            else code.load(code.mask, slots, code.row * first, align=code.row)
        )
        return mask, []
    low, below = _number_bits(code, slots, bits - 1, first)
    high, above = _number_bits(code, slots, bits - 1, first + (1 << (bits - 1)))
    both = [code.b.or_(x, y) for x, y in zip(below, above, strict=True)]
    return code.b.or_(low, high), [*both, high]
