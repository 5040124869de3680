"""The figures that need more than rows per second; each runs in a worker process of its own."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from harness.case import Case
from harness.data import TREE
from harness.engines import ENGINES, in_memory, rootml_loader, rootml_numpy, rows
from harness.measure import peak_mb, reset_peak, timed_epoch

Result: TypeAlias = dict[str, Any]


def cached(case: Case, *, pairs: int) -> Result:
    """Later epochs from memory against batch-wise `np.take` of the same arrays, interleaved."""
    epoch = rootml_numpy(case)
    timed_epoch(epoch(0))  # reads the file
    arrays = in_memory(case)
    ours, matrix, whole = [], [], []
    for number in range(1, pairs + 1):
        ours.append(timed_epoch(epoch(number))["wall"])
        matrix.append(take_epoch(arrays[:1], case, number))
        whole.append(take_epoch(arrays, case, number))
    return {"ours": ours, "matrix": matrix, "whole": whole, "rows": len(arrays[0])}


def take_epoch(arrays: tuple[Any, ...], case: Case, number: int) -> float:
    """Seconds of one epoch of batch-wise takes in a fresh permutation."""
    start = time.perf_counter()
    order = np.random.default_rng([case.seed, number]).permutation(len(arrays[0]))
    for first in range(0, len(order), case.batch_size):
        take = order[first : first + case.batch_size]
        for array in arrays:
            np.take(array, take, axis=0)
    return time.perf_counter() - start


def cpu(case: Case, *, pairs: int) -> Result:
    """CPU seconds of epochs that read the file, and of zstd over the same baskets alone."""
    epoch, frames = rootml_numpy(case), list(compressed_frames(case))
    timed_epoch(epoch(0))
    ours, alone = [], []
    for number in range(1, pairs + 1):
        ours.append(timed_epoch(epoch(number))["cpu"])
        alone.append(decompress(frames))
    return {"ours": ours, "alone": alone}


def compressed_frames(case: Case) -> Iterator[tuple[bytes, int]]:
    """Each zstd frame of the case's baskets, with its size when unpacked."""
    import uproot

    for path in case.files:
        with uproot.open(path) as file, open(path, "rb") as raw:  # noqa: PTH123 - for os.pread
            for name in case.columns:
                branch = file[TREE][name]
                seeks = branch.member("fBasketSeek")[: branch.num_baskets]
                sizes = branch.member("fBasketBytes")[: branch.num_baskets]
                for seek, size in zip(seeks, sizes, strict=True):
                    yield from frames_of(os.pread(raw.fileno(), int(size), int(seek)))


def frames_of(basket: bytes) -> Iterator[tuple[bytes, int]]:
    """The compressed blocks of one basket: a TKey, then blocks with headers of nine bytes.

    A basket that ROOT could not make smaller is stored as it is, and has none.
    """
    unpacked, at = int.from_bytes(basket[6:10], "big"), int.from_bytes(basket[14:16], "big")
    if unpacked == len(basket) - at:  # fObjlen, fKeylen
        return
    while at < len(basket):
        tag, packed = basket[at : at + 2], int.from_bytes(basket[at + 3 : at + 6], "little")
        if tag != b"ZS":
            message = f"a block compressed as {tag!r}, not zstd"
            raise ValueError(message)
        unpacked = int.from_bytes(basket[at + 6 : at + 9], "little")
        yield basket[at + 9 : at + 9 + packed], unpacked
        at += 9 + packed


def decompress(frames: list[tuple[bytes, int]]) -> float:
    """CPU seconds of unpacking all frames, one after the other, and dropping the result."""
    import zstandard

    start = time.process_time()
    decompressor = zstandard.ZstdDecompressor()
    for frame, size in frames:
        decompressor.decompress(frame, max_output_size=size)
    return time.process_time() - start


def latency(case: Case, *, engine: str) -> Result:
    """Seconds from opening the files to the first batch, packages imported before."""
    import rootml.batching

    assert rootml.batching.__all__  # imported, lazily loaded names too
    if engine.startswith("root_"):
        from harness.data import import_root

        import_root()
    start = time.perf_counter()
    batches = ENGINES[engine](case)(0)
    next(batches)
    return {"first": time.perf_counter() - start}


def memory(case: Case) -> Result:
    """Peak resident memory of one epoch over what the process had before opening the file."""
    import rootml.batching

    assert rootml.batching.__all__
    before = reset_peak()
    epoch = rootml_numpy(case)
    return {**timed_epoch(epoch(0)), "before": before, "peak": peak_mb()}


def spread(case: Case, *, engine: str, seeds: list[int]) -> Result:
    """Class fraction per full batch: its deviation over that of independent draws, per seed."""
    ratios = []
    for seed in seeds:
        batches = sorted_batches(case.but(seed=seed), engine)
        fractions, total = [], []
        for batch in batches:
            label = np.asarray(batch[1]).reshape(-1)
            total.append(label.sum())
            if rows(batch) == case.batch_size:
                fractions.append(label.mean())
        fraction = float(np.mean(fractions))
        expected = np.sqrt(fraction * (1 - fraction) / case.batch_size)
        ratios.append(float(np.std(fractions) / expected))
    return {"ratios": ratios, "mean": statistics.fmean(ratios)}


def sorted_batches(case: Case, engine: str) -> Iterator[Any]:
    """An epoch over one file per class; for rootml, labelled by sample as a user would."""
    if engine != "rootml":
        return ENGINES[engine](case)(0)
    import rootml

    first, *others = (
        rootml.open(f"{path}:{TREE}", label=label) for label, path in enumerate(case.files)
    )
    data = sum(others, start=first).select(list(case.features))
    loader = data.batches(
        case.batch_size,
        shuffle=True,
        seed=case.seed,
        buffer_bytes=case.buffer,
        cache=case.cache or None,
        progress=False,
    )
    return iter(loader.numpy())


def waiting(case: Case, *, epochs: int) -> Result:
    """Share of the time that a 28-64-64-1 network on one thread waits for its next batch.

    The first batch of an epoch is not counted: that is the latency, a figure of its own.
    """
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(0)
    width = len(case.features)
    model = nn.Sequential(
        nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_function = nn.BCEWithLogitsLoss(reduction="none")
    loader = rootml_loader(case)
    shares, steps = [], []
    for number in range(epochs):
        loader.set_epoch(number)
        batches = iter(loader.torch())
        next(batches)
        waited, start, count = 0.0, time.perf_counter(), 0
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            waited += time.perf_counter() - asked
            if batch is None:
                break
            x, y, w = batch
            optimizer.zero_grad()
            loss = (w * loss_function(model(x)[:, 0], y.float())).mean()
            loss.backward()
            optimizer.step()
            count += 1
        total = time.perf_counter() - start
        shares.append(waited / total)
        steps.append(total / count)
    return {"shares": shares, "step": statistics.median(steps)}


TASKS: dict[str, Callable[..., Result]] = {
    function.__name__: function for function in (cached, cpu, latency, memory, spread, waiting)
}
