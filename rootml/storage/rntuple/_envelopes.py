"""The outside of an RNTuple: anchor, header, footer and lists of pages, without building objects.

RNTuple Binary Format Specification 1.0
(https://github.com/root-project/root/blob/master/tree/ntuple/doc/BinaryFormatSpecification.md)::

    anchor     version, then position and sizes of header and footer; big-endian; a checksum
    envelope   type (16 bits) and length (48 bits), payload, XXH3; everything little-endian
    frame      its size, negative for a list, which then has the number of its items
    footer     flags, checksum of the header, schema extension, list of cluster groups
    page list  checksum of the header, clusters; for each cluster for each column its pages

The header, which says what the fields are, is long and the same for all files of one schema: it is
only compared here. Checksums are compared. What is not in version 1.0 raises `Unknown`, and uproot
reads the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash

from rootml.storage._blocks import decompress
from rootml.storage._source import Source
from rootml.storage.ttree._rootfile import Key, read_record

_ANCHOR = struct.Struct(">HHHHQQQQQQQ")
_VERSIONED = 6  # byte count and version, as the streamer of any class writes them
_CHECKSUM = 8
_WORD = struct.Struct("<Q")
_FRAME = struct.Struct("<q")
_LIST = struct.Struct("<qI")
_GROUP = struct.Struct("<QQIQiQ")
_SUMMARY = struct.Struct("<QQ")
_PAGE = np.dtype([("elements", "<i4"), ("size", "<i4"), ("offset", "<u8")])
_ONE_PAGE = struct.Struct("<iiq")
_HEADER, _FOOTER, _PAGES = 1, 2, 3
_SHARDED = 1 << 56


class Unknown(Exception):
    """Something that is not damage but not for this reader either."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where header and footer are: position, stored bytes, bytes."""

    header: tuple[int, int, int]
    footer: tuple[int, int, int]
    max_key: int


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file says of its RNTuple, but for the meaning of its header.

    Attributes:
        schema: Header and schema extension: the same for all files with the same fields.
        lists: The pages of all clusters.
    """

    schema: bytes
    lists: PageLists


def read_metadata(source: Source, key: Key, size: int) -> Metadata:
    """The metadata of the RNTuple of `key` in a file of `size` bytes.

    Raises:
        Unknown: uproot has to read it.
        ValueError, EOFError, struct.error: Damage.
    """
    anchor = _anchor(read_record(source, key, size))
    header = _envelope(source, anchor, anchor.header, _HEADER)
    footer = _envelope(source, anchor, anchor.footer, _FOOTER)
    checksum = header[-_CHECKSUM:]
    extension, groups = _footer(footer, checksum)
    lists = [_envelope(source, anchor, place, _PAGES) for place in groups]
    return Metadata(header + extension, PageLists(lists, checksum))


def _anchor(record: bytes) -> Anchor:
    if len(record) != _VERSIONED + _ANCHOR.size + _CHECKSUM:
        message = f"an anchor of {len(record)} bytes"
        raise Unknown(message)
    content = record[_VERSIONED : _VERSIONED + _ANCHOR.size]
    if xxhash.xxh3_64_intdigest(content) != int.from_bytes(record[-_CHECKSUM:], "big"):
        message = "the checksum of the anchor does not match"
        raise ValueError(message)
    epoch, major, _, _, *places, max_key = _ANCHOR.unpack(content)
    if (epoch, major) != (1, 0):
        message = f"version {epoch}.{major} of the format"
        raise Unknown(message)
    return Anchor(tuple(places[:3]), tuple(places[3:]), max_key)


def _envelope(source: Source, anchor: Anchor, place: tuple[int, int, int], kind: int) -> bytes:
    """An envelope as it is in memory: its head, the payload and the checksum."""
    offset, stored, length = place
    if anchor.max_key and stored > anchor.max_key:
        message = "an envelope in several keys"
        raise Unknown(message)
    raw = source.read(stored, offset)
    data = raw if stored == length else bytes(decompress(memoryview(raw), length))
    if xxhash.xxh3_64_intdigest(data[:-_CHECKSUM]) != int.from_bytes(data[-_CHECKSUM:], "little"):
        message = f"the checksum of the envelope at {offset} does not match"
        raise ValueError(message)
    (head,) = _WORD.unpack_from(data)
    if (head & 0xFFFF, head >> 16) != (kind, length):
        message = f"at {offset} is no envelope of type {kind} and {length:,} bytes"
        raise ValueError(message)
    return data


def _list(data: bytes, at: int) -> tuple[int, int, int]:
    """Number of items, position of the first and end of a list."""
    size, count = _LIST.unpack_from(data, at)
    if not -len(data) <= size <= -_LIST.size:
        message = f"no list at {at}"
        raise ValueError(message)
    return count, at + _LIST.size, at - size


def _footer(data: bytes, checksum: bytes) -> tuple[bytes, list[tuple[int, int, int]]]:
    """The schema extension, and where the lists of pages are."""
    (flags,) = _WORD.unpack_from(data, 8)
    if flags:
        message = f"features {flags:#x}"
        raise Unknown(message)
    if data[16:24] != checksum:
        message = "the footer belongs to another header"
        raise ValueError(message)
    (size,) = _FRAME.unpack_from(data, 24)
    if not 0 < size <= len(data):
        message = "no schema extension"
        raise ValueError(message)
    extension = data[24 : 24 + size]
    count, at, _ = _list(data, 24 + size)
    groups = []
    for _ in range(count):
        (size,) = _FRAME.unpack_from(data, at)
        _, _, _, length, stored, offset = _GROUP.unpack_from(data, at + _FRAME.size)
        if stored < 0 or size != _FRAME.size + _GROUP.size:
            message = "a locator that is not a plain one"
            raise Unknown(message)
        groups.append((offset, stored, length))
        at += size
    return extension, groups


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of a column in one cluster, an array each."""

    elements: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    checked: npt.NDArray[np.bool_]


