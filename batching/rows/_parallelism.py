"""`Parallelism`: where units are decoded, and how many at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rootml.batching._options import Options
from rootml.storage import remote_of

if TYPE_CHECKING:
    from rootml.dataset import Dataset
    from rootml.execution import Executor

_SMALL_ROWS, _MANY_SMALL = 5_000, 16


@dataclass(frozen=True)
class Parallelism:
    """Threads here, requests to servers, or the cluster of ``Dataset.on``."""

    dataset: Dataset
    options: Options

    @property
    def executor(self) -> Executor | None:
        """The cluster of ``Dataset.on``, in the process that has its client."""
        executor = self.dataset.executor
        return executor if executor is not None and executor.usable else None

    @cached_property
    def units_ahead(self) -> int:
        """Units of remote files that may be read at the same time; 0 if all files are local."""
        paths = (spec.path for sample in self.dataset.samples for spec in sample.files.specs)
        remotes = (remote_of(path) for path in paths)
        return max((remote.units_ahead for remote in remotes if remote is not None), default=0)

    @property
    def scan_threads(self) -> int:
        """Threads for a pass over a few columns."""
        return max(self.options.threads, self.units_ahead)

    def units_at_once(self, *, rows: int, units: int) -> int:
        """Units that are decoded at the same time: in threads, most of which wait.

        A cluster gets twice as many as it has threads, and more if the units are small, because it
        takes small units together. A server gets as many as `Remote` says. In both cases the units
        may take at most half of the buffer when they arrive here.
        """
        fit = self.options.buffer_bytes // (2 * self.options.unit_bytes)
        if self.executor is not None:
            small = rows < _SMALL_ROWS * units
            return max(1, min((_MANY_SMALL if small else 2) * self.executor.parallelism, fit))
        return self.options.threads + min(self.units_ahead, fit)
