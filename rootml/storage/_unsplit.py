"""Vectors in the bytes of objects that are not split, where uproot 5.7 does not read them.

ROOT writes an object of a class without a version of its own (those of ``ROOT::Math``) with a
header, and a vector of them member by member. All numbers are big-endian::

    header            byte count | 0x40000000 (4), version 0 (2), checksum (4)
    object            header, the numbers of fCoordinates
    object in a split object: header, object
    vector            byte count (4), version | 0x4000 (2), 0 (2), checksum (4), n (4), n objects
    vector, as of old byte count (4), version (2), n (4), n times: header, object

and the base class of an own class, ``class Jet : public TLorentzVector``, as a branch
``Jets.TLorentzVector``, member by member too::

    TLorentzVector    n TObjects, n TVector3, n times fE (8)
    TVector3 in it    byte count (4), version (2), TObject, fX, fY, fZ (24)
    TVector3 itself   n TObjects, n times fX (8), n times fY (8), n times fZ (8)
    one object        byte count (4), version (2), the same for n = 1
    TObject           version 1 (2), fUniqueID (4), fBits (4)

Every header is looked at: bytes that are arranged in another way are an error.

References:
    https://root.cern/doc/master/classTBufferFile.html (WriteVersion, ReadVersion)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

Bytes = npt.NDArray[np.uint8]
_COORDINATES = {
    "PxPyPzE4D": ("fX", "fY", "fZ", "fT"), "PxPyPzM4D": ("fX", "fY", "fZ", "fM"),
    "PtEtaPhiE4D": ("fPt", "fEta", "fPhi", "fE"), "PtEtaPhiM4D": ("fPt", "fEta", "fPhi", "fM"),
    "Cartesian3D": ("fX", "fY", "fZ"), "Polar3D": ("fR", "fTheta", "fPhi"),
    "CylindricalEta3D": ("fRho", "fEta", "fPhi"), "Cylindrical3D": ("fRho", "fZ", "fPhi"),
    "Cartesian2D": ("fX", "fY"), "Polar2D": ("fR", "fPhi"),
}  # fmt: skip
_STORED = {"float": ">f4", "double": ">f8", "Double32_t": ">f4"}
_CLASS = re.compile(
    r"(?P<list>(?:std::)?vector<)?ROOT::Math::"
    r"(?:LorentzVector|(?:Displacement|Position)Vector[23]D)"
    r"<ROOT::Math::(?P<coordinates>\w+)<(?P<number>\w+)> ?"
    r"(?:, ?ROOT::Math::DefaultCoordinateSystemTag ?)?> ?(?(list)>)"
)
_BASES = {"TLorentzVector": 58, "TVector3": 34}
_HEADER, _OLD_LIST, _LIST = 10, 10, 16
_COUNTED, _MEMBERWISE = 0x40000000, 0x4000
_BASE, _TOP, _OBJECT, _STL = 0, -1, 62, 300  # TVirtualStreamerInfo::EReadWrite
_LIST_BRANCHES = {31, 41}


@dataclass(frozen=True, slots=True)
class OfMath:
    """Vectors of ROOT::Math; `stored`: the type of their numbers in the file."""

    classname: ClassVar[str] = ""  # uproot says it
    members: tuple[str, ...]
    stored: np.dtype[Any]
    number: np.dtype[Any]
    listed: bool

    def form(self) -> Any:
        """The awkward form of a column of them."""
        return _form(_record({name: _numbers(self.number) for name in self.members}), self.listed)

    def read(self, branch: Any, start: int, stop: int) -> Any:
        """The layout of the entries ``[start, stop)``.

        Raises:
            ValueError: Bytes in another arrangement.
        """
        data, offsets = _bytes_of(branch, start, stop)
        counts = None
        size = self.stored.itemsize * len(self.members)
        before, width = 0, _HEADER + size
        if self.listed:
            data, counts, twice = _without_list_headers(data, offsets)
            before = _HEADER if twice else 0
        elif len(data) == (len(offsets) - 1) * (_HEADER + width):  # in a split object
            before = _HEADER
        rows = _rows(data, before + width)
        if before:
            _check_headers(rows, 0, before + width)
        _check_headers(rows, before, width)
        numbers = rows[:, before + _HEADER :].copy().view(self.stored).astype(self.number)
        columns = dict(zip(self.members, numbers.T, strict=True))
        return _layout(_record(_contents(columns)), counts, offsets)


@dataclass(frozen=True, slots=True)
class Base:
    """The part of objects that comes from `TLorentzVector` or `TVector3`."""

    classname: str
    listed: bool

    def form(self) -> Any:
        """The awkward form of a column of them."""
        number = _numbers(np.dtype(np.float64))
        return _form(self._named(dict.fromkeys(("fX", "fY", "fZ", "fE"), number)), self.listed)

    def _named(self, parts: dict[str, Any]) -> Any:
        three = {name: parts[name] for name in ("fX", "fY", "fZ")}
        if self.classname == "TVector3":
            return three
        return {"fP": three, "fE": parts["fE"]}

    def read(self, branch: Any, start: int, stop: int) -> Any:
        """The layout of the entries ``[start, stop)``.

        Raises:
            ValueError: Bytes in another arrangement: objects that a TRef points to have more.
        """
        data, offsets = _bytes_of(branch, start, stop)
        size, starts, sizes = _BASES[self.classname], offsets[:-1], np.diff(offsets)
        if not self.listed:
            _check_counts(_rows(data, 6 + size), 0, 2 + size)
            starts, sizes = starts + 6, sizes - 6
        counts = sizes // size
        if (sizes != counts * size).any() or not (self.listed or (counts == 1).all()):
            message = f"{len(data)} bytes are not objects of {size}"
            raise ValueError(message)
        members = _Members(data, np.repeat(starts, counts), counts)
        _check_objects(members.take(10))
        if self.classname == "TLorentzVector":
            momenta = members.take(40)
            _check_counts(momenta, 0, 36)
            _check_objects(momenta[:, 6:16])
            numbers = [*_doubles(momenta[:, 16:]), *_doubles(members.take(8))]
        else:
            numbers = [_doubles(members.take(8))[0] for _ in range(3)]
        parts = _contents(dict(zip(("fX", "fY", "fZ", "fE"), numbers, strict=False)))
        return _layout(self._named(parts), counts if self.listed else None, offsets)


class _Members:
    """Walks over entries that hold one member of all objects, then the next member of all."""

    def __init__(self, data: Bytes, starts: Any, counts: Any) -> None:
        self._data = data
        self._place = starts
        self._number = np.repeat(counts, counts)
        ends = np.cumsum(counts)
        self._within = np.arange(len(starts)) - np.repeat(ends - counts, counts)

    def take(self, size: int) -> Bytes:
        """The bytes of the next member, ``(objects, size)``."""
        places = self._place + size * self._within
        self._place = self._place + size * self._number
        found: Bytes = self._data[places[:, None] + np.arange(size)]
        return found


def _doubles(rows: Any) -> Any:
    """The columns of numbers in rows of bytes."""
    return np.ascontiguousarray(rows).view(">f8").astype(np.float64).T


def unsplit_vectors(branch: Any) -> OfMath | Base | None:
    """What the bytes of a branch hold, if it is vectors that uproot does not read."""
    if branch.classname != "TBranchElement" or len(branch.branches):
        return None
    listed, name = branch.member("fType") in _LIST_BRANCHES, branch.name.rpartition(".")[2]
    if branch.member("fStreamerType") == _BASE and name in _BASES:
        return Base(name, listed)
    found = None if listed else _CLASS.fullmatch(_classname(branch))
    if found is None or found["coordinates"] not in _COORDINATES or found["number"] not in _STORED:
        return None
    stored = np.dtype(_STORED[found["number"]])
    number = np.dtype("f4" if found["number"] == "float" else "f8")
    return OfMath(_COORDINATES[found["coordinates"]], stored, number, bool(found["list"]))


def _classname(branch: Any) -> str:
    """The class of the objects, at the top of a tree or in a split object."""
    if branch.member("fStreamerType") == _TOP:
        return str(branch.member("fClassName"))
    inside = branch.member("fStreamerType") in {_STL, _OBJECT} and branch.streamer is not None
    return str(branch.streamer.typename) if inside else ""


# --- bytes ---------------------------------------------------------------------------------------


def _bytes_of(branch: Any, start: int, stop: int) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """All bytes of some entries, and where each entry begins in them."""
    kind = uproot.AsJagged(uproot.AsDtype(np.dtype("u1")))
    array = branch.array(kind, entry_start=start, entry_stop=stop, library="ak")
    layout: Any = ak.to_layout(array).to_ListOffsetArray64(True)
    offsets = np.asarray(layout.offsets.data)
    return np.asarray(layout.content.data)[: offsets[-1]], offsets


def _without_list_headers(data: Bytes, offsets: Any) -> tuple[Bytes, Any, bool]:
    """The objects of vectors, how many there are in each, and whether they are written as of old.

    Raises:
        ValueError: A vector in another arrangement.
    """
    starts, sizes = offsets[:-1], np.diff(offsets)
    if len(data) == 0:
        return data, np.zeros(len(starts), np.int64), False
    if (sizes < _OLD_LIST).any():
        message = "a vector without a header"
        raise ValueError(message)
    versions = _number(data, starts + 4, ">u2")
    old = not (versions & _MEMBERWISE).any()
    head = _OLD_LIST if old else _LIST
    if (sizes < head).any() or not (old or (versions & _MEMBERWISE).all()):
        message = "vectors of which some are written member by member"
        raise ValueError(message)
    if (_number(data, starts, ">u4") != (_COUNTED | (sizes - 4))).any():
        message = "a vector that does not state its size"
        raise ValueError(message)
    counts = _number(data, starts + head - 4, ">u4")
    inside = np.ones(len(data), bool)
    for byte in range(head):
        inside[starts + byte] = False
    whole, objects = data[inside], int(counts.sum())
    width = len(whole) // objects if objects else 0
    if (sizes - head != counts * width).any():
        message = "vectors of objects of different sizes"
        raise ValueError(message)
    return whole, counts, old


def _number(data: Bytes, positions: Any, dtype: str) -> Any:
    """Whole numbers at some positions, as int64."""
    size = np.dtype(dtype).itemsize
    taken = data[positions[:, None] + np.arange(size)]
    return np.ascontiguousarray(taken).view(dtype)[:, 0].astype(np.int64)


def _rows(data: Bytes, width: int) -> Bytes:
    if len(data) % width:
        message = f"{len(data)} bytes are not objects of {width}"
        raise ValueError(message)
    return data.reshape(-1, width)


def _check_counts(rows: Any, at: int, count: int) -> None:
    """That objects state their size in bytes."""
    if (rows[:, at : at + 4] != np.frombuffer(_bytes(count), np.uint8)).any():
        message = f"an object that does not say that it has {count} bytes"
        raise ValueError(message)


def _bytes(count: int) -> bytes:
    return (_COUNTED | count).to_bytes(4, "big")


def _check_headers(rows: Any, at: int, size: int) -> None:
    """That objects of `size` bytes, with a header and no version, begin at `at`."""
    _check_counts(rows, at, size - 4)
    if rows[:, at + 4 : at + 6].any():
        message = "an object of a class with a version"
        raise ValueError(message)


def _check_objects(rows: Any) -> None:
    """That these are the ten bytes of TObjects, without a reference behind them."""
    version = np.frombuffer(b"\0\1", np.uint8)
    if (rows[:, :2] != version).any() or (rows[:, 9] & 1 << 4).any():
        message = "a TObject with a reference, or of another version"
        raise ValueError(message)


# --- awkward -------------------------------------------------------------------------------------


def _record(numbers: dict[str, Any]) -> dict[str, Any]:
    return {"fCoordinates": numbers}


def _numbers(dtype: np.dtype[Any]) -> Any:
    return ak.forms.NumpyForm(dtype.name)


def _contents(columns: dict[str, Any]) -> dict[str, Any]:
    return {
        name: ak.contents.NumpyArray(np.ascontiguousarray(column))
        for name, column in columns.items()
    }


def _form(parts: Any, listed: bool) -> Any:
    record = _nested(parts, ak.forms.RecordForm)
    return ak.forms.ListOffsetForm("i64", record) if listed else record


def _layout(parts: Any, counts: Any, offsets: Any) -> Any:
    record = _nested(parts, ak.contents.RecordArray)
    if counts is None:
        if len(record) != len(offsets) - 1:
            message = f"{len(record)} objects in {len(offsets) - 1} entries"
            raise ValueError(message)
        return record
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return ak.contents.ListOffsetArray(ak.index.Index64(ends), record)


def _nested(parts: Any, make: Any) -> Any:
    if not isinstance(parts, dict):
        return parts
    return make([_nested(part, make) for part in parts.values()], list(parts))