class PageLists:
    """The page lists of all cluster groups; pages are looked up when a column is asked for.

    Attributes:
        starts: First entry of each cluster.
        num_entries: Of all clusters.
    """

    def __init__(self, envelopes: list[bytes], checksum: bytes) -> None:
        self.starts: list[int] = []
        self.num_entries = 0
        self._clusters: list[tuple[bytes, int]] = []
        self._places: list[npt.NDArray[np.int64]] | None = None
        for data in envelopes:
            if data[8:16] != checksum:
                message = "a list of pages belongs to another header"
                raise ValueError(message)
            at = self._read_summaries(data)
            count, at, end = _list(data, at)
            for _ in range(count):
                self._clusters.append((data, at))
                at = _list(data, at)[2]
            if at != end or end != len(data) - _CHECKSUM:
                message = "a list of pages that does not end where it should"
                raise Unknown(message)
        if len(self._clusters) != len(self.starts):
            message = f"{len(self.starts)} clusters and pages of {len(self._clusters)}"
            raise ValueError(message)

    def _read_summaries(self, data: bytes) -> int:
        count, at, end = _list(data, 16)
        for _ in range(count):
            (size,) = _FRAME.unpack_from(data, at)
            first, entries = _SUMMARY.unpack_from(data, at + _FRAME.size)
            if entries >= _SHARDED or size != _FRAME.size + _SUMMARY.size:
                message = "clusters with flags"
                raise Unknown(message)
            if first != self.num_entries:
                message = f"a cluster begins at entry {first:,} instead of {self.num_entries:,}"
                raise Unknown(message)
            self.starts.append(first)
            self.num_entries += entries
            at += size
        return end

    def pages(self, column: int) -> list[Pages] | None:
        """The pages of a column by cluster; None: uproot has to look.

        That is so if it is not in all clusters, or its pages are not where plain ones are.
        """
        if self._places is None:
            self._places = [np.fromiter(_columns(*each), np.int64) for each in self._clusters]
        found = []
        for (data, _), places in zip(self._clusters, self._places, strict=True):
            if column >= len(places):
                return None
            pages = _pages(data, int(places[column]))
            if pages is None:
                return None
            found.append(pages)
        return found


def _columns(data: bytes, at: int) -> Iterator[int]:
    """Where the lists of pages of the columns of a cluster are."""
    count, at, end = _list(data, at)
    unpack = _FRAME.unpack_from
    for _ in range(count):
        yield at
        (size,) = unpack(data, at)
        if size >= 0:
            message = f"no list of pages at {at}"
            raise ValueError(message)
        at -= size
    if at != end:
        message = "pages of a cluster that do not end where they should"
        raise ValueError(message)


def _pages(data: bytes, at: int) -> Pages | None:
    """Pages, then the first element and the compression; no plain pages, or none at all: None."""
    count, first, end = _list(data, at)
    behind = first + count * _PAGE.itemsize
    if behind + 12 != end or _FRAME.unpack_from(data, behind)[0] < 0:
        return None
    if count == 1:  # of a small file: many of them are read
        number, size, offset = _ONE_PAGE.unpack_from(data, first)
        elements, places, sizes = np.array([[abs(number)], [offset], [size]], np.int64)
        return None if size < 0 else Pages(elements, places, sizes, np.array([number < 0]))
    table = np.frombuffer(data, _PAGE, count, first)
    if (table["size"] < 0).any():
        return None
    elements = table["elements"].astype(np.int64)
    return Pages(
        np.abs(elements),
        table["offset"].astype(np.int64),
        table["size"].astype(np.int64),
        elements < 0,
    )


__all__ = ["Metadata", "PageLists", "Pages", "Unknown", "read_metadata"]
