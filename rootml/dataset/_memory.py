"""A dataset in memory as a whole: an awkward array, an Arrow table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rootml.dataset._columns import arrow_batch, concatenate, record_array
from rootml.dataset._reader import EventBlock
from rootml.dataset._tasks import ReadTask, select_partitions
from rootml.execution._threads import map_partitions
from rootml.partitions import Partition
from rootml.storage import Column

if TYPE_CHECKING:
    import awkward as ak

    from rootml.dataset import Dataset


def to_awkward(data: Dataset, *, progress: bool | None, threads: int | None) -> ak.Array:
    """See `Dataset.to_awkward`."""
    blocks = list(_blocks(data, progress, threads)) or [nothing(data)]
    columns: dict[str, Column] = {
        name: concatenate([block.columns[name] for block in blocks]) for name in data.columns
    }
    return record_array(columns, sum(block.num_rows for block in blocks))


def to_arrow(data: Dataset, *, progress: bool | None, threads: int | None) -> Any:
    """See `Dataset.to_arrow`."""
    batches = [arrow_batch(block.columns) for block in _blocks(data, progress, threads)]
    if not batches:
        batches = [arrow_batch(nothing(data).columns)]
    schema = pa.unify_schemas([batch.schema for batch in batches])  # nulls may be in one alone
    tables = (pa.Table.from_batches([batch]) for batch in batches)
    return pa.concat_tables([table.cast(schema) for table in tables])


def _blocks(data: Dataset, progress: bool | None, threads: int | None) -> Iterable[EventBlock]:
    """All partitions that have a selected event, in order."""
    reader = data._reader
    index = data.scan(progress=progress, threads=threads)
    chosen = select_partitions(index, index.partitions)
    return map_partitions(
        ReadTask(reader), chosen, threads=threads, progress=progress, executor=reader.executor
    )


def nothing(data: Dataset) -> EventBlock:
    """No rows, of the right types."""
    info = data.samples[0].files.info(0)
    return data._reader.block(Partition(0, 0, info.path, info.tree, 0, 0), select=False)
