"""ROOT's compressed blocks: what every basket, page and metadata record is wrapped in.

A record is a chain of blocks of at most 16 MB, each behind 9 bytes: two letters for the algorithm,
one for the method, and two lengths of 3 bytes, little-endian (ROOT: ``RZip.cxx``). LZ4 blocks
begin with 8 bytes of XXH64 of what follows. All lengths are checked before anything is allocated,
and all decompressors used here release the interpreter lock.

What a flipped bit does: zlib, LZMA and LZ4 blocks carry checksums, which are verified. ROOT writes
zstd frames without one: there only damage that breaks the stream, or a length, is noticed.
"""

from __future__ import annotations

import lzma
import threading
from typing import Any, TypeAlias

import cramjam
import xxhash
import zstandard
from isal import isal_zlib

from rootml.errors import UnsupportedTypeError

Buffer: TypeAlias = "bytes | bytearray | memoryview"

HEADER = 9
_CHECKSUM = 8
_local = threading.local()


def _zstd(data: memoryview, size: int) -> bytes:
    stated = zstandard.frame_content_size(data)
    if stated not in {-1, size}:
        message = f"zstd frame of {stated} bytes where {size} are due"
        raise ValueError(message)
    worker = getattr(_local, "zstd", None)
    if worker is None:  # a context is not thread-safe, and costs more than a small block
        worker = _local.zstd = zstandard.ZstdDecompressor()
    return bytes_of(worker.decompress(data, max_output_size=size))


def _zlib(data: memoryview, size: int) -> bytes:
    worker = isal_zlib.decompressobj(15)
    out = bytes_of(worker.decompress(data, size))
    if len(out) == size and not worker.eof:  # reads the checksum at the end
        out += worker.decompress(worker.unconsumed_tail, 1)
    if not worker.eof:
        message = "zlib stream without an end"
        raise ValueError(message)
    return out


def _lz4(data: memoryview, size: int) -> Any:
    body = data[_CHECKSUM:]
    if xxhash.xxh64_intdigest(body) != int.from_bytes(data[:_CHECKSUM], "big"):
        message = "checksum of an LZ4 block does not match"
        raise ValueError(message)
    return cramjam.lz4.decompress_block(body, output_len=size)


def _lzma(data: memoryview, size: int) -> bytes:
    worker = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    out = worker.decompress(data, max_length=size)
    if not worker.eof:
        out += worker.decompress(b"", max_length=1)
    if not worker.eof:
        message = "LZMA stream without an end"
        raise ValueError(message)
    return out


def _old(_data: memoryview, _size: int) -> bytes:
    message = "compressed by ROOT's algorithm of before 2002 ('CS'): rewrite the file with hadd -f"
    raise UnsupportedTypeError(message)


_ALGORITHMS = {b"ZS": _zstd, b"ZL": _zlib, b"L4": _lz4, b"XZ": _lzma, b"CS": _old}


def bytes_of(data: Any) -> bytes:
    """`data` as declared by its library to be bytes; no copy."""
    return data  # type: ignore[no-any-return]


def _chain(data: memoryview) -> list[tuple[bytes, int, int, int]]:
    """Algorithm, first byte, length and decompressed length of each block."""
    blocks, position = [], 0
    while position < len(data):
        head = bytes(data[position : position + HEADER])
        start = position + HEADER
        length = int.from_bytes(head[3:6], "little")
        position = start + length
        if len(head) < HEADER or position > len(data) or head[:2] not in _ALGORITHMS:
            message = f"not a compressed block: {head.hex(' ')}"
            raise ValueError(message)
        blocks.append((head[:2], start, length, int.from_bytes(head[6:9], "little")))
    return blocks


def decompress(data: Buffer, size: int) -> Any:
    """Decompress one record to its `size` bytes; a record of that length is stored as it is.

    Returns a bytes-like object. Safe to call from several threads.

    Raises:
        ValueError, or an exception of the decompressor: Damaged data. The caller knows the file.
        UnsupportedTypeError: An algorithm that no current ROOT writes.

    >>> decompress(b"plain", 5)
    b'plain'
    """
    if len(data) == size:
        return data
    view = memoryview(data)
    blocks = _chain(view)
    if sum(block[3] for block in blocks) != size:
        total = sum(block[3] for block in blocks)
        message = f"compressed blocks of {total} bytes where {size} are due"
        raise ValueError(message)
    parts = []
    for algorithm, start, length, due in blocks:
        part = _ALGORITHMS[algorithm](view[start : start + length], due)
        if len(part) != due:
            message = f"a compressed block gave {len(part)} bytes where {due} are due"
            raise ValueError(message)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
