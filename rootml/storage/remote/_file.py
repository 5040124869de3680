"""One remote file as a `Source`: it joins ranges, caches metadata and retries."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from rootml._internal.urls import redact
from rootml.execution import ProcessLock
from rootml.storage._blocks import Buffer
from rootml.storage._source import Ranges, check_range, truncated
from rootml.storage.remote._cache import FileCache, file_cache_for
from rootml.storage.remote._options import Remote
from rootml.storage.remote._tasks import retry, run_all
from rootml.storage.remote._transport import Piece, Stat, Transport
from rootml.storage.remote._transports import transport_for

_HEAD = 4 << 10
_TAIL = 32 << 10
_AHEAD = 4 << 10
_MAX_METADATA_BYTES = 64 << 20
_WASTE = 20  # gaps are at most one part in so many of what is wanted


class _MetadataCache:
    """Pieces of metadata of all remote files of this process, the latest used ones."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = ProcessLock()
        self._pieces: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()
        self._files: dict[int, dict[Piece, None]] = {}
        self._size = 0

    def find(self, file: int, start: int, stop: int) -> bytes | None:
        with self._lock:
            for first, last in self._files.get(file, ()):
                if first <= start and stop <= last:
                    self._pieces.move_to_end((file, first, last))
                    return self._pieces[file, first, last][start - first : stop - first]
        return None

    def put(self, file: int, start: int, data: bytes) -> None:
        key = (file, start, start + len(data))
        with self._lock:
            if key in self._pieces or len(data) > self._limit // 4:
                return
            self._pieces[key] = data
            self._files.setdefault(file, {})[key[1:]] = None
            self._size += len(data)
            while self._size > self._limit:
                self._remove(next(iter(self._pieces)))

    def forget(self, file: int) -> None:
        with self._lock:
            for piece in list(self._files.get(file, ())):
                self._remove((file, *piece))

    def _remove(self, key: tuple[int, int, int]) -> None:
        self._size -= len(self._pieces.pop(key))
        pieces = self._files[key[0]]
        del pieces[key[1:]]
        if not pieces:
            del self._files[key[0]]


_metadata = _MetadataCache(_MAX_METADATA_BYTES)
_numbers = itertools.count()


def join_pieces(pieces: Iterable[Piece], gap: int) -> list[Piece]:
    """Sorted pieces, those that touch joined, and those across the smallest gaps.

    A gap is at most `gap` bytes, and all that are joined together are at most a twentieth of what
    is wanted.

    >>> join_pieces([(300, 400), (0, 100), (100, 200), (10_000, 19_000)], gap=150)
    [(0, 400), (10000, 19000)]
    """
    joined: list[list[int]] = []
    for start, stop in sorted(pieces):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(stop, joined[-1][1])
        else:
            joined.append([start, stop])
    spare = sum(stop - start for start, stop in joined) // _WASTE
    pairs = enumerate(itertools.pairwise(joined))
    gaps = sorted((after[0] - before[1], number) for number, (before, after) in pairs)
    bridged = set()
    for size, number in gaps:
        if size > gap or size > spare:
            break
        spare -= size
        bridged.add(number)
    result: list[Piece] = []
    for number, (start, stop) in enumerate(joined):
        if number - 1 in bridged:
            result[-1] = (result[-1][0], stop)
        else:
            result.append((start, stop))
    return result


