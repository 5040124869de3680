"""Reading lists from TTree baskets.

Behind the values of a basket come the byte offsets of its entries. Branches of one counter have
the same offsets but for the length of their keys. So a `KnownOffsets` keeps what was found for one
branch, and the next ones only compare. Their columns share one array of offsets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
import numpy.typing as npt

from rootml._internal.types import Array
from rootml.storage._source import Source
from rootml.storage.ttree._baskets import (
    Basket,
    Int64s,
    Loader,
    Plan,
    Storage,
    copy_values,
    unpacked_size,
)
from rootml.storage.ttree._branches import NeedsUproot

Counts: TypeAlias = Callable[[str, int, int], Int64s]
Integers: TypeAlias = npt.NDArray[np.integer[Any]]
Place: TypeAlias = tuple[int, ...]
_REFERENCED = 1 << 4
_MAX_COUNTERS = 4
"""Counters whose offsets are kept of a basket's place."""
_FEW = 1 << 14
"""Offsets that are compared sooner than another thread would get the interpreter's lock."""


@dataclass(frozen=True, slots=True)
class _Extent:
    """The entries of one basket that are wanted: where their bytes are, and their counts."""

    first: int
    nbytes: int
    counts: Integers
    elements: int


@dataclass(frozen=True, slots=True)
class _Table:
    """The byte offsets of all entries of a basket, and what was found in them.

    Attributes:
        written: The offsets as they are in a file, by the length of the key before them: tables
            are compared byte for byte, not turned into numbers first.
    """

    starts: npt.NDArray[np.int32]
    border: int
    extent: _Extent
    written: dict[int, npt.NDArray[np.int32]] = field(default_factory=dict)

    def fits(self, basket: Basket, number: int) -> bool:
        """Whether another basket of as many entries has the same."""
        if self.border != basket.border:
            return False
        expected = self.written.get(basket.keylen)
        if expected is None:
            expected = (self.starts + np.int32(basket.keylen)).astype(">i4").view(np.int32)
            self.written[basket.keylen] = expected
        written = _table_of(basket, number)
        if len(written) < _FEW:
            return written.tobytes() == expected.tobytes()
        return bool((written.view(np.int32) == expected).all())


@dataclass(slots=True)
class KnownOffsets:
    """What was found for the branches of one read.

    Attributes:
        tables: Of baskets, by their entries, the wanted ones, and the size of header and element.
        counted: Values of counters, by name and range of entries.
        extents: Of baskets without offsets, by these and the bytes of the basket.
        offsets: Of whole columns, by the counts of their parts.
    """

    tables: dict[Place, deque[_Table]] = field(default_factory=dict)
    counted: dict[tuple[str, int, int], Int64s] = field(default_factory=dict)
    extents: dict[tuple[Any, ...], _Extent] = field(default_factory=dict)
    offsets: dict[Place, tuple[list[_Extent], Int64s]] = field(default_factory=dict)

    def joined(self, extents: list[_Extent], entries: int) -> Int64s:
        """Offsets of the lists of all extents, one array for the same extents."""
        key = tuple(id(extent.counts) for extent in extents)  # alive: they are kept beside
        if key not in self.offsets:
            offsets = np.zeros(entries + 1, np.int64)
            if extents:
                counts = np.concatenate([each.counts for each in extents], dtype=np.int64)
                np.cumsum(counts, out=offsets[1:])
            self.offsets[key] = extents, offsets
        return self.offsets[key][1]


def _table_of(basket: Basket, number: int) -> Array:
    """Byte positions where the entries of a basket begin, from its key on, big-endian."""
    table = np.frombuffer(basket.data, ">i4", offset=basket.border)
    if len(table) != basket.entries + 2:
        message = f"basket {number} has a table of {len(table)} offsets"
        raise NeedsUproot(message)
    return table[1:-1]  # ROOT does not use the last one: the values end at the border


def _starts_of(basket: Basket, number: int) -> npt.NDArray[np.int32]:
    """Byte positions where the entries of a basket begin."""
    starts = _table_of(basket, number).astype(np.int32)
    starts -= basket.keylen
    return starts


