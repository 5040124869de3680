"""Clusters of this machine for trainings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import dask
import distributed
import pytest

DASK: Any = distributed  # half typed


@pytest.fixture(scope="session")
def threads_cluster() -> Iterator[Any]:
    """Two workers with a thread each, in this process: nothing has to be imported again."""
    with DASK.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture
def client(threads_cluster: Any) -> Iterator[Any]:
    """A client of it."""
    with DASK.Client(threads_cluster, set_as_default=False) as client:
        yield client


@pytest.fixture
def processes() -> Iterator[Any]:
    """A client of two worker processes that a nanny starts again when they die."""
    options = {
        "distributed.scheduler.allowed-failures": 1,
        "distributed.nanny.environ.OMP_NUM_THREADS": 1,
    }
    with dask.config.set(options):
        cluster = DASK.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
        with DASK.Client(cluster, set_as_default=False) as client:
            yield client
        with suppress(KeyError, TimeoutError):  # Dask's own, about a worker that died
            cluster.close(timeout=60)
