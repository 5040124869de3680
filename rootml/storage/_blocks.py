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
import struct
import threading
from collections.abc import Sequence
from typing import Any, TypeAlias

import cramjam
import numpy as np
import xxhash
import zstandard
from isal import isal_zlib

from rootml.errors import UnsupportedTypeError

Buffer: TypeAlias = "bytes | bytearray | memoryview"
Block: TypeAlias = tuple[bytes, int, int, int]

HEADER = 9
_HEADER = struct.Struct("<2sxHBHB")  # two lengths of 3 bytes: the lower two and the highest
_CHECKSUM = 8
_MAX_KEPT = 32 << 20


class _Local(threading.local):
    """What each thread keeps: a zstd context (not thread-safe, dearer than a block), memory."""

    def __init__(self) -> None:
        self.zstd = zstandard.ZstdDecompressor()
        self.memory: dict[str, memoryview] = {}


_local = _Local()


def scratch(use: str, size: int) -> memoryview:
    """Memory of this thread for `size` bytes, until the thread asks again for the same `use`.

    A fresh allocation of a basket's size is zeroed by the system first, page by page.
    """
    kept = _local.memory.get(use)
    if kept is None or len(kept) < size:
        room = size + size // 4  # the next record is often a little longer
        kept = np.empty(room, np.uint8).data
        if room <= _MAX_KEPT:
            _local.memory[use] = kept
    return kept[:size]


def _zstd(data: memoryview, size: int) -> bytes:
    _check_frame(data, size)
    return bytes_of(_local.zstd.decompress(data, max_output_size=size))


def _check_frame(data: memoryview, size: int) -> bool:
    """Whether a frame states its size, which must be `size`."""
    stated = zstandard.frame_content_size(data)
    if stated not in {-1, size}:
        message = f"zstd frame of {stated} bytes where {size} are due"
        raise ValueError(message)
    return bool(stated == size)


def _zstd_into(data: memoryview, out: memoryview) -> int:
    stated = _check_frame(data, len(out))
    reader = _local.zstd.stream_reader(data)
    size: int = reader.readinto(out)
    return size if stated else size + len(reader.read(1))  # it may be longer


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
    return cramjam.lz4.decompress_block(_lz4_body(data), output_len=size)


def _lz4_into(data: memoryview, out: memoryview) -> int:
    return int(cramjam.lz4.decompress_block_into(_lz4_body(data), out, output_len=len(out)))


def _lz4_body(data: memoryview) -> memoryview:
    body = data[_CHECKSUM:]
    if xxhash.xxh64_intdigest(body) != int.from_bytes(data[:_CHECKSUM], "big"):
        message = "checksum of an LZ4 block does not match"
        raise ValueError(message)
    return body


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
_INTO = {b"ZS": _zstd_into, b"L4": _lz4_into}


def bytes_of(data: Any) -> bytes:
    """`data` as declared by its library to be bytes; no copy."""
    return data  # type: ignore[no-any-return]


def _chain(data: memoryview) -> list[Block]:
    """Algorithm, first byte, length and decompressed length of each block."""
    blocks, position, end = [], 0, len(data)
    while position < end:
        start = position + HEADER
        if start > end:
            raise _no_block(data[position:])
        algorithm, low, high, due_low, due_high = _HEADER.unpack_from(data, position)
        length = low | high << 16
        if start + length > end or algorithm not in _ALGORITHMS:
            raise _no_block(data[position:start])
        blocks.append((algorithm, start, length, due_low | due_high << 16))
        position = start + length
    return blocks


def _no_block(head: memoryview) -> ValueError:
    return ValueError(f"not a compressed block: {bytes(head).hex(' ')}")


def decompress(
    data: Buffer, size: int, *, reuse: bool = False, out: memoryview | None = None
) -> Buffer:
    """Decompress one record to its `size` bytes; a record of that length is stored as it is.

    Returns a bytes-like object. Safe to call from several threads.

    Args:
        reuse: The result may lie in `scratch` memory: good until this thread decompresses again.
        out: Memory of `size` bytes, which is the result unless the record is stored as it is.

    Raises:
        ValueError, or an exception of the decompressor: Damaged data. The caller knows the file.
        UnsupportedTypeError: An algorithm that no current ROOT writes.

    >>> decompress(b"plain", 5)
    b'plain'
    """
    if len(data) == size:
        return data
    view = memoryview(data)
    if reuse and out is None:
        out = scratch("decompressed", size)
    if out is not None and _one_block_into(view, out):
        return out
    blocks = _chain(view)
    total = blocks[0][3] if len(blocks) == 1 else sum(block[3] for block in blocks)
    if total != size:
        message = f"compressed blocks of {total} bytes where {size} are due"
        raise ValueError(message)
    if out is not None:
        return _join_into(view, blocks, out)
    parts = []
    for algorithm, start, length, due in blocks:
        part = _ALGORITHMS[algorithm](view[start : start + length], due)
        _check_length(len(part), due)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def decompress_together(records: Sequence[memoryview], sizes: Sequence[int]) -> Any:
    """Decompress small records of one zstd block each by one call.

    Between two calls for small records threads mostly wait for one another's interpreter lock.

    Returns a sequence of bytes-like objects; None: these are others, to be taken one by one.

    Raises:
        As `decompress`.
    """
    frames = []
    for view, size in zip(records, sizes, strict=True):
        block = _HEADER.unpack_from(view) if len(view) >= HEADER else None
        if block is None or len(view) == size or _only_block(block, view) != (b"ZS", size):
            return None
        frames.append(view[HEADER:])
    together = getattr(_local.zstd, "multi_decompress_to_buffer", None)
    if together is None:  # zstandard's other implementation
        return None
    return together(frames, decompressed_sizes=np.array(sizes, np.uint64).tobytes())


def _one_block_into(view: memoryview, out: memoryview) -> bool:
    """Decompress a record of one block, as most are; False: nothing was done.

    Python's own share of a basket's time: between two large ones it runs on a cold cache.
    """
    if len(view) < HEADER:
        return False
    algorithm, due = _only_block(_HEADER.unpack_from(view), view)
    into = _INTO.get(algorithm)
    if into is None or due != len(out):
        return False
    _check_length(into(view[HEADER:], out), due)
    return True


def _only_block(block: tuple[bytes, int, int, int, int], view: memoryview) -> tuple[bytes, int]:
    """Algorithm and decompressed length of a record's block; none, if there are others behind."""
    algorithm, low, high, due_low, due_high = block
    whole = (low | high << 16) == len(view) - HEADER
    return (algorithm, due_low | due_high << 16) if whole else (b"", 0)


def _join_into(view: memoryview, blocks: list[Block], out: memoryview) -> memoryview:
    """Decompress all blocks to their positions in `out`."""
    at = 0
    for algorithm, start, length, due in blocks:
        part, target = view[start : start + length], out[at : at + due]
        if algorithm in _INTO:
            _check_length(_INTO[algorithm](part, target), due)
        else:
            found = _ALGORITHMS[algorithm](part, due)
            _check_length(len(found), due)
            target[:] = found
        at += due
    return out


def _check_length(length: int, due: int) -> None:
    if length != due:
        message = f"a compressed block gave {length} bytes where {due} are due"
        raise ValueError(message)
