"""Long tasks of many parts: toys, impacts; here, in processes of this machine, or on a cluster.

::

    records = what an earlier call has finished, by the header of the task
    items   = what is missing
    executor: client= or workers=; the function, with its store of events, is sent there once
    for each result, in order: add it to the records

Every part is a function of its item alone, and linear algebra has one thread everywhere, so
results are the same bit for bit wherever parts run, and however many at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rootml._internal.linear_algebra import single_threaded
from rootml.errors import ClusterError
from rootml.execution import Cost, executor_for, map_tasks
from rootml.sbi.inference.toys._records import Records, Row

FEATURE = "toys, impacts and goodness of fit"


@dataclass(frozen=True)
class Where:
    """Where parts run and what is kept.

    Attributes:
        client: A `distributed.Client`.
        workers: Processes of this machine.
        folder: For what is finished.
        progress: Show a bar; None: on a terminal.
    """

    client: Any = None
    workers: int = 1
    folder: str | Path | None = None
    progress: bool | None = None

    def inside(self, *names: str) -> Path | None:
        """A folder in the folder."""
        return None if self.folder is None else Path(self.folder, *names)


@dataclass(frozen=True, slots=True)
class Item:
    """A part of a task.

    Attributes:
        task: The number of its task.
        key: What its row is called by, see `Records`.
        where: For errors.
    """

    cost: ClassVar[Cost] = Cost(0.05, nbytes=1000, group=4)  # a guess; then it is measured
    task: int
    key: Any
    where: str


@dataclass(frozen=True)
class _SingleThreaded:
    """A function that runs with one thread for linear algebra."""

    stateless: ClassVar[bool] = True  # what a function remembers is not sent
    function: Callable[[Item], Row]

    def __call__(self, item: Item) -> Row:
        with single_threaded(FEATURE):
            return self.function(item)


@dataclass(frozen=True)
class Todo:
    """One task of several that are worked on together.

    Attributes:
        header: All that its rows depend on, made when it is needed.
        keys: Of its rows.
        folder: Where they are kept.
        name: For errors: `where` of an item is "<key> <name>".
    """

    header: Callable[[], Mapping[str, Any]]
    keys: Sequence[Any]
    folder: Path | None = None
    name: str = ""


def work_through(
    function: Callable[[Item], Row],
    todo: Sequence[Todo],
    where: Where,
    *,
    what: str,
    key: str,
    caller: str,
    before: Callable[[int], Any] = lambda _: None,
) -> list[list[Row]]:
    """The rows of all keys of each task, in order.

    Args:
        function: Gives the row of an item; picklable, and the same for the same item.
        what: What rows are, in the plural.
        key: The entry of a row that is its key.
        caller: The function that takes ``client=``, for errors.
        before: Called with the number of each task that is not finished, before any is begun.

    Raises:
        ClusterError: The cluster, or the processes, are gone or keep failing.
        StateError: A folder holds rows of another task.
        UsageError: `client` and `workers` contradict each other; a folder that cannot be written.
    """
    executor = executor_for(client=where.client, workers=where.workers, what=caller)
    with single_threaded(FEATURE), ExitStack() as stack:
        records = []
        for task in todo:
            header = {} if task.folder is None else task.header()
            found = Records(task.folder, header, what=what, key=key)
            stack.callback(found.close)
            records.append(found)
        items = list(_missing(todo, records, what))
        for number in sorted({item.task for item in items}):
            before(number)
            records[number].open()
        rows = map_tasks(
            _SingleThreaded(function), items, threads=1, progress=where.progress, what=what,
            executor=executor,
        )  # fmt: skip
        try:
            for item, row in zip(items, rows, strict=True):
                records[item.task].add(row)
        except ClusterError as error:
            done = sum(len(found.rows) for found in records)
            kept = "" if where.folder is None else f" and kept in {where.folder}: call again"
            message = f"{error}; {done} {what} are finished{kept}"
            raise ClusterError(message) from error
        finally:
            rows.close()  # type: ignore[attr-defined]  # a generator
    return [[found.rows[k] for k in task.keys] for task, found in zip(todo, records, strict=True)]


def _missing(todo: Sequence[Todo], records: Sequence[Records], what: str) -> Iterator[Item]:
    for number, (task, found) in enumerate(zip(todo, records, strict=True)):
        for each in task.keys:
            if each not in found.rows:
                yield Item(number, each, f"{what} {each}{task.name}")
