"""How work runs: in threads here, or on a Dask cluster.

`_threads` holds the interface (`Executor`, `RemoteFunction`) and the thread pool, `_dask` the
cluster, `_task_sizes` decides how many items make one task. Nothing here knows of datasets: an
item of work brings its own cost.
"""

from __future__ import annotations
