"""Direct reading of TTree baskets: one copy from the decompressed basket into the column.

A basket is a record of the file: a copy of its key, five numbers, and then, compressed, the values
of all its entries in big-endian order; for lists followed by the byte offset of each entry (ROOT:
``TBasket::Streamer``). `plan_of` says where a branch's baskets are, `read_flat` and `read_jagged`
decode an entry range. A basket that a range covers only in part is decoded as a whole.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml._internal.types import Array
from rootml.errors import UnsupportedTypeError
from rootml.storage._blocks import decompress
from rootml.storage._source import Source
from rootml.storage.ttree._branches import Branch, NeedsUproot, Tree

Int64s: TypeAlias = npt.NDArray[np.int64]
Counts: TypeAlias = Callable[[str, int, int], Int64s]

_KEY = struct.Struct(">ihiIhh")
_BASKET = struct.Struct(">Hiiii")
_EXTRA = 1 / 8
_REFERENCED = 1 << 4
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
    """

    storage: Storage
    bounds: Int64s
    seeks: Int64s
    sizes: Int64s
    embedded: tuple[_Basket, ...] = ()

    def overlapping(self, start: int, stop: int) -> range:
        """Numbers of the baskets with entries in ``[start, stop)``."""
        if stop <= start:
            return range(0)
        first = int(np.searchsorted(self.bounds, start, "right")) - 1
        return range(first, int(np.searchsorted(self.bounds, stop, "left")))


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
    empty = np.flatnonzero(seeks == 0)
    end = int(empty[0]) if len(empty) else len(seeks)
    return min(end, branch.write_basket) if branch.write_basket >= 0 else end


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
    embedded: tuple[_Basket, ...] = ()
    if bounds[-1] != branch.entries:
        embedded = tuple(_embedded(tree.data, *place) for place in tree.embedded(branch))
        ends = bounds[-1] + np.cumsum([0, *(basket.entries for basket in embedded)])
        if ends[-1] != branch.entries:
            message = "entries that are in no basket"
            raise NeedsUproot(message)
    inside = (sizes >= _MIN_KEYLEN) & (seeks > 0) & (seeks + sizes <= file_size)
    if bounds[0] != 0 or np.any(np.diff(bounds) < 0) or not np.all(inside):
        message = f"the table of baskets of {branch.path!r} points outside the file"
        raise ValueError(message)
    if embedded:
        more = np.array([len(basket.data) for basket in embedded], np.int64)
        sizes, seeks = np.concatenate([sizes, more]), np.concatenate([seeks, 0 * more])
        bounds = np.concatenate([bounds[:-1], ends])
    return Plan(storage, bounds, seeks, sizes, embedded)


@dataclass(slots=True)
class _Basket:
    """A decompressed basket: `data` with the values before `border`, offsets behind it."""

    data: Any
    border: int
    keylen: int
    entries: int


def _embedded(data: bytes, at: int, end: int) -> _Basket:
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
        return _Basket(values + offsets + bytes(4), len(values), keylen, entries)
    return _Basket(values, len(values), keylen, entries)


def _load(source: Source, plan: Plan, number: int, *, reuse: bool = False) -> _Basket:
    """Read a basket; with `reuse` it is good until this thread loads the next one."""
    written = len(plan.seeks) - len(plan.embedded)
    if number >= written:
        return plan.embedded[number - written]
    size, seek = int(plan.sizes[number]), int(plan.seeks[number])
    raw = source.view(size, seek) if reuse else source.read(size, seek)
    nbytes, _, objlen, _, keylen, _ = _KEY.unpack_from(raw)
    if nbytes != size or not _MIN_KEYLEN <= keylen <= size or objlen < 0:
        message = f"basket {number} is not where the tree says"
        raise ValueError(message)
    _, _, _, entries, last = _BASKET.unpack_from(raw, keylen - _BASKET.size - 1)
    due = int(plan.bounds[number + 1] - plan.bounds[number])
    border = last - keylen
    if entries != due or not 0 <= border <= objlen:
        message = f"basket {number} has {entries} entries where {due} are due"
        raise ValueError(message)
    data = decompress(memoryview(raw)[keylen:], objlen, reuse=reuse)
    return _Basket(data, border, keylen, entries)