def _offsets_in(
    starts: npt.NDArray[np.int32], border: int, low: int, high: int
) -> npt.NDArray[np.int32]:
    """Byte positions where entries `low` to `high` begin (and the last ends)."""
    offsets = np.empty(high - low + 1, np.int32)
    offsets[:-1] = starts[low:high]
    offsets[-1] = border if high == len(starts) else starts[high]
    return offsets


def _from_counts(counts: Int64s, basket: Basket, itemsize: int, low: int, high: int) -> Int64s:
    """Byte positions of a basket that was written without them (ROOT's kGenerateOffsetMap)."""
    ends = np.cumsum(counts) * itemsize
    if len(counts) != basket.entries or (ends[-1] if len(ends) else 0) != basket.border:
        message = "the counter does not agree with the bytes in the basket"
        raise ValueError(message)
    return np.concatenate([np.zeros(1, np.int64), ends])[low : high + 1]


def _extent(basket: Basket, offsets: Integers, storage: Storage, number: int) -> _Extent:
    first, last = int(offsets[0]), int(offsets[-1])
    # compared before they are subtracted: differences of 32-bit numbers in order do not overflow
    if first < 0 or last > basket.border or np.any(offsets[1:] < offsets[:-1]):
        raise _do_not_fit(number)
    lengths = np.diff(offsets)
    if storage.header:
        lengths -= storage.header
    size = storage.dtype.itemsize  # 1, 2, 4 or 8: a division takes ten times as long
    if (storage.header and np.any(lengths < 0)) or np.any(lengths & (size - 1)):
        raise _do_not_fit(number)
    counts = lengths >> (size.bit_length() - 1)
    elements = (last - first - storage.header * len(counts)) // size
    return _Extent(first, last - first, counts, elements)


def _do_not_fit(number: int) -> ValueError:
    return ValueError(f"the offsets of basket {number} do not fit its values")


@dataclass(frozen=True, slots=True)
class _Reader:
    """Finds the wanted entries of the baskets of one branch."""

    plan: Plan
    counts: Counts
    known: KnownOffsets

    def extent(self, basket: Basket, number: int, low: int, high: int) -> _Extent:
        """Those of basket `number` from entry `low` of it to entry `high`."""
        storage = self.plan.storage
        first = int(self.plan.bounds[number])
        place = (first, basket.entries, low, high, storage.header, storage.dtype.itemsize)
        if basket.border < len(basket.data):
            known = self.known.tables.setdefault(place, deque(maxlen=_MAX_COUNTERS))
            for table in tuple(known):  # other threads add to it
                if table.fits(basket, number):
                    return table.extent
            starts = _starts_of(basket, number)
            offsets = _offsets_in(starts, basket.border, low, high)
            extent = _extent(basket, offsets, storage, number)
            known.appendleft(_Table(starts, basket.border, extent))
            return extent
        return self._counted(basket, number, low, high)

    def bits(self, basket: Basket, number: int, low: int, high: int) -> Integers:
        """Byte offsets of ``TObject::fBits``, whose elements differ in length."""
        if basket.border == len(basket.data):
            raise self._nothing(number)
        return _offsets_in(_starts_of(basket, number), basket.border, low, high)

    def read_counter(self, basket: Basket, number: int) -> bool:
        """Read the counter of a basket without offsets; False if there was nothing to read."""
        counter = self.plan.storage.counter
        first = int(self.plan.bounds[number])
        key = (counter, first, first + basket.entries)
        with_offsets = basket.border < len(basket.data)
        if with_offsets or not counter or self.plan.storage.bits or key in self.known.counted:
            return False
        self.known.counted[key] = self.counts(*key)
        return True

    def _counted(self, basket: Basket, number: int, low: int, high: int) -> _Extent:
        """As `extent`, of a basket without offsets."""
        storage, first = self.plan.storage, int(self.plan.bounds[number])
        if not storage.counter:
            raise self._nothing(number)
        key = (storage.counter, first, first + basket.entries)
        place = (*key, low, high, storage.dtype.itemsize, basket.border)
        if place not in self.known.extents:
            each = self.known.counted[key]
            offsets = _from_counts(each, basket, storage.dtype.itemsize, low, high)
            self.known.extents[place] = _extent(basket, offsets, storage, number)
        return self.known.extents[place]

    def _nothing(self, number: int) -> NeedsUproot:
        return NeedsUproot(f"basket {number} has no offsets and no counter")


