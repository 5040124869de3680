"""Ranges of remote files on the local disk, in one SQLite database.

SQLite handles several processes at a time, crashes in the middle of writing, and the reuse of
freed space. A range belongs to a file *and* its state (size, ETag or modification time). When the
file has changed, nothing is found, and the old ranges are dropped as the least recently used.
Each range has its own checksum.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import xxhash

from rootml.errors import CorruptFileError
from rootml.storage.remote._options import Cache
from rootml.storage.remote._transport import Piece, Stat

T = TypeVar("T")

_NAME = "rootml-cache-1.sqlite"
_BUSY = 60.0
_PAUSE = 0.02
_FRESH = 60.0
_SPARE = 10  # room is made for a tenth more than needed, so that it is not made every time
_PAGE, _PAGE_USED, _ROW = 4096, 4092, 256
_TABLES = """
CREATE TABLE IF NOT EXISTS ranges (
    file BLOB NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
    sum INTEGER NOT NULL, used REAL NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (file, start, stop)
);
CREATE INDEX IF NOT EXISTS by_use ON ranges (used, file, start, stop);
CREATE TABLE IF NOT EXISTS total (size INTEGER NOT NULL);
INSERT INTO total SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM total);
"""


class FileCache:
    """The cached ranges of one state of one file."""

    def __init__(self, cache: Cache, key: bytes) -> None:
        self._cache = cache
        self._key = key

    def get(self, pieces: Sequence[Piece]) -> dict[Piece, bytes]:
        """Those of the pieces that are cached and undamaged."""
        return _with_database(self._cache, partial(self._get, pieces))

    def _get(self, pieces: Sequence[Piece], database: sqlite3.Connection) -> dict[Piece, bytes]:
        found: dict[Piece, bytes] = {}
        stale: list[tuple[float, bytes, int, int]] = []
        now = time.time()
        query = "SELECT data, sum, used FROM ranges WHERE file=? AND start=? AND stop=?"
        for start, stop in pieces:
            row = database.execute(query, (self._key, start, stop)).fetchone()
            if row is None or len(row[0]) != stop - start or _sum(row[0]) != row[1]:
                continue
            found[start, stop] = row[0]
            if now - row[2] > _FRESH:
                stale.append((now, self._key, start, stop))
        if stale:
            touch = "UPDATE ranges SET used=? WHERE file=? AND start=? AND stop=?"
            with _written(database):
                database.executemany(touch, stale)
        return found

    def put(self, pieces: Mapping[Piece, bytes]) -> None:
        """Store the pieces; the least recently used ranges are dropped to stay below the limit."""
        if sum(_cost(len(data)) for data in pieces.values()) <= self._cache.bytes:
            _with_database(self._cache, partial(self._put, pieces))

    def _put(self, pieces: Mapping[Piece, bytes], database: sqlite3.Connection) -> None:
        size = sum(_cost(len(data)) for data in pieces.values())
        now = time.time()
        same = "WHERE file=? AND start=? AND stop=?"
        remove = f"DELETE FROM ranges {same} RETURNING length(data)"
        with _written(database):
            _make_room(database, self._cache.bytes, size)
            for (start, stop), data in pieces.items():
                for (old,) in database.execute(remove, (self._key, start, stop)).fetchall():
                    size -= _cost(old)
                row = (self._key, start, stop, _sum(data), now, data)
                database.execute("INSERT INTO ranges VALUES (?, ?, ?, ?, ?, ?)", row)
            database.execute("UPDATE total SET size = size + ?", (size,))


def file_cache_for(cache: Cache, identity: str, stat: Stat) -> FileCache | None:
    """The cache of one file; None if the server does not tell one state of it from another."""
    if not stat.tag and not stat.modified:
        return None
    text = "\0".join([identity, str(stat.size), str(stat.modified), stat.tag])
    return FileCache(cache, hashlib.sha256(text.encode()).digest())


def _sum(data: bytes) -> int:
    return int.from_bytes(xxhash.xxh3_64_digest(data), "big", signed=True)


def _cost(length: int) -> int:
    """Bytes of the database that a range takes: whole pages, and its row."""
    return -(-length // _PAGE_USED) * _PAGE + _ROW


def _make_room(database: sqlite3.Connection, limit: int, size: int) -> None:
    """Drop the least recently used ranges until `size` more bytes fit."""
    (total,) = database.execute("SELECT size FROM total").fetchone()
    if total + size <= limit:
        return
    due = total + size - limit + limit // _SPARE
    freed, old = 0, []
    query = "SELECT rowid, length(data) FROM ranges ORDER BY used"
    for row, length in database.execute(query):
        if freed >= due:
            break
        old.append((row,))
        freed += _cost(length)
    database.executemany("DELETE FROM ranges WHERE rowid=?", old)
    database.execute("UPDATE total SET size = size - ?", (freed,))


class _Connections:
    """Open databases by process and path; closed when their thread ends."""

    def __init__(self) -> None:
        self.open: dict[tuple[int, str], sqlite3.Connection] = {}

    def forget(self, path: str) -> None:
        database = self.open.pop((os.getpid(), path), None)
        if database is not None:
            database.close()

    def __del__(self) -> None:
        for process, path in list(self.open):
            if process == os.getpid():  # what was inherited by a fork is the parent's
                self.forget(path)


class _Local(threading.local):
    """Each thread has its own."""

    def __init__(self) -> None:
        self.connections = _Connections()


_local = _Local()


def _with_database(cache: Cache, work: Callable[[sqlite3.Connection], T]) -> T:
    """The result of `work`, which may be done twice: SQLite is busy while others open or close it.

    Raises:
        CorruptFileError: The database is damaged, or cannot be written.
    """
    path = str(Path(cache.path) / _NAME)
    deadline = time.monotonic() + _BUSY
    while True:
        try:
            key, known = (os.getpid(), path), _local.connections.open
            if key not in known:
                known[key] = _connect(path)
            return work(known[key])
        except (sqlite3.Error, OSError) as error:
            _local.connections.forget(path)
            busy = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
            if not busy or time.monotonic() > deadline:
                message = (
                    f"the cache of remote files in {os.fspath(cache.path)!r} cannot be used "
                    f"({type(error).__name__}: {error}); remove it, or choose another folder"
                )
                raise CorruptFileError(message) from error
        time.sleep(_PAUSE)


def _connect(path: str) -> sqlite3.Connection:
    Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    database = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=OFF")  # what a power cut takes is read again
        database.execute("PRAGMA journal_size_limit=16777216")
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name='total'").fetchone():
            with _written(database):
                for statement in _TABLES.split(";\n"):
                    database.execute(statement)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def _written(database: sqlite3.Connection) -> Iterator[None]:
    """One transaction; others wait for their turn."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
