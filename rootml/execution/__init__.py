"""How work runs: in threads of this process, in processes beside it, or on a Dask cluster.

`_threads` holds the interface (`Executor`, `RemoteFunction`) and the thread pool, `_processes`
the processes, `_dask` the cluster; `_choose` picks one, `_task_sizes` decides how many items make
one task. Nothing here knows of datasets: an item of work brings its own cost.
"""

from __future__ import annotations

from rootml.execution._choose import completed, executor_for
from rootml.execution._task_sizes import Cost
from rootml.execution._threads import (
    Executor,
    ProcessLock,
    RemoteFunction,
    available_cores,
    check_threads,
    map_ordered,
    map_tasks,
)

__all__ = [
    "Cost",
    "Executor",
    "ProcessLock",
    "RemoteFunction",
    "available_cores",
    "check_threads",
    "completed",
    "executor_for",
    "map_ordered",
    "map_tasks",
]
