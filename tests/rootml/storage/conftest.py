"""Servers on 127.0.0.1 over one folder of files, for the tests of remote files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from event_files import write_events
from remote_servers import HttpsServer, MotoServer, XRootDServer

PROTOCOLS = ("root", "https", "s3")


class Place(Protocol):
    """A server, as far as the URL of a file is concerned."""

    port: int

    def url(self, name: str, port: int | None = None) -> str: ...


@pytest.fixture(scope="session")
def remote_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the servers serve."""
    return tmp_path_factory.mktemp("remote")


@pytest.fixture(scope="session")
def xrootd(remote_folder: Path) -> Iterator[XRootDServer]:
    server = XRootDServer(remote_folder)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of the authority that signs for the tests' servers."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    HttpsServer.authority().cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def trust(trusted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust that authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))


@pytest.fixture(scope="session")
def _web(remote_folder: Path) -> Iterator[HttpsServer]:
    server = HttpsServer(remote_folder)
    yield server
    server.close()


@pytest.fixture
def https(_web: HttpsServer, trust: None) -> Iterator[HttpsServer]:
    """The web server, as it was before any test."""
    _web.served.clear()
    yield _web
    _web.faults.clear()
    _web.ranges = _web.etags = True


class S3Place:
    """The S3 store with the files of the folder in the bucket ``events``."""

    def __init__(self, store: MotoServer, folder: Path) -> None:
        self.store, self.port = store, store.port
        self._folder = folder
        self._stored: dict[str, int] = {}

    def url(self, name: str, port: int | None = None) -> str:
        del port  # the environment says it
        stamp = (self._folder / name).stat().st_mtime_ns
        if self._stored.get(name) != stamp:
            self.store.put("events", name, (self._folder / name).read_bytes())
            self._stored[name] = stamp
        return f"s3://events/{name}"


@pytest.fixture(scope="session")
def _moto(remote_folder: Path) -> Iterator[S3Place]:
    store = MotoServer()
    yield S3Place(store, remote_folder)
    store.close()


@pytest.fixture
def s3(_moto: S3Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3Place:
    """The S3 store, and the environment that tells of it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name, value in _moto.store.environment().items():
        monkeypatch.setenv(name, value)
    return _moto


@pytest.fixture(params=PROTOCOLS)
def place(request: pytest.FixtureRequest) -> Place:
    """Each of the servers in turn."""
    found: Place = request.getfixturevalue({"root": "xrootd"}.get(request.param, request.param))
    return found


@pytest.fixture(scope="session")
def remote_events(remote_folder: Path) -> Callable[[str, int], str]:
    """`remote_events("ttree", 2000)`: the name of a file of events 0 to 1999 in the folder."""
    import numpy as np

    made: dict[tuple[str, int], str] = {}

    def name(format_: str, rows: int) -> str:
        if (format_, rows) not in made:
            path = write_events(
                remote_folder / f"{format_}_{rows}", np.arange(rows, dtype=np.int64), format_
            )
            made[format_, rows] = Path(path.partition(":")[0]).name
        return made[format_, rows]

    return name
