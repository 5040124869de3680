"""Remote files beside local ones: bytes over the wire, and epochs over a slow connection.

XRootD servers on 127.0.0.1 are read through a proxy that delivers everything a client sends 50 ms
late, as a server 50 ms away would: by root://, by https:// (several ranges a request), and by
plain http as an S3 store answers it (signed, one range a request; moto of the tests is too slow to
measure with). Servers and proxies are processes of their own on the same cores. The events are
like those of NanoAOD: two lists and three scalars are read, of 24 columns. An epoch streams all
files, shuffled, with a buffer that holds half of them (mode "pool"), so that every epoch reads
everything anew.

- bytes: all that came through the proxy in the dearest of three epochs (the first pays for the
  metadata), over the compressed size of the columns asked for, as uproot knows it;
- speed: events per second over those of the same loader with local files, in turns; the best turn
  of each counts. Training is a step of a small network per batch. Where nothing is done but
  reading, local files keep both cores busy; servers, proxies and TLS run on the same two. What
  that costs is seen without the delay: the same files by the same way, 0 ms away;
- uproot by hand: `uproot.iterate` of the same columns through the same proxy, and locally.

    python benchmarks/remote.py             three turns
    python benchmarks/remote.py --quick     fewer events, one turn
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from harness.measure import machine
from harness.report import Row, report

import rootml
from rootml.batching import Batch, Padded

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

DELAY = 0.05
CLUSTER = 50_000
OTHERS = 19
WRITTEN = 6
JETS = ("Jet_pt", "Jet_eta")
SCALARS = ("MET_pt", "nMuon", "trigger")
WANTED = (*JETS, *SCALARS)


# --- data ----------------------------------------------------------------------------------------


def rounded(values: Any) -> Any:
    """float32 with 10 bits of mantissa, as NanoAOD stores it."""
    bits = np.asarray(values, np.float32).view(np.uint32) & np.uint32(0xFFFFE000)
    return bits.view(np.float32)


def write(folder: Path, files: int, events: int) -> list[str]:
    """Names of files of events: a few are written, the others are further names of these."""
    rng = np.random.default_rng(7)
    names = [f"events_{number}.root" for number in range(files)]
    for name in names[:WRITTEN]:
        with uproot.recreate(folder / name, compression=uproot.ZSTD(5)) as file:
            tree = None
            for _ in range(0, events, CLUSTER):
                part = events_of(rng)
                if tree is None:
                    types = {column: ak.type(values).content for column, values in part.items()}
                    tree = file.mktree("Events", types)
                tree.extend(part)
    for number in range(WRITTEN, files):
        (folder / names[number]).hardlink_to(folder / names[number % WRITTEN])
    return names


def events_of(rng: np.random.Generator) -> dict[str, Any]:
    """A cluster of events: what is read, with other columns before, between and behind."""
    jets = rng.poisson(4.0, CLUSTER)
    total = int(jets.sum())
    read = {
        "Jet_pt": ak.unflatten(rounded(rng.exponential(40, total)), jets),
        "Jet_eta": ak.unflatten(rounded(rng.normal(0, 2, total)), jets),
        "MET_pt": rounded(rng.exponential(30, CLUSTER)),
        "nMuon": rng.poisson(0.8, CLUSTER).astype(np.int32),
        "trigger": rng.random(CLUSTER) < 0.7,
    }
    found: dict[str, Any] = {}
    for number in range(OTHERS):
        if number % 4 == 2 and read:
            name = next(iter(read))
            found[name] = read.pop(name)
        found[f"other_{number}"] = rounded(rng.normal(size=CLUSTER))
    return found | read


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
        uproot: Why uproot cannot read there with what is installed, "" if it can.
        received: Bytes that came through the proxy so far.
        set_delay: Of the proxy, in seconds.
    """

    name: str
    urls: list[str]
    received: Callable[[], int] = lambda: 0
    set_delay: Callable[[float], None] = lambda _: None
    uproot: str = ""
    first: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)
    near: list[float] = field(default_factory=list)
    training: list[float] = field(default_factory=list)
    by_hand: list[float] = field(default_factory=list)
    nbytes: int = 0


