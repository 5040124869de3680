"""Servers on 127.0.0.1 over one folder of files, for the tests of remote files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from event_files import FILE_ROWS, write_events
from remote_servers import HttpsServer, MotoServer, Place, S3Place, XRootDServer

from rootml.storage.remote._http import _managers, _single

PROTOCOLS = ("root", "https", "s3")


@pytest.fixture(autouse=True)
def _no_headers_of_other_runs(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers come back at the same address with other files."""
    if request.path.parent.name == "remote":
        monkeypatch.setenv("ROOTML_CACHE", "")


@pytest.fixture(scope="session")
def remote_folder() -> Iterator[Path]:
    """The folder that the servers serve; not one of pytest's, which other users may not enter."""
    with tempfile.TemporaryDirectory(prefix="rootml-remote-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


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
    """The web server, as it was before any test, and no connection to it."""
    _managers.clear()
    _web.served.clear()
    _web.broken.clear()
    yield _web
    _web.faults.clear()
    _web.ranges = _web.etags = _web.several = True
    _web.refuses_several = False
    _single.clear()


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
def remote_samples(remote_folder: Path) -> Callable[[str], list[list[str]]]:
    """As `event_files`, in the folder that the servers serve: names."""
    made: dict[str, list[list[str]]] = {}

    def names(format_: str) -> list[list[str]]:
        if format_ not in made:
            first, made[format_] = 0, []
            for sample, sizes in enumerate(FILE_ROWS):
                found = []
                for number, rows in enumerate(sizes):
                    ids = np.arange(first, first + rows, dtype=np.int64)
                    path = write_events(
                        remote_folder / f"{format_}_s{sample}_{number}", ids, format_
                    )
                    found.append(Path(path.partition(":")[0]).name)
                    first += rows
                made[format_].append(found)
        return made[format_]

    return names


@pytest.fixture(scope="session")
def remote_events(remote_folder: Path) -> Callable[[str, int], str]:
    """`remote_events("ttree", 2000)`: the name of a file of events 0 to 1999 in the folder."""
    made: dict[tuple[str, int], str] = {}

    def name(format_: str, rows: int) -> str:
        if (format_, rows) not in made:
            path = write_events(
                remote_folder / f"{format_}_{rows}", np.arange(rows, dtype=np.int64), format_
            )
            made[format_, rows] = Path(path.partition(":")[0]).name
        return made[format_, rows]

    return name
