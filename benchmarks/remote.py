"""Remote files beside local ones: bytes over the wire, and epochs over a slow connection.

Servers on 127.0.0.1 are read through a proxy that delivers everything a client sends 50 ms late,
as a server 50 ms away would: the system's XRootD, a web server with TLS, and a web server without
that stands for an S3 store (moto, as tests use it, is no server to measure with). Server and proxy
are processes of their own on the same cores. An epoch streams all files, shuffled, with a buffer
that holds a fraction of them (mode "pool"), so that every epoch reads everything anew.

- bytes: all that came through the proxy in an epoch, over the compressed size of the columns
  asked for, as uproot knows it;
- speed: events per second over those of the same loader with local files, in turns; the best turn
  of each counts; "first" includes the opening of all files;
- uproot by hand: `uproot.iterate` through the same proxy, and locally.

    python benchmarks/remote.py             three turns
    python benchmarks/remote.py --quick     fewer events, one turn
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from harness.measure import machine
from harness.report import Row, report

import rootml

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

DELAY = 0.05
CLUSTER = 50_000
COLUMNS = 24
WANTED = tuple(f"c{number:02d}" for number in range(0, COLUMNS, 2))


# --- data ----------------------------------------------------------------------------------------


def write(folder: Path, files: int, events: int) -> list[str]:
    """Names of files of normal numbers with 12 bits of mantissa."""
    rng = np.random.default_rng(7)
    names = [f"events_{number}.root" for number in range(files)]
    for name in names:
        with uproot.recreate(folder / name, compression=uproot.ZSTD(1)) as file:
            tree = file.mktree("Events", {f"c{n:02d}": np.float32 for n in range(COLUMNS)})
            for _ in range(0, events, CLUSTER):
                raw = rng.normal(size=(COLUMNS, CLUSTER)).astype(np.float32)
                rounded = (raw.view(np.uint32) & np.uint32(0xFFFFF800)).view(np.float32)
                tree.extend({f"c{n:02d}": rounded[n] for n in range(COLUMNS)})
    return names


def needed_bytes(paths: list[Path]) -> int:
    """Compressed size of the columns asked for."""
    total = 0
    for path in paths:
        with uproot.open(path) as file:
            total += sum(int(file["Events"][name].compressed_bytes) for name in WANTED)
    return total


# --- who reads -----------------------------------------------------------------------------------


@dataclass
class Place:
    """Where the same files are read from.

    Attributes:
        uproot: Whether uproot can read there with what is installed; else why not.
        received: Bytes that came through the proxy so far.
    """

    name: str
    urls: list[str]
    received: Callable[[], int] = lambda: 0
    uproot: str = ""
    first: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)
    by_hand: list[float] = field(default_factory=list)
    nbytes: int = 0


def stream(place: Place, events: int) -> None:
    """Two epochs of a loader."""
    data = rootml.open([f"{url}:Events" for url in place.urls]).select([*WANTED])
    size = events * len(WANTED) * 4
    loader = data.batches(4096, shuffle=True, seed=1, buffer_bytes=size // 2, unit_bytes="4 MB")
    for times in (place.first, place.later):
        before, start = place.received(), time.perf_counter()
        rows = sum(len(x) for x in loader.numpy())
        times.append(time.perf_counter() - start)
        place.nbytes = max(place.nbytes, place.received() - before)
        assert rows == events
    assert loader.mode == "pool"
    loader.close()


def iterate(place: Place, events: int) -> None:
    """One pass by hand."""
    start = time.perf_counter()
    rows = 0
    for url in place.urls:
        for part in uproot.iterate({url: "Events"}, [*WANTED], step_size=100_000, library="np"):
            rows += len(np.stack([part[name] for name in WANTED], axis=1))
    place.by_hand.append(time.perf_counter() - start)
    assert rows == events


# --- figures -------------------------------------------------------------------------------------


def rows_of(place: Place, local: Place, needed: int, events: int) -> Iterator[Row]:
    """The figures of one protocol."""
    ratio = place.nbytes / needed
    yield Row(
        f"{place.name}: bytes read / needed",
        ratio,
        f"{ratio:.3f} ({place.nbytes / 1e6:.1f} / {needed / 1e6:.1f} MB)",
        1.1,
        at_most=True,
    )
    for what, mine, theirs, bar in (
        ("epoch", place.later, local.later, 0.7),
        ("first epoch", place.first, local.first, None),
    ):
        share = min(theirs) / min(mine)
        speed = events / min(mine) / 1e6
        text = f"{share:.2f} of local ({speed:.2f} / {events / min(theirs) / 1e6:.2f} M events/s)"
        yield Row(f"{place.name}: {what}, 50 ms away", share, text, bar, unit="x")
    if place.uproot:
        yield Row(f"{place.name}: uproot by hand", 0, f"not measured: {place.uproot}")
        return
    share = min(local.by_hand) / min(place.by_hand)
    text = f"{share:.2f} of its local ({events / min(place.by_hand) / 1e6:.2f} M events/s)"
    yield Row(f"{place.name}: uproot by hand", share, text)
    gain = min(place.by_hand) / min(place.later)
    yield Row(f"{place.name}: rootml / uproot", gain, f"{gain:.1f}x")


def places(stack: ExitStack, folder: Path, names: list[str]) -> list[Place]:
    """The local files and those behind each protocol, 50 ms away."""
    from remote_process import RemoteProcess
    from remote_servers import XRootDServer

    found = [Place("local", [str(folder / name) for name in names])]
    ca = folder / "ca.pem"
    os.environ["SSL_CERT_FILE"] = str(ca)

    def away(port: int) -> RemoteProcess:
        return stack.enter_context(RemoteProcess("proxy", port, DELAY))

    if shutil.which("xrootd"):
        xrootd = XRootDServer(folder)
        stack.callback(xrootd.close)
        xrootd.start()
        proxy = away(xrootd.port)
        urls = [xrootd.url(name, proxy.port) for name in names]
        found.append(Place("root://", urls, lambda proxy=proxy: proxy.received))  # type: ignore[misc]
    else:
        print("xrootd is not installed: root:// is not measured")
    web = stack.enter_context(RemoteProcess("https", str(folder), str(ca)))
    proxy = away(web.port)
    urls = [f"https://127.0.0.1:{proxy.port}/{name}" for name in names]
    found.append(Place("https://", urls, lambda proxy=proxy: proxy.received))  # type: ignore[misc]
    (folder / "events").symlink_to(folder)
    store = stack.enter_context(RemoteProcess("http", str(folder), ""))
    proxy = away(store.port)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    urls = [f"s3://events/{name}" for name in names]
    place = Place("s3://", urls, lambda proxy=proxy: proxy.received)  # type: ignore[misc]
    place.uproot = "s3fs cannot be installed beside our pins"
    found.append(place)
    return found


def measure(files: int, events: int, turns: int) -> Iterator[tuple[str, Iterator[Row]]]:
    """All tables."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rootml-bench-")))
        folder.chmod(0o755)
        names = write(folder, files, events)
        needed, total = needed_bytes([folder / name for name in names]), files * events
        everywhere = places(stack, folder, names)
        for _ in range(turns):
            for place in everywhere:
                stream(place, total)
        for place in everywhere:
            if not place.uproot:
                iterate(place, total)
        local, *remote = everywhere
        for place in remote:
            yield place.name, rows_of(place, local, needed, total)


def main(arguments: Any) -> int:
    """Measure and print."""
    os.environ["ROOTML_CACHE"] = ""
    files, events, turns = (4, 200_000, 1) if arguments.quick else (8, 500_000, 2)
    opening = (
        f"{machine()}; {files} files of {events:,} events, {len(WANTED)} of {COLUMNS} float32 "
        f"columns, clusters of {CLUSTER:,}"
    )
    return report(opening, measure(files, events, turns), arguments.output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path)
    sys.exit(main(parser.parse_args()))
