"""Direct reading of RNTuple pages: from the decompressed page into the column, by entry range.

uproot parses the metadata; here are the bytes. A page holds consecutive elements of one column of
a cluster, compressed by itself and followed by its XXH3 checksum. Encodings (RNTuple Binary Format
Specification 1.0, "Column Types")::

    split    byte planes: all first bytes, then all second bytes, ...
    zigzag   signed numbers as 0, -1, 1, -2, ... = 0, 1, 2, 3, ...
    delta    differences to the element before; the first of a page is the number itself
    bit      eight bools a byte, lowest bit first

A list per entry is two columns: where each list ends, counted in its cluster, and the elements.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
import numpy.typing as npt
import xxhash

from rootml._internal.types import Array
from rootml.storage._blocks import decompress
from rootml.storage._source import Source
from rootml.storage.rntuple._envelopes import PageLists, Pages

Int64s: TypeAlias = npt.NDArray[np.int64]

_CHECKSUM = 8
_PLAIN = {
    3: "i1",
    4: "u1",
    5: "i2",
    6: "u2",
    7: "i4",
    8: "u4",
    9: "i8",
    10: "u8",
    12: "f4",
    13: "f8",
}
_PLAIN |= {2: "i1", 14: "u4", 15: "u8"}  # char; ends of lists
_SPLIT = {18: "u2", 20: "u4", 22: "u8", 24: "f4", 25: "f8"}
_ZIGZAG = {17: "i2", 19: "i4", 21: "i8"}
_DELTA = {26: "u4", 27: "u8"}
_BIT = 0
_INDEX = {14, 15, 26, 27}
_LEAF, _COLLECTION = 0, 1
_STANDARD = 0
_ONE = 1


@dataclass(frozen=True, slots=True)
class PageColumn:
    """Where the pages of a column are.

    Attributes:
        kind: Column type, as the format numbers them.
        dtype: Of one element in memory.
        bounds: Numbers of the elements at which pages begin, over all clusters, and the end.
        clusters: Numbers of the elements at which clusters begin, and the end.
        offsets, sizes: Of the pages in the file, in bytes, without the checksum.
        checked: Whether a checksum follows the page.
    """

    kind: int
    dtype: np.dtype[Any]
    bounds: Int64s
    clusters: Int64s
    offsets: Int64s
    sizes: Int64s
    checked: npt.NDArray[np.bool_]

    def overlapping(self, start: int, stop: int) -> range:
        """Numbers of the pages with elements in ``[start, stop)``."""
        if stop <= start:
            return range(0)
        if len(self.bounds) == _ONE + 1:  # of a small file: many of them are read
            return range(1 if start < self.bounds.item(1) else 0)
        first = int(np.searchsorted(self.bounds, start, "right")) - 1
        return range(first, int(np.searchsorted(self.bounds, stop, "left")))


@dataclass(frozen=True, slots=True)
class FieldPages:
    """The columns of a field of numbers, or of lists: `ends` says where each list ends."""

    values: PageColumn
    ends: PageColumn | None

    @property
    def stored_bytes(self) -> int:
        """Compressed size."""
        own = int(self.values.sizes.sum())
        return own if self.ends is None else own + int(self.ends.sizes.sum())

    @property
    def per_entry(self) -> PageColumn:
        """The column that has one element for each entry."""
        return self.values if self.ends is None else self.ends


# --- from uproot's metadata ---------------------------------------------------------------------


def fields_by_name(tree: Any) -> dict[str, list[int]]:
    """Numbers of the column records of each top field of numbers or lists of numbers.

    What is not there has to be read by uproot: records, nested lists, fields of several or of late
    columns, arrays of fixed length.
    """
    fields = tree.field_records
    children: dict[int, list[int]] = {}
    for number, field in enumerate(fields):
        if field.parent_field_id != number:
            children.setdefault(field.parent_field_id, []).append(number)
    records: dict[int, list[Any]] = {}
    for column in tree.column_records:
        records.setdefault(column.field_id, []).append(column)
    found = {}
    for number, field in enumerate(fields):
        inner = children.get(number, [])
        if field.parent_field_id != number:
            continue
        chain = [number] if not inner else [number, *inner]
        roles = [int(fields[each].struct_role) for each in chain]
        if roles not in ([_LEAF], [_COLLECTION, _LEAF]) or children.get(
            chain[-1] if inner else -1
        ):
            continue
        sources = [
            each if fields[each].source_field_id is None else fields[each].source_field_id
            for each in chain
        ]
        columns = [records.get(each, []) for each in sources]
        plain = all(len(c) == 1 and not c[0].first_element_index for c in columns)
        if plain and not any(fields[each].repetition for each in (*chain, *sources)):
            found[field.field_name] = [int(c[0].idx) for c in columns]
    return found


def pages_of(
    numbers: Sequence[int], column: Callable[[int], PageColumn | None]
) -> FieldPages | None:
    """The pages of a field; None if uproot has to read it.

    Args:
        numbers: As `fields_by_name` gives them.
        column: Gives a column by its number: `column_of_tree` or `column_of_lists`.
    """
    columns = [column(number) for number in numbers]
    if any(column is None for column in columns):
        return None
    if len(columns) == 1:
        assert columns[0] is not None
        return None if columns[0].kind in _INDEX else FieldPages(columns[0], None)
    ends, values = columns
    assert ends is not None
    assert values is not None
    if ends.kind not in _INDEX or values.kind in _INDEX:
        return None
    return FieldPages(values, ends)


@cache
def _dtype(kind: int) -> np.dtype[Any] | None:
    if kind == _BIT:
        return np.dtype(bool)
    for names in (_PLAIN, _SPLIT, _ZIGZAG, _DELTA):
        if kind in names:
            return np.dtype(names[kind])
    return None


def column_of_lists(lists: PageLists, kinds: Sequence[int], number: int) -> PageColumn | None:
    """A column of type ``kinds[number]``, from the lists of pages."""
    dtype, clusters = _dtype(kinds[number]), lists.pages(number)
    if dtype is None or clusters is None:
        return None
    pages = _joined(clusters)
    if len(pages.elements) == len(clusters) == _ONE:  # of a small file: many of them are read
        bounds = edges = np.array([0, pages.elements.item()], np.int64)
    else:
        bounds = _from_zero(pages.elements)
        counts = (len(each.elements) for each in clusters)
        edges = bounds[[0, *itertools.accumulate(counts)]]
    return PageColumn(
        kinds[number],
        dtype,
        bounds,
        edges,
        pages.offsets,
        pages.sizes,
        pages.checked,
    )


def _joined(clusters: Sequence[Pages]) -> Pages:
    """The pages of all clusters."""
    if len(clusters) == 1:
        return clusters[0]
    nothing = np.zeros(0, np.int64)
    elements, offsets, sizes = (
        np.concatenate([nothing, *(getattr(pages, name) for pages in clusters)])
        for name in ("elements", "offsets", "sizes")
    )
    checked = np.concatenate([np.zeros(0, bool), *(pages.checked for pages in clusters)])
    return Pages(elements, offsets, sizes, checked)


def _from_zero(counts: Int64s) -> Int64s:
    """Where each of some counts begins, and the end."""
    ends = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=ends[1:])
    return ends


def column_of_tree(tree: Any, number: int) -> PageColumn | None:
    """A column, from what uproot parsed."""
    kind = int(tree.column_records[number].type)
    dtype = _dtype(kind)
    rows, clusters, total = [], [0], 0
    if dtype is None:
        return None
    for columns in tree.page_link_list:
        if number >= len(columns) or columns[number].suppressed:
            return None
        for page in columns[number].pages:
            locator = page.locator
            if int(locator.type) != _STANDARD:
                return None
            rows.append((page.num_elements, locator.offset, locator.num_bytes, page.has_checksum))
            total += page.num_elements
        clusters.append(total)
    table = np.array(rows, np.int64).reshape(-1, 4)
    return PageColumn(
        kind,
        dtype,
        np.concatenate([np.zeros(1, np.int64), np.cumsum(table[:, 0])]),
        np.array(clusters, np.int64),
        table[:, 1],
        table[:, 2],
        table[:, 3].astype(bool),
    )


# --- where the bytes are ------------------------------------------------------------------------


def _ranges(column: PageColumn, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Position and size of the pages with elements ``[start, stop)``."""
    for number in column.overlapping(start, stop):
        checksum = _CHECKSUM * bool(column.checked[number])
        yield int(column.offsets[number]), int(column.sizes[number]) + checksum


