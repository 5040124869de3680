"""Which epoch comes next, in one process or in several that share a loader."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing import context
from typing import Any, Protocol

from rootml._internal.optional import optional_import
from rootml.errors import StateError


class EpochCounter(Protocol):
    """Counts epochs."""

    @property
    def next(self) -> int:
        """The epoch that is taken next."""

    def take(self) -> int:
        """Take the next epoch."""

    def set(self, epoch: int) -> None:
        """Let the next epoch be this one."""

    @property
    def elsewhere(self) -> bool:
        """Whether the latest epoch was taken by worker processes, and this is none of them."""


def taken_elsewhere(epoch: int, *, otherwise: str = "") -> StateError:
    """The error of a state without `batches`, where workers have taken the epoch."""
    message = (
        f"epoch {epoch} was taken by worker processes, and how many of their batches were used is "
        "not known here: pass what your loop has counted and the num_workers of its DataLoader, "
        f"state_dict(batches=..., workers=...){otherwise}"
    )
    return StateError(message)


class LocalEpochCounter:
    """Counts the epochs of one process."""

    def __init__(self, epoch: int = 0) -> None:
        self.next = epoch
        self._lock = threading.Lock()

    def take(self) -> int:
        with self._lock:
            self.next += 1
            return self.next - 1

    def set(self, epoch: int) -> None:
        self.next = epoch

    @property
    def elsewhere(self) -> bool:
        return False

    def __getstate__(self) -> int:
        return self.next

    def __setstate__(self, epoch: int) -> None:
        self.__init__(epoch)  # type: ignore[misc]


def shared_counter(epoch: int) -> SharedEpochCounter:
    """A counter in shared memory of torch."""
    torch: Any = optional_import("torch", feature="BatchLoader.torch()", extra="torch")
    memory = torch.zeros(SharedEpochCounter.SIZE, dtype=torch.int64).share_memory_()
    return SharedEpochCounter(epoch, memory, multiprocessing.get_context("spawn").Lock())


class SharedEpochCounter:
    """Counts epochs in shared memory, for torch DataLoader workers and their parent process.

    Workers of one iteration must take the same epoch, and those of the next iteration the next,
    though nobody tells them when an iteration begins. What they do know is the seed that the
    DataLoader draws when it starts workers, and how often they were asked to iterate since. The
    first worker with a new pair of these takes an epoch; the others join it.

    Args:
        memory: `SIZE` int64 zeros in shared memory.
        lock: A lock that processes share.
    """

    _NEXT, _KEY, _EPOCH, _JOINED, _WORKERS = range(5)
    SIZE = 5

    def __init__(self, epoch: int, memory: Any, lock: Any) -> None:
        self._memory = memory
        self._lock = lock
        self._iterations: dict[int, int] = {}
        self._process = os.getpid()
        memory[self._NEXT] = epoch

    @property
    def next(self) -> int:
        return int(self._memory[self._NEXT])

    def take(self) -> int:
        with self._lock:
            self._memory[self._WORKERS] = 0
            return self._take()

    def _take(self) -> int:
        epoch = self.next
        self._memory[self._NEXT] = epoch + 1
        return epoch

    def set(self, epoch: int) -> None:
        with self._lock:
            self._memory[self._NEXT] = epoch
            self._memory[self._JOINED] = 0
            self._memory[self._KEY] = 0
            self._memory[self._WORKERS] = 0

    @property
    def elsewhere(self) -> bool:
        joined = self._process == os.getpid() and bool(self._iterations)
        return bool(self._memory[self._WORKERS]) and not joined

    def join(self, seed: int, workers: int) -> int:
        """The epoch of this worker's iteration; `seed` is common to the workers."""
        if self._process != os.getpid():  # forked: what the parent counted is not ours
            self._process, self._iterations = os.getpid(), {}
        count = self._iterations.get(seed, 0)
        self._iterations[seed] = count + 1
        key = hash((seed, count)) | 1
        memory = self._memory
        with self._lock:
            if int(memory[self._KEY]) != key or int(memory[self._JOINED]) == workers:
                memory[self._KEY], memory[self._JOINED] = key, 0
                memory[self._EPOCH] = self._take()
                memory[self._WORKERS] = 1
            memory[self._JOINED] += 1
            return int(memory[self._EPOCH])

    def __getstate__(self) -> dict[str, Any]:
        """Locks can be handed to a process that is being started, and to nobody else."""
        state = self.__dict__.copy()
        if context.get_spawning_popen() is None:
            state["_lock"] = None
            state["_memory"] = [int(value) for value in self._memory]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = self._lock or threading.Lock()