def _copy(out: Array, data: Any, dtype: np.dtype[Any], offset: int) -> None:
    """Copy ``out.size`` big-endian values at byte `offset` of `data` into the flat `out`."""
    if dtype.kind == "b":  # a byte that is neither 0 nor 1 must not become a strange bool
        np.not_equal(np.frombuffer(data, np.uint8, out.size, offset), 0, out=out)
    else:
        out[...] = np.frombuffer(data, dtype, out.size, offset)


def read_flat(
    source: Source, plan: Plan, start: int, stop: int, out: Array | None = None
) -> Array:
    """Entries ``[start, stop)`` of a branch of numbers or fixed arrays, into `out` if given."""
    storage = plan.storage
    if out is None:
        out = np.empty((stop - start, *storage.shape), storage.native)
    flat = out.reshape(-1)
    width = int(np.prod(storage.shape, dtype=np.int64))
    for number in plan.overlapping(start, stop):
        basket = _load(source, plan, number, reuse=True)
        first, last = int(plan.bounds[number]), int(plan.bounds[number + 1])
        item = width * storage.dtype.itemsize
        if basket.border != basket.entries * item:
            if storage.bits:
                message = "bits of objects that a TRef points to, outside of a list"
                raise UnsupportedTypeError(message)
            message = (
                f"basket {number}: {basket.border} bytes for {basket.entries} entries of {item}"
            )
            raise ValueError(message)
        low, high = max(start, first), min(stop, last)
        target = flat[(low - start) * width : (high - start) * width]
        _copy(target, basket.data, storage.dtype, (low - first) * item)
    return out


def _byte_offsets(basket: _Basket, low: int, high: int, number: int) -> Int64s:
    """Byte positions where entries `low` to `high` begin (and the last ends)."""
    table = np.frombuffer(basket.data, ">i4", offset=basket.border)
    if len(table) != basket.entries + 2:
        message = f"basket {number} has a table of {len(table)} offsets"
        raise NeedsUproot(message)
    # the last number of the table is not used by ROOT: the values end at the border
    offsets = table[1 + low : 2 + high].astype(np.int64) - basket.keylen
    if high == basket.entries:
        offsets[-1] = basket.border
    return offsets


def _from_counts(counts: Int64s, basket: _Basket, itemsize: int, low: int, high: int) -> Int64s:
    """Byte positions of a basket that was written without them (ROOT's kGenerateOffsetMap)."""
    ends = np.cumsum(counts) * itemsize
    if len(counts) != basket.entries or (ends[-1] if len(ends) else 0) != basket.border:
        message = "the counter does not agree with the bytes in the basket"
        raise ValueError(message)
    return np.concatenate([np.zeros(1, np.int64), ends])[low : high + 1]


