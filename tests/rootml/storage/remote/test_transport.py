"""What all protocols share, seen with a transport in memory: no server, no waiting."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rootml.storage import Remote
from rootml.storage.remote import Changed, Exhausted, RemoteFile
from rootml.storage.remote._mock import MockTransport
from rootml.storage.remote._transport_errors import Transient

CONTENT = bytes(range(256)) * 1000
QUICK = Remote(retries=2, backoff=0.0)


def remote_file(transport: MockTransport) -> RemoteFile:
    return RemoteFile("https://host/f.root", QUICK, transport=transport)


def test_ranges_are_joined_and_metadata_is_cached() -> None:
    transport = MockTransport(CONTENT)
    file = remote_file(transport)
    assert transport.requests == [[(0, 4096)], [(len(CONTENT) - 32768, len(CONTENT))]]
    assert file.read(100, 200) == CONTENT[200:300]
    assert len(transport.requests) == 2  # of the head, which is cached
    window = file.fetch([(100_000, 5000), (105_000, 5000), (200_000, 10)])
    assert transport.requests[2:] == [[(100_000, 110_000)], [(200_000, 200_010)]]
    assert window.read(8000, 101_000) == CONTENT[101_000:109_000]


def test_a_request_is_retried_as_often_as_allowed() -> None:
    failures = [Transient("busy")] * 2

    def fail(_: object) -> None:
        if failures:
            raise failures.pop()

    file = remote_file(MockTransport(CONTENT, before_read=fail))
    failures[:] = [Transient("busy")] * 2
    assert file.read(10, 100_000) == CONTENT[100_000:100_010]
    failures[:] = [Transient("busy")] * 3
    with pytest.raises(Exhausted, match="busy \\(tried 3 times"):
        file.read(10, 150_000)


def test_a_changed_file_is_noticed() -> None:
    transport = MockTransport(CONTENT)
    file = remote_file(transport)
    transport.content = CONTENT[::-1]
    with pytest.raises(Changed):
        file.read(10, 100_000)


def test_the_interface_imports_no_implementation() -> None:
    program = (
        "import sys, rootml.storage.remote._transport; "
        "sys.exit(any('urllib3' in name or 'XRootD' in name for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
