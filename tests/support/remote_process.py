"""A server or a proxy in a process of its own, so that it takes no time of who is measured.

::

    python remote_process.py https FOLDER CA_FILE     prints its port; so does http FOLDER ""
    python remote_process.py proxy PORT DELAY         prints its port; "bytes" gives what it passed
                                                      on, "delay 0.1" sets the delay before
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Self


def main(kind: str, first: str, second: str) -> None:
    """Serve until standard input ends."""
    from remote_servers import HttpsServer, Proxy

    server: Any
    if kind in {"http", "https"}:
        if kind == "https":
            HttpsServer.authority().cert_pem.write_to_path(second)
        server = HttpsServer(Path(first), plain=kind == "http")
    else:
        server = Proxy(int(first), delay=float(second))
    print(server.port, flush=True)  # noqa: T201
    for line in sys.stdin:
        if line.startswith("delay"):
            server.delay = float(line.split()[1])
        print(server.received, flush=True)  # noqa: T201
    server.close()


class RemoteProcess:
    """One of them, as seen by who started it."""

    def __init__(self, kind: str, first: str | int, second: str | float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, kind, str(first), str(second)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = self._read()

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    @property
    def received(self) -> int:
        """Bytes that a proxy passed on from the server so far."""
        assert self._process.stdin is not None
        print("bytes", file=self._process.stdin, flush=True)
        return self._read()

    def set_delay(self, seconds: float) -> None:
        """Of everything that a client of a proxy sends from now on."""
        assert self._process.stdin is not None
        print(f"delay {seconds}", file=self._process.stdin, flush=True)
        self._read()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
