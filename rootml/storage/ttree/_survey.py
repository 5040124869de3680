"""All branches of a tree at a glance: names, positions and sizes, without looking into each one.

A tree of a thousand branches is asked for five of them. What a question about names needs lies at
the begin and the end of the record of each branch, so it is gathered for all branches at once, one
field after the other::

    at = positions of the objects in fBranches         by their byte counts, one after the other
    at = behind the class, the TNamed, the TAttFill    each by the byte count that is there
    numbers = words[at]                                fEntries, fMaxBaskets, fZipBytes, ...
    at = behind fBranches, fLeaves and fBaskets        the tables of baskets, and there it must end

Split objects are walked one by one (`Tree.branches`), and so are all branches of a tree in which
one is of another version, or of one that has so few that it takes no longer. Leaves, and with them
types, are left to `Tree.branch_at`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rootml.storage.ttree._branches import Branch, NeedsUproot, Tree
from rootml.storage.ttree._templates import Ranges, Template, Templates

Int64s: TypeAlias = npt.NDArray[np.int64]

CLASSES = ("TBranch", "TBranchElement", "TBranchObject")
_COUNT = 0x40000000
_NEW_CLASS = 0xFFFFFFFF
_CLASS = 0x80000000
_MAP_OFFSET = 2
_REFERENCED = 1 << 4
_LONG = 255
_NARROW = 12 << 10  # bytes of a tree's record: some twenty branches
# bytes from the begin of TBranch's own numbers to fMaxBaskets, fEntries, fZipBytes, their end
_NUMBERS = {10: (28, 36, 52, 60), 11: (28, 36, 60, 68), 12: (28, 36, 60, 68)}
_BEFORE_BITS, _BEHIND_BITS = 24, (4, 12, 36, 44)  # version 13 has ROOT::TIOFeatures in between


def walk(branches: Sequence[Branch]) -> Iterator[Branch]:
    """Branches of split objects behind the object, as uproot lists them."""
    for branch in branches:
        yield branch
        yield from walk(branch.children)


@dataclass(frozen=True, slots=True)
class Survey:
    """The branches of a tree in file order, those of split objects behind the object.

    Attributes:
        paths: With the names of the objects that they belong to in front.
        codes: Number of the class in `CLASSES`.
        positions: Where `Tree.branch_at` finds the branch.
        top: Whether it belongs to no object.
        zipped: Compressed bytes, those of inner branches included.
        entries: Entries; -1 for an object that has branches itself.
        max_baskets: Length of the tables of baskets.
        tables: Where the table of their entries begins, and that of their positions.
    """

    paths: tuple[str, ...]
    codes: npt.NDArray[np.int8]
    positions: Int64s
    top: npt.NDArray[np.bool_]
    zipped: Int64s
    entries: Int64s
    max_baskets: Int64s
    tables: Int64s


def is_narrow(tree: Tree) -> bool:
    """Whether there are so few branches that they are parsed one by one."""
    return len(tree.data) <= _NARROW


def survey(tree: Tree) -> Survey:
    """The branches of a tree.

    Raises:
        NeedsUproot: Something that uproot has to read.
        ValueError, IndexError, struct.error: Damage.
    """
    if not is_narrow(tree):
        with suppress(NeedsUproot, IndexError, UnicodeDecodeError):
            return _known_survey(tree)
    return survey_of(tree.branches())


def common_bounds(tree: Tree, found: Survey) -> Int64s:
    """Entries at which every branch begins a basket."""
    total = tree.entries
    whole = np.unique(np.array([0, total], np.int64))
    different: dict[bytes, Int64s] = {}
    inside = found.entries == total
    for max_baskets in np.unique(found.max_baskets[inside]).tolist():
        tables = _tables(tree, found, inside & (found.max_baskets == max_baskets), max_baskets)
        for bounds, seeks in zip(*tables, strict=True):
            known = bounds[: np.count_nonzero(seeks) + 1]
            different.setdefault(known.tobytes(), known.astype(np.int64))
    common = reduce(np.intersect1d, different.values()) if different else whole
    return np.union1d(whole, common[(common > 0) & (common < total)])


def _tables(tree: Tree, found: Survey, chosen: Any, max_baskets: int) -> list[npt.NDArray[Any]]:
    """fBasketEntry and fBasketSeek of some branches, a row for each."""
    ranges = found.tables[chosen]
    steps = 8 * np.arange(max_baskets)
    words = _words(tree.data, ">i8")
    return [words[ranges[:, [column]] + steps] for column in (0, 1)]


def _words(data: bytes, dtype: str) -> npt.NDArray[Any]:
    """A number of this type at every byte of `data`, to be picked from by position."""
    size = np.dtype(dtype).itemsize
    return np.ndarray((max(0, len(data) - size + 1),), dtype, data, strides=(1,))


_SURVEYS: Templates[tuple[Survey, Int64s]] = Templates()


def _known_survey(tree: Tree) -> Survey:
    """As `_survey`; of a tree that is built as one before only the numbers are read."""
    known = _SURVEYS.find(tree)
    if known is not None:
        found, numbers = known
        entries, zipped = _words(tree.data, ">i8")[numbers].astype(np.int64)
        return replace(found, entries=entries, zipped=zipped)
    read = _Reader(tree)
    found, numbers, split = _survey(tree, read)
    if split:
        return _opened(tree, found, split)
    _SURVEYS.keep(Template.of(tree, read.noted, (found, numbers)))
    return found


class _Reader:
    """Reads the same thing at many positions at once, and notes which bytes decide the result."""

    def __init__(self, tree: Tree) -> None:
        self.noted: Ranges = []
        self.data = tree.data
        self.u1 = np.frombuffer(tree.data, np.uint8)
        self.u2, self.u4 = _words(tree.data, ">u2"), _words(tree.data, ">u4")
        self.i4, self.i8 = _words(tree.data, ">i4"), _words(tree.data, ">i8")

    def ends(self, at: Int64s) -> Int64s:
        """Where things that begin with a byte count end."""
        self.noted.append((at, 4))
        counts = self.u4[at].astype(np.int64)
        if not (counts & _COUNT).all():
            message = "no byte count"
            raise NeedsUproot(message)
        return at + 4 + (counts & ~_COUNT)

    def behind_object(self, at: Int64s) -> Int64s:
        """Behind a TObject."""
        self.noted.append((at, 10))
        if (self.u2[at] & 0x4000).any():
            message = "a TObject with a byte count"
            raise NeedsUproot(message)
        referenced: Int64s = ((self.u4[at + 6] & _REFERENCED) != 0).astype(np.int64)
        return at + 10 + 2 * referenced

    def lengths(self, at: Int64s) -> Int64s:
        """Lengths of short strings."""
        self.noted.append((at, 1))
        lengths = self.u1[at].astype(np.int64)
        if (lengths == _LONG).any():
            message = "a long string"
            raise NeedsUproot(message)
        return lengths

    def names(self, at: Int64s) -> list[str]:
        """The strings themselves."""
        data, lengths = self.data, self.lengths(at)
        ranges = zip((at + 1).tolist(), (at + 1 + lengths).tolist(), strict=True)
        self.noted.append((at + 1, lengths))
        return [data[start:stop].decode("utf-8", "surrogateescape") for start, stop in ranges]


def _survey(tree: Tree, read: _Reader) -> tuple[Survey, Int64s, list[int]]:
    """The branches, where their numbers of entries and bytes are, and which are split objects."""
    codes, positions = _objects(tree, read)
    base = np.where(codes == CLASSES.index("TBranch"), positions, positions + 6)
    end = read.ends(base)
    read.noted.append((base + 4, 2))
    versions = read.u2[base + 4]
    named = base + 6
    paths = read.names(read.behind_object(named + 6))
    numbers = read.ends(read.ends(named))  # behind TNamed and TAttFill
    columns = np.empty((4, len(base)), np.int64)
    for version in np.unique(versions).tolist():
        chosen = versions == version
        columns[:, chosen] = _numbers(read, version, numbers[chosen])
    max_baskets, at = read.i4[columns[0]].astype(np.int64), columns[3]
    entries, zipped = read.i8[columns[1:3]].astype(np.int64)
    read.noted.append((columns[0], 4))
    behind = read.ends(at)
    inner = read.behind_object(at + 6)
    inner = inner + 1 + read.lengths(inner)
    read.noted.append((inner, 4))
    inner = read.i4[inner]
    tables = read.ends(read.ends(behind))  # behind fLeaves and fBaskets
    tables = np.stack([tables + 2 + 4 * max_baskets, tables + 3 + 12 * max_baskets], axis=1)
    split = np.flatnonzero(inner)
    plain = inner == 0
    file_name = tables[:, 1] + 8 * max_baskets
    closed = file_name + 1 + read.lengths(file_name) == end
    if (max_baskets < 0).any() or not (closed | ~plain).all():
        message = "branches that do not end where they should"
        raise NeedsUproot(message)
    whole = Survey(
        tuple(paths),
        codes,
        positions,
        np.ones(len(codes), bool),
        zipped,
        entries,
        max_baskets,
        tables,
    )
    return whole, columns[1:3], split.tolist()


def _objects(tree: Tree, read: _Reader) -> tuple[npt.NDArray[np.int8], Int64s]:
    """Class and position of the objects in fBranches."""
    data = tree.data
    _, at, _ = tree._header(tree.branches_at)
    at = int(read.behind_object(np.array([at]))[0])
    at += 1 + int(read.lengths(np.array([at]))[0])
    at_count, count = at, int(read.i4[at])
    at += 8
    starts = []
    for _ in range(count):
        starts.append(at)
        size = int.from_bytes(data[at : at + 4], "big")
        at += 4 + (size & ~_COUNT)
        if not size & _COUNT or size == _NEW_CLASS or at > len(data):
            message = "a null or a reference among branches"
            raise NeedsUproot(message)
    ranges = np.array(starts, np.int64)
    read.noted += [(np.array([tree.branches_at, at_count]), 4), (ranges, 8)]
    tags = read.u4[ranges + 4].astype(np.int64)
    codes, positions = np.zeros(count, np.int8), ranges + 8
    for tag in np.unique(tags).tolist():
        chosen = np.flatnonzero(tags == tag)
        if tag == _NEW_CLASS:
            for number in chosen.tolist():
                name = tree._classname(starts[number] + 4)
                read.noted.append((np.array([starts[number] + 8]), len(name) + 1))
                codes[number] = _code(name)
                positions[number] += len(name) + 1
        elif tag & _CLASS:
            named_at = (tag & ~_CLASS) - _MAP_OFFSET - tree.keylen
            name = tree._classname(named_at)
            read.noted.append((np.array([named_at]), 4 + len(name) + 1))
            codes[chosen] = _code(name)
        else:
            message = "an object without a class"
            raise NeedsUproot(message)
    return codes, positions


def _code(classname: str) -> int:
    if classname not in CLASSES:
        message = f"a branch of class {classname}"
        raise NeedsUproot(message)
    return CLASSES.index(classname)


def _numbers(read: _Reader, version: int, at: Int64s) -> Int64s:
    """Positions of fMaxBaskets, fEntries, fZipBytes and of what is behind, a row each."""
    if version == 13:
        at = read.ends(at + _BEFORE_BITS)
        max_baskets, entries, zipped, end = _BEHIND_BITS
    elif version in _NUMBERS:
        max_baskets, entries, zipped, end = _NUMBERS[version]
    else:
        message = f"TBranch of version {version}"
        raise NeedsUproot(message)
    return np.stack([at + max_baskets, at + entries, at + zipped, at + end])


def _opened(tree: Tree, whole: Survey, split: list[int]) -> Survey:
    """The same with the branches of split objects."""
    if not split:
        return whole
    parts, last = [], 0
    for number in split:
        classname = CLASSES[whole.codes[number]]
        branch = tree.branch_at(
            classname, int(whole.positions[number]), whole.paths[number], top=True
        )
        parts += [_part(whole, last, number), survey_of([branch])]
        last = number + 1
    return _joined([*parts, _part(whole, last, len(whole.paths))])


def survey_of(branches: Sequence[Branch]) -> Survey:
    """Branches that were parsed, and the branches in them."""
    found = list(walk(branches))
    tables = [[each.tables[1], each.tables[2]] for each in found]
    return Survey(
        tuple(each.path for each in found),
        np.array([_code(each.classname) for each in found], np.int8),
        np.array([each.position for each in found], np.int64),
        np.array([each.top for each in found], bool),
        np.array([sum(i.zip_bytes for i in walk([each])) for each in found], np.int64),
        np.array([-1 if each.children else each.entries for each in found], np.int64),
        np.array([each.max_baskets for each in found], np.int64),
        np.array(tables, np.int64).reshape(-1, 2),
    )


def _part(whole: Survey, start: int, stop: int) -> Survey:
    return Survey(*(getattr(whole, name)[start:stop] for name in Survey.__dataclass_fields__))


def _joined(parts: Sequence[Survey]) -> Survey:
    """Several one after the other."""
    names = list(Survey.__dataclass_fields__)[1:]
    paths = tuple(path for part in parts for path in part.paths)
    arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
    return Survey(paths, *arrays)


__all__ = ["CLASSES", "Survey", "common_bounds", "is_narrow", "survey", "survey_of", "walk"]