class RemoteFile:
    """A file on a server, as it was when it was opened; safe to use from several threads.

    Args:
        transport: Reads the bytes; None: the transport of the scheme of `url`.

    Attributes:
        name: The URL without credentials.
        stat: What the file was.
    """

    def __init__(self, url: str, options: Remote, *, transport: Transport | None = None) -> None:
        self.name = redact(url)
        self.options = options
        self.closed = False
        self._number = next(_numbers)
        self._transport = transport_for(url, options) if transport is None else transport
        self.stat, head = retry(self._transport.open, options)
        self._cache: FileCache | None = None
        if options.cache is not None:
            self._cache = file_cache_for(options.cache, self._transport.identity, self.stat)
        if head:
            _metadata.put(self._number, 0, head)
        self._read_ends()

    def _read_ends(self) -> None:
        """Read both ends of the file with one request: most formats keep their metadata there."""
        size = self.stat.size
        ends = [(0, min(_HEAD, size)), (max(0, size - _TAIL), size)]
        wanted = [end for end in ends if _metadata.find(self._number, *end) is None]
        for start, data in self._get([end for end in wanted if end[0] < end[1]]):
            _metadata.put(self._number, start, bytes(data))

    # --- a source -----------------------------------------------------------------------------

    def read(self, size: int, offset: int) -> bytes:
        """Read metadata: a little more than asked for, which is cached."""
        check_range(size, offset)
        stop = offset + size
        if stop > self.stat.size:
            raise truncated(size, offset)
        if not size:
            return b""
        found = _metadata.find(self._number, offset, stop)
        if found is None:
            ((_, got),) = self._get([(offset, min(max(stop, offset + _AHEAD), self.stat.size))])
            data = bytes(got)
            _metadata.put(self._number, offset, data)
            found = data[:size]
        return found

    def view(self, size: int, offset: int) -> memoryview:
        return memoryview(self.read(size, offset))

    def fetch(self, ranges: Ranges) -> Window:
        """Read all of `ranges` now, by as few and as small requests as possible."""
        pieces = []
        for offset, size in ranges:
            check_range(size, offset)
            if offset + size > self.stat.size:
                raise truncated(size, offset)
            if size:
                pieces.append((offset, offset + size))
        return Window(self, self._get(sorted(set(pieces))))

    def close(self) -> None:
        """Close the file and drop its cached metadata."""
        self.closed = True
        _metadata.forget(self._number)
        self._transport.close()

    # --- reading ------------------------------------------------------------------------------

    def _get(self, pieces: Sequence[Piece]) -> list[tuple[int, Buffer]]:
        """The pieces (or larger ones around them) with their positions, sorted."""
        if not pieces:
            return []
        if self._cache is None:
            return self._ask(join_pieces(pieces, self.options.gap_bytes))
        found = self._cache.get(pieces)
        missing = [piece for piece in pieces if piece not in found]
        if missing:
            window = Window(self, self._ask(join_pieces(missing, self.options.gap_bytes)))
            new = {(a, b): bytes(window.view(b - a, a)) for a, b in missing}
            self._cache.put(new)
            found |= new
        return [(start, found[start, stop]) for start, stop in sorted(found)]

    def _ask(self, pieces: Sequence[Piece]) -> list[tuple[int, Buffer]]:
        """Ask the server for all of the pieces."""
        stat, transport = self.stat, self._transport
        batches = transport.batches(pieces)
        tasks: list[partial[Any]] = [partial(transport.read, batch, stat) for batch in batches]
        if transport.verifies:
            tasks.append(partial(transport.verify, stat))
        results = run_all(tasks, self.options)
        parts = [
            (start, data)
            for batch, datas in zip(batches, results, strict=False)
            for (start, _), data in zip(batch, datas, strict=True)
        ]
        return sorted(parts, key=lambda part: part[0])

    def __repr__(self) -> str:
        return f"<RemoteFile {self.name!r}: {self.stat.size:,} bytes>"


class Window:
    """Pieces of a remote file that were read; what is not among them is read when asked for."""

    def __init__(self, file: RemoteFile, parts: Sequence[tuple[int, Buffer]]) -> None:
        self._file = file
        self._starts = [start for start, _ in parts]
        self._parts = [memoryview(data) for _, data in parts]

    def view(self, size: int, offset: int) -> memoryview:
        number = bisect_right(self._starts, offset) - 1
        if number >= 0 and size >= 0:
            at = offset - self._starts[number]
            part = self._parts[number]
            if at + size <= len(part):
                return part[at : at + size]
        return self._file.view(size, offset)

    def read(self, size: int, offset: int) -> bytes:
        return bytes(self.view(size, offset))

    def fetch(self, ranges: Ranges) -> Window:
        return self._file.fetch(ranges)


__all__ = ["RemoteFile", "Stat", "Window", "join_pieces"]
