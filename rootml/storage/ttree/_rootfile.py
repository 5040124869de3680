"""The outside of a ROOT file: header, directories and keys, read with a handful of system calls.

Formats: https://root.cern/doc/master/md_io_doc_TFile_README.html (header, TKey, TDirectory).
Only what is needed to find a tree is read; everything is checked against the file's size, so that
damage is an exception and never an allocation. Big-endian throughout.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rootml.storage._blocks import decompress
from rootml.storage._source import Source

_HEAD_SMALL = struct.Struct(">4siiiiiiiBiiiH16s")
_HEAD_BIG = struct.Struct(">4siiqqiiiBiqiH16s")
_DIRECTORY_SMALL = struct.Struct(">hIIiiiii")
_DIRECTORY_BIG = struct.Struct(">hIIiiqqq")
_KEY = struct.Struct(">ihiIhh")
_SEEKS_SMALL = struct.Struct(">ii")
_SEEKS_BIG = struct.Struct(">qq")
_INT = struct.Struct(">i")

_FIRST_READ = 512
_BIG_FILE = 1_000_000
_BIG_KEY = 1000
_MAX_DEPTH = 64
_DIRECTORIES = {"TDirectory", "TDirectoryFile"}


@dataclass(frozen=True, slots=True)
class Key:
    """One record of the file: where it is and how long.

    Attributes:
        name: Path inside the file, without cycle.
        cycle: Version of the object; the highest counts.
        classname: Class of the object.
        seek: Position of the record, which begins with a copy of this key.
        nbytes: Bytes of the record with that copy.
        keylen: Bytes of the copy.
        objlen: Bytes of the object, decompressed.
    """

    name: str
    cycle: int
    classname: str
    seek: int
    nbytes: int
    keylen: int
    objlen: int


@dataclass(frozen=True, slots=True)
class _Directory:
    seek_keys: int
    nbytes_keys: int


def string(data: Any, position: int) -> tuple[str, int]:
    """A TString at `position`, and the position behind it."""
    length = data[position]
    position += 1
    if length == 255:
        (length,) = _INT.unpack_from(data, position)
        position += 4
    end = position + length
    if length < 0 or end > len(data):
        message = f"a string of {length} bytes at {position} of {len(data)}"
        raise ValueError(message)
    return bytes(data[position:end]).decode("utf-8", "surrogateescape"), end


def _key(data: bytes, position: int, folder: str) -> tuple[Key, int]:
    nbytes, version, objlen, _, keylen, cycle = _KEY.unpack_from(data, position)
    seeks = _SEEKS_BIG if version > _BIG_KEY else _SEEKS_SMALL
    seek, _ = seeks.unpack_from(data, position + _KEY.size)
    end = position + _KEY.size + seeks.size
    classname, end = string(data, end)
    name, end = string(data, end)
    _, end = string(data, end)
    return Key(folder + name, cycle, classname, seek, nbytes, keylen, objlen), end


class RootFile:
    """A ROOT file of `size` bytes.

    Raises:
        ValueError, EOFError, struct.error, IndexError: Not a ROOT file, or damaged.
    """

    def __init__(self, source: Source, size: int) -> None:
        self.source = source
        self.size = size
        head = source.read(min(_FIRST_READ, size), 0)
        if head[:4] != b"root":
            message = f"it does not begin with 'root' but with {head[:4]!r}"
            raise ValueError(message)
        big = _INT.unpack_from(head, 4)[0] >= _BIG_FILE
        fields = (_HEAD_BIG if big else _HEAD_SMALL).unpack_from(head)
        begin, end, nbytes_name = fields[2], fields[3], fields[7]
        if end > size:
            message = f"it is truncated: its header speaks of {end:,} bytes, it has {size:,}"
            raise EOFError(message)
        self.uuid = str(uuid.UUID(bytes=fields[-1]))
        self._root = self._directory(begin + nbytes_name, head)

    def _directory(self, position: int, head: bytes = b"") -> _Directory:
        data, at = head, position
        if position < 0 or position + _DIRECTORY_BIG.size > len(head):
            data = self.source.read(min(_DIRECTORY_BIG.size, self.size - position), position)
            at = 0
        (version,) = struct.unpack_from(">h", data, at)
        layout = _DIRECTORY_BIG if version > _BIG_KEY else _DIRECTORY_SMALL
        fields = layout.unpack_from(data, at)
        if fields[7] <= 0:
            message = "it has no list of keys: the process that wrote it did not close it"
            raise ValueError(message)
        return _Directory(seek_keys=fields[7], nbytes_keys=fields[3])

    def _keys(self, directory: _Directory, folder: str) -> list[Key]:
        data = self.source.read(directory.nbytes_keys, directory.seek_keys)
        keylen = _KEY.unpack_from(data)[4]
        (count,) = _INT.unpack_from(data, keylen)
        position, keys = keylen + 4, []
        for _ in range(count):
            key, position = _key(data, position, folder)
            keys.append(key)
        return keys

    def keys(self) -> Iterator[Key]:
        """All keys, folders opened where they stand."""
        yield from self._walk(self._root, "", set())

    def _walk(self, directory: _Directory, folder: str, seen: set[int]) -> Iterator[Key]:
        if directory.seek_keys in seen or len(seen) > 100_000 or folder.count("/") > _MAX_DEPTH:
            message = f"the folder {folder!r} contains itself"
            raise ValueError(message)
        seen.add(directory.seek_keys)
        for key in self._keys(directory, folder):
            yield key
            if key.classname in _DIRECTORIES:
                inner = self._directory(key.seek + key.keylen)
                yield from self._walk(inner, f"{key.name}/", seen)

    def find(self, name: str) -> Key | None:
        """The key of highest cycle called `name` (``"folder/tree"``, or with ``;cycle``)."""
        name, _, cycle = name.partition(";")
        directory, folder = self._root, ""
        *folders, last = name.split("/")
        for part in folders:
            key = _best(self._keys(directory, folder), folder + part, "")
            if key is None or key.classname not in _DIRECTORIES:
                return None
            directory, folder = self._directory(key.seek + key.keylen), f"{folder}{part}/"
        return _best(self._keys(directory, folder), folder + last, cycle)


def read_record(source: Source, key: Key, size: int) -> bytes:
    """The object of `key` in a file of `size` bytes, decompressed."""
    if not 0 < key.keylen <= key.nbytes <= size or key.objlen < 0:
        message = f"the key of {key.name!r} speaks of {key.nbytes:,} bytes"
        raise ValueError(message)
    data = source.read(key.nbytes, key.seek)
    return bytes(decompress(memoryview(data)[key.keylen :], key.objlen))


def _best(keys: list[Key], name: str, cycle: str) -> Key | None:
    found = [key for key in keys if key.name == name and cycle in {"", str(key.cycle)}]
    return max(found, key=lambda key: key.cycle, default=None)
