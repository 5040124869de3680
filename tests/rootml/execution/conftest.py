"""Clusters of this machine, one of each kind per session (pytest-xdist: per worker)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import dask
import distributed
import pytest

DASK: Any = distributed  # half typed


@pytest.fixture(scope="session")
def process_cluster() -> Iterator[Any]:
    """Worker processes that a nanny starts again when they die; begins with one."""
    options = {
        "distributed.scheduler.allowed-failures": 1,  # each death costs seconds
        # else one that dies again so long after is closed for good while it comes back
        "distributed.deploy.lost-worker-timeout": "1 h",
        "distributed.nanny.environ.OMP_NUM_THREADS": 1,
    }
    with dask.config.set(options):
        cluster = DASK.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")
        yield cluster
        # Dask's own: about a worker that died while it was coming back, or it waits for one
        with suppress(KeyError, TimeoutError):
            cluster.close(timeout=60)


@pytest.fixture(scope="session")
def processes(process_cluster: Any) -> Iterator[Any]:
    """A client of worker processes."""
    with DASK.Client(process_cluster, set_as_default=False) as client:
        yield client


@pytest.fixture
def two(process_cluster: Any, processes: Any) -> Iterator[Any]:
    """A client of two worker processes or more; those that died are there again at the end."""
    if len(process_cluster.worker_spec) < 2:  # never fewer: that confuses those that come back
        process_cluster.scale(2)
    number = len(process_cluster.worker_spec)
    processes.wait_for_workers(number)
    yield processes
    processes.wait_for_workers(number)


@pytest.fixture(scope="session")
def threads() -> Iterator[Any]:
    """A client of three workers with a thread each, all in this process."""
    with (
        DASK.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        DASK.Client(cluster, set_as_default=False) as client,
    ):
        yield client
