"""Epochs on Dask while workers are killed at random: each ends, with all rows or with an error.

The full number of seeds is run with ``ROOTML_STORMS=200`` (`make test-full` runs some; the fast
suite kills one worker at a time, in `test_dask_faults`). What an
epoch gives is compared with the same epoch in threads here, where nothing is killed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import distributed
import numpy as np
import pytest
from event_files import check_batch

import rootml
from rootml.errors import ClusterError

Events = Callable[[str], rootml.Dataset]
pytestmark = pytest.mark.slow

DASK: Any = distributed  # half typed
SECONDS = 120.0
"""An epoch that took longer counts as stalled; undisturbed ones take a second."""
STORMS = int(os.environ.get("ROOTML_STORMS", "10"))
OPTIONS: dict[str, Any] = {
    "shuffle": True, "batch_size": 50, "buffer_bytes": 60_000, "unit_bytes": 9_000,
    "inputs": ["x", "y", "k"], "observers": ["id"], "stall_seconds": 20.0,
}  # fmt: skip


class Storm:
    """Kills workers of a cluster at random times, until it is over."""

    def __init__(self, cluster: Any, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._cluster = cluster
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._rage, daemon=True)
        self.kills = 0

    def _rage(self) -> None:
        for pause in self._random.exponential(0.4, int(self._random.integers(1, 6))).tolist():
            if self._over.wait(pause):
                return
            pids = [nanny.pid for nanny in self._cluster.workers.values() if nanny.pid]
            if pids:
                try:
                    os.kill(pids[int(self._random.integers(len(pids)))], signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self.kills += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def epoch_of(data: rootml.Dataset, seed: int) -> list[Any]:
    return [check_batch(batch) for batch in data.batches(seed=seed, **OPTIONS).iterate()]


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """What `work` gives, or the error it raises; fails if it takes longer."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:  # noqa: BLE001 - handed on to the test
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"no end after {seconds} s"
    return found[0]


@pytest.mark.parametrize("seed", range(STORMS))
def test_an_epoch_ends_with_all_rows_or_an_error(
    events: Events, two: Any, process_cluster: Any, seed: int
) -> None:
    data = events("ttree").filter("k > 1")
    wanted = epoch_of(data, seed)
    with Storm(process_cluster, seed):
        found = within(SECONDS, lambda: epoch_of(data.on(two), seed))
    if isinstance(found, ClusterError):
        return  # a partition whose workers died too often; it says which
    if isinstance(found, Exception):
        raise found
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_workers_that_hit_their_memory_limit(events: Events, tmp_path: Path) -> None:
    """The nanny kills them; after as many times as Dask allows there is an error."""

    def greedy(_: Any) -> int:
        hold = [np.ones(1 << 24) for _ in range(64)]  # 8 GB
        time.sleep(1)
        return len(hold)

    with (
        DASK.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit="1 GB", dashboard_address=":0",
            local_directory=str(tmp_path),
        ) as cluster,
        DASK.Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        data = events("ttree").select(["id"]).on(client)
        assert len(data.to_awkward()["id"]) == len(events("ttree").to_awkward())
        found = within(SECONDS, lambda: list(data.map_partitions(greedy)))
        assert isinstance(found, ClusterError)
