"""What bounds an epoch that reads the file: its steps alone, without a line of ours in Python.

    python benchmarks/batching_limits.py                 CPU time over decompression alone

Every step is one thread's, over all events of the flat file and in the sizes of an epoch; all of
them run in turns. What they add up to is what no loader of these steps can go below.
"""

from __future__ import annotations

import argparse
import mmap
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from harness.case import Case
from harness.data import EVENTS, TREE, ensure
from harness.tasks import compressed_frames, decompress

from rootml._internal.reprs import Grid
from rootml.batching.kernels import _gather, _permutation, _transpose

COLUMNS, WIDTH, UNIT, BLOCK = 28, 30, 287_000, 16_384
"""Columns of the matrix and of a record, rows of a unit (the file's baskets) and of a block."""
RECORD = 128


class Baskets:
    """The baskets of a file, read in one way or the other and decompressed to a unit's columns."""

    def __init__(self, path: str, names: tuple[str, ...]) -> None:
        import uproot

        self._file = os.open(path, os.O_RDONLY)
        self._mapped = memoryview(mmap.mmap(self._file, 0, prot=mmap.PROT_READ))
        self._buffer = np.empty(16 << 20, np.uint8).data
        self._unit = np.zeros(4 * UNIT * WIDTH + (4 << 20), np.uint8).data
        self._context = zstandard.ZstdDecompressor()
        with uproot.open(path) as file:
            branches = [file[TREE][name] for name in names]
        places = [
            (int(seek), int(size))
            for branch in branches
            for seek, size in zip(
                branch.member("fBasketSeek")[: branch.num_baskets],
                branch.member("fBasketBytes")[: branch.num_baskets],
                strict=True,
            )
        ]
        self._places = sorted(places)

    def read(self) -> None:
        """Copied from the system's cache into one buffer."""
        for seek, size in self._places:
            view = self._buffer[:size]
            os.preadv(self._file, [view], seek)
            self._unpack(view, seek)

    def map(self) -> None:
        """As they are in the system's cache, mapped into memory once."""
        for seek, size in self._places:
            self._unpack(self._mapped[seek : seek + size], seek)

    def _unpack(self, basket: memoryview, seek: int) -> None:
        at = seek % (4 * UNIT * WIDTH) // 64 * 64
        for start, size in _frames(basket):
            target = self._unit[at : at + size]
            self._context.stream_reader(basket[start:]).readinto(target)


def _frames(basket: memoryview) -> Iterator[tuple[int, int]]:
    """Where each frame begins, and its size when unpacked; one frame each, as all of ours."""
    keylen = int.from_bytes(basket[14:16], "big")
    unpacked = int.from_bytes(basket[6:10], "big")
    if unpacked != len(basket) - keylen:
        yield keylen + 9, unpacked


def steps(path: str, names: tuple[str, ...], events: int) -> dict[str, Callable[[], Any]]:
    """What an epoch cannot do without, by name; each over all events."""
    rng = np.random.default_rng(1)
    columns = rng.standard_normal((WIDTH, UNIT), np.float32).astype(">f4")
    matrix = _transpose.Columns.of([columns[:COLUMNS]])
    record = _transpose.Columns.of([columns])
    assert matrix is not None
    assert record is not None
    units = max(1, events // 2 // UNIT)
    room = np.zeros(units * UNIT * RECORD + 64, np.uint8)
    start = -room.ctypes.data % 64
    records = room[start : start + units * UNIT * RECORD].reshape(-1, RECORD)
    rows = records.view(np.float32)[:, :WIDTH]
    out = [np.empty((BLOCK, n), np.float32) for n in (COLUMNS, 1, 1) for _ in range(6)]
    order = rng.permutation(len(records))
    fields = [(0, 4 * COLUMNS), (4 * COLUMNS, 4), (4 * COLUMNS + 4, 4)]
    whole, blocks = round(events / UNIT), events // BLOCK
    baskets = Baskets(path, names)

    def to_batches() -> None:
        for number in range(blocks):
            first = number * BLOCK % (UNIT - BLOCK)
            _transpose.transpose(matrix, first, out[number % 6])

    def to_records() -> None:
        for number in range(whole):
            first = number % units * UNIT
            _transpose.transpose(record, 0, rows[first : first + UNIT], spare=True)

    def gather() -> None:
        for number in range(blocks):
            first = number * BLOCK % (len(order) - BLOCK)
            into = out[number % 6 :: 6]
            _gather.gather(records, fields, order[first : first + BLOCK], into)

    def permute() -> None:
        for number in range(whole):
            bits = np.random.Generator(np.random.SFC64(number))
            _permutation.permutation(bits, UNIT)

    return {
        "read and zstd": baskets.read,
        "mapped and zstd": baskets.map,
        "columns to batches": to_batches,
        "columns to records": to_records,
        "records to shuffled batches": gather,
        "permutations of units": permute,
    }


BOUNDS = {
    "not shuffled": ("read and zstd", "columns to batches"),
    "not shuffled, mapped": ("mapped and zstd", "columns to batches"),
    "shuffled": (
        "read and zstd",
        "columns to records",
        "records to shuffled batches",
        "permutations of units",
    ),
}


def measure(functions: dict[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """Median CPU seconds of each, in turns; the first turn, in which loops are compiled, apart."""
    found: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name, function in functions.items():
            begin = time.process_time()
            function()
            if turn:
                found[name].append(time.process_time() - begin)
    return {name: statistics.median(times) for name, times in found.items()}


def main() -> None:
    """Print the steps and what they add up to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    (path,) = map(str, ensure(options.data, "flat_zstd.root", options.events))
    case = Case((path,))
    frames = list(compressed_frames(case))
    functions = steps(path, case.columns, options.events)
    alone = "zstd alone"
    times = measure({alone: lambda: decompress(frames), **functions}, options.turns)
    rows = [
        (name, f"{1e3 * seconds:.0f} ms", f"{seconds / times[alone]:.2f}x")
        for name, seconds in times.items()
    ]
    for name, parts in BOUNDS.items():
        total = sum(times[part] for part in parts)
        rows.append((f"together, {name}", f"{1e3 * total:.0f} ms", f"{total / times[alone]:.2f}x"))
    print(Grid(("step, CPU time", "all events", "over zstd alone"), rows))


if __name__ == "__main__":
    main()