def _without_headers(data: Any, extent: _Extent, storage: Storage) -> Any:
    """The elements of a ``std::vector`` branch, closed up.

    The last number of each header is the length of the list: its low bits are compared.
    """
    unit = 2 if storage.dtype.itemsize % 2 == 0 else 1
    words = np.frombuffer(data, f"u{unit}", extent.nbytes // unit, extent.first)
    counts = extent.counts
    size = storage.header + counts * storage.dtype.itemsize
    ends = (np.cumsum(size) - size + storage.header) // unit  # of the headers
    stated = words[ends - 1].byteswap() if unit == 2 else words[ends - 1]
    if np.any(stated != (counts & (0xFFFF if unit == 2 else 0xFF))):
        message = "the lengths of its lists contradict each other"
        raise ValueError(message)
    runs = np.empty(2 * len(counts), np.int64)
    runs[0::2] = storage.header // unit
    runs[1::2] = counts * (storage.dtype.itemsize // unit)
    keep = np.repeat(np.tile(np.array([False, True]), len(counts)), runs)
    return words[keep]


def _bits_of(basket: Basket, offsets: Integers, number: int) -> tuple[Any, _Extent]:
    """The elements of four or six bytes, closed up: all first ones, then the second ones, ...

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
        raise _do_not_fit(number)
    owner = np.concatenate(owners or [np.zeros(0, np.int64)])
    place = np.concatenate(places or [np.zeros(0, np.int64)])[np.argsort(owner, kind="stable")]
    packed = np.ascontiguousarray(data[place[:, None] + np.arange(4)]).tobytes()
    counts = np.bincount(owner, minlength=len(ends))
    return packed, _Extent(0, len(packed), counts, len(owner))


def room(source: Source, plan: Plan, start: int, stop: int) -> int:
    """More elements are not in entries ``[start, stop)`` of a branch of lists."""
    numbers = plan.overlapping(start, stop)
    nbytes = sum(unpacked_size(source, plan, number) for number in numbers)
    return nbytes // plan.storage.dtype.itemsize


def read_jagged(
    source: Source,
    plan: Plan,
    start: int,
    stop: int,
    counts: Counts,
    *,
    known: KnownOffsets,
    content: Array,
) -> ak.Array:
    """Entries ``[start, stop)`` of a branch of lists.

    Args:
        counts: Reads an entry range of a counter.
        known: Of the same read.
        content: Takes the elements: `room` native ones.
    """
    storage, reader = plan.storage, _Reader(plan, counts, known)
    numbers = plan.overlapping(start, stop)
    extents, at = [], 0
    loader = Loader(source, plan, numbers)
    for number in numbers:
        basket = loader.load(number)
        if reader.read_counter(basket, number):  # which took the memory of the basket
            basket = loader.load(number)
        first, last = int(plan.bounds[number]), int(plan.bounds[number + 1])
        low, high = max(start, first) - first, min(stop, last) - first
        if storage.bits:
            offsets = reader.bits(basket, number, low, high)
            data, extent = _bits_of(basket, offsets, number)
        else:
            data, extent = basket.data, reader.extent(basket, number, low, high)
        begin = extent.first
        if storage.header:
            data, begin = _without_headers(data, extent, storage), 0
        copy_values(content[at : at + extent.elements], data, storage.dtype, begin)
        extents.append(extent)
        at += extent.elements
    return _lists(known.joined(extents, stop - start), content[:at])


def _lists(offsets: Int64s, content: Array) -> ak.Array:
    layout = ak.contents.ListOffsetArray(
        ak.index.Index64(offsets), ak.contents.NumpyArray(content)
    )
    return ak.Array(layout)