def _without_headers(part: _Part, storage: Storage) -> Any:
    """The elements of a ``std::vector`` branch, closed up.

    The last number of each header is the length of the list: its low bits are compared.
    """
    unit = 2 if storage.dtype.itemsize % 2 == 0 else 1
    words = np.frombuffer(part.data, f"u{unit}", part.nbytes // unit, part.first)
    size = storage.header + part.counts * storage.dtype.itemsize
    ends = (np.cumsum(size) - size + storage.header) // unit  # of the headers
    stated = words[ends - 1].byteswap() if unit == 2 else words[ends - 1]
    if np.any(stated != (part.counts & (0xFFFF if unit == 2 else 0xFF))):
        message = "the lengths of its lists contradict each other"
        raise ValueError(message)
    runs = np.empty(2 * len(part.counts), np.int64)
    runs[0::2] = storage.header // unit
    runs[1::2] = part.counts * (storage.dtype.itemsize // unit)
    keep = np.repeat(np.tile(np.array([False, True]), len(part.counts)), runs)
    return words[keep]


@dataclass(slots=True)
class _Part:
    """The entries of one basket that are wanted: their bytes and their counts."""

    data: Any
    first: int
    nbytes: int
    counts: Int64s


def _part(basket: _Basket, offsets: Int64s, storage: Storage, number: int) -> _Part:
    lengths = np.diff(offsets) - storage.header
    size = storage.dtype.itemsize  # 1, 2, 4 or 8: a division takes ten times as long
    counts, rest = lengths >> (size.bit_length() - 1), lengths & (size - 1)
    outside = offsets[0] < 0 or offsets[-1] > basket.border
    if outside or np.any(lengths < 0) or np.any(rest):
        message = f"the offsets of basket {number} do not fit its values"
        raise ValueError(message)
    return _Part(basket.data, int(offsets[0]), int(offsets[-1] - offsets[0]), counts)


def _parts(source: Source, plan: Plan, start: int, stop: int, counts: Counts) -> list[_Part]:
    storage, parts = plan.storage, []
    for number in plan.overlapping(start, stop):
        basket = _load(source, plan, number)
        first, last = int(plan.bounds[number]), int(plan.bounds[number + 1])
        low, high = max(start, first) - first, min(stop, last) - first
        if basket.border < len(basket.data):
            offsets = _byte_offsets(basket, low, high, number)
        elif storage.counter and not storage.bits:
            each = counts(storage.counter, first, last)
            offsets = _from_counts(each, basket, storage.dtype.itemsize, low, high)
        else:
            message = f"basket {number} has no offsets and no counter"
            raise NeedsUproot(message)
        if storage.bits:
            parts.append(_bits_part(basket, offsets, number))
        else:
            parts.append(_part(basket, offsets, storage, number))
    return parts


def _bits_part(basket: _Basket, offsets: Int64s, number: int) -> _Part:
    """As `_part`, of elements of four or six bytes: the first of all lists, then the second, ...

    The length of an element is told by a bit of the element itself.
    """
    data, at, ends = np.frombuffer(basket.data, np.uint8), offsets[:-1].copy(), offsets[1:]
    places, owners = [], []
    while (active := np.flatnonzero(at < ends)).size:
        if at[active].min() < 0 or at[active].max() + 4 > basket.border:
            break
        places.append(at[active])
        owners.append(active)
        referenced = (data[at[active] + 3] & _REFERENCED) != 0
        at[active] += 4 + 2 * referenced
    if not np.array_equal(at, ends):
        message = f"the offsets of basket {number} do not fit its values"
        raise ValueError(message)
    owner = np.concatenate(owners or [np.zeros(0, np.int64)])
    place = np.concatenate(places or [np.zeros(0, np.int64)])[np.argsort(owner, kind="stable")]
    packed = np.ascontiguousarray(data[place[:, None] + np.arange(4)]).tobytes()
    return _Part(packed, 0, len(packed), np.bincount(owner, minlength=len(ends)))


def read_jagged(source: Source, plan: Plan, start: int, stop: int, counts: Counts) -> ak.Array:
    """Entries ``[start, stop)`` of a branch of lists; `counts` reads a counter's entry range."""
    storage = plan.storage
    parts = _parts(source, plan, start, stop, counts)
    offsets = np.zeros(stop - start + 1, np.int64)
    if parts:
        np.cumsum(np.concatenate([part.counts for part in parts]), out=offsets[1:])
    content = np.empty(int(offsets[-1]), storage.native)
    at = 0
    for part in parts:
        size = int(part.counts.sum())
        data, first = part.data, part.first
        if storage.header:
            data, first = _without_headers(part, storage), 0
        _copy(content[at : at + size], data, storage.dtype, first)
        at += size
    layout = ak.contents.ListOffsetArray(
        ak.index.Index64(offsets), ak.contents.NumpyArray(content)
    )
    return ak.Array(layout)
