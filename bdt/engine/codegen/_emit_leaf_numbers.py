"""Emitters: the masks of a tree's nodes become the numbers of its leaves, one byte for each event.

The shuffles below change the order of the events of a block: `index_events` says how.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootml.bdt.engine.codegen._code import BYTES, I8, I64, Code, Value, splat, vector
from rootml.bdt.engine.codegen._interleave import finished


def zip_bytes(width: int, high: int, size: int = 64) -> list[int]:
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
        return shuffle(x, y, zip_bytes(width, high, size))

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
