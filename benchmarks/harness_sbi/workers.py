"""What Dask costs a toy, and what a worker keeps of the reference events.

CPU time of this process, in which client, scheduler and the one worker run as threads, beside that
of the same toys without Dask, in turns. Sending the events costs once: it is the intercept of two
numbers of toys, and the slope is what a toy takes. Memory is that of worker processes.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import distributed
from harness.report import Row

from harness_sbi.scale import Size, likelihood
from rootml import sbi

DASK: Any = distributed
SIZE = Size(3, 20, 20, 3_000, 100_000)
FEW, MANY, TURNS = 4, 24, 3


def worker_rows() -> Iterator[Row]:
    """Overhead of a toy, what sending costs, and copies of the events per worker."""
    like = likelihood(SIZE)
    yield from overhead_rows(like)
    yield copies_row(like)


def overhead_rows(like: sbi.Likelihood) -> Iterator[Row]:
    """By CPU times."""
    options: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1, "processes": False}
    taken: dict[tuple[str, int], list[float]] = {}
    with (
        DASK.LocalCluster(**options, dashboard_address=":0") as cluster,
        DASK.Client(cluster, set_as_default=False) as client,
    ):
        for turn in range(TURNS + 1):
            for number in (FEW, MANY):
                for where, used in (("here", None), ("Dask", client)):
                    seconds = drawn(like, number, used)
                    if turn:
                        taken.setdefault((where, number), []).append(seconds)
    least = {key: min(seconds) for key, seconds in taken.items()}
    each = {w: (least[w, MANY] - least[w, FEW]) / (MANY - FEW) for w in ("here", "Dask")}
    once = statistics.median(
        d - h for d, h in zip(taken["Dask", FEW], taken["here", FEW], strict=True)
    )
    text = f"{1e3 * each['Dask']:.1f} ms a toy on Dask, {1e3 * each['here']:.1f} ms here"
    share = each["Dask"] / each["here"] - 1.0
    yield Row("overhead of a toy", 100.0 * share, text, 2.0, at_most=True, unit=" %")
    yield Row("sending the events", once, f"{once:.2f} s of CPU, once and for each worker")


def drawn(like: sbi.Likelihood, number: int, client: Any) -> float:
    """CPU seconds of some toys, each with a free and a conditional fit."""
    begin = time.process_time()
    sbi.toys(
        like.model, like.reference, number=number, seed=1, truth={"mu": 1.0},
        tests=[{"mu": 1.0}], client=client, progress=False,
    )  # fmt: skip
    return time.process_time() - begin


def copies_row(like: sbi.Likelihood) -> Row:
    """Memory that a worker gains while toys are fitted, over that of the events."""
    assert like.unbinned is not None
    assert like.unbinned.normaliser is not None
    size = like.unbinned.normaliser.events.rows.blocks.nbytes  # type: ignore[union-attr]
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1}
    few = likelihood(Size(3, 20, 20, 500, 20_000))  # float32, too: the same compiled kernels
    with (
        DASK.LocalCluster(**options, dashboard_address=":0") as cluster,
        DASK.Client(cluster, set_as_default=False) as client,
    ):
        drawn(few, FEW * 4, client)  # loads the code
        before = client.run(resident)
        with ThreadPoolExecutor(1) as pool:
            toys = pool.submit(drawn, like, FEW * 4, client)
            seen = [before]
            while not toys.done():
                seen.append(client.run(resident))
                time.sleep(0.1)
    gained = [max(now[key] - before[key] for key in before) for now in seen]
    kept = statistics.median(gained[len(gained) // 2 :])  # in the first half they are sent
    text = (
        f"{kept / 1e6:.0f} MB for events of {size / 1e6:.0f} MB, {max(gained) / 1e6:.0f} at most"
    )
    return Row("memory of a worker", kept / size, text, 2.0, at_most=True, unit=" copies")


def resident() -> int:
    """Bytes of memory that are this process's own; what glibc keeps free is given back."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    psutil: Any = importlib.import_module("psutil")  # it has no types; Dask brings it
    return int(psutil.Process().memory_full_info().uss)
