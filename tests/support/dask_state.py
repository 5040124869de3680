"""What a client of a Dask cluster still holds."""

from __future__ import annotations

import gc
import time
from typing import Any


def settled(client: Any) -> bool:
    """Whether the client holds nothing on its cluster, a moment after the last use."""
    for _ in range(100):
        gc.collect()
        if not client.futures:
            return True
        time.sleep(0.05)
    return False
