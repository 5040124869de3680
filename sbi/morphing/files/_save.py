"""Files of JSON and arrays: no code in them, checked whole before anything is used.

::

    8 bytes   "ROOTMLA1"
    8 bytes   length of the header, little endian
    header    JSON: {"kind", "content", "arrays": {name: {"dtype", "shape", "offset"}}, "sha256"}
    arrays    one after another, little endian, C order; sha256 is the hash of this part and of
              everything else in the header
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml._internal.atomic import atomic_path
from rootml.errors import CorruptFileError, MissingFileError, StateError

MAGIC = b"ROOTMLA1"
_DTYPES = ("<f4", "<f8", "<i8", "<u8", "|b1", "|u1")
MAX_HEADER_BYTES = 1 << 28


def write_file(
    path: Path, kind: str, content: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Write atomically: the file is the old one or the new one, never half of it."""
    layout: dict[str, Any] = {}
    blobs: list[bytes] = []
    offset = 0
    for name, values in arrays.items():
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        if little.dtype.str not in _DTYPES:
            little = little.astype("<i8" if little.dtype.kind in "iu" else "<f8")
        blobs.append(little.tobytes())
        shape = list(np.shape(values))
        layout[name] = {"dtype": little.dtype.str, "shape": shape, "offset": offset}
        offset += len(blobs[-1])
    header = {"kind": kind, "content": dict(content), "arrays": layout}
    body = b"".join(blobs)
    header["sha256"] = _digest(header, body)
    text = json.dumps(header, sort_keys=True).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        partial.write_bytes(MAGIC + len(text).to_bytes(8, "little") + text + body)


def read_file(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """What `write_file` wrote.

    Raises:
        MissingFileError: No such file.
        CorruptFileError: Truncated, changed, or not such a file.
        StateError: A file of another kind.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        message = f"no such file: {str(path)!r}"
        raise MissingFileError(message) from None
    header, body = _header(data, path)
    if header["kind"] != kind:
        message = f"{str(path)!r} is a file of {header['kind']!r}, not of {kind!r}"
        raise StateError(message)
    arrays = {name: _array(entry, body) for name, entry in header["arrays"].items()}
    return header["content"], arrays


def _digest(header: Mapping[str, Any], body: bytes) -> str:
    plain = {name: value for name, value in header.items() if name != "sha256"}
    text = json.dumps(plain, sort_keys=True).encode()
    return hashlib.sha256(text + body).hexdigest()


def _header(data: bytes, path: Path) -> tuple[dict[str, Any], bytes]:
    where = f"{str(path)!r}"
    if data[:8] != MAGIC:
        message = f"{where} was not written by rootml: it begins with {data[:8]!r}"
        raise CorruptFileError(message)
    length = int.from_bytes(data[8:16], "little")
    if length > min(len(data) - 16, MAX_HEADER_BYTES):
        message = f"{where} is truncated: {len(data):,} bytes, the header alone says {length:,}"
        raise CorruptFileError(message)
    body = data[16 + length :]
    try:
        header = json.loads(data[16 : 16 + length])
        good = header["sha256"] == _digest(header, body)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"{where} is damaged: {error!r}"
        raise CorruptFileError(message) from error
    if not good:
        message = f"{where} is damaged or was changed: its checksum does not agree"
        raise CorruptFileError(message)
    return header, body


def _array(entry: Mapping[str, Any], body: bytes) -> npt.NDArray[Any]:
    """One array; the checksum has passed, what is checked here is the writer."""
    if entry["dtype"] not in _DTYPES:
        message = f"an array of dtype {entry['dtype']!r} in a file of rootml"
        raise CorruptFileError(message)
    shape = tuple(int(n) for n in entry["shape"])
    dtype, count, offset = np.dtype(entry["dtype"]), math.prod(shape), int(entry["offset"])
    if min((*shape, offset, 0)) < 0 or offset + count * dtype.itemsize > len(body):
        message = "an array of a file of rootml lies beyond its end"
        raise CorruptFileError(message)
    return np.frombuffer(body, dtype, count, offset).reshape(shape).copy()