def first_ranges(fields: Iterable[FieldPages], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Pages that entries ``[start, stop)`` need for sure: all but the elements of lists."""
    for field in fields:
        inside = field.ends is not None and start not in field.ends.clusters
        yield from _ranges(field.per_entry, start - inside, stop)  # where the list before ends


def element_ranges(lists: Iterable[tuple[FieldPages, Int64s]]) -> Iterator[tuple[int, int]]:
    """Pages of the elements of lists, given their `list_offsets`."""
    for field, offsets in lists:
        yield from _ranges(field.values, int(offsets[0]), int(offsets[-1]))


def cluster_ranges(
    tree: Any, names: Collection[str], start: int, stop: int
) -> Iterator[tuple[int, int]]:
    """All pages of top fields and what is inside, in the clusters that uproot is going to read."""
    tops = [
        number
        for number, field in enumerate(tree.field_records)
        if field.field_name in names and field.parent_field_id == number
    ]
    for page in _pages_in(tree, family_of(tree, tops), start, stop):
        yield int(page.locator.offset), int(page.locator.num_bytes)


def family_of(tree: Any, numbers: Iterable[int]) -> set[int]:
    """The fields of these numbers, what is inside of them, and what they are projected from."""
    fields, family = tree.field_records, set(numbers)
    for number, field in enumerate(fields):  # parents come first
        if field.parent_field_id in family:
            family.add(number)
    return family | ({fields[number].source_field_id for number in family} - {None})


def _pages_in(tree: Any, fields: Collection[int], start: int, stop: int) -> Iterator[Any]:
    """The pages of the columns of `fields` in the clusters with entries ``[start, stop)``."""
    columns = [int(column.idx) for column in tree.column_records if column.field_id in fields]
    for cluster, links in zip(tree.cluster_summaries, tree.page_link_list, strict=True):
        first = cluster.num_first_entry
        if start < first + cluster.num_entries and first < stop:
            for number in columns:
                for page in links[number].pages if number < len(links) else ():
                    if int(page.locator.type) == _STANDARD:
                        yield page


def check_page_lists(tree: Any) -> None:
    """Compare the checksums of the lists of pages, which uproot does not look at.

    Raises:
        ValueError: One does not match.
    """
    for record in tree.footer.cluster_group_records:
        link = record.page_list_link
        chunk, _ = tree.read_locator(link.locator, link.env_uncomp_size)
        raw = bytes(chunk.raw_data)
        stated = int.from_bytes(raw[-_CHECKSUM:], "little")
        if xxhash.xxh3_64_intdigest(raw[:-_CHECKSUM]) != stated:
            message = "the checksum of a list of pages does not match"
            raise ValueError(message)


def check_pages(source: Source, tree: Any, field: int, start: int, stop: int) -> None:
    """Compare the checksums of the pages of a field, which uproot does not look at.

    Raises:
        ValueError: One does not match.
    """
    family = family_of(tree, [field])
    while field != (field := tree.field_records[field].parent_field_id):
        family.add(field)  # where the lists end that it is in
    for page in _pages_in(tree, family, start, stop):
        if page.has_checksum:
            offset, size = int(page.locator.offset), int(page.locator.num_bytes)
            raw = source.view(size + _CHECKSUM, offset)
            if xxhash.xxh3_64_intdigest(raw[:size]) != int.from_bytes(raw[size:], "little"):
                message = f"the checksum of the page at {offset} does not match"
                raise ValueError(message)


# --- reading ------------------------------------------------------------------------------------


def read_flat(
    source: Source, pages: FieldPages, start: int, stop: int, out: Array | None
) -> Array:
    """Entries ``[start, stop)`` of a field of numbers, into `out` if given."""
    if out is None:
        out = np.empty(stop - start, pages.values.dtype)
    _read(source, pages.values, start, stop, out)
    return out


def list_offsets(source: Source, pages: FieldPages, start: int, stop: int) -> Int64s:
    """Numbers of the elements at which the lists of the entries begin, and the end of the last.

    Raises:
        ValueError: Lists that end before they begin, or where there are no elements.
    """
    assert pages.ends is not None
    offsets = _offsets(source, pages.ends, pages.values.clusters, start, stop)
    if np.any(np.diff(offsets) < 0) or offsets[-1] > pages.values.bounds[-1]:
        message = "the ends of its lists contradict each other"
        raise ValueError(message)
    return offsets


def read_lists(source: Source, pages: FieldPages, offsets: Int64s) -> ak.Array:
    """The lists of a field of numbers between `list_offsets`."""
    first, last = int(offsets[0]), int(offsets[-1])
    content = np.empty(last - first, pages.values.dtype)
    _read(source, pages.values, first, last, content)
    return ak.Array(
        ak.contents.ListOffsetArray(
            ak.index.Index64(offsets - first), ak.contents.NumpyArray(content)
        )
    )


def _offsets(source: Source, ends: PageColumn, begins: Int64s, start: int, stop: int) -> Int64s:
    """Numbers of the elements at which the lists begin, and the end of the last.

    Args:
        begins: Numbers of the elements at which clusters begin.
    """
    cluster = np.searchsorted(ends.clusters, np.arange(start, stop), "right") - 1
    offsets = np.zeros(stop - start + 1, np.int64)
    if start == stop:
        return offsets
    raw = np.empty(stop - start, ends.dtype)
    _read(source, ends, start, stop, raw)
    offsets[1:] = raw.astype(np.int64) + begins[cluster]
    offsets[0] = begins[cluster[0]]
    if start > ends.clusters[cluster[0]]:
        before = np.empty(1, ends.dtype)
        _read(source, ends, start - 1, start, before)
        offsets[0] += int(before[0])
    return offsets


def _read(source: Source, column: PageColumn, start: int, stop: int, out: Array) -> None:
    """Fill `out` with the elements ``[start, stop)``."""
    for number in column.overlapping(start, stop):
        first, last = int(column.bounds[number]), int(column.bounds[number + 1])
        data = _load(source, column, number, last - first)
        low, high = max(start, first), min(stop, last)
        target = out[low - start : high - start]
        _decode(column, data, last - first, low - first, high - first, target)


def _load(source: Source, column: PageColumn, number: int, count: int) -> Any:
    """The bytes of a page, good until this thread loads the next one."""
    size, checked = int(column.sizes[number]), bool(column.checked[number])
    raw = source.view(size + _CHECKSUM * checked, int(column.offsets[number]))
    if checked:
        stated = int.from_bytes(raw[size:], "little")
        if xxhash.xxh3_64_intdigest(raw[:size]) != stated:
            message = f"the checksum of page {number} does not match"
            raise ValueError(message)
    due = -(-count // 8) if column.kind == _BIT else count * column.dtype.itemsize
    return decompress(raw[:size], due, reuse=True)


def _decode(column: PageColumn, data: Any, count: int, low: int, high: int, out: Array) -> None:
    """The elements `low` to `high` of a page of `count`."""
    kind = column.kind
    if kind == _BIT:
        bits = np.frombuffer(data, np.uint8)
        out[...] = np.unpackbits(bits, count=count, bitorder="little")[low:high]
    elif kind in _DELTA:
        whole = np.empty(count, column.dtype)
        _join_planes(data, count, 0, count, whole)
        out[...] = np.cumsum(whole, dtype=column.dtype)[low:high]
    elif kind in _SPLIT or kind in _ZIGZAG:
        _join_planes(data, count, low, high, out)
        if kind in _ZIGZAG:
            bits = out.view(f"u{out.itemsize}")
            sign = bits & 1
            np.right_shift(bits, 1, out=bits)
            np.bitwise_xor(bits, np.negative(sign), out=bits)
    else:
        out[...] = np.frombuffer(data, column.dtype.newbyteorder("<"))[low:high]


def _join_planes(data: Any, count: int, low: int, high: int, out: Array) -> None:
    """Numbers from byte planes, the lowest first: shifts and ors, faster than a transposition."""
    planes = np.frombuffer(data, np.uint8).reshape(out.itemsize, count)[:, low:high]
    bits = out.view(f"u{out.itemsize}")
    np.copyto(bits, planes[-1])
    for plane in planes[-2::-1]:
        np.left_shift(bits, 8, out=bits)
        np.bitwise_or(bits, plane, out=bits)


def page_bounds(fields: Mapping[str, FieldPages], num_entries: int) -> Int64s | None:
    """Entries at which it is cheap to begin; None if there is no field to tell.

    Pages hold equally many bytes, so they begin at other entries for other widths. The pages of
    the fields that most bytes are in decide; of the others some are decoded twice.
    """
    weights: dict[bytes, int] = {}
    for field in fields.values():
        key = np.unique(field.per_entry.bounds).tobytes()
        weights[key] = weights.get(key, 0) + field.stored_bytes
    if not weights:
        return None
    bounds = np.frombuffer(max(weights, key=weights.__getitem__), np.int64)
    return bounds.copy() if bounds[-1] == num_entries else None
