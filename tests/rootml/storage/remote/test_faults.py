"""What servers do to those who read from them: refuse, break off, stall, die, change the file."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from event_files import columns_of, write_events
from remote_servers import (
    HttpsServer,
    Place,
    Proxy,
    S3Place,
    XRootDServer,
    busy,
    cut,
    free_port,
    reset,
    stall,
    trickle,
)

import rootml
from rootml.batching import BatchLoader
from rootml.batching.rows._pipeline import THREAD_NAME
from rootml.errors import (
    ChangedFileError,
    MissingFileError,
    MissingPackageError,
    RemoteError,
    UsageError,
)
from rootml.storage import Remote, open_table

QUICK = Remote(timeout=5, retries=4, backoff=0.05)
ROWS = 4000


def values_are_right(table: Any, start: int = 0, stop: int = ROWS) -> bool:
    found = table.read(["id", "x"], start, stop)
    expected = columns_of(np.arange(start, stop, dtype=np.int64))
    return all(np.array_equal(found[name], expected[name]) for name in found)


# --- what passes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [busy, reset, cut, trickle, stall(3)],
    ids=["503", "reset", "cut", "trickle", "stall"],
)
def test_what_passes_is_waited_for(
    https: HttpsServer, remote_events: Callable[[str, int], str], fault: Any
) -> None:
    url = https.url(remote_events("ttree", ROWS))
    with open_table(url, remote=Remote(timeout=1, retries=3, backoff=0.05)) as table:
        _ = table.columns
        https.faults[:] = [fault, fault]
        assert values_are_right(table, 0, 250)  # one range
        assert https.faults == []
        assert https.broken == [fault, fault][: 2 * (fault in {cut, trickle})]


def test_a_server_that_asks_for_time_gets_it(
    https: HttpsServer, remote_events: Callable[[str, int], str]
) -> None:
    def later(handler: Any) -> bool:
        handler.reply(429, b"", {"Retry-After": "1"})
        return True

    with open_table(https.url(remote_events("ttree", ROWS)), remote=QUICK) as table:
        _ = table.columns
        https.faults[:] = [later]
        began = time.monotonic()
        assert values_are_right(table)
        assert time.monotonic() - began >= 1.0  # the pause of its own would be 0.03 s


def test_lost_connections_are_made_again(
    place: Place,
    remote_events: Callable[[str, int], str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    name = remote_events("ttree", ROWS)
    place.url(name)
    proxy = Proxy(place.port)
    request.addfinalizer(proxy.close)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
    with open_table(place.url(name, proxy.port), "Events", remote=QUICK) as table:
        for start in (0, 1000, 2000):
            assert values_are_right(table, start, start + 500)
            proxy.reset()


def test_a_stalled_connection_is_given_up_in_time(
    place: Place,
    remote_events: Callable[[str, int], str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    name = remote_events("ttree", ROWS)
    place.url(name)
    proxy = Proxy(place.port)
    request.addfinalizer(proxy.close)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
    impatient = Remote(timeout=1, retries=1, backoff=0.05)
    with open_table(place.url(name, proxy.port), "Events", remote=impatient) as table:
        assert values_are_right(table, 0, 500)
        proxy.stalled = True
        began = time.monotonic()
        with pytest.raises(RemoteError, match=r"entries 600 to 700.*tried 2 times in "):
            table.read(["x"], 600, 700)
        assert time.monotonic() - began < 12
        proxy.stalled = False
        proxy.reset()
        assert values_are_right(table, 600, 700)


# --- what does not pass --------------------------------------------------------------------------


def test_an_error_names_file_tree_columns_entries_and_tries(
    https: HttpsServer, remote_events: Callable[[str, int], str]
) -> None:
    url = https.url(remote_events("ttree", ROWS))
    with open_table(url, remote=Remote(retries=2, backoff=0.01)) as table:
        _ = table.columns
        table.read(["y"], 0, 10)
        https.faults[:] = [busy] * 99
        with pytest.raises(RemoteError) as caught:
            table.read(["x"], 1000, 1200)
    assert f"{url}:Events: column 'x', entries 1000 to 1200: the server says 503" in str(
        caught.value
    )
    assert "(tried 3 times in " in str(caught.value)
    assert isinstance(caught.value, OSError)


def test_a_refusal_is_not_repeated(
    https: HttpsServer, remote_events: Callable[[str, int], str]
) -> None:
    def forbid(handler: Any) -> bool:
        handler.reply(403, b"")
        return True

    https.faults[:] = [forbid, forbid]
    with pytest.raises(RemoteError, match="refuses: 403.*credentials"):
        open_table(https.url(remote_events("ttree", ROWS)), remote=QUICK)
    assert len(https.faults) == 1


def test_an_empty_answer_leaves_a_connection_that_can_be_used(
    https: HttpsServer, remote_events: Callable[[str, int], str]
) -> None:
    def forbid(handler: Any) -> bool:
        handler.reply(403, b"")
        return True

    url, impatient = https.url(remote_events("ttree", ROWS)), Remote(timeout=5, retries=0)
    for _ in range(3):
        https.faults[:] = [forbid]
        with pytest.raises(RemoteError, match="refuses: 403"):
            open_table(url, remote=impatient)
        with open_table(url, remote=impatient) as table:
            assert values_are_right(table)


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    """A client of two workers in this process, where the server's certificate is known."""
    distributed: Any = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False}
    with (
        distributed.LocalCluster(**options, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def planned(url: str, remote: Remote, workers: Any) -> Any:
    """A selection for workers to read, of a file that the driver knows already."""
    opened = rootml.open(f"{url}:Events", remote=remote).on(workers)
    opened.filter("y > 0").scan(progress=False)
    return opened.filter("x > 0")


def test_a_worker_is_asked_again_when_its_tries_are_used_up(
    https: HttpsServer, remote_events: Callable[[str, int], str], workers: Any
) -> None:
    """Three failures, of which a worker bears one: the second of its tasks succeeds."""
    url = https.url(remote_events("ttree", ROWS))
    data = planned(url, Remote(retries=1, backoff=0.01), workers)
    expected = np.flatnonzero(columns_of(np.arange(ROWS, dtype=np.int64))["x"] > 0)
    https.faults[:] = [busy] * 3
    assert data.scan(progress=False).num_rows == len(expected)
    assert https.faults == []


def test_a_server_that_always_fails_workers_is_one_error(
    https: HttpsServer, remote_events: Callable[[str, int], str], workers: Any
) -> None:
    url = https.url(remote_events("ttree", ROWS))
    data = planned(url, Remote(retries=1, backoff=0.01), workers)
    https.faults[:] = [busy] * 999
    with pytest.raises(RemoteError, match=r"entries 0 to .*503.*tried 2 times") as caught:
        data.scan(progress=False)
    assert url in str(caught.value)
    assert len(https.faults) <= 999 - 6  # three tasks of two tries


def test_a_refusal_is_not_repeated_on_workers(
    https: HttpsServer, remote_events: Callable[[str, int], str], workers: Any
) -> None:
    def forbid(handler: Any) -> bool:
        handler.reply(403, b"")
        return True

    url = https.url(remote_events("ttree", ROWS))
    data = planned(url, QUICK, workers)
    https.faults[:] = [forbid] * 99
    with pytest.raises(RemoteError, match="refuses: 403"):
        data.scan(progress=False)
    assert len(https.faults) == 98


def test_a_certificate_that_nobody_trusts(
    https: HttpsServer,
    remote_events: Callable[[str, int], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    unshared = Remote(retries=0, connections=3)  # connections are shared by those of equal number
    with pytest.raises(RemoteError, match="(?i)certificate"):
        open_table(https.url(remote_events("ttree", ROWS)), remote=unshared)


def test_a_server_without_ranges_is_refused(
    https: HttpsServer, remote_events: Callable[[str, int], str]
) -> None:
    https.ranges = False
    name = remote_events("ttree", ROWS)
    size = (https.folder / name).stat().st_size
    with pytest.raises(RemoteError, match=f"ignores ranges.*whole file of {size:,} bytes"):
        open_table(https.url(name), remote=QUICK)
    assert sum(served.status == 200 for served in https.served) == 1


def test_unknown_scheme_and_options() -> None:
    with pytest.raises(UsageError, match=r"'gopher://host/f.root': files are read from root://"):
        open_table("gopher://me:secret@host/f.root")
    for options in (
        {"timeout": 0},
        {"retries": -1},
        {"backoff": float("nan")},
        {"connections": 0},
        {"gap": "many"},
        {"cache": "folder"},
        {"headers": {"a": "b\r\nc"}},
    ):
        with pytest.raises(UsageError, match=next(iter(options))):
            Remote(**options)
    with pytest.raises(UsageError, match=r"remote must be rootml.storage.Remote"):
        rootml.open("https://host/f.root", remote="fast")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("https://host/f.root", "urllib3", "remote"),
        ("s3://bucket/f.root", "urllib3", "remote"),
        ("root://host//f.root", "XRootD.client", "xrootd"),
        ("root://host//f*.root", "XRootD.client", "xrootd"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=rf"pip install 'rootml\[{extra}\]'"):
        rootml.open(url).describe()


# --- a server that dies in the middle of an epoch ------------------------------------------------


class Mortal:
    """A server of one protocol that can be stopped and started again at the same place."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.xrootd = XRootDServer(folder) if kind == "root" else None
        self.web: HttpsServer | None = None
        self.port = free_port()
        self.start()

    def start(self) -> None:
        if self.xrootd is not None:
            self.xrootd.start()
        else:
            self.web = HttpsServer(self.folder, port=self.port)

    def stop(self) -> None:
        if self.xrootd is not None:
            self.xrootd.stop()
        elif self.web is not None:
            self.web.faults[:] = [reset] * 1000  # connections that are kept alive
            self.web.close()

    def url(self, name: str) -> str:
        if self.xrootd is not None:
            return self.xrootd.url(name)
        return f"https://127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        self.stop()
        if self.xrootd is not None:
            self.xrootd.close()


LONG = 200_000


@pytest.fixture(scope="session")
def long_file(remote_folder: Path) -> str:
    """The name of a file of which no loader holds all batches ready."""
    with uproot.recreate(remote_folder / "long.root") as file:
        tree = file.mktree("Events", {"id": "int64", "x": "float32"})
        for start in range(0, LONG, 5000):
            ids = np.arange(start, start + 5000, dtype=np.int64)
            tree.extend({"id": ids, "x": columns_of(ids)["x"]})
    return "long.root"


def consume(
    loader: BatchLoader, ids: list[int], then: Callable[[int], None] | None = None
) -> None:
    """Check batches to the end of the epoch and note their ids."""
    for number, batch in enumerate(loader.iterate()):
        assert batch.observers is not None
        mine = batch.observers["id"]
        np.testing.assert_array_equal(np.asarray(batch.x)[:, 0], columns_of(mine)["x"])
        ids += mine.tolist()
        if then is not None:
            then(number)


@pytest.mark.parametrize("kind", ["root", "https"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_goes_on_when_the_server_is_back(
    kind: str,
    shuffle: bool,
    remote_folder: Path,
    long_file: str,
    trust: None,
    request: pytest.FixtureRequest,
) -> None:
    server = Mortal(kind, remote_folder)
    request.addfinalizer(server.close)
    impatient = Remote(timeout=2, retries=1, backoff=0.05, connections=2)
    data = rootml.open(f"{server.url(long_file)}:Events", remote=impatient).select(["x"])
    options: dict[str, Any] = {"buffer_bytes": 800_000} if shuffle else {}
    loader = data.batches(
        500, shuffle=shuffle, seed=3, observers=["id"], unit_bytes=60_000, threads=1, **options
    )
    assert loader.mode == ("pool" if shuffle else "sequential")
    ids: list[int] = []
    with pytest.raises(RemoteError) as caught:
        consume(loader, ids, lambda number: server.stop() if number == 9 else None)
    text = str(caught.value)
    assert text.startswith(f"{server.url(long_file)}:Events: column")
    assert ", entries " in text
    assert "(tried 2 times in " in text
    assert 10 * 500 <= len(ids) < LONG
    state = loader.state_dict()
    server.start()
    loader.load_state_dict(state)
    consume(loader, ids)
    assert sorted(ids) == list(range(LONG))
    loader.close()


def test_an_epoch_survives_a_server_that_restarts(
    remote_folder: Path, long_file: str, request: pytest.FixtureRequest
) -> None:
    server = Mortal("root", remote_folder)
    request.addfinalizer(server.close)
    patient = Remote(timeout=5, retries=12, backoff=0.2, connections=2)
    data = rootml.open(f"{server.url(long_file)}:Events", remote=patient).select(["x"])
    loader = data.batches(500, observers=["id"], unit_bytes=60_000, threads=1)
    back = threading.Timer(0.7, server.start)

    def restart(number: int) -> None:
        if number == 9:
            server.stop()
            back.start()

    ids: list[int] = []
    consume(loader, ids, restart)
    back.join()
    assert ids == list(range(LONG))


@pytest.mark.parametrize("shuffle", [False, True])
def test_leaving_a_loop_does_not_wait_for_a_server_that_is_gone(
    shuffle: bool,
    remote_folder: Path,
    long_file: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Mortal("root", remote_folder)
    request.addfinalizer(server.close)
    stubborn = Remote(timeout=2, retries=100, backoff=1, connections=4)
    data = rootml.open(f"{server.url(long_file)}:Events", remote=stubborn).select(["x"])
    options: dict[str, Any] = {"buffer_bytes": 300_000} if shuffle else {}
    loader = data.batches(500, shuffle=shuffle, unit_bytes=30_000, **options)
    began = 0.0
    for number, _ in enumerate(loader.iterate()):
        if number == 3:
            server.stop()
        if number == 30:
            time.sleep(0.5)
            assert "; try 2 follows in " in caplog.text
            began = time.monotonic()
            break
    loader.close()
    assert time.monotonic() - began < 6
    assert not [t for t in threading.enumerate() if t.name.startswith(THREAD_NAME)]


# --- a file that changes -------------------------------------------------------------------------


def replace_events(path: Path, ids: np.ndarray[Any, Any], *, later: float) -> None:
    """Another file of the same name, moved into place."""
    new = write_events(path.with_name("new"), ids, "ttree").partition(":")[0]
    Path(new).replace(path)
    stamp = time.time() + later
    os.utime(path, (stamp, stamp))


@pytest.mark.parametrize("known", [True, False], ids=["columns-read", "only-opened"])
def test_a_file_that_changed_on_the_server_is_an_error(
    place: Place, remote_folder: Path, known: bool, request: pytest.FixtureRequest
) -> None:
    name = f"changing_{request.node.callspec.id}.root"
    ids = np.arange(3000, dtype=np.int64)
    replace_events(remote_folder / name, ids, later=-100)
    with open_table(place.url(name), "Events", remote=QUICK) as table:
        if known:
            table.read(["x"], 0, 100)
        replace_events(remote_folder / name, ids + 7, later=0)
        place.url(name)  # the store gets it too
        with pytest.raises(ChangedFileError, match="changed on the server since it was opened"):
            table.read(["x"], 1000, 1100)


def test_a_change_is_seen_without_etags(https: HttpsServer, remote_folder: Path) -> None:
    https.etags = False
    replace_events(remote_folder / "no_tag.root", np.arange(3000), later=-100)
    with open_table(https.url("no_tag.root"), "Events", remote=QUICK) as table:
        replace_events(remote_folder / "no_tag.root", np.arange(3000), later=0)
        with pytest.raises(ChangedFileError, match="modification time"):
            table.read(["x"], 0, 100)


def test_a_file_that_vanished(https: HttpsServer, remote_folder: Path) -> None:
    replace_events(remote_folder / "gone.root", np.arange(3000), later=0)
    with open_table(https.url("gone.root"), "Events", remote=QUICK) as table:
        (remote_folder / "gone.root").unlink()
        with pytest.raises(MissingFileError, match=r"gone.root:Events"):
            table.read(["x"], 0, 100)


# --- credentials ---------------------------------------------------------------------------------

SECRETS = ("hunter2hunter2", "c0ffeec0ffee", "tok3ntok3n")


def test_credentials_are_sent_and_never_shown(
    https: HttpsServer,
    remote_events: Callable[[str, int], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    plain = https.url(remote_events("ttree", ROWS))
    url = plain.replace("://", f"://me:{SECRETS[0]}@") + f"?X-Amz-Signature={SECRETS[1]}"
    remote = Remote(retries=1, backoff=0.01, headers={"X-Token": SECRETS[2]})
    data = rootml.open(f"{url}:Events", remote=remote).select(["x"])
    texts = [repr(data), str(data), repr(remote), data._repr_html_(), repr(data.describe())]
    texts += [repr(data.samples), str([p.where for p in data.scan().partitions])]
    again = pickle.loads(pickle.dumps(data))  # as it is sent to workers
    assert len(again.to_awkward()) == ROWS
    sent = https.served[-1]
    assert sent.path.endswith(f"?X-Amz-Signature={SECRETS[1]}")
    assert sent.headers["X-Token"] == SECRETS[2]
    assert sent.headers["Authorization"].startswith("Basic ")
    texts.append(repr(again))
    data.samples[0].files.close()
    https.faults[:] = [busy] * 99
    with pytest.raises(RemoteError) as caught:
        data.to_awkward()
    https.faults.clear()
    missing = url.replace("ttree", "no_such")
    with pytest.raises(MissingFileError) as absent:
        rootml.open(f"{missing}:Events", remote=remote).to_awkward()
    dead = url.replace(str(https.port), str(free_port()))
    with pytest.raises(RemoteError) as unreachable:
        rootml.open(f"{dead}:Events", remote=remote).to_awkward()
    for error in (caught, absent, unreachable):
        texts += traceback.format_exception(error.value)
    texts.append(caplog.text)
    assert plain in str(caught.value)
    for text in texts:
        for secret in (*SECRETS, "X-Amz-Signature="):
            assert secret not in text, text


def test_tokens_of_root_urls_are_never_shown(
    xrootd: XRootDServer, remote_events: Callable[[str, int], str]
) -> None:
    url = xrootd.url(remote_events("ttree", ROWS)) + f"?authz={SECRETS[0]}"
    with open_table(url, "Events") as table:
        assert values_are_right(table)
        assert SECRETS[0] not in repr(table)
    with pytest.raises(MissingFileError) as caught:
        open_table(url.replace("ttree", "no_such"), remote=QUICK)
    assert SECRETS[0] not in str(caught.value)
    assert SECRETS[0] not in str(caught.value.__cause__)


def test_keys_of_a_store_are_never_shown(s3: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(RemoteError) as caught:
        open_table("s3://events/f.root", remote=Remote(retries=0))
    assert s3.store.key not in str(caught.value)
    assert s3.store.secret not in str(caught.value)


def test_redirections_are_followed_without_credentials(
    https: HttpsServer, remote_events: Callable[[str, int], str], remote_folder: Path
) -> None:
    other = HttpsServer(remote_folder)
    try:
        name = remote_events("ttree", ROWS)

        def elsewhere(handler: Any) -> bool:
            handler.reply(307, b"", {"Location": other.url(name)})
            return True

        url = https.url(name).replace("://", f"://me:{SECRETS[0]}@")
        https.faults[:] = [elsewhere] * 99
        remote = Remote(retries=0, headers={"X-Token": SECRETS[2]})
        with open_table(url, "Events", remote=remote) as table:
            assert values_are_right(table)
        assert all(served.status == 307 for served in https.served)
        assert "Authorization" in https.served[0].headers
        assert other.served
        for served in other.served:
            assert served.status == 206
            assert not {"Authorization", "X-Token"} & {*served.headers}
    finally:
        other.close()
