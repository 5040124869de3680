"""The inside of a TTree: header, branches and leaves, as far as plain numbers need them.

A record of the tree is walked by its byte counts, without building objects: 31 branches take half
a millisecond, a NanoAOD of a thousand some 15. Anything this does not know raises `NeedsUproot`,
and uproot reads the tree instead. Layouts: ROOT's streamers of TTree 17-20, TBranch 10-13 and
TBranchElement 8-10 (all files since ROOT 5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml.storage.ttree._rootfile import string

_COUNT = 0x40000000
_CLASS = 0x80000000
_NEW_CLASS = 0xFFFFFFFF
_REFERENCED = 1 << 4
_MAP_OFFSET = 2

_HEADER = struct.Struct(">IH")
_UINT = struct.Struct(">I")
_LEAF = struct.Struct(">iii??")
_INTS = struct.Struct(">ii")
_TREE = {
    17: (struct.Struct(">qqqqdiiiiqqqqq"), 12),
    18: (struct.Struct(">qqqqqdiiiiqqqqqq"), 14),
    19: (struct.Struct(">qqqqqdiiiiIqqqqqq"), 15),
    20: (struct.Struct(">qqqqqdiiiiIqqqqqq"), 15),
}
_BRANCH_10 = struct.Struct(">iiiiqiIiqqq")
_BRANCH_11 = struct.Struct(">iiiiqiIiqqqq")
_BRANCH_13 = struct.Struct(">iiiiq")
_BRANCH_13B = struct.Struct(">iIiqqqq")
_ELEMENT = {8: struct.Struct(">Iiiiii"), 9: struct.Struct(">Iiiiii"), 10: struct.Struct(">Ihiiii")}


class NeedsUproot(Exception):
    """Something that is not damage but not for this reader either."""


@dataclass(slots=True)
class Leaf:
    """One leaf: its class decides the type, `counter` names the one that counts it."""

    classname: str
    name: str
    title: str
    length: int
    unsigned: bool
    counter: str
    type_code: int


@dataclass(slots=True)
class Branch:
    """One branch, with positions of its seek tables in the record.

    Attributes:
        numbers_at: Where TBranch's own numbers begin, as `version` writes them.
        facts: What was concluded from the names and leaves; shared by branches built alike.
    """

    classname: str
    path: str
    name: str
    position: int
    write_basket: int
    entries: int
    first_entry: int
    zip_bytes: int
    max_baskets: int
    io_bits: int
    top: bool
    parent: str
    children: list[Branch]
    leaves: list[Leaf]
    tables: tuple[int, int, int] = (0, 0, 0)
    baskets_at: int = 0
    file_name: str = ""
    type_name: str = ""
    streamer_type: int = -1
    version: int = 0
    numbers_at: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Tree:
    """The record of a TTree and what its header says.

    Attributes:
        noted: Ranges of bytes that decide what branches there are, as they are read; None: not
            wanted.
    """

    data: bytes
    keylen: int
    entries: int
    auto_flush: int
    range_ends: npt.NDArray[np.int64]
    range_sizes: npt.NDArray[np.int64]
    branches_at: int
    version: int
    noted: list[tuple[int, int]] | None = None
    _classes: dict[int, str] = field(default_factory=dict)

    def branches(self) -> list[Branch]:
        """All branches, those of split objects nested, in file order."""
        return [
            self._branch(classname, start, "", parent="")
            for classname, start, _ in self._objects(self.branches_at)
        ]

    def index(self) -> tuple[str, str] | None:
        """The major and minor expressions of the tree's index; None without one.

        Behind branches and leaves (ROOT: ``TTree``) come fAliases, fIndexValues, fIndex and
        fTreeIndex; a ``TTreeIndex`` has its two texts behind the TNamed of its base.
        """
        _, _, at = self._header(self.branches_at)
        _, _, at = self._header(at)  # fLeaves
        _, _, at = self._object(at)
        for size in (8, 4):
            (count,) = _UINT.unpack_from(self.data, at)
            at += 4 + size * count
        classname, at, _ = self._object(at)
        if classname is None:
            return None
        if classname != "TTreeIndex":
            return classname, ""
        _, at, _ = self._header(at)
        _, _, at = self._header(at)
        major, at = string(self.data, at)
        minor, _ = string(self.data, at)
        return major, minor

    def branch_at(self, classname: str, position: int, path: str, *, top: bool) -> Branch:
        """One branch at a position that `branches` gave."""
        folder, _, _ = path.rpartition("/")
        return self._branch(classname, position, folder, parent="" if top else folder)

    def like(self, other: Branch) -> Branch:
        """The branch that stands where `other` does in a tree that is built alike."""
        write, bits, max_baskets, entries, first, zipped, _ = self._numbers(
            other.version, other.numbers_at
        )
        return Branch(
            other.classname, other.path, other.name, other.position, write, entries, first,
            zipped, max_baskets, bits, other.top, other.parent,
            [self.like(child) for child in other.children], other.leaves, other.tables,
            other.baskets_at, other.file_name, other.type_name, other.streamer_type,
            other.version, other.numbers_at, other.facts,
        )  # fmt: skip

    def _note(self, start: int, stop: int) -> None:
        """These bytes decide what is found."""
        if self.noted is not None:
            self.noted.append((start, stop))

    def _classname(self, position: int) -> str:
        """The class that was named at `position`, where later objects refer to."""
        known = self._classes.get(position)
        if known is None:
            (tag,) = _UINT.unpack_from(self.data, position)
            end = self.data.find(b"\0", position + 4, position + 300)
            if tag != _NEW_CLASS or end < 0:
                message = f"no class name at {position}"
                raise ValueError(message)
            known = bytes(self.data[position + 4 : end]).decode()
            self._classes[position] = known
            self._note(position, end + 1)
        return known

    def _object(self, position: int) -> tuple[str | None, int, int]:
        """Class, position of the content and end of an object; class None: null or a reference."""
        self._note(position, position + 4)
        (count,) = _UINT.unpack_from(self.data, position)
        if not count & _COUNT or count == _NEW_CLASS:
            if count & _CLASS:
                message = "an object without a byte count"
                raise NeedsUproot(message)
            return None, count, position + 4
        self._note(position + 4, position + 8)
        end = position + 4 + (count & ~_COUNT)
        (tag,) = _UINT.unpack_from(self.data, position + 4)
        if end > len(self.data):
            message = f"an object at {position} ends at {end} of {len(self.data)}"
            raise ValueError(message)
        if tag == _NEW_CLASS:
            name = self._classname(position + 4)
            return name, position + 8 + len(name) + 1, end
        if tag & _CLASS:
            named_at = (tag & ~_CLASS) - _MAP_OFFSET - self.keylen
            return self._classname(named_at), position + 8, end
        return None, tag, end

    def _header(self, position: int) -> tuple[int, int, int]:
        """Version, position of the content and end of something with a byte count."""
        self._note(position, position + 6)
        count, version = _HEADER.unpack_from(self.data, position)
        end = position + 4 + (count & ~_COUNT)
        if not count & _COUNT or end > len(self.data):
            message = f"no byte count at {position}"
            raise NeedsUproot(message)
        return version, position + 6, end

    def _tobject(self, position: int) -> int:
        """Position behind a TObject."""
        self._note(position, position + 10)
        version, _, bits = struct.unpack_from(">HII", self.data, position)
        if version & 0x4000:
            message = "a TObject with a byte count"
            raise NeedsUproot(message)
        return position + (12 if bits & _REFERENCED else 10)

    def _named(self, position: int) -> tuple[str, str, int]:
        """Name, title and end of a TNamed."""
        _, start, end = self._header(position)
        name, at = string(self.data, self._tobject(start))
        title, _ = string(self.data, at)
        self._note(start, end)
        return name, title, end

    def _objects(self, position: int) -> Iterator[tuple[str, int, int]]:
        """Class, position and end of the objects of a TObjArray."""
        _, start, _ = self._header(position)
        _, at = string(self.data, self._tobject(start))
        count, _ = _INTS.unpack_from(self.data, at)
        at += 8
        self._note(start, at)
        for _ in range(count):
            classname, start, at = self._object(at)
            if classname is None:  # written before, inside another object: a counter's leaf
                classname, start, _ = self._object(start - _MAP_OFFSET - self.keylen)
            if classname is None:
                message = "a null among branches or leaves"
                raise NeedsUproot(message)
            yield classname, start, at

    def _branch(self, classname: str, position: int, folder: str, *, parent: str) -> Branch:
        if classname == "TBranch":
            branch, _ = self._base(classname, position, folder, parent, position)
        elif classname in {"TBranchElement", "TBranchObject"}:
            version, start, _ = self._header(position)
            branch, end = self._base(classname, start, folder, parent, position)
            if classname == "TBranchElement":
                self._element(branch, version, end)
        else:
            message = f"a branch of class {classname}"
            raise NeedsUproot(message)
        return branch

    def _element(self, branch: Branch, version: int, position: int) -> None:
        """What a TBranchElement adds."""
        if version not in _ELEMENT:
            message = f"TBranchElement of version {version}"
            raise NeedsUproot(message)
        start = position
        branch.type_name, position = string(self.data, position)
        _, position = string(self.data, position)
        _, position = string(self.data, position)
        branch.streamer_type = _ELEMENT[version].unpack_from(self.data, position)[4]
        self._note(start, position + _ELEMENT[version].size)

    def _numbers(self, version: int, at: int) -> tuple[int, int, int, int, int, int, int]:
        """fWriteBasket, IO bits, fMaxBaskets, fEntries, fFirstEntry, fZipBytes and the end."""
        if version == 13:
            first = _BRANCH_13.unpack_from(self.data, at)
            _, bits_at, at = self._header(at + _BRANCH_13.size)
            rest = _BRANCH_13B.unpack_from(self.data, at)
            self._note(bits_at, at + 8)
            bits = self.data[at - 1] if at > bits_at else 0
            return first[3], bits, rest[1], rest[3], rest[4], rest[6], at + _BRANCH_13B.size
        layout = _BRANCH_10 if version == 10 else _BRANCH_11
        self._note(at + 28, at + 32)
        all_ = layout.unpack_from(self.data, at)
        first_entry = 0 if version == 10 else all_[9]
        return all_[3], 0, all_[6], all_[8], first_entry, all_[-1], at + layout.size

    def _base(
        self, classname: str, start: int, folder: str, parent: str, position: int
    ) -> tuple[Branch, int]:
        """The TBranch part of any branch, and the position behind it."""
        version, at, end = self._header(start)
        if not 10 <= version <= 13:
            message = f"TBranch of version {version}"
            raise NeedsUproot(message)
        name, _, at = self._named(at)
        _, _, at = self._header(at)  # TAttFill
        numbers_at = at
        write, bits, max_baskets, entries, first, zipped, at = self._numbers(version, at)
        path = f"{folder}/{name}" if folder else name
        branch = Branch(
            classname, path, name, position, write, entries, first, zipped, max_baskets, bits,
            top=not parent, parent=parent, children=[], leaves=[], version=version,
            numbers_at=numbers_at,
        )  # fmt: skip
        for inner, inner_at, _ in self._objects(at):
            branch.children.append(self._branch(inner, inner_at, path, parent=path))
        _, _, at = self._header(at)
        branch.leaves = [self._leaf(inner, at_) for inner, at_, _ in self._objects(at)]
        _, _, at = self._header(at)
        branch.baskets_at = at
        _, _, at = self._header(at)  # fBaskets
        sizes, entry, seek = at + 1, at + 2 + 4 * max_baskets, at + 3 + 12 * max_baskets
        branch.tables = (sizes, entry, seek)
        branch.file_name, at = string(self.data, seek + 8 * max_baskets)
        self._note(seek + 8 * max_baskets, at)
        if at != end:
            message = f"branch {path!r} ends at {at}, not {end}"
            raise NeedsUproot(message)
        return branch, end

    def _leaf(self, classname: str, position: int) -> Leaf:
        _, at, _ = self._header(position)
        _, start, end = self._header(at)
        name, title, start = self._named(start)
        length, _, _, _, unsigned = _LEAF.unpack_from(self.data, start)
        self._note(start, start + _LEAF.size)
        counter = self._counter(start + _LEAF.size)
        code = -1  # other leaves have their minimum and maximum here
        if classname == "TLeafElement":
            code = _INTS.unpack_from(self.data, end)[1]
            self._note(end, end + _INTS.size)
        return Leaf(classname, name, title, length, unsigned, counter, code)

    def _counter(self, position: int) -> str:
        """Name of the leaf that fLeafCount points to, "" for null."""
        classname, at, _ = self._object(position)
        if classname is None:
            if at == 0:
                return ""
            classname, at, _ = self._object(at - _MAP_OFFSET - self.keylen)
        if classname is None:
            message = "a counter that is not a leaf"
            raise ValueError(message)
        _, at, _ = self._header(at)
        _, at, _ = self._header(at)
        return self._named(at)[0]

    def embedded(self, branch: Branch) -> list[tuple[int, int]]:
        """Position and end of the baskets of a branch that are stored in the record itself.

        They are those that had not been written when the tree was.
        """
        _, start, _ = self._header(branch.baskets_at)
        _, at = string(self.data, self._tobject(start))
        count, _ = _INTS.unpack_from(self.data, at)
        at += 8
        found = []
        for _ in range(count):
            classname, start, at = self._object(at)
            if classname == "TBasket":
                found.append((start, at))
            elif classname is not None or start:
                message = f"{classname or 'a reference'} among baskets"
                raise NeedsUproot(message)
        return found

    def tables(self, branch: Branch) -> tuple[npt.NDArray[Any], ...]:
        """fBasketBytes, fBasketEntry and fBasketSeek of a branch, native and owned."""
        kinds = (">i4", ">i8", ">i8")
        return tuple(
            np.frombuffer(self.data, kind, branch.max_baskets, at).astype(np.int64)
            for kind, at in zip(kinds, branch.tables, strict=True)
        )


def read_tree(data: bytes, keylen: int, classname: str) -> Tree:
    """Read the header of a tree from its record.

    Raises:
        NeedsUproot: A version that uproot has to read.
        ValueError, IndexError, struct.error: Damage.
    """
    empty = np.empty(0, np.int64)
    tree = Tree(data, keylen, 0, 0, empty, empty, 0, 0)
    position = 0
    if classname in {"TNtuple", "TNtupleD"}:
        _, position, _ = tree._header(0)
    version, at, _ = tree._header(position)
    if version not in _TREE:
        message = f"TTree of version {version}"
        raise NeedsUproot(message)
    for _ in range(4):  # TNamed, TAttLine, TAttFill, TAttMarker
        _, _, at = tree._header(at)
    layout, flush_at = _TREE[version]
    fields = layout.unpack_from(data, at)
    at += layout.size
    tree.version, tree.entries = version, fields[0]
    if version >= 18:
        tree.auto_flush = fields[flush_at]
    if version >= 19:
        count = fields[10]
        tree.range_ends = np.frombuffer(data, ">i8", count, at + 1).astype(np.int64)
        tree.range_sizes = np.frombuffer(data, ">i8", count, at + 2 + 8 * count).astype(np.int64)
        at += 2 + 16 * count
    if version >= 20:
        _, _, at = tree._header(at)  # ROOT::TIOFeatures
    tree.branches_at = at
    return tree


__all__ = ["Branch", "Leaf", "NeedsUproot", "Tree", "read_tree"]
