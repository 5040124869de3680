"""A cluster of this machine, one for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import dask
import distributed
import pytest

DASK: Any = distributed  # half typed


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """A client of two worker processes; dead ones come back."""
    options = {
        "distributed.scheduler.allowed-failures": 2,
        "distributed.deploy.lost-worker-timeout": "1 h",
    }
    with dask.config.set(options):
        cluster = DASK.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
        with DASK.Client(cluster, set_as_default=False) as found:
            yield found
        with suppress(KeyError, TimeoutError):  # Dask's own, about a worker that came back
            cluster.close(timeout=60)