def trainer() -> Callable[[Batch], None]:
    """One step of a small network on one core per batch: what a loader is for."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    nn = torch.nn
    model = nn.Sequential(nn.Linear(15, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    model.append(nn.Linear(64, 1))
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)

    def step(batch: Batch) -> None:
        assert isinstance(batch.x, dict)
        jets: Any = batch.x["jets"]
        columns = [np.asarray(batch.x["event"]), jets.values.reshape(batch.num_rows, -1)]
        x = torch.from_numpy(np.concatenate(columns, axis=1))
        optimizer.zero_grad()
        (model(x / 100) ** 2).mean().backward()
        optimizer.step()

    return step


def stream(place: Place, events: int) -> None:
    """Epochs of a loader: with opening, after it, without the delay, with training."""
    data = rootml.open([f"{url}:Events" for url in place.urls]).select([*WANTED])
    inputs: dict[str, Any] = {"event": [*SCALARS], "jets": Padded([*JETS], length=6)}
    size = events * (3 * 4 + 6 * (2 * 4 + 1))
    loader = data.batches(
        4096, shuffle=True, seed=1, inputs=inputs, buffer_bytes=size // 2, unit_bytes="5 MB"
    )
    for times in (place.first, place.later, place.near, place.training):
        place.set_delay(0.0 if times is place.near else DELAY)
        step = trainer() if times is place.training else lambda _: None
        before, start = place.received(), time.perf_counter()
        rows = 0
        for batch in loader.iterate():
            step(batch)
            rows += batch.num_rows
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
        for part in uproot.iterate({url: "Events"}, [*WANTED], step_size=100_000):
            rows += len(part)
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
        ("epoch of training, 50 ms away", place.training, local.training, 0.7),
        ("epoch of nothing but reading, 50 ms away", place.later, local.later, 0.7),
        ("the same, with opening", place.first, local.first, None),
        ("the same, but 0 ms away", place.near, local.later, None),
    ):
        share = min(theirs) / min(mine)
        speed = events / min(mine) / 1e6
        text = f"{share:.2f} of local ({speed:.2f} / {events / min(theirs) / 1e6:.2f} M events/s)"
        yield Row(f"{place.name}: {what}", share, text, bar, unit="x")
    kept = min(place.near) / min(place.later)
    yield Row(f"{place.name}: what the delay leaves of the speed", kept, f"{kept:.2f}")
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

    def serve(*, secure: bool) -> XRootDServer:
        server = XRootDServer(folder, secure=secure)
        stack.callback(server.close)
        server.start()
        return server

    def away(name: str, port: int, address: str, reason: str = "") -> Place:
        proxy = stack.enter_context(RemoteProcess("proxy", port, DELAY))
        urls = [f"{address.format(port=proxy.port)}{file}" for file in names]
        if name == "s3://":
            os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.port}"
        return Place(name, urls, lambda: proxy.received, proxy.set_delay, reason)

    secure, plain = serve(secure=True), serve(secure=False)
    assert secure.authority is not None
    secure.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    (folder / "events").symlink_to(folder)
    os.environ |= {
        "SSL_CERT_FILE": str(folder / "ca.pem"),
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    no_s3fs = "s3fs cannot be installed beside our pins"
    return [
        Place("local", [str(folder / name) for name in names]),
        away("root://", plain.port, "root://127.0.0.1:{port}//"),
        away("https://", secure.web_port, "https://127.0.0.1:{port}/"),
        away("s3://", plain.web_port, "s3://events/", no_s3fs),
    ]


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
    files, events, turns = (4, 200_000, 1) if arguments.quick else (12, 500_000, 2)
    opening = (
        f"{machine()}; {files} files of {events:,} events in clusters of {CLUSTER:,}, "
        f"{len(WANTED)} of {len(WANTED) + OTHERS} columns read"
    )
    return report(opening, measure(files, events, turns), arguments.output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path)
    sys.exit(main(parser.parse_args()))
