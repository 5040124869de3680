"""Real servers on 127.0.0.1 for tests and benchmarks of remote files: XRootD, https, S3.

Each can be stopped and started again on the same port, as servers are. `require` decides what a
missing server means: a skipped test on a user's machine, a failure where ``CI`` is set.
"""

from __future__ import annotations

import http.server
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import quote

import pytest
import trustme

_PATIENCE = 20.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, patience: float = _PATIENCE) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    message = f"nobody listens on port {port}"
    raise TimeoutError(message)


def require(program: str | None, what: str) -> str:
    """The program, or a skipped test; a failed one in CI."""
    if program is None:
        if os.environ.get("CI"):
            pytest.fail(f"{what} is not installed")
        pytest.skip(f"{what} is not installed")
    return program


class Place(Protocol):
    """A server, as far as the URL of a file is concerned."""

    port: int

    def url(self, name: str, port: int | None = None) -> str: ...


# --- XRootD --------------------------------------------------------------------------------------


class XRootDServer:
    """The `xrootd` of the system (Debian: xrootd-server) over `folder`, which all may read.

    It speaks http too, on `web_port`: https if `secure`, by a certificate of `authority`.
    """

    def __init__(self, folder: Path, *, secure: bool = False) -> None:
        self.folder = folder
        self.authority = trustme.CA() if secure else None
        self.port, self.web_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._state = Path(tempfile.mkdtemp(prefix="xrd"))  # its sockets need a short path
        self._state.chmod(0o777)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        config = self._state / "xrootd.cfg"
        config.write_text(
            f"xrd.port {self.port}\nxrd.protocol xrootd *\nall.export /\n"
            f"xrd.protocol XrdHttp:{self.web_port} libXrdHttp.so\n"
            f"oss.localroot {self.folder}\nall.adminpath {self._state}/admin\n"
            f"all.pidpath {self._state}/admin\nxrd.network nodnr\n" + self._security()
        )
        (self._state / "admin").mkdir(exist_ok=True)
        (self._state / "admin").chmod(0o777)
        program = require(shutil.which("xrootd"), "xrootd")
        user = ["-R", "nobody"] if os.getuid() == 0 else []
        self.process = subprocess.Popen(
            [program, "-c", str(config), "-n", "test", *user],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._state,
        )
        wait_for_port(self.port)

    def _security(self) -> str:
        """Lines of the configuration for TLS."""
        if self.authority is None:
            return ""
        leaf = self.authority.issue_cert("127.0.0.1", "localhost")
        authority, chain, key = (self._state / name for name in ("ca.pem", "chain.pem", "key.pem"))
        self.authority.cert_pem.write_to_path(str(authority))
        chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(key))
        key.chmod(0o400)
        if os.getuid() == 0:
            shutil.chown(key, "nobody")
        return f"xrd.tls {chain} {key}\nxrd.tlsca certfile {authority}\n"

    def stop(self) -> None:
        """Kill it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._state, ignore_errors=True)

    def url(self, name: str, port: int | None = None) -> str:
        """The URL of a file, through another port if given."""
        return f"root://127.0.0.1:{port or self.port}//{name}"


# --- https ---------------------------------------------------------------------------------------


@dataclass
class Served:
    """One request as it was answered."""

    method: str
    path: str
    status: int
    nbytes: int
    headers: dict[str, str]


Fault = Callable[["Handler"], bool]
"""Called before a request is answered; True: it has answered, or done something worse."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Files with ranges, ETag, Last-Modified and If-Match; broken as the test wants."""

    protocol_version = "HTTP/1.1"
    server: HttpsServer
    timeout = 30

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def answer(self) -> None:
        fault = self.server.next_fault(self.path)
        if fault is not None and fault(self):
            return
        path = self.server.folder / self.path.split("?")[0].lstrip("/")
        try:
            stat = path.stat()
        except OSError:
            self.reply(404, b"no such file")
            return
        headers = {"Last-Modified": formatdate(stat.st_mtime, usegmt=True)}
        if self.server.etags:
            headers["ETag"] = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
        match = self.headers.get("If-Match")
        if match and match != headers.get("ETag"):
            self.reply(412, b"")
            return
        wanted = self.headers.get("Range", "")
        if "," in wanted and self.server.ranges and self.server.several:
            self.reply_several(path, stat.st_size, wanted, headers)
            return
        if "," in wanted and self.server.refuses_several:
            self.reply(416, b"")
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)
        if found is None or not self.server.ranges:
            self.reply(200, path.read_bytes(), headers)
        elif int(found[1]) >= stat.st_size:
            self.reply(416, b"", {"Content-Range": f"bytes */{stat.st_size}"})
        else:
            start, stop = int(found[1]), min(int(found[2]) + 1, stat.st_size)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{stat.st_size}"
            with path.open("rb") as file:
                file.seek(start)
                self.reply(206, file.read(stop - start), headers)

    def reply_several(self, path: Path, size: int, wanted: str, headers: dict[str, str]) -> None:
        body = b""
        with path.open("rb") as file:
            for start, stop in re.findall(r"(\d+)-(\d+)", wanted):
                file.seek(int(start))
                data = file.read(int(stop) + 1 - int(start))
                head = f"--limit\r\nContent-Range: bytes {start}-{stop}/{size}\r\n\r\n"
                body += head.encode() + data + b"\r\n"
        headers["Content-Type"] = "multipart/byteranges; boundary=limit"
        self.reply(206, body + b"--limit--\r\n", headers)

    def reply(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.server.served.append(
            Served(self.command, self.path, status, len(data), dict(self.headers))
        )
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(OSError):  # a client that has had enough
            self.wfile.write(data if self.command == "GET" else b"")

    def log_message(self, *args: Any) -> None: ...


class HttpsServer(http.server.ThreadingHTTPServer):
    """Serves `folder` over TLS, by a certificate of an authority of its own (`authority`)."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    _authority: ClassVar[trustme.CA | None] = None

    def __init__(self, folder: Path, *, port: int = 0, plain: bool = False) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.folder = folder
        self.ranges = self.etags = self.several = True
        self.served: list[Served] = []
        self.refuses_several = False
        self.faults: list[Fault] = []
        self.broken: list[Fault] = []
        self.plain = plain
        self.port = int(self.server_address[1])
        if not plain:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.authority().issue_cert("127.0.0.1", "localhost").configure_cert(context)
            self._context = context
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @classmethod
    def authority(cls) -> trustme.CA:
        if cls._authority is None:
            cls._authority = trustme.CA()
        return cls._authority

    def finish_request(self, request: Any, client_address: Any) -> None:
        if not self.plain:  # here, and not where one slow client would keep all others waiting
            request.settimeout(10)
            try:
                request = self._context.wrap_socket(request, server_side=True)
            except (OSError, ssl.SSLError):
                return
        try:
            Handler(request, client_address, self)
        finally:
            with suppress(OSError):
                request.close()

    def handle_error(self, request: Any, client_address: Any) -> None: ...

    def next_fault(self, path: str) -> Fault | None:
        del path
        try:
            return self.faults.pop(0)
        except IndexError:
            return None

    def url(self, name: str, port: int | None = None) -> str:
        """The URL of a file, through another port if given."""
        return f"http{'' if self.plain else 's'}://127.0.0.1:{port or self.port}/{name}"

    def close(self) -> None:
        self.shutdown()
        self.server_close()


def busy(handler: Handler) -> bool:
    """Answer 503."""
    handler.reply(503, b"later")
    return True


def reset(handler: Handler) -> bool:
    """Close the connection without an answer."""
    handler.close_connection = True
    with suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)
    return True


def cut(handler: Handler) -> bool:
    """Promise an answer and break off in the middle of it."""
    data = _promise(handler)
    handler.server.broken.append(cut)
    handler.wfile.write(data[: len(data) // 2])
    handler.wfile.flush()
    return reset(handler)


def trickle(handler: Handler) -> bool:
    """Send the answer so slowly that it never ends, but never so slowly that nothing comes."""
    data = _promise(handler)
    handler.server.broken.append(trickle)
    with suppress(OSError):
        for byte in data:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.1)
    return reset(handler)


def _promise(handler: Handler) -> bytes:
    """Send the head of the answer to a request for one range; the bytes that are due."""
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers["Range"])
    assert found is not None
    start, stop = int(found[1]), int(found[2]) + 1
    path = handler.server.folder / handler.path.lstrip("/")
    data = path.read_bytes()
    stop = min(stop, len(data))
    stat = path.stat()
    handler.send_response(206)
    handler.send_header("ETag", f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"')
    handler.send_header("Last-Modified", formatdate(stat.st_mtime, usegmt=True))
    handler.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
    handler.send_header("Content-Length", str(stop - start))
    handler.end_headers()
    return data[start:stop]


def stall(seconds: float) -> Fault:
    """Say nothing for a while."""

    def fault(handler: Handler) -> bool:
        time.sleep(seconds)
        return reset(handler)

    return fault


# --- S3 ------------------------------------------------------------------------------------------


def moto_program() -> str | None:
    """`moto_server` where ``make servers`` puts it, or on the path."""
    beside = Path(sys.prefix) / "servers" / "bin" / "moto_server"
    return str(beside) if beside.exists() else shutil.which("moto_server")


class MotoServer:
    """An S3 store in memory (`moto_server`)."""

    key, secret = "AKIATESTTESTTESTTEST", "secret-of-the-test"

    def __init__(self) -> None:
        self.port = free_port()
        program = require(moto_program(), "moto_server (make servers)")
        self._process = subprocess.Popen(
            [program, "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port, 60)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Store an object; the bucket is made if need be."""
        for target, body in ((bucket, b""), (f"{bucket}/{key}", data)):
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.port}/{quote(target)}",
                data=body,
                headers={
                    "Content-Type": "application/octet-stream",  # not a form to parse
                    "Authorization": f"AWS4-HMAC-SHA256 Credential={self.key}/20260101/us-east-1/"
                    "s3/aws4_request, SignedHeaders=host, Signature=0",
                },
                method="PUT",
            )
            with urllib.request.urlopen(request, timeout=20) as answer:
                assert answer.status == 200

    def environment(self, port: int | None = None) -> dict[str, str]:
        """What tells a client of this store."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


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


# --- a proxy -------------------------------------------------------------------------------------


@dataclass
class _Pipe:
    client: socket.socket
    server: socket.socket
    threads: list[threading.Thread] = field(default_factory=list)


class Proxy:
    """Passes TCP on to `target`: counts bytes, delays what clients send, cuts, stalls.

    Attributes:
        delay: Seconds by which everything that a client sends is late; requests that follow one
            another closely are late by the same, not by the sum.
        received: Bytes that went from the server to clients.
        stalled: Whether nothing is passed on.
    """

    def __init__(self, target: int, *, delay: float = 0.0) -> None:
        self.target = target
        self.delay = delay
        self.received = 0
        self.stalled = False
        self._pipes: list[_Pipe] = []
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pipe = _Pipe(client, server)
            with self._lock:
                self._pipes.append(pipe)
            for run, ends in ((self._upstream, pipe), (self._downstream, pipe)):
                thread = threading.Thread(target=run, args=(ends,), daemon=True)
                thread.start()

    def _upstream(self, pipe: _Pipe) -> None:
        """From the client, each piece `delay` later than it came."""
        import queue

        line: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def send() -> None:
            while True:
                due, data = line.get()
                time.sleep(max(0.0, due - time.monotonic()))
                self._wait_while_stalled()
                try:
                    if not data:
                        pipe.server.shutdown(socket.SHUT_WR)
                        return
                    pipe.server.sendall(data)
                except OSError:
                    return

        threading.Thread(target=send, daemon=True).start()
        with suppress(OSError):
            while data := pipe.client.recv(1 << 16):
                line.put((time.monotonic() + self.delay, data))
        line.put((time.monotonic(), b""))

    def _downstream(self, pipe: _Pipe) -> None:
        with suppress(OSError):
            while data := pipe.server.recv(1 << 20):
                self._wait_while_stalled()
                pipe.client.sendall(data)
                with self._lock:
                    self.received += len(data)
        self._end(pipe)

    def _wait_while_stalled(self) -> None:
        while self.stalled and not self._closed:
            time.sleep(0.02)

    def _end(self, pipe: _Pipe) -> None:
        for end in (pipe.client, pipe.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def reset(self) -> None:
        """Cut all connections that there are now."""
        with self._lock:
            pipes, self._pipes = self._pipes, []
        for pipe in pipes:
            self._end(pipe)

    def close(self) -> None:
        self._closed = True
        self._listener.close()
        self.reset()


@contextmanager
def closing_all(*closables: Any) -> Iterator[None]:
    """Close everything at the end, the last first."""
    try:
        yield
    finally:
        for each in reversed(closables):
            each.close()
