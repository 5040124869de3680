"""The local cache of remote files: what it spares, what it never serves, how large it gets."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from event_files import columns_of, write_events
from remote_servers import HttpsServer, XRootDServer

import rootml
from rootml.errors import CorruptFileError, UsageError
from rootml.storage import Cache, Remote, open_table
from rootml.storage.remote._cache import file_cache_for
from rootml.storage.remote._transport import Stat

ROWS = 4000
Events = Callable[[str, int], str]


def read_right(url: str, cache: Cache, start: int = 0, stop: int = ROWS) -> None:
    with open_table(url, "Events", remote=Remote(cache=cache, retries=1)) as table:
        found = table.read(["id", "x"], start, stop)
        expected = columns_of(found["id"])
        np.testing.assert_array_equal(found["x"], expected["x"])


def database(cache: Cache) -> closing[sqlite3.Connection]:
    (path,) = Path(cache.path).glob("*.sqlite")
    return closing(sqlite3.connect(path, isolation_level=None))


def test_what_was_read_is_not_asked_for_again(
    https: HttpsServer, remote_events: Events, tmp_path: Path
) -> None:
    url, cache = https.url(remote_events("ttree", ROWS)), Cache(tmp_path / "kept", limit="10 MB")
    read_right(url, cache)
    first = len(https.served)
    https.served.clear()
    read_right(url, cache)
    assert first > 2
    assert len(https.served) == 1  # is it still the same file?
    assert stat.S_IMODE(os.stat(cache.path).st_mode) == 0o700  # noqa: PTH116


def test_xrootd_is_cached_too(
    xrootd: XRootDServer, remote_events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rootml.storage.remote._xrootd import XRootDTransport

    url, cache = xrootd.url(remote_events("rntuple", ROWS)), Cache(tmp_path / "kept")
    read_right(url, cache)
    monkeypatch.setattr(XRootDTransport, "read", None)  # nothing may be read any more
    read_right(url, cache)


def test_other_columns_and_ranges_share_what_they_have_in_common(
    https: HttpsServer, remote_events: Events, tmp_path: Path
) -> None:
    url, cache = https.url(remote_events("ttree", ROWS)), Cache(tmp_path / "kept")
    read_right(url, cache, 0, 1000)
    https.served.clear()
    read_right(url, cache, 500, 750)
    assert len(https.served) == 1


def test_a_changed_file_is_read_anew(
    https: HttpsServer, remote_folder: Path, tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "kept")
    url = https.url("cached.root")
    for shift, when in ((0, 1_700_000_000), (5, 1_700_000_100)):
        ids = np.arange(shift, ROWS + shift, dtype=np.int64)
        write_events(remote_folder / "cached", ids, "ttree")
        os.utime(remote_folder / "cached.root", (when, when))
        with open_table(url, "Events", remote=Remote(cache=cache)) as table:
            found = table.read(["id", "x"], 0, ROWS)
        np.testing.assert_array_equal(found["id"], ids)
        np.testing.assert_array_equal(found["x"], columns_of(ids)["x"])


def test_a_file_without_a_state_is_not_kept(tmp_path: Path) -> None:
    assert file_cache_for(Cache(tmp_path), "https://host/f", Stat(100, 0, "")) is None


def test_the_limit_holds_and_the_latest_used_stay(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "kept", limit="2 MB")
    shelves = [
        file_cache_for(cache, f"https://host/{number}", Stat(10**6, 1, "tag"))
        for number in range(60)
    ]
    rng = np.random.default_rng(1)
    pieces = [(0, 50_000), (60_000, 110_000)]
    for number, shelf in enumerate(shelves):
        assert shelf is not None
        shelf.put({piece: rng.bytes(50_000) for piece in pieces})
        with database(cache) as open_:
            (size,) = open_.execute("SELECT sum(length(data)) FROM ranges").fetchone()
            (counted,) = open_.execute("SELECT size FROM total").fetchone()
            assert size <= counted <= 2_000_000
            if number == 0:  # as if it had been used last
                open_.execute("UPDATE ranges SET used = used + 1e6")
    found = [len(shelf.get(pieces)) for shelf in shelves if shelf is not None]
    assert found[0] == 2
    assert found[-1] == 2
    assert 0 in found[1:-1]
    files = sum(path.stat().st_size for path in Path(cache.path).iterdir())
    assert files < 2_000_000 + 16 * 2**20  # SQLite's log beside it
    with pytest.raises(UsageError, match="limit"):
        Cache(tmp_path, limit="nothing")


def test_a_flipped_bit_is_read_anew(
    https: HttpsServer, remote_events: Events, tmp_path: Path
) -> None:
    url, cache = https.url(remote_events("ttree", ROWS)), Cache(tmp_path / "kept")
    read_right(url, cache)
    with database(cache) as open_:
        open_.execute("UPDATE ranges SET data = zeroblob(length(data))")
    https.served.clear()
    read_right(url, cache)
    assert len(https.served) > 2


def test_a_database_that_is_none(
    https: HttpsServer, remote_events: Events, tmp_path: Path
) -> None:
    url, cache = https.url(remote_events("ttree", ROWS)), Cache(tmp_path / "kept")
    read_right(url, cache)
    other = Cache(tmp_path / "other")
    Path(other.path).mkdir()
    (name,) = [path.name for path in Path(cache.path).glob("*.sqlite")]
    (Path(other.path) / name).write_bytes(b"this is no database" * 1000)
    with pytest.raises(CorruptFileError, match=r"the cache of remote files in .*other.*remove it"):
        read_right(url, other)


def fill(folder: str, start: int) -> int:
    """Write and read the ranges of some files, in a process."""
    cache, good = Cache(folder, limit="3 MB"), 0
    for number in range(start, start + 25):
        shelf = file_cache_for(cache, f"https://host/{number % 30}", Stat(10**6, 1, "tag"))
        assert shelf is not None
        data = np.random.default_rng(number % 30).bytes(40_000)
        found = shelf.get([(0, 40_000)])
        assert found in ({}, {(0, 40_000): data})
        good += bool(found)
        shelf.put({(0, 40_000): data, (50_000, 50_010): data[:10]})
        assert shelf.get([(50_000, 50_010)]) in ({}, {(50_000, 50_010): data[:10]})
    return good


def test_several_processes_share_it(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert sum(pool.starmap(fill, [(str(tmp_path / "kept"), start) for start in (0, 9)]))
    with database(Cache(tmp_path / "kept")) as open_:
        assert open_.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        sizes = open_.execute("SELECT length(data) FROM ranges").fetchall()
        (counted,) = open_.execute("SELECT size FROM total").fetchone()
    assert counted == sum(-(-size // 4092) * 4096 + 256 for (size,) in sizes) <= 3_000_000


def test_epochs_after_the_first_come_from_the_disk(
    https: HttpsServer, remote_events: Events, tmp_path: Path
) -> None:
    remote = Remote(cache=Cache(tmp_path / "kept"))
    url = f"{https.url(remote_events('ttree', ROWS))}:Events"
    loader = rootml.open(url, remote=remote).select(["id"]).batches(100)
    for _ in loader.iterate():
        pass
    https.served.clear()
    ids = np.concatenate([np.asarray(batch.x)[:, 0] for batch in loader.iterate()])
    np.testing.assert_array_equal(ids, np.arange(ROWS))
    assert https.served == []
