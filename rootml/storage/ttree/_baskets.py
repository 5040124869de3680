"""Direct reading of TTree baskets: one copy from the decompressed basket into the column.

A basket is a record of the file: a copy of its key, five numbers, and then, compressed, the values
of all its entries in big-endian order; for lists followed by the byte offset of each entry (ROOT:
``TBasket::Streamer``). `plan_of` says where a branch's baskets are, `read_flat` decodes an entry
range of numbers (`_jagged`: of lists). A basket that a range covers only in part is decoded as a
whole.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Array
from rootml.errors import UnsupportedTypeError
from rootml.storage._blocks import decompress, decompress_together
from rootml.storage._source import Source
from rootml.storage.ttree._branches import Branch, NeedsUproot, Tree

Int64s: TypeAlias = npt.NDArray[np.int64]

_KEY = struct.Struct(">ihiIhh")
_BASKET = struct.Struct(">Hiiii")
_EXTRA = 1 / 8
_SMALL, _TOGETHER = 1 << 16, 1 << 20
"""Bytes of a basket that is loaded with those behind it, and of all of them when decompressed."""
_WITH_OFFSETS, _WITHOUT_OFFSETS = 11, {12, 91, 92}
_MIN_KEYLEN = _KEY.size + _BASKET.size + 1


@dataclass(frozen=True, slots=True)
class Storage:
    """How the values of a simple branch lie in its baskets.

    Attributes:
        dtype: Big-endian dtype of one element.
        shape: Fixed inner shape; the values of a jagged branch have none.
        jagged: Whether each entry is a list.
        header: Bytes before the elements of each entry (10 for ``std::vector``).
        counter: Name of the leaf that counts the elements, "" when there is none.
        bits: Whether these are ``TObject::fBits``: an object that a ``TRef`` points to has two
            more bytes, the number of its process (ROOT: ``TStreamerInfo::kBits``).
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    jagged: bool = False
    header: int = 0
    counter: str = ""
    bits: bool = False

    @property
    def native(self) -> np.dtype[Any]:
        return self.dtype.newbyteorder("=")


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the baskets of a branch are: basket i has entries ``bounds[i]`` to ``bounds[i+1]``.

    Attributes:
        seeks: Positions in the file, 0 for those in the record of the tree.
        embedded: Those in the record of the tree, which come last.
        unpacked: Bytes of baskets when they are decompressed, by their numbers, as far as known.
    """

    storage: Storage
    bounds: Int64s
    seeks: Int64s
    sizes: Int64s
    embedded: tuple[Basket, ...] = ()
    unpacked: dict[int, int] = field(default_factory=dict)

    def overlapping(self, start: int, stop: int) -> range:
        """Numbers of the baskets with entries in ``[start, stop)``."""
        if stop <= start:
            return range(0)
        if len(self.bounds) == 2:  # of a small file: many of them are read
            return range(1 if start < self.bounds.item(1) else 0)
        first = int(self.bounds.searchsorted(start, "right")) - 1
        return range(first, int(self.bounds.searchsorted(stop, "left")))


def cheap_cuts(plans: Sequence[Plan], start: int, stop: int, max_entries: int) -> list[int]:
    """Entries at which to divide ``[start, stop)`` into equal pieces of about `max_entries`.

    A cut costs the baskets that it goes through: they are decoded for both pieces. Cuts are made
    near where they should be, at the cheapest entry there; fewer than wanted if they would cost
    more than an eighth of the bytes of the range.
    """
    inside = [plan.bounds[(plan.bounds > start) & (plan.bounds < stop)] for plan in plans]
    boundaries = np.unique(np.concatenate(inside)) if inside else np.zeros(0, np.int64)
    if not len(boundaries):
        return []
    cost, total = np.zeros(len(boundaries), np.int64), 0
    for plan in plans:
        number = np.searchsorted(plan.bounds, boundaries, "right") - 1
        cost += np.where(plan.bounds[number] == boundaries, 0, plan.sizes[number])
        total += int(plan.sizes[list(plan.overlapping(start, stop))].sum())
    for pieces in range(-(-(stop - start) // max_entries), 1, -1):
        found = _near(boundaries, cost, start, stop, pieces)
        if sum(int(cost[index]) for index in found) <= total * _EXTRA:
            return sorted({int(boundaries[index]) for index in found})
    return []


def _near(boundaries: Int64s, cost: Int64s, start: int, stop: int, pieces: int) -> list[int]:
    """Numbers of the cheapest of `boundaries` around each of the ideal cuts."""
    width = (stop - start) / pieces
    found = []
    for cut in range(1, pieces):
        ideal = start + cut * width
        low, high = np.searchsorted(boundaries, [ideal - width / 4, ideal + width / 4])
        if low < high:
            near = np.arange(low, high)
            away = np.abs(boundaries[near] - ideal)
            found.append(int(near[np.lexsort((away, cost[near]))[0]]))
    return found


def num_baskets(branch: Branch, seeks: Int64s) -> int:
    """Baskets of a branch that are records of the file (not stored inside the tree's record)."""
    written = seeks[: branch.write_basket] if branch.write_basket >= 0 else seeks
    if np.count_nonzero(written) == len(written):
        return len(written)
    return int(np.flatnonzero(written == 0)[0])


def plan_of(tree: Tree, branch: Branch, storage: Storage, file_size: int) -> Plan:
    """The plan of a branch.

    Raises:
        NeedsUproot: Baskets inside the tree's record, or seek tables of another version.
        ValueError: Tables that cannot be right.
    """
    sizes, bounds, seeks = tree.tables(branch)
    count = num_baskets(branch, seeks)
    if len(bounds) <= count:
        message = "the table of entries is one short"
        raise NeedsUproot(message)
    sizes, bounds, seeks = sizes[:count], bounds[: count + 1], seeks[:count]
    if count == 0:
        bounds = np.zeros(1, np.int64)
    embedded: tuple[Basket, ...] = ()
    if bounds[-1] != branch.entries:
        embedded = tuple(_embedded(tree.data, *place) for place in tree.embedded(branch))
        ends = bounds[-1] + np.cumsum([0, *(basket.entries for basket in embedded)])
        if ends[-1] != branch.entries:
            message = "entries that are in no basket"
            raise NeedsUproot(message)
    inside = (sizes >= _MIN_KEYLEN) & (seeks > 0) & (seeks + sizes <= file_size)
    if bounds[0] != 0 or (bounds[1:] < bounds[:-1]).any() or not inside.all():
        message = f"the table of baskets of {branch.path!r} points outside the file"
        raise ValueError(message)
    if embedded:
        more = np.array([len(basket.data) for basket in embedded], np.int64)
        sizes, seeks = np.concatenate([sizes, more]), np.concatenate([seeks, 0 * more])
        bounds = np.concatenate([bounds[:-1], ends])
    return Plan(storage, bounds, seeks, sizes, embedded)


@dataclass(slots=True)
class Basket:
    """A decompressed basket: `data` with the values before `border`, offsets behind it."""

    data: Any
    border: int
    keylen: int
    entries: int


def _embedded(data: bytes, at: int, end: int) -> Basket:
    """A basket in the record of a tree: key, offsets if it has them, a copy of the key, values.

    ROOT: ``TBasket::Streamer``; its flag says what follows.
    """
    keylen = _KEY.unpack_from(data, at)[4]
    _, _, _, entries, last = _BASKET.unpack_from(data, at + keylen - _BASKET.size - 1)
    flag, at = data[at + keylen - 1], at + keylen
    offsets = b""
    if flag == _WITH_OFFSETS and entries:
        (count,) = struct.unpack_from(">i", data, at)
        offsets = data[at : at + 4 * (count + 1)]
        at += 4 * (count + 1)
    elif flag not in _WITHOUT_OFFSETS and entries:
        message = f"a basket with the flag {flag}"
        raise NeedsUproot(message)
    if at + last != end or not 0 < keylen <= last or entries < 0:
        message = f"a basket in the record of the tree ends at {at + last}, not {end}"
        raise NeedsUproot(message)
    values = data[at + keylen : end]
    if offsets:  # as in other baskets: their number, the offsets, and one that is not used
        return Basket(values + offsets + bytes(4), len(values), keylen, entries)
    return Basket(values, len(values), keylen, entries)


def load(
    source: Source,
    plan: Plan,
    number: int,
    *,
    reuse: bool = False,
    out: memoryview | None = None,
) -> Basket:
    """Read a basket; with `reuse` it is good until this thread loads the next one.

    Args:
        out: Where to decompress it to, if it has this length and is compressed.
    """
    written = len(plan.seeks) - len(plan.embedded)
    if number >= written:
        return plan.embedded[number - written]
    size, seek = plan.sizes.item(number), plan.seeks.item(number)
    raw = source.view(size, seek) if reuse else source.read(size, seek)
    basket, objlen = _packed(raw, plan, number)
    out = out if out is not None and len(out) == objlen else None
    basket.data = decompress(basket.data, objlen, reuse=reuse, out=out)
    return basket


def _packed(raw: Any, plan: Plan, number: int) -> tuple[Basket, int]:
    """A basket that is still to be decompressed, and the length that it has then."""
    nbytes, _, objlen, _, keylen, _ = _KEY.unpack_from(raw)
    if nbytes != len(raw) or not _MIN_KEYLEN <= keylen <= nbytes or objlen < 0:
        message = f"basket {number} is not where the tree says"
        raise ValueError(message)
    _, _, _, entries, last = _BASKET.unpack_from(raw, keylen - _BASKET.size - 1)
    due = plan.bounds.item(number + 1) - plan.bounds.item(number)
    border = last - keylen
    if entries != due or not 0 <= border <= objlen:
        message = f"basket {number} has {entries} entries where {due} are due"
        raise ValueError(message)
    return Basket(memoryview(raw)[keylen:], border, keylen, entries), objlen


class Loader:
    """Loads baskets of a branch that are asked for one after the other.

    Small ones, with which ROOT begins a file, are decompressed together: each call that lets the
    interpreter's lock go may have to wait for it afterwards, longer than zstd takes. (Numbers,
    which go from zstd to their column without a step between, gain nothing by it.)
    """

    def __init__(self, source: Source, plan: Plan, numbers: range) -> None:
        self._source, self._plan = source, plan
        self._stop = min(numbers.stop, len(plan.seeks) - len(plan.embedded))
        self._loaded: dict[int, Basket] = {}
        self._one_by_one = False

    def load(self, number: int) -> Basket:
        """As `load`, with `reuse`."""
        if number not in self._loaded and not self._one_by_one:
            self._loaded = self._together(number)
        found = self._loaded.get(number)
        return found or load(self._source, self._plan, number, reuse=True)

    def _together(self, first: int) -> dict[int, Basket]:
        """Small baskets from number `first` on; nothing, if it is none or the only one."""
        plan, packed, total = self._plan, [], 0
        sizes = plan.sizes[first : self._stop]
        if len(sizes) < 2 or max(sizes.item(0), sizes.item(1)) > _SMALL:
            return {}
        for number, size in enumerate(sizes.tolist(), first):
            if size > _SMALL or total > _TOGETHER:
                break
            packed.append(_packed(self._source.read(size, plan.seeks.item(number)), plan, number))
            total += packed[-1][1]
        baskets = [basket for basket, _ in packed]
        contents = decompress_together([each.data for each in baskets], [n for _, n in packed])
        if contents is None:
            self._one_by_one = True
            return {}
        for number, basket in enumerate(baskets):
            basket.data = contents[number]
        return dict(enumerate(baskets, first))


def unpacked_size(source: Source, plan: Plan, number: int) -> int:
    """Bytes of a basket when it is decompressed, as its key says."""
    written = len(plan.seeks) - len(plan.embedded)
    if number >= written:
        return len(plan.embedded[number - written].data)
    known = plan.unpacked.get(number)
    if known is None:
        key = source.read(_KEY.size, plan.seeks.item(number))
        known = plan.unpacked[number] = max(0, int(_KEY.unpack(key)[2]))
    return known


def _bytes_of(target: Array, storage: Storage) -> memoryview | None:
    """The memory of an array that takes values as they are in the file; None: they change."""
    same = target.dtype == storage.dtype and storage.dtype.kind != "b" and target.size > 0
    return target.view(np.uint8).data if same else None


def copy_values(out: Array, data: Any, dtype: np.dtype[Any], offset: int) -> None:
    """Copy ``out.size`` big-endian values at byte `offset` of `data` into the flat `out`."""
    if dtype.kind == "b":  # a byte that is neither 0 nor 1 must not become a strange bool
        np.not_equal(np.frombuffer(data, np.uint8, out.size, offset), 0, out=out)
    else:
        out[...] = np.frombuffer(data, dtype, out.size, offset)


def read_flat(
    source: Source, plan: Plan, start: int, stop: int, out: Array | None = None
) -> Array:
    """Entries ``[start, stop)`` of a branch of numbers or fixed arrays, into `out` if given.

    An `out` in the byte order of the file takes whole baskets without a copy.
    """
    storage = plan.storage
    if out is None:
        out = np.empty((stop - start, *storage.shape), storage.native)
    flat = out.reshape(-1)
    width = math.prod(storage.shape)
    item = width * storage.dtype.itemsize
    whole = _bytes_of(flat, storage)
    numbers = plan.overlapping(start, stop)
    bounds = plan.bounds[numbers.start : numbers.stop + 1].tolist()
    for number, (first, last) in zip(numbers, itertools.pairwise(bounds), strict=True):
        low, high = max(start, first), min(stop, last)
        memory = None
        if whole is not None and high - low == last - first:
            memory = whole[(low - start) * item : (high - start) * item]
        basket = load(source, plan, number, reuse=True, out=memory)
        if basket.border != basket.entries * item:
            if storage.bits:
                message = "bits of objects that a TRef points to, outside of a list"
                raise UnsupportedTypeError(message)
            message = (
                f"basket {number}: {basket.border} bytes for {basket.entries} entries of {item}"
            )
            raise ValueError(message)
        if memory is None or basket.data is not memory:
            target = flat[(low - start) * width : (high - start) * width]
            copy_values(target, basket.data, storage.dtype, (low - first) * item)
    return out
